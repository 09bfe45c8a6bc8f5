//! Numbers as a fraction and a power of two.

use crate::{Backend, DType, FusedMany, Tensor};

impl<B: Backend> Tensor<B> {
    /// The fraction, from 0.5 to below 1 or 0, and the exponent, `i32`, with `x = fraction · 2^exponent`: `torch.frexp`.
    /// What is not finite stays as it is, with the exponent 0.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    /// let (fraction, exponent) = Tensor::<Cpu>::new([6.0, -0.25], &CpuDevice).frexp();
    /// assert_eq!(fraction.to_vec::<f64>(), [0.75, -0.5]);
    /// assert_eq!(exponent.to_vec::<i32>(), [3, -1]);
    /// ```
    ///
    /// # Panics
    /// If the elements are not floats.
    #[must_use]
    #[track_caller]
    pub fn frexp(&self) -> (Self, Self) {
        // Products with powers of two are exact, which logarithms are not.
        static FREXP: FusedMany<1, 2> = FusedMany::new("frexp", |[x]| {
            let wide = x.cast(x.dtype().compute());
            let live = wide.ne(0.0) & wide.eq(wide) & !wide.is_inf();
            let top: i32 = if wide.dtype() == DType::F64 { 9 } else { 6 };
            let (mut fraction, mut exponent) = (wide, wide.lit(0.0));
            let mut step = |at: f64, by: i32| {
                let size = fraction.abs();
                let taken = live & if by > 0 { size.ge(at) } else { size.lt(at) };
                let moved = fraction * 2f64.powi(-by);
                fraction = taken.select(moved, fraction);
                exponent = taken.select(exponent + f64::from(by), exponent);
            };
            (0..=top).rev().for_each(|k| step(2f64.powi(1 << k), 1 << k));
            step(1.0, 1);
            // The least of all numbers is two such steps away.
            [top]
                .into_iter()
                .chain((0..=top).rev())
                .for_each(|k| step(2f64.powi(-(1 << k)), -(1 << k)));
            let exponent = live.select(exponent, exponent.lit(0.0));
            [fraction.cast(x.dtype()), exponent.cast(DType::I32)]
        });
        self.floats("frexp");
        let [fraction, exponent] = FREXP.call([self]);
        (fraction, exponent)
    }
}
