//! Convolution and its gradients: by a library where there is one, as products of packed windows where that pays, else
//! straight from the formula.

mod columns;
mod direct;
mod library;
mod products;

use kiln_tensor_core::{ConvSpec, Shape, Tensor};

use super::windows::{Spec, conv_spec};
use columns::Windows;

use crate::launch::supported;
use crate::storage::{fresh, plain};
use crate::{Gpu, Runtime};

type T<R> = Tensor<Gpu<R>>;

/// See `Backend::conv`.
#[track_caller]
pub(crate) fn conv<R: Runtime>(x: &T<R>, weight: &T<R>, spec: &ConvSpec) -> T<R> {
    let shape = spec.out_shape(x.dims(), weight.dims()).expect("the caller has checked the sizes");
    let sizes = conv_spec(x.dims(), weight.dims(), &shape, spec);
    run("conv", Windows::Forward, (x, weight), sizes, &shape)
}

/// See `Backend::conv_grad_input`.
#[track_caller]
pub(crate) fn conv_grad_input<R: Runtime>(
    grad: &T<R>,
    weight: &T<R>,
    input: &Shape,
    spec: &ConvSpec,
) -> T<R> {
    let sizes = conv_spec(input, weight.dims(), grad.dims(), spec);
    run("conv_grad_input", Windows::Input, (grad, weight), sizes, input)
}

/// See `Backend::conv_grad_weight`.
#[track_caller]
pub(crate) fn conv_grad_weight<R: Runtime>(
    grad: &T<R>,
    x: &T<R>,
    weight: &Shape,
    spec: &ConvSpec,
) -> T<R> {
    let sizes = conv_spec(x.dims(), weight, grad.dims(), spec);
    run("conv_grad_weight", Windows::Weight, (grad, x), sizes, weight)
}

#[track_caller]
fn run<R: Runtime>(
    op: &'static str,
    which: Windows,
    (a, b): (&T<R>, &T<R>),
    sizes: Spec,
    shape: &Shape,
) -> T<R> {
    supported::<R>(op, a.device(), [a.dtype()]);
    if shape.numel() == 0 || a.numel() == 0 || b.numel() == 0 {
        let out = fresh::<R>(shape, a.dtype(), a.device());
        out.zero_();
        return out;
    }
    library::or_kernels(which, (a, b), sizes, shape, || {
        let (a, b) = (plain(a), plain(b));
        products::products(which, (&a, &b), sizes, shape)
            .unwrap_or_else(|| direct::run(op, which, (&a, &b), sizes, shape))
    })
}
