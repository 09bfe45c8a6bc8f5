//! Each method of `Backend` called on a wrapper reaches its namesake inside exactly once, and recording
//! adds one node, named after it.

use std::collections::BTreeSet;
use std::path::Path;

use kiln_autograd::{Autograd, GradOptions, no_grad};
use kiln_conformance::spy::{Calls, Spy, watch};
use kiln_conformance::{Reference, ReferenceDevice as Dev};
use kiln_tensor_core::{
    Activation, AttentionSpec, Backend, ConvSpec, DType, Expr, Factorization, Kernel, PoolSpec,
    ReduceOp, ScanOp, ScatterOp, Shape, Shared, Tensor, ViewOp, catch,
};

type W = Autograd<Spy<Reference>>;
type T = Tensor<W>;

/// Operands for every method.
struct Operands {
    matrix: T,
    other: T,
    row: T,
    column: T,
    image: T,
    filter: T,
    index: T,
    classes: T,
    positions: T,
    truth: T,
}

impl Operands {
    fn new() -> Operands {
        let floats = |shape: &[usize]| {
            let count = shape.iter().product::<usize>();
            let data: Vec<f64> = (0..count).map(|i| 0.3 + i as f64 / 7.0).collect();
            T::from_slice(&data, shape, &Dev).requires_grad_(true)
        };
        let whole = |data: &[i64], shape: &[usize]| T::from_slice(data, shape, &Dev);
        Operands {
            matrix: floats(&[3, 3]),
            other: floats(&[3, 3]),
            row: floats(&[3]),
            column: floats(&[3, 1]).detach(),
            image: floats(&[1, 1, 3]),
            filter: floats(&[1, 1, 2]),
            index: whole(&[0, 2, 1, 1, 0, 2, 2, 1, 0], &[3, 3]),
            classes: whole(&[0, 2, 1], &[3]),
            positions: whole(&[0, 2], &[1, 1, 2]),
            truth: T::from_slice(&[true, false, true], [3], &Dev),
        }
    }
}

