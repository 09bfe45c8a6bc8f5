//! Data on its way into a model and back: [`Dataset`] and [`DataLoader`], transforms from images to
//! tensors, readers of real files, metrics, progress and plots.
//!
//! What the world does wrong (a file that is missing, cut off or lying) is a `Result` that names the
//! file and the reason. Nothing read from outside can panic or allocate more than it is long.
#![forbid(unsafe_code)]

mod collate;
mod combine;
mod dataset;
mod epoch;
mod grid;
mod image;
mod image_dataset;
mod iterable;
mod loader;
pub mod metrics;
#[cfg(feature = "plot")]
pub mod plot;
mod progress;
mod readers;
mod rng;
mod sampler;
mod sets;
mod split;
pub mod tensorboard;
mod tensors;
mod text;
pub mod transforms;
mod workers;

pub use collate::{Collate, pad_batch};
pub use combine::{ConcatDataset, StackDataset};
pub use dataset::{Concat, Dataset, Map, Subset};
pub use epoch::{Epoch, Position, TryEpoch};
pub use grid::{Grid, make_grid, save_image};
pub use image::Image;
pub use image_dataset::ImageDataset;
pub use iterable::{ChainDataset, IterableDataset, IterableLoader, Shard};
pub use kiln_files::write_atomic;
pub use loader::DataLoader;
pub use progress::{EpochProgress, EpochSummary, History, Progress};
pub use readers::{Column, CsvReader, IdxArray, ImageFolder, Table, read_idx, read_idx_images};
pub use rng::Rng;
pub use sampler::{
    BatchSampler, Batched, DistributedSampler, RandomSampler, Sampler, SequentialSampler,
    StratifiedSampler, SubsetRandomSampler, WeightedRandomSampler,
};
pub use sets::{FashionMnist, digits, fashion_mnist, sonnets};
pub use split::SplitSizes;
pub use tensors::{Rows, TensorDataset};
pub use text::CharVocab;
pub use transforms::{Transform, Transformed};
