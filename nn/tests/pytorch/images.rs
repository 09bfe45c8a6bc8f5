//! Layers on images, and those whose calls take more than an input.

use kiln_backend_cpu::CpuDevice;
use kiln_nn::*;
use kiln_tensor_core::{DType, PoolSpec, Tensor};

use super::{B, Case, Cases, Run, cases, unit};

pub fn images() -> Cases {
    use functional::{InterpolateMode::*, Resize};
    let f64 = (&CpuDevice, DType::F64);
    Cases::from(cases! {
        |layer, x| layer.call(&x[0]);
        "ConvTranspose1d(3, 4, 3)" => ConvTranspose1d::new(3, 4, 3, f64);
        "ConvTranspose2d(4, 6, (2, 3), stride=2, padding=(0, 1), output_padding=1, groups=2)" =>
            ConvTranspose2d::new(4, 6, [2, 3], f64).stride(2).padding([0, 1]).output_padding(1).groups(2);
        "ConvTranspose2d(2, 3, 3, dilation=2, bias=False)" =>
            ConvTranspose2d::new(2, 3, 3, f64).dilation(2).bias(false);
        "ConvTranspose3d(2, 3, 2, stride=(1, 2, 1))" =>
            ConvTranspose3d::new(2, 3, 2, f64).stride([1, 2, 1]);
        "GroupNorm(2, 4)" => GroupNorm::new(2, 4, f64);
        "GroupNorm(3, 6, eps=0.1, affine=False)" => GroupNorm::new(3, 6, f64).eps(0.1).affine(false);
        "GroupNorm(1, 4, bias=False)" => GroupNorm::new(1, 4, f64).bias(false);
        "RMSNorm(5)" => RMSNorm::new([5], f64);
        "RMSNorm((3, 4), eps=0.1, elementwise_affine=False)" =>
            RMSNorm::new([3, 4], f64).eps(0.1).elementwise_affine(false);
        "InstanceNorm1d(3)" => InstanceNorm1d::new(3, f64);
        "InstanceNorm2d(3, eps=0.1, momentum=0.3, affine=True, track_running_stats=True)" =>
            InstanceNorm2d::new(3, f64).eps(0.1).momentum(0.3).affine(true).track_running_stats(true);
        "InstanceNorm3d(2, affine=True)" => InstanceNorm3d::new(2, f64).affine(true);
        "LocalResponseNorm(3, alpha=0.5, beta=0.7, k=2.0)" =>
            LocalResponseNorm::new(3).alpha(0.5).beta(0.7).k(2.0);
        "LocalResponseNorm(2)" => LocalResponseNorm::new(2);
        "ZeroPad1d(2)" => ZeroPad1d::new(2);
        "ZeroPad2d((1, 0, 2, -1))" => ZeroPad2d::new([1, 0, 2, -1]);
        "ZeroPad3d(1)" => ZeroPad3d::new(1);
        "ConstantPad1d((1, 2), 3.5)" => ConstantPad1d::new([1, 2], 3.5);
        "ConstantPad2d(1, -0.5)" => ConstantPad2d::new(1, -0.5);
        "ReflectionPad1d((1, 2))" => ReflectionPad1d::new([1, 2]);
        "ReflectionPad2d(1)" => ReflectionPad2d::new(1);
        "ReplicationPad2d((1, 2, 0, 3))" => ReplicationPad2d::new([1, 2, 0, 3]);
        "ReplicationPad3d(1)" => ReplicationPad3d::new(1);
        "CircularPad1d((3, 1))" => CircularPad1d::new([3, 1]);
        "CircularPad2d(2)" => CircularPad2d::new(2);
        "Upsample(scale_factor=2)" => Upsample::new(Resize::scale([2.0]));
        "Upsample(size=5)" => Upsample::new(Resize::size([5]));
        "Upsample(size=7, mode='nearest-exact')" => Upsample::new(Resize::size([7])).mode(NearestExact);
        "Upsample(scale_factor=1.7, mode='linear')" => Upsample::new(Resize::scale([1.7])).mode(Linear);
        "Upsample(size=3, mode='linear', align_corners=True)" =>
            Upsample::new(Resize::size([3])).mode(Linear).align_corners(true);
        "Upsample(size=(3, 7), mode='bilinear')" => Upsample::new(Resize::size([3, 7])).mode(Linear);
        "Upsample(scale_factor=(2, 3), mode='bilinear', align_corners=True)" =>
            Upsample::new(Resize::scale([2.0, 3.0])).mode(Linear).align_corners(true);
        "Upsample(size=(7, 3), mode='bicubic')" => Upsample::new(Resize::size([7, 3])).mode(Bicubic);
        "Upsample(size=(6, 8), mode='bicubic', align_corners=True)" =>
            Upsample::new(Resize::size([6, 8])).mode(Bicubic).align_corners(true);
        "Upsample(size=(3, 4, 5), mode='trilinear')" =>
            Upsample::new(Resize::size([3, 4, 5])).mode(Linear);
        "Upsample(size=(3, 2), mode='area')" => Upsample::new(Resize::size([3, 2])).mode(Area);
        "PixelShuffle(2)" => PixelShuffle::new(2);
        "PixelUnshuffle(2)" => PixelUnshuffle::new(2);
        "ChannelShuffle(2)" => ChannelShuffle::new(2);
        "Unfold((2, 3), dilation=(2, 1), padding=1, stride=2)" =>
            Unfold::new([2, 3]).dilation([2, 1]).padding(1).stride(2);
        "Fold((4, 5), 2, padding=1)" => Fold::new([4, 5], 2).padding(1);
        "Fold((4, 5), (2, 3), dilation=(2, 1), stride=(1, 2))" =>
            Fold::new([4, 5], [2, 3]).dilation([2, 1]).stride([1, 2]);
        "LPPool1d(2, 3, stride=2)" => LPPool1d::new(2.0, 3).stride(2);
        "LPPool2d(3, (2, 3), ceil_mode=True)" => LPPool2d::new(3.0, [2, 3]).ceil_mode(true);
    })
}

