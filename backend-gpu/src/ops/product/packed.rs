//! Products of packed matrices on the cores of a host: both operands are copied to panels, as wide as a
//! tile of registers, and each work-item works out one tile. No local memory, no barriers: on a CPU those
//! cost twenty times what they gain.

use std::fmt::Write;

use kiln_tensor_core::{DType, Tensor};

use super::{Matrix, Sizes};
use crate::launch::Call;
use crate::runtime::{DeviceKind, Dialect, Traits};
use crate::source::{Operand, checked, computed};
use crate::{Gpu, Runtime};

/// The registers of a work-item: `rows` × `vectors` of `lanes` sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    rows: usize,
    vectors: usize,
    lanes: usize,
}

impl Tile {
    /// The tile for a compute dtype, where the device is one for this kind of product.
    pub(super) fn of(traits: &Traits, dtype: DType) -> Option<Tile> {
        if traits.kind != DeviceKind::Cpu || traits.dialect != Dialect::OpenCl || !dtype.is_float()
        {
            return None;
        }
        // 32 registers hold 24 sums, 2 of one operand and 1 of the other; 16 hold 12.
        let rows = if traits.vector_bytes >= 64 { 12 } else { 6 };
        let lanes = (traits.vector_bytes / dtype.compute().size()).clamp(2, 16);
        Some(Tile { rows, vectors: 2, lanes })
    }

    fn columns(self) -> usize {
        self.vectors * self.lanes
    }
}

/// Writes `a · b` to elements `[first, first + batch · m · n)` of `out`.
#[track_caller]
pub(super) fn multiply<R: Runtime>(
    tile: Tile,
    (a, b): (&impl Matrix<R>, &impl Matrix<R>),
    sizes: Sizes,
    (out, first): (&Tensor<Gpu<R>>, usize),
) {
    let Sizes { batch, m, n, k } = sizes;
    let (a, b) = (a.pack(tile.rows), b.pack(tile.columns()));
    let (down, across) = (m.div_ceil(tile.rows), n.div_ceil(tile.columns()));
    let y = Operand::new("y", out.dtype(), true);
    let tiles = batch * down * across;
    Call::<R>::new(out.device())
        .value(down as i64)
        .value(across as i64)
        .value(m as i64)
        .value(n as i64)
        .value(k as i64)
        .value(a.step() as i64)
        .value(b.step() as i64)
        .tensor(a.elements())
        .tensor(b.elements())
        .operand(&y, out)
        .value(first as i64)
        .run_groups("product", (tile, out.dtype()), (tiles, 1), || body(tile, out.dtype(), &y));
}

fn body(tile: Tile, dtype: DType, y: &Operand) -> String {
    let Tile { rows, vectors, lanes } = tile;
    let (ty, columns) = (computed(dtype), tile.columns());
    let vector = format!("{}{lanes}", if ty == "f64" { "double" } else { "float" });
    let each = |f: &mut dyn FnMut(usize, usize)| {
        (0..rows).for_each(|i| (0..vectors).for_each(|j| f(i, j)));
    };
    let mut c = format!(
        "KERNEL void product(i64 down, i64 across, i64 m, i64 n, i64 k, i64 a_step, i64 b_step,
    const GLOBAL {ty}* a, const GLOBAL {ty}* b, {}, i64 first) {{
    const i64 item = ITEM, column = item / down, row = item - column * down, matrix = column / across;
    const i64 r0 = row * {rows}, c0 = (column - matrix * across) * {columns};
    const GLOBAL {ty}* p = a + matrix * a_step + r0 * k;
    const GLOBAL {ty}* q = b + matrix * b_step + c0 * k;
",
        y.write()
    );
    each(&mut |i, j| _ = write!(c, "    {vector} s{i}_{j} = 0;"));
    c.push_str("\n    for (i64 t = 0; t < k; ++t) {\n");
    for j in 0..vectors {
        let _ = writeln!(c, "        const {vector} q{j} = vload{lanes}({j}, q);");
    }
    for i in 0..rows {
        let _ = write!(c, "        {{ const {vector} v = p[{i}];");
        for j in 0..vectors {
            let _ = write!(c, " s{i}_{j} = fma(v, q{j}, s{i}_{j});");
        }
        c.push_str(" }\n");
    }
    let _ = writeln!(c, "        p += {rows}; q += {columns};\n    }}");
    let _ = writeln!(c, "    const i64 to = first + (matrix * m + r0) * n + c0;");
    // Vectors are stored without a look at where.
    let whole = dtype == dtype.compute() && !checked();
    if whole {
        let _ = writeln!(c, "    if (r0 + {rows} <= m && c0 + {columns} <= n) {{");
        each(&mut |i, j| {
            let at = format!("{j}, y + to + {i} * n");
            let _ = writeln!(c, "        vstore{lanes}(s{i}_{j}, {at});");
        });
        c.push_str("        return;\n    }\n");
    }
    let _ = writeln!(c, "    {ty} sums[{}];", rows * columns);
    each(&mut |i, j| {
        let _ = writeln!(c, "    vstore{lanes}(s{i}_{j}, {}, sums);", i * vectors + j);
    });
    let _ = writeln!(
        c,
        "    for (int i = 0; i < {rows} && r0 + i < m; ++i)
        for (int j = 0; j < {columns} && c0 + j < n; ++j) {{
            {}
        }}
}}",
        y.store("to + i * n + j", &format!("sums[i * {columns} + j]"))
    );
    c
}
