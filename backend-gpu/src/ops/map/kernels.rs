//! The C of `map`.

use std::fmt::Write;

use kiln_tensor_core::Expr;

use super::declare_params;
use crate::place::Place;
use crate::source::{Operand, Width, locate, program};

/// Elements of a row that one work-item takes.
pub(super) const BLOCK: usize = 2048;

/// From one element to its neighbour in the last dim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// It is the same element.
    None,
    /// It lies beside it.
    One,
    /// A stride that the launch tells.
    Far,
}

impl Step {
    pub(super) fn of(place: &Place, rank: usize) -> Self {
        match rank.checked_sub(1).map_or(0, |last| place.strides[last]) {
            0 => Step::None,
            1 => Step::One,
            _ => Step::Far,
        }
    }
}

/// A kernel for a program. Operand `k`, an input or then an output, has its element at `a{k}`.
pub(super) struct Pass<'a> {
    pub(super) expr: &'a Expr,
    pub(super) operands: &'a [Operand],
    pub(super) steps: &'a [Step],
    pub(super) width: Width,
}

impl Pass<'_> {
    /// The declaration, up to the item's number. Operands have a place `q{k}`, or only an offset `a{k}`. Items
    /// of which `outside` holds do nothing.
    fn begin(&self, places: bool, outside: &str) -> String {
        let mut c = String::from("KERNEL void map(i64 n");
        if places {
            c.push_str(", Sizes sizes");
        }
        let inputs = self.expr.inputs().len();
        for (k, operand) in self.operands.iter().enumerate() {
            let pointer = if k < inputs { operand.read() } else { operand.write() };
            let place = if places { format!("Place q{k}") } else { format!("i64 a{k}") };
            let _ = write!(c, ", {pointer}, {place}");
        }
        declare_params(&mut c, self.expr);
        let _ = writeln!(c, ") {{\n    const i64 item = ITEM;\n    if ({outside}) return;");
        c
    }

    /// Declares where operands begin, and adds where a number lies in the dims before `to`.
    fn walk(&self, number: &str, to: &str) -> String {
        let count = self.operands.len();
        let mut c: String = (0..count).map(|k| format!("    i64 a{k} = q{k}.offset;\n")).collect();
        let places = (0..count).map(|k| (format!("a{k}"), format!("q{k}.strides")));
        c += &locate(number, "sizes", ["0", to], self.width, places);
        c
    }

    /// Works the outputs out of the inputs, each at the place that `at` writes.
    fn work(&self, at: impl Fn(usize) -> String) -> String {
        let inputs = self.expr.inputs().len();
        let mut c = program::statements(self.expr, |k| self.operands[k].load(&at(k)));
        for (k, output) in self.expr.outputs().iter().enumerate() {
            let value = format!("v{}", output.value);
            let _ = writeln!(c, "    {}", self.operands[inputs + k].store(&at(inputs + k), &value));
        }
        c
    }

    pub(super) fn any(&self) -> String {
        let walk = self.walk("item", "(int)sizes.rank");
        let work = self.work(|k| format!("a{k}"));
        format!("{}    const i64 index = item;\n{walk}{work}}}\n", self.begin(true, "item >= n"))
    }

    pub(super) fn flat(&self) -> String {
        let work = self.work_flat();
        format!("{}    const i64 index = item;\n{work}}}\n", self.begin(false, "item >= n"))
    }

    /// `count` elements at once, where they lie side by side.
    pub(super) fn packs(&self, count: usize) -> String {
        let inputs = self.expr.inputs().len();
        let packed: Vec<(usize, &Operand)> = (self.operands.iter().enumerate())
            .filter(|&(k, _)| self.steps[k] == Step::One)
            .collect();
        let types: String = packed.iter().map(|(_, x)| x.declare_pack(count)).collect();
        let (read, written): (Vec<_>, Vec<_>) = packed.iter().partition(|(k, _)| *k < inputs);
        let at = |k: usize| format!("a{k} + first");
        let mut c = String::new();
        for &(k, x) in &read {
            let _ = writeln!(c, "    const {}_pack pack{k} = {};", x.name(), x.pack(&at(k), count));
        }
        for &(k, y) in &written {
            let _ = writeln!(c, "    {}_pack pack{k};", y.name());
        }
        let load = |k: usize| match self.steps[k] {
            Step::None => self.operands[k].load(&format!("a{k}")),
            _ => self.operands[k].unpacked(&format!("pack{k}.at[j]")),
        };
        let _ = write!(
            c,
            "    UNROLL for (int j = 0; j < {count}; ++j) {{\n    const i64 index = first + j;\n{}",
            program::statements(self.expr, load)
        );
        for (&(k, y), output) in written.iter().zip(self.expr.outputs()) {
            let value = y.packed(&format!("v{}", output.value));
            let _ = writeln!(c, "    pack{k}.at[j] = {value};");
        }
        c.push_str("    }\n");
        for &(k, y) in &written {
            let _ = writeln!(c, "    {} = pack{k};", y.pack(&at(k), count));
        }
        format!(
            "{types}{}    const i64 first = item * {count};
    if (first + {count} <= n) {{
{c}    }} else for (i64 index = first; index < n; ++index) {{
{}    }}
}}
",
            self.begin(false, &format!("item * {count} >= n")),
            self.work_flat(),
        )
    }

    /// One element, at `index` of operands that lie side by side.
    pub(super) fn work_flat(&self) -> String {
        self.work(|k| match self.steps[k] {
            Step::None => format!("a{k}"),
            _ => format!("a{k} + index"),
        })
    }

    pub(super) fn rows(&self) -> String {
        let work = self.work(|k| match self.steps[k] {
            Step::None => format!("a{k}"),
            Step::One => format!("a{k} + j"),
            Step::Far => format!("a{k} + j * q{k}.strides[last]"),
        });
        format!(
            "{}    const int last = (int)sizes.rank - 1;
    const i64 width = sizes.sizes[last], blocks = (width + {before}) / {BLOCK};
    const i64 line = item / blocks, first = (item - line * blocks) * {BLOCK};
    const i64 end = first + {BLOCK} < width ? first + {BLOCK} : width;
{}    INDEPENDENT
    for (i64 j = first; j < end; ++j) {{
    const i64 index = line * width + j;
{work}    }}
}}
",
            self.begin(true, "item >= n"),
            self.walk("line", "last"),
            before = BLOCK - 1,
        )
    }
}
