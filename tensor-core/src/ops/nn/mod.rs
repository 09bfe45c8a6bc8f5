//! The functions of `torch.nn.functional`: checks, then primitives.

mod conv;
mod loss;
mod norm;
mod pool;
mod softmax;

pub use loss::Reduction;
