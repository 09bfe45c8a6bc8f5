//! Data on its way into a model and back: [`Dataset`] and [`DataLoader`], transforms from images to
//! tensors, readers of real files, metrics, progress and plots.
//!
//! What the world does wrong (a file that is missing, cut off or lying) is a `Result` that names the
//! file and the reason. Nothing read from outside can panic or allocate more than it is long.
#![forbid(unsafe_code)]

mod dataset;
mod fs;
mod image;
mod image_dataset;
pub mod metrics;
mod readers;
mod rng;
mod sets;
mod split;

pub use dataset::{Concat, Dataset, Map, Subset};
pub use fs::write_atomic;
pub use image::Image;
pub use image_dataset::ImageDataset;
pub use readers::{Column, CsvReader, IdxArray, ImageFolder, Table, read_idx, read_idx_images};
pub use rng::Rng;
pub use sets::{FashionMnist, digits, fashion_mnist};
pub use split::SplitSizes;
