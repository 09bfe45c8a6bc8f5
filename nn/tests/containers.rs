//! Containers.

use kiln_autograd::{Autograd, Backward};
use kiln_conformance::{Reference, ReferenceDevice};
use kiln_nn::*;
use kiln_tensor_core::{Backend, Error, Tensor, catch};

type Ad = Autograd<Reference>;
const DEVICE: ReferenceDevice = ReferenceDevice;

fn linear<B: Backend<Device = ReferenceDevice>>(i: usize, o: usize) -> Linear<B> {
    Linear::new(i, o, &DEVICE)
}

#[test]
fn sequential_from_tuples_arrays_lists_and_step_by_step() {
    let tuple = Sequential::<Ad>::new((linear(2, 3), ReLU::new(), linear(3, 4)));
    let array = Sequential::<Ad>::new([linear(2, 3), linear(3, 4)]);
    let list =
        Sequential::<Ad>::new(vec![Box::new(linear(2, 3)) as Layer<Ad>, Box::new(Tanh::new())]);
    let mut built = Sequential::<Ad>::empty();
    built.push(linear(2, 3)).push(GELU::new()).push_named("head", linear(3, 4));
    let x = Tensor::ones([5, 2], &DEVICE);
    for (net, out) in [(&tuple, 4), (&array, 4), (&list, 3), (&built, 4)] {
        assert_eq!(*net.call(&x).shape(), [5, out]);
    }
    assert_eq!(tuple.len(), 3);
    assert!(tuple[1].as_dyn().is::<ReLU<Ad>>());
    assert_eq!(*Sequential::<Ad>::empty().call(&x).shape(), [5, 2]);
    let names: Vec<String> = built.named_parameters().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["0.weight", "0.bias", "head.weight", "head.bias"]);
    built.eval();
    assert!(!built[1].training() && !built.training());
}

#[derive(Module)]
struct Net<B: Backend> {
    blocks: ModuleList<Linear<B>>,
    heads: ModuleDict<Box<dyn Forward<Backend = B>>>,
    scales: ParameterList<B>,
    table: ParameterDict<B>,
}

fn net() -> Net<Ad> {
    let mut net = Net {
        blocks: ModuleList::new([linear(3, 3), linear(3, 3)]),
        heads: ModuleDict::new([("first", Box::new(linear(3, 1)) as Layer<Ad>)]),
        scales: ParameterList::new([Tensor::ones([2, 3], &DEVICE)]),
        table: ParameterDict::new([("a", Tensor::zeros([4], &DEVICE))]),
    };
    net.blocks.push(linear(3, 2));
    net.heads.insert("second", Box::new(Softmax::new(1)));
    net.scales.push(Tensor::zeros([1], &DEVICE));
    net.table.insert("b", Tensor::zeros([5], &DEVICE));
    net
}

#[test]
fn lists_and_dictionaries_hold_what_they_are_given() {
    let net = net();
    let names: Vec<String> = net.named_parameters().into_iter().map(|(name, _)| name).collect();
    let expected = [
        "blocks.0.weight",
        "blocks.0.bias",
        "blocks.1.weight",
        "blocks.1.bias",
        "blocks.2.weight",
        "blocks.2.bias",
        "heads.first.weight",
        "heads.first.bias",
        "scales.0",
        "scales.1",
        "table.a",
        "table.b",
    ];
    assert_eq!(names, expected);
    assert_eq!(net.blocks.iter().map(|block| block.weight.numel()).sum::<usize>(), 24);
    assert_eq!(net.scales[0].numel(), 6);
    assert_eq!(net.table["b"].numel(), 5);
    let x = net.blocks.iter().fold(Tensor::ones([7, 3], &DEVICE), |x, block| block.call(&x));
    assert_eq!(net.heads["second"].call(&x).sum().item().round(), 7.0);
    let Err(Error::Argument { why, .. }) = catch(|| net.heads["third"].type_name()) else {
        panic!("there is no third head")
    };
    assert!(why.contains("third") && why.contains("first, second"), "{why}");
}

