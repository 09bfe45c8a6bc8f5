//! Where the boxes of a drawing stand: layers from top to bottom, few crossings, short lines.
//!
//! After Sugiyama, Tagawa and Toda, "Methods for visual understanding of hierarchical system structures" (1981): boxes
//! stand below all that they come from; a line that passes layers takes a place in each; sweeps down and up order every
//! layer by the mean place of its neighbours, then move its boxes towards them. No step uses the stack or more than
//! linear memory, so a chain of a hundred thousand operations has its drawing too.

/// A box by its size.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) width: f64,
    pub(super) height: f64,
}

/// A box, or the place where lines pass through a layer: its middle, and where it begins and ends.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) x: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

/// A drawing whose boxes have their places.
pub(super) struct Placed {
    /// As many as there are boxes.
    pub(super) boxes: Vec<Place>,
    /// What an edge is drawn from: its source, or the last place where the source's line passes above its target.
    pub(super) from: Vec<Place>,
    /// For each box whose line passes layers, the places it passes.
    pub(super) lines: Vec<(usize, Vec<Place>)>,
    pub(super) width: f64,
    pub(super) height: f64,
}

const BETWEEN_BOXES: f64 = 18.0;
const BETWEEN_LAYERS: f64 = 34.0;
const MARGIN: f64 = 12.0;
const ORDERINGS: usize = 12;
const MOVES: usize = 10;

/// Gives each box its place. Edges lead from what is above to what is below.
pub(super) fn place(sizes: &[Size], edges: &[(usize, usize)]) -> Placed {
    let layers = layers(sizes.len(), edges);
    let mut rows = Rows::new(sizes, edges, &layers);
    for sweep in 0..ORDERINGS {
        rows.order(sweep % 2 == 0);
    }
    rows.pack();
    for sweep in 0..MOVES {
        rows.shift(sweep % 2 == 0);
    }
    rows.placed(sizes, edges)
}

/// The layer of each box: one below the lowest that it comes from. What comes from nothing stands right above the first
/// that needs it.
fn layers(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut below: Vec<Vec<usize>> = vec![Vec::new(); count];
    let mut waits = vec![0usize; count];
    for &(from, to) in edges {
        below[from].push(to);
        waits[to] += 1;
    }
    let first: Vec<usize> = (0..count).filter(|&i| waits[i] == 0).collect();
    let mut layers = vec![0; count];
    let mut ready = first.clone();
    while let Some(from) = ready.pop() {
        for &to in &below[from] {
            layers[to] = layers[to].max(layers[from] + 1);
            waits[to] -= 1;
            if waits[to] == 0 {
                ready.push(to);
            }
        }
    }
    for i in first {
        layers[i] = below[i].iter().map(|&to| layers[to]).min().unwrap_or(1) - 1;
    }
    layers
}

/// Something in a layer: a box, or a place where a line passes.
struct Item {
    width: f64,
    row: usize,
    /// Its middle.
    x: f64,
    /// Its neighbours in the layers above and below.
    near: [Vec<usize>; 2],
}

struct Rows {
    /// Boxes first, in their order.
    items: Vec<Item>,
    rows: Vec<Vec<usize>>,
    /// For each edge the item that it is drawn from.
    from: Vec<usize>,
    /// For each box whose line passes layers, the items that it passes.
    lines: Vec<(usize, Vec<usize>)>,
}

impl Rows {
    fn new(sizes: &[Size], edges: &[(usize, usize)], layers: &[usize]) -> Self {
        let item = |width, row| Item { width, row, x: 0.0, near: [Vec::new(), Vec::new()] };
        let mut items: Vec<Item> =
            sizes.iter().zip(layers).map(|(size, &row)| item(size.width, row)).collect();
        // One line serves all edges of a box. In a graph where too many pass too much, the rest go straight.
        let mut reach: Vec<usize> = layers.to_vec();
        edges.iter().for_each(|&(from, to)| reach[from] = reach[from].max(layers[to]));
        let mut left = 1000 + 8 * sizes.len();
        let mut lines: Vec<Vec<usize>> = vec![Vec::new(); sizes.len()];
        for from in 0..sizes.len() {
            let passed = layers[from] + 1..reach[from];
            if passed.len() > left {
                continue;
            }
            left -= passed.len();
            for row in passed {
                let above = lines[from].last().copied().unwrap_or(from);
                let here = items.len();
                items.push(item(0.0, row));
                items[above].near[1].push(here);
                items[here].near[0].push(above);
                lines[from].push(here);
            }
        }
        let drawn_from = |&(from, to): &(usize, usize)| {
            let passed = layers[to].saturating_sub(layers[from] + 1);
            passed.checked_sub(1).and_then(|i| lines[from].get(i).copied()).unwrap_or(from)
        };
        let from: Vec<usize> = edges.iter().map(drawn_from).collect();
        for (&from, &(_, to)) in from.iter().zip(edges) {
            if items[from].row + 1 == items[to].row {
                items[from].near[1].push(to);
                items[to].near[0].push(from);
            }
        }
        let mut rows = vec![Vec::new(); layers.iter().max().map_or(0, |last| last + 1)];
        items.iter().enumerate().for_each(|(i, item)| rows[item.row].push(i));
        let lines = lines.into_iter().enumerate().filter(|(_, line)| !line.is_empty()).collect();
        Rows { items, rows, from, lines }
    }

