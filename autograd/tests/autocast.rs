//! Within an autocast region each op runs in the dtype that the table says, and gradients keep their parameters' dtype.

use kiln_autograd::{Autograd, Backward, checkpoint, no_grad};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::DType::{BF16, F16, F32, F64};
use kiln_tensor_core::autocast::{Policy, policy};
use kiln_tensor_core::{
    Activation, AttentionOptions, ConvSpec, DType, Reduction, autocast, autocast_dtype, catch,
    no_autocast, set_autocast,
};

type Tensor = kiln_tensor_core::Tensor<Autograd<Cpu>>;

fn some(shape: &[usize], dtype: DType) -> Tensor {
    Tensor::rand(shape, (&CpuDevice, F32)).to_dtype(dtype) * 0.5 + 0.25
}

type Op = (&'static str, fn(DType) -> Tensor);

/// Each op of the table that tensors have, on operands of a dtype; the first of two is `f32` where the policy is about
/// several dtypes.
const OPS: &[Op] = &[
    ("matmul", |d| some(&[2, 3], d).matmul(&some(&[3, 5], F32))),
    ("mm", |d| some(&[2, 3], d).mm(&some(&[3, 5], F32))),
    ("bmm", |d| some(&[2, 3, 5], d).bmm(&some(&[2, 5, 7], d))),
    ("mv", |d| some(&[2, 3], d).mv(&some(&[3], F32))),
    ("addmm", |d| some(&[5], F32).addmm(&some(&[2, 3], d), &some(&[3, 5], d), 1.0, 2.0)),
    ("baddbmm", |d| some(&[5], d).baddbmm(&some(&[2, 3, 5], d), &some(&[2, 5, 5], F32), 1.0, 2.0)),
    ("einsum", |d| Tensor::einsum("ij,jk->ik", &[&some(&[2, 3], d), &some(&[3, 5], F32)])),
    ("linear", |d| some(&[2, 3], d).linear(&some(&[5, 3], F32), Some(&some(&[5], F32)))),
    ("linear_act", |d| some(&[2, 3], d).linear_act(&some(&[5, 3], F32), None, Activation::Relu)),
    ("conv", |d| {
        some(&[1, 2, 5], d).conv(&some(&[3, 2, 2], F32), Some(&some(&[3], d)), &ConvSpec::new(1))
    }),
    ("conv_transpose", |d| {
        some(&[1, 2, 5], d).conv_transpose(&some(&[2, 3, 2], F32), None, &ConvSpec::new(1), &[0])
    }),
    ("prelu", |d| some(&[2, 3], d).prelu(&some(&[1], F32))),
    ("scaled_dot_product_attention", |d| {
        let [q, k, v] = [d, F32, d].map(|d| some(&[1, 2, 4], d));
        q.scaled_dot_product_attention(&k, &v, AttentionOptions::new())
    }),
    ("acos", |d| some(&[3], d).acos()),
    ("asin", |d| some(&[3], d).asin()),
    ("cosh", |d| some(&[3], d).cosh()),
    ("exp", |d| some(&[3], d).exp()),
    ("expm1", |d| some(&[3], d).expm1()),
    ("log", |d| some(&[3], d).log()),
    ("log10", |d| some(&[3], d).log10()),
    ("log2", |d| some(&[3], d).log2()),
    ("log1p", |d| some(&[3], d).log1p()),
    ("reciprocal", |d| some(&[3], d).reciprocal()),
    ("rsqrt", |d| some(&[3], d).rsqrt()),
    ("sinh", |d| some(&[3], d).sinh()),
    ("tan", |d| some(&[3], d).tan()),
    ("pow", |d| some(&[3], d).pow(some(&[3], d))),
    ("pow", |d| some(&[3], d).pow(2.0)),
    ("pow", |d| some(&[3], d).pow(1.5)),
    ("softplus", |d| some(&[3], d).softplus(1.0, 20.0)),
    ("layer_norm", |d| some(&[2, 3], d).layer_norm([3], Some(&some(&[3], F32)), None, 1e-5)),
    ("rms_norm", |d| some(&[2, 3], d).rms_norm([3], Some(&some(&[3], F32)), None)),
    ("group_norm", |d| some(&[2, 4, 3], d).group_norm(2, Some(&some(&[4], F32)), None, 1e-5)),
    ("norm", |d| some(&[3], d).norm()),
    ("norm", |d| some(&[3, 2], d).norm_dims(3.0, [0], false)),
    ("nll_loss", |d| {
        some(&[2, 3], d).nll_loss(&targets(), Some(&some(&[3], F32)), -100, Reduction::Mean)
    }),
    ("cross_entropy", |d| {
        some(&[2, 3], d).cross_entropy(
            &targets(),
            Some(&some(&[3], F32)),
            -100,
            0.1,
            Reduction::Mean,
        )
    }),
    ("cross_entropy", |d| {
        some(&[2, 3], d).cross_entropy(&targets(), None, -100, 0.0, Reduction::None)
    }),
    ("kl_div", |d| some(&[3], d).kl_div(&some(&[3], F32), false, Reduction::Mean)),
    ("l1_loss", |d| some(&[3], d).l1_loss(&some(&[3], F32), Reduction::Mean)),
    ("smooth_l1_loss", |d| some(&[3], d).smooth_l1_loss(&some(&[3], F32), 1.0, Reduction::Mean)),
    ("huber_loss", |d| some(&[3], d).huber_loss(&some(&[3], F32), 1.0, Reduction::Mean)),
    ("mse_loss", |d| some(&[3], d).mse_loss(&some(&[3], F32), Reduction::Mean)),
    ("binary_cross_entropy_with_logits", |d| {
        let (x, y) = (some(&[3], d), some(&[3], F32));
        x.binary_cross_entropy_with_logits(&y, None, Some(&some(&[3], F32)), Reduction::Mean)
    }),
    ("logsumexp", |d| some(&[2, 3], d).logsumexp([1], false)),
    ("prod", |d| some(&[3], d).prod()),
    ("prod", |d| some(&[2, 3], d).prod_dims([1], true)),
    ("softmax", |d| some(&[2, 3], d).softmax(1)),
    ("log_softmax", |d| some(&[2, 3], d).log_softmax(1)),
    ("cumprod", |d| some(&[3], d).cumprod(0)),
    ("cumsum", |d| some(&[3], d).cumsum(0)),
    ("sum", |d| some(&[3], d).sum()),
    ("sum", |d| some(&[2, 3], d).sum_dims([1], true)),
    ("addcdiv", |d| some(&[3], F32).addcdiv(&some(&[3], d), &some(&[3], d), 1.0)),
    ("addcmul", |d| some(&[3], F32).addcmul(&some(&[3], d), &some(&[3], d), 1.0)),
    ("atan2", |d| some(&[3], F32).atan2(some(&[3], d))),
    ("cat", |d| Tensor::cat(&[some(&[3], F32), some(&[3], d)], 0)),
    ("stack", |d| Tensor::stack(&[some(&[3], F32), some(&[3], d)], 0)),
    ("dot", |d| some(&[3], F32).dot(&some(&[3], d))),
    ("tensordot", |d| some(&[2, 3], F32).tensordot(&some(&[3, 5], d), [&[1], &[0]])),
    ("scatter_add", |d| {
        let index = Tensor::from_slice(&[0i64, 2], [2], &CpuDevice);
        some(&[3], F32).scatter_add(0, &index, &some(&[2], d))
    }),
];

fn targets() -> Tensor {
    Tensor::from_slice(&[0i64, 2], [2], &CpuDevice)
}

#[test]
fn each_op_runs_in_the_dtype_of_the_table() {
    for region in [F16, BF16] {
        for &(name, op) in OPS {
            for operands in [region, F32] {
                let expected = match policy(name).unwrap_or_else(|| panic!("{name} is not listed"))
                {
                    Policy::Narrow => region,
                    Policy::Full | Policy::Widest => F32,
                    Policy::Refused => unreachable!("{name}"),
                };
                let found = autocast(region, || op(operands)).dtype();
                assert_eq!(found, expected, "{name} of {operands} in a region of {region}");
            }
        }
    }
}

#[test]
fn ops_that_are_not_listed_keep_the_dtype_of_their_operands() {
    autocast(BF16, || {
        for dtype in [F16, BF16, F32, F64] {
            let x = some(&[2, 3], dtype);
            assert_eq!(policy("add"), None);
            for y in [&x + &x, x.relu(), x.tanh(), x.sin(), x.mean(), x.amax_dims([0], false)] {
                assert_eq!(y.dtype(), dtype);
            }
        }
        assert_eq!((some(&[3], BF16) + some(&[3], F32)).dtype(), F32);
        assert_eq!(some(&[2, 2], BF16).tensordot(&some(&[2, 2], BF16), [&[1], &[0]]).dtype(), BF16);
    });
}

#[test]
fn doubles_and_integers_are_left_alone() {
    autocast(F16, || {
        let x = some(&[3, 3], F64);
        assert_eq!(x.matmul(&x).dtype(), F64);
        assert_eq!(x.exp().dtype(), F64);
        let whole = Tensor::from_slice(&[1i64, 2], [2], &CpuDevice);
        assert_eq!(whole.sum().dtype(), DType::I64);
        assert_eq!(whole.dot(&whole).dtype(), DType::I64);
    });
}

#[test]
fn regions_nest_and_end() {
    let product = || some(&[2, 2], F32).matmul(&some(&[2, 2], F32)).dtype();
    assert_eq!(product(), F32);
    autocast(F16, || {
        assert_eq!(product(), F16);
        autocast(BF16, || assert_eq!(product(), BF16));
        no_autocast(|| {
            assert_eq!((product(), autocast_dtype()), (F32, None));
            autocast(BF16, || assert_eq!(product(), BF16));
        });
        assert_eq!(product(), F16);
        {
            let _off = set_autocast(None);
            assert_eq!(product(), F32);
        }
        assert_eq!(product(), F16);
    });
    // A region ends with a panic, too.
    assert!(catch(|| autocast(F16, || Tensor::zeros([2], &CpuDevice).view([3]))).is_err());
    assert_eq!(product(), F32);
    assert!(catch(|| autocast(F32, product)).unwrap_err().to_string().contains("f16 or bf16"));
}

#[test]
fn what_narrow_floats_would_spoil_is_refused() {
    let loss =
        |dtype| some(&[3], dtype).binary_cross_entropy(&some(&[3], dtype), None, Reduction::Mean);
    let why = catch(|| autocast(BF16, || loss(F32))).unwrap_err().to_string();
    assert!(why.contains("binary_cross_entropy_with_logits"), "{why}");
    assert_eq!(autocast(BF16, || no_autocast(|| loss(F32))).dtype(), F32);
}

#[test]
fn gradients_have_the_dtype_of_their_parameters() {
    let [x, weight, bias] = [&[4, 3][..], &[5, 3], &[5]].map(|s| some(s, F32).requires_grad_(true));
    let loss = autocast(BF16, || {
        let y = x.linear(&weight, Some(&bias));
        assert_eq!(y.dtype(), BF16);
        let loss = y.tanh().mse_loss(&Tensor::zeros([4, 5], &CpuDevice), Reduction::Mean);
        assert_eq!(loss.dtype(), F32);
        // PyTorch advises against backward in a region, and runs it in the dtypes of the forward pass; so do we.
        loss.backward();
        loss
    });
    let narrow = [&x, &weight, &bias].map(|p| p.grad().expect("a gradient"));
    [&x, &weight, &bias].into_iter().for_each(|p| p.set_grad(None));
    let exact = x.linear(&weight, Some(&bias)).tanh().square().mean();
    exact.backward();
    assert!((loss.item() - exact.item()).abs() < 1e-2);
    for (param, narrow) in [&x, &weight, &bias].into_iter().zip(narrow) {
        assert_eq!(narrow.dtype(), F32);
        let exact = param.grad().expect("a gradient");
        let apart = (&narrow - &exact).norm().item() / exact.norm().item();
        assert!((1e-6..2e-2).contains(&apart), "{apart}: near, and not computed in f32");
    }
}

#[test]
fn a_checkpoint_casts_again_as_it_did() {
    let weight = some(&[3, 3], F32).requires_grad_(true);
    let x = some(&[4, 3], F32).requires_grad_(true);
    let run = |keep: bool| {
        let part = |[x, w]: [&Tensor; 2]| x.matmul(w).tanh().matmul(w).exp();
        let loss = autocast(BF16, || match keep {
            true => part([&x, &weight]).sum(),
            false => checkpoint(part, [&x, &weight]).sum(),
        });
        loss.backward();
        let grads = [&x, &weight].map(|p| {
            let grad = p.grad().expect("a gradient").to_vec::<f32>();
            p.set_grad(None);
            grad
        });
        (loss.item(), grads)
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn normalisation_by_batch_takes_narrow_elements_beside_wide_weights() {
    let [mean, var, weight, bias] = [(); 4].map(|()| some(&[3], F32));
    for dtype in [F16, BF16] {
        let x = some(&[8, 3, 5], dtype);
        let wide = x.to_dtype(F32);
        let (y, batch_mean, batch_var) = x.batch_norm_train(Some(&weight), Some(&bias), 1e-5);
        assert_eq!([y.dtype(), batch_mean.dtype(), batch_var.dtype()], [dtype, F32, F32]);
        let (exact, _, _) = wide.batch_norm_train(Some(&weight), Some(&bias), 1e-5);
        assert_eq!(y.to_vec_f32(), exact.to_dtype(dtype).to_vec_f32());
        let y = x.batch_norm_eval(&mean, &var, Some(&weight), None, 1e-5);
        let exact = wide.batch_norm_eval(&mean, &var, Some(&weight), None, 1e-5).to_dtype(dtype);
        assert_eq!(y.to_vec_f32(), exact.to_vec_f32());
    }
    let mixed = some(&[8, 3, 5], F64);
    assert!(catch(|| no_grad(|| mixed.batch_norm_train(Some(&weight), None, 1e-5))).is_err());
}

trait Values {
    fn to_vec_f32(&self) -> Vec<f32>;
}

impl Values for Tensor {
    fn to_vec_f32(&self) -> Vec<f32> {
        self.to_dtype(F32).detach().to_vec::<f32>()
    }
}
