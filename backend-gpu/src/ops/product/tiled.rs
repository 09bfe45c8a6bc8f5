//! Products on a GPU: a group works out a tile of 64 × 64, each of its 256 work-items a block of 4 × 4 in
//! registers, from slabs of both operands in local memory. Operands are read where they lie: what their
//! elements are is text, so that a convolution's windows are never stored.

use kiln_tensor_core::{DType, Tensor};

use super::{Matrix, Sizes};
use crate::launch::Call;
use crate::runtime::{DeviceKind, Traits};
use crate::source::{Operand, computed};
use crate::{Gpu, Runtime};

/// Rows and columns of a tile.
const SIDE: usize = 64;
/// Steps of the sum in a slab.
const DEPTH: usize = 16;
/// Work-items of a group.
const GROUP: usize = 256;
/// Rows and columns of a work-item's block.
const BLOCK: usize = 4;

/// Whether the device has groups of that size, and gains from local memory.
pub(super) fn suits(traits: &Traits, dtype: DType) -> bool {
    let slabs = 2 * DEPTH * (SIDE + 4) * dtype.compute().size();
    traits.kind != DeviceKind::Cpu
        && dtype.is_float()
        && traits.largest_group >= GROUP
        && traits.local_bytes >= slabs
}

/// How a kernel reads an operand, a row (or a column) and a step of the sum at a time.
pub(crate) struct Side {
    /// What its parameters need to be declared.
    pub(crate) types: &'static str,
    /// Parameters of the kernel, with a comma before each.
    pub(crate) parameters: String,
    /// Statements that prepare for row `line` of matrix `matrix`.
    pub(crate) line: String,
    /// Statements that define `value` as the row's element at step `t`.
    pub(crate) element: String,
    /// Whether steps lie side by side, not rows.
    pub(crate) by_step: bool,
}

/// Writes the products to elements `[first, first + batch · m · n)` of `out`.
#[track_caller]
pub(super) fn multiply<R: Runtime>(
    (a, b): (&impl Matrix<R>, &impl Matrix<R>),
    sizes: Sizes,
    (out, first): (&Tensor<Gpu<R>>, usize),
) {
    let Sizes { batch, m, n, k } = sizes;
    let tiles = batch * m.div_ceil(SIDE) * n.div_ceil(SIDE);
    let y = Operand::new("y", out.dtype(), true);
    let call = Call::<R>::new(out.device())
        .value(m as i64)
        .value(n as i64)
        .value(k as i64)
        .operand(&y, out)
        .value(first as i64);
    let key = (a.key(), b.key(), out.dtype());
    b.pass(a.pass(call)).run_groups("tiled", key, (tiles, GROUP), || {
        body(out.dtype(), &y, &[a.side("a"), b.side("b")])
    });
}

fn body(dtype: DType, y: &Operand, [a, b]: &[Side; 2]) -> String {
    let ty = computed(dtype);
    let slab = |side: &Side, name: &str, from: &str, size: &str| {
        // Neighbouring work-items read neighbouring elements.
        let (line, step) = match side.by_step {
            true => (format!("e / {DEPTH}"), format!("e % {DEPTH}")),
            false => (format!("e % {SIDE}"), format!("e / {SIDE}")),
        };
        format!(
            "        for (int e = LANE; e < {elements}; e += {GROUP}) {{
            const int l = {line}, d = {step};
            const i64 line = {from} + l, t = at + d;
            {ty} value = 0;
            if (line < {size} && t < k) {{
                {prepare}
                {element}
            }}
            {name}[d][l] = value;
        }}
",
            elements = SIDE * DEPTH,
            prepare = side.line,
            element = side.element,
        )
    };
    format!(
        "{types}KERNEL void tiled(i64 m, i64 n, i64 k, {write}, i64 first{a_parameters}{b_parameters}) {{
    LOCAL {ty} rows[{DEPTH}][{SIDE} + 4];
    LOCAL {ty} columns[{DEPTH}][{SIDE} + 4];
    const i64 down = (m + {last}) / {SIDE}, across = (n + {last}) / {SIDE};
    const i64 matrix = GROUP_ID / (down * across), tile = GROUP_ID - matrix * down * across;
    const i64 r0 = tile / across * {SIDE}, c0 = tile % across * {SIDE};
    const int row = LANE / {threads} * {BLOCK}, column = LANE % {threads} * {BLOCK};
    {ty} sums[{BLOCK}][{BLOCK}];
    for (int i = 0; i < {BLOCK}; ++i) for (int j = 0; j < {BLOCK}; ++j) sums[i][j] = 0;
    for (i64 at = 0; at < k; at += {DEPTH}) {{
{a_slab}{b_slab}        BARRIER;
        for (int d = 0; d < {DEPTH}; ++d) {{
            {ty} p[{BLOCK}], q[{BLOCK}];
            for (int i = 0; i < {BLOCK}; ++i) {{ p[i] = rows[d][row + i]; q[i] = columns[d][column + i]; }}
            for (int i = 0; i < {BLOCK}; ++i)
                for (int j = 0; j < {BLOCK}; ++j) sums[i][j] = fma(p[i], q[j], sums[i][j]);
        }}
        BARRIER;
    }}
    const i64 to = first + (matrix * m + r0 + row) * n + c0 + column;
    for (int i = 0; i < {BLOCK} && r0 + row + i < m; ++i)
        for (int j = 0; j < {BLOCK} && c0 + column + j < n; ++j) {{ {store} }}
}}
",
        types = [a.types, b.types].concat(),
        write = y.write(),
        a_parameters = a.parameters,
        b_parameters = b.parameters,
        last = SIDE - 1,
        threads = SIDE / BLOCK,
        a_slab = slab(a, "rows", "r0", "m"),
        b_slab = slab(b, "columns", "c0", "n"),
        store = y.store("to + i * n + j", "sums[i][j]"),
    )
}