/// Integers `[…]` as `i64`.
fn whole(values: &[i64]) -> Tensor<B> {
    Tensor::from_slice(values, values.len(), &CpuDevice)
}

pub fn bags() -> Cases {
    let f64 = (&CpuDevice, DType::F64);
    let mut all = Cases::from(cases! {
        |m, x| m.call(&x[0]);
        "utils.parametrizations.weight_norm(nn.Linear(5, 3))" =>
            weight_norm(Linear::new(5, 3, f64), "weight", 0);
        "utils.parametrizations.weight_norm(nn.Conv2d(2, 3, 2), dim=None)" =>
            weight_norm(Conv2d::new(2, 3, 2, f64), "weight", None);
        "utils.parametrizations.spectral_norm(nn.Linear(5, 3))" =>
            spectral_norm(Linear::new(5, 3, f64), "weight", 1, 1e-12, 0);
        "utils.parametrizations.spectral_norm(nn.Conv1d(2, 3, 2), n_power_iterations=2, dim=1)" =>
            spectral_norm(Conv1d::new(2, 3, 2, f64), "weight", 2, 1e-12, 1);
    });
    all.extend(cases! {
        |m, x| m.forward(&x[0], None, None);
        "EmbeddingBag(6, 3)" => EmbeddingBag::new(6, 3, f64);
    });
    all.extend(cases! {
        |m, x| m.forward(&x[0], Some(&whole(&[0, 4, 4])), Some(&x[1]));
        "EmbeddingBag(6, 3, mode='sum', padding_idx=3): m(x[0], torch.tensor([0, 4, 4]), x[1])" =>
            EmbeddingBag::new(6, 3, f64).mode(BagMode::Sum).padding_idx(3);
    });
    all.extend(cases! {
        |m, x| m.forward(&x[0], Some(&whole(&[0, 4, 4, 9])), None);
        "EmbeddingBag(6, 3, mode='max', include_last_offset=True): \
         m(x[0], torch.tensor([0, 4, 4, 9]))" =>
            EmbeddingBag::new(6, 3, f64).mode(BagMode::Max).include_last_offset(true);
    });
    all.extend(cases! {
        |m, x| m.forward(&x[0], Some(&whole(&[0, 4, 5])), None);
        "EmbeddingBag(6, 3, padding_idx=3): m(x[0], torch.tensor([0, 4, 5]))" =>
            EmbeddingBag::new(6, 3, f64).padding_idx(3);
    });
    all.extend(cases! {
        |m, x| {
            let first = Tensor::<B>::arange(4, (&CpuDevice, DType::I64)) * 2;
            m.forward(&x[0], &((&x[1] % 2) + first), None)
        };
        "MaxUnpool1d(2): m(x[0], 2 * torch.arange(4).expand(2, 3, 4) + x[1] % 2)" =>
            MaxUnpool1d::new(2);
    });
    all.extend(cases! {
        |m, x| {
            let mut spec = PoolSpec::new(&[2, 3]);
            spec.padding[0] = 1;
            let (y, at) = x[0].max_pool_with_indices(&spec);
            m.forward(&y, &at, Some([5, 6]))
        };
        "MaxUnpool2d((2, 3), stride=(2, 3), padding=(1, 0)): m(*unpooled(x[0], m), output_size=(5, 6))" =>
            MaxUnpool2d::new([2, 3]).stride([2, 3]).padding([1, 0]);
    });
    all
}

