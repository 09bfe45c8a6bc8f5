//! Convolution as products: one for each image and group.

use kiln_tensor_core::{Layout, Shape};

use super::T;
use super::columns::{Windows, columns};
use crate::Runtime;
use crate::launch::traits;
use crate::ops::pack::{Strided, strided};
use crate::ops::product::{Sizes, Tile, pays, product};
use crate::ops::windows::Spec;
use crate::storage::fresh;

/// Packed windows of several images take at most so many elements at once.
const AT_ONCE: usize = 1 << 22;

/// The result, or nothing where packing does not pay.
#[track_caller]
pub(super) fn products<R: Runtime>(
    op: &'static str,
    which: Windows,
    operands: (&T<R>, &T<R>),
    spec: Spec,
    shape: &Shape,
) -> Option<T<R>> {
    let tile = Tile::of(traits::<R>(operands.0.device()), operands.0.dtype())?;
    let of = |sizes: [i64; 3]| sizes.iter().product::<i64>() as usize;
    let (batch, groups, taps) = (spec.batch as usize, spec.groups as usize, of(spec.window));
    let (ins, outs) = (spec.channels as usize / groups, spec.outs as usize / groups);
    let (m, n, k) = match which {
        Windows::Forward => (outs, of(spec.output), ins * taps),
        Windows::Input => (ins, of(spec.input), outs * taps),
        Windows::Weight => (outs, ins * taps, of(spec.output)),
    };
    if !pays(Sizes { batch: batch * groups, m, n, k }) {
        return None;
    }
    let at_once = (AT_ONCE / (groups * n * k).max(1)).clamp(1, batch);
    let chunks =
        |step: usize| (0..batch).step_by(step).map(move |image| (image, step.min(batch - image)));
    if which == Windows::Weight {
        let (grad, x) = operands;
        let rows = |(image, images): (usize, usize)| Strided {
            batch: Layout::new(
                Shape::from([images, groups]),
                [(groups * outs * k) as isize, (outs * k) as isize].as_slice().into(),
                image * groups * outs * k,
            ),
            size: outs,
            along: k as isize,
            k,
            inner: k,
            steps: [0, 1],
        };
        let sums = chunks(at_once).map(|chunk| {
            let parts = fresh::<R>(
                &Shape::from([chunk.1, groups * m * n]),
                grad.dtype().compute(),
                grad.device(),
            );
            let packed = (
                &strided(op, grad, &rows(chunk), tile.rows),
                &columns(which, x, spec, chunk, tile.columns()),
            );
            let sizes = Sizes { batch: chunk.1 * groups, m, n, k };
            product(tile, packed, sizes, (&parts, 0));
            parts.sum_dims([0], false)
        });
        let sum = sums.reduce(|a, b| a + b).expect("a batch has an image");
        return Some(sum.to_dtype(grad.dtype()).reshape_to(shape));
    }
    let (x, weight) = operands;
    let rows = Strided {
        batch: Layout::new(
            Shape::from([groups]),
            [(outs * ins * taps) as isize].as_slice().into(),
            0,
        ),
        size: m,
        along: (if which == Windows::Forward { k } else { taps }) as isize,
        k,
        inner: if which == Windows::Forward { k } else { taps },
        steps: [(ins * taps) as isize, 1],
    };
    let weights = strided(op, weight, &rows, tile.rows);
    // The weights of one group serve all images; those of several, one image at a time.
    let (weights, at_once) = if groups == 1 { (weights.shared(), at_once) } else { (weights, 1) };
    let out = fresh::<R>(shape, x.dtype(), x.device());
    for (image, images) in chunks(at_once) {
        let seen = columns(which, x, spec, (image, images), tile.columns());
        let sizes = Sizes { batch: images * groups, m, n, k };
        product(tile, (&weights, &seen), sizes, (&out, image * groups * m * n));
    }
    Some(out)
}
