//! Attention on a GPU: a group keeps a tile of queries in local memory and goes over the keys tile by tile, with
//! the softmax as it goes (Milakov and Gimelshein 2018, Dao et al. 2022); the gradient of keys goes over
//! the queries. Nothing of the size `l × s` is stored, and no two groups write to one place. On the cores of a
//! host products of whole matrices are faster: the composition.

use std::hash::{Hash, Hasher};

use kiln_tensor_core::{AttentionSpec, DType, Fused, Layout, ReduceOp, Shape, Tensor, compose};

use crate::launch::{Call, supported, traits};
use crate::place::{Walk, walk};
use crate::runtime::DeviceKind;
use crate::source::{Operand, computed};
use crate::storage::fresh;
use crate::{Gpu, Runtime};

type T<R> = Tensor<Gpu<R>>;

const OP: &str = "scaled_dot_product_attention";
/// Rows of a work-item's block, and its columns.
const ROWS: usize = 4;
const COLUMNS: usize = 2;

/// See `Backend::scaled_dot_product_attention`.
#[track_caller]
pub(crate) fn attention<R: Runtime>(
    q: &T<R>,
    k: &T<R>,
    v: &T<R>,
    mask: Option<&T<R>>,
    spec: &AttentionSpec,
) -> [T<R>; 2] {
    let Some(tile) = Tile::of([q, k, v], mask, spec, 2) else {
        return compose::scaled_dot_product_attention(q, k, v, mask, spec);
    };
    let outer = &q.dims()[..q.rank() - 1];
    let lines = Shape::from(outer);
    let out = fresh::<R>(&outer.iter().copied().chain([tile.ev]).collect(), q.dtype(), q.device());
    let log = fresh::<R>(&lines, q.dtype().compute(), q.device());
    let tensors = [("q", q), ("k", k), ("v", v)].into_iter().chain(mask.map(|mask| ("mask", mask)));
    let (call, operands) =
        tile.call(&tensors.collect::<Vec<_>>(), &[("y", &out), ("lse", &log)], spec);
    let groups = lines.numel() / tile.l * tile.l.div_ceil(tile.side);
    call.run_groups("attention", &tile, (groups, tile.lanes()), || tile.forward(&operands));
    [out, log]
}

/// See `Backend::scaled_dot_product_attention_grad`.
#[track_caller]
#[allow(clippy::too_many_arguments, reason = "the operands of the op, and its results")]
pub(crate) fn attention_grad<R: Runtime>(
    grad: &T<R>,
    q: &T<R>,
    k: &T<R>,
    v: &T<R>,
    mask: Option<&T<R>>,
    out: &T<R>,
    log: &T<R>,
    spec: &AttentionSpec,
) -> [T<R>; 3] {
    static DOT: Fused<2> = Fused::new("attention_grad_dot", |[g, y]| {
        let wide = g.dtype().compute();
        g.cast(wide) * y.cast(wide)
    });
    let Some(tile) = Tile::of([q, k, v], mask, spec, 3) else {
        return compose::scaled_dot_product_attention_grad(grad, q, k, v, mask, spec);
    };
    let dot = DOT.reduce(ReduceOp::Sum, [grad, out], &[grad.rank() - 1]);
    let batches = q.dims()[..q.rank() - 2].iter().product::<usize>();
    let made = [q, k, v].map(|x| fresh::<R>(x.shape(), x.dtype(), x.device()));
    let log = log.unsqueeze(-1);
    let tensors = [("q", q), ("k", k), ("v", v), ("g", grad), ("lse", &log), ("dot", &dot)];
    let tensors: Vec<_> = tensors.into_iter().chain(mask.map(|mask| ("mask", mask))).collect();
    let [dq, dk, dv] = &made;
    let queries: &[_] = &[("dq", dq)];
    for (entry, written, size) in [
        ("attention_grad_query", queries, tile.l),
        ("attention_grad_key", &[("dk", dk), ("dv", dv)], tile.s),
    ] {
        let (call, operands) = tile.call(&tensors, written, spec);
        let groups = batches * size.div_ceil(tile.side);
        call.run_groups(entry, &tile, (groups, tile.lanes()), || tile.backward(entry, &operands));
    }
    made
}

