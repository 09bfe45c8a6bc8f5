//! Products of matrices.

use crate::autocast::cast;
use crate::{Backend, Error, Shape, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// The matrix product, `torch.matmul`: vectors, matrices, and batches of matrices that broadcast.
    ///
    /// # Panics
    /// If an operand is 0-d, the inner sizes differ, the batches do not broadcast, or dtypes or devices
    /// differ.
    #[track_caller]
    pub fn matmul(&self, other: &Self) -> Self {
        if let Some((_inside, [a, b])) = cast("matmul", [self, other]) {
            return a.matmul(&b);
        }
        self.same_device("matmul", other);
        let wrong = |why: &str| -> ! {
            raise(Error::Shape {
                op: "matmul",
                shapes: vec![self.shape().clone(), other.shape().clone()],
                why: why.into(),
            })
        };
        if self.dtype() != other.dtype() {
            raise(Error::DType {
                op: "matmul",
                dtypes: vec![self.dtype(), other.dtype()],
                why: "both operands must have one dtype; convert one with `to_dtype`".into(),
            });
        }
        if self.rank() == 0 || other.rank() == 0 {
            wrong("a 0-d tensor is no matrix; multiply with `*`");
        }
        let a = if self.rank() == 1 { self.unsqueeze(0) } else { self.clone() };
        let b = if other.rank() == 1 { other.unsqueeze(1) } else { other.clone() };
        let [m, k] = [a.dims()[a.rank() - 2], a.dims()[a.rank() - 1]];
        let [k2, n] = [b.dims()[b.rank() - 2], b.dims()[b.rank() - 1]];
        if k != k2 {
            wrong("the last size of the left operand must be the last but one of the right");
        }
        let out = if b.rank() == 2 && a.rank() > 2 {
            // One large product instead of a batch of small ones with the same right side.
            let lead = &a.dims()[..a.rank() - 2];
            let mut shape: Shape = lead.into();
            shape.push(m);
            shape.push(n);
            let rows = lead.iter().product::<usize>() * m;
            B::matmul(&a.reshape_to(&Shape::from([rows, k])), &b).reshape_to(&shape)
        } else {
            let batch: Shape = a.dims()[..a.rank() - 2].into();
            let Some(batch) = batch.broadcast(&b.dims()[..b.rank() - 2]) else {
                wrong("the batch sizes do not broadcast")
            };
            let expanded = |x: &Self, rows: usize, cols: usize| {
                let mut shape = batch.clone();
                shape.push(rows);
                shape.push(cols);
                if *x.shape() == shape { x.clone() } else { x.expand(shape) }
            };
            B::matmul(&expanded(&a, m, k), &expanded(&b, k, n))
        };
        let out = if self.rank() == 1 { out.squeeze(-2) } else { out };
        let out = if other.rank() == 1 { out.squeeze(-1) } else { out };
        out.named("matmul", &[self, other])
    }
}
