//! Convolutions against the definition, and against each other.

mod common;

use common::{LIES, Lie, Numbers, any_threads, close, pair};
use kiln_backend_cpu::Cpu;
use kiln_conformance::Reference;
use kiln_tensor_core::{Backend, ConvSpec, DType, Shape, Tensor};
use proptest::prelude::*;

/// The shapes of a convolution.
#[derive(Clone, Debug)]
struct Case {
    input: Shape,
    weight: Shape,
    output: Shape,
    spec: ConvSpec,
}

impl Case {
    /// Sizes of the batch, of groups, of a group's channels, and of each dim: input, kernel, stride,
    /// padding, dilation.
    fn new(
        batch: usize,
        groups: usize,
        inputs: usize,
        outputs: usize,
        dims: &[[usize; 5]],
    ) -> Option<Self> {
        let mut spec = ConvSpec::new(dims.len());
        spec.groups = groups;
        let mut input = Shape::from([batch, groups * inputs]);
        let mut weight = Shape::from([groups * outputs, inputs]);
        let mut output = Shape::from([batch, groups * outputs]);
        for (i, &[size, kernel, stride, padding, dilation]) in dims.iter().enumerate() {
            (spec.stride[i], spec.padding[i], spec.dilation[i]) = (stride, padding, dilation);
            input.push(size);
            weight.push(kernel);
            output.push(spec.out_size(i, size, kernel)?);
        }
        Some(Case { input, weight, output, spec })
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let dim = (1usize..8, 1usize..4, 1usize..4, 0usize..3, 1usize..3)
        .prop_map(|(a, b, c, d, e)| [a, b, c, d, e]);
    let channels = (0usize..3, 1usize..4, 1usize..4, 1usize..7);
    (channels, prop::collection::vec(dim, 1..4))
        .prop_filter_map("a window fits", |((batch, groups, inputs, outputs), dims)| {
            Case::new(batch, groups, inputs, outputs, &dims)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, failure_persistence: None, ..Default::default() })]

    /// Values are multiples of 1/4, so all sums are exact.
    #[test]
    fn conv_agrees_with_the_definition(case in cases(), seed: u64, lie in 0usize..6) {
        let Case { input, weight, output, spec } = case;
        let mut numbers = Numbers::new(seed);
        for dtype in [DType::F32, DType::F64] {
            let mut random = |shape: &Shape| {
                pair(&numbers.values(shape.numel()), shape.clone(), dtype, LIES[lie])
            };
            let (x, w, g) = (random(&input), random(&weight), random(&output));
            close(&Cpu::conv(&x.0, &w.0, &spec), &Reference::conv(&x.1, &w.1, &spec), 0.0);
            close(
                &Cpu::conv_grad_input(&g.0, &w.0, &input, &spec),
                &Reference::conv_grad_input(&g.1, &w.1, &input, &spec),
                0.0,
            );
            close(
                &Cpu::conv_grad_weight(&g.0, &x.0, &weight, &spec),
                &Reference::conv_grad_weight(&g.1, &x.1, &weight, &spec),
                0.0,
            );
        }
    }
}

/// Larger cases, which use every path: products with several blocks of terms and panels of channels,
/// few places with many channels, depthwise rows, strides, dilations, one-by-one kernels, 1 to 3 dims.
fn large() -> Vec<Case> {
    let case = |batch, groups, inputs, outputs, dims: &[[usize; 5]]| {
        Case::new(batch, groups, inputs, outputs, dims).expect("a window fits")
    };
    vec![
        case(3, 1, 31, 18, &[[19, 3, 1, 1, 1], [23, 3, 1, 1, 1]]),
        case(2, 1, 70, 40, &[[4, 3, 1, 1, 1], [5, 3, 1, 1, 1]]),
        case(5, 1, 3, 7, &[[28, 5, 2, 2, 1], [27, 4, 3, 1, 1]]),
        case(2, 1, 65, 33, &[[17, 1, 1, 0, 1], [13, 1, 1, 0, 1]]),
        case(2, 1, 20, 9, &[[17, 1, 2, 0, 1], [13, 1, 2, 0, 1]]),
        case(4, 13, 1, 1, &[[21, 3, 1, 1, 1], [37, 3, 1, 1, 1]]),
        case(4, 5, 2, 3, &[[21, 3, 2, 1, 1], [18, 3, 2, 1, 1]]),
        case(3, 2, 6, 10, &[[300, 7, 1, 6, 2]]),
        case(2, 1, 5, 6, &[[7, 3, 1, 1, 1], [9, 2, 2, 0, 1], [11, 3, 1, 2, 2]]),
        case(20, 1, 4, 5, &[[6, 3, 1, 0, 1], [6, 3, 1, 0, 1]]),
    ]
}

