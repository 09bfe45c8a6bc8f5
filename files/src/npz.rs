//! NumPy's `.npz`: arrays by name, in a zip archive, plain or compressed.
//!
//! ```
//! use kiln_backend_cpu::{Cpu, CpuDevice};
//! use kiln_files::{StateDict, npz};
//! use kiln_tensor_core::Tensor;
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("data.npz");
//! let mut arrays = StateDict::new();
//! arrays.insert("x", Tensor::<Cpu>::from_slice(&[1.0, 2.0], [2], &CpuDevice));
//! arrays.insert("y", Tensor::from_slice(&[0i64, 1], [2], &CpuDevice));
//! npz::save_compressed(&path, &arrays)?; // numpy.savez_compressed(path, x=x, y=y)
//! let read: StateDict<Cpu> = npz::load(&path, &CpuDevice)?; // numpy.load(path)
//! assert_eq!(read.get("y").unwrap().to_vec::<i64>(), [0, 1]);
//! # Ok::<(), kiln_tensor_core::Error>(())
//! ```

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Read};
use std::path::Path;

use kiln_tensor_core::{Backend, Result, Tensor};

use crate::atomic::replace;
use crate::npy::{Header, header};
use crate::order::download;
use crate::zip::{Archive, Writer};
use crate::{MAX_INFLATION, StateDict, read, wrong, zip};

const ENDING: &str = ".npy";

/// Reads all arrays of the file, in its order: `numpy.load`.
///
/// # Errors
/// [`Error::Io`](kiln_tensor_core::Error::Io) if the file cannot be read, and
/// [`Error::Format`](kiln_tensor_core::Error::Format) if it is no such archive, is damaged, or an array is
/// none that [`npy::load`](crate::npy::load) takes.
pub fn load<B: Backend>(path: impl AsRef<Path>, device: &B::Device) -> Result<StateDict<B>> {
    let path = path.as_ref();
    parse(&read(path)?, path, device)
}

/// Writes arrays by name: `numpy.savez`. Texts beside the tensors have no place in the format and are
/// left out.
///
/// # Errors
/// [`Error::Io`](kiln_tensor_core::Error::Io) if the file cannot be written.
pub fn save<B: Backend>(path: impl AsRef<Path>, arrays: &StateDict<B>) -> Result<()> {
    write(path.as_ref(), arrays, false)
}

/// Writes arrays by name, compressed: `numpy.savez_compressed`.
///
/// # Errors
/// As [`save`].
pub fn save_compressed<B: Backend>(path: impl AsRef<Path>, arrays: &StateDict<B>) -> Result<()> {
    write(path.as_ref(), arrays, true)
}

fn write<B: Backend>(path: &Path, arrays: &StateDict<B>, deflate: bool) -> Result<()> {
    replace(path, |temporary| {
        let mut archive = Writer::new(BufWriter::new(File::create(temporary)?));
        for (name, tensor) in arrays.iter() {
            let mut bytes = header(tensor);
            bytes.extend(download(tensor));
            archive.add(&format!("{name}{ENDING}"), &bytes, deflate, 1)?;
        }
        archive.finish().map(drop)
    })
}

/// Whether this is an archive of arrays.
pub(crate) fn is(bytes: &[u8]) -> bool {
    let arrays = |archive: Archive<'_>| archive.entries.iter().all(|e| e.name.ends_with(ENDING));
    zip::is(bytes) && Archive::open(bytes).is_ok_and(arrays)
}

pub(crate) fn parse<B: Backend>(
    bytes: &[u8],
    path: &Path,
    device: &B::Device,
) -> Result<StateDict<B>> {
    let archive = Archive::open(bytes).map_err(|why| wrong(path, why))?;
    let (mut arrays, mut names) = (Vec::new(), HashSet::new());
    // Entries may lie on top of each other; then they would make more of the file than it can hold.
    let mut left = (bytes.len() as u64).saturating_mul(MAX_INFLATION);
    for entry in &archive.entries {
        let name = entry.name.strip_suffix(ENDING).unwrap_or(&entry.name);
        let refuse = |why: String| wrong(path, format!("{name}: {why}"));
        let mut reader = archive.reader(entry).map_err(|why| wrong(path, why))?;
        let array = array(&mut reader, &mut left, device).map_err(refuse)?;
        if !names.insert(name) {
            return Err(refuse("there are two arrays of this name".into()));
        }
        arrays.push((name.to_owned(), array));
    }
    Ok(arrays.into_iter().collect())
}

/// Reads an array as far as its own header goes.
fn array<B: Backend>(
    reader: &mut impl Read,
    left: &mut u64,
    device: &B::Device,
) -> std::result::Result<Tensor<B>, String> {
    let header = Header::read(reader)?;
    *left = left.checked_sub(header.bytes).ok_or("more data than the file can hold")?;
    let mut data = Vec::new();
    let read = reader.take(header.bytes).read_to_end(&mut data);
    let more = read.and_then(|_| reader.read(&mut [0]));
    let more = more.map_err(|error| error.to_string())?;
    if data.len() as u64 != header.bytes || more > 0 {
        let than = if more > 0 { "more" } else { "fewer" };
        return Err(format!("{than} bytes of data than the {} of its header", header.bytes));
    }
    Ok(header.tensor(&data, device))
}
