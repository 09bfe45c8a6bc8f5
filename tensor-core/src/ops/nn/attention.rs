//! Scaled dot-product attention.

use crate::autocast::cast_given;
use crate::{AttentionSpec, Backend, DType, Error, Shape, Tensor, compose, raise};

/// The options of [`Tensor::scaled_dot_product_attention`], with PyTorch's names and defaults.
#[derive(Debug)]
pub struct AttentionOptions<'a, B: Backend> {
    attn_mask: Option<&'a Tensor<B>>,
    dropout_p: f64,
    is_causal: bool,
    scale: Option<f64>,
    enable_gqa: bool,
}

impl<B: Backend> Clone for AttentionOptions<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for AttentionOptions<'_, B> {}

impl<B: Backend> Default for AttentionOptions<'_, B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a, B: Backend> AttentionOptions<'a, B> {
    /// No mask, no dropout, not causal, scale `1 / √e`, as many heads everywhere.
    pub const fn new() -> Self {
        AttentionOptions {
            attn_mask: None,
            dropout_p: 0.0,
            is_causal: false,
            scale: None,
            enable_gqa: false,
        }
    }

    /// A mask that broadcasts to `[…, l, s]`: bools that are true where a query sees a key, or floats that
    /// are added to the scores. A query that sees no key gives zeros.
    #[must_use]
    pub const fn attn_mask(mut self, mask: &'a Tensor<B>) -> Self {
        self.attn_mask = Some(mask);
        self
    }

    /// The probability of a weight to be dropped; 0 by default. Other than 0, the weights are stored: the
    /// kernel that never stores them has no dropout.
    #[must_use]
    pub const fn dropout_p(mut self, p: f64) -> Self {
        self.dropout_p = p;
        self
    }

    /// Whether query `i` sees only keys `0 ..= i`; `false` by default.
    #[must_use]
    pub const fn is_causal(mut self, on: bool) -> Self {
        self.is_causal = on;
        self
    }

    /// What products of queries and keys are multiplied by; `1 / √e` by default.
    #[must_use]
    pub const fn scale(mut self, scale: f64) -> Self {
        self.scale = Some(scale);
        self
    }

    /// Whether several heads of queries (dim −3) share a head of keys and values; `false` by default.
    #[must_use]
    pub const fn enable_gqa(mut self, on: bool) -> Self {
        self.enable_gqa = on;
        self
    }
}

impl<B: Backend> Tensor<B> {
    /// `softmax(scale · q · kᵀ + mask) · v` for queries `[…, l, e]` (these), keys `[…, s, e]` and values
    /// `[…, s, ev]`, whose leading dims broadcast → `[…, l, ev]` (Vaswani et al. 2017). The weights
    /// `[…, l, s]` are never stored, except with dropout or where a gradient in the mask is wanted.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::{AttentionOptions, Tensor};
    /// let [q, k, v] = [(); 3].map(|()| Tensor::<Cpu>::randn([2, 4, 7, 8], &CpuDevice));
    /// let causal = AttentionOptions::new().is_causal(true);
    /// let y = q.scaled_dot_product_attention(&k, &v, causal);
    /// assert_eq!(*y.shape(), [2, 4, 7, 8]);
    /// ```
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit, or both a mask and `is_causal` are given.
    #[track_caller]
    pub fn scaled_dot_product_attention(
        &self,
        key: &Self,
        value: &Self,
        options: AttentionOptions<'_, B>,
    ) -> Self {
        let op = "scaled_dot_product_attention";
        if let Some((_inside, [q, k, v], [mask])) =
            cast_given(op, [self, key, value], [options.attn_mask])
        {
            let options = AttentionOptions { attn_mask: mask.as_ref(), ..options };
            return q.scaled_dot_product_attention(&k, &v, options);
        }
        self.floats(op);
        self.alike(op, [key, value]);
        if options.is_causal && options.attn_mask.is_some() {
            raise(Error::Argument {
                op,
                why: "a mask and `is_causal` are two ways to say one thing; give one of them"
                    .into(),
            });
        }
        if !(0.0..=1.0).contains(&options.dropout_p) {
            let why = format!("a probability lies in 0..=1, not {}", options.dropout_p);
            raise(Error::Argument { op, why });
        }
        if options.enable_gqa {
            return self.grouped_attention(key, value, options);
        }
        let Some((lead, shape)) = attention_shapes(self, key, value) else {
            self.wrong_attention([key, value], options.attn_mask)
        };
        let [q, k, v] = [self, key, value].map(|x| x.expanded(&lead, 2));
        let mask = options.attn_mask.map(|mask| {
            self.same_device(op, mask);
            if mask.dtype() != DType::Bool && mask.dtype() != self.dtype() {
                raise(Error::DType {
                    op,
                    dtypes: vec![self.dtype(), mask.dtype()],
                    why: "a mask is bool, or of the queries' dtype".into(),
                });
            }
            if mask.layout().broadcast_to(&shape).is_none() {
                self.wrong_attention([key, value], Some(mask));
            }
            mask.expand(&shape)
        });
        let width = self.dims()[self.rank() - 1] as f64;
        let scale = options.scale.unwrap_or(1.0 / width.sqrt());
        let spec = AttentionSpec { causal: options.is_causal, scale };
        if options.dropout_p == 0.0 {
            let [y, _] = B::scaled_dot_product_attention(&q, &k, &v, mask.as_ref(), &spec);
            return y;
        }
        let [weights, _] = compose::attention_weights(&q, &k, mask.as_ref(), &spec);
        weights.to_dtype(self.dtype()).dropout(options.dropout_p, true).matmul(&v)
    }

