//! C: the prelude, operands, and programs.

mod functions;
mod locate;
mod operand;
pub(crate) mod program;
mod special;
mod tree;

use std::borrow::Cow;
use std::fmt::Write;

pub(crate) use locate::{Width, locate};
pub(crate) use operand::{Operand, checked, specialise};
pub(crate) use tree::{Shared, room, tree};

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
    if let Some(items) = traits.sub_group {
        let _ = writeln!(source, "#define SUB_GROUP {items}");
    }
    let mut body = Cow::Borrowed(body);
    if checked() {
        source.push_str("#define CHECKED\n");
        body = Cow::Owned(reporting(&body));
    }
    let functions = functions::functions(traits.f64);
    let special = special::functions(&body, traits.f64);
    let prelude = include_str!("prelude.h");
    let _ = write!(source, "{target}\n{prelude}\n{functions}\n{special}{body}");
    source
}

/// A kernel that has `FAULTS` as its last parameter.
fn reporting(body: &str) -> String {
    let (before, kernel) = body.split_once("KERNEL void ").expect("a kernel");
    let (parameters, rest) = kernel.split_once(") {").expect("a kernel's parameters");
    let faults = if parameters.ends_with("FAULTS") { "" } else { ", FAULTS" };
    format!("{before}KERNEL void {parameters}{faults}) {{{rest}")
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

/// The C type of an integer dtype that is narrower than what it is computed in.
pub(crate) fn narrow(dtype: DType) -> Option<&'static str> {
    match dtype {
        DType::I16 => Some("i16"),
        DType::I8 => Some("i8"),
        DType::U8 => Some("u8"),
        _ => None,
    }
}
