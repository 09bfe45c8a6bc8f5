//! IDX: the format of MNIST and its relatives. Four bytes (0, 0, element type, rank), the sizes as
//! big-endian 32-bit numbers, then the elements, big-endian, in row-major order.

use std::path::Path;

use kiln_tensor_core::{Backend, DType, Result, Shape, Tensor};

use super::{Source, wrong};
use crate::ImageDataset;

/// The element types of the format.
const TYPES: [(u8, DType); 6] = [
    (0x08, DType::U8),
    (0x09, DType::I8),
    (0x0B, DType::I16),
    (0x0C, DType::I32),
    (0x0D, DType::F32),
    (0x0E, DType::F64),
];

/// What an IDX file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct IdxArray {
    shape: Shape,
    dtype: DType,
    bytes: Vec<u8>,
}

impl IdxArray {
    /// Sizes of the dimensions.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The elements, native-endian, in row-major order.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The array as a tensor of its own shape and dtype.
    pub fn tensor<B: Backend>(&self, device: &B::Device) -> Tensor<B> {
        B::upload(&self.bytes, &self.shape, self.dtype, device)
    }
}

/// Reads an IDX file, plain or gzip.
///
/// # Errors
/// [`Error::Io`](kiln_tensor_core::Error::Io) if the file cannot be read, and
/// [`Error::Format`](kiln_tensor_core::Error::Format) if it is not IDX, is cut off, or holds more or
/// less than its header declares.
pub fn read_idx(path: impl AsRef<Path>) -> Result<IdxArray> {
    let mut source = Source::open(path.as_ref())?;
    let head = source.take(4, "the IDX header")?;
    if head[..2] != [0, 0] {
        return Err(source.wrong("is not an IDX file: it does not start with two zero bytes"));
    }
    let Some(&(_, dtype)) = TYPES.iter().find(|(code, _)| *code == head[2]) else {
        return Err(source.wrong(format!("has the unknown IDX element type {:#04x}", head[2])));
    };
    let sizes = source.take(4 * u64::from(head[3]), "the list of IDX sizes")?;
    let shape: Shape = sizes
        .chunks_exact(4)
        .map(|b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]) as usize)
        .collect();
    let count = (shape.numel() as u64).saturating_mul(dtype.size() as u64);
    let mut bytes = source.take(count, &format!("an array of {dtype} {shape}"))?;
    source.end()?;
    if cfg!(target_endian = "little") {
        bytes.chunks_exact_mut(dtype.size()).for_each(<[u8]>::reverse);
    }
    Ok(IdxArray { shape, dtype, bytes })
}

/// Reads images (`u8`, `[count, height, width]`) and their labels (`u8`, `[count]`) from two IDX files.
/// `classes` names the labels `0 ..`.
///
/// # Errors
/// As [`read_idx`]; also [`Error::Format`](kiln_tensor_core::Error::Format) if an array is no image or
/// label array, the counts differ, or a label has no class.
pub fn read_idx_images(
    images: impl AsRef<Path>,
    labels: impl AsRef<Path>,
    classes: &[&str],
) -> Result<ImageDataset> {
    let (image_path, label_path) = (images.as_ref(), labels.as_ref());
    let (images, labels) = (read_idx(image_path)?, read_idx(label_path)?);
    let &[count, height, width] = &images.shape[..] else {
        return Err(wrong(image_path, format!("images have 3 dims, not {}", images.shape)));
    };
    if images.dtype != DType::U8 || labels.dtype != DType::U8 {
        let (path, dtype) = if images.dtype == DType::U8 {
            (label_path, labels.dtype)
        } else {
            (image_path, images.dtype)
        };
        return Err(wrong(path, format!("images and labels are u8, not {dtype}")));
    }
    if labels.shape != [count] {
        return Err(wrong(
            label_path,
            format!("{count} images need labels of shape [{count}], not {}", labels.shape),
        ));
    }
    if let Some(label) = labels.bytes.iter().find(|&&l| usize::from(l) >= classes.len()) {
        return Err(wrong(
            label_path,
            format!("label {label} is not below the {} classes", classes.len()),
        ));
    }
    let labels = labels.bytes.iter().map(|&l| i64::from(l)).collect();
    let classes = classes.iter().map(ToString::to_string).collect();
    Ok(ImageDataset::new(images.bytes, [count, height, width, 1], labels, classes))
}
