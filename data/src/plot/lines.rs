//! Lines over a common axis.

use plotters::prelude::*;

use super::{Area, COLOURS, Drawn, Figure, GRID, INK, range, titled};
use crate::History;

/// Lines with axes, a grid and a legend.
#[derive(Clone, Debug)]
pub struct LinePlot {
    title: String,
    x_label: String,
    y_label: String,
    lines: Vec<(String, Vec<(f64, f64)>)>,
    size: (u32, u32),
}

impl LinePlot {
    /// An empty plot, 800 × 500.
    pub fn new(title: impl Into<String>) -> Self {
        LinePlot {
            title: title.into(),
            x_label: String::new(),
            y_label: String::new(),
            lines: Vec::new(),
            size: (800, 500),
        }
    }

    /// Adds a line. Points that are not finite leave a gap.
    pub fn line(
        mut self,
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, f64)>,
    ) -> Self {
        self.lines.push((name.into(), points.into_iter().collect()));
        self
    }

    /// Names the axes.
    pub fn labels(mut self, x: impl Into<String>, y: impl Into<String>) -> Self {
        (self.x_label, self.y_label) = (x.into(), y.into());
        self
    }

    /// Width and height in pixels.
    pub fn sized(mut self, width: u32, height: u32) -> Self {
        self.size = (width, height);
        self
    }
}

impl Figure for LinePlot {
    fn size(&self) -> (u32, u32) {
        self.size
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        let area = titled(area, &self.title)?;
        let points = || self.lines.iter().flat_map(|(_, points)| points);
        let x = range(points().map(|p| p.0));
        let y = range(points().map(|p| p.1));
        let whole = |v: f64| v.fract().abs() < 1e-9;
        let counting = points().all(|p| whole(p.0));
        let steps = (x.end - x.start) as usize;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .margin_right(24)
            .x_label_area_size(48)
            .y_label_area_size(68)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .axis_desc_style(("sans-serif", 16).into_font().color(&INK))
            .label_style(("sans-serif", 14).into_font().color(&INK))
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .x_labels(if counting { steps.clamp(2, 10) } else { 8 })
            .y_labels(7)
            .x_label_formatter(&|v| label(*v))
            .y_label_formatter(&|v| label(*v))
            .draw()?;
        for ((name, points), colour) in self.lines.iter().zip(COLOURS.iter().cycle()) {
            let style = colour.stroke_width(2);
            let mut pieces = points.split(|p| !(p.0.is_finite() && p.1.is_finite()));
            let first = LineSeries::new(pieces.next().unwrap_or(&[]).iter().copied(), style);
            let drawn = chart.draw_series(first)?;
            if !name.is_empty() {
                drawn.label(name.clone()).legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 22, y)], colour.stroke_width(3))
                });
            }
            for piece in pieces {
                chart.draw_series(LineSeries::new(piece.iter().copied(), style))?;
            }
            if points.len() <= 30 {
                let finite = points.iter().filter(|p| p.0.is_finite() && p.1.is_finite());
                chart.draw_series(finite.map(|&p| Circle::new(p, 3, colour.filled())))?;
            }
        }
        if self.lines.iter().any(|(name, _)| !name.is_empty()) {
            chart
                .configure_series_labels()
                .position(self.quiet_corner())
                .background_style(WHITE.mix(0.85))
                .border_style(GRID)
                .label_font(("sans-serif", 15).into_font().color(&INK))
                .margin(10)
                .draw()?;
        }
        Ok(())
    }
}

impl LinePlot {
    /// Falling curves leave the upper right free, rising ones the lower right.
    fn quiet_corner(&self) -> SeriesLabelPosition {
        let rise: f64 =
            self.lines.iter().filter_map(|(_, p)| Some(p.last()?.1 - p.first()?.1)).sum();
        if rise > 0.0 { SeriesLabelPosition::LowerRight } else { SeriesLabelPosition::UpperRight }
    }
}

/// A number without the digits that say nothing.
fn label(value: f64) -> String {
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.into() }
}

/// Loss on the left, accuracy on the right, training and validation in each.
#[derive(Clone, Debug)]
pub struct TrainingCurves {
    title: String,
    panels: Vec<LinePlot>,
}

impl TrainingCurves {
    /// One panel each for the names in `history` that end in `loss` and in `accuracy`, so far as there
    /// are any: `loss` is the training's, `val loss` the validation's.
    pub fn new(title: impl Into<String>, history: &History) -> Self {
        let panel = |ending: &str, label: &str, scale: f64| {
            let names = history.names();
            let names: Vec<&str> =
                names.into_iter().filter(|name| name.ends_with(ending)).collect();
            let plot = LinePlot::new("").labels("epoch", label);
            let add = |plot: LinePlot, name: &&str| {
                let who = match name.strip_suffix(ending).unwrap_or_default().trim() {
                    "" | "train" => "training",
                    "val" => "validation",
                    other => other,
                };
                let values = history.values(name);
                plot.line(who, (1..).map(f64::from).zip(values.into_iter().map(|v| v * scale)))
            };
            (!names.is_empty()).then(|| names.iter().fold(plot, add))
        };
        let panels = [panel("loss", "loss", 1.0), panel("accuracy", "accuracy (%)", 100.0)];
        TrainingCurves { title: title.into(), panels: panels.into_iter().flatten().collect() }
    }
}

impl Figure for TrainingCurves {
    fn size(&self) -> (u32, u32) {
        (if self.panels.len() > 1 { 1000 } else { 800 }, 450)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        let area = titled(area, &self.title)?;
        let areas = area.split_evenly((1, self.panels.len().max(1)));
        self.panels.iter().zip(&areas).try_for_each(|(panel, area)| panel.draw(area))
    }
}