    /// Attention of heads of queries in as many groups as there are heads of keys.
    #[track_caller]
    fn grouped_attention(
        &self,
        key: &Self,
        value: &Self,
        options: AttentionOptions<'_, B>,
    ) -> Self {
        let fits = [self, key, value].iter().all(|x| x.rank() >= 3);
        let heads = |x: &Self| x.dims()[x.rank() - 3];
        let mask = options.attn_mask;
        if !fits
            || heads(key) != heads(value)
            || heads(key) == 0
            || !heads(self).is_multiple_of(heads(key))
        {
            self.wrong_attention([key, value], mask);
        }
        let groups = [heads(key) as isize, -1];
        // One more dim, after that of the heads: the queries of one head of keys.
        let grouped = |mask: &Self| match mask.rank() {
            0..3 => mask.clone(),
            _ if heads(mask) == heads(self) => mask.unflatten(-3, groups),
            _ => mask.unsqueeze(-3),
        };
        let mask = mask.map(grouped);
        let options = AttentionOptions { attn_mask: None, enable_gqa: false, ..options };
        let options = match &mask {
            Some(mask) => options.attn_mask(mask),
            None => options,
        };
        let [k, v] = [key, value].map(|x| x.unsqueeze(-3));
        self.unflatten(-3, groups).scaled_dot_product_attention(&k, &v, options).flatten(-4, -3)
    }

    /// With these leading dims before the last `kept`.
    fn expanded(&self, lead: &[usize], kept: usize) -> Self {
        let shape: Shape = lead.iter().chain(&self.dims()[self.rank() - kept..]).copied().collect();
        if *self.shape() == shape { self.clone() } else { self.expand(&shape) }
    }

    #[track_caller]
    #[cold]
    fn wrong_attention(&self, others: [&Self; 2], mask: Option<&Self>) -> ! {
        raise(Error::Shape {
            op: "scaled_dot_product_attention",
            shapes: std::iter::once(self)
                .chain(others)
                .chain(mask)
                .map(|x| x.shape().clone())
                .collect(),
            why: "queries […, l, e], keys […, s, e], values […, s, ev] and a mask that broadcasts to \
                  […, l, s] are wanted, with leading dims that broadcast; with `enable_gqa`, heads of \
                  keys that divide those of queries at dim −3"
                .into(),
        });
    }
}

/// The leading dims of the operands together, and the shape of the weights.
fn attention_shapes<B: Backend>(
    q: &Tensor<B>,
    k: &Tensor<B>,
    v: &Tensor<B>,
) -> Option<(Shape, Shape)> {
    let &[ref q_lead @ .., l, e] = q.dims() else { return None };
    let &[ref k_lead @ .., s, k_e] = k.dims() else { return None };
    let &[ref v_lead @ .., v_s, _] = v.dims() else { return None };
    let lead =
        Shape::from(q_lead).broadcast(&Shape::from(k_lead))?.broadcast(&Shape::from(v_lead))?;
    let mut shape = lead.clone();
    shape.push(l);
    shape.push(s);
    (e == k_e && s == v_s).then_some((lead, shape))
}
