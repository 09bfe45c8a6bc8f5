//! A drawing as SVG.

use std::fmt::Write;

use super::layers::{Place, Size, place};
use super::{Kind, Sketch};

const LETTER: f64 = 7.3;
const LINE: f64 = 15.0;
const PADDING: f64 = 8.0;

/// The text of an SVG file. The places are rounded to tenths.
pub(super) fn write(sketch: &Sketch) -> String {
    let sizes: Vec<Size> = sketch.boxes.iter().map(|b| size(&b.lines)).collect();
    let placed = place(&sizes, &sketch.edges);
    let mut text = String::new();
    let (width, height) = (placed.width, placed.height);
    let _ = writeln!(
        text,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" font-family=\"monospace\" font-size=\"12\">\n\
         <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
         markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#555\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <g fill=\"none\" stroke=\"#555\">"
    );
    for (from, line) in &placed.lines {
        let mut path = Path::new(placed.boxes[*from].x, placed.boxes[*from].bottom);
        for passed in line {
            path.to(passed.x, passed.top);
            path.down(passed.bottom);
        }
        let _ = writeln!(text, "<path d=\"{}\"/>", path.0);
    }
    let ends = ends(sketch, &sizes, &placed.boxes, &placed.from);
    for ((&(from, to), start), end) in sketch.edges.iter().zip(&placed.from).zip(ends) {
        let mut path = Path::new(start.x, start.bottom);
        path.to(end, placed.boxes[to].top);
        let path = path.0;
        let _ = writeln!(
            text,
            "<path data-from=\"n{from}\" data-to=\"n{to}\" d=\"{path}\" marker-end=\"url(#arrow)\"/>"
        );
    }
    text.push_str("</g>\n<g stroke=\"#555\" text-anchor=\"middle\">\n");
    for (i, ((drawn, size), at)) in sketch.boxes.iter().zip(&sizes).zip(&placed.boxes).enumerate() {
        let color = color(drawn.kind);
        let _ = write!(
            text,
            "<g id=\"n{i}\"><rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"5\" \
             fill=\"{color}\"/>",
            at.x - size.width / 2.0,
            at.top,
            size.width,
            size.height
        );
        for (number, line) in drawn.lines.iter().enumerate() {
            let y = at.top + PADDING + LINE * (number as f64 + 0.75);
            let _ = write!(
                text,
                "<text x=\"{:.1}\" y=\"{y:.1}\" stroke=\"none\">{}</text>",
                at.x,
                escaped(line)
            );
        }
        text.push_str("</g>\n");
    }
    text.push_str("</g>\n</svg>\n");
    text
}

fn color(kind: Kind) -> &'static str {
    match kind {
        Kind::Operation => "#d9d9d9",
        Kind::Leaf => "#add8e6",
        Kind::Output => "#caff70",
    }
}

fn size(lines: &[String]) -> Size {
    // Beyond ASCII there are letters twice as wide.
    let letters =
        |line: &String| line.chars().map(|c| 2 - usize::from(c.is_ascii())).sum::<usize>();
    let longest = lines.iter().map(letters).max().unwrap_or(0);
    Size {
        width: longest as f64 * LETTER + 2.0 * PADDING,
        height: lines.len() as f64 * LINE + 2.0 * PADDING,
    }
}

/// Where on its target's upper side each edge ends: beside each other, in the order of where they start.
fn ends(sketch: &Sketch, sizes: &[Size], boxes: &[Place], from: &[Place]) -> Vec<f64> {
    let mut into: Vec<Vec<usize>> = vec![Vec::new(); boxes.len()];
    sketch.edges.iter().enumerate().for_each(|(i, &(_, to))| into[to].push(i));
    let mut ends = vec![0.0; from.len()];
    for (to, mut edges) in into.into_iter().enumerate() {
        edges.sort_by(|&a, &b| from[a].x.total_cmp(&from[b].x));
        let step = (sizes[to].width * 0.7 / edges.len() as f64).min(24.0);
        let first = boxes[to].x - step * (edges.len() as f64 - 1.0) / 2.0;
        edges.iter().enumerate().for_each(|(at, &edge)| ends[edge] = first + step * at as f64);
    }
    ends
}

/// A line that goes down, bent between one place and the next.
struct Path(String, f64, f64);

impl Path {
    fn new(x: f64, y: f64) -> Self {
        Path(format!("M{x:.1} {y:.1}"), x, y)
    }

    fn to(&mut self, x: f64, y: f64) {
        let Path(text, from_x, from_y) = self;
        let middle = f64::midpoint(*from_y, y);
        let _ = write!(text, "C{from_x:.1} {middle:.1} {x:.1} {middle:.1} {x:.1} {y:.1}");
        (*from_x, *from_y) = (x, y);
    }

    fn down(&mut self, y: f64) {
        if y > self.2 {
            let _ = write!(self.0, "V{y:.1}");
            self.2 = y;
        }
    }
}

/// Text as XML has it. What XML cannot hold is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
