//! Einstein summation: 600 random equations with PyTorch's answers.

use std::io::Read;

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Shape, Tensor, catch};

type T = Tensor<Cpu>;

fn shape(text: &str) -> Shape {
    let sizes = text.split('x').filter(|n| !n.is_empty());
    sizes.map(|n| n.parse::<usize>().expect("a size")).collect()
}

#[test]
fn as_pytorch_has_it() {
    let mut text = String::new();
    let table = &include_bytes!("reference/einsum.txt.gz")[..];
    flate2::read::GzDecoder::new(table).read_to_string(&mut text).expect("a readable table");
    for case in text.lines() {
        let parts: Vec<&str> = case.split(' ').collect();
        let [equation, operands, result, elements] = parts[..] else { panic!("{case}") };
        let numbers = |sizes: &str| {
            let sizes = shape(sizes);
            let values: Vec<i64> = (0..sizes.numel() as i64).map(|i| i % 3).collect();
            T::from_slice(&values, sizes, &CpuDevice)
        };
        let operands: Vec<T> = operands.split(';').map(numbers).collect();
        let operands: Vec<&T> = operands.iter().collect();
        let got = T::einsum(&equation.replace('_', " "), &operands);
        let want: Vec<i64> = elements.split(',').map(|v| v.parse().expect("an element")).collect();
        assert_eq!((got.shape(), got.to_vec::<i64>()), (&shape(result), want), "{case}");
    }
    assert_eq!(text.lines().count(), 600);
}

#[test]
fn what_is_refused() {
    let x = T::zeros([2, 3], &CpuDevice);
    let message =
        |equation: &str| catch(|| T::einsum(equation, &[&x, &x])).expect_err(equation).to_string();
    assert!(message("ij,ji->i").contains("an index has sizes"));
    assert!(message("ij->i").contains("1 terms for 2 operands"));
    assert!(message("ij,ijk->i").contains("does not have an operand's rank"));
    assert!(message("ij,ij->k").contains("not one index of the operands"));
    assert!(message("ij,ij->ii").contains("not one index of the operands"));
    assert!(message("i1,ij->i").contains("`1` is no index letter"));
}
