//! C: the prelude, and how elements of each dtype are held, loaded and stored.

pub(crate) mod program;

use std::fmt::Write;

use kiln_tensor_core::DType;

use crate::runtime::{Dialect, Traits};

/// A kernel's source behind the prelude of the device's dialect.
pub(crate) fn whole(traits: &Traits, body: &str) -> String {
    let target = match traits.dialect {
        Dialect::OpenCl => include_str!("opencl.h"),
        Dialect::Cuda => include_str!("cuda.h"),
    };
    let mut source = String::new();
    if traits.f64 {
        source.push_str("#define HAS_F64\n");
    }
    let _ = write!(source, "{target}\n{}\n{body}", include_str!("prelude.h"));
    source
}

/// The C type of an element in memory.
pub(crate) fn stored(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "f64",
        DType::F32 => "f32",
        DType::F16 | DType::BF16 => "u16",
        DType::I64 => "i64",
        DType::I32 => "i32",
        DType::I16 => "i16",
        DType::I8 => "i8",
        DType::U8 | DType::Bool => "u8",
    }
}

/// The C type that an element is computed in.
pub(crate) fn computed(dtype: DType) -> &'static str {
    match dtype.compute() {
        DType::F64 => "f64",
        DType::F32 => "f32",
        DType::I64 => "i64",
        _ => "i32",
    }
}

/// An element as its compute type.
pub(crate) fn load(dtype: DType, pointer: &str, index: &str) -> String {
    match dtype {
        DType::F16 => format!("LOAD_F16({pointer}, {index})"),
        DType::BF16 => format!("LOAD_BF16({pointer}, {index})"),
        _ => format!("({}){pointer}[{index}]", computed(dtype)),
    }
}

/// A statement that rounds or wraps a value of the compute type and stores it.
pub(crate) fn store(dtype: DType, pointer: &str, index: &str, value: &str) -> String {
    match dtype {
        DType::F16 => format!("STORE_F16({pointer}, {index}, {value});"),
        DType::BF16 => format!("STORE_BF16({pointer}, {index}, {value});"),
        _ => format!("{pointer}[{index}] = ({})({value});", stored(dtype)),
    }
}
