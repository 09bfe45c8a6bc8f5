//! What a program begins with: `use kiln::prelude::*`.
//!
//! The types are those of the crates below with their backend filled in: [`Tensor`] is
//! `Tensor<Autograd<Any>>`, and so on. Whoever writes for any backend, or for one in particular, takes
//! the generic ones from [`kiln::tensor`](crate::tensor), [`kiln::nn`](crate::nn) and
//! [`kiln::optim`](crate::optim).

use crate::DefaultBackend as B;

pub use crate::autograd::{Backward, GradOptions, enable_grad, grad, no_grad, set_grad_enabled};
pub use crate::data::{DataLoader, Dataset, TensorDataset};
pub use crate::nn::{Forward, Module, ModuleExt};
pub use crate::tensor::DType::{self, *};
pub use crate::tensor::{Fused, Reduction, Scalar, Shape};
pub use crate::{Device, manual_seed};

/// Gives a type of another crate the default backend.
macro_rules! aliases {
    ($($from:ident: $($name:ident)*;)*) => {$($(
        #[doc = concat!(
            "[`", stringify!($from), "::", stringify!($name), "`](crate::", stringify!($from), "::",
            stringify!($name), ") on the default backend."
        )]
        pub type $name = crate::$from::$name<B>;
    )*)*};
}

aliases! {
    tensor: Tensor;
    nn: Param Buffer Hooks Linear;
    optim: Adagrad Adam AdamW RMSprop SGD;
}
