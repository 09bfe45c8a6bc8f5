//! The pages of `docs/`, whose programs run as doc-tests. `cargo xtask docs` shows them here; the published crate does not
//! hold those files.

#[doc = include_str!("../../README.md")]
pub mod readme {}
#[doc = include_str!("../../docs/tensors.md")]
pub mod tensors {}
#[doc = include_str!("../../docs/autograd.md")]
pub mod autograd {}
#[doc = include_str!("../../docs/modules.md")]
pub mod modules {}
#[doc = include_str!("../../docs/training.md")]
pub mod training {}
#[doc = include_str!("../../docs/data.md")]
pub mod data {}
#[doc = include_str!("../../docs/backends.md")]
pub mod backends {}
#[doc = include_str!("../../docs/coming-from-pytorch.md")]
pub mod coming_from_pytorch {}
#[doc = include_str!("../../docs/stories.md")]
pub mod stories {}
