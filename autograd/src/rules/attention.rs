//! Attention. No gradient flows through the logarithm that it also gives.

use kiln_tensor_core::{AttentionSpec, Backend, Tensor};

use super::{Context, Gradients, Rule, name, only};

/// The rule of `scaled_dot_product_attention`; saves q, k, v, both results and, if there is one, the mask.
pub(crate) struct ScaledDotProductAttention {
    pub(crate) spec: AttentionSpec,
}

impl Rule for ScaledDotProductAttention {
    name!("scaled_dot_product_attention");

    fn vjp<T: Backend>(&self, cx: Context<'_, T>, grads: &[Option<Tensor<T>>]) -> Gradients<T> {
        let [q, k, v, out, log] = [0, 1, 2, 3, 4].map(|i| &cx.saved[i]);
        let mask = cx.saved.get(5);
        let grad = only(grads);
        let made = T::scaled_dot_product_attention_grad(grad, q, k, v, mask, out, log, &self.spec);
        made.into_iter().map(Some).collect()
    }
}
