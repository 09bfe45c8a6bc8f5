//! What docs/coming-from-pytorch.md puts beside PyTorch's lines compiles and runs: each piece of the right column stands
//! in this file.

use kiln::autograd::{
    Function, GradFn, apply, checkpoint, detect_anomaly, dot, functional, gradcheck, gradgradcheck,
    svg,
};
use kiln::data::metrics::{Average, ConfusionMatrix, accuracy, roc_auc};
use kiln::data::plot::TrainingCurves;
use kiln::data::tensorboard::SummaryWriter;
use kiln::data::transforms::{Normalize, RandomCrop, Resize, ToTensor, Transform};
use kiln::data::{Dataset, History, ImageFolder, Progress};
use kiln::nn::init::{FanMode, Nonlinearity, calculate_gain};
use kiln::optim::lr_scheduler::{OneCycleLR, ReduceLROnPlateau, Schedule, StepLR};
use kiln::prelude::*;
use kiln::tensor::{self, Backend, Shared};

const PAGE: &str = include_str!("../../docs/coming-from-pytorch.md");

/// Code without what formatting may change.
fn bare(code: &str) -> String {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    code.replace(",)", ")").replace(",}", "}").replace(",]", "]")
}

/// The pieces of code in the right column.
fn promised() -> Vec<String> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
    let right = |row: &str| {
        let row = row.replace("\\|", "\u{0}");
        let cell = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or("").to_owned();
        cell.replace('\u{0}', "|")
    };
    let pieces = |cell: String| {
        let parts: Vec<String> = cell.split('`').map(str::to_owned).collect();
        parts.into_iter().skip(1).step_by(2)
    };
    rows.map(right).flat_map(pieces).collect()
}

#[test]
fn every_line_of_the_page_is_here() {
    let here = bare(include_str!("coming_from_pytorch.rs"));
    let promised = promised();
    assert!(promised.len() > 150, "{} pieces of code found", promised.len());
    let missing: Vec<_> = promised.iter().filter(|code| !here.contains(&bare(code))).collect();
    assert!(missing.is_empty(), "not run: {missing:#?}");
}

/// Runs each expression and drops what it gives.
macro_rules! run {
    ($($code:expr;)*) => {$(
        let _ = $code;
    )*};
}

fn square([x]: [&Tensor; 1]) -> Tensor {
    x * x
}

fn total([x]: [&Tensor; 1]) -> Tensor {
    (x * x).sum()
}