/// What a kernel depends on; `l` and `s` are told at the launch.
struct Tile {
    dtype: DType,
    mask: Option<DType>,
    causal: bool,
    /// Queries and keys of a tile.
    side: usize,
    l: usize,
    s: usize,
    e: usize,
    ev: usize,
}

impl Hash for Tile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.dtype, self.mask, self.causal, self.side, self.e, self.ev).hash(state);
    }
}

/// Operands of a kernel by name.
type Operands = Vec<(&'static str, Operand)>;

impl Tile {
    /// The largest of which local memory holds `count` tiles of vectors and what belongs to them; none on a
    /// device without local memory, or where there is nothing to do.
    #[track_caller]
    fn of<R: Runtime>(
        [q, k, v]: [&T<R>; 3],
        mask: Option<&T<R>>,
        spec: &AttentionSpec,
        count: usize,
    ) -> Option<Tile> {
        supported::<R>(OP, q.device(), [q.dtype()]);
        let traits = traits::<R>(q.device());
        let last = |x: &T<R>, d: usize| x.dims()[x.rank() - d];
        let [l, s, e, ev] = [last(q, 2), last(k, 2), last(q, 1), last(v, 1)];
        if traits.kind == DeviceKind::Cpu || q.numel() * v.numel() == 0 || !q.dtype().is_float() {
            return None;
        }
        let bytes = |side: usize| {
            let vectors = count * (e.max(ev) + 1);
            side * (vectors + side + 1 + side / COLUMNS + 1) * q.dtype().compute().size()
        };
        let fits = |side: &usize| {
            traits.local_bytes >= bytes(*side) && traits.largest_group >= lanes(*side)
        };
        let side = [32, 16].into_iter().find(fits)?;
        let mask = mask.map(Tensor::dtype);
        Some(Tile { dtype: q.dtype(), mask, causal: spec.causal, side, l, s, e, ev })
    }

    fn lanes(&self) -> usize {
        lanes(self.side)
    }

    /// Work-items beside each other.
    fn across(&self) -> usize {
        self.side / COLUMNS
    }

    /// The call with all operands: those that are read have a place and two steps each, those that are
    /// written are contiguous.
    #[track_caller]
    fn call<'a, R: Runtime>(
        &self,
        read: &[(&'static str, &'a T<R>)],
        written: &[(&'static str, &'a T<R>)],
        spec: &AttentionSpec,
    ) -> (Call<'a, R>, Operands) {
        let first = read[0].1;
        let lead: Shape = first.dims()[..first.rank() - 2].into();
        let layout = |(_, x): &(&str, &T<R>)| {
            let strides = x.strides()[..x.rank() - 2].into();
            Layout::new(lead.clone(), strides, x.layout().offset())
        };
        let layouts: Vec<Layout> = read.iter().map(layout).collect();
        let (Walk { sizes, places }, _) = walk(OP, &lead, &layouts, |_| false);
        let mut call =
            Call::<R>::new(first.device()).value(self.l as i64).value(self.s as i64).value(sizes);
        call = match self.dtype.compute() {
            DType::F64 => call.value(spec.scale),
            _ => call.value(spec.scale as f32),
        };
        let mut operands = Operands::new();
        for (&(name, x), &place) in read.iter().zip(&places) {
            let operand = Operand::new(name, x.dtype(), true);
            let steps = &x.strides()[x.rank() - 2..];
            call = call
                .operand(&operand, x)
                .value(place)
                .value(steps[0] as i64)
                .value(steps[1] as i64);
            operands.push((name, operand));
        }
        for &(name, x) in written {
            let operand = Operand::new(name, x.dtype(), true);
            call = call.operand(&operand, x);
            operands.push((name, operand));
        }
        (call, operands)
    }

    /// The head of a kernel up to where its operands' matrices of this batch begin: `name_at`. Its groups share
    /// `size` rows of each matrix, and begin with row `r0`.
    fn head(&self, entry: &str, written: &[&str], size: &str, operands: &Operands) -> String {
        let ty = computed(self.dtype);
        let mut c = format!("KERNEL void {entry}(i64 l, i64 s, Sizes sizes, {ty} scale");
        let mut read = Vec::new();
        for (name, operand) in operands {
            if written.contains(name) {
                c += &format!(", {}", operand.write());
                continue;
            }
            read.push(*name);
            c += &format!(
                ", {}, Place {name}_place, i64 {name}_row, i64 {name}_step",
                operand.read()
            );
        }
        c += &format!(
            ") {{
    const i64 tiles = ({size} + {last}) / {side}, batch = GROUP_ID / tiles;
    const i64 r0 = (GROUP_ID - batch * tiles) * {side};
    const int down = LANE / {across} * {ROWS}, across = LANE % {across};
    i64 rest = batch;
",
            last = self.side - 1,
            side = self.side,
            across = self.across(),
        );
        for name in &read {
            c += &format!("    i64 {name}_at = {name}_place.offset;\n");
        }
        c += "    for (int d = (int)sizes.rank - 1; d >= 0; --d) {
        const i64 next = rest / sizes.sizes[d], k = rest - next * sizes.sizes[d];
        rest = next;
";
        for name in &read {
            c += &format!("        {name}_at += k * {name}_place.strides[d];\n");
        }
        c + "    }\n"
    }

    /// Copies the tile of `width` columns that begins with row `first` (of `size`) to local memory.
    fn copy(
        &self,
        operands: &Operands,
        name: &str,
        (to, width): (&str, usize),
        (first, size): (&str, &str),
    ) -> String {
        format!(
            "    for (int at = LANE; at < {all}; at += {lanes}) {{
        const int r = at / {width}, d = at % {width};
        {to}[r][d] = {first} + r < {size} ? {value} : 0;
    }}
",
            all = self.side * width,
            lanes = self.lanes(),
            value = find(operands, name)
                .load(&format!("{name}_at + ({first} + r) * {name}_row + d * {name}_step")),
        )
    }

    /// Defines `name` as this work-item's block of products of the rows of two tiles.
    fn products(&self, name: &str, [rows, columns]: [&str; 2], width: usize) -> String {
        let (ty, across) = (computed(self.dtype), self.across());
        format!(
            "    {ty} {name}[{ROWS}][{COLUMNS}];
    for (int i = 0; i < {ROWS}; ++i) for (int j = 0; j < {COLUMNS}; ++j) {name}[i][j] = 0;
    for (int d = 0; d < {width}; ++d) {{
        {ty} a[{ROWS}], b[{COLUMNS}];
        for (int i = 0; i < {ROWS}; ++i) a[i] = {rows}[down + i][d];
        for (int j = 0; j < {COLUMNS}; ++j) b[j] = {columns}[across + j * {across}][d];
        for (int i = 0; i < {ROWS}; ++i)
            for (int j = 0; j < {COLUMNS}; ++j) {name}[i][j] = fma(a[i], b[j], {name}[i][j]);
    }}
"
        )
    }

    /// Adds the product of the tile `p` and another to this work-item's columns of the sums.
    fn gather(&self, sums: &str, tile: &str, width: usize) -> String {
        let (ty, across, each) = (computed(self.dtype), self.across(), self.each(width));
        format!(
            "    for (int t = 0; t < {side}; ++t) {{
        {ty} a[{ROWS}];
        for (int i = 0; i < {ROWS}; ++i) a[i] = p[down + i][t];
        for (int c = 0; c < {each}; ++c) {{
            if (across + c * {across} >= {width}) break;
            const {ty} b = {tile}[t][across + c * {across}];
            for (int i = 0; i < {ROWS}; ++i) {sums}[i][c] = fma(a[i], b, {sums}[i][c]);
        }}
    }}
