//! The C of reductions.

use std::fmt::Write;

use kiln_tensor_core::{DType, Expr, ReduceOp};

use super::is_arg;
use crate::ops::map::declare_params;
use crate::source::{Operand, computed, narrow, program};

/// How many sums go side by side.
pub(super) const LANES: usize = 64;

/// The kernel that combines pieces of what is reduced.
pub(super) struct FirstPass<'a> {
    pub(super) op: ReduceOp,
    pub(super) expr: &'a Expr,
    /// Whether a piece is the whole.
    pub(super) direct: bool,
    pub(super) xs: &'a [Operand],
    pub(super) y: &'a Operand,
}

impl FirstPass<'_> {
    fn value(&self) -> DType {
        self.expr.outputs()[0].dtype
    }

    fn ty(&self) -> &'static str {
        computed(self.value())
    }

    /// The declaration, and the piece `[from, to)` of line `o`. An input's place is `q0`, `q1`, …, that of the
    /// elements' numbers `qi`.
    fn begin(&self) -> String {
        let mut c = String::from(
            "KERNEL void reduce(i64 n, i64 pieces, i64 per, i64 length, i32 outer, Sizes sizes",
        );
        for (k, x) in self.xs.iter().enumerate() {
            let _ = write!(c, ", {}, Place q{k}", x.read());
        }
        let _ = write!(c, ", Place qi, {}", self.y.write());
        if !self.direct && is_arg(self.op) {
            c.push_str(", GLOBAL i64* z");
        }
        declare_params(&mut c, self.expr);
        c.push_str(
            ") {
    const i64 item = ITEM;
    if (item >= n) return;
    const i64 o = item / pieces, from = (item - o * pieces) * per;
    const i64 to = from + per < length ? from + per : length;
    i64 rest;
",
        );
        for k in self.operands() {
            let _ = writeln!(c, "    i64 base{k} = q{k}.offset;");
        }
        c
    }

    /// What has a place.
    fn operands(&self) -> Vec<String> {
        let inputs = (0..self.xs.len()).map(|k| k.to_string());
        inputs.chain(program::numbered(self.expr).then(|| "i".into())).collect()
    }

    /// Adds to each `{at}{k}` where the number lies in dims `[from, to)`.
    fn walk(&self, c: &mut String, number: &str, [from, to]: [&str; 2], at: &str) {
        let _ = write!(
            c,
            "    rest = {number};
    for (int d = {to} - 1; d >= {from}; --d) {{
        const i64 next = rest / sizes.sizes[d], k = rest - next * sizes.sizes[d];
        rest = next;
"
        );
        for k in self.operands() {
            let _ = writeln!(c, "        {at}{k} += k * q{k}.strides[d];");
        }
        c.push_str("    }\n");
    }

    /// Works `v` out of the inputs at `a0`, `a1`, … plus `j` where they lie side by side, and combines it with
    /// `acc`.
    fn take(&self, ones: &[bool], j: &str) -> String {
        let at = |k: usize| match ones.get(k) {
            Some(true) => format!("a{k} + {j}"),
            _ => format!("a{k}"),
        };
        let mut c = program::statements(self.expr, |k| self.xs[k].load(&at(k)));
        let held = narrow(self.value()).map(|ty| format!("({ty})")).unwrap_or_default();
        let _ = write!(
            c,
            "    const {} v = {held}v{};\n    {}\n",
            self.ty(),
            self.expr.outputs()[0].value,
            combine(self.op, self.value())
        );
        c
    }

    /// Whether sums are of short sums: rounding errors grow with the length of a sum.
    fn blocked(&self) -> bool {
        self.op == ReduceOp::Sum && self.value().is_float()
    }

    /// One element after the other.
    pub(super) fn any(&self) -> String {
        let (ty, mut c) = (self.ty(), self.begin());
        self.walk(&mut c, "o", ["0", "outer"], "base");
        let _ = writeln!(c, "    {ty} acc = {}, total = 0;", start(self.op, self.value()));
        c.push_str("    i64 best = -1;\n    for (i64 at = from; at < to; ++at) {\n");
        for k in self.operands() {
            let _ = writeln!(c, "    i64 a{k} = base{k};");
        }
        self.walk(&mut c, "at", ["outer", "(int)sizes.rank"], "a");
        if program::numbered(self.expr) {
            c.push_str("    const i64 index = ai;\n");
        }
        c.push_str(&self.take(&[], ""));
        if self.blocked() {
            c.push_str("    if ((at & 63) == 63) { total += acc; acc = 0; }\n");
        }
        c.push_str("    }\n");
        if self.blocked() {
            c.push_str("    acc += total;\n");
        }
        let result = if self.direct && is_arg(self.op) { "best" } else { "acc" };
        let _ = writeln!(c, "    {}", self.y.store("item", result));
        if !self.direct && is_arg(self.op) {
            c.push_str("    z[item] = best;\n");
        }
        c.push_str("}\n");
        c
    }

    /// What is combined lies side by side, at least in the last dim: lane `j` takes every 64th.
    pub(super) fn along(&self, ones: &[bool]) -> String {
        let (ty, mut c) = (self.ty(), self.begin());
        let begin = start(self.op, self.value());
        self.walk(&mut c, "o", ["0", "outer"], "base");
        let _ = write!(
            c,
            "    const int last = (int)sizes.rank - 1;
    const i64 row = sizes.sizes[last];
    {ty} lanes[{LANES}], acc = {begin};
    for (int j = 0; j < {LANES}; ++j) lanes[j] = {begin};
    for (i64 at = from; at < to;) {{
    const i64 line = at / row, first = at - line * row;
    const i64 end = row < first + (to - at) ? row : first + (to - at);
"
        );
        for (k, one) in ones.iter().enumerate() {
            let first = if *one { " + first" } else { "" };
            let _ = writeln!(c, "    i64 a{k} = base{k}{first};");
        }
        self.walk(&mut c, "line", ["outer", "last"], "a");
        let _ = write!(
            c,
            "    i64 i = 0;
    for (; i + {LANES} <= end - first; i += {LANES}) for (int j = 0; j < {LANES}; ++j) {{
    {ty} acc = lanes[j];
{}    lanes[j] = acc;
    }}
    for (; i < end - first; ++i) {{
{}    }}
    at += end - first;
    }}
    for (int j = 0; j < {LANES}; ++j) {{ const {ty} v = lanes[j]; {} }}
    {}
}}
",
            self.take(ones, "i + j"),
            self.take(ones, "i"),
            combine(self.op, self.value()),
            self.y.store("item", "acc"),
        );
        c
    }

    /// What belongs to neighbouring results lies side by side: lane `j` is result `j` of up to 64.
    pub(super) fn across(&self, ones: &[bool]) -> String {
        let (ty, mut c) = (self.ty(), self.begin());
        let begin = start(self.op, self.value());
        let _ = write!(
            c,
            "    const i64 width = sizes.sizes[outer - 1], blocks = (width + {last}) / {LANES};
    const i64 line = o / blocks, first = (o - line * blocks) * {LANES};
    const int count = width - first < {LANES} ? (int)(width - first) : {LANES};
",
            last = LANES - 1
        );
        for (k, one) in ones.iter().enumerate() {
            if *one {
                let _ = writeln!(c, "    base{k} += first;");
            }
        }
        self.walk(&mut c, "line", ["0", "outer - 1"], "base");
        let total = if self.blocked() { format!(", total[{LANES}]") } else { String::new() };
        let _ = write!(
            c,
            "    {ty} lanes[{LANES}]{total};
    for (int j = 0; j < {LANES}; ++j) lanes[j] = {begin};
"
        );
        if self.blocked() {
            let _ = writeln!(c, "    for (int j = 0; j < {LANES}; ++j) total[j] = 0;");
        }
        c.push_str("    for (i64 at = from; at < to; ++at) {\n");
        for k in self.operands() {
            let _ = writeln!(c, "    i64 a{k} = base{k};");
        }
        self.walk(&mut c, "at", ["outer", "(int)sizes.rank"], "a");
        let each = |count: &str| {
            format!(
                "for (int j = 0; j < {count}; ++j) {{
    {ty} acc = lanes[j];
{}    lanes[j] = acc;
    }}",
                self.take(ones, "j")
            )
        };
        let (whole, part) = (each(&LANES.to_string()), each("count"));
        let _ = writeln!(c, "    if (count == {LANES}) {whole}\n    else {part}");
        if self.blocked() {
            let _ = writeln!(
                c,
                "    if ((at & 63) == 63) for (int j = 0; j < {LANES}; ++j) {{ total[j] += lanes[j]; lanes[j] = 0; }}"
            );
        }
        let sum = if self.blocked() { "lanes[j] + total[j]" } else { "lanes[j]" };
        let _ = write!(
            c,
            "    }}
    for (int j = 0; j < count; ++j) {{
        const i64 to_item = (line * width + first + j) * pieces + item % pieces;
        {}
    }}
}}
",
            self.y.store("to_item", sum)
        );
        c
    }
}

