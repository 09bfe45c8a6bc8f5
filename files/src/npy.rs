//! NumPy's `.npy`: one array. `numpy.lib.format` describes it: a magic number, a version, a header as a
//! Python literal, then the elements.
//!
//! ```
//! use kiln_backend_cpu::{Cpu, CpuDevice};
//! use kiln_files::npy;
//! use kiln_tensor_core::Tensor;
//! # let folder = tempfile::tempdir().unwrap();
//! # let path = folder.path().join("x.npy");
//! let x = Tensor::<Cpu>::from_slice(&[1.0, 2.0, 3.0], [3], &CpuDevice);
//! npy::save(&path, &x)?; // numpy.save(path, x)
//! let y: Tensor<Cpu> = npy::load(&path, &CpuDevice)?; // numpy.load(path)
//! assert_eq!(y.to_vec::<f64>(), [1.0, 2.0, 3.0]);
//! # Ok::<(), kiln_tensor_core::Error>(())
//! ```

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use kiln_tensor_core::{Backend, DType, Result, Shape, Tensor};

use crate::atomic::replace;
use crate::order::{Order, bytes_of, download, upload};
use crate::{read, wrong};

pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// Each dtype as NumPy calls it, without its order of bytes. `V2` is what `ml_dtypes.bfloat16` is saved
/// as: NumPy itself has no such type.
const DTYPES: [(DType, &str); 10] = [
    (DType::F64, "f8"),
    (DType::F32, "f4"),
    (DType::F16, "f2"),
    (DType::BF16, "V2"),
    (DType::I64, "i8"),
    (DType::I32, "i4"),
    (DType::I16, "i2"),
    (DType::I8, "i1"),
    (DType::U8, "u1"),
    (DType::Bool, "b1"),
];

/// Reads an array of any order and any version of the format: `numpy.load`.
///
/// # Errors
/// [`Error::Io`](kiln_tensor_core::Error::Io) if the file cannot be read, and
/// [`Error::Format`](kiln_tensor_core::Error::Format) if it is not such an array, is cut off, or its
/// elements are Python objects, which would have to be run, or of a type that Kiln lacks.
pub fn load<B: Backend>(path: impl AsRef<Path>, device: &B::Device) -> Result<Tensor<B>> {
    let path = path.as_ref();
    parse(&read(path)?, path, device)
}

pub(crate) fn parse<B: Backend>(
    bytes: &[u8],
    path: &Path,
    device: &B::Device,
) -> Result<Tensor<B>> {
    let mut rest = bytes;
    let header = Header::read(&mut rest).map_err(|why| wrong(path, why))?;
    if rest.len() as u64 != header.bytes {
        let why = format!("{} bytes of data, and the header claims {}", rest.len(), header.bytes);
        return Err(wrong(path, why));
    }
    Ok(header.tensor(rest, device))
}

/// Writes an array, in version 1 of the format: `numpy.save`. A `bf16` one is saved as `ml_dtypes` does it.
///
/// # Errors
/// [`Error::Io`](kiln_tensor_core::Error::Io) if the file cannot be written.
pub fn save<B: Backend>(path: impl AsRef<Path>, tensor: &Tensor<B>) -> Result<()> {
    replace(path.as_ref(), |temporary| {
        let mut file = File::create(temporary)?;
        file.write_all(&header(tensor))?;
        file.write_all(&download(tensor))
    })
}

/// The header of a tensor's array.
pub(crate) fn header<B: Backend>(tensor: &Tensor<B>) -> Vec<u8> {
    let dtype = tensor.dtype();
    let known = DTYPES.iter().find(|(known, _)| *known == dtype);
    let name = known.expect("every dtype is in the table").1;
    let order = if dtype.size() == 1 { '|' } else { '<' };
    let sizes: Vec<String> = tensor.dims().iter().map(ToString::to_string).collect();
    // A tuple of one has a comma, too.
    let comma = if sizes.len() == 1 { "," } else { "" };
    let mut text = format!(
        "{{'descr': '{order}{name}', 'fortran_order': False, 'shape': ({}{comma}), }}",
        sizes.join(", ")
    );
    // The data begins at a multiple of 64.
    let length = (MAGIC.len() + 4 + text.len() + 1).next_multiple_of(64);
    text.extend(std::iter::repeat_n(' ', length - MAGIC.len() - 4 - text.len() - 1));
    text.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes
}

/// What an array's header says.
#[derive(Debug)]
pub(crate) struct Header {
    dtype: DType,
    order: Order,
    shape: Shape,
    fortran: bool,
    /// How many bytes of data there are.
    pub(crate) bytes: u64,
}

