//! A tensor as a kernel sees it.

use std::sync::LazyLock;

use kiln_tensor_core::{DType, Tensor};

use super::computed;
use crate::{Gpu, Runtime};

/// From so many elements on, a kernel is compiled for its operands' very dtypes. Fewer pass through
/// kernels that are told the dtypes at each launch, so that small work in many dtypes compiles little.
pub(crate) fn specialise(elements: usize) -> bool {
    elements >= 1 << 14
}

/// Whether kernels guard each access to an operand, and report one that is outside as a fault of the call: the
/// environment variable `KILN_GPU_CHECK`. For tests; drivers that compute on the host do not notice.
pub(crate) fn checked() -> bool {
    static CHECKED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("KILN_GPU_CHECK").is_some());
    *CHECKED
}

/// What a kernel knows of an operand's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// Their dtype.
    Type(DType),
    /// The dtype that they are computed in: which one they are stored in is an argument.
    Class(DType),
    /// Their size: they are moved, not computed with.
    Size(usize),
}

/// A parameter of a kernel that points to a tensor's elements.
#[derive(Clone, Debug)]
pub(crate) struct Operand {
    name: String,
    known: Known,
}

impl Operand {
    /// Elements to compute with; their dtype is part of the kernel if it is `special`.
    pub(crate) fn new(name: impl Into<String>, dtype: DType, special: bool) -> Self {
        let known = match dtype.compute() {
            DType::F32 if !special => Known::Class(DType::F32),
            DType::I32 | DType::Bool if !special => Known::Class(DType::I32),
            _ => Known::Type(dtype),
        };
        Operand { name: name.into(), known }
    }

    /// What kernels call it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Elements to move.
    pub(crate) fn moved(name: impl Into<String>, dtype: DType) -> Self {
        Operand { name: name.into(), known: Known::Size(dtype.size()) }
    }

    /// What is passed beside the elements, if anything: their dtype as the prelude numbers it.
    pub(crate) fn code<R: Runtime>(&self, x: &Tensor<Gpu<R>>) -> Option<i32> {
        matches!(self.known, Known::Class(_)).then(|| match x.dtype() {
            DType::F16 | DType::I16 => 1,
            DType::BF16 | DType::I8 => 2,
            DType::U8 | DType::Bool => 3,
            _ => 0,
        })
    }

    /// The C type of a value.
    pub(crate) fn ty(&self) -> &'static str {
        match self.known {
            Known::Type(dtype) | Known::Class(dtype) => computed(dtype),
            Known::Size(_) => self.memory(),
        }
    }

    fn memory(&self) -> &'static str {
        match self.known {
            Known::Class(_) => "void",
            Known::Type(DType::F64) => "f64",
            Known::Type(DType::F32) => "f32",
            Known::Type(DType::I64) => "i64",
            Known::Type(DType::I32) => "i32",
            Known::Type(DType::I16) => "i16",
            Known::Type(DType::I8) => "i8",
            Known::Type(DType::F16 | DType::BF16) | Known::Size(2) => "u16",
            Known::Type(DType::U8 | DType::Bool) | Known::Size(1) => "u8",
            Known::Size(4) => "u32",
            Known::Size(_) => "u64",
        }
    }

    /// The parameter's declaration, for reading.
    pub(crate) fn read(&self) -> String {
        format!("const {}", self.write())
    }

    /// The parameter's declaration, for writing.
    pub(crate) fn write(&self) -> String {
        let Operand { name, known } = self;
        let code = if matches!(known, Known::Class(_)) {
            format!(", i32 {name}_t")
        } else {
            String::new()
        };
        let count = if checked() { format!(", i64 {name}_n") } else { String::new() };
        format!("GLOBAL {}* {name}{code}{count}", self.memory())
    }

    /// What else is passed: how many elements the memory has.
    pub(crate) fn count<R: Runtime>(&self, x: &Tensor<Gpu<R>>) -> Option<i64> {
        checked().then(|| (x.storage().bytes() / x.dtype().size()) as i64)
    }

    /// An index; where accesses are checked, one that has an element.
    pub(crate) fn guarded(&self, index: &str) -> String {
        match checked() {
            true => format!("AT({index}, {}_n)", self.name),
            false => index.to_owned(),
        }
    }

    /// An element as a value.
    pub(crate) fn load(&self, index: &str) -> String {
        let (name, index) = (&self.name, self.guarded(index));
        match self.known {
            Known::Type(DType::F16) => format!("LOAD_F16({name}, {index})"),
            Known::Type(DType::BF16) => format!("LOAD_BF16({name}, {index})"),
            Known::Class(class) => format!("load_{}({name}, {index}, {name}_t)", computed(class)),
            _ => format!("({}){name}[{index}]", self.ty()),
        }
    }

    /// A statement that rounds or wraps a value and stores it.
    pub(crate) fn store(&self, index: &str, value: &str) -> String {
        let (name, index) = (&self.name, self.guarded(index));
        match self.known {
            Known::Type(DType::F16) => format!("STORE_F16({name}, {index}, {value});"),
            Known::Type(DType::BF16) => format!("STORE_BF16({name}, {index}, {value});"),
            Known::Class(class) => {
                format!("store_{}({name}, {index}, {value}, {name}_t);", computed(class))
            }
            _ => format!("{name}[{index}] = ({})({value});", self.memory()),
        }
    }
}

/// Several elements side by side that one work-item moves at once.
impl Operand {
    /// Declares the type of so many, a power of two.
    pub(crate) fn declare_pack(&self, count: usize) -> String {
        let Operand { name, known } = self;
        let bytes = match known {
            Known::Type(dtype) | Known::Class(dtype) => dtype.size(),
            Known::Size(size) => *size,
        };
        let (memory, align) = (self.memory(), count * bytes);
        format!(
            "typedef struct __attribute__((aligned({align}))) {{ {memory} at[{count}]; }} {name}_pack;\n"
        )
    }

    /// Those from an element on that lies at a multiple of their count.
    pub(crate) fn pack(&self, index: &str, count: usize) -> String {
        let Operand { name, .. } = self;
        let last = count - 1;
        let index = match checked() {
            true => format!("{} - {last}", self.guarded(&format!("{index} + {last}"))),
            false => index.to_owned(),
        };
        format!("*(GLOBAL {name}_pack*)({name} + {index})")
    }

    /// An element of a pack as a value.
    pub(crate) fn unpacked(&self, element: &str) -> String {
        match self.known {
            Known::Type(DType::F16) => format!("from_f16({element})"),
            Known::Type(DType::BF16) => format!("from_bf16({element})"),
            _ => format!("({}){element}", self.ty()),
        }
    }

    /// A value, rounded or wrapped, as an element of a pack.
    pub(crate) fn packed(&self, value: &str) -> String {
        match self.known {
            Known::Type(DType::F16) => format!("to_f16({value})"),
            Known::Type(DType::BF16) => format!("to_bf16({value})"),
            _ => format!("({})({value})", self.memory()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dtypes_of_one_class_share_a_kernel() {
        let text = |dtype, special| {
            let x = Operand::new("x", dtype, special);
            x.read() + &x.load("i") + &x.store("i", "v")
        };
        assert_eq!(text(DType::F16, false), text(DType::F32, false));
        assert_eq!(text(DType::Bool, false), text(DType::I32, false));
        assert_ne!(text(DType::F16, true), text(DType::F32, true));
        assert_ne!(text(DType::I64, false), text(DType::I32, false));
    }
}
