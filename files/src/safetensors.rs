//! Safetensors files, which hold tensors and texts and run no code.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use kiln_tensor_core::{Backend, DType, Result, Shape, Tensor};
use safetensors::tensor::{Dtype, SafeTensorError, SafeTensors, View, serialize_to_file};

use crate::StateDict;
use crate::atomic::replace;
use crate::order::{Order, bytes_of, download, upload};

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
        download(self.tensor).into()
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.dtype().size()
    }
}

/// Reads the tensors of a file in the order in which they lie in it. What the header says is checked
/// against the file before anything is allocated.
pub fn parse<B: Backend>(bytes: &[u8], path: &Path, device: &B::Device) -> Result<StateDict<B>> {
    let wrong = |why: String| crate::wrong(path, why);
    let damaged = |error| wrong(format!("not a safetensors file: {error}"));
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut views = file.tensors();
    views.sort_by_key(|(_, view)| view.data().as_ptr() as usize);
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let mut state: StateDict<B> = views
        .into_iter()
        .map(|(name, view)| {
            let known = DTYPES.iter().find(|(_, dtype)| *dtype == view.dtype());
            let Some(&(dtype, _)) = known else {
                return Err(wrong(format!("{name} has dtype {}, which Kiln lacks", view.dtype())));
            };
            // An empty tensor may claim any other sizes; strides are products of them.
            if bytes_of(view.shape(), dtype).is_none() {
                return Err(wrong(format!("{name} has the sizes {:?}", view.shape())));
            }
            let shape = Shape::from(view.shape());
            Ok((name, upload(view.data(), &shape, dtype, Order::Little, device)))
        })
        .collect::<Result<_>>()?;
    let notes = header.metadata().clone().unwrap_or_default();
    state.metadata_mut().extend(notes.into_iter().filter(|(name, _)| name != FORMAT.0));
    Ok(state)
}
