//! Elementwise ops: one row each, `name: docs = program`. A row makes the method, its in-place form
//! (`name_`), and an entry of the table that the conformance tests walk. Here is what a row is; the
//! rows are in `unary`, `numbered` and `binary`.

mod alias;
mod binary;
mod compare;
mod frexp;
mod gamma;
mod numbered;
mod operators;
mod ternary;
mod unary;

use std::sync::OnceLock;

use super::operand::{Operand, Term, result_dtype};
use crate::autocast::{cast, policy};
use crate::expr::Builder;
use crate::{Backend, Category, DType, Error, Expr, Kernel, Scalar, Shape, Tensor, Val, raise};

pub use alias::ALIASES;
pub use binary::BINARY;
pub use numbered::NUMBERED;
pub(crate) use ternary::is_mask;
pub use unary::UNARY;

type Slots<const N: usize> = [OnceLock<Expr>; N];

const fn slots<const N: usize>() -> Slots<N> {
    [const { OnceLock::new() }; N]
}

/// One program for each dtype, built when it is first asked for.
pub(crate) struct PerDType(Slots<10>);

impl PerDType {
    pub(crate) const fn new() -> Self {
        PerDType(slots())
    }

    pub(crate) fn get(&self, dtype: DType, build: impl FnOnce() -> Expr) -> &Expr {
        self.0[dtype as usize].get_or_init(build)
    }
}

/// The dtypes that a row takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Any.
    All,
    /// Integers and floats.
    Numbers,
    /// Integers and bools.
    Whole,
    /// Integers.
    Ints,
    /// Floats.
    Floats,
    /// Floats of 32 and 64 bits.
    WideFloats,
}

impl Takes {
    /// Whether the row takes this dtype.
    pub fn accepts(self, dtype: DType) -> bool {
        match self {
            Takes::All => true,
            Takes::Numbers => dtype != DType::Bool,
            Takes::Whole => !dtype.is_float(),
            Takes::Ints => dtype.is_int(),
            Takes::Floats => dtype.is_float(),
            Takes::WideFloats => matches!(dtype, DType::F64 | DType::F32),
        }
    }

    #[track_caller]
    fn check(self, op: &'static str, common: DType, dtypes: &[DType]) {
        if !self.accepts(common) {
            let why = match self {
                Takes::Whole => "integers or bools are wanted; convert with `to_dtype`",
                Takes::Ints => "integers are wanted; convert with `to_dtype`",
                Takes::Floats => "floats are wanted; convert with `to_dtype`",
                Takes::WideFloats => "floats of 32 or 64 bits are wanted; convert with `to_dtype`",
                _ => "bools are no numbers; use the logical ops, or convert with `to_dtype`",
            };
            raise(Error::DType { op, dtypes: dtypes.to_vec(), why: why.into() });
        }
    }
}

