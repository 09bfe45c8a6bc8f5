//! Statistics, distances and products. The reference backend has their compositions; that these are right is judged
//! by PyTorch's answers, in conformance/tests/pytorch.rs.

use super::compared;
use super::ordered::{along, unknown};
use crate::agree::Tolerance;
use crate::layouts::{FLOATS, NUMBERS};
use crate::strategies::{DISTINCT, Fill, Gen, NORMAL, POSITIVE, Sample};

const SUM: Tolerance = Tolerance::new(8.0, 64.0, "sums of up to 210 numbers up to 2").stored(2.0);
const PRODUCTS: Tolerance = Tolerance::new(8.0, 64.0, "sums of products up to 4").stored(16.0);
const MOMENTS: Tolerance =
    Tolerance::new(32.0, 16.0, "moments of up to 210 numbers up to 2").stored(8.0);

fn pair(g: &mut Gen, a: &[usize], b: &[usize]) -> Sample {
    let n = |g: &Gen, dims: &[usize]| -> Vec<usize> {
        let mut dims = dims.to_vec();
        if g.form == crate::Form::Empty {
            dims[0] = 0;
        }
        dims
    };
    let (a, b) = (n(g, a), n(g, b));
    let others = Fill { offset: 0.8, ..DISTINCT };
    Sample::new([g.values(&a[..].into(), DISTINCT), g.values(&b[..].into(), others)])
}

compared! { ($) statistics "statistics";
    nansum NUMBERS |g| { let sample = along(g, NORMAL); unknown(g, sample) }; |x, a| {
        vec![x[0].nansum(), x[0].nansum_dims([a[0] as isize], a[1] != 0)]
    }; SUM 2;
    nanmean FLOATS |g| { let sample = along(g, NORMAL); unknown(g, sample) }; |x, a| {
        vec![x[0].nanmean(), x[0].nanmean_dims([a[0] as isize], a[1] != 0)]
    }; SUM 2;
    var_mean FLOATS |g| {
            let mut shape = g.nonempty(1..=3);
            shape[0] += 2;
            Sample::new([g.values(&shape, DISTINCT)]).with([0, 1])
        };
        |x, a| {
            let (var, mean) = x[0].var_mean([a[0] as isize], 1.0, a[1] != 0);
            let (std, same) = x[0].std_mean([a[0] as isize], 0.0, false);
            vec![var, mean, std, same]
        };
        MOMENTS 2;
    cov FLOATS |g| { let samples = 3 + g.below(3); Sample::new([g.values(&[2, samples].into(), DISTINCT), g.values(&[samples].into(), DISTINCT)]) };
        |x, _a| vec![x[0].cov(1.0), x[0].cov(0.0), x[1].cov(1.0)];
        MOMENTS 2;
    cov_weighted FLOATS |g| { let samples = 3 + g.below(3); Sample::new([g.values(&[2, samples].into(), DISTINCT), g.values(&[samples].into(), POSITIVE)]) };
        |x, _a| {
            let often = (x[1].detach() * 2.0).to_dtype(kiln_tensor_core::DType::I64) + 1;
            let (often, much) = (Some(&often), Some(&x[1]));
            vec![x[0].cov_weighted(1.0, often, None), x[0].cov_weighted(0.0, None, much), x[0].cov_weighted(0.5, often, much)]
        };
        MOMENTS 2;
    // Larger when the rows are nearly one, which the layouts that repeat elements make them.
    corrcoef FLOATS |g| { let samples = 3 + g.below(3); Sample::new([g.values(&[2, samples].into(), DISTINCT)]) };
        |x, _a| vec![(&x[0] + spread(&x[0])).corrcoef()];
        MOMENTS 2;
    dist FLOATS |g| pair(g, &[3, 2], &[3, 2]); |x, _a| {
        vec![x[0].dist(&x[1], 2.0), x[0].dist(&x[1], 3.0)]
    }; MOMENTS 2;
    cdist FLOATS |g| pair(g, &[2, 3, 2], &[2, 2, 2]); |x, _a| vec![x[0].cdist(&x[1], 2.0), x[0].cdist(&x[1], 3.0)];
        MOMENTS 2;
    normalize FLOATS |g| along(g, POSITIVE); |x, a| {
        vec![x[0].normalize(2.0, a[0] as isize, 1e-12), x[0].normalize(3.0, a[0] as isize, 1e-12)]
    }; MOMENTS 2;
    renorm FLOATS |g| along(g, POSITIVE); |x, a| {
        vec![x[0].renorm(2.0, a[0] as isize, 0.25), x[0].renorm(1.0, a[0] as isize, 1000.0)]
    }; MOMENTS 2;
    inner NUMBERS |g| pair(g, &[2, 3, 5], &[4, 5]); |x, _a| vec![x[0].inner(&x[1])]; PRODUCTS 2;
    kron NUMBERS |g| pair(g, &[2, 3], &[2, 1, 2]); |x, _a| vec![x[0].kron(&x[1])]; PRODUCTS 2;
    cross FLOATS |g| pair(g, &[2, 3, 2], &[2, 3, 1]); |x, _a| vec![x[0].cross(&x[1], 1)]; PRODUCTS 2;
    addmv FLOATS |g| Sample::new([
            g.values(&[3].into(), NORMAL),
            g.values(&[3, 2].into(), NORMAL),
            g.values(&[2].into(), NORMAL),
        ]);
        |x, _a| vec![
            x[0].addmv(&x[1], &x[2], 0.5, 2.0),
            x[1].addr(&x[0], &x[2], 0.5, 2.0),
        ];
        PRODUCTS 2;
    addmv_ FLOATS |g| Sample::new([
            g.values(&[3].into(), NORMAL),
            g.values(&[3, 2].into(), NORMAL),
            g.values(&[2].into(), NORMAL),
        ]);
        |x, _a| vec![
            x[0].copy().addmv_(&x[1], &x[2], 0.5, 2.0),
            x[1].copy().addr_(&x[0], &x[2], 0.5, 2.0),
        ];
        PRODUCTS 2;
}

/// Numbers that differ in every place, so that no variance is 0.
fn spread<B: kiln_tensor_core::Backend>(
    x: &kiln_tensor_core::Tensor<B>,
) -> kiln_tensor_core::Tensor<B> {
    let n = x.numel();
    let steps = kiln_tensor_core::Tensor::arange(n, x.device()).to_dtype(x.dtype());
    (&steps * &steps * 0.25).reshape_as(x)
}
