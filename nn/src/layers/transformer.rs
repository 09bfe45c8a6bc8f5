//! The transformer (Vaswani et al. 2017): its layers, its two halves, and the whole.

use kiln_tensor_core::{Activation, Backend, DType, Options, Tensor};

use super::attention::{MultiheadAttention, MultiheadOptions};
use crate::{
    Dropout, Forward, Hooks, LayerNorm, Linear, Module, ModuleExt, ModuleList, Param, init,
};

/// What lies between the two products of a layer's last part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TransformerActivation {
    /// `max(x, 0)`
    #[default]
    Relu,
    /// `x · Φ(x)`
    Gelu,
}

/// The sizes and options of a transformer, with PyTorch's names and defaults.
#[derive(Clone, Copy, Debug)]
pub struct TransformerOptions {
    d_model: usize,
    nhead: usize,
    dim_feedforward: usize,
    dropout: f64,
    activation: TransformerActivation,
    layer_norm_eps: f64,
    batch_first: bool,
    norm_first: bool,
    bias: bool,
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $ty:ty;)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub const fn $name(mut self, $name: $ty) -> Self {
            self.$name = $name;
            self
        }
    )*};
}

impl TransformerOptions {
    /// Vectors of `d_model` numbers, `nhead` heads.
    pub const fn new(d_model: usize, nhead: usize) -> Self {
        TransformerOptions {
            d_model,
            nhead,
            dim_feedforward: 2048,
            dropout: 0.1,
            activation: TransformerActivation::Relu,
            layer_norm_eps: 1e-5,
            batch_first: false,
            norm_first: false,
            bias: true,
        }
    }

    options! {
        /// The size between the two products of a layer's last part; 2048 by default.
        dim_feedforward: usize;
        /// The probability of each dropout; 0.1 by default.
        dropout: f64;
        /// Relu by default.
        activation: TransformerActivation;
        /// What norms add to variances; 1e-5 by default.
        layer_norm_eps: f64;
        /// Whether the first dim counts sequences, not steps; `false` by default.
        batch_first: bool;
        /// Whether norms come before attention and products, not after; `false` by default.
        norm_first: bool;
        /// Whether products and norms have biases; `true` by default.
        bias: bool;
    }

    fn attention<B: Backend>(&self, options: &Options<'_, B>) -> MultiheadAttention<B> {
        MultiheadAttention::new(self.d_model, self.nhead, Options { ..*options })
            .dropout(self.dropout)
            .bias(self.bias)
            .batch_first(self.batch_first)
    }

    fn linear<B: Backend>(&self, sizes: [usize; 2], options: &Options<'_, B>) -> Linear<B> {
        Linear::new(sizes[0], sizes[1], Options { ..*options }).bias(self.bias)
    }

    fn norm<B: Backend>(&self, options: &Options<'_, B>) -> LayerNorm<B> {
        let norm = LayerNorm::new([self.d_model], Options { ..*options });
        norm.eps(self.layer_norm_eps).bias(self.bias)
    }

    /// What a linear layer gives, activated: at once where a backend can and no hook looks in between.
    fn activated<B: Backend>(&self, linear: &Linear<B>, x: &Tensor<B>) -> Tensor<B> {
        match self.activation {
            TransformerActivation::Relu if linear.hooks().is_none_or(Hooks::is_empty) => {
                let bias = linear.bias.as_ref().map(Param::tensor);
                x.linear_act(&linear.weight.tensor(), bias.as_ref(), Activation::Relu)
            }
            TransformerActivation::Relu => linear.call(x).relu(),
            TransformerActivation::Gelu => linear.call(x).gelu(),
        }
    }
}

/// Masks of one attention; see [`MultiheadOptions`].
#[derive(Debug)]
pub struct Masks<'a, B: Backend> {
    mask: Option<&'a Tensor<B>>,
    key_padding_mask: Option<&'a Tensor<B>>,
    is_causal: bool,
}

impl<B: Backend> Clone for Masks<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Masks<'_, B> {}

impl<B: Backend> Default for Masks<'_, B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, B: Backend> Masks<'a, B> {
    /// Every query sees every key.
    pub const fn new() -> Self {
        Masks { mask: None, key_padding_mask: None, is_causal: false }
    }