/// An elementwise function of one tensor and up to three numbers.
#[derive(Debug)]
pub struct Unary {
    /// The op's name.
    pub name: &'static str,
    /// How many numbers it takes.
    pub params: usize,
    /// Numbers to try it with.
    pub samples: &'static [f64],
    /// The dtypes that it takes, once a number has had its say.
    pub takes: Takes,
    /// Whether autocast has a say in it.
    autocasts: bool,
    f: for<'b> fn(Val<'b>, &[Val<'b>]) -> Val<'b>,
    // (in place?, category of the numbers, dtype)
    programs: Slots<60>,
}

impl Unary {
    /// A row of the table. `f` gets the element and the numbers, all of one category at least.
    pub const fn new(
        name: &'static str,
        params: usize,
        f: for<'b> fn(Val<'b>, &[Val<'b>]) -> Val<'b>,
    ) -> Self {
        let (samples, takes): (&[f64], Takes) = (&[], Takes::All);
        Unary {
            name,
            params,
            samples,
            takes,
            autocasts: policy(name).is_some(),
            f,
            programs: slots(),
        }
    }

    /// The row with the dtypes that it takes.
    pub const fn taking(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self
    }

    /// The row with numbers to try it with.
    pub const fn sampled(mut self, samples: &'static [f64]) -> Self {
        self.samples = samples;
        self
    }

    #[track_caller]
    fn check(&self, dtype: DType, numbers: &[Scalar]) {
        let common = numbers.iter().fold(dtype, |common, &n| common.promote_scalar(n));
        self.takes.check(self.name, common, &[dtype]);
    }

    /// The program on tensors of `dtype`; `numbers` matter by their category.
    pub fn program(&self, dtype: DType, numbers: &[Scalar], in_place: bool) -> &Expr {
        let category = numbers.iter().map(|s| s.dtype().category()).max().unwrap_or(Category::Bool);
        let slot = (usize::from(in_place) * 3 + category as usize) * 10 + dtype as usize;
        self.programs[slot].get_or_init(|| {
            let builder = Builder::new(&[dtype]);
            let params: Vec<Val<'_>> =
                numbers.iter().map(|&s| builder.param(dtype.promote_scalar(s))).collect();
            let out = (self.f)(builder.input(0), &params);
            let out = if in_place { out.cast(dtype) } else { out };
            let out = (out.id(), out.dtype());
            builder.finish(self.name, &[out])
        })
    }

    /// Applies the function.
    #[track_caller]
    pub fn call<B: Backend>(&self, x: &Tensor<B>, numbers: &[Scalar]) -> Tensor<B> {
        if self.autocasts
            && let Some((_inside, [x])) = cast(self.name, [x])
        {
            return self.call(&x, numbers);
        }
        self.check(x.dtype(), numbers);
        let kernel = Kernel::with(self.program(x.dtype(), numbers, false), numbers);
        B::map(kernel, &[x], x.shape(), x.device())
    }

    /// Applies the function to a tensor that is given up: its memory is used for the result where
    /// nobody else holds it.
    #[track_caller]
    pub fn call_owned<B: Backend>(&self, x: Tensor<B>, numbers: &[Scalar]) -> Tensor<B> {
        self.check(x.dtype(), numbers);
        let expr = self.program(x.dtype(), numbers, false);
        let kernel = Kernel::with(expr, numbers);
        if expr.outputs()[0].dtype == x.dtype() && reusable(&x) {
            B::map_into(kernel, &[&x], &[&x]);
            return x;
        }
        B::map(kernel, &[&x], x.shape(), x.device())
    }

    /// Applies the function in place.
    #[track_caller]
    pub fn call_in_place<B: Backend>(&self, x: &Tensor<B>, numbers: &[Scalar]) {
        self.check(x.dtype(), numbers);
        let natural = self.program(x.dtype(), numbers, false).outputs()[0].dtype;
        writable(self.name, x, natural);
        B::map_into(Kernel::with(self.program(x.dtype(), numbers, true), numbers), &[x], &[x]);
    }
}

/// A cheaper function for some numbers on the right; or why a number will not do.
type Shortcut = fn(DType, Scalar) -> Result<Option<&'static Unary>, &'static str>;

/// An elementwise function of two tensors, or of a tensor and a number.
#[derive(Debug)]
pub struct Binary {
    /// The op's name.
    pub name: &'static str,
    f: for<'b> fn(Val<'b>, Val<'b>) -> Val<'b>,
    // (in place?, which dtype they meet in, dtype, dtype)
    tensors: Slots<600>,
    right: Unary,
    left: Unary,
    /// The dtypes that it takes, once its operands are promoted.
    pub takes: Takes,
    shortcut: Shortcut,
}

impl Binary {
    /// A row of the table: the function, and the function with a number on the right and left.
    pub const fn new(
        name: &'static str,
        f: for<'b> fn(Val<'b>, Val<'b>) -> Val<'b>,
        right: for<'b> fn(Val<'b>, &[Val<'b>]) -> Val<'b>,
        left: for<'b> fn(Val<'b>, &[Val<'b>]) -> Val<'b>,
    ) -> Self {
        let right = Unary::new(name, 1, right);
        let left = Unary::new(name, 1, left);
        let shortcut: Shortcut = |_, _| Ok(None);
        Binary { name, f, tensors: slots(), right, left, takes: Takes::All, shortcut }
    }

    /// The row with the dtypes that it takes.
    pub const fn taking(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self.right.takes = takes;
        self.left.takes = takes;
        self
    }

    /// The row with cheaper functions, of no further number, for some numbers on the right; others it
    /// may turn away.
    pub const fn shortened(mut self, shortcut: Shortcut) -> Self {
        self.shortcut = shortcut;
        self
    }

    /// The function with a number on the right; it takes as many of `[number]` as it has params.
    #[track_caller]
    fn by(&self, dtype: DType, number: Scalar) -> &Unary {
        match (self.shortcut)(dtype, number) {
            Ok(shorter) => shorter.unwrap_or(&self.right),
            Err(why) => raise(Error::Argument { op: self.name, why: why.into() }),
        }
    }

    /// The program on two tensors that meet in `common` (one of the two dtypes, or their promotion).
    pub fn program(&self, a: DType, b: DType, common: DType, in_place: bool) -> &Expr {
        let which = if common == a.promote(b) { 0 } else { 1 + usize::from(common == b) };
        let slot = ((usize::from(in_place) * 3 + which) * 10 + a as usize) * 10 + b as usize;
        self.tensors[slot].get_or_init(|| {
            let builder = Builder::new(&[a, b]);
            let out = (self.f)(builder.input(0).cast(common), builder.input(1).cast(common));
            let out = if in_place { out.cast(a) } else { out };
            let out = (out.id(), out.dtype());
            builder.finish(self.name, &[out])
        })
    }

    /// Applies the function.
    #[track_caller]
    pub fn call<B: Backend>(&self, a: &Tensor<B>, b: &impl Operand<B>) -> Tensor<B> {
        match b.term() {
            Term::Scalar(b) => {
                let row = self.by(a.dtype(), b);
                if self.right.autocasts
                    && let Some((_inside, [a])) = cast(self.name, [a])
                {
                    return row.call(&a, &[b][..row.params]);
                }
                row.call(a, &[b][..row.params])
            }
            Term::Tensor(b) => {
                if self.right.autocasts
                    && let Some((_inside, [a, b])) = cast(self.name, [a, b])
                {
                    return self.call(&a, &b);
                }
                let (expr, shape) = self.checked(a, b);
                B::map(Kernel::new(expr), &[a, b], &shape, a.device())
            }
        }
    }

    /// Applies the function to a left operand that is given up: its memory is used for the result
    /// where nobody else holds it.
    #[track_caller]
    pub fn call_owned<B: Backend>(&self, a: Tensor<B>, b: &impl Operand<B>) -> Tensor<B> {
        match b.term() {
            Term::Scalar(b) => {
                let row = self.by(a.dtype(), b);
                row.call_owned(a, &[b][..row.params])
            }
            Term::Tensor(b) => {
                let (expr, shape) = self.checked(&a, b);
                let kernel = Kernel::new(expr);
                let fits = expr.outputs()[0].dtype == a.dtype() && *a.shape() == shape;
                if fits && reusable(&a) {
                    B::map_into(kernel, &[&a, b], &[&a]);
                    return a;
                }
                B::map(kernel, &[&a, b], &shape, a.device())
            }
        }
    }

    /// Applies the function with a number on the left.
    #[track_caller]
    pub fn call_left<B: Backend>(&self, a: impl Into<Scalar>, b: &Tensor<B>) -> Tensor<B> {
        self.left.call(b, &[a.into()])
    }

    /// Applies the function with a number on the left to a tensor that is given up.
    #[track_caller]
    pub fn call_left_owned<B: Backend>(&self, a: impl Into<Scalar>, b: Tensor<B>) -> Tensor<B> {
        self.left.call_owned(b, &[a.into()])
    }

    /// Applies the function and stores the result in the left operand.
    #[track_caller]
    pub fn call_in_place<B: Backend>(&self, a: &Tensor<B>, b: &impl Operand<B>) {
        let b = match b.term() {
            Term::Scalar(b) => {
                let row = self.by(a.dtype(), b);
                return row.call_in_place(a, &[b][..row.params]);
            }
            Term::Tensor(b) => b,
        };
        let (natural, shape) = self.checked(a, b);
        if shape != *a.shape() {
            raise(Error::Shape {
                op: self.name,
                shapes: vec![a.shape().clone(), b.shape().clone()],
                why: "the result does not fit into the left operand, in place".into(),
            });
        }
        writable(self.name, a, natural.outputs()[0].dtype);
        let expr = self.program(a.dtype(), b.dtype(), result_dtype(a, b), true);
        let apart = !B::shares_storage(a, b) || a.layout() == b.layout();
        let copied = if apart { None } else { Some(b.copy()) };
        B::map_into(Kernel::new(expr), &[a, copied.as_ref().unwrap_or(b)], &[a]);
    }

    #[track_caller]
    fn checked<B: Backend>(&self, a: &Tensor<B>, b: &Tensor<B>) -> (&Expr, Shape) {
        a.same_device(self.name, b);
        let (shape, common) = (broadcast(self.name, a, b), result_dtype(a, b));
        self.takes.check(self.name, common, &[a.dtype(), b.dtype()]);
        (self.program(a.dtype(), b.dtype(), common, false), shape)
    }
}

/// The shape that two tensors broadcast to.
#[track_caller]
pub(crate) fn broadcast<B: Backend>(op: &'static str, a: &Tensor<B>, b: &Tensor<B>) -> Shape {
    match a.shape().broadcast(b.shape()) {
        Some(shape) => shape,
        None => raise(Error::Shape {
            op,
            shapes: vec![a.shape().clone(), b.shape().clone()],
            why: "these do not broadcast: sizes, aligned at the last dim, must be equal or 1"
                .into(),
        }),
    }
}

fn reusable<B: Backend>(x: &Tensor<B>) -> bool {
    x.is_contiguous() && B::is_unique(x)
}

/// Requires that a result of dtype `natural` can be stored in `x`.
#[track_caller]
pub(crate) fn writable<B: Backend>(op: &'static str, x: &Tensor<B>, natural: DType) {
    if natural.category() > x.dtype().category() {
        raise(Error::DType {
            op,
            dtypes: vec![natural, x.dtype()],
            why: "the result cannot be stored in place without loss; use the form without `_`"
                .into(),
        });
    }
    if x.layout().may_overlap() {
        raise(Error::Shape {
            op,
            shapes: vec![x.shape().clone()],
            why: "elements share memory (an expanded or unfolded view); write to a `copy` of it"
                .into(),
        });
    }
}
