//! What is there to find mistakes with: NaN in backward, and the graph.

use kiln_autograd::{Autograd, Backward, GradFn, detect_anomaly, dot, is_anomaly_enabled, no_grad};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Tensor, catch};

type T = Tensor<Autograd<Cpu>>;

fn leaf<const N: usize>(values: [f64; N]) -> T {
    Tensor::from_slice(&values, [N], &CpuDevice).requires_grad_(true)
}

#[inline(never)]
fn root_of_zero(x: &T) -> T {
    x.sqrt() * 0.0
}

#[test]
fn a_nan_in_backward_is_traced_to_forward() {
    let x = leaf([4.0, 0.0]);
    root_of_zero(&x).sum().backward();
    assert!(x.grad().unwrap().isnan().any().item() != 0.0, "unnoticed without");
    let text =
        catch(|| detect_anomaly(|| root_of_zero(&x).sum().backward())).unwrap_err().to_string();
    assert!(text.contains("SqrtBackward: its gradient of input 0 has a NaN"), "{text}");
    assert!(text.contains("root_of_zero") && text.contains("tests/looking.rs:15:"), "{text}");
    assert!(!text.contains("autograd/src"), "only the program's own lines: {text}");
    assert!(!is_anomaly_enabled());

    let y = root_of_zero(&x).sum();
    let text = catch(|| detect_anomaly(|| y.backward())).unwrap_err().to_string();
    assert!(text.contains("run its forward inside of `detect_anomaly` too"), "{text}");
    // Nothing wrong, nothing said; integers have no NaN.
    detect_anomaly(|| (&x * 2.0).sum().backward());
}

#[test]
fn functions_lead_to_the_leaves() {
    let (x, w) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
    let y = (&x * &w).exp() + 1.0;
    let made = GradFn::of(&y).unwrap();
    let below = |f: &GradFn<Cpu>| f.next_functions().into_iter().flatten().next().unwrap();
    let names = [made.name(), below(&made).name(), below(&below(&made)).name()];
    assert_eq!(names[1..], ["ExpBackward", "MulBackward"]);
    let leaves = below(&below(&made)).next_functions();
    assert!(leaves.iter().flatten().all(|f| f.name() == "AccumulateGrad"));
    assert_eq!(leaves[0].as_ref().unwrap().leaf_shape(), Some([2].into()));
    assert_eq!(format!("{:?}", below(&made)), "<ExpBackward>");
    assert!(GradFn::of(&y.detach()).is_none() && GradFn::of(&no_grad(|| &x * 2.0)).is_none());
    let constant = (&x * &w.detach()).sum();
    assert!(GradFn::of(&constant).unwrap().next_functions()[0].is_some());
}

#[test]
fn the_drawing_has_each_operation_once() {
    let (x, w) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
    let shared = &x * &w;
    let y = shared.exp() + &shared;
    let text = dot(&[&y, &shared], [("in\"put", &x)]);
    let count = |what: &str| text.matches(what).count();
    assert_eq!([count("MulBackward"), count("ExpBackward"), count("AddBackward")], [1, 1, 1]);
    assert_eq!([count("in\\\"put\\n[2]"), count("leaf\\n[2]"), count("output [2]")], [1, 1, 2]);
    // x→mul, w→mul, mul→exp, mul→add, exp→add, add→out, mul→out
    assert_eq!(count(" -> "), 7);
    assert!(text.starts_with("digraph {") && text.ends_with("}\n"));
}
