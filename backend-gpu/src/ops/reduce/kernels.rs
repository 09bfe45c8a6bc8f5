//! The C of reductions.

use std::fmt::Write;

use kiln_tensor_core::{DType, Expr, ReduceOp};

use super::is_arg;
use crate::ops::map::declare_params;
use crate::source::{Operand, Shared, Width, computed, locate, narrow, program, room, tree};

/// How many sums go side by side.
pub(super) const LANES: usize = 64;
/// Work-items that share a piece.
pub(super) const GROUP: usize = 256;

/// The kernel that combines pieces of what is reduced.
pub(super) struct FirstPass<'a> {
    pub(super) op: ReduceOp,
    pub(super) expr: &'a Expr,
    /// Whether a piece is the whole.
    pub(super) direct: bool,
    pub(super) xs: &'a [Operand],
    pub(super) y: &'a Operand,
    pub(super) width: Width,
}

impl FirstPass<'_> {
    fn value(&self) -> DType {
        self.expr.outputs()[0].dtype
    }

    fn ty(&self) -> &'static str {
        computed(self.value())
    }

    /// The declaration, and the piece `[from, to)` of line `o`, which is `number`. Pieces of neighbouring lines
    /// have neighbouring numbers, so that neighbours read and write side by side. An input's place is `q0`, `q1`,
    /// …, that of the elements' numbers `qi`.
    fn begin(&self, number: &str) -> String {
        let mut c = String::from(
            "KERNEL void reduce(i64 lines, i64 pieces, i64 per, i64 length, i32 outer, Sizes sizes",
        );
        for (k, x) in self.xs.iter().enumerate() {
            let _ = write!(c, ", {}, Place q{k}", x.read());
        }
        let _ = write!(c, ", Place qi, {}", self.y.write());
        if !self.direct && is_arg(self.op) {
            c.push_str(", GLOBAL i64* z");
        }
        declare_params(&mut c, self.expr);
        let _ = write!(
            c,
            ") {{
    const i64 item = {number};
    if (item >= lines * pieces) return;
    const i64 piece = item / lines, o = item - piece * lines, from = piece * per;
    const i64 to = from + per < length ? from + per : length;
"
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
    fn walk(&self, c: &mut String, number: &str, range: [&str; 2], at: &str) {
        let places =
            self.operands().into_iter().map(|k| (format!("{at}{k}"), format!("q{k}.strides")));
        c.push_str(&locate(number, "sizes", range, self.width, places));
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

    /// One element after the other.
    pub(super) fn any(&self) -> String {
        let mut c = self.begin("ITEM");
        self.walk(&mut c, "o", ["0", "outer"], "base");
        self.combined(&mut c, ["from", "1"]);
        c + &self.found() + "}\n"
    }

    /// A group shares the piece: each work-item takes every 256th element.
    pub(super) fn together(&self) -> String {
        let mut c = self.begin("GROUP_ID");
        c.push_str(&room(GROUP, &shared(self.op, self.value())));
        self.walk(&mut c, "o", ["0", "outer"], "base");
        self.combined(&mut c, ["from + LANE", &GROUP.to_string()]);
        c.push_str(&group_tree(self.op, self.value()));
        c + "    if (LANE == 0) {\n" + &self.found() + "    }\n}\n"
    }

    /// Combines every so many-th element of the piece as `acc`, found at `best`.
    fn combined(&self, c: &mut String, [first, step]: [&str; 2]) {
        c.push_str(&accumulators(self.op, self.value()));
        let _ = writeln!(c, "    for (i64 at = {first}; at < to; at += {step}) {{");
        for k in self.operands() {
            let _ = writeln!(c, "    i64 a{k} = base{k};");
        }
        self.walk(c, "at", ["outer", "(int)sizes.rank"], "a");
        if program::numbered(self.expr) {
            c.push_str("    const i64 index = ai;\n");
        }
        c.push_str(&self.take(&[], ""));
        c.push_str(flush(self.op, self.value()));
        c.push_str("    }\n");
        c.push_str(total(self.op, self.value()));
    }

    /// Stores what the piece has come to.
    fn found(&self) -> String {
        let result = if self.direct && is_arg(self.op) { "best" } else { "acc" };
        let mut c = format!("    {}\n", self.y.store("item", result));
        if !self.direct && is_arg(self.op) {
            c.push_str("    z[item] = best;\n");
        }
        c
    }

    /// What is combined lies side by side, at least in the last dim: lane `j` takes every 64th.
    pub(super) fn along(&self, ones: &[bool]) -> String {
        let (ty, mut c) = (self.ty(), self.begin("ITEM"));
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
        let (ty, mut c) = (self.ty(), self.begin("ITEM"));
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
        let blocked = blocked(self.op, self.value());
        let total = if blocked { format!(", total[{LANES}]") } else { String::new() };
        let _ = write!(
            c,
            "    {ty} lanes[{LANES}]{total};
    for (int j = 0; j < {LANES}; ++j) lanes[j] = {begin};
"
        );
        if blocked {
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
        if blocked {
            let _ = writeln!(
                c,
                "    if ((at & 63) == 63) for (int j = 0; j < {LANES}; ++j) {{ total[j] += lanes[j]; lanes[j] = 0; }}"
            );
        }
        let sum = if blocked { "lanes[j] + total[j]" } else { "lanes[j]" };
        let _ = write!(
            c,
            "    }}
    for (int j = 0; j < count; ++j) {{
        const i64 to_item = piece * (lines / blocks * width) + line * width + first + j;
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

/// Whether sums are of short sums: rounding errors grow with the length of a sum.
fn blocked(op: ReduceOp, dtype: DType) -> bool {
    op == ReduceOp::Sum && dtype.is_float()
}

/// Declares what elements are combined into.
fn accumulators(op: ReduceOp, dtype: DType) -> String {
    let ty = computed(dtype);
    let short = if blocked(op, dtype) {
        format!("    {ty} total = 0;\n    int turn = 0;\n")
    } else {
        String::new()
    };
    format!("    {ty} acc = {};\n    i64 best = -1;\n{short}", start(op, dtype))
}

/// Ends a short sum now and then.
fn flush(op: ReduceOp, dtype: DType) -> &'static str {
    match blocked(op, dtype) {
        true => "    if ((++turn & 63) == 0) { total += acc; acc = 0; }\n",
        false => "",
    }
}

/// Adds the short sums up.
fn total(op: ReduceOp, dtype: DType) -> &'static str {
    if blocked(op, dtype) { "    acc += total;\n" } else { "" }
}

/// What the work-items of a group combine.
fn shared(op: ReduceOp, dtype: DType) -> Vec<Shared> {
    let acc = Shared { own: "acc", other: "v", ty: computed(dtype) };
    let best = Shared { own: "best", other: "r", ty: "i64" };
    if is_arg(op) { vec![acc, best] } else { vec![acc] }
}

/// Combines what the work-items of a group have found.
fn group_tree(op: ReduceOp, dtype: DType) -> String {
    let combine = match is_arg(op) {
        false => combine(op, dtype),
        // Of equals the first: each has found one in a place of its own, if any.
        true => {
            let sign = if op == ReduceOp::ArgMax { ">" } else { "<" };
            format!(
                "if (r >= 0 && (best < 0 || v {sign} acc || (v != v && acc == acc)
        || ((v == acc || (v != v && acc != acc)) && r < best))) {{ acc = v; best = r; }}"
            )
        }
    };
    tree(GROUP, &shared(op, dtype), &combine)
}

/// The kernel that combines the pieces, in order: of a result by one work-item, or by a group.
pub(super) fn second_pass(
    op: ReduceOp,
    value: DType,
    x: &Operand,
    y: &Operand,
    together: bool,
) -> String {
    let arg = is_arg(op);
    let places = if arg { ", const GLOBAL i64* z" } else { "" };
    let found = if arg { "z[p * n + o]" } else { "p" };
    let store = y.store("o", if arg { "best" } else { "acc" });
    let [number, first, step] = match together {
        true => ["GROUP_ID", "LANE", &GROUP.to_string()],
        false => ["ITEM", "0", "1"],
    };
    let [room, tree, store] = match together {
        true => [
            room(GROUP, &shared(op, value)),
            group_tree(op, value),
            format!("if (LANE == 0) {{ {store} }}"),
        ],
        false => [String::new(), String::new(), store],
    };
    format!(
        "KERNEL void reduce_parts(i64 n, i64 pieces, {read}, {write}{places}) {{
{room}    const i64 o = {number};
    if (o >= n) return;
{accumulators}    for (i64 p = {first}; p < pieces; p += {step}) {{
        const {ty} v = {load};
        const i64 at = {found};
        {combine}
    {flush}    }}
{total}{tree}    {store}
}}
",
        ty = computed(value),
        read = x.read(),
        write = y.write(),
        accumulators = accumulators(op, value),
        load = x.load("p * n + o"),
        combine = combine(op, value),
        flush = flush(op, value),
        total = total(op, value),
    )
}