/// What PyTorch prints, up to its words for a parameter.
#[test]
fn containers_print_as_pytorchs() {
    #[rustfmt::skip]
    let expected = "\
Net(
  (blocks): ModuleList(
    (0-1): 2 x Linear(in_features=3, out_features=3, bias=True)
    (2): Linear(in_features=3, out_features=2, bias=True)
  )
  (heads): ModuleDict(
    (first): Linear(in_features=3, out_features=1, bias=True)
    (second): Softmax(dim=1)
  )
  (scales): ParameterList(
    (0): Parameter containing: [f32 of size 2x3]
    (1): Parameter containing: [f32 of size 1]
  )
  (table): ParameterDict(
    (a): Parameter containing: [f32 of size 4]
    (b): Parameter containing: [f32 of size 5]
  )
)";
    assert_eq!(net().to_string(), expected);
    assert_eq!(Sequential::<Ad>::empty().to_string(), "Sequential()");
    assert_eq!(CrossEntropyLoss::<Ad>::new().to_string(), "CrossEntropyLoss()");
}

#[test]
fn bilinear_is_a_sum_over_pairs() {
    let layer = Bilinear::<Ad>::new(2, 3, 2, &DEVICE);
    let a: Vec<f32> = (0..12).map(|i| i as f32).collect();
    layer.weight.set(Tensor::from_slice(&a, [2, 2, 3], &DEVICE));
    layer.bias.as_ref().unwrap().set(Tensor::from_slice(&[0.5f32, -0.5], [2], &DEVICE));
    let x1 = Tensor::from_slice(&[1f32, 2.0], [1, 2], &DEVICE);
    let x2 = Tensor::from_slice(&[1f32, 0.0, -1.0], [1, 3], &DEVICE);
    // Row i of A[k], times x₂, is −2; with x₁ that is −6.
    assert_eq!(layer.forward(&x1, &x2).to_vec::<f32>(), [-5.5, -6.5]);
    assert_eq!(
        layer.to_string(),
        "Bilinear(in1_features=2, in2_features=3, out_features=2, bias=True)"
    );
    assert!(matches!(catch(|| layer.forward(&x2, &x1)), Err(Error::Shape { .. })));
}

#[test]
fn mistakes_are_named() {
    let two_groups = catch(|| Conv1d::<Ad>::new(3, 4, 3, &DEVICE).groups(2));
    assert!(matches!(two_groups, Err(Error::Argument { .. })));
    let same = Conv1d::<Ad>::new(1, 1, 3, &DEVICE).padding(Padding::Same).stride(2);
    let strided = catch(|| same.call(&Tensor::ones([1, 1, 9], &DEVICE)));
    assert!(matches!(strided, Err(Error::Argument { .. })));
    let norm = BatchNorm2d::<Ad>::new(3, &DEVICE);
    let flat = catch(|| norm.call(&Tensor::ones([2, 3], &DEVICE)));
    assert!(matches!(flat, Err(Error::Shape { .. })));
    let table = Embedding::<Ad>::new(4, 2, &DEVICE);
    let floats = catch(|| table.call(&Tensor::ones([2], &DEVICE)));
    assert!(matches!(floats, Err(Error::DType { .. })));
    let beyond = catch(|| table.call(&Tensor::from_slice(&[4i64], [1], &DEVICE)));
    assert!(matches!(beyond, Err(Error::Index { .. })));
    assert!(matches!(
        catch(|| Embedding::<Ad>::new(4, 2, &DEVICE).padding_idx(4)),
        Err(Error::Index { .. })
    ));
    let odd = catch(|| GLU::<Ad>::new().call(&Tensor::ones([2, 3], &DEVICE)));
    assert!(matches!(odd, Err(Error::Shape { .. })));
    let five = catch(|| Unflatten::<Ad>::new(1, [2, -1]).call(&Tensor::ones([2, 5], &DEVICE)));
    assert!(matches!(five, Err(Error::Shape { .. })));
}

mod checkpointed {
    use kiln_autograd::{BackwardOptions, GradOptions};
    use kiln_backend_cpu::{Cpu, CpuDevice};
    use kiln_tensor_core::{DType, autocast, manual_seed};
    use parking_lot::{Mutex, MutexGuard};

    use super::*;

    type Ad = Autograd<Cpu>;
    type T = Tensor<Ad>;

