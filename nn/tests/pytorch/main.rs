//! Every layer and loss gives PyTorch's outputs, gradients and statistics, in f64, and prints alike.

mod functions;
mod images;
mod kinks;
mod layers;
mod losses;
mod sequences;

use std::collections::BTreeMap;
use std::io::Read;

use kiln_autograd::{Autograd, Backward};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_nn::*;
use kiln_tensor_core::{DType, Tensor, manual_seed};
use serde_json::Value;

type B = Autograd<Cpu>;

/// One of the tables that `make.py` has written.
fn table(name: &str) -> Value {
    let path = format!("{}/tests/reference/{name}.json.gz", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The k-th tensor of a case.
fn fill(shape: &[usize], k: usize) -> Tensor<B> {
    filled(shape, k, |value| value / 40.0)
}

/// Like `fill`, between 0 and 1.
fn unit(shape: &[usize], k: usize) -> Tensor<B> {
    filled(shape, k, |value| (value + 51.0) / 103.0)
}

fn filled(shape: &[usize], k: usize, scale: impl Fn(f64) -> f64) -> Tensor<B> {
    let value = |i: usize| scale(((37 * i + 11 * k + 5) % 101) as f64 - 50.0);
    let data: Vec<f64> = (0..shape.iter().product()).map(value).collect();
    Tensor::from_slice(&data, shape, &CpuDevice)
}

fn sizes(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

/// An input as `make_input` makes it.
fn input(spec: &Value, k: usize) -> Tensor<B> {
    if spec.is_array() {
        return fill(&sizes(spec), k).requires_grad_(true);
    }
    if spec["unit"].is_array() {
        return unit(&sizes(&spec["unit"]), k).requires_grad_(k == 0);
    }
    let (shape, below) = (sizes(&spec["shape"]), spec["below"].as_i64().unwrap());
    let count = shape.iter().product::<usize>() as i64;
    let data: Vec<i64> = (0..count).map(|i| (7 * i + 3) % below).collect();
    Tensor::from_slice(&data, shape, &CpuDevice)
}

/// Notes what differs by more than 1e-10, relative above 1: sums are added up in another order.
fn compare(ours: &Tensor<B>, theirs: &Value, what: &str, wrong: &mut Vec<String>) {
    // These have constants that PyTorch rounds to f32.
    let rounded = what.starts_with("CELU") || what.starts_with("Hardsigmoid");
    let tolerance = if rounded { 1e-7 } else { 1e-10 };
    if ours.dims() != sizes(&theirs["shape"]) {
        return wrong.push(format!("{what}: {:?}, PyTorch has {}", ours.dims(), theirs["shape"]));
    }
    let ours = ours.detach().to_dtype(DType::F64).to_vec::<f64>();
    let theirs = theirs["data"].as_array().unwrap().iter().map(|b| b.as_f64().unwrap());
    let far = |(a, b): (f64, f64)| (a - b).abs() > tolerance * b.abs().max(1.0) || a.is_nan();
    if let Some((i, (a, b))) = ours.into_iter().zip(theirs).enumerate().find(|(_, pair)| far(*pair))
    {
        wrong.push(format!("{what}[{i}]: {a}, PyTorch has {b}"));
    }
}

/// The gradient; zeros if there is none.
fn grad(x: &Tensor<B>) -> Tensor<B> {
    x.grad().unwrap_or_else(|| Tensor::zeros(x.dims(), (&CpuDevice, x.dtype())))
}

/// A layer or loss, and how it is called.
struct Case<M> {
    module: M,
    run: fn(&M, &[Tensor<B>]) -> Tensor<B>,
}

trait Run {
    fn module(&self) -> &dyn Module<Backend = B>;
    fn run(&self, inputs: &[Tensor<B>]) -> Tensor<B>;
}

impl<M: Module<Backend = B>> Run for Case<M> {
    fn module(&self) -> &dyn Module<Backend = B> {
        self.module.as_dyn()
    }
    fn run(&self, inputs: &[Tensor<B>]) -> Tensor<B> {
        (self.run)(&self.module, inputs)
    }
}

type Cases = BTreeMap<&'static str, Box<dyn Run>>;

/// Rows `text that makes it in PyTorch => what makes it here`, called as `|module, inputs| …`.
macro_rules! cases {
    (|$m:ident, $x:ident| $run:expr; $($name:literal => $module:expr;)*) => {
        [$(($name, Box::new(Case { module: $module, run: |$m, $x| $run }) as Box<dyn Run>)),*]
    };
}
use cases;

/// What differs from a row of the table.
fn check(case: &dyn Run, row: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let (module, name) = (case.module(), row["name"].as_str().unwrap());
    let printed = module.to_string();
    // A parametrized layer prints as itself here.
    if printed != row["repr"].as_str().unwrap() && !name.starts_with("utils.") {
        wrong.push(format!("{name} prints as {printed}, in PyTorch as {}", row["repr"]));
    }
    let params = module.named_parameters();
    for (k, (_, param)) in params.iter().enumerate() {
        param.tensor().detach().copy_(&fill(&param.shape(), k + 10));
    }
    for (k, (path, buffer)) in module.named_buffers().iter().enumerate() {
        if path.ends_with("._u") || path.ends_with("._v") {
            let start = fill(&buffer.shape(), k + 70);
            buffer.set(&start / start.norm());
        }
    }
    let specs = row["inputs"].as_array().unwrap();
    let inputs: Vec<_> = specs.iter().enumerate().map(|(k, spec)| input(spec, k)).collect();
    let y = case.run(&inputs);
    compare(&y, &row["output"], &format!("{name}: output"), &mut wrong);
    if y.requires_grad() {
        (&y * fill(y.dims(), 50)).sum().backward();
    }
    for (k, x) in inputs.iter().enumerate().filter(|(_, x)| x.requires_grad()) {
        compare(&grad(x), &row["grads"][k], &format!("{name}: gradient {k}"), &mut wrong);
    }
    for (path, param) in &params {
        let what = format!("{name}: gradient of {path}");
        compare(&grad(&param.tensor()), &row["params"][path], &what, &mut wrong);
    }
    let buffers = module.named_buffers();
    for (path, buffer) in &buffers {
        let what = format!("{name}: {path}");
        compare(&buffer.tensor(), &row["buffers"][path], &what, &mut wrong);
    }
    let counts = [params.len(), buffers.len()];
    let theirs = ["params", "buffers"].map(|kind| row[kind].as_object().unwrap().len());
    if counts != theirs {
        wrong.push(format!("{name}: {counts:?} parameters and buffers, PyTorch has {theirs:?}"));
    }
    if !buffers.is_empty() {
        module.eval();
        let what = format!("{name}: output of eval()");
        compare(&case.run(&inputs), &row["eval"], &what, &mut wrong);
    }
    wrong
}

#[test]
fn layers_and_losses_compute_what_pytorchs_do() {
    let families = [
        layers::layers,
        images::images,
        images::bags,
        images::bilinear,
        images::fractional,
        functions::functions,
        images::adaptive_softmax,
        losses::losses,
        losses::more_losses,
        sequences::recurrent,
        sequences::attention,
        sequences::transformers,
    ];
    let mut cases: Cases = families.iter().flat_map(|family| family()).collect();
    let mut wrong = Vec::new();
    for row in table("layers").as_array().unwrap() {
        let name = row["name"].as_str().unwrap();
        match cases.remove(name) {
            Some(case) => wrong.extend(check(&*case, row)),
            None => wrong.push(format!("{name} is not in the list")),
        }
    }
    wrong.extend(cases.keys().map(|name| format!("{name} is not in the table")));
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Notes where the spread of new values is not PyTorch's, as far as their number tells: five standard
/// errors of the mean and the standard deviation, and the bound of uniform numbers.
fn compare_spread(ours: &Tensor<B>, theirs: &Value, name: &str, wrong: &mut Vec<String>) {
    let values = ours.detach().to_dtype(DType::F64).to_vec::<f64>();
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let std = (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
    let largest = values.iter().fold(0f64, |largest, x| largest.max(x.abs()));
    let [mean2, std2, largest2] = [0, 1, 2].map(|i| theirs[i].as_f64().unwrap());
    let error = 5.0 * std2 / count.sqrt() + 1e-7;
    let normal = name.contains("normal") || name.starts_with("Embedding") || name.contains("bias_");
    let bounded = normal || (largest - largest2).abs() <= largest2 * 20.0 / count + 1e-7;
    if (mean - mean2).abs() > error || (std - std2).abs() > error || !bounded {
        wrong.push(format!("{name}: {:?}, PyTorch has {theirs}", [mean, std, largest]));
    }
}

/// One test, because there is one generator.
#[test]
fn new_parameters_spread_as_pytorchs_do() {
    manual_seed(0);
    let mut wrong = Vec::new();
    layers_start(&mut wrong);
    initialisers_spread(&mut wrong);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn layers_start(wrong: &mut Vec<String>) {
    let options = &CpuDevice;
    let mut layers: BTreeMap<_, Box<dyn Module<Backend = B>>> = BTreeMap::new();
    layers.insert("Linear(300, 400)", Box::new(Linear::new(300, 400, options)));
    layers.insert("Conv1d(30, 60, 7)", Box::new(Conv1d::new(30, 60, 7, options)));
    layers.insert(
        "Conv2d(20, 60, (3, 5), groups=4)",
        Box::new(Conv2d::new(20, 60, [3, 5], options).groups(4)),
    );
    layers.insert("Conv3d(8, 50, 3)", Box::new(Conv3d::new(8, 50, 3, options)));
    layers.insert("Bilinear(20, 30, 40)", Box::new(Bilinear::new(20, 30, 40, options)));
    layers.insert("Embedding(200, 90)", Box::new(Embedding::new(200, 90, options)));
    layers.insert("BatchNorm2d(7)", Box::new(BatchNorm2d::new(7, options)));
    layers.insert("LayerNorm(9)", Box::new(LayerNorm::new([9], options)));
    layers.insert(
        "ConvTranspose2d(20, 60, (3, 5), groups=4)",
        Box::new(ConvTranspose2d::new(20, 60, [3, 5], options).groups(4)),
    );
    layers.insert("EmbeddingBag(200, 90)", Box::new(EmbeddingBag::new(200, 90, options)));
    layers.insert("LSTM(60, 80)", Box::new(LSTM::new(60, 80, options)));
    layers.insert("GRUCell(60, 80)", Box::new(GRUCell::new(60, 80, options)));
    let heads = MultiheadAttention::new(120, 4, options).add_bias_kv(true);
    layers.insert("MultiheadAttention(120, 4, add_bias_kv=True)", Box::new(heads));
    let sizes = TransformerOptions::new(60, 4).dim_feedforward(100);
    let transformer = Transformer::new(&sizes, 1, 1, options);
    layers.insert("Transformer(60, 4, 1, 1, 100)", Box::new(transformer));
    layers.insert("PReLU(5)", Box::new(PReLU::new(options).num_parameters(5)));
    let table = table("init");
    let rows = table["layers"].as_array().unwrap();
    assert_eq!(rows.len(), layers.len());
    for row in rows {
        let name = row["name"].as_str().unwrap();
        for (path, param) in layers[name].named_parameters() {
            let what = format!("{name}: {path}");
            compare_spread(&param.tensor(), &row["params"][&path], &what, wrong);
        }
    }
}

fn initialisers_spread(wrong: &mut Vec<String>) {
    use init::{FanMode::*, Nonlinearity::*, *};
    let functions: BTreeMap<_, fn(&Tensor<B>)> = BTreeMap::from([
        ("uniform_(-0.5, 1.5)", (|w| uniform_(w, -0.5, 1.5)) as fn(&Tensor<B>)),
        ("normal_(0.5, 2.0)", |w| normal_(w, 0.5, 2.0)),
        ("constant_(0.3)", |w| constant_(w, 0.3)),
        ("ones_()", |w| ones_(w)),
        ("zeros_()", |w| zeros_(w)),
        ("xavier_uniform_()", |w| xavier_uniform_(w, 1.0)),
        ("xavier_uniform_(gain=2.0)", |w| xavier_uniform_(w, 2.0)),
        ("xavier_normal_()", |w| xavier_normal_(w, 1.0)),
        ("kaiming_uniform_()", |w| kaiming_uniform_(w, 0.0, FanIn, LeakyRelu)),
        ("kaiming_uniform_(a=0.5, mode='fan_out')", |w| {
            kaiming_uniform_(w, 0.5, FanOut, LeakyRelu);
        }),
        ("kaiming_uniform_(nonlinearity='relu')", |w| kaiming_uniform_(w, 0.0, FanIn, Relu)),
        ("kaiming_normal_()", |w| kaiming_normal_(w, 0.0, FanIn, LeakyRelu)),
        ("kaiming_normal_(mode='fan_out', nonlinearity='tanh')", |w| {
            kaiming_normal_(w, 0.0, FanOut, Tanh);
        }),
    ]);
    let table = table("init");
    let rows = table["functions"].as_array().unwrap();
    assert_eq!(rows.len(), functions.len());
    for row in rows {
        let name = row["name"].as_str().unwrap();
        let weight = Tensor::zeros([60, 40, 5], &CpuDevice);
        functions[name](&weight);
        compare_spread(&weight, &row["spread"], name, wrong);
    }
}
