//! Convolution and its transpose.

use crate::autocast::cast_given;
use crate::{Backend, ConvSpec, Error, Shape, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// Cross-correlation over 1 to 3 spatial dims: `x` `[n, c, …]` (or `[c, …]`, one sample),
    /// `weight` `[o, c / groups, …]`, `bias` `[o]` → `[n, o, …]`: `torch.nn.functional.conv1d` to
    /// `conv3d`.
    ///
    /// # Panics
    /// If ranks, channels or the spec do not fit together, no window fits into the input, or dtypes or
    /// devices differ.
    #[track_caller]
    pub fn conv(&self, weight: &Self, bias: Option<&Self>, spec: &ConvSpec) -> Self {
        if let Some((_inside, [x, weight], [bias])) = cast_given("conv", [self, weight], [bias]) {
            return x.conv(&weight, bias.as_ref(), spec);
        }
        if self.rank() + 1 == weight.rank() {
            return self.unsqueeze(0).conv(weight, bias, spec).squeeze(0);
        }
        self.check_conv("conv", weight, bias, spec);
        let (channels, out) = (self.dims()[1], weight.dims()[0]);
        if channels != weight.dims()[1] * spec.groups || out % spec.groups != 0 {
            self.wrong_conv("conv", weight, bias, format!(
                "the weight [out, in / groups, …] does not fit {channels} channels in {} groups",
                spec.groups
            ));
        }
        self.check_bias("conv", weight, bias, out);
        if spec.out_shape(self.dims(), weight.dims()).is_none() {
            let why = "the (dilated) kernel is larger than the padded input";
            self.wrong_conv("conv", weight, bias, why.into());
        }
        let operands: Vec<&Self> = [self, weight].into_iter().chain(bias).collect();
        with_bias(B::conv(self, weight, spec), bias).named("conv", &operands)
    }

    /// The transpose of a convolution, also called deconvolution: `x` `[n, c, …]` (or `[c, …]`),
    /// `weight` `[c, o / groups, …]`, `bias` `[o]` → `[n, o, …]` of size
    /// `(in − 1)·stride − 2·padding + dilation·(kernel − 1) + output_padding + 1`:
    /// `torch.nn.functional.conv_transpose1d` to `conv_transpose3d`.
    ///
    /// # Panics
    /// If ranks, channels or the spec do not fit together, or dtypes or devices differ.
    #[track_caller]
    pub fn conv_transpose(
        &self,
        weight: &Self,
        bias: Option<&Self>,
        spec: &ConvSpec,
        output_padding: &[usize],
    ) -> Self {
        if let Some((_inside, [x, weight], [bias])) =
            cast_given("conv_transpose", [self, weight], [bias])
        {
            return x.conv_transpose(&weight, bias.as_ref(), spec, output_padding);
        }
        if self.rank() + 1 == weight.rank() {
            return self.unsqueeze(0).conv_transpose(weight, bias, spec, output_padding).squeeze(0);
        }
        let op = "conv_transpose";
        self.check_conv(op, weight, bias, spec);
        let spatial = spec.stride.len();
        if self.dims()[1] != weight.dims()[0] || !weight.dims()[0].is_multiple_of(spec.groups) {
            let why =
                "the weight [in, out / groups, …] does not fit the input's channels and groups";
            self.wrong_conv(op, weight, bias, why.into());
        }
        let fits = |i: usize| output_padding[i] < spec.stride[i].max(spec.dilation[i]);
        if output_padding.len() != spatial || !(0..spatial).all(fits) {
            let why = "output_padding must be smaller than stride or dilation, one per dim";
            self.wrong_conv(op, weight, bias, why.into());
        }
        let out = weight.dims()[1] * spec.groups;
        self.check_bias(op, weight, bias, out);
        let mut shape = Shape::from([self.dims()[0], out]);
        for (i, extra) in output_padding.iter().enumerate() {
            let (input, kernel) = (self.dims()[i + 2], weight.dims()[i + 2]);
            let reach = spec.dilation[i] * (kernel.max(1) - 1) + extra + 1;
            let grown = input.max(1).saturating_sub(1) * spec.stride[i] + reach;
            match grown.checked_sub(2 * spec.padding[i]).filter(|&size| size > 0) {
                Some(size) => shape.push(size),
                None => self.wrong_conv(op, weight, bias, "the padding removes everything".into()),
            }
        }
        let operands: Vec<&Self> = [self, weight].into_iter().chain(bias).collect();
        let y = with_bias(B::conv_grad_input(self, weight, &shape, spec), bias);
        y.named("conv_transpose", &operands)
    }

    #[track_caller]
    fn check_conv(&self, op: &'static str, weight: &Self, bias: Option<&Self>, spec: &ConvSpec) {
        self.floats(op);
        self.alike(op, std::iter::once(weight).chain(bias));
        let spatial = spec.stride.len();
        let whole = (1..=3).contains(&spatial)
            && spec.padding.len() == spatial
            && spec.dilation.len() == spatial
            && spec.groups > 0
            && spec.stride.iter().chain(&spec.dilation).all(|&s| s > 0);
        if !whole {
            raise(Error::Argument {
                op,
                why: format!(
                    "1 to 3 spatial dims, one positive stride and dilation for each, and at least one \
                     group are wanted, not {spec:?}"
                ),
            });
        }
        if self.rank() != spatial + 2 || weight.rank() != spatial + 2 {
            let why = format!(
                "{spatial} spatial dims need x [n, c, …] and weight of rank {}",
                spatial + 2
            );
            self.wrong_conv(op, weight, bias, why);
        }
    }

    #[track_caller]
    fn check_bias(&self, op: &'static str, weight: &Self, bias: Option<&Self>, out: usize) {
        if bias.is_some_and(|bias| *bias.shape() != [out]) {
            self.wrong_conv(op, weight, bias, format!("the bias must be [{out}]"));
        }
    }

    #[track_caller]
    #[cold]
    fn wrong_conv(&self, op: &'static str, weight: &Self, bias: Option<&Self>, why: String) -> ! {
        let operands = [Some(self), Some(weight), bias];
        let shapes = operands.iter().flatten().map(|x| x.shape().clone()).collect();
        raise(Error::Shape { op, shapes, why })
    }
}

fn with_bias<B: Backend>(y: Tensor<B>, bias: Option<&Tensor<B>>) -> Tensor<B> {
    match bias {
        Some(bias) => {
            let bias = bias.per_channel(y.rank());
            y + bias
        }
        None => y,
    }
}
