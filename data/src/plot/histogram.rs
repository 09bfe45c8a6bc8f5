//! How values are distributed.

use plotters::prelude::*;

use super::{Area, COLOURS, Drawn, Figure, GRID, INK, titled};

/// Counts of values in equal bins.
#[derive(Clone, Debug)]
pub struct Histogram {
    title: String,
    label: String,
    values: Vec<f64>,
    bins: usize,
}

impl Histogram {
    /// The distribution of the finite ones of `values`, in 30 bins.
    pub fn new(title: impl Into<String>, values: impl IntoIterator<Item = f64>) -> Self {
        let values = values.into_iter().filter(|v| v.is_finite()).collect();
        Histogram { title: title.into(), label: String::new(), values, bins: 30 }
    }

    /// Names the values.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Number of bins, at least 1.
    pub fn bins(mut self, bins: usize) -> Self {
        self.bins = bins.max(1);
        self
    }

    /// The smallest value, the width of a bin, and the counts. The largest value is in the last bin.
    pub fn counts(&self) -> (f64, f64, Vec<u64>) {
        let low = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = self.values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // As NumPy: values that are all the same sit in a range of width 1 around them.
        let (low, high) = match low.partial_cmp(&high) {
            Some(std::cmp::Ordering::Less) => (low, high),
            Some(std::cmp::Ordering::Equal) => (low - 0.5, high + 0.5),
            _ => (0.0, 1.0),
        };
        let width = (high - low) / self.bins as f64;
        let mut counts = vec![0; self.bins];
        for value in &self.values {
            counts[(((value - low) / width) as usize).min(self.bins - 1)] += 1;
        }
        (low, width, counts)
    }
}

impl Figure for Histogram {
    fn size(&self) -> (u32, u32) {
        (800, 500)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        let area = titled(area, &self.title)?;
        let (low, width, counts) = self.counts();
        let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .margin_right(24)
            .x_label_area_size(48)
            .y_label_area_size(68)
            .build_cartesian_2d(low..low + width * self.bins as f64, 0.0..1.05 * most)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_desc(&self.label)
            .y_desc("count")
            .axis_desc_style(("sans-serif", 16).into_font().color(&INK))
            .label_style(("sans-serif", 14).into_font().color(&INK))
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .y_label_formatter(&|v| format!("{v:.0}"))
            .draw()?;
        chart.draw_series(counts.iter().enumerate().map(|(at, &count)| {
            let left = low + at as f64 * width;
            let mut bar =
                Rectangle::new([(left, 0.0), (left + width, count as f64)], COLOURS[0].filled());
            bar.set_margin(0, 0, 1, 1);
            bar
        }))?;
        Ok(())
    }
}