impl Header {
    /// Reads the header, after which the data follows.
    pub(crate) fn read(from: &mut impl Read) -> std::result::Result<Self, String> {
        let mut take = |count: u64| {
            let mut bytes = Vec::new();
            let read = from.take(count).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
            if read as u64 == count { Ok(bytes) } else { Err("the header is cut off".to_owned()) }
        };
        let start = take(8)?;
        if !start.starts_with(MAGIC) {
            return Err("not a .npy array: its first bytes are others".into());
        }
        let length = match start[6] {
            1 => take(2)?.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte)),
            2 | 3 => take(4)?.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte)),
            version => return Err(format!("version {version} of the .npy format is unknown")),
        };
        let text = take(length)?;
        // Up to version 2 Latin-1: what is not ASCII could only stand in names of fields, which no array
        // of numbers has.
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        let mut words = Words(text);
        let (mut descr, mut fortran, mut shape) = (None, None, None);
        words.expect("{")?;
        while !words.skip("}") {
            let key = words.quoted()?;
            words.expect(":")?;
            match key {
                "descr" if words.rest().starts_with('[') => {
                    return Err("an array of records, which is no tensor".into());
                }
                "descr" => descr = Some(words.quoted()?),
                "fortran_order" => fortran = Some(words.truth()?),
                "shape" => shape = Some(words.sizes()?),
                other => return Err(format!("the header has an entry `{other}`")),
            }
            words.skip(",");
        }
        let (Some(descr), Some(fortran), Some(shape)) = (descr, fortran, shape) else {
            return Err("the header lacks one of descr, fortran_order and shape".into());
        };
        let (dtype, order) = element(descr)?;
        let bytes = bytes_of(&shape, dtype).ok_or_else(|| format!("the shape is {shape:?}"))?;
        Ok(Header { dtype, order, shape: shape.into(), fortran, bytes })
    }

    /// The tensor of the data, which is as long as the header says.
    pub(crate) fn tensor<B: Backend>(&self, data: &[u8], device: &B::Device) -> Tensor<B> {
        if !self.fortran || self.shape.rank() < 2 {
            return upload(data, &self.shape, self.dtype, self.order, device);
        }
        // Columns first is the transpose of rows first.
        let turned: Shape = self.shape.iter().rev().copied().collect();
        let dims: Vec<isize> = (0..self.shape.rank() as isize).rev().collect();
        upload::<B>(data, &turned, self.dtype, self.order, device).permute(&dims)
    }
}

/// A dtype and an order of bytes by NumPy's name.
fn element(descr: &str) -> std::result::Result<(DType, Order), String> {
    let (order, name) = match descr.split_at_checked(1) {
        Some(("<" | "|", name)) => (Order::Little, name),
        Some((">", name)) => (Order::Big, name),
        Some(("=", name)) if cfg!(target_endian = "big") => (Order::Big, name),
        Some(("=", name)) => (Order::Little, name),
        _ => return Err(format!("the type of elements is `{descr}`")),
    };
    if name.starts_with('O') {
        return Err("it holds Python objects, which would have to be run to be read".into());
    }
    let known = DTYPES.iter().find(|(_, known)| *known == name);
    known
        .map(|&(dtype, _)| (dtype, order))
        .ok_or_else(|| format!("the type of elements is `{descr}`, which Kiln lacks"))
}

/// The few words of Python that headers are written in.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn rest(&mut self) -> &'a str {
        self.0 = self.0.trim_start();
        self.0
    }

    fn skip(&mut self, word: &str) -> bool {
        let after = self.rest().strip_prefix(word);
        self.0 = after.unwrap_or(self.0);
        after.is_some()
    }

    fn expect(&mut self, word: &str) -> std::result::Result<(), String> {
        if self.skip(word) { Ok(()) } else { Err(self.odd(word)) }
    }

    fn odd(&mut self, wanted: &str) -> String {
        let found: String = self.rest().chars().take(20).collect();
        format!("the header has `{found}` where {wanted} should stand")
    }

    fn quoted(&mut self) -> std::result::Result<&'a str, String> {
        let rest = self.rest();
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let text = quote.and_then(|quote| rest[1..].split_once(quote));
        let (text, after) = text.ok_or_else(|| self.odd("a text"))?;
        self.0 = after;
        Ok(text)
    }

    fn truth(&mut self) -> std::result::Result<bool, String> {
        if self.skip("True") {
            return Ok(true);
        }
        if self.skip("False") { Ok(false) } else { Err(self.odd("True or False")) }
    }

    fn sizes(&mut self) -> std::result::Result<Vec<usize>, String> {
        self.expect("(")?;
        let mut sizes = Vec::new();
        while !self.skip(")") {
            let rest = self.rest();
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let size = rest[..digits].parse().map_err(|_| self.odd("a size"))?;
            sizes.push(size);
            self.0 = &rest[digits..];
            // Python 2 wrote long numbers with an L.
            self.skip("L");
            if !self.skip(",") && !self.rest().starts_with(')') {
                return Err(self.odd("`,` or `)`"));
            }
        }
        Ok(sizes)
    }
}
