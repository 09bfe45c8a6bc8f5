//! Second names that PyTorch has for elementwise ops.

use crate::{Backend, Operand, Scalar, Tensor};

macro_rules! aliases {
    (unary { $($name:ident $op:ident;)* } binary { $($other:ident $of:ident;)* }) => {
        impl<B: Backend> Tensor<B> {$(
            #[doc = concat!("Another name of [`Tensor::", stringify!($op), "`].")]
            ///
            /// # Panics
            /// As that does.
            #[must_use]
            #[track_caller]
            pub fn $name(&self) -> Self {
                self.$op()
            }
        )*}

        impl<B: Backend> Tensor<B> {$(
            #[doc = concat!("Another name of [`Tensor::", stringify!($of), "`].")]
            ///
            /// # Panics
            /// As that does.
            #[track_caller]
            pub fn $other(&self, other: impl Operand<B>) -> Self {
                self.$of(other)
            }
        )*}

        /// Second names, and the ops that they name.
        pub static ALIASES: &[(&str, &str)] = &[
            $((stringify!($name), stringify!($op)),)*
            $((stringify!($other), stringify!($of)),)*
        ];
    };
}

aliases! {
    unary {
        absolute abs; negative neg; fix trunc; sgn sign; expit sigmoid; gammaln lgamma;
        arcsin asin; arccos acos; arctan atan; arcsinh asinh; arccosh acosh; arctanh atanh;
    }
    binary {
        subtract sub; multiply mul; divide div; true_divide div; arctan2 atan2;
        greater gt; greater_equal ge; less lt; less_equal le; not_equal ne;
    }
}

impl<B: Backend> Tensor<B> {
    /// Another name of [`Tensor::clamp`].
    ///
    /// # Panics
    /// As that does.
    #[must_use]
    #[track_caller]
    pub fn clip(&self, min: impl Into<Scalar>, max: impl Into<Scalar>) -> Self {
        self.clamp(min, max)
    }

    /// The same tensor: `torch.positive`, `+x`.
    #[must_use]
    pub fn positive(&self) -> Self {
        self.clone()
    }
}
