//! PyTorch's `.pt` and `.pth` files: `torch.save` and `torch.load`.
//!
//! Such a file is a zip archive with a pickle, a program that builds objects, and the tensors' bytes. The
//! program is read by an interpreter of our own that knows numbers, texts, lists, tuples, dicts and
//! tensors; whatever else it asks for is refused by its name, and nothing is run.
//!
//! ```
//! use kiln_backend_cpu::{Cpu, CpuDevice};
//! use kiln_files::pt::{self, Value};
//! use kiln_tensor_core::Tensor;
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("run.pt");
//! let weight = Tensor::<Cpu>::from_slice(&[1.0, 2.0], [2], &CpuDevice);
//! let run = Value::dict([("epoch", Value::from(3)), ("weight", weight.into())]);
//! pt::save(&path, &run)?; // torch.save({"epoch": 3, "weight": weight}, path)
//!
//! let run: Value<Cpu> = pt::load(&path, &CpuDevice)?; // torch.load(path, map_location=device)
//! assert_eq!(run.get("epoch").and_then(Value::as_i64), Some(3));
//! assert_eq!(run.get("weight").and_then(Value::as_tensor).unwrap().to_vec::<f64>(), [1.0, 2.0]);
//! # Ok::<(), kiln_tensor_core::Error>(())
//! ```

mod machine;
mod tensors;
mod value;
mod write;

use std::path::Path;

use kiln_tensor_core::{Backend, DType, Result};

use crate::zip::{self, Archive};
use crate::{read, wrong};

pub use value::Value;

/// The pickle's name in the archive, below a folder that may be called anything.
const PICKLE: &str = "/data.pkl";
/// The name of a file that says in which order of bytes the tensors are.
const BYTEORDER: &str = "/byteorder";

/// Each dtype's storage class and its own name in the module `torch`.
#[rustfmt::skip]
const DTYPES: [(DType, &str, &str); 10] = [
    (DType::F64,  "DoubleStorage",   "float64"),
    (DType::F32,  "FloatStorage",    "float32"),
    (DType::F16,  "HalfStorage",     "float16"),
    (DType::BF16, "BFloat16Storage", "bfloat16"),
    (DType::I64,  "LongStorage",     "int64"),
    (DType::I32,  "IntStorage",      "int32"),
    (DType::I16,  "ShortStorage",    "int16"),
    (DType::I8,   "CharStorage",     "int8"),
    (DType::U8,   "ByteStorage",     "uint8"),
    (DType::Bool, "BoolStorage",     "bool"),
];

/// Reads a file of PyTorch's onto `device`: `torch.load(path, map_location=device)`.
///
/// Tensors may be views of each other's storages, in any order of strides; those that lie in one piece go
/// on sharing it. Dicts, also ordered ones, lists, tuples, numbers, texts, dtypes, sizes and device names
/// are read; of other classes the first one is named in the error.
///
/// # Errors
/// [`Error::Io`](kiln_tensor_core::Error::Io) if the file cannot be read, and
/// [`Error::Format`](kiln_tensor_core::Error::Format) if it is damaged, holds something that would have to
/// be run, or is in the format that PyTorch wrote before version 1.6.
pub fn load<B: Backend>(path: impl AsRef<Path>, device: &B::Device) -> Result<Value<B>> {
    let path = path.as_ref();
    parse(&read(path)?, path, device)
}

/// Writes a file that `torch.load(path, weights_only=True)` reads: `torch.save(value, path)`.
///
/// # Errors
/// [`Error::Io`](kiln_tensor_core::Error::Io) if the file cannot be written.
pub fn save<B: Backend>(path: impl AsRef<Path>, value: &Value<B>) -> Result<()> {
    write::save(path.as_ref(), value)
}

/// Whether this is PyTorch's archive.
pub(crate) fn is(bytes: &[u8]) -> bool {
    let pickled = |archive: Archive<'_>| archive.entries.iter().any(|e| e.name.ends_with(PICKLE));
    zip::is(bytes) && Archive::open(bytes).is_ok_and(pickled)
}

/// Whether this is a bare pickle, as PyTorch wrote before version 1.6.
pub(crate) fn is_legacy(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..])
}

pub(crate) const LEGACY: &str = "the format that PyTorch wrote before version 1.6, or another pickle; \
    load it with PyTorch and save it again (`torch.save(torch.load(path), path)`)";

pub(crate) fn parse<B: Backend>(bytes: &[u8], path: &Path, device: &B::Device) -> Result<Value<B>> {
    if is_legacy(bytes) {
        return Err(wrong(path, LEGACY));
    }
    let refuse = |why: String| wrong(path, why);
    let archive = Archive::open(bytes).map_err(refuse)?;
    let Some(pickle) = archive.entries.iter().find(|e| e.name.ends_with(PICKLE)) else {
        return Err(wrong(path, "an archive without the data.pkl of PyTorch's files"));
    };
    let objects = machine::run(archive.stored(pickle).map_err(refuse)?).map_err(refuse)?;
    let folder = pickle.name.strip_suffix(PICKLE).unwrap_or_default();
    let mut storages = tensors::Storages::open(&archive, folder, bytes, device).map_err(refuse)?;
    value::build(&objects, &mut storages).map_err(refuse)
}
