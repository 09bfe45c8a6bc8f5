//! The functions of `torch.nn.functional`: checks, then primitives.

mod activation;
mod attention;
mod conv;
mod loss;
mod norm;
mod pad;
mod pool;
mod softmax;

pub use attention::AttentionOptions;
pub use loss::Reduction;
pub use pad::PadMode;