#[test]
#[rustfmt::skip]
fn tensors() {
    let device = Device::cpu();
    let shared = Shared::new(vec![1.0f32; 4]);
    let array = ndarray::Array2::<f32>::zeros((2, 3));
    let x = Tensor::new([[1.0f32, 2.0], [3.0, 4.0]], &device);
    let y = x.copy();
    let (a, b, v) = (x.copy(), x.copy(), Tensor::ones(2, &device));
    let c = Tensor::ones([5, 2, 3], &device);
    let n = x.dims()[0];
    let rows = Tensor::new([1i64, 0], &device);
    let index = Tensor::new([[1i64, 0], [0, 1]], &device);
    let (m, src) = (x.gt(1.0), x.copy());
    run! {
        Tensor::new([[1.0f32, 2.0], [3.0, 4.0]], &device);
        Tensor::from_shared(&shared, [4], &device);
        Tensor::from_ndarray(&array, &device);
        x.to_ndarray::<f32>();
        x.to_vec::<f32>();
        Tensor::zeros([2, 3], &device);
        Tensor::ones([2, 3], &device);
        Tensor::zeros([2, 3], (&device, F64));
        Tensor::randn([2, 3], &device).requires_grad_(true);
        Tensor::rand([2, 3], &device);
        Tensor::arange((0, 10, 2), &device);
        Tensor::linspace(0.0, 1.0, 5, &device);
        Tensor::eye(3, &device);
        Tensor::full([2, 3], 7, &device);
        x.zeros_like();
        x.randn_like();
        &x + &y;
        2.0 * &x;
        1.0 - &x;
        -&x;
        x.pow(2.0);
        a.matmul(&b);
        a.mm(&b);
        c.bmm(&c.transpose(1, 2));
        a.mv(&v);
        v.dot(&v);
        Tensor::einsum("ij,jk->ik", &[&a, &b]);
        a.tensordot(&b, [&[1], &[0]]);
        x.view([-1, 2]);
        x.reshape((n, -1));
        c.flatten(1, -1);
        x.squeeze(0);
        x.unsqueeze(0);
        x.permute([1, 0]);
        x.transpose(0, 1);
        x.t();
        x.expand([5, -1, -1]);
        x.contiguous();
        x.i(0);
        x.i((.., -1));
        x.i((Ellipsis, NewAxis));
        x.i((.., Step(.., 2)));
        x.i(x.gt(0.0));
        x.i(&rows);
        x.narrow(1, 0, 2);
        x.select(1, 0);
        x.index_select(0, &rows);
        x.masked_fill(&m, 0.0);
        Tensor::where_(&m, &x, &y);
        x.gather(1, &index);
        x.scatter(1, &index, &src);
        x.scatter_add(1, &index, &src);
        x.index_add(0, &rows, &y);
        x.sum();
        x.sum_dims([1], true);
        x.mean();
        x.var();
        x.std_dims([0], 1.0, false);
        x.max();
        x.max_dim(1, false);
        x.argmax(1, false);
        x.argmax_all();
        x.topk(1, -1, true);
        x.sort(-1, false);
        x.cumsum(1);
        x.norm();
        m.any();
        m.all();
        x.sum().item();
        x.clamp(0.0, 1.0);
        x.clamp_min(0.0);
        x.relu();
        x.sigmoid();
        x.tanh();
        x.gelu();
        x.softmax(1);
        x.log_softmax(1);
        x.exp();
        x.log();
        Tensor::cat(&[&x, &y], 0);
        Tensor::stack(&[&x, &y], 0);
        x.to_dtype(F64);
        x.shape();
        x.size(0);
        x.numel();
        x.dtype();
        x.device();
        Device::best();
        "cpu".parse::<Device>();
        Device::cpu().is_available();
        x.to(&device);
        x.to(&Device::cpu());
        device.memory_allocated();
        device.memory_reserved();
        device.memory_peak();
    }
    let mut step = kiln::graph::Step::new(&device);
    step.run([&x], |[x]: [&Tensor; 1]| x.sum());
    manual_seed(0);
    device.synchronize();
    device.empty_cache();
    println!("{x}");
    // These write.
    run! {
        x.set(0, 1.0);
        x.set(x.lt(0.0), 0.0);
        x.accumulate(&rows, 1.0);
        x.add_(&y);
        x.sub_(1.0);
    }
}

#[test]
#[rustfmt::skip]
fn linear_algebra() {
    let device = Device::cpu();
    let a = Tensor::new([[4.0f32, 1.0], [1.0, 3.0]], &device);
    let b = Tensor::ones([2, 1], &device);
    run! {
        linalg::solve(&a, &b);
        linalg::inv(&a);
        linalg::det(&a);
        linalg::slogdet(&a);
        a.cholesky();
        a.qr();
        linalg::lu_factor(&a);
        {
            let (lu, order) = linalg::lu_factor(&a);
            linalg::lu_solve(&lu, &order, &b)
        };
        linalg::cholesky_upper(&(a.matmul(&a.t()) + Tensor::eye(2, &device)));
        linalg::svd(&a, false);
        linalg::eigh(&a);
        a.pinverse();
        linalg::lstsq(&a, &b, None).solution;
    }
}

/// `2 x`, with a backward of its own.
struct Twice;

impl Function for Twice {
    fn name(&self) -> &'static str {
        "twice"
    }

    fn forward<T: Backend>(
        &self,
        inputs: &[&tensor::Tensor<T>],
    ) -> (Vec<tensor::Tensor<T>>, Vec<tensor::Tensor<T>>) {
        (vec![inputs[0] * 2.0], vec![])
    }

    fn backward<T: Backend>(
        &self,
        _: &[tensor::Tensor<T>],
        grads: &[Option<tensor::Tensor<T>>],
    ) -> Vec<Option<tensor::Tensor<T>>> {
        vec![grads[0].as_ref().map(|grad| grad * 2.0)]
    }
}

