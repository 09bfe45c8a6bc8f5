//! Tensors of the storages that an archive holds.

use std::collections::HashMap;
use std::sync::Arc;

use kiln_tensor_core::{Backend, DType, Shape, Tensor};

use super::{BYTEORDER, DTYPES};
use crate::order::{Order, bytes_of, upload};
use crate::zip::Archive;

/// The storages that have been asked for.
pub(super) struct Storages<'a, B: Backend> {
    archive: &'a Archive<'a>,
    /// The places of entries by name.
    places: HashMap<&'a str, usize>,
    folder: &'a str,
    order: Order,
    device: &'a B::Device,
    uploaded: HashMap<Arc<str>, Tensor<B>>,
    /// So many bytes may still be copied for views that do not lie in one piece.
    left: usize,
}

impl<'a, B: Backend> Storages<'a, B> {
    pub(super) fn open(
        archive: &'a Archive<'a>,
        folder: &'a str,
        bytes: &[u8],
        device: &'a B::Device,
    ) -> Result<Self, String> {
        let names = archive.entries.iter().zip(0..);
        let places: HashMap<_, _> = names.map(|(entry, at)| (entry.name.as_str(), at)).collect();
        let order = match places.get(&*format!("{folder}{BYTEORDER}")) {
            // Files from before PyTorch 2.1 do not say, and are little-endian.
            None => Order::Little,
            Some(&at) => match archive.stored(&archive.entries[at])? {
                b"little" => Order::Little,
                b"big" => Order::Big,
                _ => return Err("its order of bytes is neither little nor big".into()),
            },
        };
        let (uploaded, left) = (HashMap::new(), bytes.len());
        Ok(Storages { archive, places, folder, order, device, uploaded, left })
    }

    /// The view of a storage.
    pub(super) fn tensor(
        &mut self,
        (key, dtype, numel): (&Arc<str>, DType, usize),
        offset: usize,
        sizes: &[usize],
        strides: &[usize],
    ) -> Result<Tensor<B>, String> {
        let odd = || format!("a tensor of the sizes {sizes:?} and strides {strides:?}");
        if sizes.len() != strides.len() || bytes_of(sizes, dtype).is_none() {
            return Err(odd());
        }
        if sizes.contains(&0) {
            return Ok(B::upload(&[], &Shape::from(sizes), dtype, self.device));
        }
        let mut last = offset;
        for (size, stride) in sizes.iter().zip(strides) {
            let step = (size - 1).checked_mul(*stride).and_then(|step| last.checked_add(step));
            last = step.ok_or_else(odd)?;
        }
        if last >= numel {
            return Err(format!("{} beyond the end of its storage", odd()));
        }
        let whole = self.storage(key, dtype, numel)?;
        // A size of 1 has no stride, and a stride of 0 repeats: neither asks for elements.
        let stored: Vec<usize> =
            sizes.iter().zip(strides).map(|(&size, &s)| if s == 0 { 1 } else { size }).collect();
        let count: usize = stored.iter().product();
        let expand = |x: Tensor<B>| {
            let x = x.view(dims(&stored));
            if stored == sizes { x } else { x.expand(sizes) }
        };
        if contiguous(&stored, strides) {
            return Ok(expand(whole.narrow(0, offset, count)));
        }
        if count > numel {
            return Err(format!("{} whose elements overlap", odd()));
        }
        let over = || "its views add up to more than the file holds".to_owned();
        self.left = self.left.checked_sub(count * dtype.size()).ok_or_else(over)?;
        let bytes = self.gather(key, dtype, offset, &stored, strides)?;
        Ok(expand(upload::<B>(&bytes, &Shape::from([count]), dtype, self.order, self.device)))
    }

    fn bytes(&self, key: &str) -> Result<&'a [u8], String> {
        let name = format!("{}/data/{key}", self.folder);
        let at = self.places.get(&*name).ok_or_else(|| format!("{name} is missing"))?;
        self.archive.stored(&self.archive.entries[*at])
    }

    fn storage(&mut self, key: &Arc<str>, dtype: DType, numel: usize) -> Result<Tensor<B>, String> {
        if let Some(known) = self.uploaded.get(key) {
            if known.dtype() != dtype || known.numel() != numel {
                return Err(format!("storage {key} is of two kinds"));
            }
            return Ok(known.clone());
        }
        let bytes = self.bytes(key)?;
        if numel.checked_mul(dtype.size()) != Some(bytes.len()) {
            let name = DTYPES.iter().find(|known| known.0 == dtype).map_or("", |known| known.1);
            let len = bytes.len();
            return Err(format!("storage {key} has {len} bytes, not those of {numel} in a {name}"));
        }
        let tensor = upload::<B>(bytes, &Shape::from([numel]), dtype, self.order, self.device);
        self.uploaded.insert(key.clone(), tensor.clone());
        Ok(tensor)
    }

    /// The bytes of a view, row by row.
    fn gather(
        &self,
        key: &str,
        dtype: DType,
        offset: usize,
        sizes: &[usize],
        strides: &[usize],
    ) -> Result<Vec<u8>, String> {
        let (bytes, size) = (self.bytes(key)?, dtype.size());
        let count: usize = sizes.iter().product();
        let mut gathered = Vec::with_capacity(count * size);
        let mut index = vec![0; sizes.len()];
        for _ in 0..count {
            let at: usize = index.iter().zip(strides).map(|(i, stride)| i * stride).sum();
            gathered.extend(&bytes[(offset + at) * size..][..size]);
            for (i, &size) in index.iter_mut().zip(sizes).rev() {
                *i += 1;
                if *i < size {
                    break;
                }
                *i = 0;
            }
        }
        Ok(gathered)
    }
}

/// Whether elements of these sizes lie side by side, row by row.
fn contiguous(sizes: &[usize], strides: &[usize]) -> bool {
    let mut wanted = 1;
    sizes.iter().zip(strides).rev().filter(|(size, _)| **size != 1).all(|(size, stride)| {
        let fits = *stride == wanted;
        wanted *= size;
        fits
    })
}

fn dims(sizes: &[usize]) -> Vec<isize> {
    sizes.iter().map(|&size| size as isize).collect()
}
