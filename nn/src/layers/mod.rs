//! The standard layers: PyTorch's arguments, defaults, parameter names, shapes and initialisation.

mod activation;
mod batch_norm;
mod bilinear;
mod conv;
mod dropout;
mod embedding;
mod layer_norm;
mod linear;
mod options;
mod pool;
mod shape;
mod sizes;

pub use activation::*;
pub use batch_norm::{BatchNorm, BatchNorm1d, BatchNorm2d, BatchNorm3d};
pub use bilinear::Bilinear;
pub use conv::{Conv, Conv1d, Conv2d, Conv3d, Padding, PaddingMode};
pub use dropout::{ChannelDropout, Dropout, Dropout1d, Dropout2d, Dropout3d};
pub use embedding::Embedding;
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use pool::{
    AdaptiveAvgPool, AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d, AdaptiveMaxPool,
    AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d, AvgPool, AvgPool1d, AvgPool2d,
    AvgPool3d, MaxPool, MaxPool1d, MaxPool2d, MaxPool3d,
};
pub use shape::{Flatten, Identity, Unflatten};
pub use sizes::Sizes;
