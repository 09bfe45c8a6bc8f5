//! Layers that change shapes, or nothing.

use kiln_tensor_core::{Backend, Sizes, Tensor};

use crate::{Forward, Hooks, Module};

/// Joins dimensions `start_dim ..= end_dim`; by default all but the first.
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe)]
pub struct Flatten<B: Backend> {
    start_dim: isize,
    end_dim: isize,
    hooks: Hooks<B>,
}

impl<B: Backend> Flatten<B> {
    /// From dimension 1 to the last.
    pub fn new() -> Self {
        Flatten { start_dim: 1, end_dim: -1, hooks: Hooks::new() }
    }

    /// The first dimension to join; 1 by default.
    #[must_use]
    pub fn start_dim(mut self, dim: isize) -> Self {
        self.start_dim = dim;
        self
    }

    /// The last dimension to join; −1 by default.
    #[must_use]
    pub fn end_dim(mut self, dim: isize) -> Self {
        self.end_dim = dim;
        self
    }

    fn describe(&self) -> String {
        format!("start_dim={}, end_dim={}", self.start_dim, self.end_dim)
    }
}

impl<B: Backend> Default for Flatten<B> {
    fn default() -> Self {
        Flatten::new()
    }
}

impl<B: Backend> Forward for Flatten<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        x.flatten(self.start_dim, self.end_dim)
    }
}

/// Splits dimension `dim` into several.
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe)]
pub struct Unflatten<B: Backend> {
    dim: isize,
    sizes: Vec<isize>,
    hooks: Hooks<B>,
}

impl<B: Backend> Unflatten<B> {
    /// Into these sizes; one may be −1, worked out from the others.
    pub fn new(dim: isize, unflattened_size: impl Sizes) -> Self {
        Unflatten { dim, sizes: unflattened_size.sizes().to_vec(), hooks: Hooks::new() }
    }

    fn describe(&self) -> String {
        let sizes = self.sizes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let sizes = if self.sizes.len() == 1 { sizes + "," } else { sizes };
        format!("dim={}, unflattened_size=({sizes})", self.dim)
    }
}

impl<B: Backend> Forward for Unflatten<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        x.unflatten(self.dim, &self.sizes)
    }
}

/// Gives its input.
#[derive(Debug, Module)]
pub struct Identity<B: Backend> {
    hooks: Hooks<B>,
}

impl<B: Backend> Identity<B> {
    /// The layer.
    pub const fn new() -> Self {
        Identity { hooks: Hooks::new() }
    }
}

impl<B: Backend> Default for Identity<B> {
    fn default() -> Self {
        Identity::new()
    }
}

impl<B: Backend> Forward for Identity<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        x.clone()
    }
}
