//! Normalisation.

use crate::autocast::cast_given;
use crate::{Backend, DType, Error, Fused, Shape, Tensor, raise};

impl<B: Backend> Tensor<B> {
    /// Normalisation over the trailing dimensions `normalized_shape`, then `· weight + bias`, which
    /// have that shape (Ba, Kiros, Hinton 2016).
    ///
    /// # Panics
    /// If the trailing sizes differ from `normalized_shape`, or dtypes or devices differ.
    #[track_caller]
    pub fn layer_norm(
        &self,
        normalized_shape: impl Into<Shape>,
        weight: Option<&Self>,
        bias: Option<&Self>,
        eps: f64,
    ) -> Self {
        let over = normalized_shape.into();
        if let Some((_inside, [x], [weight, bias])) =
            cast_given("layer_norm", [self], [weight, bias])
        {
            return x.layer_norm(over, weight.as_ref(), bias.as_ref(), eps);
        }
        self.normalized("layer_norm", &over, weight.into_iter().chain(bias));
        let [y, _, _] = B::layer_norm(self, weight, bias, over.rank(), eps);
        y
    }

    /// Division by the root of the mean square over the trailing dimensions `normalized_shape`, then
    /// `· weight`, which has that shape (Zhang, Sennrich 2019). Without `eps` it is the distance from 1
    /// to the next number of the type that the elements are computed in, as in PyTorch.
    ///
    /// # Panics
    /// If the trailing sizes differ from `normalized_shape`, or dtypes or devices differ.
    #[track_caller]
    pub fn rms_norm(
        &self,
        normalized_shape: impl Into<Shape>,
        weight: Option<&Self>,
        eps: impl Into<Option<f64>>,
    ) -> Self {
        let over = normalized_shape.into();
        if let Some((_inside, [x], [weight])) = cast_given("rms_norm", [self], [weight]) {
            return x.rms_norm(over, weight.as_ref(), eps);
        }
        self.normalized("rms_norm", &over, weight.into_iter());
        let eps = eps.into().unwrap_or(match self.dtype() {
            DType::F64 => f64::EPSILON,
            _ => f64::from(f32::EPSILON),
        });
        let [y, _] = B::rms_norm(self, weight, over.rank(), eps);
        y
    }

    /// Normalisation of `num_groups` groups of channels (dim 1) of each sample, then `· weight + bias`
    /// (`[channels]`) (Wu, He 2018).
    ///
    /// # Panics
    /// If there is no channel dimension or the groups do not divide it, or sizes, dtypes or devices differ.
    #[track_caller]
    pub fn group_norm(
        &self,
        num_groups: usize,
        weight: Option<&Self>,
        bias: Option<&Self>,
        eps: f64,
    ) -> Self {
        static BOTH: Fused<3> = Fused::new("group_norm", |[x, w, b]| x * w + b);
        if let Some((_inside, [x], [weight, bias])) =
            cast_given("group_norm", [self], [weight, bias])
        {
            return x.group_norm(num_groups, weight.as_ref(), bias.as_ref(), eps);
        }
        self.channels("group_norm", weight.into_iter().chain(bias));
        let (samples, channels) = (self.dims()[0], self.dims()[1]);
        if num_groups == 0 || !channels.is_multiple_of(num_groups) {
            raise(Error::Argument {
                op: "group_norm",
                why: format!("{num_groups} groups do not divide {channels} channels"),
            });
        }
        if self.numel() == 0 {
            return self.clone();
        }
        let rows = Shape::from([samples, num_groups, self.numel() / (samples * num_groups)]);
        let [y, _, _] = B::layer_norm(&self.reshape_to(&rows), None, None, 1, eps);
        let y = y.reshape_to(self.shape());
        let rank = self.rank();
        let y = match (weight, bias) {
            (Some(w), Some(b)) => BOTH.call([&y, &w.per_channel(rank), &b.per_channel(rank)]),
            (Some(w), None) => y * w.per_channel(rank),
            (None, Some(b)) => y + b.per_channel(rank),
            (None, None) => y,
        };
        let operands: Vec<&Self> = std::iter::once(self).chain(weight).chain(bias).collect();
        y.named("group_norm", &operands)
    }

