//! The OpenCL backend beside the CPU backend, interleaved: medians and their ratio. On PoCL both have the same
//! silicon.
//!
//! `cargo run --release -p kiln-backend-opencl --example against_cpu [name]…`

use std::time::Instant;

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_backend_opencl::{OpenCl, OpenClDevice};
use kiln_tensor_core::{AttentionOptions, Backend, ConvSpec, Tensor};

/// How often each is timed.
const ROUNDS: usize = 11;

/// One run of a workload on a backend; what it gives is kept until the clock has stopped.
type Run<B> = fn(&[Tensor<B>]) -> Tensor<B>;

struct Workload<B: Backend> {
    name: &'static str,
    shapes: &'static [&'static [usize]],
    run: Run<B>,
}

fn conv() -> ConvSpec {
    ConvSpec { padding: [1, 1].as_slice().into(), ..ConvSpec::new(2) }
}

#[rustfmt::skip]
fn workloads<B: Backend>() -> Vec<Workload<B>> {
    vec![
        Workload { name: "add_16m", shapes: &[&[1 << 24], &[1 << 24]], run: |x| &x[0] + &x[1] },
        Workload { name: "mul_add_relu_16m", shapes: &[&[1 << 24], &[1 << 24], &[1 << 24]], run: |x| (&x[0] * &x[1] + &x[2]).relu() },
        Workload { name: "bias_4096x1024", shapes: &[&[4096, 1024], &[1024]], run: |x| &x[0] + &x[1] },
        Workload { name: "transpose_2048", shapes: &[&[2048, 2048]], run: |x| x[0].t().contiguous() },
        Workload { name: "exp_4m", shapes: &[&[1 << 22]], run: |x| x[0].exp() },
        Workload { name: "sum_16m", shapes: &[&[1 << 24]], run: |x| x[0].sum() },
        Workload { name: "sum_rows_4096", shapes: &[&[4096, 4096]], run: |x| x[0].sum_dims([1], false) },
        Workload { name: "sum_columns_4096", shapes: &[&[4096, 4096]], run: |x| x[0].sum_dims([0], false) },
        Workload { name: "softmax_4096", shapes: &[&[4096, 4096]], run: |x| x[0].softmax(1) },
        Workload { name: "matmul_64x784x256", shapes: &[&[64, 784], &[784, 256]], run: |x| x[0].matmul(&x[1]) },
        Workload { name: "matmul_512", shapes: &[&[512, 512], &[512, 512]], run: |x| x[0].matmul(&x[1]) },
        Workload { name: "matmul_1024", shapes: &[&[1024, 1024], &[1024, 1024]], run: |x| x[0].matmul(&x[1]) },
        Workload { name: "matmul_t_1024", shapes: &[&[1024, 1024], &[1024, 1024]], run: |x| x[0].matmul(&x[1].t()) },
        Workload { name: "matmul_batch_96", shapes: &[&[96, 128, 64], &[96, 64, 128]], run: |x| x[0].matmul(&x[1]) },
        Workload { name: "conv_64_56", shapes: &[&[8, 64, 56, 56], &[64, 64, 3, 3]], run: |x| B::conv(&x[0], &x[1], &conv()) },
        Workload { name: "conv_grad_input", shapes: &[&[8, 64, 56, 56], &[64, 64, 3, 3]], run: |x| B::conv_grad_input(&x[0], &x[1], x[0].shape(), &conv()) },
        Workload { name: "conv_grad_weight", shapes: &[&[8, 64, 56, 56], &[8, 64, 56, 56]], run: |x| B::conv_grad_weight(&x[0], &x[1], &[64, 64, 3, 3].into(), &conv()) },
        Workload { name: "layer_norm_4096x1024", shapes: &[&[4096, 1024], &[1024], &[1024]], run: |x| B::layer_norm(&x[0], Some(&x[1]), Some(&x[2]), 1, 1e-5).into_iter().next().expect("three") },
        Workload { name: "attention_16x512x64", shapes: &[&[16, 512, 64], &[16, 512, 64], &[16, 512, 64]], run: |x| x[0].scaled_dot_product_attention(&x[1], &x[2], AttentionOptions::new()) },
        Workload { name: "cumsum_4096x1024", shapes: &[&[4096, 1024]], run: |x| x[0].cumsum(1) },
        Workload { name: "small_add", shapes: &[&[16], &[16]], run: |x| &x[0] + &x[1] },
    ]
}

fn inputs<B: Backend>(shapes: &[&[usize]], device: &B::Device) -> Vec<Tensor<B>> {
    kiln_tensor_core::manual_seed(7);
    shapes.iter().map(|&shape| Tensor::randn(shape, device)).collect()
}

fn once<B: Backend>(run: Run<B>, inputs: &[Tensor<B>]) -> f64 {
    let device = inputs[0].device();
    B::sync(device);
    let start = Instant::now();
    let result = run(inputs);
    B::sync(device);
    let seconds = start.elapsed().as_secs_f64();
    drop(result);
    seconds * 1e3
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let (cpu, opencl) = (CpuDevice, OpenClDevice::default());
    println!("{:<22} {:>9} {:>9} {:>6}", "milliseconds", "opencl", "cpu", "ratio");
    for (theirs, ours) in workloads::<OpenCl>().iter().zip(&workloads::<Cpu>()) {
        if !wanted.is_empty() && !wanted.iter().any(|name| ours.name.contains(&name[..])) {
            continue;
        }
        let a = inputs::<OpenCl>(theirs.shapes, &opencl);
        let b = inputs::<Cpu>(ours.shapes, &cpu);
        let (mut slow, mut fast) = (Vec::new(), Vec::new());
        // The first round compiles.
        once(theirs.run, &a);
        once(ours.run, &b);
        for _ in 0..ROUNDS {
            slow.push(once(theirs.run, &a));
            fast.push(once(ours.run, &b));
        }
        let (slow, fast) = (median(slow), median(fast));
        println!("{:<22} {slow:>9.3} {fast:>9.3} {:>6.2}", ours.name, fast / slow);
    }
}
