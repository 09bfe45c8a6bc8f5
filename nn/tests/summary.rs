//! `summary`: figures worked out by hand.

use kiln_autograd::Autograd;
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_nn::*;
use kiln_tensor_core::{Backend, Tensor, catch};

type B = Autograd<Cpu>;

/// LeNet-5 over images of 28 × 28.
#[derive(Module)]
struct LeNet<B: Backend> {
    features: Sequential<B>,
    classifier: Sequential<B>,
}

impl<B: Backend> Forward for LeNet<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        self.classifier.call(&self.features.call(x).flatten(1, -1))
    }
}

fn lenet() -> LeNet<B> {
    let d = &CpuDevice;
    LeNet {
        features: Sequential::new((
            Conv2d::new(1, 6, 5, d).padding(2),
            ReLU::new(),
            MaxPool2d::new(2),
            Conv2d::new(6, 16, 5, d),
            ReLU::new(),
            MaxPool2d::new(2),
        )),
        classifier: Sequential::new((
            Linear::new(400, 120, d),
            ReLU::new(),
            Linear::new(120, 84, d),
            ReLU::new(),
            Linear::new(84, 10, d),
        )),
    }
}

fn images(n: usize) -> Tensor<B> {
    Tensor::zeros([n, 1, 28, 28], &CpuDevice)
}

#[test]
fn the_figures_of_lenet() {
    let found = summary(&lenet(), &images(2));
    let row = |path: &str| found.rows.iter().find(|row| row.path == path).unwrap();
    let figures = |path: &str| (row(path).parameters, row(path).flops);
    // One product and one sum for each tap of a filter, each of 6 maps of 28 × 28 and each image.
    assert_eq!(figures("features.0"), (6 * 25 + 6, Some(2 * 2 * 25 * 6 * 28 * 28)));
    assert_eq!(figures("features.1"), (0, None));
    assert_eq!(figures("features.2"), (0, Some(2 * 4 * 6 * 14 * 14)));
    assert_eq!(figures("features.3"), (16 * 150 + 16, Some(2 * 2 * 150 * 16 * 10 * 10)));
    assert_eq!(figures("features.5"), (0, Some(2 * 4 * 16 * 5 * 5)));
    assert_eq!(figures("classifier.0"), (400 * 120 + 120, Some(2 * 2 * 400 * 120)));
    assert_eq!(figures("classifier.4"), (84 * 10 + 10, Some(2 * 2 * 84 * 10)));
    assert_eq!(found.parameters, 61_706);
    assert_eq!(found.trainable, 61_706);
    assert_eq!(found.flops, 2 * 839_344);
    assert_eq!(found.input_bytes, 2 * 784 * 4);
    assert_eq!(found.parameter_bytes, 61_706 * 4);
    assert_eq!(found.buffer_bytes, 0);
    // Convolutions and their ReLUs, pooling, linear layers and theirs.
    let outputs = 2 * 4704 + 1176 + 2 * 1600 + 400 + 2 * 120 + 2 * 84 + 10;
    assert_eq!(found.output_bytes, 2 * outputs * 4);
    assert_eq!(*row("features").output.as_ref().unwrap(), [2, 16, 5, 5]);
    assert_eq!(*row("classifier").input.as_ref().unwrap(), [2, 400]);
    assert_eq!((row("").depth, row("features").depth, row("features.3").depth), (0, 1, 2));
}

#[test]
fn it_prints_as_a_table() {
    assert_eq!(
        summary(&lenet(), &images(2)).to_string(),
        "\
──────────────────────────────────────────────────────────────
Layer                     Output shape     Parameters    FLOPs
──────────────────────────────────────────────────────────────
LeNet                     [2, 10]                  --       --
  features: Sequential    [2, 16, 5, 5]            --       --
    0: Conv2d             [2, 6, 28, 28]          156  470,400
    1: ReLU               [2, 6, 28, 28]           --       --
    2: MaxPool2d          [2, 6, 14, 14]           --    9,408
    3: Conv2d             [2, 16, 10, 10]       2,416  960,000
    4: ReLU               [2, 16, 10, 10]          --       --
    5: MaxPool2d          [2, 16, 5, 5]            --    3,200
  classifier: Sequential  [2, 10]                  --       --
    0: Linear             [2, 120]             48,120  192,000
    1: ReLU               [2, 120]                 --       --
    2: Linear             [2, 84]              10,164   40,320
    3: ReLU               [2, 84]                  --       --
    4: Linear             [2, 10]                 850    3,360
──────────────────────────────────────────────────────────────
parameters: 61,706, of which 61,706 are trained and 0 are not
FLOPs: 1,678,688 (a multiply-add is two)
memory: input 0.01 MB, parameters and buffers 0.25 MB, outputs 0.12 MB"
    );
}

#[test]
fn norms_and_adaptive_pooling_count_their_elements() {
    let d = &CpuDevice;
    let model = Sequential::<B>::new((
        BatchNorm2d::new(3, d),
        BatchNorm2d::new(3, d).affine(false).track_running_stats(false),
        LayerNorm::new([5, 7], d).bias(false),
        AdaptiveAvgPool2d::new([2, 3]),
        AdaptiveMaxPool2d::new(1),
    ));
    let found = summary(&model, &Tensor::ones([2, 3, 5, 7], d));
    let flops: Vec<_> = found.rows[1..].iter().map(|row| row.flops.unwrap()).collect();
    // Windows: 3 + 3 of 5 rows, 3 + 3 + 3 of 7 columns.
    assert_eq!(flops, [210 * 4, 210 * 6, 210 * 7, 6 * 6 * 9, 6 * 6]);
    assert_eq!(found.buffer_bytes, 2 * 3 * 4 + 8);
}