    /// Requires floats that end in the dims to normalise, and operands of that shape.
    #[track_caller]
    fn normalized<'a>(
        &'a self,
        op: &'static str,
        over: &Shape,
        affine: impl Iterator<Item = &'a Self> + Clone,
    ) {
        self.floats(op);
        self.alike(op, affine.clone());
        let fits = over.rank() > 0 && self.dims().ends_with(over);
        if !fits || affine.clone().any(|x| x.shape() != over) {
            let mut shapes = vec![self.shape().clone(), over.clone()];
            shapes.extend(affine.map(|x| x.shape().clone()));
            raise(Error::Shape {
                op,
                shapes,
                why: "the trailing dims, the weight and the bias must have the normalized shape"
                    .into(),
            });
        }
    }

    /// Normalisation of each channel (dim 1) by the statistics of this batch, then `· weight + bias`
    /// (Ioffe, Szegedy 2015). Gives the result, and mean and biased variance `[channels]`, through
    /// which no gradient flows.
    ///
    /// # Panics
    /// If there is no channel dimension or only one value per channel, or sizes, dtypes or devices
    /// differ; but narrow floats may have a weight and a bias of `f32`, as under autocast.
    #[track_caller]
    pub fn batch_norm_train(
        &self,
        weight: Option<&Self>,
        bias: Option<&Self>,
        eps: f64,
    ) -> (Self, Self, Self) {
        if self.is_narrow_beside(weight.into_iter().chain(bias)) {
            let (y, mean, var) = self.to_dtype(DType::F32).batch_norm_train(weight, bias, eps);
            return (y.to_dtype(self.dtype()), mean, var);
        }
        self.channels("batch_norm", weight.into_iter().chain(bias));
        if self.numel() == self.dims()[1] {
            raise(Error::Shape {
                op: "batch_norm",
                shapes: vec![self.shape().clone()],
                why: "in training more than one value per channel is needed".into(),
            });
        }
        let [y, mean, var] = B::batch_norm(self, weight, bias, eps);
        (y, mean, var)
    }

    /// Normalisation of each channel (dim 1) by a given mean and variance (`[channels]`), then
    /// `· weight + bias`: what batch normalisation does in evaluation.
    ///
    /// # Panics
    /// If there is no channel dimension, or sizes, dtypes or devices differ; but narrow floats may have all others of
    /// `f32`, as under autocast.
    #[track_caller]
    pub fn batch_norm_eval(
        &self,
        mean: &Self,
        var: &Self,
        weight: Option<&Self>,
        bias: Option<&Self>,
        eps: f64,
    ) -> Self {
        static SCALE: Fused<4> =
            Fused::new("batch_norm", |[x, mean, scale, shift]| (x - mean) * scale + shift);
        static PLAIN: Fused<3> = Fused::new("batch_norm", |[x, mean, scale]| (x - mean) * scale);
        let given = [Some(mean), Some(var), weight, bias];
        if self.is_narrow_beside(given.into_iter().flatten()) {
            let wide = self.to_dtype(DType::F32);
            return wide.batch_norm_eval(mean, var, weight, bias, eps).to_dtype(self.dtype());
        }
        self.channels("batch_norm", given.into_iter().flatten());
        let rstd = (var + eps).rsqrt();
        let scale = match weight {
            Some(weight) => rstd * weight,
            None => rstd,
        };
        let [middle, scale] = [mean, &scale].map(|x| x.per_channel(self.rank()));
        let y = match bias {
            Some(bias) => SCALE.call([self, &middle, &scale, &bias.per_channel(self.rank())]),
            None => PLAIN.call([self, &middle, &scale]),
        };
        let operands: Vec<&Self> =
            std::iter::once(self).chain(given.into_iter().flatten()).collect();
        y.named("batch_norm", &operands)
    }

    /// Whether these are narrow floats and there are others, of `f32`.
    fn is_narrow_beside<'a>(&'a self, mut others: impl Iterator<Item = &'a Self>) -> bool {
        let narrow = matches!(self.dtype(), DType::F16 | DType::BF16);
        narrow
            && others.next().is_some_and(|x| x.dtype() == DType::F32)
            && others.all(|x| x.dtype() == DType::F32)
    }

    /// `[channels]` as `[channels, 1, …]`, to broadcast over `[n, channels, …]` of the given rank.
    pub(crate) fn per_channel(&self, rank: usize) -> Self {
        let mut shape = Shape::from([self.numel()]);
        (2..rank).for_each(|_| shape.push(1));
        self.reshape_to(&shape)
    }

    /// Requires floats with a channel dimension, and operands of one value per channel.
    #[track_caller]
    fn channels<'a>(&'a self, op: &'static str, others: impl Iterator<Item = &'a Self> + Clone) {
        self.floats(op);
        self.alike(op, others.clone());
        let fits = |x: &Self| *x.shape() == [self.dims()[1]];
        if self.rank() < 2 || !others.clone().all(fits) {
            let shapes = std::iter::once(self).chain(others).map(|x| x.shape().clone());
            raise(Error::Shape {
                op,
                shapes: shapes.collect(),
                why: "x [n, channels, …] and one value per channel are wanted".into(),
            });
        }
    }
}
