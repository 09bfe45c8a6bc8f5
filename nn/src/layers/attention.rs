//! Attention of several heads.

use std::sync::atomic::{AtomicU64, Ordering};

use kiln_tensor_core::{
    AttentionOptions, AttentionSpec, Backend, DType, Error, Fused, Options, Shape, Tensor, compose,
    raise, set_autocast,
};

use crate::{Forward, Hooks, Linear, Module, Param, init};

/// Attention in `num_heads` heads of `embed_dim / num_heads` each (Vaswani et al. 2017).
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::{MultiheadAttention, MultiheadOptions};
/// use kiln_tensor_core::Tensor;
///
/// let layer = MultiheadAttention::<Cpu>::new(16, 4, &CpuDevice).batch_first(true);
/// let x = Tensor::randn([2, 5, 16], &CpuDevice);
/// let (y, weights) = layer.forward(&x, &x, &x, MultiheadOptions::new());
/// assert_eq!((y.dims(), weights.unwrap().dims()), (&[2, 5, 16][..], &[2, 5, 5][..]));
/// ```
#[derive(Debug, Module)]
#[module(flops = Self::count)]
pub struct MultiheadAttention<B: Backend> {
    /// `[3 · embed_dim, embed_dim]`, for queries, keys and values of one size; Xavier-uniform at first.
    pub in_proj_weight: Option<Param<B>>,
    /// `[embed_dim, embed_dim]`, where keys or values have another size; Xavier-uniform at first.
    pub q_proj_weight: Option<Param<B>>,
    /// `[embed_dim, kdim]`
    pub k_proj_weight: Option<Param<B>>,
    /// `[embed_dim, vdim]`
    pub v_proj_weight: Option<Param<B>>,
    /// `[3 · embed_dim]`, zeros at first.
    pub in_proj_bias: Option<Param<B>>,
    /// `[1, 1, embed_dim]`: one more key; Xavier-normal at first.
    pub bias_k: Option<Param<B>>,
    /// `[1, 1, embed_dim]`: one more value; Xavier-normal at first.
    pub bias_v: Option<Param<B>>,
    /// From the heads' results to the layer's; its bias is zeros at first.
    pub out_proj: Linear<B>,
    embed_dim: usize,
    num_heads: usize,
    dropout: f64,
    add_zero_attn: bool,
    batch_first: bool,
    /// The operations of the last call, which shapes of queries and results do not tell.
    #[module(skip)]
    work: AtomicU64,
    hooks: Hooks<B>,
}

/// The options of [`MultiheadAttention::forward`], with PyTorch's names and defaults.
#[derive(Debug)]
pub struct MultiheadOptions<'a, B: Backend> {
    key_padding_mask: Option<&'a Tensor<B>>,
    need_weights: bool,
    attn_mask: Option<&'a Tensor<B>>,
    average_attn_weights: bool,
    is_causal: bool,
}

impl<B: Backend> Clone for MultiheadOptions<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for MultiheadOptions<'_, B> {}

impl<B: Backend> Default for MultiheadOptions<'_, B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, B: Backend> MultiheadOptions<'a, B> {
    /// No masks; the weights' mean over the heads is given.
    pub const fn new() -> Self {
        MultiheadOptions {
            key_padding_mask: None,
            need_weights: true,
            attn_mask: None,
            average_attn_weights: true,
            is_causal: false,
        }
    }

    /// `[n, s]` (`[s]` for one sequence): bools that are true where a key is padding, or floats to add.
    #[must_use]
    pub const fn key_padding_mask(mut self, mask: Option<&'a Tensor<B>>) -> Self {
        self.key_padding_mask = mask;
        self
    }

    /// Whether the weights are given too; `true` by default. Without, they are never stored.
    #[must_use]
    pub const fn need_weights(mut self, on: bool) -> Self {
        self.need_weights = on;
        self
    }

    /// `[l, s]` or `[n · heads, l, s]`: bools that are true where a query does **not** see a key, or floats to add.
    #[must_use]
    pub const fn attn_mask(mut self, mask: Option<&'a Tensor<B>>) -> Self {
        self.attn_mask = mask;
        self
    }

    /// Whether weights are averaged over the heads; `true` by default.
    #[must_use]
    pub const fn average_attn_weights(mut self, on: bool) -> Self {
        self.average_attn_weights = on;
        self
    }

