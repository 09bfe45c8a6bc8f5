//! Parameters in lists and dictionaries.

use std::ops::{Deref, Index};

use kiln_tensor_core::{Backend, Error, raise};

use crate::{Hooks, Module, Param, Visitor};

/// Parameters in a list, named `0`, `1`, …. Dereferences to a slice.
#[derive(Debug)]
pub struct ParameterList<B: Backend> {
    params: Vec<Param<B>>,
    hooks: Hooks<B>,
}

impl<B: Backend> ParameterList<B> {
    /// A list of these parameters.
    pub fn new<P: Into<Param<B>>>(params: impl IntoIterator<Item = P>) -> Self {
        ParameterList { params: params.into_iter().map(Into::into).collect(), hooks: Hooks::new() }
    }

    /// Appends a parameter; PyTorch's `append`.
    pub fn push(&mut self, param: impl Into<Param<B>>) -> &mut Self {
        self.params.push(param.into());
        self
    }
}

impl<B: Backend> Deref for ParameterList<B> {
    type Target = [Param<B>];

    fn deref(&self) -> &[Param<B>] {
        &self.params
    }
}

/// Parameters by name, in the order in which they came.
#[derive(Debug)]
pub struct ParameterDict<B: Backend> {
    params: Vec<(String, Param<B>)>,
    hooks: Hooks<B>,
}

impl<B: Backend> ParameterDict<B> {
    /// These parameters under these names.
    pub fn new<K: Into<String>, P: Into<Param<B>>>(
        params: impl IntoIterator<Item = (K, P)>,
    ) -> Self {
        let mut dict = ParameterDict { params: Vec::new(), hooks: Hooks::new() };
        params.into_iter().for_each(|(name, param)| drop(dict.insert(name, param)));
        dict
    }

    /// Puts a parameter under a name, and gives the one that was there.
    pub fn insert(
        &mut self,
        name: impl Into<String>,
        param: impl Into<Param<B>>,
    ) -> Option<Param<B>> {
        let (name, param) = (name.into(), param.into());
        match self.params.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => Some(std::mem::replace(old, param)),
            None => {
                self.params.push((name, param));
                None
            }
        }
    }

    /// The parameter of this name.
    pub fn get(&self, name: &str) -> Option<&Param<B>> {
        self.iter().find(|(known, _)| *known == name).map(|(_, param)| param)
    }

    /// Names and parameters in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Param<B>)> {
        self.params.iter().map(|(name, param)| (name.as_str(), param))
    }

    /// The number of parameters.
    pub fn len(&self) -> usize {
        self.params.len()
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.params.is_empty()
    }
}

impl<B: Backend> Index<&str> for ParameterDict<B> {
    type Output = Param<B>;

    #[track_caller]
    fn index(&self, name: &str) -> &Param<B> {
        self.get(name).unwrap_or_else(|| {
            let names: Vec<&str> = self.iter().map(|(name, _)| name).collect();
            let why = format!("there is no parameter `{name}`; there are: {}", names.join(", "));
            raise(Error::Argument { op: "ParameterDict", why })
        })
    }
}

/// One line a parameter, as in `(w): Parameter containing: [f32 of size 3x2]`.
fn lines<'a, B: Backend>(params: impl Iterator<Item = (String, &'a Param<B>)>) -> String {
    let line = |(name, param): (String, &Param<B>)| {
        let sizes: Vec<String> = param.shape().iter().map(ToString::to_string).collect();
        format!("({name}): Parameter containing: [{} of size {}]\n", param.dtype(), sizes.join("x"))
    };
    params.map(line).collect()
}

macro_rules! modules {
    ($($ty:ident: |$this:ident| $named:expr;)*) => {$(
        impl<B: Backend> Module for $ty<B> {
            type Backend = B;

            fn visit<'a>(&'a self, visitor: &mut dyn Visitor<'a, B>) {
                let $this = self;
                $named.for_each(|(name, param)| visitor.param(&name, param));
            }

            fn as_dyn(&self) -> &dyn Module<Backend = B> {
                self
            }

            fn type_name(&self) -> &'static str {
                stringify!($ty)
            }

            fn extra_repr(&self) -> String {
                let $this = self;
                lines($named)
            }

            fn hooks(&self) -> Option<&Hooks<B>> {
                Some(&self.hooks)
            }
        }

        impl<B: Backend> std::fmt::Display for $ty<B> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.as_dyn().fmt(f)
            }
        }
    )*};
}
modules! {
    ParameterList: |this| this.params.iter().enumerate().map(|(i, param)| (i.to_string(), param));
    ParameterDict: |this| this.iter().map(|(name, param)| (name.to_string(), param));
}
