//! Padding layers over one to three spatial dimensions, from one table.

use kiln_tensor_core::{Backend, Error, PadMode, Tensor, raise};

use super::sizes::named;
use crate::{Forward, Hooks, Module, python};

/// How much is added before and after each spatial dimension: a number stands for all, an array gives
/// `[before, after]` of the last dimension, then of the last but one, and so on. Negative ones cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PadSides(Vec<isize>);

impl From<isize> for PadSides {
    fn from(size: isize) -> Self {
        PadSides(vec![size])
    }
}

impl<const N: usize> From<[isize; N]> for PadSides {
    fn from(sizes: [isize; N]) -> Self {
        PadSides(sizes.to_vec())
    }
}

impl PadSides {
    /// One for each side of `dims` dimensions.
    #[track_caller]
    fn each(self, op: &'static str, dims: usize) -> Vec<isize> {
        match &self.0[..] {
            [size] => vec![*size; 2 * dims],
            sizes if sizes.len() == 2 * dims => self.0,
            sizes => raise(Error::Argument {
                op,
                why: format!("one number or {} are wanted, not {sizes:?}", 2 * dims),
            }),
        }
    }
}

/// A row: the layer, its three names, its arguments, the mode, and what it prints.
macro_rules! pads {
    ($(
        $(#[$doc:meta])*
        $name:ident: [$d1:ident $d2:ident $d3:ident] ($($arg:ident: $ty:ty)?) = $mode:expr,
            prints |$this:ident, $sides:ident| $repr:expr;
    )*) => {$(
        $(#[$doc])*
        #[derive(Debug, Module)]
        #[module(extra_repr = Self::describe, type_name = Self::name)]
        pub struct $name<B: Backend, const N: usize> {
            #[module(skip)]
            sides: Vec<isize>,
            $($arg: $ty,)?
            hooks: Hooks<B>,
        }

        #[doc = concat!("[`", stringify!($name), "`] of `[…, c, length]`.")]
        pub type $d1<B> = $name<B, 1>;
        #[doc = concat!("[`", stringify!($name), "`] of `[…, c, height, width]`.")]
        pub type $d2<B> = $name<B, 2>;
        #[doc = concat!("[`", stringify!($name), "`] of `[…, c, depth, height, width]`.")]
        pub type $d3<B> = $name<B, 3>;

        impl<B: Backend, const N: usize> $name<B, N> {
            /// The layer.
            ///
            /// # Panics
            /// If there is not one number, or two for each spatial dimension.
            #[track_caller]
            pub fn new(padding: impl Into<PadSides> $(, $arg: $ty)?) -> Self {
                let sides = padding.into().each(stringify!($name), N);
                $name { sides, $($arg,)? hooks: Hooks::new() }
            }

            fn name(&self) -> &'static str {
                named([stringify!($d1), stringify!($d2), stringify!($d3)], N)
            }

            fn describe(&self) -> String {
                let $this = self;
                let _ = $this;
                let $sides = self.sides.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                $repr
            }
        }

        impl<B: Backend, const N: usize> Forward for $name<B, N> {
            fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
                let $this = self;
                let _ = $this;
                x.pad(&self.sides, $mode)
            }
        }
    )*};
}

pads! {
    /// Zeros.
    ZeroPad: [ZeroPad1d ZeroPad2d ZeroPad3d] () = PadMode::Constant(0.0),
        prints |_this, sides| format!("({sides})");
    /// One number.
    ConstantPad: [ConstantPad1d ConstantPad2d ConstantPad3d] (value: f64)
        = PadMode::Constant(this.value),
        prints |this, sides| format!("padding=({sides}), value={}", python::float(this.value));
    /// The elements inside, mirrored at the edge, which is not repeated.
    ReflectionPad: [ReflectionPad1d ReflectionPad2d ReflectionPad3d] () = PadMode::Reflect,
        prints |_this, sides| format!("({sides})");
    /// The element at the edge.
    ReplicationPad: [ReplicationPad1d ReplicationPad2d ReplicationPad3d] () = PadMode::Replicate,
        prints |_this, sides| format!("({sides})");
    /// The elements from the other end.
    CircularPad: [CircularPad1d CircularPad2d CircularPad3d] () = PadMode::Circular,
        prints |_this, sides| format!("({sides})");
}
