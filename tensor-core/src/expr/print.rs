//! Programs as text, one instruction a line.

use std::fmt;

use super::{Expr, Instr, Op};
use crate::Scalar;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |dtypes: &[crate::DType]| {
            dtypes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        write!(f, "{}({})", self.name(), list(self.inputs()))?;
        if !self.params().is_empty() {
            write!(f, " with ({})", list(self.params()))?;
        }
        writeln!(f)?;
        for (i, instr) in self.instrs().iter().enumerate() {
            writeln!(f, "  %{i}: {} = {}", instr.dtype, Line(instr))?;
        }
        let outputs: Vec<String> =
            self.outputs().iter().map(|o| format!("%{} as {}", o.value, o.dtype)).collect();
        write!(f, "  store {}", outputs.join(", "))
    }
}

struct Line<'a>(&'a Instr);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.op {
            Op::Input(i) => write!(f, "input {i}"),
            Op::Param(i) => write!(f, "param {i}"),
            Op::Const(bits) if self.0.dtype.is_float() => write!(f, "{:?}", f64::from_bits(bits)),
            Op::Const(bits) => match self.0.dtype {
                crate::DType::Bool => write!(f, "{}", Scalar::I64(bits as i64).to_bool()),
                _ => write!(f, "{}", bits as i64),
            },
            Op::Index => f.write_str("index"),
            Op::Uniform { seed, stream } => write!(f, "uniform(param {seed}, param {stream})"),
            op => {
                let name = match op {
                    Op::Unary(op) => format!("{op:?}"),
                    Op::Binary(op) => format!("{op:?}"),
                    Op::Compare(op) => format!("{op:?}"),
                    op => format!("{op:?}"),
                };
                write!(f, "{}", name.to_lowercase())?;
                self.0.args().iter().try_for_each(|arg| write!(f, " %{arg}"))
            }
        }
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