#[test]
#[rustfmt::skip]
fn derivatives() {
    let device = Device::cpu();
    let w = Tensor::ones(2, &device).requires_grad_(true);
    let v = Tensor::ones(2, &device).requires_grad_(true);
    let x = Tensor::ones([1, 2], &device);
    let inputs = [Tensor::ones(2, (&device, F64)).requires_grad_(true)];
    let f = |x: &[Tensor]| vec![x[0].exp()];
    let net = Linear::new(2, 2, &device);
    let loss = (&w * 3.0).sum();
    run! {
        dot(&[&loss], [("w", &w)]);
        svg(&[&loss], [("w", &w)]);
        loss.retain_grad();
        grad(&loss.exp(), &[&w]);
    }
    let loss = (&w * 3.0).sum();
    run! { loss.backward_with(BackwardOptions::new().retain_graph(true)); }
    run! { loss.backward(); }
    let loss = (&w * 3.0).sum();
    run! { GradOptions::new().create_graph(true).grad(&[&loss], &[&w]); }
    run! { GradOptions::new().allow_unused(&[&loss], &[&w, &v]); }
    let loss = (&w * 3.0).sum();
    run! {
        grad(&loss, &[&w]);
        loss.grad_fn();
        no_grad(|| net.call(&x));
        x.detach();
        w.requires_grad();
        w.grad();
        no_grad(|| w.sub_(&(w.grad().unwrap() * 0.1)));
        w.grad().unwrap().zero_();
        functional::jacobian(square, [&x]);
        functional::hessian(total, [&x]);
        functional::vjp(square, [&x], &x);
        functional::jvp(square, [&x], [&x]);
        functional::hvp(total, [&x], [&x]);
        gradcheck(f, &inputs);
        gradgradcheck(f, &inputs);
        apply(Twice, &[&x]);
        w.register_hook(|grad| Some(grad * 2.0)).remove();
        checkpoint(square, [&x]);
    }
    let loss = (&w * 3.0).sum();
    run! {
        GradFn::of(&loss).unwrap().next_functions();
        detect_anomaly(|| loss.exp());
        set_grad_enabled(false);
    }
}

mod declared {
    use kiln::prelude::*;

    #[rustfmt::skip]
    #[derive(Module)] struct Net { fc: Linear, scale: Param, steps: Buffer }

    #[test]
    fn a_module_finds_its_fields() {
        let t = Tensor::ones(2, &Device::cpu());
        let fc = Linear::new(2, 2, &Device::cpu());
        let net = Net { fc, scale: Param::new(t.copy()), steps: Buffer::new(t) };
        assert_eq!((net.parameters().len(), net.buffers().len()), (3, 1));
    }
}