    /// `[l, s]`: bools that are true where a query does **not** see a key, or floats to add.
    #[must_use]
    pub const fn mask(mut self, mask: &'a Tensor<B>) -> Self {
        self.mask = Some(mask);
        self
    }

    /// `[n, s]`: bools that are true where a key is padding, or floats to add.
    #[must_use]
    pub const fn key_padding_mask(mut self, mask: &'a Tensor<B>) -> Self {
        self.key_padding_mask = Some(mask);
        self
    }

    /// Whether query `i` sees only keys `0 ..= i`; `false` by default.
    #[must_use]
    pub const fn is_causal(mut self, on: bool) -> Self {
        self.is_causal = on;
        self
    }

    #[track_caller]
    fn attend(self, layer: &MultiheadAttention<B>, x: &Tensor<B>, memory: &Tensor<B>) -> Tensor<B> {
        let options = MultiheadOptions::new()
            .need_weights(false)
            .attn_mask(self.mask)
            .key_padding_mask(self.key_padding_mask)
            .is_causal(self.is_causal);
        layer.forward(x, memory, memory, options).0
    }
}

/// Attention of a sequence to itself, then two products, with norms and residuals.
#[derive(Debug, Module)]
pub struct TransformerEncoderLayer<B: Backend> {
    /// Of the sequence to itself.
    pub self_attn: MultiheadAttention<B>,
    /// To `dim_feedforward`.
    pub linear1: Linear<B>,
    /// Between the two products.
    pub dropout: Dropout<B>,
    /// Back to `d_model`.
    pub linear2: Linear<B>,
    /// Of the attention.
    pub norm1: LayerNorm<B>,
    /// Of the products.
    pub norm2: LayerNorm<B>,
    /// After the attention.
    pub dropout1: Dropout<B>,
    /// After the products.
    pub dropout2: Dropout<B>,
    #[module(skip)]
    with: TransformerOptions,
    hooks: Hooks<B>,
}

impl<B: Backend> TransformerEncoderLayer<B> {
    /// A layer of these sizes. The options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(with: &TransformerOptions, options: impl Into<Options<'a, B>>) -> Self {
        let options = &options.into();
        TransformerEncoderLayer {
            self_attn: with.attention(options),
            linear1: with.linear([with.d_model, with.dim_feedforward], options),
            dropout: Dropout::new(with.dropout),
            linear2: with.linear([with.dim_feedforward, with.d_model], options),
            norm1: with.norm(options),
            norm2: with.norm(options),
            dropout1: Dropout::new(with.dropout),
            dropout2: Dropout::new(with.dropout),
            with: *with,
            hooks: Hooks::new(),
        }
    }

    /// `[t, n, d_model]` (or `[n, t, d_model]` with `batch_first`, or without `n`) → the same.
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn forward(&self, src: &Tensor<B>, masks: Masks<'_, B>) -> Tensor<B> {
        let attend = |x: &Tensor<B>| self.dropout1.call(&masks.attend(&self.self_attn, x, x));
        let feed = |x: &Tensor<B>| {
            let inside = self.with.activated(&self.linear1, x);
            self.dropout2.call(&self.linear2.call(&self.dropout.call(&inside)))
        };
        let first = self.with.norm_first;
        let x = residual(src, &self.norm1, first, attend);
        residual(&x, &self.norm2, first, feed)
    }
}

/// `x + f(norm(x))`, or `norm(x + f(x))`.
fn residual<B: Backend>(
    x: &Tensor<B>,
    norm: &LayerNorm<B>,
    norm_first: bool,
    f: impl Fn(&Tensor<B>) -> Tensor<B>,
) -> Tensor<B> {
    match norm_first {
        true => x + f(&norm.call(x)),
        false => norm.call(&(x + f(x))),
    }
}