    /// The generator is one for all threads: who counts on what it draws next takes turns.
    fn turn() -> MutexGuard<'static, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        TURN.lock()
    }

    /// Blocks with everything that must be the same the second time: weights, dropout, statistics.
    fn blocks(count: usize) -> Sequential<Ad> {
        manual_seed(3);
        let block = |_| {
            let norm = BatchNorm1d::new(6, &CpuDevice);
            let inner = (Linear::new(6, 6, &CpuDevice), norm, Tanh::new(), Dropout::new(0.4));
            Sequential::new(inner)
        };
        Sequential::new((0..count).map(block).collect::<Vec<_>>())
    }

    fn input() -> T {
        let values: Vec<f32> = (0..24).map(|i| (i as f32 * 0.7).sin()).collect();
        Tensor::from_slice(&values, [4, 6], &CpuDevice).requires_grad_(true)
    }

    /// What a step gives: the result, the gradients of the input and of all parameters.
    fn step(net: &Sequential<Ad>, run: &dyn Fn(&Sequential<Ad>, &T) -> T) -> Vec<Vec<f32>> {
        let x = input();
        net.zero_grad();
        manual_seed(11);
        let y = run(net, &x);
        y.to_dtype(DType::F32).pow(2.0).sum().backward();
        let grads = net.parameters().into_iter().map(|p| p.grad().expect("a gradient").to_vec());
        [y.to_dtype(DType::F32).to_vec(), x.grad().unwrap().to_vec()]
            .into_iter()
            .chain(grads)
            .collect()
    }

    #[test]
    fn gradients_have_the_same_bits() {
        let _turn = turn();
        let want = step(&blocks(5), &|net, x| net.call(x));
        for segments in 1..=5 {
            assert_eq!(step(&blocks(5), &|net, x| checkpoint_sequential(net, segments, x)), want);
        }
        let parts = |net: Sequential<Ad>| Sequential::new([Checkpointed::new(net)]);
        let net = parts(blocks(5));
        assert_eq!(step(&net, &|net, x| net.call(x)), want);

        // State dicts, printing and the training flag see the module inside.
        assert_eq!(net.to_string(), Sequential::<Ad>::new([blocks(5)]).to_string());
        assert_eq!(net.named_parameters()[0].0, "0.0.0.weight");
        net.eval();
        let x = input();
        assert_eq!(net.call(&x).to_vec::<f32>(), net.call(&x).to_vec::<f32>(), "no dropout");

        let cast = |run: &dyn Fn(&Sequential<Ad>, &T) -> T| {
            step(&blocks(3), &|net, x| autocast(DType::BF16, || run(net, x)))
        };
        let narrow = cast(&|net, x| net.call(x));
        assert_ne!(narrow[0], want[0]);
        assert_eq!(cast(&|net, x| checkpoint_sequential(net, 3, x)), narrow);
    }

    #[test]
    fn derivatives_have_a_second_order() {
        let _turn = turn();
        let net = blocks(4);
        net.eval();
        let second = |run: &dyn Fn(&T) -> T| -> Vec<f32> {
            let x = input();
            let options = GradOptions::new().create_graph(true);
            let first = options.grad(&[&run(&x).pow(2.0).sum()], &[&x]).remove(0);
            first.pow(2.0).sum().backward_with(BackwardOptions::new());
            x.grad().unwrap().to_vec()
        };
        let want = second(&|x| net.call(x));
        let ours = second(&|x| checkpoint_sequential(&net, 3, x));
        // The same numbers, of which some are added up in another order; they are about 1e-3 here.
        let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-8;
        assert!(want[0] != 0.0 && want.iter().zip(&ours).all(near), "{ours:?} for {want:?}");
    }

    #[test]
    fn memory_is_less() {
        let _turn = turn();
        let mut net = Sequential::<Ad>::empty();
        for _ in 0..16 {
            net.push(Linear::new(64, 64, &CpuDevice)).push(Tanh::new()).push(Sigmoid::new());
        }
        let x = Tensor::ones([512, 64], &CpuDevice);
        let held = |run: &dyn Fn() -> T| {
            let before = Cpu::memory(&CpuDevice).allocated;
            let y = run();
            let held = Cpu::memory(&CpuDevice).allocated - before;
            y.sum().backward();
            held
        };
        let (whole, parts) = (held(&|| net.call(&x)), held(&|| checkpoint_sequential(&net, 8, &x)));
        // Seven of eight parts keep one of their six results.
        assert!(parts * 3 < whole, "{parts} of {whole}");
    }

    #[test]
    fn there_are_as_many_layers_as_segments() {
        let _turn = turn();
        let net = blocks(2);
        for (segments, said) in [(0, "0 segments of 2 layers"), (3, "3 segments of 2 layers")] {
            let error = catch(|| checkpoint_sequential(&net, segments, &input())).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
        }
        assert!(matches!(
            catch(|| checkpoint_sequential(&net, 3, &input())),
            Err(Error::Argument { .. })
        ));
    }
}
