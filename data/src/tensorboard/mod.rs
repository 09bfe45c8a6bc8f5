//! Event files for TensorBoard: `torch.utils.tensorboard`.
//!
//! ```
//! use kiln_data::tensorboard::{Summary, SummaryWriter, read_events};
//! # let folder = tempfile::tempdir().unwrap();
//! # let logs = folder.path().join("runs/first");
//! let mut writer = SummaryWriter::new(&logs)?; // `tensorboard --logdir runs` shows it
//! for step in 0..10 {
//!     writer.add_scalar("loss/train", 1.0 / f64::from(step + 1), i64::from(step))?;
//! }
//! let events = read_events(writer.path())?;
//! assert_eq!(events[4].values, [("loss/train".to_owned(), Summary::Scalar(0.25))]);
//! # Ok::<(), kiln_tensor_core::Error>(())
//! ```

mod event;
mod histogram;
mod record;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use kiln_tensor_core::{Backend, Error, Result, Tensor};

use crate::Image;
use crate::grid::make_grid;
use record::Message;

pub use event::{Event, Summary, read_events};
pub use histogram::Histogram;

/// A hyperparameter of [`SummaryWriter::add_hparams`].
#[derive(Clone, Debug, PartialEq)]
pub enum HParam {
    /// A number.
    Number(f64),
    /// A truth value.
    Bool(bool),
    /// A text.
    Text(String),
}

impl From<f64> for HParam {
    fn from(value: f64) -> Self {
        HParam::Number(value)
    }
}

impl From<i32> for HParam {
    fn from(value: i32) -> Self {
        HParam::Number(value.into())
    }
}

impl From<bool> for HParam {
    fn from(value: bool) -> Self {
        HParam::Bool(value)
    }
}

impl From<&str> for HParam {
    fn from(value: &str) -> Self {
        HParam::Text(value.into())
    }
}

/// Writes what TensorBoard shows: `torch.utils.tensorboard.SummaryWriter`.
///
/// Each call writes its event to the file at once: what a killed program has added is there.
#[derive(Debug)]
pub struct SummaryWriter {
    folder: PathBuf,
    path: PathBuf,
    file: File,
    /// The writers of `add_scalars`, by their folders.
    others: BTreeMap<PathBuf, SummaryWriter>,
}

impl SummaryWriter {
    /// A new event file in `folder`, which is made if it is not there. TensorBoard shows each folder as
    /// one run, and files of one folder as its continuation.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be made; so for all that writes.
    pub fn new(folder: impl AsRef<Path>) -> Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let folder = folder.as_ref().to_owned();
        fs::create_dir_all(&folder).map_err(|source| Error::Io { path: folder.clone(), source })?;
        // TensorBoard reads files whose name has this middle, in the order of their names.
        let (seconds, process) = (now() as u64, std::process::id());
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("events.out.tfevents.{seconds:010}.kiln.{process}.{count}"));
        let file =
            File::create_new(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let mut writer = SummaryWriter { folder, path, file, others: BTreeMap::new() };
        writer.write(&event::version(now()))?;
        Ok(writer)
    }

    /// The event file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A number, such as a loss: one point of the curve `tag`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn add_scalar(&mut self, tag: &str, value: f64, step: i64) -> Result<()> {
        self.add(step, event::scalar(tag, value as f32))
    }

    /// Several numbers in one chart: each curve is a run of its own, in a folder beside this file.
    ///
    /// # Errors
    /// As [`SummaryWriter::add_scalar`].
    pub fn add_scalars(&mut self, tag: &str, values: &[(&str, f64)], step: i64) -> Result<()> {
        for (name, value) in values {
            let folder = self.folder.join(format!("{}_{name}", tag.replace('/', "_")));
            if !self.others.contains_key(&folder) {
                self.others.insert(folder.clone(), SummaryWriter::new(&folder)?);
            }
            if let Some(writer) = self.others.get_mut(&folder) {
                writer.add_scalar(tag, *value, step)?;
            }
        }
        Ok(())
    }

    /// How the elements of a tensor are distributed, in the bins that PyTorch uses by default.
    ///
    /// # Errors
    /// As [`SummaryWriter::add_scalar`]; also [`Error::Argument`] if there are no values or one is not
    /// finite.
    pub fn add_histogram<B: Backend>(
        &mut self,
        tag: &str,
        values: &Tensor<B>,
        step: i64,
    ) -> Result<()> {
        let values: Vec<f64> = values.detach().to_dtype(kiln_tensor_core::DType::F64).to_vec();
        self.add(step, event::histogram(tag, &Histogram::of(&values)?))
    }

    /// An image `[channels, height, width]`, of values from 0 to 1 or of `u8`.
    ///
    /// # Errors
    /// As [`SummaryWriter::add_scalar`]; also [`Error::Argument`] if it has no pixels.
    ///
    /// # Panics
    /// If it is no image: see [`Image::from_tensor`].
    #[track_caller]
    pub fn add_image<B: Backend>(&mut self, tag: &str, image: &Tensor<B>, step: i64) -> Result<()> {
        let image = Image::from_tensor(image);
        let png = image.to_png()?;
        let (height, width) = (image.height(), image.width());
        self.add(step, event::image(tag, height, width, image.channels(), &png))
    }

    /// Images `[n, channels, height, width]` as one grid, eight in a row.
    ///
    /// # Errors
    /// As [`SummaryWriter::add_image`].
    ///
    /// # Panics
    /// If they are no images: see [`make_grid`].
    #[track_caller]
    pub fn add_images<B: Backend>(
        &mut self,
        tag: &str,
        images: &Tensor<B>,
        step: i64,
    ) -> Result<()> {
        self.add_image(tag, &make_grid(images), step)
    }

    /// A figure, such as a confusion matrix.
    ///
    /// # Errors
    /// As [`SummaryWriter::add_scalar`]; also what drawing reports.
    #[cfg(feature = "plot")]
    pub fn add_figure(
        &mut self,
        tag: &str,
        figure: &impl crate::plot::Figure,
        step: i64,
    ) -> Result<()> {
        let (width, height) = figure.size();
        let png = figure.png()?;
        self.add(step, event::image(tag, height as usize, width as usize, 3, &png))
    }

    /// A text, which TensorBoard reads as Markdown.
    ///
    /// # Errors
    /// As [`SummaryWriter::add_scalar`].
    pub fn add_text(&mut self, tag: &str, text: &str, step: i64) -> Result<()> {
        self.add(step, event::text(tag, text))
    }

    /// The hyperparameters of a run and what it reached, for comparison with others: a run of its own, in a
    /// folder beside this file.
    ///
    /// # Errors
    /// As [`SummaryWriter::add_scalar`].
    pub fn add_hparams(
        &mut self,
        hparams: &[(&str, HParam)],
        metrics: &[(&str, f64)],
    ) -> Result<()> {
        let time = now();
        let mut writer = SummaryWriter::new(self.folder.join(format!("{time:.6}")))?;
        for summary in event::hparams(hparams, metrics) {
            writer.add(0, summary)?;
        }
        metrics.iter().try_for_each(|(tag, value)| writer.add_scalar(tag, *value, 0))
    }

    fn add(&mut self, step: i64, value: Message) -> Result<()> {
        self.write(&event::event(now(), step, value))
    }

    fn write(&mut self, record: &[u8]) -> Result<()> {
        let written = self.file.write_all(&record::framed(record));
        written.map_err(|source| Error::Io { path: self.path.clone(), source })
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |time| time.as_secs_f64())
}
