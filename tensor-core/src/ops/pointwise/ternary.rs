//! Elementwise ops of three operands: choices and fused products.

use super::{PerDType, result_dtype, writable};
use crate::expr::Builder;
use crate::{
    Backend, DType, Error, Expr, Fused, FusedWith, Kernel, Operand, Scalar, Tensor, Term, raise,
};

static WHERE: Fused<3> = Fused::new("where", |[cond, a, b]| cond.select(a, b));

/// The program of `masked_fill`, on `dtype` and a mask.
fn fill(dtype: DType) -> &'static Expr {
    static PROGRAMS: PerDType = PerDType::new();
    PROGRAMS.get(dtype, || {
        let builder = Builder::new(&[dtype, DType::Bool]);
        let value = builder.param(dtype);
        let out = builder.input(1).select(value, builder.input(0)).id();
        builder.finish("masked_fill", &[(out, dtype)])
    })
}

impl<B: Backend> Tensor<B> {
    /// `a` where `condition` is true, else `b` (`torch.where`). All three broadcast; `a` and `b` are
    /// tensors or numbers and are promoted by PyTorch's rules.
    ///
    /// # Panics
    /// If the condition is not bool, the shapes do not broadcast, or the devices differ.
    #[track_caller]
    pub fn where_(condition: &Self, a: impl Operand<B>, b: impl Operand<B>) -> Self {
        is_mask("where", condition);
        let number = |value: Scalar, beside: Option<&Self>| {
            let dtype = beside.map_or(value.dtype(), |x| x.dtype().promote_scalar(value));
            Self::full((), value, (condition.device(), dtype))
        };
        let (a, b) = match (a.term(), b.term()) {
            (Term::Tensor(a), Term::Tensor(b)) => (a.clone(), b.clone()),
            (Term::Tensor(a), Term::Scalar(b)) => (a.clone(), number(b, Some(a))),
            (Term::Scalar(a), Term::Tensor(b)) => (number(a, Some(b)), b.clone()),
            (Term::Scalar(a), Term::Scalar(b)) => (number(a, None), number(b, None)),
        };
        // A 0-d tensor counts by its category only, which the program's own promotion does not know.
        let common = result_dtype(&a, &b);
        if common == a.dtype().promote(b.dtype()) {
            return WHERE.call([condition, &a, &b]);
        }
        WHERE.call([condition, &a.to_dtype(common), &b.to_dtype(common)])
    }

    /// `value` where `mask` is true, else this tensor's element. The mask broadcasts.
    ///
    /// # Panics
    /// If the mask is not bool, does not broadcast to this shape or together with it, or the value is of
    /// a higher category than the elements.
    #[track_caller]
    pub fn masked_fill(&self, mask: &Self, value: impl Into<Scalar>) -> Self {
        let value = value.into();
        self.check_fill(mask, value);
        let shape = super::broadcast("masked_fill", self, mask);
        let kernel_params = [value];
        let kernel = Kernel::with(fill(self.dtype()), &kernel_params);
        B::map(kernel, &[self, mask], &shape, self.device())
    }

    /// `masked_fill`, in place.
    ///
    /// # Panics
    /// As [`Tensor::masked_fill`]; also if the mask is larger than this tensor or elements of this view
    /// share memory.
    #[track_caller]
    pub fn masked_fill_(&self, mask: &Self, value: impl Into<Scalar>) -> Self {
        let value = value.into();
        self.check_fill(mask, value);
        if super::broadcast("masked_fill_", self, mask) != *self.shape() {
            raise(Error::Shape {
                op: "masked_fill_",
                shapes: vec![self.shape().clone(), mask.shape().clone()],
                why: "the mask does not broadcast to the tensor".into(),
            });
        }
        writable("masked_fill_", self, DType::Bool);
        B::map_into(Kernel::with(fill(self.dtype()), &[value]), &[self, mask], &[self]);
        self.clone()
    }

    #[track_caller]
    fn check_fill(&self, mask: &Self, value: Scalar) {
        self.same_device("masked_fill", mask);
        is_mask("masked_fill", mask);
        if value.dtype().category() > self.dtype().category() {
            raise(Error::DType {
                op: "masked_fill",
                dtypes: vec![self.dtype(), value.dtype()],
                why: "the value does not fit the elements; convert them with `to_dtype`".into(),
            });
        }
    }

    /// `self + weight · (end − self)`; the weight is a number or a tensor. Exact at both ends.
    ///
    /// # Panics
    /// If the shapes do not broadcast, the elements are not floats, or the devices differ.
    #[track_caller]
    pub fn lerp(&self, end: &Self, weight: impl Operand<B>) -> Self {
        static LERP: Fused<3> = Fused::new("lerp", |[start, end, weight]| {
            let (way, one) = (end - start, weight.lit(1.0));
            weight.abs().lt(0.5).select(start + weight * way, end - way * (one - weight))
        });
        self.floats("lerp");
        match weight.term() {
            Term::Tensor(weight) => LERP.call([self, end, weight]),
            Term::Scalar(weight) => {
                let weight = Self::full((), weight.to_f64(), (self.device(), self.dtype()));
                LERP.call([self, end, &weight])
            }
        }
    }

    /// `self + value · a · b`, in one pass.
    ///
    /// # Panics
    /// If the shapes do not broadcast or the devices differ.
    #[track_caller]
    pub fn addcmul(&self, a: &Self, b: &Self, value: f64) -> Self {
        static ADD: FusedWith<3, 1> =
            FusedWith::new("addcmul", |[x, a, b], [value]| x + value * a * b);
        ADD.call([self, a, b], [value])
    }

    /// `self + value · a / b`, in one pass.
    ///
    /// # Panics
    /// If the shapes do not broadcast or the devices differ.
    #[track_caller]
    pub fn addcdiv(&self, a: &Self, b: &Self, value: f64) -> Self {
        static ADD: FusedWith<3, 1> =
            FusedWith::new("addcdiv", |[x, a, b], [value]| x + value * a / b);
        ADD.call([self, a, b], [value])
    }
}

/// The forms in place.
impl<B: Backend> Tensor<B> {
    /// `lerp`, in place.
    ///
    /// # Panics
    /// As [`Tensor::lerp`]; also if the result does not fit into `self`.
    #[track_caller]
    pub fn lerp_(&self, end: &Self, weight: impl Operand<B>) -> Self {
        self.copy_(&self.lerp(end, weight))
    }

    /// `addcmul`, in place.
    ///
    /// # Panics
    /// As [`Tensor::addcmul`]; also if the result does not fit into `self`.
    #[track_caller]
    pub fn addcmul_(&self, a: &Self, b: &Self, value: f64) -> Self {
        self.overwritten("addcmul_", &self.addcmul(a, b, value))
    }

    /// `addcdiv`, in place.
    ///
    /// # Panics
    /// As [`Tensor::addcdiv`]; also if the result does not fit into `self`.
    #[track_caller]
    pub fn addcdiv_(&self, a: &Self, b: &Self, value: f64) -> Self {
        self.overwritten("addcdiv_", &self.addcdiv(a, b, value))
    }

    #[track_caller]
    fn overwritten(&self, op: &'static str, result: &Self) -> Self {
        writable(op, self, result.dtype());
        self.copy_(result)
    }
}

/// Requires bools.
#[track_caller]
pub(crate) fn is_mask<B: Backend>(op: &'static str, mask: &Tensor<B>) {
    if mask.dtype() != DType::Bool {
        raise(Error::DType {
            op,
            dtypes: vec![mask.dtype()],
            why: "a condition is bool: compare first, as in `x.gt(0)`".into(),
        });
    }
}
