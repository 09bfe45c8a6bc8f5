//! Orders of bytes: the machine's and the file's.

use kiln_tensor_core::{Backend, DType, Shape, Tensor};

/// Which byte of an element comes first in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

/// Between the machine's order of bytes and the file's.
pub(crate) fn convert(bytes: &mut [u8], dtype: DType, order: Order) {
    if foreign(order) {
        bytes.chunks_exact_mut(dtype.size()).for_each(<[u8]>::reverse);
    }
}

fn foreign(order: Order) -> bool {
    (order == Order::Little) != cfg!(target_endian = "little")
}

/// Makes a tensor of a file's bytes, of which there are as many as the shape says.
pub(crate) fn upload<B: Backend>(
    bytes: &[u8],
    shape: &Shape,
    dtype: DType,
    order: Order,
    device: &B::Device,
) -> Tensor<B> {
    // A bool is 0 or 1, whatever a file says.
    let other_bools = dtype == DType::Bool && bytes.iter().any(|&byte| byte > 1);
    if !other_bools && (dtype.size() == 1 || !foreign(order)) {
        return B::upload(bytes, shape, dtype, device);
    }
    let mut bytes = bytes.to_vec();
    convert(&mut bytes, dtype, order);
    if other_bools {
        bytes.iter_mut().for_each(|byte| *byte = u8::from(*byte != 0));
    }
    B::upload(&bytes, shape, dtype, device)
}

/// The elements of a tensor, row by row, in little-endian order.
pub(crate) fn download<B: Backend>(tensor: &Tensor<B>) -> Vec<u8> {
    let mut bytes = B::download(&tensor.detach());
    convert(&mut bytes, tensor.dtype(), Order::Little);
    bytes
}

/// How many bytes a tensor of these sizes takes. None if that, or the product of the sizes other than 0,
/// which strides are made of, is more than a machine can count; or if there are more than 64 dimensions,
/// which neither PyTorch nor NumPy has.
pub(crate) fn bytes_of(sizes: &[usize], dtype: DType) -> Option<u64> {
    if sizes.len() > 64 {
        return None;
    }
    let extent =
        sizes.iter().filter(|&&size| size > 0).try_fold(dtype.size(), |product, &size| {
            product.checked_mul(size).filter(|&bytes| isize::try_from(bytes).is_ok())
        })?;
    Some(if sizes.contains(&0) { 0 } else { extent as u64 })
}
