//! The derive, and what follows from its visitor.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use kiln_autograd::{Autograd, Backward};
use kiln_conformance::{Reference, ReferenceDevice};
use kiln_nn::{
    Buffer, Forward, Hooks, Linear, Module, ModuleExt, Param, parameters_to_vector,
    vector_to_parameters,
};
use kiln_tensor_core::{Backend, DType, Error, Tensor, catch};
use parking_lot::Mutex;

type Ad = Autograd<Reference>;
type T = Tensor<Ad>;

fn vec(data: &[f32]) -> T {
    Tensor::from_slice(data, data.len(), &ReferenceDevice)
}

/// A generic author's module, with every kind of field.
#[derive(Module)]
#[module(extra_repr = Self::describe)]
struct Block<B: Backend> {
    width: usize,
    name: String,
    fc: Linear<B>,
    scale: Param<B>,
    shortcut: Option<Linear<B>>,
    layers: Vec<Linear<B>>,
    pair: [Linear<B>; 2],
    any: Box<dyn Forward<Backend = B>>,
    mean: Buffer<B>,
    scratch: Buffer<B>,
    plain: Tensor<B>,
    #[module(skip)]
    cache: std::collections::HashMap<String, Linear<B>>,
    #[module(rename = "self_attn")]
    attention: Linear<B>,
    hooks: Hooks<B>,
}

impl<B: Backend> Block<B> {
    fn new(device: &B::Device) -> Self {
        let linear = |i, o| Linear::new(i, o, device).bias(false);
        let zeros = |n: usize| Tensor::zeros([n], device);
        Block {
            width: 3,
            name: "block".into(),
            fc: Linear::new(2, 3, device),
            scale: Param::new(zeros(3)),
            shortcut: None,
            layers: vec![linear(3, 3), linear(3, 5)],
            pair: [linear(1, 1), linear(1, 2)],
            any: Box::new(linear(5, 7)),
            mean: Buffer::new(zeros(3)),
            scratch: Buffer::new(zeros(1)).persistent(false),
            plain: zeros(2),
            cache: [("x".to_string(), linear(1, 1))].into(),
            attention: linear(7, 1),
            hooks: Hooks::new(),
        }
    }

    fn describe(&self) -> String {
        format!("width={}", self.width)
    }
}

impl<B: Backend> Forward for Block<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        &self.fc.call(x) * &self.scale.tensor()
    }
}

/// A beginner's module: no type parameter, the backend comes from the first field that has one.
#[derive(Module)]
struct Net {
    widths: Vec<usize>,
    block: Block<Ad>,
    head: Linear<Ad>,
}

fn net() -> Net {
    Net {
        widths: vec![2, 3],
        block: Block::new(&ReferenceDevice),
        head: Linear::new(3, 4, &ReferenceDevice),
    }
}

#[test]
fn parameters_buffers_and_modules_by_path() {
    let net = net();
    assert_eq!(net.widths.len() + net.block.name.len() + net.block.cache.len(), 8);
    let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
    let expected = [
        "block.scale",
        "block.fc.weight",
        "block.fc.bias",
        "block.layers.0.weight",
        "block.layers.1.weight",
        "block.pair.0.weight",
        "block.pair.1.weight",
        "block.any.weight",
        "block.self_attn.weight",
        "head.weight",
        "head.bias",
    ];
    assert_eq!(names, expected);
    let buffers: Vec<String> = net.named_buffers().into_iter().map(|(name, _)| name).collect();
    assert_eq!(buffers, ["block.mean", "block.scratch"]);
    let modules: Vec<String> = net.named_modules().into_iter().map(|(name, _)| name).collect();
    assert_eq!(modules[..3], ["", "block", "block.fc"]);
    assert_eq!(modules.len(), 10);
    assert_eq!(net.children().len(), 2);
    assert_eq!(*net.get_parameter("block.fc.weight").tensor().shape(), [3, 2]);
    assert_eq!(*net.get_buffer("block.mean").shape(), [3]);
    assert!(net.get_submodule("block.any").is::<Linear<Ad>>());
    assert_eq!(net.numel(), 3 + 9 + 9 + 15 + 1 + 2 + 35 + 7 + 16);
    let Err(Error::Argument { why, .. }) = catch(|| net.get_parameter("head.wait")) else {
        panic!("a wrong path is an error")
    };
    assert!(why.contains("head.wait") && why.contains("head.weight"), "{why}");
}

