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
pub use crate::nn::{
    BagMode, Checkpointed, Forward, Module, ModuleDict, ModuleExt, ModuleList, RnnNonlinearity,
    TransformerActivation, TransformerOptions, checkpoint_sequential,
    generate_square_subsequent_mask, init, length_mask, pack_padded_sequence, pack_sequence,
    pad_packed_sequence, pad_sequence, parameters_to_vector, spectral_norm, summary,
    unpack_sequence, update_bn, vector_to_parameters, weight_norm,
};
pub use crate::optim::{
    AdjustLr, AveragedModel, LineSearch, clip_grad_norm_, clip_grad_value_, lr_scheduler,
};
pub use crate::tensor::DType::{self, *};
pub use crate::tensor::{
    Activation, Ellipsis, Fused, Interpolation, NewAxis, PadMode, Reduction, Scalar, ScatterOp,
    Shape, Shared, Step,
};
pub use crate::tensor::{autocast, no_autocast, set_autocast};
pub use crate::{Device, linalg, manual_seed, rng_states, set_rng_states};

/// [`tensor::AttentionOptions`](crate::tensor::AttentionOptions) on the default backend.
pub type AttentionOptions<'a> = crate::tensor::AttentionOptions<'a, B>;
/// [`nn::MultiheadOptions`](crate::nn::MultiheadOptions) on the default backend.
pub type MultiheadOptions<'a> = crate::nn::MultiheadOptions<'a, B>;
/// [`nn::Masks`](crate::nn::Masks) on the default backend.
pub type Masks<'a> = crate::nn::Masks<'a, B>;

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
    tensor: Tensor Unique;
    files: Checkpoint StateDict;
    nn:
        Param Buffer Hooks Layer Sequential ParameterList ParameterDict
        Linear Bilinear Embedding Flatten Unflatten Identity
        EmbeddingBag Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d
        MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d
        AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d
        AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d
        FractionalMaxPool2d FractionalMaxPool3d AdaptiveLogSoftmaxWithLoss
        MaxUnpool1d MaxUnpool2d MaxUnpool3d LPPool1d LPPool2d LPPool3d
        BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm GroupNorm RMSNorm LocalResponseNorm
        InstanceNorm1d InstanceNorm2d InstanceNorm3d
        LazyLinear LazyConv1d LazyConv2d LazyConv3d
        LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d
        LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d
        LazyInstanceNorm1d LazyInstanceNorm2d LazyInstanceNorm3d
        RNN LSTM GRU RNNCell LSTMCell GRUCell PackedSequence
        MultiheadAttention Transformer TransformerEncoder TransformerDecoder
        TransformerEncoderLayer TransformerDecoderLayer
        ZeroPad1d ZeroPad2d ZeroPad3d ConstantPad1d ConstantPad2d ConstantPad3d
        ReflectionPad1d ReflectionPad2d ReflectionPad3d CircularPad1d CircularPad2d CircularPad3d
        ReplicationPad1d ReplicationPad2d ReplicationPad3d
        Upsample PixelShuffle PixelUnshuffle ChannelShuffle Fold Unfold
        Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout
        ReLU ReLU6 LeakyReLU ELU SELU CELU GELU SiLU Mish PReLU Sigmoid Tanh Softplus Softsign
        Softshrink Hardshrink Tanhshrink Threshold Hardtanh Hardswish Hardsigmoid LogSigmoid
        Softmax Softmin LogSoftmax GLU Softmax2d RReLU
        MSELoss L1Loss SmoothL1Loss HuberLoss BCELoss BCEWithLogitsLoss CrossEntropyLoss NLLLoss
        KLDivLoss CTCLoss GaussianNLLLoss PoissonNLLLoss HingeEmbeddingLoss SoftMarginLoss
        MultiMarginLoss MultiLabelMarginLoss MultiLabelSoftMarginLoss MarginRankingLoss
        CosineEmbeddingLoss TripletMarginLoss CosineSimilarity PairwiseDistance;
    optim: GradScaler
        Adadelta Adafactor Adagrad Adam AdamW Adamax ASGD LBFGS Lion Muon NAdam RAdam RMSprop Rprop SGD;
}