",
            side = self.side
        )
    }

    /// Columns of sums that a work-item has.
    fn each(&self, width: usize) -> usize {
        width.div_ceil(self.across())
    }

    fn sums(&self, name: &str, width: usize) -> String {
        let (ty, each) = (computed(self.dtype), self.each(width));
        format!(
            "    {ty} {name}[{ROWS}][{each}];
    for (int i = 0; i < {ROWS}; ++i) for (int c = 0; c < {each}; ++c) {name}[i][c] = 0;
"
        )
    }

    /// Stores the sums, times `factor` (of row `i`), in a contiguous result.
    fn finish(
        &self,
        operands: &Operands,
        (sums, to): (&str, &str),
        (size, width): (&str, usize),
        factor: &str,
    ) -> String {
        format!(
            "    for (int i = 0; i < {ROWS} && r0 + down + i < {size}; ++i)
        for (int c = 0; c < {each}; ++c) {{
            const int d = across + c * {across};
            if (d < {width}) {{ {store} }}
        }}
",
            each = self.each(width),
            across = self.across(),
            store = find(operands, to).store(
                &format!("(batch * {size} + r0 + down + i) * {width} + d"),
                &format!("{sums}[i][c]{factor}")
            ),
        )
    }

    /// Statements that make the product `x` of query `query` and key `key` the score, −∞ where the query does not
    /// see the key.
    fn score(&self, operands: &Operands) -> String {
        let causal = if self.causal { " && key <= query" } else { "" };
        let at = "mask_at + query * mask_row + key * mask_step";
        let mask = match self.mask {
            None => String::new(),
            Some(DType::Bool) => {
                format!("if (!{}) x = -INFINITY;", find(operands, "mask").load(at))
            }
            Some(_) => format!("x += {};", find(operands, "mask").load(at)),
        };
        format!(
            "x *= scale;
            if (!(query < l && key < s{causal})) x = -INFINITY;
            else {{ {mask} }}"
        )
    }

    fn local(&self, name: &str, width: usize) -> String {
        let (ty, side) = (computed(self.dtype), self.side);
        format!("    LOCAL {ty} {name}[{side}][{width} + 1];\n")
    }

    fn forward(&self, operands: &Operands) -> String {
        let &Tile { side, e, ev, .. } = self;
        let (ty, across, columns) = (computed(self.dtype), self.across(), self.each(ev));
        let end =
            if self.causal { format!("(s < r0 + {side} ? s : r0 + {side})") } else { "s".into() };
        let parts = [
            self.head("attention", &["y", "lse"], "l", operands),
            self.local("rows", e),
            self.local("other", e.max(ev)),
            self.local("p", side),
            self.local("part", across),
            self.copy(operands, "q", ("rows", e), ("r0", "l")),
            self.sums("sums", ev),
            format!(
                "    {ty} top[{ROWS}], total[{ROWS}];
    for (int i = 0; i < {ROWS}; ++i) {{ top[i] = -INFINITY; total[i] = 0; }}
    for (i64 c0 = 0; c0 < {end}; c0 += {side}) {{
    BARRIER;
"
            ),
            self.copy(operands, "k", ("other", e), ("c0", "s")),
            "    BARRIER;\n".into(),
            self.products("block", ["rows", "other"], e),
            format!(
                "    for (int i = 0; i < {ROWS}; ++i) {{
        {ty} most = -INFINITY;
        for (int j = 0; j < {COLUMNS}; ++j) {{
            const i64 query = r0 + down + i, key = c0 + across + j * {across};
            {ty} x = block[i][j];
            {score}
            block[i][j] = x;
            most = (most != most || most > x) ? most : x;
        }}
        part[down + i][across] = most;
    }}
    BARRIER;
    for (int i = 0; i < {ROWS}; ++i) {{
        {ty} most = top[i];
        for (int t = 0; t < {across}; ++t) {{
            const {ty} x = part[down + i][t];
            most = (most != most || most > x) ? most : x;
        }}
        const {ty} shift = most == -INFINITY ? 0 : most, fade = exp(top[i] - shift);
        top[i] = most;
        total[i] *= fade;
        for (int c = 0; c < {columns}; ++c) sums[i][c] *= fade;
        for (int j = 0; j < {COLUMNS}; ++j) {{
            const {ty} w = exp(block[i][j] - shift);
            total[i] += w;
            p[down + i][across + j * {across}] = w;
        }}
    }}
",
                score = self.score(operands)
            ),
            self.copy(operands, "v", ("other", ev), ("c0", "s")),
            "    BARRIER;\n".into(),
            self.gather("sums", "other", ev),
            format!(
                "    }}
    BARRIER;
    for (int i = 0; i < {ROWS}; ++i) part[down + i][across] = total[i];
    BARRIER;
    for (int i = 0; i < {ROWS}; ++i) {{
        total[i] = 0;
        for (int t = 0; t < {across}; ++t) total[i] += part[down + i][t];
        if (across == 0 && r0 + down + i < l) {{ {log} }}
        total[i] = total[i] == 0 ? 1 : total[i];
    }}
",
                log = find(operands, "lse")
                    .store("batch * l + r0 + down + i", "log(total[i]) + top[i]"),
            ),
            self.finish(operands, ("sums", "y"), ("l", ev), " / total[i]"),
            "}\n".into(),
        ];
        parts.concat()
    }

    /// The gradient in queries, whose tiles meet one tile of keys after the other; or the gradients in keys and
    /// values, the other way round.
    fn backward(&self, entry: &str, operands: &Operands) -> String {
        let &Tile { side, e, ev, .. } = self;
        let (ty, across) = (computed(self.dtype), self.across());
        let queries = entry == "attention_grad_query";
        let written: &[&str] = if queries { &["dq"] } else { &["dk", "dv"] };
        // The rows of the group's tile and of the others: what scores are products of, and what the gradients
        // in the weights are.
        let (own, other) =
            if queries { (["q", "g"], ["k", "v"]) } else { (["k", "v"], ["q", "g"]) };
        let (own_size, other_size) = if queries { ("l", "s") } else { ("s", "l") };
        let (query, key) = match queries {
            true => ("r0 + down + i", "c0 + across + j * STEP"),
            false => ("c0 + across + j * STEP", "r0 + down + i"),
        };
        let (first, last) = match (self.causal, queries) {
            (false, _) => ("0", other_size.to_owned()),
            (true, true) => ("0", format!("(s < r0 + {side} ? s : r0 + {side})")),
            (true, false) => ("r0", "l".to_owned()),
        };
        let of_query =
            |name: &str| find(operands, name).load(&format!("{name}_at + query * {name}_row"));
        let keep = |block: &str| {
            format!(
                "    for (int i = 0; i < {ROWS}; ++i)
        for (int j = 0; j < {COLUMNS}; ++j) p[down + i][across + j * {across}] = {block}[i][j];
    BARRIER;
"
            )
        };
        let mut parts = vec![
            self.head(entry, written, own_size, operands),
            self.local("first", e),
            self.local("second", ev),
            self.local("other", e.max(ev)),
            self.local("p", side),
            self.copy(operands, own[0], ("first", e), ("r0", own_size)),
            self.copy(operands, own[1], ("second", ev), ("r0", own_size)),
            self.sums("sums", e),
            if queries { String::new() } else { self.sums("values", ev) },
            format!("    for (i64 c0 = {first}; c0 < {last}; c0 += {side}) {{\n    BARRIER;\n"),
            self.copy(operands, other[0], ("other", e), ("c0", other_size)),
            "    BARRIER;\n".into(),
            self.products("weights", ["first", "other"], e),
            "    BARRIER;\n".into(),
            self.copy(operands, other[1], ("other", ev), ("c0", other_size)),
            "    BARRIER;\n".into(),
            self.products("slopes", ["second", "other"], ev),
            format!(
                "    for (int i = 0; i < {ROWS}; ++i)
        for (int j = 0; j < {COLUMNS}; ++j) {{
            const i64 query = {query}, key = {key};
            {ty} x = weights[i][j];
            {score}
            const {ty} total = query < l ? {total} : 0;
            // A query that sees no key has no weights.
            const {ty} w = total == -INFINITY ? 0 : exp(x - total);
            weights[i][j] = w;
            slopes[i][j] = query < l ? w * (slopes[i][j] - {dot}) * scale : 0;
        }}
",
                query = query.replace("STEP", &across.to_string()),
                key = key.replace("STEP", &across.to_string()),
                score = self.score(operands),
                total = of_query("lse"),
                dot = of_query("dot"),
            ),
        ];
        if !queries {
            parts.extend([keep("weights"), self.gather("values", "other", ev)]);
            parts.push("    BARRIER;\n".into());
        } else {
            parts.push("    BARRIER;\n".into());
        }
        parts.extend([
            self.copy(operands, other[0], ("other", e), ("c0", other_size)),
            keep("slopes"),
            self.gather("sums", "other", e),
            "    }\n".into(),
            self.finish(operands, ("sums", written[0]), (own_size, e), ""),
        ]);
        if !queries {
            parts.push(self.finish(operands, ("values", "dv"), (own_size, ev), ""));
        }
        parts.concat() + "}\n"
    }
}

/// Work-items of a group whose tile has this side.
fn lanes(side: usize) -> usize {
    side / ROWS * (side / COLUMNS)
}

fn find<'a>(operands: &'a Operands, name: &str) -> &'a Operand {
    let found = operands.iter().find(|(known, _)| *known == name);
    &found.expect("an operand of the call").1
}
