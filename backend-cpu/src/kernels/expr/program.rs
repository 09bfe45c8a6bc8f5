//! Translation of an `Expr` into steps on registers.

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use kiln_tensor_core::expr::{BinaryOp, Instr, Op, UnaryOp};
use kiln_tensor_core::{DType, Expr, Scalar};
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::{BLOCK, Run, Step, chain, convert, float, int};
use crate::kernels::simd::{GROUP, Level, level};

/// Sixteen equal elements, at most eight bytes each.
pub(crate) type Splat = [u64; GROUP];

/// A program that is ready to run. Registers are numbered: inputs, outputs, constants, parameters,
/// temporaries.
#[derive(Debug)]
pub(crate) struct Program {
    pub(super) steps: Vec<Step>,
    pub(super) inputs: usize,
    /// For each output, the inputs that are read after it is written, as bits: none of them may be
    /// the output.
    pub(super) outputs: Vec<u64>,
    pub(super) constants: Vec<Splat>,
    pub(super) params: Vec<DType>,
    pub(super) temporaries: usize,
    /// Bytes of a temporary.
    pub(super) slot: usize,
    /// The input that is the only output, unchanged.
    pub(super) hands_through: bool,
    cost: usize,
}

/// Both translations of a program, each made when it is first needed.
#[derive(Debug, Default)]
struct Translations {
    stored: OnceLock<Program>,
    wide: OnceLock<Program>,
}

/// The translation of `expr`, made once.
pub(crate) fn program(expr: &Expr) -> &Program {
    let make = || Program::new(expr, level(), false);
    translations(expr).stored.get_or_init(make)
}

/// The translation of `expr` whose outputs stay in their compute types, made once.
pub(crate) fn wide_program(expr: &Expr) -> &Program {
    let make = || Program::new(expr, level(), true);
    translations(expr).wide.get_or_init(make)
}

fn translations(expr: &Expr) -> &Translations {
    static OTHERS: LazyLock<Mutex<HashMap<Expr, &'static Translations>>> =
        LazyLock::new(Mutex::default);
    let slot = expr.compiled().get_or_init(|| Box::new(Translations::default()));
    slot.downcast_ref().unwrap_or_else(|| {
        // Another backend was first in the slot. As many are kept as the user writes programs.
        let mut others = OTHERS.lock();
        *others.entry(expr.clone()).or_insert_with(|| Box::leak(Box::default()))
    })
}

/// A step before its registers are known: what it defines and reads are numbers of instructions, or
/// of outputs.
pub(super) struct Node {
    pub(super) run: Run,
    pub(super) to: Target,
    pub(super) from: SmallVec<[u32; 4]>,
    pub(super) cost: usize,
    /// The arithmetic that the step is, if it is just that.
    pub(super) binary: Option<(BinaryOp, DType)>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Target {
    Value(u32),
    Output(usize),
}

impl Program {
    /// Translates for a level of SIMD; `wide` outputs stay in their compute types.
    pub(crate) fn new(expr: &Expr, level: Level, wide: bool) -> Program {
        let (mut nodes, same) = select_steps(expr, level);
        let homes = place_outputs(expr, level, wide, &same, &mut nodes);
        allocate(expr, &nodes, &homes, wide)
    }

    /// Elements per chunk of parallel work: some 10 µs.
    pub(crate) fn chunk(&self) -> usize {
        (BLOCK * 512 / self.cost).next_multiple_of(BLOCK).max(8 * BLOCK)
    }

    /// Inputs that are read after output `o` is written, as bits.
    pub(crate) fn hazards(&self, o: usize) -> u64 {
        self.outputs[o]
    }

