//! The same values under every layout.

use kiln_tensor_core::{Backend, DType, Layout, Scalar, Shape, Tensor, ViewOp};
use smallvec::SmallVec;

use crate::Host;
use crate::host::indices;

/// How the elements of an operand lie in memory. What lies between them is NaN, or a strange integer,
/// so that a kernel that reads past its view shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Row-major, alone in its storage.
    Contiguous,
    /// Dimensions stored in the opposite order.
    Transposed,
    /// Row-major, with other elements before and after.
    Offset,
    /// Every second element of the last dimension, and every third of the first.
    Stepped,
    /// Negative strides.
    Flipped,
    /// One dimension repeats with stride 0; its elements are made equal.
    Expanded,
    /// No elements: one dimension has size 0.
    Empty,
    /// No dimensions, where the op takes that.
    Scalar,
}

impl Form {
    /// Every form.
    pub const ALL: [Form; 8] = [
        Form::Contiguous,
        Form::Transposed,
        Form::Offset,
        Form::Stepped,
        Form::Flipped,
        Form::Expanded,
        Form::Empty,
        Form::Scalar,
    ];

    /// The values as this form can hold them: equal along the dimension that `Expanded` repeats.
    pub fn adapt(self, host: &Host) -> Host {
        let Some(dim) = self.repeated(&host.shape) else { return host.clone() };
        let first = |index: &Vec<usize>| {
            let mut index = index.clone();
            index[dim] = 0;
            host.get(&index)
        };
        Host::new(host.shape.clone(), host.dtype, indices(&host.shape).iter().map(first))
    }

    fn repeated(self, shape: &Shape) -> Option<usize> {
        let mut long = (0..shape.rank()).filter(|&d| shape[d] > 1);
        match self {
            Form::Expanded if shape.rank().is_multiple_of(2) => long.next_back(),
            Form::Expanded => long.next(),
            _ => None,
        }
    }

    /// A buffer, and the views of it that show the values of `host` (which fits this form).
    pub fn buffer(self, host: &Host) -> (Host, Vec<ViewOp>) {
        let shape = &host.shape;
        let (sizes, views) = self.views(shape);
        let layout = views.iter().fold(Layout::contiguous(&sizes), |layout, op| {
            layout.view(op).expect("a form's views fit its buffer")
        });
        let filler = if host.dtype.is_float() { Scalar::F64(f64::NAN) } else { Scalar::I64(-86) };
        let mut buffer = Host::new(sizes.clone(), host.dtype, vec![filler; sizes.numel()]);
        for (index, &value) in indices(shape).iter().zip(&host.values) {
            let steps = index.iter().zip(layout.strides()).map(|(&i, &s)| i as isize * s);
            buffer.values[(layout.offset() as isize + steps.sum::<isize>()) as usize] = value;
        }
        (buffer, views)
    }

    /// The buffer's shape, and what has to be done to it.
    fn views(self, shape: &Shape) -> (Shape, Vec<ViewOp>) {
        let (rank, mut sizes, mut views) = (shape.rank(), shape.clone(), Vec::new());
        let slice = |dim: usize, start: usize, step: isize| ViewOp::Slice {
            dim,
            start,
            len: shape[dim],
            step,
        };
        match self {
            Form::Contiguous | Form::Empty | Form::Scalar => {}
            Form::Transposed => {
                let reversed: SmallVec<[usize; 6]> = (0..rank).rev().collect();
                sizes = reversed.iter().map(|&d| shape[d]).collect();
                views.push(ViewOp::Permute(reversed));
            }
            Form::Offset | Form::Stepped | Form::Flipped if rank == 0 => {
                sizes = [3].into();
                views.push(ViewOp::Slice { dim: 0, start: 1, len: 1, step: 1 });
                views.push(ViewOp::Reshape(Shape::scalar()));
            }
            Form::Offset => {
                sizes[0] += 3;
                views.push(slice(0, 2, 1));
            }
            Form::Stepped => {
                for (dim, step) in [(0, 3), (rank - 1, 2)].into_iter().take(rank) {
                    sizes[dim] = shape[dim] * step + 1;
                    views.push(slice(dim, 1, step as isize));
                    if rank == 1 {
                        break;
                    }
                }
            }
            Form::Flipped => {
                let last = slice(rank - 1, shape[rank - 1].saturating_sub(1), -1);
                views.push(last);
                if rank > 2 {
                    views.push(slice(0, shape[0].saturating_sub(1), -1));
                }
            }
            Form::Expanded => {
                if let Some(dim) = self.repeated(shape) {
                    sizes[dim] = 1;
                    views.push(ViewOp::Expand(shape.clone()));
                }
            }
        }
        (sizes, views)
    }

    /// A tensor in this form.
    pub fn arrange<B: Backend>(self, host: &Host, device: &B::Device) -> Tensor<B> {
        let (buffer, views) = self.buffer(host);
        see(&buffer.upload(device), &views)
    }
}

/// Applies views one after the other.
pub fn see<B: Backend>(buffer: &Tensor<B>, views: &[ViewOp]) -> Tensor<B> {
    views.iter().fold(buffer.clone(), |x, op| x.view_as_op(op))
}

/// The dtypes that derivatives exist for.
pub const FLOATS: &[DType] = &[DType::F64, DType::F32, DType::F16, DType::BF16];
/// Integers.
pub const INTS: &[DType] = &[DType::I64, DType::I32, DType::I16, DType::I8, DType::U8];
/// All but bool.
pub const NUMBERS: &[DType] = &[
    DType::F64,
    DType::F32,
    DType::F16,
    DType::BF16,
    DType::I64,
    DType::I32,
    DType::I16,
    DType::I8,
    DType::U8,
];