    /// The rows in the order of a sweep, and where the neighbours are that it looks at.
    fn sweep(&self, down: bool) -> (Vec<usize>, usize) {
        let rows = 0..self.rows.len();
        if down { (rows.collect(), 0) } else { (rows.rev().collect(), 1) }
    }

    /// The mean place of an item's neighbours on one side; its own if it has none.
    fn wish(&self, i: usize, side: usize) -> f64 {
        let near = &self.items[i].near[side];
        if near.is_empty() {
            return self.items[i].x;
        }
        near.iter().map(|&other| self.items[other].x).sum::<f64>() / near.len() as f64
    }

    /// Orders each row by its items' wishes; places count from the middle of a row here.
    fn order(&mut self, down: bool) {
        let (rows, side) = self.sweep(down);
        for row in rows {
            let mut wishes: Vec<(f64, usize)> =
                self.rows[row].iter().map(|&i| (self.wish(i, side), i)).collect();
            wishes.sort_by(|a, b| a.0.total_cmp(&b.0));
            let half = (wishes.len() as f64 - 1.0) / 2.0;
            for (at, &(_, i)) in wishes.iter().enumerate() {
                self.rows[row][at] = i;
                self.items[i].x = at as f64 - half;
            }
        }
    }

    /// Puts each row's items side by side, around 0.
    fn pack(&mut self) {
        for row in 0..self.rows.len() {
            let offsets = self.offsets(row);
            let middle = offsets.last().map_or(0.0, |last| last / 2.0);
            for (&i, offset) in self.rows[row].iter().zip(offsets) {
                self.items[i].x = offset - middle;
            }
        }
    }

    /// How far the items of a row are from the first at least.
    fn offsets(&self, row: usize) -> Vec<f64> {
        let mut offset = 0.0;
        let mut before: Option<f64> = None;
        let step = |&i: &usize| {
            let half = self.items[i].width / 2.0;
            offset += before.map_or(0.0, |before| before + BETWEEN_BOXES + half);
            before = Some(half);
            offset
        };
        self.rows[row].iter().map(step).collect()
    }

    /// Moves each row's items as near to their wishes as their order and widths allow, in the sense of least squares:
    /// items that would overlap go together to the mean of their wishes.
    fn shift(&mut self, down: bool) {
        let (rows, side) = self.sweep(down);
        for row in rows {
            let offsets = self.offsets(row);
            // Groups that move as one: the sum of their wishes, their weight, how many they are.
            let mut groups: Vec<(f64, f64, usize)> = Vec::new();
            for (&i, offset) in self.rows[row].iter().zip(&offsets) {
                // Lines that pass should be straight.
                let weight = if self.items[i].width == 0.0 { 4.0 } else { 1.0 };
                let mut group = ((self.wish(i, side) - offset) * weight, weight, 1);
                while let Some(&last) = groups.last()
                    && last.0 / last.1 >= group.0 / group.1
                {
                    groups.pop();
                    group = (group.0 + last.0, group.1 + last.1, group.2 + last.2);
                }
                groups.push(group);
            }
            let moved = groups
                .iter()
                .flat_map(|&(sum, weight, count)| std::iter::repeat_n(sum / weight, count));
            for ((&i, offset), x) in self.rows[row].iter().zip(offsets).zip(moved) {
                self.items[i].x = x + offset;
            }
        }
    }

    fn placed(self, sizes: &[Size], edges: &[(usize, usize)]) -> Placed {
        let height = |&i: &usize| sizes.get(i).map_or(0.0, |size| size.height);
        let mut tops = Vec::with_capacity(self.rows.len());
        let mut bottom = MARGIN;
        for row in &self.rows {
            let tall = row.iter().map(height).fold(0.0, f64::max);
            tops.push((bottom, bottom + tall));
            bottom += tall + BETWEEN_LAYERS;
        }
        let ends = |sign: f64| {
            let end = |item: &Item| item.x * sign + item.width / 2.0;
            self.items.iter().map(end).fold(f64::NEG_INFINITY, f64::max)
        };
        let (left, right) =
            if self.items.is_empty() { (0.0, 0.0) } else { (-ends(-1.0), ends(1.0)) };
        let at = |i: usize| {
            let (top, bottom) = tops[self.items[i].row];
            // A box lower than its row stands at the top, a line passes all of it.
            let bottom = sizes.get(i).map_or(bottom, |size| top + size.height);
            Place { x: self.items[i].x - left + MARGIN, top, bottom }
        };
        debug_assert_eq!(self.from.len(), edges.len());
        Placed {
            boxes: (0..sizes.len()).map(at).collect(),
            from: self.from.iter().map(|&i| at(i)).collect(),
            lines: self
                .lines
                .iter()
                .map(|(from, line)| (*from, line.iter().map(|&i| at(i)).collect()))
                .collect(),
            width: right - left + 2.0 * MARGIN,
            height: if self.rows.is_empty() {
                2.0 * MARGIN
            } else {
                bottom - BETWEEN_LAYERS + MARGIN
            },
        }
    }
}