    /// Whether query `i` sees only keys `0 ..= i`; `false` by default. Here it needs no mask beside it.
    #[must_use]
    pub const fn is_causal(mut self, on: bool) -> Self {
        self.is_causal = on;
        self
    }
}

impl<B: Backend> MultiheadAttention<B> {
    /// With biases, without dropout, sequences along dim 0. The options are `&device` or `(&device, dtype)`.
    ///
    /// # Panics
    /// If the heads do not divide `embed_dim`.
    #[track_caller]
    pub fn new<'a>(embed_dim: usize, num_heads: usize, options: impl Into<Options<'a, B>>) -> Self {
        let options = options.into();
        if num_heads == 0 || !embed_dim.is_multiple_of(num_heads) {
            let why = format!("{num_heads} heads do not divide embed_dim = {embed_dim}");
            raise(Error::Argument { op: "MultiheadAttention::new", why });
        }
        let out_proj = Linear::new(embed_dim, embed_dim, Options { ..options });
        out_proj.bias.iter().for_each(init::zeros_);
        let mut layer = MultiheadAttention {
            in_proj_weight: None,
            q_proj_weight: None,
            k_proj_weight: None,
            v_proj_weight: None,
            in_proj_bias: None,
            bias_k: None,
            bias_v: None,
            out_proj,
            embed_dim,
            num_heads,
            dropout: 0.0,
            add_zero_attn: false,
            batch_first: false,
            work: AtomicU64::new(0),
            hooks: Hooks::new(),
        };
        layer.in_proj_weight = Some(layer.xavier(3 * embed_dim, embed_dim));
        layer.in_proj_bias = Some(layer.zeros([3 * embed_dim]));
        layer
    }

    fn zeros(&self, shape: impl Into<Shape>) -> Param<B> {
        let like = self.out_proj.weight.tensor();
        Param::new(Tensor::zeros(shape, (like.device(), like.dtype())))
    }

    fn xavier(&self, rows: usize, columns: usize) -> Param<B> {
        let weight = self.zeros([rows, columns]);
        init::xavier_uniform_(&weight, 1.0);
        weight
    }

    /// The probability of a weight to be dropped in training; 0 by default.
    ///
    /// # Panics
    /// If it lies outside `[0, 1]`.
    #[must_use]
    #[track_caller]
    pub fn dropout(mut self, p: f64) -> Self {
        if !(0.0..=1.0).contains(&p) {
            let why = format!("a probability lies in 0..=1, not {p}");
            raise(Error::Argument { op: "MultiheadAttention::dropout", why });
        }
        self.dropout = p;
        self
    }

    /// Whether the projections have biases; `true` by default.
    #[must_use]
    pub fn bias(mut self, on: bool) -> Self {
        if !on {
            (self.in_proj_bias, self.out_proj.bias) = (None, None);
        }
        self
    }

    /// Whether a learnt key and value are added to each sequence; `false` by default.
    #[must_use]
    pub fn add_bias_kv(mut self, on: bool) -> Self {
        let new = || {
            let bias = self.zeros([1, 1, self.embed_dim]);
            init::xavier_normal_(&bias, 1.0);
            bias
        };
        let [k, v] = [on.then(new), on.then(new)];
        (self.bias_k, self.bias_v) = (k, v);
        self
    }

    /// Whether a key and a value of zeros are added to each sequence; `false` by default.
    #[must_use]
    pub fn add_zero_attn(mut self, on: bool) -> Self {
        self.add_zero_attn = on;
        self
    }

    /// The size of keys and of values, where it is not `embed_dim`. Draws new weights.
    #[must_use]
    pub fn kdim_vdim(mut self, kdim: usize, vdim: usize) -> Self {
        let size = self.embed_dim;
        if (kdim, vdim) == (size, size) {
            return self;
        }
        self.in_proj_weight = None;
        self.q_proj_weight = Some(self.xavier(size, size));
        self.k_proj_weight = Some(self.xavier(size, kdim));
        self.v_proj_weight = Some(self.xavier(size, vdim));
        self
    }

    /// Whether the first dim counts sequences, not steps; `false` by default.
    #[must_use]
    pub fn batch_first(mut self, on: bool) -> Self {
        self.batch_first = on;
        self
    }

    /// Queries `[l, n, embed_dim]`, keys `[s, n, kdim]` and values `[s, n, vdim]` (or `[n, l, …]` with `batch_first`, or
    /// without `n`) → results like the queries, and the weights `[n, l, s]` (`[n, heads, l, s]` where they are not
    /// averaged) if they are wanted. A query that sees no key takes no value.
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn forward(
        &self,
        query: &Tensor<B>,
        key: &Tensor<B>,
        value: &Tensor<B>,
        options: MultiheadOptions<'_, B>,
    ) -> (Tensor<B>, Option<Tensor<B>>) {
        // Hooks see the queries; what attends to itself goes on to do so.
        let itself = [key, value].map(|x| std::ptr::eq(x, query));
        self.hooks.run_with(self, query, |query| {
            let [key, value] = [(key, itself[0]), (value, itself[1])]
                .map(|(x, same)| if same { query } else { x });
            self.attend(query, key, value, options)
        })
    }

    /// `forward` without hooks.
    #[track_caller]
    fn attend(
        &self,
        query: &Tensor<B>,
        key: &Tensor<B>,
        value: &Tensor<B>,
        options: MultiheadOptions<'_, B>,
    ) -> (Tensor<B>, Option<Tensor<B>>) {
        if query.rank() == 2 {
            let dim = isize::from(!self.batch_first);
            let padding = options.key_padding_mask.map(|mask| mask.unsqueeze(0));
            let options = MultiheadOptions { key_padding_mask: padding.as_ref(), ..options };
            let [q, k, v] = [query, key, value].map(|x| x.unsqueeze(dim));
            let (y, weights) = self.attend(&q, &k, &v, options);
            return (y.squeeze(dim), weights.map(|weights| weights.squeeze(0)));
        }
        self.check([query, key, value]);
        let [q, k, v] = self.project([query, key, value]);
        let (batch, targets) = (q.dims()[0], q.dims()[1]);
        let (mut k, mut v) = (k, v);
        let added = |bias: &Option<Param<B>>, x: Tensor<B>| match bias {
            Some(bias) => Tensor::cat(&[x, bias.tensor().expand([batch, 1, self.embed_dim])], 1),
            None => x,
        };
        (k, v) = (added(&self.bias_k, k), added(&self.bias_v, v));
        if self.add_zero_attn {
            let none = Tensor::zeros([batch, 1, self.embed_dim], (q.device(), q.dtype()));
            (k, v) = (Tensor::cat(&[&k, &none], 1), Tensor::cat(&[&v, &none], 1));
        }
        let heads = |x: &Tensor<B>| x.unflatten(-1, [self.num_heads as isize, -1]).transpose(1, 2);
        let [q, k, v] = [&q, &k, &v].map(heads);
        let products = [query, key, value].map(|x| x.numel() * self.embed_dim);
        let scores = 2 * batch * targets * k.dims()[2] * self.embed_dim;
        let work = 2 * (products.iter().sum::<usize>() + scores);
        self.work.store(work as u64, Ordering::Relaxed);
        let mask = self.mask(&options, [batch, targets, k.dims()[2]], q.dtype());
        let dropout = if self.hooks.training() { self.dropout } else { 0.0 };
        let (y, weights) = if options.need_weights {
            // Scores and weights are in the type that elements are computed in, as within the fused op.
            let _wide = set_autocast(None);
            let causal = options.is_causal && mask.is_none();
            let scale = 1.0 / ((self.embed_dim / self.num_heads) as f64).sqrt();
            let spec = AttentionSpec { causal, scale };
            let [weights, _] = compose::attention_weights(&q, &k, mask.as_ref(), &spec);
            let weights = weights.to_dtype(q.dtype()).dropout(dropout, dropout > 0.0);
            (weights.matmul(&v), Some(weights))
        } else {
            let with = AttentionOptions::new().dropout_p(dropout);
            let with = match &mask {
                Some(mask) => with.attn_mask(mask),
                None => with.is_causal(options.is_causal),
            };
            (q.scaled_dot_product_attention(&k, &v, with), None)
        };
        let y = self.out_proj.call(&y.transpose(1, 2).flatten(2, 3));
        let average = |weights: Tensor<B>| match options.average_attn_weights {
            true => weights.mean_dims([1], false),
            false => weights,
        };
        (if self.batch_first { y } else { y.transpose(0, 1) }, weights.map(average))
    }

    /// A product and a sum for each weight of the projections, and for each query, key and feature, twice.
    fn count(&self, _input: &Shape, _output: &Shape) -> u64 {
        self.work.load(Ordering::Relaxed)
    }

    /// Queries, keys and values in the heads' space, `[n, t, embed_dim]`.
    fn project(&self, inputs: [&Tensor<B>; 3]) -> [Tensor<B>; 3] {
        let size = self.embed_dim;
        let same = inputs[1..].iter().all(|x| std::ptr::eq(*x, inputs[0]));
        let bias = self.in_proj_bias.as_ref().map(Param::tensor);
        let inside = |x: &Tensor<B>| if self.batch_first { x.clone() } else { x.transpose(0, 1) };
        if let (Some(weight), true) = (&self.in_proj_weight, same) {
            let all = inside(inputs[0]).linear(&weight.tensor(), bias.as_ref());
            return [0, 1, 2].map(|i| all.narrow(-1, i * size, size));
        }
        let apart = [&self.q_proj_weight, &self.k_proj_weight, &self.v_proj_weight];
        [0, 1, 2].map(|i| {
            let weight = match (&self.in_proj_weight, apart[i]) {
                (Some(weight), _) => weight.tensor().narrow(0, i * size, size),
                (None, weight) => weight.as_ref().expect("one of the two is there").tensor(),
            };
            let bias = bias.as_ref().map(|bias| bias.narrow(0, i * size, size));
            inside(inputs[i]).linear(&weight, bias.as_ref())
        })
    }

    /// Both masks as one of numbers to add, `[n or 1, heads or 1, l or 1, s]`; keys that the layer adds are seen.
    fn mask(
        &self,
        options: &MultiheadOptions<'_, B>,
        [batch, targets, sources]: [usize; 3],
        dtype: DType,
    ) -> Option<Tensor<B>> {
        let attn = options.attn_mask.map(|mask| {
            let mask = additive(mask, dtype);
            match mask.rank() {
                2 => mask.unsqueeze(0).unsqueeze(0),
                _ => mask.unflatten(0, [batch as isize, self.num_heads as isize]),
            }
        });
        let padding =
            options.key_padding_mask.map(|mask| additive(mask, dtype).unsqueeze(1).unsqueeze(1));
        // The kernel's own causal mask goes without another beside it, and without added keys.
        let given = attn.as_ref().or(padding.as_ref())?;
        let size = given.dims()[3];
        let causal = (options.is_causal && attn.is_none()).then(|| {
            let ones = Tensor::<B>::ones([targets, size], (given.device(), DType::Bool));
            additive(&ones.triu(1), dtype).unsqueeze(0).unsqueeze(0)
        });
        let mask = [attn, padding, causal].into_iter().flatten().reduce(|a, b| a + b)?;
        let extra = (sources - size) as isize;
        Some(mask.pad(&[0, extra], kiln_tensor_core::PadMode::Constant(0.0)))
    }

    #[track_caller]
    fn check(&self, inputs: [&Tensor<B>; 3]) {
        let width = |weight: &Option<Param<B>>| {
            weight.as_ref().map_or(self.embed_dim, |weight| weight.shape()[1])
        };
        let widths = [self.embed_dim, width(&self.k_proj_weight), width(&self.v_proj_weight)];
        let fits =
            inputs.iter().zip(widths).all(|(x, width)| x.rank() == 3 && x.dims()[2] == width);
        let batch = usize::from(!self.batch_first);
        let [q, k, v] = inputs;
        if !fits || k.dims()[..2] != v.dims()[..2] || q.dims()[batch] != k.dims()[batch] {
            raise(Error::Shape {
                op: "MultiheadAttention",
                shapes: inputs.iter().map(|x| x.shape().clone()).collect(),
                why: format!(
                    "queries, keys and values of sizes {widths:?}, [t, n, size] or with `batch_first` \
                     [n, t, size], are wanted"
                ),
            });
        }
    }
}

/// A mask whose bools say what is not seen, as numbers to add.
pub(super) fn additive<B: Backend>(mask: &Tensor<B>, dtype: DType) -> Tensor<B> {
    if mask.dtype() != DType::Bool {
        return mask.to_dtype(dtype);
    }
    static HIDE: Fused<2> =
        Fused::new("mask", |[hidden, zero]| hidden.select(zero.lit(f64::NEG_INFINITY), zero));
    HIDE.call([mask, &Tensor::zeros((), (mask.device(), dtype))])
}
