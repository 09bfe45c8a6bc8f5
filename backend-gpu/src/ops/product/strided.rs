//! Matrices with strides as operands of a product.

use kiln_tensor_core::{DType, Layout, Tensor};

use super::{Key, Matrix, Packed, STEPS, Side};
use crate::launch::Call;
use crate::place::walk;
use crate::source::{Operand, Width, computed, locate};
use crate::{Gpu, Runtime};

/// Elements of a tensor as matrices: `size` rows `along` elements apart, whose step `t` of the sum lies at
/// `t / inner · steps[0] + t % inner · steps[1]`.
pub(crate) struct Strided<'a, R: Runtime> {
    pub(crate) x: &'a Tensor<Gpu<R>>,
    /// Where each matrix begins.
    pub(crate) batch: Layout,
    pub(crate) size: usize,
    pub(crate) along: isize,
    pub(crate) k: usize,
    pub(crate) inner: usize,
    pub(crate) steps: [isize; 2],
}

impl<R: Runtime> Strided<'_, R> {
    /// Strides of one become constants: a compiler then copies vectors.
    fn ones(&self) -> (bool, bool) {
        (self.along == 1, self.steps[1] == 1)
    }

    /// Whether steps are evenly apart.
    fn is_plain(&self) -> bool {
        self.inner >= self.k
    }
}

impl<R: Runtime> Matrix<R> for Strided<'_, R> {
    #[track_caller]
    fn pack(&self, width: usize) -> Packed<R> {
        let &Strided { x, ref batch, size, k, .. } = self;
        let count = batch.shape().numel();
        let packed = Packed::<R>::new(count, [size, k], width, x);
        let panels = size.div_ceil(width);
        let items = count * panels * k.div_ceil(STEPS);
        let call = Call::<R>::new(x.device())
            .value(items as i64)
            .value(panels as i64)
            .value(size as i64)
            .value(k as i64);
        let key = (width, self.key());
        self.pass(call).tensor(packed.elements()).run_groups("pack", key, (items, 1), || {
            let from = Operand::new("x", x.dtype(), true);
            pack(width, x.dtype(), self.ones(), self.is_plain(), &from)
        });
        packed
    }

    fn side(&self, name: &str) -> Side {
        let from = Operand::new(name, self.x.dtype(), true);
        let step = match self.is_plain() {
            true => format!("t * {name}_inner_step"),
            false => format!(
                "t / {name}_inner * {name}_outer_step + t % {name}_inner * {name}_inner_step"
            ),
        };
        Side {
            types: "",
            parameters: format!(
                ", i64 {name}_inner, Sizes {name}_sizes, {}, Place {name}_place, i64 {name}_along,
    i64 {name}_outer_step, i64 {name}_inner_step",
                from.read()
            ),
            line: format!(
                "i64 base = {name}_place.offset + line * {name}_along;\n{}",
                by_sizes("matrix", &format!("{name}_sizes"), &format!("{name}_place"))
            ),
            element: format!("value = {};", from.load(&format!("base + {step}"))),
            by_step: self.ones() == (false, true),
        }
    }

    #[track_caller]
    fn pass<'a>(&'a self, call: Call<'a, R>) -> Call<'a, R> {
        let &Strided { x, ref batch, along, inner, steps, .. } = self;
        let (walk, _) = walk("matmul", batch.shape(), std::slice::from_ref(batch), |_| false);
        call.value(inner as i64)
            .value(walk.sizes)
            .operand(&Operand::new("x", x.dtype(), true), x)
            .value(walk.places[0])
            .value(along as i64)
            .value(steps[0] as i64)
            .value(steps[1] as i64)
    }

    fn key(&self) -> Key {
        let (row, step) = self.ones();
        ("strided", self.x.dtype(), [row, step, self.is_plain()])
    }
}

/// Adds to `base` where a matrix begins.
fn by_sizes(matrix: &str, sizes: &str, place: &str) -> String {
    let base = [("base".into(), format!("{place}.strides"))];
    locate(matrix, sizes, ["0", &format!("(int){sizes}.rank")], Width::Long, base)
}

fn pack(
    width: usize,
    dtype: DType,
    (row_one, step_one): (bool, bool),
    plain: bool,
    from: &Operand,
) -> String {
    let ty = computed(dtype);
    let row = if row_one { "i" } else { "i * along" };
    let step = |t: &str| match (plain, step_one) {
        (true, true) => String::from(t),
        (true, false) => format!("{t} * inner_step"),
        (false, _) => format!("({t}) / inner * outer_step + ({t}) % inner * inner_step"),
    };
    // The loop inside runs over what lies side by side.
    let (by_row, by_step) = ("for (int i = 0; i < count; ++i)", "for (i64 t = from; t < to; ++t)");
    let loops = if row_one { format!("{by_step} {by_row}") } else { format!("{by_row} {by_step}") };
    format!(
        "KERNEL void pack(i64 items, i64 panels, i64 size, i64 k, i64 inner, Sizes sizes, {read}, Place place,
    i64 along, i64 outer_step, i64 inner_step, GLOBAL {ty}* y) {{
    const i64 item = ITEM;
    if (item >= items) return;
    const i64 chunks = (k + {last}) / {STEPS}, panel = item / chunks, from = (item - panel * chunks) * {STEPS};
    const i64 to = from + {STEPS} < k ? from + {STEPS} : k;
    const i64 matrix = panel / panels, first = (panel - matrix * panels) * {width};
    i64 base = place.offset + first * along;
{by_matrix}
    GLOBAL {ty}* out = y + panel * {width} * k;
    const i64 left = size - first;
    if (left >= {width}) {{
        const int count = {width};
        {loops} out[t * {width} + i] = {load};
    }} else {{
        const int count = (int)left;
        {loops} out[t * {width} + i] = {load};
        for (i64 t = from; t < to; ++t) for (i64 i = count; i < {width}; ++i) out[t * {width} + i] = 0;
    }}
}}
",
        read = from.read(),
        last = STEPS - 1,
        by_matrix = by_sizes("matrix", "sizes", "place"),
        load = from.load(&format!("base + {row} + {}", step("t"))),
    )
}