#[test]
#[rustfmt::skip]
fn modules() {
    let device = Device::cpu();
    let x = Tensor::ones([4, 2], &device);
    let (y, t, w) = (x.copy(), x.copy(), x.copy());
    let image = Tensor::ones([1, 1, 8, 8], &device);
    let net = Sequential::new((Linear::new(2, 3, &device), ReLU::new()));
    let (logits, classes) = (net.call(&x), Tensor::zeros(4, (&device, I64)));
    let state = net.state_dict();
    let norm = BatchNorm1d::new(3, &device);
    let normed = Sequential::new((Linear::new(2, 3, &device), ReLU::new(), norm));
    let path = std::env::temp_dir().join("kiln-coming-from-pytorch.safetensors");
    println!("{net}");
    run! {
        Param::new(t);
        Buffer::new(y.copy());
        net.call(&x);
        checkpoint_sequential(&net, 2, &x);
        ModuleList::new([Linear::new(2, 3, &device)]);
        ModuleDict::new([("a", Linear::new(2, 3, &device))]);
        net.parameters();
        net.named_parameters();
        net.get_parameter("0.weight");
        net.buffers();
        net.named_buffers();
        ParameterList::new([w.copy()]);
        ParameterDict::new([("w", w.copy())]);
        normed.get_buffer("2.running_mean");
        net.children();
        net.named_children();
        net.modules();
        net.named_modules();
        net.numel();
        summary(&net, &x);
        Conv2d::new(1, 8, 3, &device).padding(1);
        max_pool2d(&image, 2);
        MaxPool2d::new(2).call(&image);
        avg_pool2d(&image, Pool::new(3).stride(2).padding(1));
        adaptive_avg_pool2d(&image, 1);
        {
            let theta = Tensor::eye([2, 3], &device).unsqueeze(0);
            let grid = affine_grid(&theta, &[1, 1, 4, 4], false);
            grid_sample(&image, &grid, GridMode::Bilinear, GridPadding::Zeros, false)
        };
        LazyLinear::new(10);
        LSTM::new(8, 16, &device).num_layers(2).batch_first(true);
        MultiheadAttention::new(16, 4, &device).batch_first(true);
        cross_entropy(&logits, &classes);
        CrossEntropyLoss::new();
        x.mse_loss(&y, Reduction::Mean);
        init::kaiming_normal_(&w, 0.0, FanMode::FanIn, Nonlinearity::LeakyRelu);
        calculate_gain(Nonlinearity::Relu, None);
        init::xavier_uniform_(&w, 1.0);
        init::orthogonal_(&w, 1.0);
        net.train();
        net.eval();
        net.requires_grad_(false);
        net.register_forward_pre_hook(|_, x| x * 2.0);
        net.register_forward_hook(|_, _, y| println!("{}", y.shape()));
        net.register_full_backward_hook(|_, grad| println!("{}", grad.shape()));
        net.load_state_dict(&state, true);
        net.save(&path);
        net.to(&device);
        net.to_dtype(F64);
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
#[rustfmt::skip]
fn training() {
    let device = Device::cpu();
    let net = Linear::new(2, 2, &device);
    let mut opt = SGD::new(net.parameters()).lr(0.1).momentum(0.9);
    net.call(&Tensor::ones([1, 2], &device)).sum().backward();
    let mut scheduler = StepLR::new(10).attach(&mut opt);
    scheduler.step(&mut opt);
    let mut plateau = ReduceLROnPlateau::new().attach(&mut opt);
    plateau.step(0.5, &mut opt);
    let [a, b] = [(); 2].map(|()| Linear::new(2, 2, &device));
    run! {
        Adam::new(net.parameters()).lr(1e-3);
        AdamW::new(net.parameters());
        RMSprop::new(net.parameters());
        Adagrad::new(net.parameters());
        LBFGS::new(net.parameters()).line_search_fn(LineSearch::StrongWolfe);
        Adam::new([Adam::group(a.parameters()), Adam::group(b.parameters()).lr(1e-4)]);
        clip_grad_norm_(net.parameters(), 1.0, 2.0);
        clip_grad_value_(net.parameters(), 1.0);
        opt.step();
        opt.zero_grad();
        OneCycleLR::new(0.1, 100).attach(&mut opt);
    }
    let x = Tensor::ones([1, 2], &device);
    let mut scaler = GradScaler::new();
    let loss = autocast(BF16, || net.call(&x)).sum();
    scaler.scale(&loss).backward();
    scaler.unscale_(&opt);
    scaler.step(&mut opt);
    scaler.update();
}

#[test]
#[rustfmt::skip]
fn checkpoints() -> kiln::Result<()> {
    let device = Device::cpu();
    let net = Linear::new(2, 2, &device);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    Checkpoint::new().with("model", net.state_dict()).with("epoch", 3).save(&path)?;
    let checkpoint = Checkpoint::load(&path, &device)?;
    assert_eq!(checkpoint.get::<u64>("epoch")?, 3);
    net.load_state_dict(&checkpoint.get("model")?, true)?;
    let states = rng_states();
    set_rng_states(&states);
    Ok(())
}

#[test]
#[rustfmt::skip]
fn data() {
    let device = Device::cpu();
    let x = Tensor::ones([4, 2], &device);
    let classes = Tensor::zeros(4, (&device, I64));
    let set = TensorDataset::new((x.clone(), classes.clone()));
    let pairs = set.clone();
    let (logits, matrix) = (Tensor::ones([4, 2], &device), ConfusionMatrix::new(2));
    let (scores, truth) = ([0.1, 0.9], [false, true]);
    let folder = tempfile::tempdir().unwrap();
    let mut writer = SummaryWriter::new(folder.path()).unwrap();
    let loader = DataLoader::new(set).batch_size(2).shuffle(0).drop_last(true).workers(2);
    for (x, y) in loader.epoch() {
        assert_eq!((x.dims(), y.dims()), (&[2, 2][..], &[2][..]));
    }
    run! {
        pairs.clone().random_split([0.5, 0.5], 0);
        pairs.clone().subset([0]);
        Resize::new(8, 8).then(ToTensor::<kiln::DefaultBackend>::new(&device));
        Normalize::<kiln::DefaultBackend>::new(&[0.5], &[0.5], &device);
        RandomCrop::new(8, 8).padding(1);
        ImageFolder::new("nowhere");
        accuracy(&logits, &classes);
        matrix.f1(Average::Macro);
        roc_auc(&scores, &truth);
        writer.add_scalar("loss", 0.5, 1);
        kiln::files::pt::load::<kiln::DefaultBackend>("nowhere.pt", &device);
        kiln::files::npy::load::<kiln::DefaultBackend>("nowhere.npy", &device);
        ConfusionMatrix::new(2);
        Progress::new(10);
        TrainingCurves::new("losses", &History::new());
    }
}
