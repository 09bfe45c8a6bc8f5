//! A table of a model's modules: shapes, parameters, operations, memory.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use kiln_autograd::no_grad;
use kiln_tensor_core::{Backend, Shape, Tensor};
use parking_lot::Mutex;

use crate::module_ext::{Contents, DynModule, identity};
use crate::{Forward, HookHandle, Hooks, Module, ModuleExt};

/// Calls `model` with `input`, in evaluation mode and without recording, and lists its modules.
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::{Linear, ReLU, Sequential, summary};
/// use kiln_tensor_core::Tensor;
///
/// let device = CpuDevice;
/// let layers = (Linear::new(64, 32, &device), ReLU::new(), Linear::new(32, 10, &device));
/// let model = Sequential::<Cpu>::new(layers);
/// let found = summary(&model, &Tensor::zeros([5, 64], &device));
/// assert_eq!(found.parameters, 64 * 32 + 32 + 32 * 10 + 10);
/// assert_eq!(found.flops, 2 * 5 * (64 * 32 + 32 * 10));
/// println!("{found}");
/// # assert!(found.to_string().contains("  0: Linear  "));
/// ```
///
/// # Panics
/// Where the model does.
#[track_caller]
pub fn summary<M: Forward>(model: &M, input: &Tensor<M::Backend>) -> Summary {
    let mut found = summary_of(model, || model.call(input));
    found.input_bytes = bytes(input);
    // A struct without hooks is seen here alone.
    let root = &mut found.rows[0];
    if root.input.is_none() {
        root.input = Some(input.shape().clone());
    }
    found
}

/// Runs `call`, which calls `model` (one of several inputs, say), in evaluation mode and without recording,
/// and lists the modules. The inputs' memory is not known.
///
/// # Panics
/// Where `call` does.
#[track_caller]
pub fn summary_of<M: Module>(model: &M, call: impl FnOnce() -> Tensor<M::Backend>) -> Summary {
    let mut found = Summary::default();
    let mut firsts = HashMap::new();
    let mut params = HashSet::new();
    let mut hooked = Vec::new();
    list(model.as_dyn(), "", 0, &mut |path, depth, module, contents| {
        let shared = firsts.get(&identity(module)).copied();
        firsts.entry(identity(module)).or_insert(found.rows.len());
        let mut row = SummaryRow::new(path, depth, module.type_name());
        row.shared = shared.is_some();
        row.leaf = contents.children.is_empty();
        for (_, param) in &contents.params {
            if params.insert(param.id()) {
                row.parameters += param.numel();
                found.trainable += if param.requires_grad() { param.numel() } else { 0 };
                found.parameter_bytes += bytes(&param.tensor());
            }
        }
        found.parameters += row.parameters;
        if !row.shared {
            hooked.extend(module.hooks().map(|hooks| (found.rows.len(), hooks)));
        }
        found.rows.push(row);
    });
    found.buffer_bytes = model.buffers().iter().map(|buffer| bytes(&buffer.tensor())).sum();

    let calls = Arc::new(Mutex::new(Vec::new()));
    let watch = Watch::new(model.as_dyn(), hooked, &calls);
    let output = no_grad(call);
    drop(watch);
    for call in calls.lock().drain(..) {
        found.add(call);
    }
    let root = &mut found.rows[0];
    if root.calls == 0 {
        root.calls = 1;
        root.output = Some(output.shape().clone());
    }
    found
}

/// What [`summary`] finds. Prints as a table.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Summary {
    /// The model, then each module inside after the one that contains it.
    pub rows: Vec<SummaryRow>,
    /// The number of parameters' elements; a parameter that several modules share counts once.
    pub parameters: usize,
    /// How many of them are trained.
    pub trainable: usize,
    /// Multiplications, additions and comparisons of all calls of the layers that tell theirs
    /// ([`Module::flops`]): products, convolutions, pooling and normalisation, but not activations. A
    /// product with the sum that it goes into counts as two.
    pub flops: u64,
    /// The memory of the input.
    pub input_bytes: usize,
    /// The memory of all parameters.
    pub parameter_bytes: usize,
    /// The memory of all buffers.
    pub buffer_bytes: usize,
    /// The memory of what the innermost modules give, all calls together: about what training keeps
    /// for its backward pass.
    pub output_bytes: usize,
}

/// A module in a [`Summary`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SummaryRow {
    /// Its path, empty for the model itself.
    pub path: String,
    /// Its type.
    pub type_name: &'static str,
    /// How many modules it is inside of.
    pub depth: usize,
    /// Whether it is an earlier row's module under another path. Calls are counted there.
    pub shared: bool,
    /// The shape of the input in the last call. Modules are seen through their [`Hooks`]; `None` for
    /// one that has none or was not called through [`Forward::call`].
    pub input: Option<Shape>,
    /// The shape of the output in the last call.
    pub output: Option<Shape>,
    /// The number of elements of its own parameters, without those of modules inside and those that an
    /// earlier row has counted.
    pub parameters: usize,
    /// The operations of all its calls, without those of modules inside; `None` where it does not tell.
    pub flops: Option<u64>,
    /// How often it was called.
    pub calls: usize,
    leaf: bool,
}