/// Attention of a sequence to itself, attention to another, then two products, with norms and residuals.
#[derive(Debug, Module)]
pub struct TransformerDecoderLayer<B: Backend> {
    /// Of the sequence to itself.
    pub self_attn: MultiheadAttention<B>,
    /// Of the sequence to the encoder's results.
    pub multihead_attn: MultiheadAttention<B>,
    /// To `dim_feedforward`.
    pub linear1: Linear<B>,
    /// Between the two products.
    pub dropout: Dropout<B>,
    /// Back to `d_model`.
    pub linear2: Linear<B>,
    /// Of the first attention.
    pub norm1: LayerNorm<B>,
    /// Of the second attention.
    pub norm2: LayerNorm<B>,
    /// Of the products.
    pub norm3: LayerNorm<B>,
    /// After the first attention.
    pub dropout1: Dropout<B>,
    /// After the second attention.
    pub dropout2: Dropout<B>,
    /// After the products.
    pub dropout3: Dropout<B>,
    #[module(skip)]
    with: TransformerOptions,
    hooks: Hooks<B>,
}

impl<B: Backend> TransformerDecoderLayer<B> {
    /// A layer of these sizes. The options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(with: &TransformerOptions, options: impl Into<Options<'a, B>>) -> Self {
        let options = &options.into();
        TransformerDecoderLayer {
            self_attn: with.attention(options),
            multihead_attn: with.attention(options),
            linear1: with.linear([with.d_model, with.dim_feedforward], options),
            dropout: Dropout::new(with.dropout),
            linear2: with.linear([with.dim_feedforward, with.d_model], options),
            norm1: with.norm(options),
            norm2: with.norm(options),
            norm3: with.norm(options),
            dropout1: Dropout::new(with.dropout),
            dropout2: Dropout::new(with.dropout),
            dropout3: Dropout::new(with.dropout),
            with: *with,
            hooks: Hooks::new(),
        }
    }

    /// `tgt` `[t, n, d_model]` and the encoder's `memory` `[s, n, d_model]` → like `tgt`.
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn forward(
        &self,
        tgt: &Tensor<B>,
        memory: &Tensor<B>,
        tgt_masks: Masks<'_, B>,
        memory_masks: Masks<'_, B>,
    ) -> Tensor<B> {
        let attend = |x: &Tensor<B>| self.dropout1.call(&tgt_masks.attend(&self.self_attn, x, x));
        let look = |x: &Tensor<B>| {
            self.dropout2.call(&memory_masks.attend(&self.multihead_attn, x, memory))
        };
        let feed = |x: &Tensor<B>| {
            let inside = self.with.activated(&self.linear1, x);
            self.dropout3.call(&self.linear2.call(&self.dropout.call(&inside)))
        };
        let first = self.with.norm_first;
        let x = residual(tgt, &self.norm1, first, attend);
        let x = residual(&x, &self.norm2, first, look);
        residual(&x, &self.norm3, first, feed)
    }
}

/// Encoder layers one after the other, and a norm at the end if there is one.
#[derive(Debug, Module)]
pub struct TransformerEncoder<B: Backend> {
    /// First to last.
    pub layers: ModuleList<TransformerEncoderLayer<B>>,
    /// After the last.
    pub norm: Option<LayerNorm<B>>,
    hooks: Hooks<B>,
}

impl<B: Backend> TransformerEncoder<B> {
    /// `num_layers` layers, each made by `layer`: in PyTorch they begin as copies of one.
    pub fn new(
        layer: impl Fn() -> TransformerEncoderLayer<B>,
        num_layers: usize,
        norm: Option<LayerNorm<B>>,
    ) -> Self {
        let layers = ModuleList::new((0..num_layers).map(|_| layer()));
        TransformerEncoder { layers, norm, hooks: Hooks::new() }
    }

    /// As [`TransformerEncoderLayer::forward`]; all layers have the same masks.
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn forward(&self, src: &Tensor<B>, masks: Masks<'_, B>) -> Tensor<B> {
        let x = self.layers.iter().fold(src.clone(), |x, layer| layer.forward(&x, masks));
        self.norm.as_ref().map_or(x.clone(), |norm| norm.call(&x))
    }
}

/// Decoder layers one after the other, and a norm at the end if there is one.
#[derive(Debug, Module)]
pub struct TransformerDecoder<B: Backend> {
    /// First to last.
    pub layers: ModuleList<TransformerDecoderLayer<B>>,
    /// After the last.
    pub norm: Option<LayerNorm<B>>,
    hooks: Hooks<B>,
}

