//! What a program begins with: `use kiln::prelude::*`.
//!
//! The types are those of the crates below with their backend filled in: [`Tensor`] is
//! `Tensor<Autograd<Any>>`, and so on. Whoever writes for any backend, or for one in particular, takes
//! the generic ones from [`kiln::tensor`](crate::tensor), [`kiln::nn`](crate::nn) and
//! [`kiln::optim`](crate::optim).

use crate::DefaultBackend as B;

pub use crate::autograd::{
    Backward, BackwardOptions, GradOptions, enable_grad, grad, no_grad, set_grad_enabled,
};
pub use crate::data::{DataLoader, Dataset, TensorDataset};
pub use crate::nn::functional::*;
pub use crate::nn::{Forward, Module, ModuleDict, ModuleExt, ModuleList, init, summary};
pub use crate::optim::{clip_grad_norm_, clip_grad_value_, lr_scheduler};
pub use crate::tensor::DType::{self, *};
pub use crate::tensor::{Activation, Ellipsis, Fused, NewAxis, Reduction, Scalar, Shape, Step};
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
    nn:
        Param Buffer Hooks Layer Sequential ParameterList ParameterDict
        Linear Bilinear Embedding Flatten Unflatten Identity
        Conv1d Conv2d Conv3d
        MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d
        AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d
        AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d
        BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm
        Dropout Dropout1d Dropout2d Dropout3d
        ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish PReLU Sigmoid Tanh Softplus Softsign
        Softshrink Hardshrink Tanhshrink Threshold Hardtanh Hardswish Hardsigmoid LogSigmoid
        Softmax Softmin LogSoftmax GLU
        MSELoss L1Loss SmoothL1Loss HuberLoss BCELoss BCEWithLogitsLoss CrossEntropyLoss NLLLoss
        KLDivLoss;
    optim: Adagrad Adam AdamW RMSprop SGD;
}
