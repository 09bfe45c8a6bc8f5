//! What a field of a module is, told by its type.

use std::marker::PhantomData;
use std::path::PathBuf;
use std::time::Duration;

use kiln_tensor_core::{Backend, DType, Shape, Tensor};

use crate::{Buffer, Hooks, Module, Param, Visitor};

/// A type that may be a field of a module on backend `B`.
///
/// Modules are children; [`Param`] and [`Buffer`] are what they say; `Option`, `Vec`, arrays and tuples
/// hold any of those (elements are named `field.0`, `field.1`, …). Plain tensors, numbers, strings and
/// the like have no part in the module. Any other type must say what it is: implement this trait, or
/// write `#[module(skip)]` on the field, so that no parameter is ever left out in silence.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither a module on `{B}`, nor a parameter, a buffer or plain data",
    label = "what is this field to the module?",
    note = "`#[derive(Module)]` on the type makes it a child; `#[module(skip)]` on the field leaves it out"
)]
pub trait Field<B: Backend> {
    /// Shows the visitor what the field holds.
    fn visit_field<'a>(&'a self, name: &str, visitor: &mut dyn Visitor<'a, B>);
}

#[diagnostic::do_not_recommend]
impl<M: Module> Field<M::Backend> for M {
    fn visit_field<'a>(&'a self, name: &str, visitor: &mut dyn Visitor<'a, M::Backend>) {
        visitor.child(name, self.as_dyn());
    }
}

impl<B: Backend> Field<B> for Param<B> {
    fn visit_field<'a>(&'a self, name: &str, visitor: &mut dyn Visitor<'a, B>) {
        visitor.param(name, self);
    }
}

impl<B: Backend> Field<B> for Buffer<B> {
    fn visit_field<'a>(&'a self, name: &str, visitor: &mut dyn Visitor<'a, B>) {
        visitor.buffer(name, self);
    }
}

impl<B: Backend, T: Field<B>> Field<B> for Option<T> {
    fn visit_field<'a>(&'a self, name: &str, visitor: &mut dyn Visitor<'a, B>) {
        if let Some(field) = self {
            field.visit_field(name, visitor);
        }
    }
}

impl<B: Backend, T: Field<B>> Field<B> for [T] {
    fn visit_field<'a>(&'a self, name: &str, visitor: &mut dyn Visitor<'a, B>) {
        for (i, field) in self.iter().enumerate() {
            field.visit_field(&format!("{name}.{i}"), visitor);
        }
    }
}

impl<B: Backend, T: Field<B>> Field<B> for Vec<T> {
    fn visit_field<'a>(&'a self, name: &str, visitor: &mut dyn Visitor<'a, B>) {
        self.as_slice().visit_field(name, visitor);
    }
}

impl<B: Backend, T: Field<B>, const N: usize> Field<B> for [T; N] {
    fn visit_field<'a>(&'a self, name: &str, visitor: &mut dyn Visitor<'a, B>) {
        self.as_slice().visit_field(name, visitor);
    }
}

macro_rules! tuples {
    ($(($first:ident $($ty:ident $i:tt)*))*) => {$(
        impl<Back: Backend, $first: Field<Back>, $($ty: Field<Back>),*> Field<Back>
            for ($first, $($ty,)*)
        {
            fn visit_field<'a>(&'a self, name: &str, visitor: &mut dyn Visitor<'a, Back>) {
                self.0.visit_field(&format!("{name}.0"), visitor);
                $(self.$i.visit_field(&format!("{name}.{}", $i), visitor);)*
            }
        }

        /// The backend of the first element.
        impl<$first: HasBackend, $($ty),*> HasBackend for ($first, $($ty,)*) {
            type Backend = $first::Backend;
        }
    )*};
}
tuples! {
    (T0)
    (T0 T1 1)
    (T0 T1 1 T2 2)
    (T0 T1 1 T2 2 T3 3)
}

macro_rules! plain {
    ($($ty:ty),* $(,)?) => {$(
        impl<B: Backend> Field<B> for $ty {
            fn visit_field<'a>(&'a self, _: &str, _: &mut dyn Visitor<'a, B>) {}
        }
    )*};
}
plain! {
    bool, char, f32, f64, i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize,
    String, &'static str, PathBuf, Duration, Shape, DType, (), Tensor<B>, Hooks<B>,
}

impl<B: Backend, T: ?Sized> Field<B> for PhantomData<T> {
    fn visit_field<'a>(&'a self, _: &str, _: &mut dyn Visitor<'a, B>) {}
}

/// A type that belongs to one backend: how the derive finds the backend of a struct that names none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not tell the backend of the module",
    note = "add `#[module(backend = Type)]` to the struct, or `#[module(skip)]` to this field"
)]
pub trait HasBackend {
    /// The backend.
    type Backend: Backend;
}

impl<M: Module> HasBackend for M {
    type Backend = M::Backend;
}

macro_rules! of_backend {
    ($($ty:ident),*) => {$(
        impl<B: Backend> HasBackend for $ty<B> {
            type Backend = B;
        }
    )*};
}
of_backend!(Param, Buffer, Hooks, Tensor);

macro_rules! of_element {
    ($($ty:ty),*) => {$(
        impl<T: HasBackend> HasBackend for $ty {
            type Backend = T::Backend;
        }
    )*};
}
of_element!(Option<T>, Vec<T>);

impl<T: HasBackend, const N: usize> HasBackend for [T; N] {
    type Backend = T::Backend;
}
