//! A confusion matrix as a heat map.

use plotters::prelude::*;

use super::text_anchor::{HPos, VPos};
use super::{Area, Drawn, Figure, INK, centred, text, titled};
use crate::metrics::ConfusionMatrix;

/// A confusion matrix with counts in its cells. The colour of a cell is its share of its row.
#[derive(Clone, Debug)]
pub struct ConfusionPlot {
    title: String,
    matrix: ConfusionMatrix,
}

/// Room for the axes: to the left, below the top, above the bottom.
const LEFT: i32 = 46;
const BOTTOM: i32 = 46;
const GAP: i32 = 20;

impl ConfusionPlot {
    /// A plot of `matrix`.
    pub fn new(title: impl Into<String>, matrix: &ConfusionMatrix) -> Self {
        ConfusionPlot { title: title.into(), matrix: matrix.clone() }
    }

    /// Pixels per cell.
    fn cell(&self) -> i32 {
        (520 / self.matrix.classes().max(1) as i32).clamp(20, 80)
    }

    /// Pixels that the longest class name takes at the size used.
    fn name(&self) -> i32 {
        let longest = self.matrix.names().iter().map(|name| name.chars().count()).max();
        8 + 8 * longest.unwrap_or(0) as i32
    }

    /// Whether the names below the columns must be turned to fit.
    fn turned(&self) -> bool {
        self.name() > self.cell()
    }
}

impl Figure for ConfusionPlot {
    fn size(&self) -> (u32, u32) {
        let side = self.cell() * self.matrix.classes() as i32;
        let below = if self.turned() { self.name() } else { 24 };
        let title = if self.title.is_empty() { GAP } else { 44 };
        let width = LEFT + self.name() + side + GAP;
        (width.max(320) as u32, (title + side + below + BOTTOM) as u32)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        let area = titled(area, &self.title)?;
        let (classes, cell) = (self.matrix.classes(), self.cell());
        let (left, top) = (LEFT + self.name(), if self.title.is_empty() { GAP } else { 0 });
        let side = cell * classes as i32;
        let size = f64::from(cell).mul_add(0.3, 4.0).clamp(9.0, 18.0);
        for target in 0..classes {
            let support = self.matrix.class(target).support;
            for predicted in 0..classes {
                let count = self.matrix.count(target, predicted);
                let share = if support == 0 { 0.0 } else { count as f64 / support as f64 };
                let (x, y) = (left + predicted as i32 * cell, top + target as i32 * cell);
                let corners = [(x, y), (x + cell - 1, y + cell - 1)];
                area.draw(&Rectangle::new(corners, shade(share).filled()))?;
                if count > 0 {
                    let ink = if share > 0.3 { WHITE } else { INK };
                    let middle = (x + cell / 2, y + cell / 2);
                    area.draw(&Text::new(count.to_string(), middle, centred(size).color(&ink)))?;
                }
            }
        }
        let frame = [(left - 1, top - 1), (left + side, top + side)];
        area.draw(&Rectangle::new(frame, INK.stroke_width(1)))?;
        for (at, name) in self.matrix.names().iter().enumerate() {
            let middle = at as i32 * cell + cell / 2;
            let row = text(14.0, HPos::Right, VPos::Center);
            area.draw(&Text::new(name.clone(), (left - 8, top + middle), row))?;
            let column = if self.turned() {
                text(14.0, HPos::Right, VPos::Center).transform(FontTransform::Rotate270)
            } else {
                text(14.0, HPos::Center, VPos::Top)
            };
            area.draw(&Text::new(name.clone(), (left + middle, top + side + 8), column))?;
        }
        let turned = centred(16.0).transform(FontTransform::Rotate270);
        area.draw(&Text::new("target", (18, top + side / 2), turned))?;
        let bottom = area.dim_in_pixel().1 as i32 - 18;
        area.draw(&Text::new("predicted", (left + side / 2, bottom), centred(16.0)))
    }
}

/// From nearly white to dark blue.
fn shade(share: f64) -> RGBColor {
    let mix = |from: f64, to: f64| (from + (to - from) * share.sqrt()).round() as u8;
    RGBColor(mix(247.0, 8.0), mix(250.0, 69.0), mix(253.0, 138.0))
}