/// What a call leaves in the graph.
enum Leaves {
    /// One node of this name.
    Node(&'static str),
    /// Nothing: the result has no gradient.
    Nothing,
    /// Primitives, for this reason; without recording it reaches its namesake.
    Composed(&'static str),
}
use Leaves::{Composed, Node, Nothing};

const SECOND_ORDER: &str = "its own derivative is that of the primitives it is made of";

type Call = fn(&Operands) -> Vec<T>;

fn program(x: &T) -> Expr {
    Expr::new("double", [x.dtype()], |[x]| x * 2.0)
}

fn spec() -> ConvSpec {
    ConvSpec::new(1)
}

fn attention() -> AttentionSpec {
    AttentionSpec { causal: true, scale: 0.5 }
}

fn windows() -> PoolSpec {
    let mut spec = PoolSpec::new(&[2]);
    spec.stride[0] = 1;
    spec
}

fn columns() -> ViewOp {
    ViewOp::Slice { dim: 1, start: 0, len: 3, step: 1 }
}

#[rustfmt::skip]
const METHODS: &[(&str, Leaves, Call)] = &[
    ("upload", Nothing, |_| vec![W::upload(&[0; 8], &[1].into(), DType::F64, &Dev)]),
    ("download", Nothing, |o| { W::download(&o.matrix); vec![] }),
    ("empty", Nothing, |_| vec![W::empty(&[2].into(), DType::F64, &Dev)]),
    ("sync", Nothing, |_| { W::sync(&Dev); vec![] }),
    ("version", Nothing, |o| { W::version(&o.matrix); vec![] }),
    ("shares_storage", Nothing, |o| { W::shares_storage(&o.matrix, &o.other); vec![] }),
    ("is_unique", Nothing, |_| { W::is_unique(&T::ones([2], (&Dev, DType::F64))); vec![] }),
    ("memory", Nothing, |_| { W::memory(&Dev); vec![] }),
    ("reset_peak_memory", Nothing, |_| { W::reset_peak_memory(&Dev); vec![] }),
    ("empty_cache", Nothing, |_| { W::empty_cache(&Dev); vec![] }),
    ("has_graphs", Nothing, |_| { W::has_graphs(&Dev); vec![] }),
    ("capture", Nothing, |_| { assert!(W::capture(&Dev, &mut || ()).is_err()); vec![] }),
    ("map", Node("DoubleBackward"), |o| {
        let program = program(&o.matrix);
        vec![W::map(Kernel::new(&program), &[&o.matrix], o.matrix.shape(), &Dev)]
    }),
    ("map_many", Node("DoubleBackward"), |o| {
        let program = program(&o.matrix);
        W::map_many(Kernel::new(&program), &[&o.matrix], o.matrix.shape(), &Dev).to_vec()
    }),
    ("map_into", Node("DoubleBackward"), |o| {
        let program = program(&o.matrix);
        let out = no_grad(|| o.other.detach());
        W::map_into(Kernel::new(&program), &[&o.matrix], &[&out]);
        vec![out]
    }),
    ("map_each_into", Composed("each group is a node of its own"), |o| {
        let program = program(&o.matrix);
        let out = no_grad(|| o.other.detach());
        W::map_each_into(Kernel::new(&program), &[(vec![&o.matrix], vec![&out])]);
        vec![out]
    }),
    ("reduce", Node("DoubleSumBackward"), |o| {
        let program = program(&o.matrix);
        vec![W::reduce(ReduceOp::Sum, Kernel::new(&program), &[&o.matrix], o.matrix.shape(), &[1])]
    }),
    ("scan", Node("CumsumBackward"), |o| vec![W::scan(ScanOp::Sum, &o.matrix, 0)]),
    ("sort", Node("SortBackward"), |o| vec![W::sort(&o.matrix, 0, true).0]),
    ("topk", Node("TopkBackward"), |o| vec![W::topk(&o.matrix, 2, 0, true).0]),
    ("matmul", Node("MatmulBackward"), |o| vec![W::matmul(&o.matrix, &o.other)]),
    ("factor", Node("QrBackward"), |o| {
        vec![W::factor(&o.matrix, Factorization::Qr { complete: false }).remove(0)]
    }),
    ("solve_triangular", Node("SolveTriangularBackward"), |o| {
        vec![W::solve_triangular(&o.matrix, &o.other, false, false)]
    }),
    ("conv", Node("ConvBackward"), |o| vec![W::conv(&o.image, &o.filter, &spec())]),
    ("conv_grad_input", Node("ConvGradInputBackward"), |o| {
        vec![W::conv_grad_input(&o.filter, &o.filter, o.image.shape(), &spec())]
    }),
    ("conv_grad_weight", Node("ConvGradWeightBackward"), |o| {
        vec![W::conv_grad_weight(&o.filter, &o.image, o.filter.shape(), &spec())]
    }),
    ("max_pool", Node("MaxPoolBackward"), |o| vec![W::max_pool(&o.image, &windows()).0]),
    ("max_pool_grad", Node("MaxPoolGradBackward"), |o| {
        vec![W::max_pool_grad(&o.filter, &o.positions, o.image.shape())]
    }),
    ("avg_pool", Node("AvgPoolBackward"), |o| vec![W::avg_pool(&o.image, &windows())]),
    ("avg_pool_grad", Node("AvgPoolGradBackward"), |o| {
        vec![W::avg_pool_grad(&o.filter, o.image.shape(), &windows())]
    }),
    ("gather", Node("GatherBackward"), |o| vec![W::gather(&o.matrix, 1, &o.index)]),
    ("scatter", Node("ScatterAddBackward"), |o| {
        vec![W::scatter(ScatterOp::Add, &o.matrix, 1, &o.index, &o.other)]
    }),
    ("index_select", Node("IndexSelectBackward"), |o| {
        vec![W::index_select(&o.matrix, 0, &o.classes)]
    }),
    ("index_add", Node("IndexAddBackward"), |o| {
        vec![W::index_add(&o.matrix, 0, &o.classes, &o.other)]
    }),
    ("nonzero", Nothing, |o| vec![W::nonzero(&o.truth)]),
    ("adopt", Nothing, |_| {
        // The reference shares no memory, and says so; the call has reached it by then.
        let _ = catch(|| W::adopt(Shared::new(vec![0.0f64]).memory(), &[1].into(), &Dev));
        vec![]
    }),
    ("view", Node("SliceBackward"), |o| {
        let layout = o.matrix.layout().view(&columns()).unwrap();
        vec![W::view(&o.matrix, &columns(), layout)]
    }),
    ("view_grad", Node("ViewGradBackward"), |o| {
        vec![W::view_grad(&o.matrix, &columns(), &Shape::from([3, 4]))]
    }),
    ("to_device", Node("ToDeviceBackward"), |o| vec![W::to_device(&o.matrix, &Dev)]),
    ("cat", Node("CatBackward"), |o| vec![W::cat(&[&o.matrix, &o.other], 0)]),
    ("softmax", Node("SoftmaxBackward"), |o| vec![W::softmax(&o.matrix, 1)]),
    ("softmax_grad", Composed(SECOND_ORDER), |o| vec![W::softmax_grad(&o.matrix, &o.other, 1)]),
    ("log_softmax", Node("LogSoftmaxBackward"), |o| vec![W::log_softmax(&o.matrix, 1)]),
    ("log_softmax_grad", Composed(SECOND_ORDER), |o| {
        vec![W::log_softmax_grad(&o.matrix, &o.other, 1)]
    }),
    ("cross_entropy", Node("CrossEntropyBackward"), |o| {
        vec![W::cross_entropy(&o.matrix, &o.classes, -100)]
    }),
    ("cross_entropy_grad", Composed(SECOND_ORDER), |o| {
        vec![W::cross_entropy_grad(&o.row, &o.matrix, &o.classes, -100)]
    }),
    ("linear", Node("LinearBackward"), |o| vec![W::linear(&o.matrix, &o.other, Some(&o.row))]),
    ("linear_act", Node("LinearActBackward"), |o| {
        vec![W::linear_act(&o.matrix, &o.other, Some(&o.row), Activation::GeluTanh, false).0]
    }),
    ("linear_grad_weight", Composed(SECOND_ORDER), |o| {
        W::linear_grad_weight(&o.matrix, &o.other).to_vec()
    }),
    ("layer_norm", Node("LayerNormBackward"), |o| {
        vec![W::layer_norm(&o.matrix, Some(&o.row), Some(&o.row), 1, 0.1)[0].clone()]
    }),
    ("layer_norm_grad", Composed(SECOND_ORDER), |o| {
        W::layer_norm_grad(&o.matrix, &o.other, &o.column, &o.column, Some(&o.row), 1, 0.1)[..1].to_vec()
    }),
    ("rms_norm", Node("RmsNormBackward"), |o| {
        vec![W::rms_norm(&o.matrix, Some(&o.row), 1, 0.1)[0].clone()]
    }),
    ("rms_norm_grad", Composed(SECOND_ORDER), |o| {
        W::rms_norm_grad(&o.matrix, &o.other, &o.column, Some(&o.row), 1, 0.1).to_vec()
    }),
    ("scaled_dot_product_attention", Node("ScaledDotProductAttentionBackward"), |o| {
        let (q, k, mask) = (&o.matrix, &o.other, o.other.detach());
        vec![W::scaled_dot_product_attention(q, k, q, Some(&mask), &attention())[0].clone()]
    }),
    ("scaled_dot_product_attention_grad", Composed(SECOND_ORDER), |o| {
        let (q, k, log) = (&o.matrix, &o.other, o.row.detach());
        W::scaled_dot_product_attention_grad(q, q, k, k, None, k, &log, &attention()).to_vec()
    }),
    ("batch_norm", Node("BatchNormBackward"), |o| {
        vec![W::batch_norm(&o.matrix, Some(&o.row), Some(&o.row), 0.1)[0].clone()]
    }),
    ("batch_norm_grad", Composed(SECOND_ORDER), |o| {
        let at = o.row.detach();
        W::batch_norm_grad(&o.matrix, &o.other, &at, &at, Some(&o.row), 0.1)[..1].to_vec()
    }),
];

/// What the wrapper answers itself.
const ANSWERED: &[(&str, &str)] = &[
    ("name", "a constant"),
    ("records", "it records, whatever is inside"),
    ("requires_grad", "tracking is the wrapper's"),
    ("set_requires_grad", "tracking is the wrapper's"),
    ("detach", "tracking is the wrapper's"),
    ("grad", "tracking is the wrapper's"),
    ("set_grad", "tracking is the wrapper's"),
    ("named", "tracking is the wrapper's"),
    ("grad_fn", "tracking is the wrapper's"),
];

/// What else may be called on the way, with the reason; for every method where none is named.
const BESIDES: &[(&str, &str, &str)] = &[
    ("", "version", "what is saved remembers the version of its storage"),
    ("", "shares_storage", "an output that is an input is saved before it is overwritten"),
    ("to_device", "empty", "stands for the device that the gradient goes back to"),
    ("is_unique", "map", "makes the tensor that nobody else holds"),
];

fn reached_once(method: &str, calls: &Calls) {
    let allowed =
        |name: &str| BESIDES.iter().any(|(m, n, _)| *n == name && (m.is_empty() || *m == method));
    let others: Vec<_> =
        calls.iter().filter(|(name, _)| **name != method && !allowed(name)).collect();
    assert_eq!(calls.get(method), Some(&1), "{method} is not forwarded once: {calls:?}");
    assert!(others.is_empty(), "{method} also calls {others:?}");
}

#[test]
fn autograd_forwards_every_method_and_records_one_node() {
    for (method, leaves, call) in METHODS {
        let operands = Operands::new();
        let (results, calls) = watch(|| call(&operands));
        match leaves {
            Node(name) => {
                reached_once(method, &calls);
                let nodes: Vec<_> = results.iter().map(T::grad_fn).collect();
                assert_eq!(nodes, [Some((*name).to_owned())], "{method}");
            }
            Nothing => {
                reached_once(method, &calls);
                assert!(results.iter().all(|x| !x.requires_grad()), "{method} has no gradient");
            }
            Composed(why) => {
                assert!(!calls.contains_key(method), "{method} is composed ({why}): {calls:?}");
                assert!(results.iter().all(T::requires_grad), "{method} loses its gradient");
                let operands = Operands::new();
                let (_, calls) = watch(|| no_grad(|| call(&operands)));
                reached_once(method, &calls);
            }
        }
    }
}

#[test]
fn unrecorded_calls_reach_their_namesakes_too() {
    for (method, _, call) in METHODS {
        let operands = Operands::new();
        let (results, calls) = watch(|| no_grad(|| call(&operands)));
        reached_once(method, &calls);
        assert!(results.iter().all(|x| x.grad_fn().is_none()), "{method} records in no_grad");
    }
}

/// What nobody asks for is not computed, and a gradient that passes through unchanged is not copied.
#[test]
fn backward_computes_only_what_is_asked_for() {
    let o = Operands::new();
    let backward = |y: T, inputs: &[&T]| {
        let seed = T::ones(y.shape(), (&Dev, DType::F64));
        watch(|| GradOptions::new().grad_outputs(vec![seed]).grad(&[&y], inputs)).1
    };
    let (weight, bias) = (o.other.detach(), o.row.detach());
    let product = backward(W::matmul(&o.matrix, &weight), &[&o.matrix]);
    assert_eq!(product.get("matmul"), Some(&1), "{product:?}");
    let linear = backward(W::linear(&o.matrix, &o.other, Some(&bias)), &[&o.matrix, &o.other]);
    assert!(!linear.contains_key("linear_grad_weight"), "that is for weight and bias: {linear:?}");
    let sum = backward(&o.matrix + &o.other, &[&o.matrix, &o.other]);
    assert!(!sum.contains_key("map") && !sum.contains_key("map_many"), "{sum:?}");
}

fn source(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).expect(path)
}

/// The methods that a source declares or defines, and the text of each.
fn methods(source: &str) -> Vec<(String, String)> {
    let text = source.split("\n    fn ").skip(1);
    text.map(|rest| (rest.split(['(', '<']).next().unwrap_or_default().to_owned(), rest.to_owned()))
        .collect()
}

fn trait_methods() -> BTreeSet<String> {
    let source = source("tensor-core/src/backend.rs");
    let body = source.split("pub trait Backend").nth(1).expect("the trait");
    methods(body).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn no_method_is_forgotten_here() {
    let known: BTreeSet<String> = METHODS
        .iter()
        .map(|(name, ..)| (*name).to_owned())
        .chain(ANSWERED.iter().map(|(name, _)| (*name).to_owned()))
        .collect();
    assert_eq!(known, trait_methods());
    let spied: BTreeSet<String> = source("conformance/src/spy.rs")
        .split("fn ")
        .skip(1)
        .map(|rest| rest.split('(').next().unwrap_or_default().to_owned())
        .collect();
    let missing: Vec<_> = trait_methods().into_iter().filter(|m| !spied.contains(m)).collect();
    assert!(missing.is_empty(), "Spy does not forward {missing:?}");
}

/// `Any` cannot hold a spy: its variants are the backends that exist. So its text is read.
#[test]
fn any_forwards_every_method() {
    let answered: Vec<&str> = ANSWERED.iter().map(|(name, _)| *name).collect();
    let source = source("kiln/src/any.rs");
    let implementation = source.split("impl Backend for Any").nth(1).expect("the implementation");
    let defined = methods(implementation);
    for method in trait_methods() {
        let text = defined.iter().find(|(name, _)| *name == method);
        let (_, text) = text.unwrap_or_else(|| panic!("Any does not define {method}"));
        let forwards = text.contains(&format!("::{method}("));
        assert!(forwards || answered.contains(&method.as_str()), "Any does not forward {method}");
    }
}
