//! What a program begins with: `use kiln::prelude::*`.
//!
//! The types are those of the crates below with their backend filled in: [`Tensor`] is
//! `Tensor<Autograd<Any>>`, and so on. Whoever writes for any backend, or for one in particular, takes
//! the generic ones from [`kiln::tensor`](crate::tensor), [`kiln::nn`](crate::nn) and
//! [`kiln::optim`](crate::optim).

use crate::DefaultBackend as B;

pub use crate::autograd::{Backward, GradOptions, enable_grad, grad, no_grad, set_grad_enabled};
pub use crate::data::{DataLoader, Dataset, TensorDataset};
pub use crate::nn::{Forward, Module, ModuleExt, cross_entropy, mse_loss, nll_loss};
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
    nn: Param Buffer Hooks Sequential Linear Conv1d Conv2d Conv3d BatchNorm1d BatchNorm2d BatchNorm3d
        LayerNorm MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d AdaptiveAvgPool1d
        AdaptiveAvgPool2d AdaptiveAvgPool3d Dropout Dropout1d Dropout2d Dropout3d Embedding Flatten
        Unflatten Identity ReLU GELU SiLU Sigmoid Tanh Softmax LogSoftmax
        MSELoss L1Loss CrossEntropyLoss NLLLoss BCEWithLogitsLoss;
    optim: Adagrad Adam AdamW RMSprop SGD;
}