/// What an accumulator is before the first element.
fn start(op: ReduceOp, dtype: DType) -> String {
    let (low, high) = match dtype.compute() {
        d if d.is_float() => ("-INFINITY".into(), "INFINITY".into()),
        DType::I64 => ("(i64)0x8000000000000000UL".into(), "(i64)0x7fffffffffffffffUL".into()),
        DType::Bool => (String::from("0"), String::from("1")),
        _ => ("(i32)0x80000000".into(), "(i32)0x7fffffff".into()),
    };
    match op {
        ReduceOp::Sum | ReduceOp::Any => "0".into(),
        ReduceOp::Prod | ReduceOp::All => "1".into(),
        ReduceOp::Max | ReduceOp::ArgMax => low,
        ReduceOp::Min | ReduceOp::ArgMin => high,
    }
}

/// A statement that combines `acc` (found at `best`) with `v` (found at `r`).
fn combine(op: ReduceOp, dtype: DType) -> String {
    let ty = computed(dtype);
    let float = dtype.is_float();
    let whole = !float && dtype != DType::Bool;
    match op {
        ReduceOp::Sum if whole => format!("acc = add_{ty}(acc, v);"),
        ReduceOp::Prod if whole => format!("acc = mul_{ty}(acc, v);"),
        ReduceOp::Sum => "acc += v;".into(),
        ReduceOp::Prod => "acc *= v;".into(),
        ReduceOp::Max => "acc = (acc != acc || acc > v) ? acc : v;".into(),
        ReduceOp::Min => "acc = (acc != acc || acc < v) ? acc : v;".into(),
        ReduceOp::ArgMax | ReduceOp::ArgMin => {
            let sign = if op == ReduceOp::ArgMax { ">" } else { "<" };
            format!(
                "if (best < 0 || v {sign} acc || (v != v && acc == acc)) {{ acc = v; best = at; }}"
            )
        }
        ReduceOp::Any => "acc |= v;".into(),
        ReduceOp::All => "acc &= v;".into(),
    }
}

/// The kernel that combines the pieces, in order.
pub(super) fn second_pass(op: ReduceOp, value: DType, x: &Operand, y: &Operand) -> String {
    let (ty, arg) = (computed(value), is_arg(op));
    let blocked = op == ReduceOp::Sum && value.is_float();
    let places = if arg { ", const GLOBAL i64* z" } else { "" };
    let at = if arg { "z[o * pieces + p]" } else { "p" };
    format!(
        "KERNEL void reduce_parts(i64 n, i64 pieces, {read}, {write}{places}) {{
    const i64 o = ITEM;
    if (o >= n) return;
    {ty} acc = {start}, total = 0;
    i64 best = -1;
    for (i64 p = 0; p < pieces; ++p) {{
        const {ty} v = {load};
        const i64 at = {at};
        {combine}
        {flush}
    }}
    {last}
    {store}
}}
",
        read = x.read(),
        write = y.write(),
        start = start(op, value),
        load = x.load("o * pieces + p"),
        combine = combine(op, value),
        flush = if blocked { "if ((p & 63) == 63) { total += acc; acc = 0; }" } else { "" },
        last = if blocked { "acc += total;" } else { "" },
        store = y.store("o", if arg { "best" } else { "acc" }),
    )
}