/// A layer in two places, and a weight in two layers.
#[test]
fn what_is_shared_counts_once() {
    let layer = std::sync::Arc::new(Linear::<B>::new(4, 4, &CpuDevice));
    let mut tied = Linear::new(4, 4, &CpuDevice).bias(false);
    tied.weight = layer.weight.clone();
    let mut model = Sequential::empty();
    model.push(layer.clone()).push(layer).push(tied);
    let found = summary(&model, &Tensor::ones([1, 4], &CpuDevice));
    assert_eq!(found.parameters, 20);
    assert_eq!(found.rows.iter().map(|row| row.parameters).collect::<Vec<_>>(), [0, 20, 0, 0]);
    assert_eq!(found.rows.iter().map(|row| row.calls).collect::<Vec<_>>(), [1, 2, 0, 1]);
    assert!(found.rows[2].shared && !found.rows[3].shared);
    assert_eq!(found.flops, 3 * 2 * 16);
}

#[test]
fn it_leaves_no_trace_even_after_a_panic() {
    let model = Sequential::<B>::new((BatchNorm1d::new(3, &CpuDevice), Dropout::new(0.5)));
    model.get_parameter("0.bias").requires_grad_(false);
    let frozen = summary(&model, &Tensor::randn([4, 3], &CpuDevice));
    assert_eq!((frozen.parameters, frozen.trainable), (6, 3));
    let wrong = catch(|| summary(&model, &Tensor::ones([4, 5], &CpuDevice)));
    assert!(wrong.is_err());
    let hooks = || model.modules().into_iter().filter_map(|module| module.hooks());
    assert!(hooks().all(|hooks| hooks.is_empty() && hooks.training()));
    assert_eq!(model.get_buffer("0.running_mean").tensor().to_vec::<f32>(), [0.0; 3]);
    assert_eq!(model.get_buffer("0.num_batches_tracked").tensor().item(), 0.0);
}

#[test]
fn a_model_of_two_inputs_is_called_by_the_program() {
    let layer = Bilinear::<B>::new(3, 4, 5, &CpuDevice);
    let [a, b] = [3, 4].map(|size| Tensor::ones([2, size], &CpuDevice));
    let found = summary_of(&layer, || layer.forward(&a, &b));
    assert_eq!(*found.rows[0].output.as_ref().unwrap(), [2, 5]);
    assert_eq!(found.parameters, 65);
}

/// A struct of one's own tells its operations.
#[derive(Module)]
#[module(flops = Self::count)]
struct Scale<B: Backend> {
    by: Param<B>,
    hooks: Hooks<B>,
}

impl<B: Backend> Scale<B> {
    fn count(&self, input: &Shape, _output: &Shape) -> u64 {
        input.numel() as u64
    }
}

impl<B: Backend> Forward for Scale<B> {
    fn forward(&self, x: &Tensor<B>) -> Tensor<B> {
        x * self.by.tensor()
    }
}

#[test]
fn modules_tell_their_own_operations() {
    let by = Param::new(Tensor::<B>::ones([3], &CpuDevice));
    let model = Sequential::new([Scale { by, hooks: Hooks::new() }]);
    assert_eq!(summary(&model, &Tensor::ones([2, 3], &CpuDevice)).flops, 6);
}

/// A recurrent layer, a cell, attention to itself and to others.
#[derive(Module)]
struct Reader<B: Backend> {
    lstm: LSTM<B>,
    cell: GRUCell<B>,
    own: MultiheadAttention<B>,
    other: MultiheadAttention<B>,
}

#[test]
fn recurrence_and_attention_tell_their_operations() {
    let d = &CpuDevice;
    let net = Reader::<B> {
        lstm: LSTM::new(3, 4, d).num_layers(2).bidirectional(true),
        cell: GRUCell::new(3, 4, d),
        own: MultiheadAttention::new(8, 2, d),
        other: MultiheadAttention::new(8, 2, d).kdim_vdim(5, 7),
    };
    let found = summary_of(&net, || {
        net.cell.forward(&Tensor::zeros([6, 3], d), None);
        let [q, k, v] = [[3, 2, 8], [5, 2, 5], [5, 2, 7]].map(|shape| Tensor::zeros(shape, d));
        net.own.forward(&q, &q, &q, MultiheadOptions::new().need_weights(false));
        net.other.forward(&q, &k, &v, MultiheadOptions::new());
        net.lstm.forward(&Tensor::zeros([5, 2, 3], d), None).0
    });
    let flops = |path: &str| found.rows.iter().find(|row| row.path == path).unwrap().flops;
    // 10 steps, 16 gates; the second layer reads both directions of the first.
    assert_eq!(flops("lstm"), Some(2 * 10 * 2 * (16 * (3 + 4) + 16 * (8 + 4))));
    assert_eq!(flops("cell"), Some(2 * 6 * 12 * (3 + 4)));
    // 6 queries of 8 numbers: three projections, then scores and values; 3 keys each.
    assert_eq!(flops("own"), Some(2 * 6 * 3 * 8 * 8 + 2 * 2 * 6 * 3 * 8));
    let projections = 6 * 8 * 8 + 10 * 5 * 8 + 10 * 7 * 8;
    assert_eq!(flops("other"), Some(2 * projections + 2 * 2 * 6 * 5 * 8));
    assert_eq!(flops("own.out_proj"), Some(2 * 6 * 8 * 8));
    let lstm = found.rows.iter().find(|row| row.path == "lstm").unwrap();
    assert_eq!(lstm.output.as_ref().unwrap().to_vec(), [5, 2, 8]);
}