#[test]
fn the_same_module_on_a_plain_backend() {
    let block = Block::<Reference>::new(&ReferenceDevice);
    assert!(!block.fc.weight.tensor().requires_grad());
    assert_eq!(*block.call(&Tensor::ones([4, 2], &ReferenceDevice)).shape(), [4, 3]);
    assert_eq!(block.numel(), 81);
}

#[test]
fn tied_weights_count_once_but_are_saved_on_each_path() {
    #[derive(Module)]
    struct Tied {
        encoder: Linear<Ad>,
        decoder: Linear<Ad>,
    }
    let encoder = Linear::<Ad>::new(3, 3, &ReferenceDevice).bias(false);
    let mut decoder = Linear::new(3, 3, &ReferenceDevice).bias(false);
    decoder.weight = encoder.weight.clone();
    let tied = Tied { encoder, decoder };
    assert_eq!(tied.parameters().len(), 1);
    assert_eq!(tied.numel(), 9);
    assert_eq!(tied.state_dict().len(), 2);
}

#[test]
fn prints_as_pytorch_does() {
    #[rustfmt::skip]
    let expected = "\
Net(
  (block): Block(
    width=3
    (fc): Linear(in_features=2, out_features=3, bias=True)
    (layers.0): Linear(in_features=3, out_features=3, bias=False)
    (layers.1): Linear(in_features=3, out_features=5, bias=False)
    (pair.0): Linear(in_features=1, out_features=1, bias=False)
    (pair.1): Linear(in_features=1, out_features=2, bias=False)
    (any): Linear(in_features=5, out_features=7, bias=False)
    (self_attn): Linear(in_features=7, out_features=1, bias=False)
  )
  (head): Linear(in_features=3, out_features=4, bias=True)
)";
    assert_eq!(net().to_string(), expected);
}

#[test]
fn freezing_and_zeroing() {
    let net = net();
    let x = Tensor::ones([5, 2], &ReferenceDevice);
    net.block.requires_grad_(false);
    assert_eq!(net.numel(), 16);
    assert!(!net.block.call(&x).requires_grad());
    net.block.requires_grad_(true);
    net.head.call(&net.block.call(&x)).sum().backward();
    assert!(net.head.weight.grad().is_some() && net.block.scale.grad().is_some());
    net.zero_grad();
    assert!(net.parameters().iter().all(|param| param.grad().is_none()));
}

#[test]
fn training_mode_reaches_every_module() {
    let net = net();
    assert!(net.training() && net.block.training());
    net.eval();
    assert!(!net.training() && !net.block.training() && !net.head.training());
    net.block.train();
    assert!(net.block.fc.training() && !net.head.training());
}

#[test]
fn apply_goes_from_the_inside_out() {
    let mut seen = Vec::new();
    net().apply(|module| seen.push(module.type_name()));
    assert_eq!(seen.len(), 10);
    assert_eq!(seen[7..], ["Block", "Linear", "Net"]);
}

#[test]
fn conversion_is_in_place_and_handles_see_it() {
    let net = net();
    let held = net.head.weight.clone();
    net.call_sum().backward();
    net.to_dtype(DType::F64).to(&ReferenceDevice);
    assert_eq!(held.dtype(), DType::F64);
    assert!(held.requires_grad() && held.tensor().requires_grad());
    assert_eq!(held.grad().unwrap().dtype(), DType::F64);
    assert_eq!(net.block.mean.dtype(), DType::F64);
    assert_eq!(net.block.plain.dtype(), DType::F32);
    assert!(matches!(catch(|| net.to_dtype(DType::I64).numel()), Err(Error::DType { .. })));
}

impl Net {
    fn call_sum(&self) -> T {
        self.head.call(&self.block.call(&Tensor::ones([5, 2], &ReferenceDevice))).sum()
    }
}

