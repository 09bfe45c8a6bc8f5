//! The standard layers: PyTorch's arguments, defaults, parameter names, shapes and initialisation.

mod activation;
mod adaptive_softmax;
mod attention;
mod batch_norm;
mod bilinear;
mod conv;
mod conv_transpose;
mod dropout;
mod embedding;
mod embedding_bag;
mod fractional_pool;
mod group_norm;
mod layer_norm;
mod lazy;
mod linear;
mod options;
mod padding;
mod pool;
mod resize;
mod rnn;
mod shape;
mod sizes;
mod transformer;
mod unpool;

pub use activation::*;
pub use adaptive_softmax::AdaptiveLogSoftmaxWithLoss;
pub use attention::{MultiheadAttention, MultiheadOptions};
pub use batch_norm::{BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d};
pub use bilinear::Bilinear;
pub use conv::{Conv, Conv1d, Conv2d, Conv3d, Padding, PaddingMode};
pub use conv_transpose::{ConvTranspose, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d};
pub use dropout::{
    AlphaDropout, ChannelDropout, Dropout, Dropout1d, Dropout2d, Dropout3d, FeatureAlphaDropout,
};
pub use embedding::Embedding;
pub use embedding_bag::{BagMode, EmbeddingBag};
pub use fractional_pool::{FractionalMaxPool, FractionalMaxPool2d, FractionalMaxPool3d};
pub use group_norm::{
    GroupNorm, InstanceNorm, InstanceNorm1d, InstanceNorm2d, InstanceNorm3d, LocalResponseNorm,
    RMSNorm,
};
pub use layer_norm::LayerNorm;
pub use lazy::*;
pub use linear::Linear;
pub use padding::*;
pub use pool::{
    AdaptiveAvgPool, AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool,
    AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d, AvgPool, AvgPool1d, AvgPool2d,
    AvgPool3d, MaxPool, MaxPool1d, MaxPool2d, MaxPool3d,
};
pub use resize::{ChannelShuffle, Fold, PixelShuffle, PixelUnshuffle, Unfold, Upsample};
pub use rnn::*;
pub use shape::{Flatten, Identity, Unflatten};
pub use sizes::Sizes;
pub use transformer::*;
pub use unpool::*;
