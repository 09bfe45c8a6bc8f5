//! Softmax over many classes, of which few are frequent.

use kiln_tensor_core::{Backend, DType, Error, Options, Tensor, raise};

use crate::{Forward, Hooks, Linear, Module, ModuleList, Sequential};

/// The adaptive softmax (Grave et al. 2017): the frequent classes, first in order, are told apart by a full product; each
/// group of rarer ones by a smaller product, which is only worked out for the samples that belong to the group.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::AdaptiveLogSoftmaxWithLoss;
/// use kiln_tensor_core::Tensor;
///
/// let layer = AdaptiveLogSoftmaxWithLoss::<Cpu>::new(16, 100, &[10, 30], &CpuDevice);
/// let target = Tensor::from_slice(&[3i64, 25, 99], [3], &CpuDevice);
/// let (output, loss) = layer.forward(&Tensor::randn([3, 16], &CpuDevice), &target);
/// assert_eq!((output.dims(), loss.dims()), (&[3][..], &[][..]));
/// ```
#[derive(Debug, Module)]
pub struct AdaptiveLogSoftmaxWithLoss<B: Backend> {
    /// To the frequent classes, and one number for each group.
    pub head: Linear<B>,
    /// Of each group: down to fewer features, and from there to its classes.
    pub tail: ModuleList<Sequential<B>>,
    /// Where the frequent classes and the groups end.
    ends: Vec<usize>,
    hooks: Hooks<B>,
}

impl<B: Backend> AdaptiveLogSoftmaxWithLoss<B> {
    /// For `n_classes` classes, of which those below the first cutoff are frequent, and those up to each next one, and
    /// the rest, are groups; without a bias, and with a fourth of the features for each next group. The options are
    /// `&device` or `(&device, dtype)`.
    ///
    /// # Panics
    /// If the cutoffs do not rise from above 0 to below `n_classes`.
    #[track_caller]
    pub fn new<'a>(
        in_features: usize,
        n_classes: usize,
        cutoffs: &[usize],
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        Self::with(in_features, n_classes, cutoffs, 4.0, false, options)
    }

    /// Like `new`, with `div_value` times fewer features for each next group, and, with `head_bias`, a bias for the
    /// frequent classes and groups.
    ///
    /// # Panics
    /// As `new`.
    #[track_caller]
    pub fn with<'a>(
        in_features: usize,
        n_classes: usize,
        cutoffs: &[usize],
        div_value: f64,
        head_bias: bool,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        let rises = cutoffs.windows(2).all(|pair| pair[0] < pair[1]);
        let within = cutoffs.first() > Some(&0) && cutoffs.last() < Some(&n_classes);
        if !rises || !within {
            let why = format!("cutoffs {cutoffs:?} do not rise within 1..{n_classes}");
            raise(Error::Argument { op: "AdaptiveLogSoftmaxWithLoss", why });
        }
        let options = options.into();
        let linear = |from, to| Linear::new(from, to, Options { ..options });
        let ends: Vec<usize> = cutoffs.iter().copied().chain([n_classes]).collect();
        let tail = ends.windows(2).enumerate().map(|(i, ends)| {
            let size = (in_features as f64 / div_value.powi(i as i32 + 1)).floor() as usize;
            let (down, up) = (linear(in_features, size), linear(size, ends[1] - ends[0]));
            Sequential::new((down.bias(false), up.bias(false)))
        });
        let tail: Vec<_> = tail.collect();
        let head = linear(in_features, ends[0] + tail.len()).bias(head_bias);
        let tail = ModuleList::new(tail);
        AdaptiveLogSoftmaxWithLoss { head, tail, ends, hooks: Hooks::new() }
    }

    /// The log-probabilities `[n]` of targets `i64` `[n]` for inputs `[n, in_features]` (or 0-d, for `[in_features]`), and
    /// the loss, minus their mean. Reads from the device how the targets fall into groups.
    ///
    /// # Panics
    /// If shapes, dtypes or devices do not fit, or a target is no class.
    #[track_caller]
    pub fn forward(&self, input: &Tensor<B>, target: &Tensor<B>) -> (Tensor<B>, Tensor<B>) {
        let op = "AdaptiveLogSoftmaxWithLoss";
        if input.rank() == 1 && target.rank() == 0 {
            let (output, loss) = self.forward(&input.unsqueeze(0), &target.unsqueeze(0));
            return (output.squeeze(0), loss);
        }
        if input.rank() != 2 || target.dims() != &input.dims()[..1] || target.numel() == 0 {
            let shapes = vec![input.shape().clone(), target.shape().clone()];
            let why = "[n, in_features] and targets [n] are wanted".into();
            raise(Error::Shape { op, shapes, why });
        }
        let (first, classes) = (self.ends[0] as i64, self.ends[self.ends.len() - 1] as i64);
        let targets = target.to_dtype(DType::I64);
        if let Some(&wrong) = targets.to_vec::<i64>().iter().find(|t| !(0..classes).contains(*t)) {
            let (size, shape) = (classes as usize, target.shape().clone());
            raise(Error::Index { op, what: "class", index: wrong, size, shape, called: None });
        }
        // In the head a group stands for its classes; what is rarer is added to its samples.
        let mut places = targets.clamp_max(first);
        let mut rest: Option<Tensor<B>> = None;
        for (i, (tail, ends)) in self.tail.iter().zip(self.ends.windows(2)).enumerate() {
            let (low, high) = (ends[0] as i64, ends[1] as i64);
            let rows = (targets.ge(low) & targets.lt(high)).nonzero().squeeze(1);
            if rows.numel() == 0 {
                continue;
            }
            let own = (targets.index_select(0, &rows) - low).unsqueeze(1);
            let log_p = tail.call(&input.index_select(0, &rows)).log_softmax(1);
            let log_p = log_p.gather(1, &own).squeeze(1);
            let zeros = || Tensor::zeros(target.shape(), (input.device(), log_p.dtype()));
            rest = Some(rest.unwrap_or_else(zeros).index_add(0, &rows, &log_p));
            places =
                Tensor::where_(&(targets.ge(low) & targets.lt(high)), first + i as i64, &places);
        }
        let head = self.head.call(input).log_softmax(1);
        let output = head.gather(1, &places.unsqueeze(1)).squeeze(1);
        let output = rest.map_or(output.clone(), |rest| output + rest);
        let loss = -output.mean();
        (output, loss)
    }

    /// The log-probabilities `[n, n_classes]` of all classes for inputs `[n, in_features]`.
    ///
    /// # Panics
    /// If shapes, dtypes or devices do not fit.
    #[track_caller]
    pub fn log_prob(&self, input: &Tensor<B>) -> Tensor<B> {
        let head = self.head.call(input).log_softmax(1);
        let first = self.ends[0];
        let mut parts = vec![head.narrow(1, 0, first)];
        for (i, tail) in self.tail.iter().enumerate() {
            let group = head.narrow(1, first + i, 1);
            parts.push(tail.call(input).log_softmax(1) + group);
        }
        Tensor::cat(&parts, 1)
    }

    /// The most probable class of each input, `i64` `[n]`.
    ///
    /// # Panics
    /// If shapes, dtypes or devices do not fit.
    #[track_caller]
    pub fn predict(&self, input: &Tensor<B>) -> Tensor<B> {
        self.log_prob(input).argmax(1, false)
    }
}
