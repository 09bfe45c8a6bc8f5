//! What convolution and pooling share: sizes, and which element a window's tap meets.

use bytemuck::{Pod, Zeroable};
use kiln_tensor_core::{ConvSpec, Layout, PoolSpec};

/// Sizes of a convolution or pooling; missing spatial dims have size 1. `Spec` of the kernels below.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Spec {
    pub(crate) batch: i64,
    pub(crate) channels: i64,
    pub(crate) outs: i64,
    pub(crate) groups: i64,
    pub(crate) input: [i64; 3],
    pub(crate) window: [i64; 3],
    pub(crate) output: [i64; 3],
    pub(crate) stride: [i64; 3],
    pub(crate) padding: [i64; 3],
    pub(crate) dilation: [i64; 3],
}

pub(crate) const SPEC: &str = "typedef struct { i64 batch, channels, outs, groups;
    i64 input[3], window[3], output[3], stride[3], padding[3], dilation[3]; } Spec;
// The input's index in a dim that a window's tap meets, or -1.
DEVICE i64 met(const Spec* s, int d, i64 out, i64 tap) {
    const i64 i = out * s->stride[d] + tap * s->dilation[d] - s->padding[d];
    return i < 0 || i >= s->input[d] ? -1 : i;
}
";

/// The last three of some sizes, led by `fill`.
fn three(sizes: &[usize], fill: i64) -> [i64; 3] {
    let mut all = [fill; 3];
    for (to, &from) in all[3 - sizes.len()..].iter_mut().zip(sizes) {
        *to = from as i64;
    }
    all
}

pub(crate) fn conv_spec(x: &[usize], weight: &[usize], y: &[usize], spec: &ConvSpec) -> Spec {
    Spec {
        batch: x[0] as i64,
        channels: x[1] as i64,
        outs: weight[0] as i64,
        groups: spec.groups as i64,
        input: three(&x[2..], 1),
        window: three(&weight[2..], 1),
        output: three(&y[2..], 1),
        stride: three(&spec.stride, 1),
        padding: three(&spec.padding, 0),
        dilation: three(&spec.dilation, 1),
    }
}

/// Where a tensor of `[n, c, spatial…]` lies; missing spatial dims have stride 0. `Lie` of the kernels below.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Lie {
    offset: i64,
    image: i64,
    channel: i64,
    by: [i64; 3],
}

impl Lie {
    pub(crate) fn of(layout: &Layout) -> Self {
        let strides = layout.strides();
        let mut by = [0; 3];
        let spatial = &strides[2..];
        for (to, &from) in by[3 - spatial.len()..].iter_mut().zip(spatial) {
            *to = from as i64;
        }
        let [image, channel] = [strides[0] as i64, strides[1] as i64];
        Lie { offset: layout.offset() as i64, image, channel, by }
    }
}

/// Declares `Lie`, and where the first element of channel `line` (of all images) is.
pub(crate) const LIE: &str = "typedef struct { i64 offset, image, channel, by[3]; } Lie;
DEVICE i64 channel_at(const Spec* s, const Lie* x, i64 line) {
    const i64 image = line / s->channels;
    return x->offset + image * x->image + (line - image * s->channels) * x->channel;
}
";

/// Takes the item's number apart: `item` → x2, x1, x0 of the dims, then what is left.
pub(crate) fn decode(dims: &str) -> String {
    (0..3)
        .rev()
        .map(|d| format!("const i64 i{d} = rest % s.{dims}[{d}]; rest /= s.{dims}[{d}];\n    "))
        .collect()
}

pub(crate) fn pool_spec(x: &[usize], y: &[usize], spec: &PoolSpec) -> Spec {
    Spec {
        batch: x[0] as i64,
        channels: x[1] as i64,
        outs: x[1] as i64,
        groups: 1,
        input: three(&x[2..], 1),
        window: three(&spec.kernel, 1),
        output: three(&y[2..], 1),
        stride: three(&spec.stride, 1),
        padding: three(&spec.padding, 0),
        dilation: three(&spec.dilation, 1),
    }
}
