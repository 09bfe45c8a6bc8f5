//! Images side by side.

use plotters::prelude::*;

use super::text_anchor::{HPos, VPos};
use super::{Area, Drawn, Figure, text, titled};
use crate::Image;

/// Images in rows, each with a line below it.
#[derive(Clone, Debug)]
pub struct ImageGrid {
    title: String,
    columns: usize,
    cell: u32,
    images: Vec<(Image, String, bool)>,
}

/// Room for the line below an image, and between images.
const CAPTION: u32 = 22;
const GAP: u32 = 10;

impl ImageGrid {
    /// An empty grid of `columns` columns.
    pub fn new(title: impl Into<String>, columns: usize) -> Self {
        ImageGrid { title: title.into(), columns: columns.max(1), cell: 80, images: Vec::new() }
    }

    /// Adds an image and the line below it.
    pub fn image(self, image: Image, caption: impl Into<String>) -> Self {
        self.add(image, caption.into(), false)
    }

    /// Adds an image whose line is red, such as a wrong prediction.
    pub fn wrong(self, image: Image, caption: impl Into<String>) -> Self {
        self.add(image, caption.into(), true)
    }

    /// The longer side of each image in pixels (80).
    pub fn cell(mut self, pixels: u32) -> Self {
        self.cell = pixels.max(1);
        self
    }

    fn add(mut self, image: Image, caption: String, wrong: bool) -> Self {
        self.images.push((image, caption, wrong));
        self
    }

    fn caption(&self) -> u32 {
        if self.images.iter().all(|(_, caption, _)| caption.is_empty()) { 0 } else { CAPTION }
    }
}

impl Figure for ImageGrid {
    fn size(&self) -> (u32, u32) {
        let columns = self.columns.min(self.images.len().max(1)) as u32;
        let rows = self.images.len().max(1).div_ceil(self.columns) as u32;
        let title = if self.title.is_empty() { 0 } else { 44 };
        let width = GAP + columns * (self.cell + GAP);
        let across = if self.title.is_empty() { width } else { width.max(300) };
        (across, title + GAP + rows * (self.cell + self.caption() + GAP))
    }

    fn draw<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        let area = titled(area, &self.title)?;
        let down = self.cell + self.caption() + GAP;
        for (at, (image, caption, wrong)) in self.images.iter().enumerate() {
            let x = (GAP + (at % self.columns) as u32 * (self.cell + GAP)) as i32;
            let y = (GAP + (at / self.columns) as u32 * down) as i32;
            draw_image(&area, image, x, y, self.cell as usize)?;
            let style = text(14.0, HPos::Center, VPos::Top);
            let style = if *wrong { style.color(&RGBColor(200, 30, 30)) } else { style };
            let middle = (x + self.cell as i32 / 2, y + self.cell as i32 + 4);
            area.draw(&Text::new(caption.clone(), middle, style))?;
        }
        Ok(())
    }
}

/// Each pixel of the image as a rectangle: sharp at any size, in SVG too.
fn draw_image<DB: DrawingBackend>(
    area: &Area<DB>,
    image: &Image,
    left: i32,
    top: i32,
    side: usize,
) -> Drawn<DB> {
    let (height, width, channels) = (image.height(), image.width(), image.channels());
    let longest = height.max(width).max(1);
    let edge = |at: usize| (at * side / longest) as i32;
    let (pad_x, pad_y) = (edge(longest - width) / 2, edge(longest - height) / 2);
    let values = image.full_range();
    for (at, pixel) in values.chunks_exact(channels).enumerate() {
        let (row, column) = (at / width, at % width);
        let colour = match *pixel {
            [r, g, b, ..] => RGBColor(r, g, b),
            _ => RGBColor(pixel[0], pixel[0], pixel[0]),
        };
        let (x, y) = (left + pad_x, top + pad_y);
        // A filled rectangle leaves its lower right edge to its neighbour.
        let from = (x + edge(column), y + edge(row));
        let to = (x + edge(column + 1), y + edge(row + 1));
        area.draw(&Rectangle::new([from, to], colour.filled()))?;
    }
    Ok(())
}
