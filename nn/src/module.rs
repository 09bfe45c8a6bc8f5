//! What a module is.

use std::any::Any;

use kiln_tensor_core::{Backend, Shape, Tensor};

use crate::{Buffer, Hooks, Param};

/// A part of a network: parameters, buffers, and modules inside it. Made by `#[derive(Module)]`; what
/// one does with modules is in [`ModuleExt`](crate::ModuleExt).
///
/// ```
/// use kiln_nn::{Forward, Linear, Module};
/// use kiln_tensor_core::{Backend, Tensor};
///
/// #[derive(Module)]
/// struct Mlp<B: Backend> {
///     first: Linear<B>,
///     second: Linear<B>,
/// }
///
/// impl<B: Backend> Forward for Mlp<B> {
///     fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
///         self.second.call(&self.first.call(x).relu())
///     }
/// }
/// ```
pub trait Module: Any + Send + Sync {
    /// The backend of its tensors.
    type Backend: Backend;

    /// Shows the visitor the module's own parameters, buffers and children, in the order of their
    /// declaration. Not those of the children.
    fn visit<'a>(&'a self, visitor: &mut dyn Visitor<'a, Self::Backend>);

    /// This module with its type forgotten. A box gives the module inside.
    fn as_dyn(&self) -> &dyn Module<Backend = Self::Backend>;

    /// The type's name, as it is printed.
    fn type_name(&self) -> &'static str;

    /// What stands in the parentheses when the module is printed, such as
    /// `in_features=784, out_features=10, bias=True`.
    fn extra_repr(&self) -> String {
        String::new()
    }

    /// Its training flag and hooks: the field of type [`Hooks`], if there is one.
    fn hooks(&self) -> Option<&Hooks<Self::Backend>> {
        None
    }

    /// How many multiplications, additions and comparisons one call takes, from the shapes of its input
    /// and output; without those of the modules inside. `None` where nobody has said.
    fn flops(&self, _input: &Shape, _output: &Shape) -> Option<u64> {
        None
    }

    /// Whether equal neighbours are printed as one line, as `ModuleList` does.
    #[doc(hidden)]
    fn folds(&self) -> bool {
        false
    }
}

impl<B: Backend> dyn Module<Backend = B> {
    /// The module as the type that it is, if it is a `T`.
    pub fn downcast_ref<T: Module>(&self) -> Option<&T> {
        let any: &dyn Any = self;
        any.downcast_ref()
    }

    /// Whether the module is a `T`.
    pub fn is<T: Module>(&self) -> bool {
        self.downcast_ref::<T>().is_some()
    }
}

/// Sees the direct contents of a module.
pub trait Visitor<'a, B: Backend> {
    /// A parameter of the module itself.
    fn param(&mut self, name: &str, param: &'a Param<B>);

    /// A buffer of the module itself.
    fn buffer(&mut self, name: &str, buffer: &'a Buffer<B>);

    /// A module directly inside.
    fn child(&mut self, name: &str, child: &'a dyn Module<Backend = B>);
}

/// A module that computes one tensor from one tensor.
pub trait Forward: Module {
    /// The computation. Programs use [`call`](Forward::call), which runs the hooks too.
    #[track_caller]
    fn forward(&self, x: &Tensor<Self::Backend>) -> Tensor<Self::Backend>;

    /// Pre-hooks, then `forward`, then hooks.
    #[track_caller]
    fn call(&self, x: &Tensor<Self::Backend>) -> Tensor<Self::Backend> {
        match self.hooks() {
            Some(hooks) if !hooks.is_empty() => hooks.run(self.as_dyn(), x, &|x| self.forward(x)),
            _ => self.forward(x),
        }
    }
}

macro_rules! pointers {
    ($($pointer:ident),*) => {$(
        impl<M: Module + ?Sized> Module for $pointer<M> {
            type Backend = M::Backend;

            fn visit<'a>(&'a self, visitor: &mut dyn Visitor<'a, Self::Backend>) {
                (**self).visit(visitor);
            }

            fn as_dyn(&self) -> &dyn Module<Backend = Self::Backend> {
                (**self).as_dyn()
            }

            fn type_name(&self) -> &'static str {
                (**self).type_name()
            }

            fn extra_repr(&self) -> String {
                (**self).extra_repr()
            }

            fn hooks(&self) -> Option<&Hooks<Self::Backend>> {
                (**self).hooks()
            }

            fn flops(&self, input: &Shape, output: &Shape) -> Option<u64> {
                (**self).flops(input, output)
            }

            fn folds(&self) -> bool {
                (**self).folds()
            }
        }

        impl<M: Forward + ?Sized> Forward for $pointer<M> {
            fn forward(&self, x: &Tensor<Self::Backend>) -> Tensor<Self::Backend> {
                (**self).forward(x)
            }

            fn call(&self, x: &Tensor<Self::Backend>) -> Tensor<Self::Backend> {
                (**self).call(x)
            }
        }
    )*};
}

use std::sync::Arc;
pointers!(Box, Arc);