#[test]
fn the_three_are_adjoint() {
    let mut numbers = Numbers::new(7);
    for (i, Case { input, weight, output, spec }) in large().into_iter().enumerate() {
        let mut random = |shape: &Shape| {
            pair(&numbers.floats(shape.numel()), shape.clone(), DType::F64, Lie::Plain).0
        };
        let (x, w, g) = (random(&input), random(&weight), random(&output));
        let dot = |a: &Tensor<Cpu>, b: &Tensor<Cpu>| {
            let (a, b) = (a.to_vec::<f64>(), b.to_vec::<f64>());
            a.iter().zip(&b).map(|(a, b)| a * b).sum::<f64>()
        };
        let y = Cpu::conv(&x, &w, &spec);
        let forward = dot(&y, &g);
        let by_input = dot(&x, &Cpu::conv_grad_input(&g, &w, &input, &spec));
        let by_weight = dot(&w, &Cpu::conv_grad_weight(&g, &x, &weight, &spec));
        // Sums of some 10⁵ numbers of size 1.
        assert!((forward - by_input).abs() < 1e-9, "case {i}: {forward} and {by_input}");
        assert!((forward - by_weight).abs() < 1e-9, "case {i}: {forward} and {by_weight}");

        // And in `f32` and `bf16`, to their precision.
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, 2e-2)] {
            let (x, w) = (x.to_dtype(dtype), w.to_dtype(dtype));
            let narrow = Cpu::conv(&x, &w, &spec);
            assert_eq!(narrow.dtype(), dtype);
            let wide = Cpu::conv(&x.to_dtype(DType::F64), &w.to_dtype(DType::F64), &spec);
            let (narrow, wide) =
                (narrow.to_dtype(DType::F64).to_vec::<f64>(), wide.to_vec::<f64>());
            let scale = wide.iter().fold(1.0f64, |m, v| m.max(v.abs()));
            let error = narrow.iter().zip(&wide).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(error <= tolerance * scale, "case {i}, {dtype}: {error}");
        }
    }
}

#[test]
fn a_large_case_agrees_with_a_direct_sum() {
    let mut numbers = Numbers::new(8);
    for Case { input, weight, output, spec } in large().into_iter().filter(|c| c.input.rank() == 4)
    {
        let x = numbers.values(input.numel());
        let w = numbers.values(weight.numel());
        let y = Cpu::conv(
            &pair(&x, input.clone(), DType::F32, Lie::Plain).0,
            &pair(&w, weight.clone(), DType::F32, Lie::Transposed).0,
            &spec,
        );
        let y = y.to_vec::<f32>();
        let at = |place: usize, tap: usize, dim: usize| {
            let at = (place * spec.stride[dim] + tap * spec.dilation[dim])
                .checked_sub(spec.padding[dim]);
            at.filter(|&at| at < input[2 + dim])
        };
        for (i, &y) in y.iter().enumerate() {
            let (q, o) = (i % output[3], i / output[3]);
            let (p, o) = (o % output[2], o / output[2]);
            let (o, n) = (o % output[1], o / output[1]);
            let group = o / (output[1] / spec.groups);
            let mut sum = 0.0;
            for c in 0..weight[1] {
                for kh in 0..weight[2] {
                    for kw in 0..weight[3] {
                        if let (Some(h), Some(v)) = (at(p, kh, 0), at(q, kw, 1)) {
                            let c_in = group * weight[1] + c;
                            sum += x[((n * input[1] + c_in) * input[2] + h) * input[3] + v]
                                * w[((o * weight[1] + c) * weight[2] + kh) * weight[3] + kw];
                        }
                    }
                }
            }
            assert_eq!(f64::from(y), sum, "{i} of {output}");
        }
    }
}

#[test]
fn threads_change_nothing() {
    let mut numbers = Numbers::new(9);
    for Case { input, weight, output, spec } in large() {
        let mut random = |shape: &Shape| {
            pair(&numbers.floats(shape.numel()), shape.clone(), DType::F32, Lie::Plain).0
        };
        let (x, w, g) = (random(&input), random(&weight), random(&output));
        any_threads(|| {
            [
                Cpu::conv(&x, &w, &spec),
                Cpu::conv_grad_input(&g, &w, &input, &spec),
                Cpu::conv_grad_weight(&g, &x, &weight, &spec),
            ]
            .iter()
            .map(Cpu::download)
            .collect()
        });
    }
}
