//! The C of `map`.

use std::fmt::Write;

use kiln_tensor_core::Expr;

use super::declare_params;
use crate::place::Place;
use crate::source::{Operand, program};

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
}

impl Pass<'_> {
    /// The declaration, up to the item's number. Operands have a place `q{k}`, or only an offset `a{k}`.
    fn begin(&self, places: bool) -> String {
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
        c.push_str(") {\n    const i64 item = ITEM;\n    if (item >= n) return;\n");
        c
    }

    /// Takes a number apart by the dims before `to`, and adds up where that is in each operand.
    fn walk(&self, number: &str, to: &str) -> String {
        let mut c = String::new();
        for k in 0..self.operands.len() {
            let _ = writeln!(c, "    i64 a{k} = q{k}.offset;");
        }
        let _ = write!(
            c,
            "    i64 rest = {number};
    for (int d = {to} - 1; d >= 0; --d) {{
        const i64 next = rest / sizes.sizes[d], k = rest - next * sizes.sizes[d];
        rest = next;
"
        );
        for k in 0..self.operands.len() {
            let _ = writeln!(c, "        a{k} += k * q{k}.strides[d];");
        }
        c.push_str("    }\n");
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
        format!("{}    const i64 index = item;\n{walk}{work}}}\n", self.begin(true))
    }

    pub(super) fn flat(&self) -> String {
        let work = self.work(|k| match self.steps[k] {
            Step::None => format!("a{k}"),
            _ => format!("a{k} + index"),
        });
        format!("{}    const i64 index = item;\n{work}}}\n", self.begin(false))
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
            self.begin(true),
            self.walk("line", "last"),
            before = BLOCK - 1,
        )
    }
}
