//! One tensor on two backends, and what they make of it.
#![allow(dead_code, reason = "each test file uses some of it")]

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_conformance::{Reference, ReferenceDevice};
use kiln_tensor_core::{Backend, DType, Layout, Shape, Strides, Tensor, ViewOp};

/// The same elements here and on the reference backend.
pub type Pair = (Tensor<Cpu>, Tensor<Reference>);

/// How the elements lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    Plain,
    Transposed,
    Offset,
    Stepped,
    Flipped,
    Expanded,
}

pub const LIES: [Lie; 6] =
    [Lie::Plain, Lie::Transposed, Lie::Offset, Lie::Stepped, Lie::Flipped, Lie::Expanded];

/// A small generator of numbers, seeded by hand.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Numbers(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n.max(1) as u64) as usize
    }

    /// Small multiples of 1/4: sums and products of a few are exact in every float, and ties occur.
    pub fn values(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.below(33) as f64 / 4.0 - 4.0).collect()
    }

    /// Numbers in −1…1.
    pub fn floats(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.below(1 << 20) as f64 / f64::from(1 << 19) - 1.0).collect()
    }

    pub fn indices(&mut self, count: usize, size: usize) -> Vec<f64> {
        (0..count).map(|_| self.below(size) as f64).collect()
    }
}

fn build<B: Backend>(
    values: &[f64],
    shape: &Shape,
    dtype: DType,
    lie: Lie,
    device: &B::Device,
) -> Tensor<B> {
    let plain = Tensor::<B>::from_slice(values, shape, device).to_dtype(dtype);
    let rank = shape.rank();
    if rank == 0 {
        return plain;
    }
    match lie {
        Lie::Plain => plain,
        Lie::Transposed => {
            let back: Vec<isize> = (0..rank as isize).rev().collect();
            plain.permute(&back).contiguous().permute(&back)
        }
        Lie::Offset => {
            let first = plain.narrow(0, 0, 1.min(shape[0]));
            B::cat(&[&first, &plain, &first], 0).narrow(0, first.dims()[0], shape[0])
        }
        Lie::Stepped => {
            let last = rank - 1;
            let wide = B::cat(&[&plain.unsqueeze(-1), &plain.unsqueeze(-1)], rank)
                .reshape_to(&shape.with(last, 2 * shape[last]));
            let op = ViewOp::Slice {
                dim: last,
                start: usize::from(shape[last] > 0),
                len: shape[last],
                step: 2,
            };
            wide.view_as_op(&op)
        }
        Lie::Flipped => {
            let flip = |x: &Tensor<B>| {
                let op = ViewOp::Slice {
                    dim: 0,
                    start: shape[0].saturating_sub(1),
                    len: shape[0],
                    step: -1,
                };
                x.view_as_op(&op)
            };
            flip(&flip(&plain).contiguous())
        }
        // The first dim repeats its first slice: other values, the same shape.
        Lie::Expanded => {
            let layout = plain.layout();
            let mut strides: Strides = layout.strides().into();
            strides[0] = 0;
            let repeated = Layout::new(shape.clone(), strides, layout.offset());
            // No view op says this; the backends under test take the layout alone.
            B::view(&plain, &ViewOp::Expand(shape.clone()), repeated)
        }
    }
}

/// These values as a tensor on both backends.
pub fn pair(values: &[f64], shape: impl Into<Shape>, dtype: DType, lie: Lie) -> Pair {
    let shape = shape.into();
    (
        build(values, &shape, dtype, lie, &CpuDevice),
        build(values, &shape, dtype, lie, &ReferenceDevice),
    )
}

/// Shape, dtype and every bit agree.
#[track_caller]
pub fn same(cpu: &Tensor<Cpu>, reference: &Tensor<Reference>) {
    assert_eq!((cpu.shape(), cpu.dtype()), (reference.shape(), reference.dtype()));
    assert_eq!(Cpu::download(cpu), Reference::download(reference));
}

/// Shape and dtype agree, and the values within `tolerance` of the largest of them.
#[track_caller]
pub fn close(cpu: &Tensor<Cpu>, reference: &Tensor<Reference>, tolerance: f64) {
    assert_eq!((cpu.shape(), cpu.dtype()), (reference.shape(), reference.dtype()));
    let (cpu, reference) =
        (cpu.to_dtype(DType::F64).to_vec::<f64>(), reference.to_dtype(DType::F64).to_vec::<f64>());
    let scale = reference.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    for (i, (a, b)) in cpu.iter().zip(&reference).enumerate() {
        assert!(
            (a - b).abs() <= tolerance * scale || (a.is_nan() && b.is_nan()),
            "[{i}]: {a} and {b}"
        );
    }
}

/// Runs `f` with one thread, with two and with five, and requires the same bits.
#[track_caller]
pub fn any_threads(mut f: impl FnMut() -> Vec<Vec<u8>>) {
    // The setting is the process's: tests of one file that change it take turns.
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let turn = TURN.lock();
    let before = kiln_backend_cpu::num_threads();
    let results: Vec<_> = [1, 2, 5]
        .into_iter()
        .map(|n| {
            kiln_backend_cpu::set_num_threads(n);
            f()
        })
        .collect();
    kiln_backend_cpu::set_num_threads(before);
    drop(turn);
    assert!(results.windows(2).all(|w| w[0] == w[1]), "results differ with the number of threads");
}
