//! Writes files that PyTorch reads: a zip archive of a pickle (protocol 2) and the tensors' bytes.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use kiln_tensor_core::{Backend, Result, Tensor};

use super::{DTYPES, Value};
use crate::atomic::replace;
use crate::order::download;
use crate::zip::Writer;

/// Tensors begin at multiples of this, as in PyTorch's files, so that they can be mapped into memory.
const ALIGN: u64 = 64;

pub(super) fn save<B: Backend>(path: &Path, value: &Value<B>) -> Result<()> {
    replace(path, |temporary| {
        let mut pickle = Pickle { code: vec![0x80, 2], tensors: Vec::new() };
        pickle.value(value)?;
        pickle.code.push(b'.');
        let mut archive = Writer::new(BufWriter::new(File::create(temporary)?));
        archive.add("archive/data.pkl", &pickle.code, false, ALIGN)?;
        archive.add("archive/byteorder", b"little", false, ALIGN)?;
        for (key, tensor) in pickle.tensors.iter().enumerate() {
            archive.add(&format!("archive/data/{key}"), &download(tensor), false, ALIGN)?;
        }
        archive.add("archive/version", b"3\n", false, ALIGN)?;
        archive.finish().map(drop)
    })
}

struct Pickle<'a, B: Backend> {
    code: Vec<u8>,
    /// Tensor n has the storage called n.
    tensors: Vec<&'a Tensor<B>>,
}

impl<'a, B: Backend> Pickle<'a, B> {
    fn value(&mut self, value: &'a Value<B>) -> io::Result<()> {
        match value {
            Value::None => self.code.push(b'N'),
            Value::Bool(yes) => self.code.push(if *yes { 0x88 } else { 0x89 }),
            Value::Int(number) => self.int(*number),
            Value::Float(number) => {
                self.code.push(b'G');
                self.code.extend(number.to_be_bytes());
            }
            Value::Str(text) => self.text(text)?,
            Value::DType(dtype) => {
                let (.., name) = names(*dtype);
                self.global("torch", name);
            }
            Value::List(items) => {
                self.code.extend(b"](");
                items.iter().try_for_each(|item| self.value(item))?;
                self.code.push(b'e');
            }
            Value::Tuple(items) => {
                self.code.push(b'(');
                items.iter().try_for_each(|item| self.value(item))?;
                self.code.push(b't');
            }
            Value::Dict(entries) => {
                self.code.extend(b"}(");
                for (key, value) in entries.iter() {
                    self.value(key)?;
                    self.value(value)?;
                }
                self.code.push(b'u');
            }
            Value::Tensor(tensor) => self.tensor(tensor)?,
        }
        Ok(())
    }

    /// `_rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, hooks)`.
    fn tensor(&mut self, tensor: &'a Tensor<B>) -> io::Result<()> {
        let (storage, _) = names(tensor.dtype());
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.code.extend(b"((");
        self.text("storage")?;
        self.global("torch", storage);
        self.text(&self.tensors.len().to_string())?;
        self.text("cpu")?;
        self.int(tensor.numel() as i64);
        self.code.extend(b"tQ");
        self.int(0);
        self.code.push(b'(');
        tensor.dims().iter().for_each(|&size| self.int(size as i64));
        self.code.extend(b"t(");
        let mut stride: usize = tensor.dims().iter().map(|&size| size.max(1)).product();
        for &size in tensor.dims() {
            stride /= size.max(1);
            self.int(stride as i64);
        }
        self.code.extend(b"t\x89");
        self.global("collections", "OrderedDict");
        self.code.extend(b")RtR");
        self.tensors.push(tensor);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) {
        self.code.extend(format!("c{module}\n{name}\n").as_bytes());
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        let len = u32::try_from(text.len()).map_err(io::Error::other)?;
        self.code.push(b'X');
        self.code.extend(len.to_le_bytes());
        self.code.extend(text.as_bytes());
        Ok(())
    }

    fn int(&mut self, number: i64) {
        match i32::try_from(number) {
            Ok(number) => {
                self.code.push(b'J');
                self.code.extend(number.to_le_bytes());
            }
            Err(_) => {
                self.code.extend([0x8a, 8]);
                self.code.extend(number.to_le_bytes());
            }
        }
    }
}

/// The storage class of a dtype and its name.
fn names(dtype: kiln_tensor_core::DType) -> (&'static str, &'static str) {
    let known = DTYPES.iter().find(|(known, ..)| *known == dtype);
    let (_, storage, name) = known.expect("every dtype is in the table");
    (storage, name)
}
