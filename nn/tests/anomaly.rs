//! A NaN in backward is traced to the program's own line, whatever of this crate is called there.

use kiln_autograd::{Autograd, Backward, detect_anomaly};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_nn::functional as F;
use kiln_nn::{Forward, GaussianNLLLoss, Identity, LayerNorm, PoissonNLLLoss, Sequential};
use kiln_tensor_core::{Reduction, Tensor, catch};

type T = Tensor<Autograd<Cpu>>;

/// Of equal numbers, it divides 0 by 0.
fn norm() -> LayerNorm<Autograd<Cpu>> {
    LayerNorm::new([4], &CpuDevice).eps(0.0)
}

/// The line that is to be named, and what is called there.
type Called = (u32, fn(&T) -> T);

#[test]
fn the_line_is_the_users_whatever_layer_is_called() {
    #[rustfmt::skip]
    let calls: [(&str, Called); 5] = [
        ("a function", (line!(), |x| F::poisson_nll_loss(x, x, false, false, 0.0, Reduction::Sum))),
        ("a loss", (line!(), |x| PoissonNLLLoss::new().log_input(false).eps(0.0).call(x, x))),
        ("a loss of three", (line!(), |x| GaussianNLLLoss::new().eps(0.0).call(x, x, x))),
        ("a layer", (line!(), |x| norm().call(x))),
        ("layers", (line!(), |x| Sequential::new((Identity::new(), norm())).call(x))),
    ];
    for (what, (line, call)) in calls {
        let x = T::zeros([1, 1, 4], &CpuDevice).requires_grad_(true);
        let run = || detect_anomaly(|| call(&x).sum().backward());
        let text = catch(run).expect_err(what).to_string();
        let first = text.lines().find(|line| line.contains("anomaly.rs")).unwrap_or_default();
        assert!(
            first.contains(&format!("tests/anomaly.rs:{line}:")),
            "{what}, line {line}: {text}"
        );
        let ours = ["autograd/src", "tensor-core/src", "backend-cpu/src", "nn/src"];
        assert!(!ours.iter().any(|ours| text.contains(ours)), "only the program's lines: {text}");
    }
}
