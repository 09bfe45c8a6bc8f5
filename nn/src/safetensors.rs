//! The one codec of state dicts: safetensors files, which hold tensors and run no code.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use kiln_tensor_core::{Backend, DType, Error, Result, Shape, Tensor};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View, serialize_to_file};

use crate::StateDict;

/// Both names of each dtype. The format's others have no counterpart here.
const DTYPES: [(DType, Dtype); 10] = [
    (DType::F64, Dtype::F64),
    (DType::F32, Dtype::F32),
    (DType::F16, Dtype::F16),
    (DType::BF16, Dtype::BF16),
    (DType::I64, Dtype::I64),
    (DType::I32, Dtype::I32),
    (DType::I16, Dtype::I16),
    (DType::I8, Dtype::I8),
    (DType::U8, Dtype::U8),
    (DType::Bool, Dtype::BOOL),
];

/// The note without which other readers of PyTorch's files refuse one.
const FORMAT: (&str, &str) = ("format", "pt");

/// Writes the tensors, one at a time, to a temporary file that then takes the name `path`.
pub fn save<'a, B: Backend>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, &'a Tensor<B>)>,
    metadata: &BTreeMap<String, String>,
) -> Result<()> {
    let mut notes: HashMap<String, String> = metadata.clone().into_iter().collect();
    notes.insert(FORMAT.0.into(), FORMAT.1.into());
    let entries = tensors.map(|(name, tensor)| (name, Entry::of(tensor)));
    replace(path, |temporary| {
        serialize_to_file(entries, Some(notes), temporary).map_err(|error| match error {
            SafeTensorError::IoError(source) => source,
            other => io::Error::other(other),
        })
    })
    .map_err(|source| Error::Io { path: path.into(), source })
}

/// Lets `write` make a file beside `path`, makes sure that it is on the disk, and gives it the name.
fn replace(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    struct Temporary(PathBuf);
    impl Drop for Temporary {
        fn drop(&mut self) {
            // Gone already where it took its name; after an error there is nothing more to do.
            let _ = fs::remove_file(&self.0);
        }
    }
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary =
        Temporary(path.with_file_name(format!(".{name}.{}.{count}.tmp", std::process::id())));
    write(&temporary.0)?;
    File::options().write(true).open(&temporary.0)?.sync_all()?;
    fs::rename(&temporary.0, path)
}

/// A tensor as the writer sees it; its elements are downloaded when their turn comes.
struct Entry<'a, B: Backend> {
    tensor: &'a Tensor<B>,
    dtype: Dtype,
}

impl<'a, B: Backend> Entry<'a, B> {
    fn of(tensor: &'a Tensor<B>) -> Self {
        let known = DTYPES.iter().find(|(dtype, _)| *dtype == tensor.dtype());
        Entry { tensor, dtype: known.expect("every dtype is in the table").1 }
    }
}

impl<B: Backend> View for Entry<'_, B> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.tensor.dims()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = B::download(&self.tensor.detach());
        little_endian(&mut bytes, self.tensor.dtype());
        bytes.into()
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.dtype().size()
    }
}

/// Reads the tensors of a file in the order in which they lie in it. What the header says is checked
/// against the file before anything is allocated.
pub fn load<B: Backend>(path: &Path, device: &B::Device) -> Result<StateDict<B>> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
    let wrong = |why: String| Error::Format { what: path.display().to_string(), why };
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| wrong(format!("not a safetensors file: {error}")))?;
    let mut views = file.tensors();
    views.sort_by_key(|(_, view)| view.data().as_ptr() as usize);
    let (_, header) = SafeTensors::read_metadata(&bytes)
        .map_err(|error| wrong(format!("not a safetensors file: {error}")))?;
    let mut state: StateDict<B> = views
        .into_iter()
        .map(|(name, view)| {
            let known = DTYPES.iter().find(|(_, dtype)| *dtype == view.dtype());
            let Some(&(dtype, _)) = known else {
                return Err(wrong(format!("{name} has dtype {}, which Kiln lacks", view.dtype())));
            };
            // An empty tensor may claim any other sizes; strides are products of them.
            let mut sizes = view.shape().iter().filter(|&&size| size > 0);
            let extent = sizes.try_fold(1isize, |product, &size| {
                product.checked_mul(isize::try_from(size).ok()?)
            });
            if extent.is_none() {
                return Err(wrong(format!("{name} has the sizes {:?}", view.shape())));
            }
            let mut data = Cow::from(view.data());
            if cfg!(target_endian = "big") {
                little_endian(data.to_mut(), dtype);
            }
            if dtype == DType::Bool && data.iter().any(|&byte| byte > 1) {
                data.to_mut().iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
            }
            Ok((name, B::upload(&data, &Shape::from(view.shape()), dtype, device)))
        })
        .collect::<Result<_>>()?;
    let notes = header.metadata().clone().unwrap_or_default();
    state.metadata_mut().extend(notes.into_iter().filter(|(name, _)| name != FORMAT.0));
    Ok(state)
}

/// Between the machine's order of bytes and the file's.
fn little_endian(bytes: &mut [u8], dtype: DType) {
    if cfg!(target_endian = "big") {
        bytes.chunks_exact_mut(dtype.size()).for_each(<[u8]>::reverse);
    }
}
