//! Times of the elementwise, reducing and row kernels: `cargo run --release -p kiln-backend-cpu --example timings`.

use std::hint::black_box;
use std::time::Instant;

use kiln_backend_cpu::{Cpu, CpuDevice, num_threads};
use kiln_tensor_core::{AttentionSpec, Backend, Fused, Shape, Tensor, compose};

/// The best and the median of some rounds, in milliseconds.
fn time<T>(name: &str, mut f: impl FnMut() -> T) {
    let mut rounds: Vec<f64> = (0..25)
        .map(|_| {
            let start = Instant::now();
            black_box(f());
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{name:28} {:9.3} best {:9.3} median", rounds[0], rounds[rounds.len() / 2]);
}

fn main() {
    println!("{} threads, milliseconds", num_threads());
    let make = |shape: &[usize]| Tensor::<Cpu>::rand(Shape::from(shape), &CpuDevice) - 0.5;
    let n = 1 << 24;
    let (a, b, c) = (make(&[n]), make(&[n]), make(&[n]));
    let fused = Fused::new("mul_add_relu", |[a, b, c]| (a * b + c).relu());
    time("add_16M", || &a + &b);
    time("mul_add_relu_16M", || fused.call([&a, &b, &c]));
    time("sum_16M", || a.sum());
    let square = a.reshape_to(&Shape::from([4096, 4096]));
    time("sum_dim0_4096x4096", || square.sum_dims([0], false));
    time("softmax_4096x4096", || Cpu::softmax(&square, 1));
    time("transpose_copy_4096x4096", || square.t().copy());
    let rows = make(&[4096, 1024]);
    let (w, bias) = (make(&[1024]), make(&[1024]));
    time("layer_norm_4096x1024", || Cpu::layer_norm(&rows, Some(&w), Some(&bias), 1, 1e-5));
    time("cumsum_4096x1024", || Cpu::scan(kiln_tensor_core::ScanOp::Sum, &rows, 1));
    time("exp_4M", || rows.exp());
    time("tanh_4M", || rows.tanh());
    time("gelu_4M", || rows.gelu());
    time("rms_norm_4096x1024", || Cpu::rms_norm(&rows, Some(&w), 1, 1e-5));
    let [q, k, v] = [(); 3].map(|()| make(&[16, 1024, 64]));
    for causal in [false, true] {
        let spec = AttentionSpec { causal, scale: 0.125 };
        let name = |what: &str| format!("{what}{}", if causal { "_causal" } else { "" });
        let run = || Cpu::scaled_dot_product_attention(&q, &k, &v, None, &spec);
        time(&name("attention_16x1024x64"), run);
        time(&name("attention, composed"), || {
            compose::scaled_dot_product_attention(&q, &k, &v, None, &spec)
        });
        let [y, log] = run();
        time(&name("attention_grad"), || {
            Cpu::scaled_dot_product_attention_grad(&y, &q, &k, &v, None, &y, &log, &spec)
        });
        time(&name("attention_grad, composed"), || {
            compose::scaled_dot_product_attention_grad(&y, &q, &k, &v, None, &spec)
        });
    }
    let images = make(&[32, 64, 56, 56]);
    time("batch_norm_32x64x56x56", || Cpu::batch_norm(&images, None, None, 1e-5));
    let (x, y) = (make(&[1]), make(&[1]));
    time("tiny add, 1000 times", || (0..1000).for_each(|_| drop(black_box(&x + &y))));
}