pub fn bilinear() -> Cases {
    let f64 = (&CpuDevice, DType::F64);
    Cases::from(cases! {
        |layer, x| layer.forward(&x[0], &x[1]);
        "Bilinear(3, 4, 5)" => Bilinear::new(3, 4, 5, f64);
        "Bilinear(3, 4, 2, bias=False)" => Bilinear::new(3, 4, 2, f64).bias(false);
    })
}

/// Two results as one row.
fn joined(parts: &[&Tensor<B>]) -> Tensor<B> {
    let flat: Vec<_> = parts.iter().map(|x| x.to_dtype(DType::F64).reshape([-1])).collect();
    Tensor::cat(&flat, 0)
}

/// Pooling at given places.
fn pooled<const N: usize>(m: &FractionalMaxPool<B, N>, x: &Tensor<B>) -> Tensor<B> {
    let (y, at) = m.at(x, &unit(&[x.dims()[0], x.dims()[1], N], 60));
    joined(&[&y, &at])
}

pub fn fractional() -> Cases {
    let mut all = Cases::from(cases! {
        |m, x| pooled(m, &x[0]);
        "FractionalMaxPool2d(2, output_size=(3, 4), return_indices=True, _random_samples=unit([2, 3, 2], 60)): \
         flat(m(x[0])[0], m(x[0])[1].double())" => FractionalMaxPool2d::new(2).output_size([3, 4]);
        "FractionalMaxPool2d((3, 2), output_ratio=(0.5, 0.4), return_indices=True, _random_samples=unit([1, 2, 2], 60)): \
         flat(m(x[0])[0], m(x[0])[1].double())" => FractionalMaxPool2d::new([3, 2]).output_ratio([0.5, 0.4]);
    });
    all.extend(cases! {
        |m, x| pooled(m, &x[0]);
        "FractionalMaxPool3d(2, output_size=(2, 1, 3), return_indices=True, _random_samples=unit([2, 2, 3], 60)): \
         flat(m(x[0])[0], m(x[0])[1].double())" => FractionalMaxPool3d::new(2).output_size([2, 1, 3]);
    });
    all
}

pub fn adaptive_softmax() -> Cases {
    let f64 = (&CpuDevice, DType::F64);
    let mut all = Cases::from(cases! {
        |m, x| {
            let (output, loss) = m.forward(&x[0], &x[1]);
            joined(&[&output, &loss, &m.log_prob(&x[0])])
        };
        "AdaptiveLogSoftmaxWithLoss(6, 10, [3, 7], div_value=2.0): \
         flat(m(x[0], x[1])[0], m(x[0], x[1])[1], m.log_prob(x[0]))" =>
            AdaptiveLogSoftmaxWithLoss::with(6, 10, &[3, 7], 2.0, false, f64);
    });
    all.extend(cases! {
        |m, x| {
            let (output, loss) = m.forward(&x[0], &x[1]);
            joined(&[&output, &loss, &m.predict(&x[0])])
        };
        "AdaptiveLogSoftmaxWithLoss(6, 9, [4], head_bias=True): \
         flat(m(x[0], x[1])[0], m(x[0], x[1])[1], m.predict(x[0]).double())" =>
            AdaptiveLogSoftmaxWithLoss::with(6, 9, &[4], 4.0, true, f64);
    });
    all
}
