//! Operands of a product, copied to panels: `width` rows (or columns) side by side for each step of the sum,
//! in the dtype of the sum, zeros where there are no more.

use kiln_tensor_core::{DType, Layout, Shape, Tensor};

use crate::launch::Call;
use crate::place::walk;
use crate::source::{Operand, computed};
use crate::storage::fresh;
use crate::{Gpu, Runtime};

/// Steps of the sum that one work-item packs.
pub(crate) const STEPS: usize = 64;

/// Panels of one operand, for all matrices of a batch or one for all.
pub(crate) struct Packed<R: Runtime> {
    elements: Tensor<Gpu<R>>,
    step: usize,
}

impl<R: Runtime> Packed<R> {
    pub(crate) fn new(
        batch: usize,
        size: usize,
        k: usize,
        width: usize,
        like: &Tensor<Gpu<R>>,
    ) -> Self {
        let step = size.div_ceil(width) * width * k;
        let dtype = like.dtype().compute();
        Packed { elements: fresh::<R>(&Shape::from([batch * step]), dtype, like.device()), step }
    }

    pub(crate) fn elements(&self) -> &Tensor<Gpu<R>> {
        &self.elements
    }

    /// From one matrix to the next.
    pub(crate) fn step(&self) -> usize {
        self.step
    }

    /// One for all matrices of a batch.
    pub(crate) fn shared(mut self) -> Self {
        self.step = 0;
        self
    }
}

/// A matrix for each of a batch: `size` rows `along` elements apart, whose step `t` of the sum lies at
/// `t / inner · outer_step + t % inner · inner_step`.
pub(crate) struct Strided {
    pub(crate) batch: Layout,
    pub(crate) size: usize,
    pub(crate) along: isize,
    pub(crate) k: usize,
    pub(crate) inner: usize,
    pub(crate) steps: [isize; 2],
}

/// Packs matrices with any strides.
#[track_caller]
pub(crate) fn strided<R: Runtime>(
    op: &'static str,
    x: &Tensor<Gpu<R>>,
    matrix: &Strided,
    width: usize,
) -> Packed<R> {
    let &Strided { ref batch, size, along, k, inner, steps } = matrix;
    let packed = Packed::<R>::new(batch.shape().numel(), size, k, width, x);
    let (walk, _) = walk(op, batch.shape(), std::slice::from_ref(batch), |_| false);
    let panels = size.div_ceil(width);
    let items = batch.shape().numel() * panels * k.div_ceil(STEPS);
    let from = Operand::new("x", x.dtype(), true);
    // Strides of one become constants: the compiler then copies vectors.
    let (ones, plain) = ((along == 1, steps[1] == 1), inner >= k);
    Call::<R>::new(x.device())
        .value(items as i64)
        .value(panels as i64)
        .value(size as i64)
        .value(k as i64)
        .value(inner as i64)
        .value(walk.sizes)
        .operand(&from, x)
        .value(walk.places[0])
        .value(along as i64)
        .value(steps[0] as i64)
        .value(steps[1] as i64)
        .tensor(&packed.elements)
        .run_groups("pack", (width, x.dtype(), ones, plain), (items, 1), || {
            strided_body(width, x.dtype(), ones, plain, &from)
        });
    packed
}

fn strided_body(
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
    i64 rest = panel / panels, first = (panel - rest * panels) * {width}, base = place.offset;
    for (int d = (int)sizes.rank - 1; d >= 0; --d) {{
        const i64 next = rest / sizes.sizes[d];
        base += (rest - next * sizes.sizes[d]) * place.strides[d];
        rest = next;
    }}
    base += first * along;
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
        load = from.load(&format!("base + {row} + {}", step("t"))),
    )
}
