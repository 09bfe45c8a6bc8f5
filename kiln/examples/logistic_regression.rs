//! Logistic regression with its gradient written by hand: no autograd, no optimizer, the plain CPU
//! backend. It tells threes from eights among real handwritten digits.
//!
//! `cargo run --release -p kiln --example logistic_regression`

use kiln::cpu::{Cpu, CpuDevice};
use kiln::data::metrics::{Average, ConfusionMatrix};
use kiln::data::{Dataset, TensorDataset, digits};
use kiln::tensor::{DType, Tensor};

/// `p = sigmoid(x · w + b)` on a backend that records nothing.
struct Logistic {
    weight: Tensor<Cpu>,
    bias: Tensor<Cpu>,
}

impl Logistic {
    fn new(inputs: usize) -> Self {
        Logistic {
            weight: Tensor::zeros([inputs, 1], &CpuDevice),
            bias: Tensor::zeros(1, &CpuDevice),
        }
    }

    /// The chance of class 1 for each row of `x`, `[n, 1]`.
    fn forward(&self, x: &Tensor<Cpu>) -> Tensor<Cpu> {
        (x.matmul(&self.weight) + &self.bias).sigmoid()
    }

    /// The gradient of the mean of `−y ln p − (1 − y) ln(1 − p)`: in the logits it is `(p − y) / n`,
    /// and the chain rule takes it on to the weight and the bias.
    fn backward(&self, x: &Tensor<Cpu>, p: &Tensor<Cpu>, y: &Tensor<Cpu>) -> [Tensor<Cpu>; 2] {
        let logits = (p - y) / x.dims()[0];
        [x.t().matmul(&logits), logits.sum_dims([0], false)]
    }

    /// One step downhill, in place.
    fn optimize(&mut self, [weight, bias]: [Tensor<Cpu>; 2], lr: f64) {
        self.weight -= weight * lr;
        self.bias -= bias * lr;
    }
}

fn main() -> kiln::Result<()> {
    // Threes and eights: rows of 64 pixels from 0 to 1, and whether each is an eight.
    let digits = digits();
    let label = |&i: &usize| digits.labels()[i];
    let wanted: Vec<usize> = (0..digits.len()).filter(|i| [3, 8].contains(&label(i))).collect();
    let data = TensorDataset::new(digits.tensors::<Cpu>(&CpuDevice)).subset(wanted);
    let [train, test] = data.random_split([0.8, 0.2], 0);
    let prepare = |(images, labels): (Tensor<Cpu>, Tensor<Cpu>)| {
        (images.flatten(1, -1), labels.eq(8).to_dtype(DType::F32).unsqueeze(1))
    };
    let ((x, y), (test_x, test_y)) = (prepare(train.all()?), prepare(test.all()?));

    let mut model = Logistic::new(64);
    for step in 1..=300 {
        let p = model.forward(&x);
        let gradients = model.backward(&x, &p, &y);
        if step % 50 == 0 {
            let loss = -(&y * p.log() + (1.0 - &y) * (1.0 - p).log());
            println!("step {step}: loss {:.4}", loss.sum().item() / x.dims()[0] as f64);
        }
        model.optimize(gradients, 1.0);
    }

    let predicted: Vec<bool> = model.forward(&test_x).ge(0.5).to_vec();
    let predicted: Vec<i64> = predicted.into_iter().map(i64::from).collect();
    let target: Vec<i64> = test_y.to_dtype(DType::I64).to_vec();
    let mut matrix = ConfusionMatrix::with_names(["three", "eight"]);
    matrix.add(&predicted, &target);
    println!("\n{matrix}\ntest accuracy: {:.1} %", 100.0 * matrix.accuracy());
    println!("F1 of the eights: {:.3}", matrix.f1(Average::Binary));
    assert!(matrix.accuracy() > 0.95, "logistic regression should tell threes from eights");
    Ok(())
}
