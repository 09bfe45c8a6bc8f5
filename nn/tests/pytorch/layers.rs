//! The layers of one input that most models have.

use kiln_backend_cpu::CpuDevice;
use kiln_nn::*;
use kiln_tensor_core::DType;

use super::{Case, Cases, Run, cases};

pub fn layers() -> Cases {
    let f64 = (&CpuDevice, DType::F64);
    Cases::from(cases! {
        |layer, x| layer.call(&x[0]);
        "Linear(5, 3)" => Linear::new(5, 3, f64);
        "Linear(5, 3, bias=False)" => Linear::new(5, 3, f64).bias(false);
        "Identity()" => Identity::new();
        "Flatten()" => Flatten::new();
        "Flatten(0, 1)" => Flatten::new().start_dim(0).end_dim(1);
        "Unflatten(1, (2, 3))" => Unflatten::new(1, [2, 3]);
        "Conv1d(3, 4, 3)" => Conv1d::new(3, 4, 3, f64);
        "Conv1d(4, 6, 2, stride=2, padding=3, dilation=2, groups=2, bias=False)" =>
            Conv1d::new(4, 6, 2, f64).stride(2).padding(3).dilation(2).groups(2).bias(false);
        "Conv1d(2, 3, 4, padding='same', dilation=2)" =>
            Conv1d::new(2, 3, 4, f64).padding(Padding::Same).dilation(2);
        "Conv1d(2, 3, 3, padding=2, padding_mode='circular')" =>
            Conv1d::new(2, 3, 3, f64).padding(2).padding_mode(PaddingMode::Circular);
        "Conv2d(3, 4, 3)" => Conv2d::new(3, 4, 3, f64);
        "Conv2d(3, 5, 2)" => Conv2d::new(3, 5, 2, f64);
        "Conv2d(4, 6, (2, 3), stride=(2, 1), padding=(1, 2), dilation=(2, 1), groups=2)" =>
            Conv2d::new(4, 6, [2, 3], f64).stride([2, 1]).padding([1, 2]).dilation([2, 1]).groups(2);
        "Conv2d(2, 2, 3, padding=1, padding_mode='reflect')" =>
            Conv2d::new(2, 2, 3, f64).padding(1).padding_mode(PaddingMode::Reflect);
        "Conv2d(2, 2, 3, padding=(1, 2), padding_mode='replicate')" =>
            Conv2d::new(2, 2, 3, f64).padding([1, 2]).padding_mode(PaddingMode::Replicate);
        "Conv2d(4, 4, 3, groups=4, padding='same', bias=False)" =>
            Conv2d::new(4, 4, 3, f64).groups(4).padding(Padding::Same).bias(false);
        "Conv3d(2, 3, 2, stride=(1, 2, 1), padding=(0, 1, 0))" =>
            Conv3d::new(2, 3, 2, f64).stride([1, 2, 1]).padding([0, 1, 0]);
        "MaxPool1d(3)" => MaxPool1d::new(3);
        "MaxPool1d(3, stride=2, padding=1, dilation=2, ceil_mode=True)" =>
            MaxPool1d::new(3).stride(2).padding(1).dilation(2).ceil_mode(true);
        "MaxPool2d(2)" => MaxPool2d::new(2);
        "MaxPool2d((3, 2), stride=(2, 1), padding=1)" =>
            MaxPool2d::new([3, 2]).stride([2, 1]).padding(1);
        "MaxPool2d(2, ceil_mode=True)" => MaxPool2d::new(2).ceil_mode(true);
        "MaxPool3d(2, stride=1)" => MaxPool3d::new(2).stride(1);
        "AvgPool1d(2)" => AvgPool1d::new(2);
        "AvgPool2d(3, stride=2, padding=1)" => AvgPool2d::new(3).stride(2).padding(1);
        "AvgPool2d(3, stride=2, padding=1, ceil_mode=True, count_include_pad=False)" =>
            AvgPool2d::new(3).stride(2).padding(1).ceil_mode(true).count_include_pad(false);
        "AvgPool2d((2, 3), divisor_override=5)" => AvgPool2d::new([2, 3]).divisor_override(5);
        "AvgPool3d(2)" => AvgPool3d::new(2);
        "AdaptiveAvgPool1d(3)" => AdaptiveAvgPool1d::new(3);
        "AdaptiveAvgPool2d(1)" => AdaptiveAvgPool2d::new(1);
        "AdaptiveAvgPool2d((2, 3))" => AdaptiveAvgPool2d::new([2, 3]);
        "AdaptiveAvgPool3d(2)" => AdaptiveAvgPool3d::new(2);
        "AdaptiveMaxPool1d(3)" => AdaptiveMaxPool1d::new(3);
        "AdaptiveMaxPool1d(5)" => AdaptiveMaxPool1d::new(5);
        "AdaptiveMaxPool2d(2)" => AdaptiveMaxPool2d::new(2);
        "AdaptiveMaxPool2d((2, 3))" => AdaptiveMaxPool2d::new((2, 3));
        "AdaptiveMaxPool3d((1, 3, 2))" => AdaptiveMaxPool3d::new((1, 3, 2));
        "BatchNorm1d(4)" => BatchNorm1d::new(4, f64);
        "BatchNorm1d(3)" => BatchNorm1d::new(3, f64);
        "BatchNorm2d(3, eps=0.01, momentum=0.3)" => BatchNorm2d::new(3, f64).eps(0.01).momentum(0.3);
        "BatchNorm2d(3, momentum=None, affine=False)" =>
            BatchNorm2d::new(3, f64).momentum(None).affine(false);
        "BatchNorm2d(3, track_running_stats=False)" =>
            BatchNorm2d::new(3, f64).track_running_stats(false);
        "BatchNorm3d(2)" => BatchNorm3d::new(2, f64);
        "LayerNorm(5)" => LayerNorm::new([5], f64);
        "LayerNorm((3, 4), eps=0.1)" => LayerNorm::new([3, 4], f64).eps(0.1);
        "LayerNorm(4, elementwise_affine=False)" => LayerNorm::new([4], f64).elementwise_affine(false);
        "LayerNorm(4, bias=False)" => LayerNorm::new([4], f64).bias(false);
        "Embedding(6, 3)" => Embedding::new(6, 3, f64);
        "Embedding(6, 3, padding_idx=2)" => Embedding::new(6, 3, f64).padding_idx(2);
        "Embedding(6, 3, max_norm=1.5, norm_type=1.0)" =>
            Embedding::new(6, 3, f64).max_norm(1.5).norm_type(1.0);
        "ReLU()" => ReLU::new();
        "ReLU6()" => ReLU6::new();
        "LeakyReLU()" => LeakyReLU::new();
        "LeakyReLU(negative_slope=0.2)" => LeakyReLU::new().negative_slope(0.2);
        "ELU()" => ELU::new();
        "ELU(alpha=0.7)" => ELU::new().alpha(0.7);
        "SELU()" => SELU::new();
        "CELU(alpha=0.6)" => CELU::new().alpha(0.6);
        "GELU()" => GELU::new();
        "GELU(approximate='tanh')" => GELU::new().approximate(Approximate::Tanh);
        "SiLU()" => SiLU::new();
        "Mish()" => Mish::new();
        "Sigmoid()" => Sigmoid::new();
        "Tanh()" => Tanh::new();
        "Softplus()" => Softplus::new();
        "Softplus(beta=2.0, threshold=1.5)" => Softplus::new().beta(2.0).threshold(1.5);
        "Softsign()" => Softsign::new();
        "Softshrink()" => Softshrink::new();
        "Hardshrink(lambd=0.3)" => Hardshrink::new().lambd(0.3);
        "Tanhshrink()" => Tanhshrink::new();
        "Threshold(0.1, 0.5)" => Threshold::new(0.1, 0.5);
        "Hardtanh()" => Hardtanh::new();
        "Hardtanh(min_val=-0.5, max_val=0.25)" => Hardtanh::new().min_val(-0.5).max_val(0.25);
        "Hardswish()" => Hardswish::new();
        "Hardsigmoid()" => Hardsigmoid::new();
        "LogSigmoid()" => LogSigmoid::new();
        "Softmax(dim=1)" => Softmax::new(1);
        "Softmin(dim=0)" => Softmin::new(0);
        "LogSoftmax(dim=-1)" => LogSoftmax::new(-1);
        "GLU()" => GLU::new();
        "GLU(dim=1)" => GLU::new().dim(1);
        "Softmax2d()" => Softmax2d::new();
        "PReLU()" => PReLU::new(f64);
        "PReLU(num_parameters=3)" => PReLU::new(f64).num_parameters(3);
    })
}
