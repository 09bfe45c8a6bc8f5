//! Element types, and PyTorch's rules for mixing them.

use std::fmt;

use half::{bf16, f16};

/// The type of a tensor's elements. A run-time value, as in PyTorch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 64-bit IEEE 754 float.
    F64,
    /// 32-bit IEEE 754 float, the default.
    F32,
    /// 16-bit IEEE 754 float.
    F16,
    /// 16-bit brain float: the exponent of `f32`, eight bits of mantissa.
    BF16,
    /// 64-bit signed integer; the dtype of indices.
    I64,
    /// 32-bit signed integer.
    I32,
    /// 16-bit signed integer.
    I16,
    /// 8-bit signed integer.
    I8,
    /// 8-bit unsigned integer.
    U8,
    /// Truth value, one byte.
    Bool,
}

/// PyTorch's promotion categories, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// `bool`
    Bool,
    /// Signed and unsigned integers.
    Int,
    /// Floating point.
    Float,
}

impl DType {
    /// Every dtype, widest float first.
    pub const ALL: [DType; 10] = [
        DType::F64,
        DType::F32,
        DType::F16,
        DType::BF16,
        DType::I64,
        DType::I32,
        DType::I16,
        DType::I8,
        DType::U8,
        DType::Bool,
    ];

    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 => 8,
            DType::F32 | DType::I32 => 4,
            DType::F16 | DType::BF16 | DType::I16 => 2,
            DType::I8 | DType::U8 | DType::Bool => 1,
        }
    }

    /// The name in messages and files: `f32`, `i64`, `bool`, …
    pub const fn name(self) -> &'static str {
        match self {
            DType::F64 => "f64",
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::I64 => "i64",
            DType::I32 => "i32",
            DType::I16 => "i16",
            DType::I8 => "i8",
            DType::U8 => "u8",
            DType::Bool => "bool",
        }
    }

    /// Bool, integer or float.
    pub const fn category(self) -> Category {
        match self {
            DType::Bool => Category::Bool,
            DType::I64 | DType::I32 | DType::I16 | DType::I8 | DType::U8 => Category::Int,
            DType::F64 | DType::F32 | DType::F16 | DType::BF16 => Category::Float,
        }
    }

    /// Whether gradients can flow through values of this dtype.
    pub const fn is_float(self) -> bool {
        matches!(self.category(), Category::Float)
    }

    /// Signed or unsigned integer, not bool.
    pub const fn is_int(self) -> bool {
        matches!(self.category(), Category::Int)
    }

    /// The type that arithmetic on this dtype is done in: narrow floats in `f32`, narrow integers
    /// in `i32`, the rest in themselves.
    pub const fn compute(self) -> DType {
        match self {
            DType::F16 | DType::BF16 => DType::F32,
            DType::I16 | DType::I8 | DType::U8 => DType::I32,
            wide => wide,
        }
    }

    /// The dtype of a sum or product of such elements: integers and bools add up in `i64`.
    pub const fn sum(self) -> DType {
        if self.is_float() { self } else { DType::I64 }
    }

    /// The dtype of a result that cannot be an integer (`mean`, `exp`, `/`): floats stay, the rest
    /// become `f32`.
    pub const fn float(self) -> DType {
        if self.is_float() { self } else { DType::F32 }
    }

    /// The dtype of an elementwise result on two tensors: `torch.promote_types`.
    ///
    /// ```
    /// use kiln_tensor_core::DType::{self, *};
    /// assert_eq!(I64.promote(F16), F16);
    /// assert_eq!(F16.promote(BF16), F32);
    /// assert_eq!(U8.promote(I8), I16);
    /// ```
    pub const fn promote(self, other: DType) -> DType {
        use DType::{BF16, F16, F32, F64, I8, I16, I32, I64, U8};
        match (self, other) {
            (F64, _) | (_, F64) => F64,
            (F32, _) | (_, F32) | (F16, BF16) | (BF16, F16) => F32,
            (F16, _) | (_, F16) => F16,
            (BF16, _) | (_, BF16) => BF16,
            (I64, _) | (_, I64) => I64,
            (I32, _) | (_, I32) => I32,
            (I16, _) | (_, I16) | (U8, I8) | (I8, U8) => I16,
            (I8, _) | (_, I8) => I8,
            (U8, _) | (_, U8) => U8,
            (DType::Bool, DType::Bool) => DType::Bool,
        }
    }

    /// The dtype of an elementwise result on a tensor and a number: the number changes the dtype
    /// only when its category is higher (`i32` tensor × `2.0` → `f32`; `f16` tensor × `2.0` → `f16`).
    pub const fn promote_scalar(self, scalar: Scalar) -> DType {
        match (self.category(), scalar) {
            (Category::Float, _) | (_, Scalar::Bool(_)) | (Category::Int, Scalar::I64(_)) => self,
            (_, Scalar::F64(_)) => DType::F32,
            (Category::Bool, Scalar::I64(_)) => DType::I64,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A number that came as a number, not as a tensor: it takes part in promotion by its category only.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// A floating-point number.
    F64(f64),
    /// An integer.
    I64(i64),
    /// A truth value.
    Bool(bool),
}

impl Scalar {
    /// The value as `f64`; `true` is 1.
    pub const fn to_f64(self) -> f64 {
        match self {
            Scalar::F64(v) => v,
            Scalar::I64(v) => v as f64,
            Scalar::Bool(v) => v as u8 as f64,
        }
    }

    /// The value as `i64`, floats truncated towards zero; `true` is 1.
    pub const fn to_i64(self) -> i64 {
        match self {
            Scalar::F64(v) => v as i64,
            Scalar::I64(v) => v,
            Scalar::Bool(v) => v as i64,
        }
    }

    /// Whether the value differs from zero.
    pub const fn to_bool(self) -> bool {
        match self {
            Scalar::F64(v) => v != 0.0,
            Scalar::I64(v) => v != 0,
            Scalar::Bool(v) => v,
        }
    }

    /// The dtype that PyTorch gives to a tensor made of this number alone.
    pub const fn dtype(self) -> DType {
        match self {
            Scalar::F64(_) => DType::F32,
            Scalar::I64(_) => DType::I64,
            Scalar::Bool(_) => DType::Bool,
        }
    }
}

macro_rules! scalar_from {
    ($($ty:ty => $variant:ident),*) => {$(
        impl From<$ty> for Scalar {
            fn from(value: $ty) -> Self {
                Scalar::$variant(value.into())
            }
        }
    )*};
}
scalar_from!(f64 => F64, f32 => F64, f16 => F64, bf16 => F64);
scalar_from!(i64 => I64, i32 => I64, i16 => I64, i8 => I64, u8 => I64, bool => Bool);

impl From<usize> for Scalar {
    fn from(value: usize) -> Self {
        Scalar::I64(value as i64)
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that a tensor can hold.
pub trait Element:
    sealed::Sealed + bytemuck::NoUninit + PartialEq + PartialOrd + fmt::Debug + Send + Sync + 'static
{
    /// The dtype of tensors of this type.
    const DTYPE: DType;

    /// Reads elements from native-endian bytes, whatever their alignment.
    fn from_bytes(bytes: &[u8]) -> Vec<Self>;

    /// The value as a scalar.
    fn to_scalar(self) -> Scalar;

    /// The nearest value of this type, as a cast (`as`) gives it.
    fn from_scalar(scalar: Scalar) -> Self;
}

macro_rules! element {
    ($($ty:ty => $dtype:ident, $from:expr;)*) => {$(
        impl sealed::Sealed for $ty {}
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
            fn from_bytes(bytes: &[u8]) -> Vec<Self> {
                bytemuck::allocation::pod_collect_to_vec(bytes)
            }
            fn to_scalar(self) -> Scalar {
                self.into()
            }
            fn from_scalar(scalar: Scalar) -> Self {
                ($from)(scalar)
            }
        }
    )*};
}

macro_rules! one_element {
    ($($dtype:ident: $ty:ty),*) => {
        /// One element as bytes, for programs that learn the dtype when they run.
        impl DType {
            /// The element that these native-endian bytes hold.
            ///
            /// # Panics
            /// If there are not [`size`](DType::size) of them.
            pub fn decode(self, bytes: &[u8]) -> Scalar {
                assert_eq!(bytes.len(), self.size(), "one element of {self}");
                match self {
                    $(DType::$dtype => {
                        <$ty>::from_ne_bytes(bytes.try_into().expect("as many as there are")).into()
                    })*
                    DType::Bool => Scalar::Bool(bytes[0] != 0),
                }
            }

            /// Writes the value as native-endian bytes, converted as a cast (`as`) does it.
            ///
            /// # Panics
            /// If `bytes` has not [`size`](DType::size).
            pub fn encode(self, value: Scalar, bytes: &mut [u8]) {
                match self {
                    $(DType::$dtype => {
                        bytes.copy_from_slice(&<$ty>::from_scalar(value).to_ne_bytes());
                    })*
                    DType::Bool => bytes.copy_from_slice(&[u8::from(value.to_bool())]),
                }
            }
        }
    };
}
one_element!(F64: f64, F32: f32, F16: f16, BF16: bf16, I64: i64, I32: i32, I16: i16, I8: i8, U8: u8);

element! {
    f64 => F64, Scalar::to_f64;
    f32 => F32, |s: Scalar| s.to_f64() as f32;
    f16 => F16, |s: Scalar| f16::from_f64(s.to_f64());
    bf16 => BF16, |s: Scalar| bf16::from_f64(s.to_f64());
    i64 => I64, Scalar::to_i64;
    i32 => I32, |s: Scalar| s.to_i64() as i32;
    i16 => I16, |s: Scalar| s.to_i64() as i16;
    i8 => I8, |s: Scalar| s.to_i64() as i8;
    u8 => U8, |s: Scalar| s.to_i64() as u8;
}

impl sealed::Sealed for bool {}
impl Element for bool {
    const DTYPE: DType = DType::Bool;
    fn from_bytes(bytes: &[u8]) -> Vec<Self> {
        bytes.iter().map(|&b| b != 0).collect()
    }
    fn to_scalar(self) -> Scalar {
        Scalar::Bool(self)
    }
    fn from_scalar(scalar: Scalar) -> Self {
        scalar.to_bool()
    }
}
