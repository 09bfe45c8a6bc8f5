//! Elementwise ops: one row each, `name: docs = program`. A row makes the method, its in-place form
//! (`name_`), and an entry of the table that the conformance tests walk.

use std::sync::OnceLock;

use super::operand::{Operand, Term, result_dtype};
use crate::expr::Builder;
use crate::{Backend, Category, DType, Error, Expr, Kernel, Scalar, Shape, Tensor, Val, raise};

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

/// An elementwise function of one tensor and up to three numbers.
#[derive(Debug)]
pub struct Unary {
    /// The op's name.
    pub name: &'static str,
    /// How many numbers it takes.
    pub params: usize,
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
        Unary { name, params, f, programs: slots() }
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
        let kernel = Kernel::with(self.program(x.dtype(), numbers, false), numbers);
        only(B::map(kernel, &[x], x.shape(), x.device()))
    }

    /// Applies the function to a tensor that is given up: its memory is used for the result where
    /// nobody else holds it.
    #[track_caller]
    pub fn call_owned<B: Backend>(&self, x: Tensor<B>, numbers: &[Scalar]) -> Tensor<B> {
        let expr = self.program(x.dtype(), numbers, false);
        let kernel = Kernel::with(expr, numbers);
        if expr.outputs()[0].dtype == x.dtype() && reusable(&x) {
            B::map_into(kernel, &[&x], &[&x]);
            return x;
        }
        only(B::map(kernel, &[&x], x.shape(), x.device()))
    }

    /// Applies the function in place.
    #[track_caller]
    pub fn call_in_place<B: Backend>(&self, x: &Tensor<B>, numbers: &[Scalar]) {
        let natural = self.program(x.dtype(), numbers, false).outputs()[0].dtype;
        writable(self.name, x, natural);
        B::map_into(Kernel::with(self.program(x.dtype(), numbers, true), numbers), &[x], &[x]);
    }
}

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
        Binary { name, f, tensors: slots(), right, left }
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
            Term::Scalar(b) => self.right.call(a, &[b]),
            Term::Tensor(b) => {
                let (expr, shape) = self.checked(a, b);
                only(B::map(Kernel::new(expr), &[a, b], &shape, a.device()))
            }
        }
    }

    /// Applies the function to a left operand that is given up: its memory is used for the result
    /// where nobody else holds it.
    #[track_caller]
    pub fn call_owned<B: Backend>(&self, a: Tensor<B>, b: &impl Operand<B>) -> Tensor<B> {
        match b.term() {
            Term::Scalar(b) => self.right.call_owned(a, &[b]),
            Term::Tensor(b) => {
                let (expr, shape) = self.checked(&a, b);
                let kernel = Kernel::new(expr);
                let fits = expr.outputs()[0].dtype == a.dtype() && *a.shape() == shape;
                if fits && reusable(&a) {
                    B::map_into(kernel, &[&a, b], &[&a]);
                    return a;
                }
                only(B::map(kernel, &[&a, b], &shape, a.device()))
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
            Term::Scalar(b) => return self.right.call_in_place(a, &[b]),
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
        let shape = broadcast(self.name, a, b);
        (self.program(a.dtype(), b.dtype(), result_dtype(a, b), false), shape)
    }
}

/// The one result of a one-output program.
pub(crate) fn only<B: Backend>(outputs: crate::Outputs<B>) -> Tensor<B> {
    outputs.into_iter().next().expect("a program has an output")
}

/// The shape that two tensors broadcast to.
#[track_caller]
pub(crate) fn broadcast<B: Backend>(op: &'static str, a: &Tensor<B>, b: &Tensor<B>) -> Shape {
    a.shape().broadcast(b.shape()).unwrap_or_else(|| {
        raise(Error::Shape {
            op,
            shapes: vec![a.shape().clone(), b.shape().clone()],
            why: "these do not broadcast: sizes, aligned at the last dim, must be equal or 1"
                .into(),
        })
    })
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

macro_rules! unary {
    ($($name:ident $in_place:ident $doc:literal = |$x:ident| $f:expr;)*) => {
        impl<B: Backend> Tensor<B> {$(
            #[doc = $doc]
            #[must_use]
            pub fn $name(&self) -> Self {
                rows::$name.call(self, &[])
            }

            #[doc = concat!("`", stringify!($name), "`, in place.")]
            #[track_caller]
            pub fn $in_place(&self) -> Self {
                rows::$name.call_in_place(self, &[]);
                self.clone()
            }
        )*}

        #[allow(non_upper_case_globals, reason = "a row has its method's name")]
        mod rows {
            use super::*;
            $(pub static $name: Unary = Unary::new(stringify!($name), 0, |$x, _| $f);)*
        }

        /// Every elementwise op of one tensor without numbers.
        pub static UNARY: &[&Unary] = &[$(&rows::$name),*];
    };
}

unary! {
    neg neg_ "−x" = |x| -x;
    abs abs_ "|x|" = |x| x.abs();
    sign sign_ "−1, 0 or 1; NaN stays NaN." = |x| x.sign();
    square square_ "x²" = |x| x.square();
    sqrt sqrt_ "√x" = |x| x.sqrt();
    rsqrt rsqrt_ "1 / √x" = |x| x.rsqrt();
    reciprocal reciprocal_ "1 / x" = |x| x.recip();
    exp exp_ "eˣ" = |x| x.exp();
    expm1 expm1_ "eˣ − 1, exact near 0." = |x| x.expm1();
    log log_ "ln x" = |x| x.log();
    log2 log2_ "log₂ x" = |x| x.log2();
    log10 log10_ "log₁₀ x" = |x| x.log10();
    log1p log1p_ "ln (1 + x), exact near 0." = |x| x.log1p();
    sin sin_ "Sine of radians." = |x| x.sin();
    cos cos_ "Cosine of radians." = |x| x.cos();
    tan tan_ "Tangent of radians." = |x| x.tan();
    asin asin_ "Inverse sine, in radians." = |x| x.asin();
    acos acos_ "Inverse cosine, in radians." = |x| x.acos();
    atan atan_ "Inverse tangent, in radians." = |x| x.atan();
    sinh sinh_ "Hyperbolic sine." = |x| x.sinh();
    cosh cosh_ "Hyperbolic cosine." = |x| x.cosh();
    tanh tanh_ "Hyperbolic tangent." = |x| x.tanh();
    asinh asinh_ "Inverse hyperbolic sine." = |x| x.asinh();
    acosh acosh_ "Inverse hyperbolic cosine." = |x| x.acosh();
    atanh atanh_ "Inverse hyperbolic tangent." = |x| x.atanh();
    erf erf_ "The error function, 2/√π · ∫₀ˣ e^(−t²) dt." = |x| x.erf();
    floor floor_ "The integer below." = |x| x.floor();
    ceil ceil_ "The integer above." = |x| x.ceil();
    round round_ "The nearest integer, halves to even." = |x| x.round();
    trunc trunc_ "The integer towards zero." = |x| x.trunc();
    relu relu_ "max(x, 0); NaN stays NaN, and the derivative at 0 is 0." = |x| x.relu();
    sigmoid sigmoid_ "1 / (1 + e⁻ˣ)" = |x| x.sigmoid();
    silu silu_ "x · sigmoid(x), also called swish." = |x| x.silu();
    gelu gelu_ "x · Φ(x), the exact form with erf (Hendrycks, Gimpel 2016)." = |x| x.gelu();
    mish mish_ "x · tanh(softplus(x)) (Misra 2019)." = |x| x * x.softplus().tanh();
    softsign softsign_ "x / (1 + |x|)" = |x| x / (x.abs() + 1.0);
    log_sigmoid log_sigmoid_ "ln sigmoid(x), without overflow." = |x| {
        let x = x.cast(x.dtype().float());
        x.min(0.0) - (-x.abs()).exp().log1p()
    };
    logical_not logical_not_ "Whether the element is zero." = |x| x.eq(x.lit(0));
    isnan isnan_ "Whether the element is NaN." = |x| x.is_nan();
    isinf isinf_ "Whether the element is infinite." = |x| x.is_inf();
}

macro_rules! binary {
    ($($name:ident $in_place:ident $doc:literal = |$a:ident, $b:ident| $f:expr;)*) => {
        impl<B: Backend> Tensor<B> {$(
            #[doc = $doc]
            ///
            /// Operands broadcast and are promoted by PyTorch's rules; `other` is a tensor or a number.
            ///
            /// # Panics
            /// If the shapes do not broadcast or the devices differ.
            #[track_caller]
            pub fn $name(&self, other: impl Operand<B>) -> Self {
                binary_rows::$name.call(self, &other)
            }

            #[doc = concat!("`", stringify!($name), "`, in place.")]
            ///
            /// # Panics
            /// If the result does not fit into `self`: its shape, its dtype's category, or memory
            /// that several elements share.
            #[track_caller]
            pub fn $in_place(&self, other: impl Operand<B>) -> Self {
                binary_rows::$name.call_in_place(self, &other);
                self.clone()
            }
        )*}

        #[allow(non_upper_case_globals, reason = "a row has its method's name")]
        mod binary_rows {
            use super::*;
            $(pub static $name: Binary = Binary::new(
                stringify!($name),
                |$a, $b| $f,
                |$a, numbers| { let $b = numbers[0]; $f },
                |$b, numbers| { let $a = numbers[0]; $f },
            );)*
        }

        /// Every elementwise op of two tensors.
        pub static BINARY: &[&Binary] = &[$(&binary_rows::$name),*];
    };
}

binary! {
    add add_ "a + b" = |a, b| a + b;
    sub sub_ "a − b" = |a, b| a - b;
    mul mul_ "a · b" = |a, b| a * b;
    div div_ "a / b; integers give a float." = |a, b| a / b;
    pow pow_ "aᵇ" = |a, b| a.pow(b);
    remainder remainder_ "a − b · ⌊a / b⌋, with the sign of `b`." = |a, b| a % b;
    fmod fmod_ "The remainder with the sign of `a`." = |a, b| a.fmod(b);
    floor_divide floor_divide_ "⌊a / b⌋; integers modulo zero give 0." = |a, b| a.floor_div(b);
    maximum maximum_ "The larger; NaN if either is. Equal operands share the gradient." = |a, b| a.max(b);
    minimum minimum_ "The smaller; NaN if either is. Equal operands share the gradient." = |a, b| a.min(b);
    atan2 atan2_ "The angle of the point (b, a), in radians." = |a, b| a.atan2(b);
    eq eq_ "a = b, as bool." = |a, b| a.eq(b);
    ne ne_ "a ≠ b, as bool." = |a, b| a.ne(b);
    lt lt_ "a < b, as bool." = |a, b| a.lt(b);
    le le_ "a ≤ b, as bool." = |a, b| a.le(b);
    gt gt_ "a > b, as bool." = |a, b| a.gt(b);
    ge ge_ "a ≥ b, as bool." = |a, b| a.ge(b);
    logical_and logical_and_ "Whether both differ from zero." = |a, b| a.truth() & b.truth();
    logical_or logical_or_ "Whether one differs from zero." = |a, b| a.truth() | b.truth();
    logical_xor logical_xor_ "Whether exactly one differs from zero." = |a, b| a.truth() ^ b.truth();
}

macro_rules! operators {
    ($($tr:ident $method:ident $assign:ident $assign_method:ident $row:ident;)*) => {$(
        impl<B: Backend, T: Operand<B>> std::ops::$tr<T> for &Tensor<B> {
            type Output = Tensor<B>;
            #[track_caller]
            fn $method(self, other: T) -> Tensor<B> {
                binary_rows::$row.call(self, &other)
            }
        }

        /// Uses the memory of the left operand for the result where nobody else holds it.
        impl<B: Backend, T: Operand<B>> std::ops::$tr<T> for Tensor<B> {
            type Output = Tensor<B>;
            #[track_caller]
            fn $method(self, other: T) -> Tensor<B> {
                binary_rows::$row.call_owned(self, &other)
            }
        }

        impl<B: Backend, T: Operand<B>> std::ops::$assign<T> for Tensor<B> {
            #[track_caller]
            fn $assign_method(&mut self, other: T) {
                binary_rows::$row.call_in_place(self, &other);
            }
        }

        left_numbers!($tr $method $row: f64, f32, i64, i32);
    )*};
}

macro_rules! left_numbers {
    ($tr:ident $method:ident $row:ident: $($ty:ty),*) => {$(
        impl<B: Backend> std::ops::$tr<&Tensor<B>> for $ty {
            type Output = Tensor<B>;
            #[track_caller]
            fn $method(self, other: &Tensor<B>) -> Tensor<B> {
                binary_rows::$row.call_left(self, other)
            }
        }

        impl<B: Backend> std::ops::$tr<Tensor<B>> for $ty {
            type Output = Tensor<B>;
            #[track_caller]
            fn $method(self, other: Tensor<B>) -> Tensor<B> {
                binary_rows::$row.call_left_owned(self, other)
            }
        }
    )*};
}

operators! {
    Add add AddAssign add_assign add;
    Sub sub SubAssign sub_assign sub;
    Mul mul MulAssign mul_assign mul;
    Div div DivAssign div_assign div;
    Rem rem RemAssign rem_assign remainder;
}

impl<B: Backend> std::ops::Neg for &Tensor<B> {
    type Output = Tensor<B>;
    fn neg(self) -> Tensor<B> {
        rows::neg.call(self, &[])
    }
}

impl<B: Backend> std::ops::Neg for Tensor<B> {
    type Output = Tensor<B>;
    fn neg(self) -> Tensor<B> {
        rows::neg.call_owned(self, &[])
    }
}