impl<B: Backend> TransformerDecoder<B> {
    /// `num_layers` layers, each made by `layer`: in PyTorch they begin as copies of one.
    pub fn new(
        layer: impl Fn() -> TransformerDecoderLayer<B>,
        num_layers: usize,
        norm: Option<LayerNorm<B>>,
    ) -> Self {
        let layers = ModuleList::new((0..num_layers).map(|_| layer()));
        TransformerDecoder { layers, norm, hooks: Hooks::new() }
    }

    /// As [`TransformerDecoderLayer::forward`]; all layers have the same masks.
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn forward(
        &self,
        tgt: &Tensor<B>,
        memory: &Tensor<B>,
        tgt_masks: Masks<'_, B>,
        memory_masks: Masks<'_, B>,
    ) -> Tensor<B> {
        let step = |x: Tensor<B>, layer: &TransformerDecoderLayer<B>| {
            layer.forward(&x, memory, tgt_masks, memory_masks)
        };
        let x = self.layers.iter().fold(tgt.clone(), step);
        self.norm.as_ref().map_or(x.clone(), |norm| norm.call(&x))
    }
}

/// Encoder and decoder, each with a norm at the end.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::{Masks, Transformer, TransformerOptions};
/// use kiln_tensor_core::Tensor;
///
/// let sizes = TransformerOptions::new(16, 4).dim_feedforward(32);
/// let model = Transformer::<Cpu>::new(&sizes, 2, 2, &CpuDevice);
/// let (src, tgt) = (Tensor::randn([7, 2, 16], &CpuDevice), Tensor::randn([5, 2, 16], &CpuDevice));
/// let y = model.forward(&src, &tgt, Masks::new(), Masks::new().is_causal(true), Masks::new());
/// assert_eq!(*y.shape(), [5, 2, 16]);
/// ```
#[derive(Debug, Module)]
pub struct Transformer<B: Backend> {
    /// Reads the source.
    pub encoder: TransformerEncoder<B>,
    /// Writes the target.
    pub decoder: TransformerDecoder<B>,
    hooks: Hooks<B>,
}

impl<B: Backend> Transformer<B> {
    /// As many encoder and decoder layers; PyTorch's default is 6 of each. Matrices start Xavier-uniform. The
    /// options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(
        with: &TransformerOptions,
        num_encoder_layers: usize,
        num_decoder_layers: usize,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        let options = &options.into();
        let each = || Options { ..*options };
        let encoder = TransformerEncoder::new(
            || TransformerEncoderLayer::new(with, each()),
            num_encoder_layers,
            Some(with.norm(options)),
        );
        let decoder = TransformerDecoder::new(
            || TransformerDecoderLayer::new(with, each()),
            num_decoder_layers,
            Some(with.norm(options)),
        );
        let model = Transformer { encoder, decoder, hooks: Hooks::new() };
        let matrices = model.parameters().into_iter().filter(|p| p.shape().rank() > 1);
        matrices.for_each(|matrix| init::xavier_uniform_(&matrix, 1.0));
        model
    }

    /// Source `[s, n, d_model]` and target `[t, n, d_model]` → like the target.
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn forward(
        &self,
        src: &Tensor<B>,
        tgt: &Tensor<B>,
        src_masks: Masks<'_, B>,
        tgt_masks: Masks<'_, B>,
        memory_masks: Masks<'_, B>,
    ) -> Tensor<B> {
        let memory = self.encoder.forward(src, src_masks);
        self.decoder.forward(tgt, &memory, tgt_masks, memory_masks)
    }

    /// The mask `[size, size]` of [`generate_square_subsequent_mask`].
    pub fn generate_square_subsequent_mask<'a>(
        size: usize,
        options: impl Into<Options<'a, B>>,
    ) -> Tensor<B> {
        generate_square_subsequent_mask(size, options)
    }
}

/// A mask `[size, size]` of floats that lets query `i` see keys `0 ..= i`: 0 there and −∞ elsewhere.
pub fn generate_square_subsequent_mask<'a, B: Backend>(
    size: usize,
    options: impl Into<Options<'a, B>>,
) -> Tensor<B> {
    let options = options.into();
    let later = Tensor::<B>::ones([size, size], (options.device, DType::Bool)).triu(1);
    super::attention::additive(&later, options.dtype.unwrap_or(DType::F32))
}
