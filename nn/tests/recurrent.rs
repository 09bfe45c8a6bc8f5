//! What the table of PyTorch's results does not hold of recurrent layers: how many kernels a step takes, what
//! is refused, and that packing changes nothing.

use kiln_autograd::{Autograd, Backward, no_grad};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_conformance::spy::{Spy, watch};
use kiln_conformance::{Reference, ReferenceDevice};
use kiln_nn::*;
use kiln_tensor_core::{Tensor, catch};

type Watched = Autograd<Spy<Reference>>;

/// How often each kernel runs; views are none.
fn kernels(calls: &std::collections::BTreeMap<&'static str, usize>) -> Vec<(&'static str, usize)> {
    let free = ["view", "version", "shares_storage", "is_unique"];
    calls
        .iter()
        .filter(|(name, _)| !free.contains(name))
        .map(|(&name, &count)| (name, count))
        .collect()
}

#[test]
fn a_step_is_two_products_and_one_program() {
    let x = Tensor::<Watched>::ones([2, 3], &ReferenceDevice);
    let lstm = LSTMCell::new(3, 4, &ReferenceDevice);
    let state = lstm.forward(&x, None);
    let (_, calls) = watch(|| no_grad(|| lstm.forward(&x, Some(&state))));
    assert_eq!(kernels(&calls), [("linear", 2), ("map_many", 1)]);
    let gru = GRUCell::new(3, 4, &ReferenceDevice);
    let state = gru.forward(&x, None);
    let (_, calls) = watch(|| no_grad(|| gru.forward(&x, Some(&state))));
    assert_eq!(kernels(&calls), [("linear", 2), ("map", 1)]);
}

#[test]
fn a_step_backwards_is_one_program_beside_the_products() {
    let x = Tensor::<Watched>::ones([2, 3], &ReferenceDevice);
    let lstm = LSTMCell::new(3, 4, &ReferenceDevice);
    let state = lstm.forward(&x, None);
    let (h, _) = lstm.forward(&x, Some(&state));
    let loss = h.sum();
    let (_, calls) = watch(|| loss.backward());
    assert!(calls["map_many"] <= 2, "{calls:?}");
}

#[test]
fn packing_gives_what_each_sequence_gives_alone() {
    let lstm = LSTM::<Cpu>::new(3, 4, &CpuDevice).num_layers(2).bidirectional(true);
    let lengths = [2, 5, 1];
    let sequences = lengths.map(|n| Tensor::randn([n, 3], &CpuDevice));
    let packed = pack_sequence(&sequences, false);
    assert_eq!(packed.batch_sizes, [3, 2, 1, 1, 1]);
    let (y, (h, c)) = lstm.forward_packed(&packed, None);
    for (i, (x, y)) in sequences.iter().zip(unpack_sequence(&y)).enumerate() {
        let (alone, (alone_h, alone_c)) = lstm.forward(x, None);
        assert!(y.allclose(&alone, 1e-5, 1e-6, false), "sequence {i}");
        for (all, one) in [(&h, alone_h), (&c, alone_c)] {
            assert!(all.select(1, i as isize).allclose(&one, 1e-5, 1e-6, false), "state {i}");
        }
    }
    assert_eq!(pad_packed_sequence(&packed, true, 0.0, Some(7)).0.dims(), [3, 7, 3]);
    let mask = length_mask::<Cpu>(&[1, 3], 3, &CpuDevice);
    assert_eq!(mask.to_vec::<bool>(), [true, false, false, true, true, true]);
}

#[test]
fn mistakes_are_named() {
    let x = || Tensor::<Cpu>::zeros([5, 2, 3], &CpuDevice);
    let wrong: [(&str, fn(&Tensor<Cpu>)); 5] = [
        ("state", |x| {
            let gru = GRU::new(3, 4, &CpuDevice);
            gru.forward(x, Some(&Tensor::zeros([1, 3, 4], &CpuDevice)));
        }),
        ("[t, n, 4]", |x| _ = LSTM::new(4, 4, &CpuDevice).forward(x, None)),
        ("descending", |x| _ = pack_padded_sequence(x, &[2, 3], false, true)),
        ("one length", |x| _ = pack_padded_sequence(x, &[2], false, true)),
        ("proj_size", |_| _ = LSTM::<Cpu>::new(3, 4, &CpuDevice).proj_size(4)),
    ];
    for (said, f) in wrong {
        let error = catch(|| f(&x())).expect_err(said).to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn dropout_between_layers_is_for_training() {
    let rnn = RNN::<Cpu>::new(3, 4, &CpuDevice).num_layers(2).dropout(0.5);
    let x = Tensor::randn([5, 2, 3], &CpuDevice);
    let run = || rnn.forward(&x, None).0;
    assert!(!run().equal(&run()));
    rnn.eval();
    assert!(run().equal(&run()));
}

#[test]
fn hooks_see_sequences_and_may_replace_them() {
    let gru = GRU::<Autograd<Cpu>>::new(3, 4, &CpuDevice);
    let x = Tensor::ones([5, 2, 3], &CpuDevice);
    let (y, last) = gru.forward(&x, None);
    let handles = [
        gru.register_forward_pre_hook(|_, x| x * 0.0),
        gru.register_forward_hook(|_, x, y| {
            assert_eq!(x.abs().sum().item(), 0.0);
            y + 1.0
        }),
    ];
    let (hooked, state) = gru.forward(&x, None);
    assert!(!hooked.equal(&y) && !state.equal(&last));
    handles.into_iter().for_each(HookHandle::remove);
    assert!(gru.forward(&x, None).0.equal(&y));
}
