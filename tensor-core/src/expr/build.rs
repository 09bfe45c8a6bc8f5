//! Building programs: instructions are collected; constants fold, common subexpressions are shared, and
//! what no output needs is dropped.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use super::{BinaryOp, Expr, Instr, Op, Output, UnaryOp, Val, eval};
use crate::{DType, Scalar};

/// Collects the instructions of a program under construction.
#[derive(Debug)]
pub struct Builder {
    inputs: Vec<DType>,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    params: Vec<DType>,
    instrs: Vec<Instr>,
    known: HashMap<Instr, u32>,
}

impl Builder {
    /// Starts a program on tensors of these dtypes.
    pub fn new(inputs: &[DType]) -> Self {
        Builder { inputs: inputs.to_vec(), state: RefCell::default() }
    }

    /// The element of input `i`.
    pub fn input(&self, i: usize) -> Val<'_> {
        self.push(Op::Input(i as u32), self.inputs[i], [0; 3])
    }

    /// The next run-time parameter.
    pub fn param(&self, dtype: DType) -> Val<'_> {
        let i = {
            let mut state = self.state.borrow_mut();
            state.params.push(dtype);
            state.params.len() - 1
        };
        self.push(Op::Param(i as u32), dtype, [0; 3])
    }

    /// A constant of the given dtype.
    pub fn constant(&self, value: impl Into<Scalar>, dtype: DType) -> Val<'_> {
        self.push(Op::Const(eval::bits(value.into(), dtype)), dtype, [0; 3])
    }

    /// The element's row-major number in the shape that the program runs over, an `I64`.
    pub fn index(&self) -> Val<'_> {
        self.push(Op::Index, DType::I64, [0; 3])
    }

    /// A uniform random number in `[0, 1)` per element, drawn with the `I64` parameters `seed` and
    /// `stream`.
    ///
    /// # Panics
    /// If `seed` or `stream` is not a parameter, or `dtype` is not a float.
    pub fn uniform<'b>(&'b self, seed: Val<'b>, stream: Val<'b>, dtype: DType) -> Val<'b> {
        let number = |v: Val<'b>| match v.instr().op {
            Op::Param(i) => i,
            _ => panic!("uniform: seed and stream are parameters of the program"),
        };
        assert!(dtype.is_float(), "uniform: a float dtype");
        let op = Op::Uniform { seed: number(seed), stream: number(stream) };
        self.push(op, dtype, [0; 3])
    }

    /// Records an instruction, or returns the value that is already known to equal it.
    pub(super) fn push(&self, op: Op, dtype: DType, args: [u32; 3]) -> Val<'_> {
        let mut instr = Instr { op, dtype, args };
        let mut state = self.state.borrow_mut();
        if let Some(id) = simplify(&state.instrs, &mut instr) {
            return Val::new(self, id);
        }
        let State { instrs, known, .. } = &mut *state;
        let id = *known.entry(instr).or_insert_with(|| {
            instrs.push(instr);
            (instrs.len() - 1) as u32
        });
        Val::new(self, id)
    }

    pub(super) fn instr(&self, id: u32) -> Instr {
        self.state.borrow().instrs[id as usize]
    }

    /// Ends the program: stores each value as the dtype beside it.
    pub fn finish(self, name: impl Into<Cow<'static, str>>, outputs: &[(u32, DType)]) -> Expr {
        let State { params, instrs, .. } = self.state.into_inner();
        // Between dtypes that are computed alike a cast changes nothing but the dtype's name.
        let source = |mut value: u32| {
            loop {
                let instr = instrs[value as usize];
                let from = instrs[instr.args[0] as usize].dtype;
                if instr.op != Op::Cast || from.compute() != instr.dtype.compute() {
                    return value;
                }
                value = instr.args[0];
            }
        };
        // A store wraps by itself, so a wrap just before it is dropped.
        let unwrapped = |value: u32, dtype: DType| {
            let instr = instrs[value as usize];
            if instr.op == Op::Wrap && instr.dtype == dtype { instr.args[0] } else { value }
        };
        let roots: Vec<(u32, DType)> = outputs
            .iter()
            .map(|&(value, dtype)| (source(unwrapped(source(value), dtype)), dtype))
            .collect();
        let mut live = vec![false; instrs.len()];
        roots.iter().for_each(|&(value, _)| live[value as usize] = true);
        for i in (0..instrs.len()).rev() {
            if live[i] {
                instrs[i].args().iter().for_each(|&arg| live[source(arg) as usize] = true);
            }
        }
        let mut renumbered = vec![0u32; instrs.len()];
        let mut kept = Vec::new();
        for (i, instr) in instrs.iter().enumerate().filter(|&(i, _)| live[i]) {
            let mut args = [0; 3];
            for (new, &old) in args.iter_mut().zip(instr.args()) {
                *new = renumbered[source(old) as usize];
            }
            renumbered[i] = kept.len() as u32;
            kept.push(Instr { args, ..*instr });
        }
        let outputs = roots
            .iter()
            .map(|&(value, dtype)| Output { value: renumbered[value as usize], dtype })
            .collect();
        Expr::from_parts(name.into(), self.inputs, params, kept, outputs)
    }
}

/// Folds constants and applies identities that hold for every value, NaN and −0 included. Returns the
/// value that replaces the instruction; may also rewrite it into a cheaper one.
fn simplify(instrs: &[Instr], instr: &mut Instr) -> Option<u32> {
    let constant = |id: u32| match instrs[id as usize].op {
        Op::Const(bits) => Some(bits),
        _ => None,
    };
    let [a, b, c] = instr.args;
    let is = |id: u32, value: i64| {
        let dtype = instrs[id as usize].dtype;
        constant(id) == Some(eval::bits(Scalar::I64(value), dtype))
    };
    let whole = !instr.dtype.is_float();
    match instr.op {
        Op::Binary(BinaryOp::Mul) if is(b, 1) => return Some(a),
        Op::Binary(BinaryOp::Mul) if is(a, 1) => return Some(b),
        Op::Binary(BinaryOp::Div) if is(b, 1) => return Some(a),
        Op::Binary(BinaryOp::Pow) if is(b, 1) => return Some(a),
        Op::Binary(BinaryOp::Sub) if is(b, 0) => return Some(a),
        Op::Binary(BinaryOp::Add) if whole && is(b, 0) => return Some(a),
        Op::Binary(BinaryOp::Add) if whole && is(a, 0) => return Some(b),
        Op::Binary(BinaryOp::Pow) if is(b, 2) => {
            *instr = Instr { op: Op::Binary(BinaryOp::Mul), args: [a, a, 0], ..*instr };
        }
        Op::Unary(UnaryOp::Neg) => {
            if let Instr { op: Op::Unary(UnaryOp::Neg), args: [inner, ..], .. } = instrs[a as usize]
            {
                return Some(inner);
            }
        }
        Op::Select if b == c => return Some(b),
        Op::Select if is(a, 1) => return Some(b),
        Op::Select if is(a, 0) => return Some(c),
        _ => {}
    }
    let arity = instr.op.arity();
    if arity > 0 && instr.args().iter().all(|&arg| constant(arg).is_some()) {
        let args = instr.args.map(|arg| (constant(arg).unwrap_or(0), instrs[arg as usize].dtype));
        let bits = eval::fold(instr.op, instr.dtype, args);
        *instr = Instr { op: Op::Const(bits), dtype: instr.dtype, args: [0; 3] };
    }
    None
}
