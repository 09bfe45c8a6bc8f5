//! Plots as PNG and SVG: curves, confusion matrices, image grids, histograms. The font (DejaVu Sans)
//! comes with the crate, so a bare machine draws the same pictures.
//!
//! ```
//! use kiln_data::plot::{Figure, LinePlot};
//! let svg = LinePlot::new("squares")
//!     .line("x²", [(0.0, 0.0), (1.0, 1.0), (2.0, 4.0)])
//!     .labels("x", "y")
//!     .svg();
//! assert!(svg.unwrap().starts_with("<svg"));
//! ```

mod confusion;
mod grid;
mod histogram;
mod lines;

use std::path::Path;
use std::sync::Once;

use kiln_tensor_core::{Error, Result};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::register_font;

use crate::{Image, write_atomic};

pub use confusion::ConfusionPlot;
pub use grid::ImageGrid;
pub use histogram::Histogram;
pub use lines::{LinePlot, TrainingCurves};

/// Something that can be drawn.
pub trait Figure {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// Draws on a white area of that size.
    ///
    /// # Errors
    /// What the drawing backend reports.
    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB>;

    /// The picture as SVG.
    ///
    /// # Errors
    /// [`Error::Backend`] if it cannot be drawn.
    fn svg(&self) -> Result<String> {
        let mut text = String::new();
        paint(self, SVGBackend::with_string(&mut text, self.size()))?;
        Ok(text)
    }

    /// The picture as PNG.
    ///
    /// # Errors
    /// [`Error::Backend`] if it cannot be drawn.
    fn png(&self) -> Result<Vec<u8>> {
        let (width, height) = self.size();
        let mut pixels = vec![0; width as usize * height as usize * 3];
        paint(self, BitMapBackend::with_buffer(&mut pixels, self.size()))?;
        Image::new(height as usize, width as usize, 3, pixels).to_png()
    }

    /// Writes the picture to a file that ends in `.png` or `.svg`.
    ///
    /// # Errors
    /// [`Error::Argument`] for another ending, [`Error::Io`] if the file cannot be written.
    fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match &*ending {
            "png" => write_atomic(path, &self.png()?),
            "svg" => write_atomic(path, self.svg()?.as_bytes()),
            _ => Err(Error::Argument {
                op: "Figure::save",
                why: format!("{}: the name of a picture ends in .png or .svg", path.display()),
            }),
        }
    }
}

/// Where to draw.
pub type Area<DB> = DrawingArea<DB, Shift>;

/// The result of drawing.
pub type Drawn<DB> =
    std::result::Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Colours of lines, told apart by most eyes (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

const INK: RGBColor = RGBColor(40, 40, 40);
const GRID: RGBColor = RGBColor(225, 225, 225);

fn paint<F: Figure + ?Sized, DB: DrawingBackend>(figure: &F, backend: DB) -> Result<()> {
    static FONT: Once = Once::new();
    FONT.call_once(|| {
        let font = dejavu::sans::regular();
        let known = register_font("sans-serif", FontStyle::Normal, font);
        assert!(known.is_ok(), "the font that comes with the crate is whole");
    });
    let area = backend.into_drawing_area();
    area.fill(&WHITE).and_then(|()| figure.draw(&area)).map_err(failed)?;
    area.present().map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Backend { device: "plot".into(), why: error.to_string() }
}

/// Text of a size in pixels, by its anchor.
fn text(size: f64, across: text_anchor::HPos, down: text_anchor::VPos) -> TextStyle<'static> {
    let pos = text_anchor::Pos::new(across, down);
    TextStyle::from(("sans-serif", size).into_font()).color(&INK).pos(pos)
}

mod text_anchor {
    pub(super) use plotters::style::text_anchor::{HPos, Pos, VPos};
}

/// Text around its middle.
fn centred(size: f64) -> TextStyle<'static> {
    text(size, text_anchor::HPos::Center, text_anchor::VPos::Center)
}

/// A title across the top; gives the area below it.
fn titled<DB: DrawingBackend>(
    area: &Area<DB>,
    title: &str,
) -> std::result::Result<Area<DB>, DrawingAreaErrorKind<DB::ErrorType>> {
    if title.is_empty() {
        return Ok(area.clone());
    }
    let (width, _) = area.dim_in_pixel();
    let (top, below) = area.split_vertically(44);
    top.draw(&Text::new(title.to_owned(), (width as i32 / 2, 25), centred(22.0)))?;
    Ok(below)
}

/// A little more than the smallest and largest finite value; never empty.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let finite = values.filter(|v| v.is_finite());
    let (low, high) =
        finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return 0.0..1.0;
    }
    let room = if high > low { 0.05 * (high - low) } else { 0.05 * high.abs().max(1e-3) };
    low - room..high + room
}