    /// The parameters' values as sixteen lanes, and as integers.
    pub(crate) fn arguments(
        &self,
        values: &[Scalar],
    ) -> (SmallVec<[Splat; 2]>, SmallVec<[u64; 2]>) {
        let splats = self.params.iter().zip(values).map(|(&dtype, &value)| splat(value, dtype));
        (splats.collect(), values.iter().map(|value| value.to_i64() as u64).collect())
    }
}

/// Chooses what to run for each instruction. Values that need no step of their own are the same as
/// another: `same[i]` is the value that instruction `i` stands for.
fn select_steps(expr: &Expr, level: Level) -> (Vec<Node>, Vec<u32>) {
    let instrs = expr.instrs();
    let mut same: Vec<u32> = (0..instrs.len() as u32).collect();
    for (i, instr) in instrs.iter().enumerate() {
        let of = |arg: u32| instrs[arg as usize].dtype.compute();
        let alias = match instr.op {
            Op::Cast => of(instr.args[0]) == instr.dtype.compute(),
            Op::Wrap => convert::wrap(instr.dtype, level).is_none(),
            _ => false,
        };
        if alias {
            same[i] = same[instr.args[0] as usize];
        }
    }
    let mut uses = vec![0; instrs.len()];
    let read = instrs.iter().enumerate().filter(|&(i, _)| same[i] == i as u32);
    read.flat_map(|(_, instr)| instr.args())
        .for_each(|&arg| uses[same[arg as usize] as usize] += 1);
    expr.outputs().iter().for_each(|o| uses[same[o.value as usize] as usize] += 1);
    // Comparisons that only choose between floats of their own type become part of each choice.
    let chooses = |instr: &Instr| {
        let test = instrs[same[instr.args[0] as usize] as usize];
        let fits =
            |test: Instr| instrs[test.args[0] as usize].dtype.compute() == instr.dtype.compute();
        let select = instr.op == Op::Select && instr.dtype.is_float();
        select && matches!(test.op, Op::Compare(_)) && fits(test)
    };
    let mut choices = vec![0; instrs.len()];
    for instr in instrs.iter().filter(|instr| chooses(instr)) {
        choices[same[instr.args[0] as usize] as usize] += 1;
    }

    let mut nodes: Vec<Node> = Vec::new();
    for (i, instr) in instrs.iter().enumerate().filter(|&(i, _)| same[i] == i as u32) {
        let args: SmallVec<[u32; 4]> = instr.args().iter().map(|&a| same[a as usize]).collect();
        let fused = chooses(instr) && uses[args[0] as usize] == choices[args[0] as usize];
        if fused {
            let test = instrs[args[0] as usize];
            let Op::Compare(op) = test.op else { unreachable!("just matched") };
            let run = match instr.dtype.compute() {
                DType::F64 => float::compare_select::<f64>(op, level),
                _ => float::compare_select::<f32>(op, level),
            };
            nodes.retain(|node| node.to != Target::Value(args[0]));
            let compared = test.args().iter().map(|&a| same[a as usize]);
            let from = compared.chain(args[1..].iter().copied()).collect();
            nodes.push(Node { run, to: Target::Value(i as u32), from, cost: 1, binary: None });
        } else if let Some((run, cost)) = step(instrs, instr, level) {
            let from = match instr.op {
                Op::Input(_) => [RAW | i as u32].into_iter().collect(),
                Op::Uniform { seed, stream } => [seed, stream].into_iter().collect(),
                _ => args,
            };
            let binary = match instr.op {
                Op::Binary(op) => Some((op, instr.dtype.compute())),
                _ => None,
            };
            nodes.push(Node { run, to: Target::Value(i as u32), from, cost, binary });
        }
    }
    chain::join(&mut nodes, &uses, level);
    (nodes, same)
}

/// What runs an instruction, and its cost relative to an addition; `None` for values that are in a
/// register before the first step.
fn step(instrs: &[Instr], instr: &Instr, level: Level) -> Option<(Run, usize)> {
    let dtype = instr.dtype.compute();
    let operand = instrs[instr.args[0] as usize].dtype.compute();
    macro_rules! typed {
        ($dtype:expr, $f:ident, $op:expr) => {
            match $dtype {
                DType::F64 => float::$f::<f64>($op, level),
                DType::F32 => float::$f::<f32>($op, level),
                DType::I64 => int::$f::<i64>($op, level),
                DType::I32 => int::$f::<i32>($op, level),
                _ => int::$f::<u8>($op, level),
            }
        };
    }
    Some(match instr.op {
        Op::Param(_) | Op::Const(_) => return None,
        Op::Input(_) => (convert::load(instr.dtype, level)?, 1),
        Op::Unary(UnaryOp::IsNan) => (float::is_nan(operand, level), 1),
        Op::Unary(UnaryOp::IsInf) => (float::is_inf(operand, level), 1),
        Op::Unary(op) => (typed!(dtype, unary, op), unary_cost(op)),
        Op::Binary(op) => (typed!(dtype, binary, op), binary_cost(op)),
        Op::Compare(op) => (typed!(operand, compare, op), 1),
        Op::Select => {
            let run = match dtype {
                DType::F64 => float::select::<f64>(level),
                DType::F32 => float::select::<f32>(level),
                DType::I64 => int::select::<i64>(level),
                DType::I32 => int::select::<i32>(level),
                _ => int::select::<u8>(level),
            };
            (run, 1)
        }
        Op::Cast => {
            (convert::cast(operand, dtype, level).expect("casts of one type are skipped"), 1)
        }
        Op::Wrap => (convert::wrap(instr.dtype, level).expect("wide wraps are skipped"), 1),
        Op::Index => (convert::index(level), 1),
        Op::Uniform { .. } => (convert::uniform(instr.dtype, level), 20),
    })
}

fn unary_cost(op: UnaryOp) -> usize {
    match op {
        UnaryOp::Sqrt => 3,
        UnaryOp::Exp | UnaryOp::Log | UnaryOp::Log2 | UnaryOp::Log10 => 8,
        UnaryOp::Expm1 | UnaryOp::Log1p | UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Tan => 12,
        UnaryOp::Sinh | UnaryOp::Cosh | UnaryOp::Tanh | UnaryOp::Erf => 16,
        UnaryOp::Asin | UnaryOp::Acos | UnaryOp::Atan => 100,
        UnaryOp::Asinh | UnaryOp::Acosh | UnaryOp::Atanh => 100,
        UnaryOp::Erfc | UnaryOp::Erfinv | UnaryOp::Lgamma | UnaryOp::Digamma => 200,
        UnaryOp::I0e | UnaryOp::I1e => 200,
        _ => 1,
    }
}

fn binary_cost(op: BinaryOp) -> usize {
    match op {
        BinaryOp::Div => 3,
        BinaryOp::Rem | BinaryOp::Pow | BinaryOp::Atan2 | BinaryOp::Gcd => 100,
        BinaryOp::Zeta => 1000,
        _ => 1,
    }
}

/// Decides which values are computed in the outputs' own memory, and stores the others there at the
/// end. `homes[v]` is the output that value `v` is computed in.
fn place_outputs(
    expr: &Expr,
    level: Level,
    wide: bool,
    same: &[u32],
    nodes: &mut Vec<Node>,
) -> HashMap<u32, usize> {
    let mut homes = HashMap::new();
    for (o, output) in expr.outputs().iter().enumerate() {
        let value = same[output.value as usize];
        let computed = nodes.iter().any(|node| node.to == Target::Value(value));
        let exact = output.dtype.compute() == output.dtype || (wide && output.dtype.is_float());
        if computed && exact && !homes.contains_key(&value) {
            homes.insert(value, o);
            continue;
        }
        // An input that goes out as it came in is copied, narrow or not.
        let instr = expr.instrs()[value as usize];
        let narrow = output.dtype.compute() != output.dtype;
        let unchanged =
            matches!(instr.op, Op::Input(_)) && instr.dtype == output.dtype && !(wide && narrow);
        let run = if unchanged {
            convert::copy(output.dtype.size(), level)
        } else if wide {
            // A store would have wrapped.
            convert::wrap(output.dtype, level)
                .unwrap_or_else(|| convert::store(output.dtype.compute(), level))
        } else {
            convert::store(output.dtype, level)
        };
        let from = [if unchanged { RAW | value } else { value }].into_iter().collect();
        nodes.push(Node { run, to: Target::Output(o), from, cost: 1, binary: None });
    }
    // A load that only such copies used is not needed.
    let read: Vec<u32> = nodes.iter().flat_map(|node| node.from.iter().copied()).collect();
    nodes.retain(|node| match node.to {
        Target::Value(v) => {
            !node.from.contains(&(RAW | v)) || read.contains(&v) || homes.contains_key(&v)
        }
        Target::Output(_) => true,
    });
    homes
}

/// Marks the number of an input instruction as its register before the load.
const RAW: u32 = 1 << 31;

/// Gives every value a register.
fn allocate(expr: &Expr, nodes: &[Node], homes: &HashMap<u32, usize>, wide: bool) -> Program {
    let stored = |dtype: DType| if wide { dtype.compute() } else { dtype };
    let instrs = expr.instrs();
    let (inputs, outputs) = (expr.inputs().len(), expr.outputs().len());
    let loaded = |v: u32| nodes.iter().any(|node| node.to == Target::Value(v));
    let mut constants: Vec<Splat> = Vec::new();
    let mut registers: HashMap<u32, usize> = HashMap::new();
    let first_param =
        inputs + outputs + instrs.iter().filter(|i| matches!(i.op, Op::Const(_))).count();
    for (i, instr) in instrs.iter().enumerate() {
        let register = match instr.op {
            Op::Input(input) => {
                registers.insert(RAW | i as u32, input as usize);
                if loaded(i as u32) {
                    continue;
                }
                input as usize
            }
            Op::Const(bits) => {
                constants.push(splat(constant(bits, instr.dtype), instr.dtype));
                inputs + outputs + constants.len() - 1
            }
            Op::Param(param) => first_param + param as usize,
            _ => continue,
        };
        registers.insert(i as u32, register);
    }
    let first_temporary = first_param + expr.params().len();
    let mut last_use: HashMap<u32, usize> = HashMap::new();
    let uniform = |node: &Node| match node.to {
        Target::Value(v) => matches!(instrs[v as usize].op, Op::Uniform { .. }),
        Target::Output(_) => false,
    };
    let sources = |node: &Node| if uniform(node) { SmallVec::new() } else { node.from.clone() };
    for (at, node) in nodes.iter().enumerate() {
        sources(node).iter().for_each(|&v| {
            last_use.insert(v, at);
        });
    }
    let (mut free, mut temporaries): (Vec<usize>, usize) = (Vec::new(), 0);
    let mut steps: Vec<Step> = Vec::new();
    let mut written: Vec<usize> = vec![0; outputs];
    let mut cost = inputs + outputs;
    for (at, node) in nodes.iter().enumerate() {
        cost += node.cost;
        let mut from = [u16::MAX; 4];
        let read = sources(node);
        for (slot, &v) in from.iter_mut().zip(&read) {
            *slot = registers[&v] as u16;
        }
        if uniform(node) {
            from[..2].copy_from_slice(&[node.from[0] as u16, node.from[1] as u16]);
        }
        let to = match node.to {
            Target::Output(o) => {
                written[o] = at;
                inputs + o
            }
            Target::Value(v) => {
                let register = match homes.get(&v) {
                    Some(&o) => {
                        written[o] = at;
                        inputs + o
                    }
                    None => free.pop().unwrap_or_else(|| {
                        temporaries += 1;
                        first_temporary + temporaries - 1
                    }),
                };
                registers.insert(v, register);
                register
            }
        };
        // Freed after the result has its register: types of different sizes must not share one.
        for (k, v) in read.iter().enumerate() {
            let register = registers[v];
            if register >= first_temporary && last_use[v] == at && !read[..k].contains(v) {
                free.push(register);
            }
        }
        steps.push(Step { run: node.run, to: to as u16, from });
    }
    assert!(first_temporary + temporaries <= usize::from(u16::MAX), "a program this large");
    let hazards = |o: usize| {
        let after = steps.iter().skip(written[o] + 1).flat_map(|step| step.from);
        after.filter(|&r| usize::from(r) < inputs.min(64)).fold(0u64, |bits, r| bits | 1 << r)
    };
    Program {
        inputs,
        outputs: (0..outputs).map(hazards).collect(),
        constants,
        params: expr.params().to_vec(),
        temporaries,
        slot: BLOCK * instrs.iter().map(|i| i.dtype.compute().size()).max().unwrap_or(1).max(4),
        hands_through: expr.is_identity() && stored(expr.inputs()[0]) == expr.inputs()[0],
        cost,
        steps,
    }
}

fn constant(bits: u64, dtype: DType) -> Scalar {
    match dtype {
        DType::Bool => Scalar::Bool(bits != 0),
        d if d.is_float() => Scalar::F64(f64::from_bits(bits)),
        _ => Scalar::I64(bits as i64),
    }
}

/// Sixteen lanes of the compute type of `dtype`, holding a number as `dtype` does.
fn splat(value: Scalar, dtype: DType) -> Splat {
    fn lanes<T: bytemuck::Pod>(x: T) -> Splat {
        let mut out = [0; GROUP];
        bytemuck::cast_slice_mut::<u64, T>(&mut out)[..GROUP].fill(x);
        out
    }
    let whole = match value {
        // Floats saturate at the compute type before they wrap.
        Scalar::F64(v) if dtype != DType::I64 => i64::from(v as i32),
        other => other.to_i64(),
    };
    match dtype {
        DType::F64 => lanes(value.to_f64()),
        DType::F32 | DType::F16 | DType::BF16 => lanes(value.to_f64() as f32),
        DType::I64 => lanes(whole),
        DType::I32 => lanes(whole as i32),
        DType::I16 => lanes(i32::from(whole as i16)),
        DType::I8 => lanes(i32::from(whole as i8)),
        DType::U8 => lanes(i32::from(whole as u8)),
        DType::Bool => lanes(u8::from(value.to_bool())),
    }
}
