//! A table of vectors.

use kiln_tensor_core::{Backend, DType, Error, Fused, Options, ScatterOp, Shape, Tensor, raise};

use crate::{Forward, Hooks, Module, Param, init, python};

/// Looks vectors up by number: integers `[…]` → `[…, embedding_dim]`.
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe)]
pub struct Embedding<B: Backend> {
    /// `[num_embeddings, embedding_dim]`, normal numbers at first.
    pub weight: Param<B>,
    padding_idx: Option<usize>,
    max_norm: Option<f64>,
    norm_type: f64,
    hooks: Hooks<B>,
}

impl<B: Backend> Embedding<B> {
    /// A table of `num_embeddings` vectors. The options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(
        num_embeddings: usize,
        embedding_dim: usize,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        Self::of(Param::new(Tensor::randn([num_embeddings, embedding_dim], options)))
    }

    /// A table of given vectors `[num_embeddings, embedding_dim]`; frozen, unless `freeze` is `false`.
    ///
    /// # Panics
    /// If the tensor is not a matrix of floats.
    #[track_caller]
    pub fn from_pretrained(vectors: Tensor<B>, freeze: bool) -> Self {
        if vectors.rank() != 2 {
            raise(Error::Shape {
                op: "Embedding::from_pretrained",
                shapes: vec![vectors.shape().clone()],
                why: "[num_embeddings, embedding_dim] is wanted".into(),
            });
        }
        Self::of(Param::new(vectors).requires_grad_(!freeze))
    }

    fn of(weight: Param<B>) -> Self {
        let hooks = Hooks::new();
        Embedding { weight, padding_idx: None, max_norm: None, norm_type: 2.0, hooks }
    }

    /// The vector that stands for nothing: it starts as zeros, and no gradient reaches it. Negative
    /// numbers count from the end.
    ///
    /// # Panics
    /// If there is no such vector.
    #[must_use]
    #[track_caller]
    pub fn padding_idx(mut self, index: isize) -> Self {
        let weight = self.weight.tensor().detach();
        let size = weight.dims()[0];
        let at = if index < 0 { index + size as isize } else { index };
        if at < 0 || at >= size as isize {
            raise(Error::Index {
                op: "Embedding::padding_idx",
                what: "index",
                index: index as i64,
                size,
                shape: weight.shape().clone(),
                called: None,
            });
        }
        init::zeros_(&weight.narrow(0, at as usize, 1));
        self.padding_idx = Some(at as usize);
        self
    }

    /// Scales vectors that are looked up down to this norm, in place.
    #[must_use]
    pub fn max_norm(mut self, max_norm: f64) -> Self {
        self.max_norm = Some(max_norm);
        self
    }

    /// The `p` of the norm of `max_norm`; 2 by default.
    #[must_use]
    pub fn norm_type(mut self, p: f64) -> Self {
        self.norm_type = p;
        self
    }

    fn describe(&self) -> String {
        let shape = self.weight.shape();
        let mut text = format!("{}, {}", shape[0], shape[1]);
        if let Some(index) = self.padding_idx {
            text += &format!(", padding_idx={index}");
        }
        if let Some(norm) = self.max_norm {
            text += &format!(", max_norm={}", python::float(norm));
        }
        if self.norm_type != 2.0 {
            text += &format!(", norm_type={}", python::float(self.norm_type));
        }
        text
    }

    /// Scales the rows of the weight that `index` names down to the largest norm allowed.
    fn renorm(&self, index: &Tensor<B>, max_norm: f64) {
        let weight = self.weight.tensor().detach();
        let rows = B::index_select(&weight, 0, index);
        let powers = rows.abs().pow(self.norm_type).sum_dims([1], true);
        let norms = powers.pow(1.0 / self.norm_type);
        // As PyTorch: rows within the norm stay as they are, bit for bit.
        let scales = (norms.gt(max_norm)).to_dtype(rows.dtype());
        let scales = &scales * (max_norm / (norms + 1e-7)) + (1.0 - &scales);
        let scaled = rows * scales;
        let places = index.unsqueeze(1).expand(scaled.shape());
        weight.copy_(&B::scatter(ScatterOp::Set, &weight, 0, &places, &scaled));
    }
}

impl<B: Backend> Forward for Embedding<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        if !x.dtype().is_int() {
            raise(Error::DType {
                op: "embedding",
                dtypes: vec![x.dtype()],
                why: "the numbers of vectors are integers".into(),
            });
        }
        let index = x.to_dtype(DType::I64).reshape([-1]);
        if let Some(max_norm) = self.max_norm {
            self.renorm(&index, max_norm);
        }
        let weight = self.weight.tensor();
        let mut rows = B::index_select(&weight, 0, &index);
        if let Some(padding) = self.padding_idx.filter(|_| weight.requires_grad()) {
            rows = without_gradient(&rows, &index.eq(padding as i64).unsqueeze(1));
        }
        let mut shape: Shape = x.shape().clone();
        shape.push(weight.dims()[1]);
        rows = rows.reshape_to(&shape);
        rows.named("embedding", &[&weight])
    }
}

/// The same rows, but no gradient passes where `mask` is true.
fn without_gradient<B: Backend>(rows: &Tensor<B>, mask: &Tensor<B>) -> Tensor<B> {
    static STOP: Fused<3> =
        Fused::new("embedding_padding", |[mask, fixed, x]| mask.select(fixed, x));
    STOP.call([mask, &rows.detach(), rows])
}