#[test]
fn forward_hooks_see_and_replace() {
    let layer = Linear::<Ad>::new(2, 2, &ReferenceDevice).bias(false);
    layer.weight.set(Tensor::from_slice(&[1f32, 0.0, 0.0, 2.0], [2, 2], &ReferenceDevice));
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let count = layer.register_forward_hook(move |module, x, y| {
        assert_eq!((module.type_name(), x.numel(), y.numel()), ("Linear", 2, 2));
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let double = layer.register_forward_pre_hook(|_, x| x * 2.0);
    let negate = layer.register_forward_hook(|_, _, y| Some(-y));
    let x = vec(&[1.0, 3.0]);
    assert_eq!(layer.call(&x).to_vec::<f32>(), [-2.0, -12.0]);
    assert_eq!(layer.forward(&x).to_vec::<f32>(), [1.0, 6.0]);
    double.remove();
    negate.remove();
    assert_eq!(layer.call(&x).to_vec::<f32>(), [1.0, 6.0]);
    count.remove();
    layer.call(&x);
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

#[test]
fn hooks_run_through_a_box_and_a_name() {
    let net = net();
    let calls = Arc::new(AtomicUsize::new(0));
    for module in net.modules().into_iter().filter(|m| m.hooks().is_some()) {
        let counter = calls.clone();
        module.register_forward_hook(move |_, _, _| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
    }
    net.block.any.call(&Tensor::ones([1, 5], &ReferenceDevice));
    net.block.call(&Tensor::ones([1, 2], &ReferenceDevice));
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

#[test]
fn a_module_without_hooks_says_so() {
    let Err(Error::Argument { why, .. }) = catch(|| net().register_forward_hook(|_, _, _| ()))
    else {
        panic!("Net has no hooks")
    };
    assert!(why.contains("hooks: Hooks"), "{why}");
}

#[test]
fn backward_hooks_see_both_gradients_and_replace_one() {
    let layer = Linear::<Ad>::new(2, 1, &ReferenceDevice).bias(false);
    layer.weight.set(Tensor::from_slice(&[3f32, 5.0], [1, 2], &ReferenceDevice));
    type Seen = Vec<(Option<Vec<f32>>, Vec<f32>)>;
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let log = seen.clone();
    let handle = layer.register_full_backward_hook(move |input, output: &T| {
        log.lock().push((input.map(T::to_vec::<f32>), output.to_vec()));
        input.map(|grad| grad * 10.0)
    });
    let x = vec(&[1.0, 1.0]).requires_grad_(true);
    // The input's other use must not show in the hook, nor be changed by it.
    ((layer.call(&x) * 2.0).sum() + x.sum()).backward();
    assert_eq!(seen.lock().drain(..).as_slice(), [(Some(vec![6.0, 10.0]), vec![2.0])]);
    assert_eq!(x.grad().unwrap().to_vec::<f32>(), [61.0, 101.0]);
    assert_eq!(layer.weight.grad().unwrap().to_vec::<f32>(), [2.0, 2.0]);

    layer.call(&vec(&[1.0, 1.0])).sum().backward();
    assert_eq!(seen.lock().drain(..).as_slice(), [(None, vec![1.0])]);
    handle.remove();
    layer.call(&x).sum().backward();
    assert!(seen.lock().is_empty());
}

#[test]
fn a_parameter_is_a_leaf_of_floats() {
    let x = vec(&[1.0]).requires_grad_(true);
    let param = Param::new(&x * 2.0);
    assert!(param.tensor().grad_fn().is_none() && param.tensor().requires_grad());
    let integers = Tensor::<Ad>::zeros([2], (&ReferenceDevice, DType::I64));
    assert!(matches!(catch(|| Param::new(integers)), Err(Error::DType { .. })));
}

#[test]
fn parameters_are_one_vector_and_back() {
    let layer = Linear::<Ad>::new(2, 2, &ReferenceDevice);
    let vector = parameters_to_vector(layer.parameters());
    (&vector * &vector).sum().backward();
    let [weight, bias] = [&layer.parameters()[0], &layer.parameters()[1]];
    assert_eq!(weight.grad().unwrap().to_vec::<f32>(), (weight.tensor() * 2.0).to_vec::<f32>());
    vector_to_parameters(&vec(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]), layer.parameters());
    assert_eq!(weight.tensor().to_vec::<f32>(), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(bias.tensor().to_vec::<f32>(), [5.0, 6.0]);
    assert!(weight.tensor().grad_fn().is_none() && weight.requires_grad());
    let short = catch(|| vector_to_parameters(&vec(&[1.0]), layer.parameters()));
    assert!(matches!(short, Err(Error::Shape { op: "vector_to_parameters", .. })));
}

#[test]
fn the_derive_explains_itself() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
