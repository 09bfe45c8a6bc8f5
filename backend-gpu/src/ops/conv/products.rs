//! Convolution as products: one for each image and group.

use kiln_tensor_core::{Layout, Shape};

use super::T;
use super::columns::{Seen, Windows};
use crate::Runtime;
use crate::ops::product::{Plan, Sizes, Strided};
use crate::ops::windows::Spec;
use crate::storage::fresh;

/// Packed windows of several images take at most so many elements at once.
const AT_ONCE: usize = 1 << 22;

/// The result, or nothing where that does not pay.
#[track_caller]
pub(super) fn products<R: Runtime>(
    which: Windows,
    operands: (&T<R>, &T<R>),
    spec: Spec,
    shape: &Shape,
) -> Option<T<R>> {
    let taps = spec.window.iter().product::<i64>() as usize;
    let (batch, groups) = (spec.batch as usize, spec.groups as usize);
    let (ins, outs) = (spec.channels as usize / groups, spec.outs as usize / groups);
    let [m, n, k] = which.sizes(&spec);
    let (device, dtype) = (operands.0.device(), operands.0.dtype());
    let plan = Plan::of::<R>(device, dtype, Sizes { batch: batch * groups, m, n, k })?;
    // What is held at a time: copies of windows, and each image's part of a weight's gradient.
    let copied = if plan.copies() { n * k } else { 0 };
    let parts = if which == Windows::Weight { m * n } else { 0 };
    let at_once = (AT_ONCE / (groups * (copied + parts)).max(1)).clamp(1, batch);
    let chunks =
        |step: usize| (0..batch).step_by(step).map(move |image| (image, step.min(batch - image)));
    if which == Windows::Weight {
        let (grad, x) = operands;
        let rows = |(image, images): (usize, usize)| Strided {
            x: grad,
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
            let sizes = Sizes { batch: chunk.1 * groups, m, n, k };
            let seen = Seen { which, x, spec, images: chunk };
            plan.multiply((&rows(chunk), &seen), sizes, (&parts, 0));
            parts.sum_dims([0], false)
        });
        let sum = sums.reduce(|a, b| a + b).expect("a batch has an image");
        return Some(sum.to_dtype(grad.dtype()).reshape_to(shape));
    }
    let (x, weight) = operands;
    let one = groups == 1;
    let (shape_of_groups, step) = match one {
        true => (Shape::scalar(), vec![]),
        false => (Shape::from([groups]), vec![(outs * ins * taps) as isize]),
    };
    let rows = Strided {
        x: weight,
        batch: Layout::new(shape_of_groups, step.as_slice().into(), 0),
        size: m,
        along: (if which == Windows::Forward { k } else { taps }) as isize,
        k,
        inner: if which == Windows::Forward { k } else { taps },
        steps: [(ins * taps) as isize, 1],
    };
    let out = fresh::<R>(shape, dtype, device);
    // The weights of one group serve all images; those of several, one image at a time.
    for images in chunks(if one { at_once } else { 1 }) {
        let seen = Seen { which, x, spec, images };
        let sizes = Sizes { batch: images.1 * groups, m, n, k };
        plan.multiply((&rows, &seen), sizes, (&out, images.0 * groups * m * n));
    }
    Some(out)
}
