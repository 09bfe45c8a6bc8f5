//! Panels: `width` rows (or columns) of an operand side by side for each step of the sum, in the dtype of the
//! sum, zeros where there are no more.

use kiln_tensor_core::{Shape, Tensor};

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
    /// Room for the panels of `batch` matrices, in the dtype that `like` is computed in.
    pub(crate) fn new(
        batch: usize,
        [size, k]: [usize; 2],
        width: usize,
        like: &Tensor<Gpu<R>>,
    ) -> Self {
        let step = size.div_ceil(width) * width * k;
        let dtype = like.dtype().compute();
        let elements = fresh::<R>(&Shape::from([batch * step]), dtype, like.device());
        Packed { elements, step: if batch == 1 { 0 } else { step } }
    }

    pub(crate) fn elements(&self) -> &Tensor<Gpu<R>> {
        &self.elements
    }

    /// From one matrix to the next; 0 where one serves all.
    pub(crate) fn step(&self) -> usize {
        self.step
    }
}