impl SummaryRow {
    fn new(path: &str, depth: usize, type_name: &'static str) -> Self {
        SummaryRow {
            path: path.into(),
            type_name,
            depth,
            shared: false,
            input: None,
            output: None,
            parameters: 0,
            flops: None,
            calls: 0,
            leaf: false,
        }
    }
}

/// A call that a hook has seen.
struct Call {
    row: usize,
    input: Shape,
    output: Shape,
    flops: Option<u64>,
    bytes: usize,
}

impl Summary {
    fn add(&mut self, call: Call) {
        let row = &mut self.rows[call.row];
        row.calls += 1;
        if let Some(flops) = call.flops {
            row.flops = Some(row.flops.unwrap_or(0) + flops);
            self.flops += flops;
        }
        if row.leaf {
            self.output_bytes += call.bytes;
        }
        (row.input, row.output) = (Some(call.input), Some(call.output));
    }
}

/// Modules that are watched and evaluated; as they were when it is dropped, on a panic too.
struct Watch<'a, B: Backend> {
    training: Vec<&'a Hooks<B>>,
    handles: Vec<HookHandle>,
}

impl<'a, B: Backend> Watch<'a, B> {
    fn new(
        model: &'a DynModule<B>,
        hooked: Vec<(usize, &'a Hooks<B>)>,
        calls: &Arc<Mutex<Vec<Call>>>,
    ) -> Self {
        let training = hooked.iter().map(|(_, hooks)| *hooks).filter(|hooks| hooks.training());
        let training = training.collect();
        model.eval();
        let handles = hooked.into_iter().map(|(row, hooks)| {
            let calls = calls.clone();
            hooks.add_post(Arc::new(move |module, x, y| {
                let (input, output) = (x.shape().clone(), y.shape().clone());
                let flops = module.flops(&input, &output);
                calls.lock().push(Call { row, input, output, flops, bytes: bytes(y) });
                None
            }))
        });
        Watch { training, handles: handles.collect() }
    }
}

impl<B: Backend> Drop for Watch<'_, B> {
    fn drop(&mut self) {
        self.handles.drain(..).for_each(HookHandle::remove);
        self.training.iter().for_each(|hooks| hooks.set_training(true));
    }
}

type See<'a, 'f, B> = dyn FnMut(&str, usize, &'a DynModule<B>, &Contents<'a, B>) + 'f;

/// Shows every module under a path, the outer ones first.
fn list<'a, B: Backend>(
    module: &'a DynModule<B>,
    path: &str,
    depth: usize,
    f: &mut See<'a, '_, B>,
) {
    let contents = Contents::of(module);
    f(path, depth, module, &contents);
    for (name, child) in contents.children {
        let path = if path.is_empty() { name } else { format!("{path}.{name}") };
        list(child, &path, depth + 1, f);
    }
}

fn bytes<B: Backend>(x: &Tensor<B>) -> usize {
    x.numel() * x.dtype().size()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["Layer", "Output shape", "Parameters", "FLOPs"].map(String::from);
        let table: Vec<[String; 4]> =
            std::iter::once(head).chain(self.rows.iter().map(cells)).collect();
        let width = |i: usize| table.iter().map(|row| row[i].chars().count()).max().unwrap_or(0);
        let [a, b, c, d] = [0, 1, 2, 3].map(width);
        let rule = "─".repeat(a + b + c + d + 6);
        writeln!(f, "{rule}")?;
        for (i, [layer, shape, params, flops]) in table.iter().enumerate() {
            writeln!(f, "{layer:a$}  {shape:b$}  {params:>c$}  {flops:>d$}")?;
            if i == 0 {
                writeln!(f, "{rule}")?;
            }
        }
        writeln!(f, "{rule}")?;
        let frozen = self.parameters - self.trainable;
        writeln!(
            f,
            "parameters: {}, of which {} are trained and {} are not",
            grouped(self.parameters as u64),
            grouped(self.trainable as u64),
            grouped(frozen as u64)
        )?;
        writeln!(f, "FLOPs: {} (a multiply-add is two)", grouped(self.flops))?;
        let state = self.parameter_bytes + self.buffer_bytes;
        let [input, state, outputs] = [self.input_bytes, state, self.output_bytes].map(megabytes);
        write!(f, "memory: input {input}, parameters and buffers {state}, outputs {outputs}")
    }
}

/// `--` stands for what is not known or not there, as in torchinfo.
fn cells(row: &SummaryRow) -> [String; 4] {
    let name = row.path.rsplit('.').next().filter(|name| !name.is_empty());
    let name =
        name.map_or_else(|| row.type_name.into(), |name| format!("{name}: {}", row.type_name));
    let times = if row.calls > 1 { format!(" ×{}", row.calls) } else { String::new() };
    let none = || "--".to_string();
    let parameters = match row.parameters {
        _ if row.shared => "(shared)".into(),
        0 => none(),
        count => grouped(count as u64),
    };
    [
        format!("{}{name}{times}", "  ".repeat(row.depth)),
        row.output.as_ref().map_or_else(none, ToString::to_string),
        parameters,
        row.flops.map_or_else(none, grouped),
    ]
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let lead = (digits.len() + 2) % 3 + 1;
    let (first, rest) = digits.split_at(lead);
    rest.as_bytes()
        .chunks(3)
        .fold(first.into(), |text: String, group| text + "," + &String::from_utf8_lossy(group))
}

fn megabytes(bytes: usize) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}
