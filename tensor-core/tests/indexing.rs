//! Indexing: plain cases with the answers beside them, and 1,500 random ones with PyTorch's.

use std::io::Read;

use kiln_autograd::{Autograd, Backward};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Ellipsis, IndexItem, NewAxis, Shape, Step, Tensor, catch};

type T = Tensor<Cpu>;

fn numbers() -> T {
    let values: Vec<i64> = (0..24).collect();
    T::from_slice(&values, [2, 3, 4], &CpuDevice)
}

fn index(values: &[i64], shape: impl Into<Shape>) -> T {
    T::from_slice(values, shape, &CpuDevice)
}

fn is(x: &T, shape: &[usize], values: &[i64]) {
    assert_eq!((x.dims(), &x.to_vec::<i64>()[..]), (shape, values));
}

#[test]
fn views() {
    let x = numbers();
    is(&x.i((1, 2, -1)), &[], &[23]);
    is(&x.i((.., -1, 1..3)), &[2, 2], &[9, 10, 21, 22]);
    is(&x.i((Ellipsis, 0)), &[2, 3], &[0, 4, 8, 12, 16, 20]);
    is(&x.i((0, Step(.., 2), Step(1.., 2))), &[2, 2], &[1, 3, 9, 11]);
    is(&x.i((1, NewAxis, 0, ..=-1)), &[1, 4], &[12, 13, 14, 15]);
    is(&x.i((0, 0, -2..)), &[2], &[2, 3]);
    let (three, one) = (3, 1);
    is(&x.i((0, 0, three..one)), &[0], &[]);
    assert_eq!(x.i(0).dims(), [3, 4]);
    x.i((0, 0)).copy_(&index(&[9], [1]));
    assert_eq!(x.to_vec::<i64>()[..5], [9, 9, 9, 9, 4]);
}

#[test]
fn index_tensors() {
    let x = numbers();
    is(&x.i((.., index(&[2, -3], [2]), 0)), &[2, 2], &[8, 0, 20, 12]);
    // Neighbours stay in place, others move to the front.
    let (a, b) = (index(&[0, 1], [2, 1]), index(&[1, 2, 0], [3]));
    is(&x.i((&a, &b)).i((.., .., 0)), &[2, 3], &[4, 8, 0, 16, 20, 12]);
    let spread = x.i((&index(&[0, 1], [2]), .., &index(&[3, 0], [2])));
    is(&spread, &[2, 3], &[3, 7, 11, 12, 16, 20]);
}

#[test]
fn masks() {
    let x = numbers();
    is(&x.i(x.gt(21)), &[2], &[22, 23]);
    let rows = T::from_slice(&[true, false, true], [3], &CpuDevice);
    is(&x.i((1, &rows, 0)), &[2], &[12, 20]);
}

#[test]
fn writing() {
    let x = numbers();
    x.set((.., 0), index(&[-1, -2, -3, -4], [4]));
    is(&x.i((1, 0)), &[4], &[-1, -2, -3, -4]);
    x.set((0, index(&[2, 1], [2]), 3), index(&[50, 60], [2]));
    is(&x.i((0, .., 3)), &[3], &[-4, 60, 50]);
    x.set(x.lt(0), 0);
    assert_eq!(x.i((0, 0)).to_vec::<i64>(), [0; 4]);
    let counts = index(&[0; 3], [3]);
    counts.accumulate(index(&[0, 2, 2, 0, 2], [5]), 1);
    is(&counts, &[3], &[2, 0, 3]);
}

#[test]
fn what_is_refused() {
    let x = numbers();
    let message = |f: &dyn Fn() -> T| catch(f).unwrap_err().to_string();
    assert!(message(&|| x.i((2, 0))).contains("index 2 is out of range for size 2"));
    assert!(message(&|| x.i((0, 0, 0, 0))).contains("number of parts"));
    assert!(message(&|| x.i((Ellipsis, Ellipsis))).contains("number of parts"));
    // 3·4 + … would land inside the tensor if positions were checked after they are combined.
    assert!(message(&|| x.i((&index(&[0], [1]), &index(&[4], [1])))).contains("index 4"));
    assert!(message(&|| x.i(index(&[1], [1]).eq(1))).contains("mask"));
    assert!(
        message(&|| x.i((&index(&[0, 1], [2]), &index(&[0, 1, 2], [3])))).contains("broadcast")
    );
    assert!(message(&|| x.set(0, index(&[1, 2, 3], [3]))).contains("[3, 4] and [3]"));
    // Named as it was given.
    assert!(message(&|| x.i([-3])).contains("index -3 is out of range for size 2"));
}

#[test]
fn lists_numbers_and_bools() {
    let x = numbers();
    is(&x.i((1, [2, -3], 0)), &[2], &[20, 12]);
    is(&x.i((0, .., vec![1])), &[3, 1], &[1, 5, 9]);
    // A tensor that is a number is one, not an index tensor: what follows stays where it is.
    is(&x.i((index(&[1], []), .., [0, 1])), &[3, 2], &[12, 13, 16, 17, 20, 21]);
    assert_eq!(x.i(true).dims(), [1, 2, 3, 4]);
    assert_eq!(x.i((0, false)).dims(), [0, 3, 4]);
}

#[test]
fn a_view_is_written_through() {
    let x = numbers();
    x.i((1, Step(.., 2), NewAxis)).fill_(7);
    is(&x.i((1, .., 0)), &[3], &[7, 16, 7]);
    x.i(index(&[1], [])).fill_(8);
    is(&x.i((1, .., 0)), &[3], &[8, 8, 8]);
    // Leading sizes of 1 that the target lacks.
    x.set((0, 0), index(&[1, 2, 3, 4], [1, 1, 4]));
    is(&x.i((0, 0)), &[4], &[1, 2, 3, 4]);
}

#[test]
fn gradients_flow_through_what_is_written() {
    type T = Tensor<Autograd<Cpu>>;
    let leaf =
        |values: &[f64]| T::from_slice(values, values.len(), &CpuDevice).requires_grad_(true);
    let values = |x: Option<T>| x.expect("a gradient").to_vec::<f64>();
    for list in [false, true] {
        let (x, y) = (leaf(&[1.0, 2.0, 3.0, 4.0]), leaf(&[10.0, 20.0]));
        let z = &x * 2.0;
        if list {
            z.set([1, 2], &y)
        } else {
            z.set(1..3, &y)
        };
        (&z * &z).sum().backward();
        assert_eq!(values(x.grad()), [8.0, 0.0, 0.0, 32.0]);
        assert_eq!(values(y.grad()), [20.0, 40.0]);
    }
    // Into a tensor that nothing was recorded of, as a loop fills a buffer.
    let (y, z) =
        (leaf(&[10.0, 20.0]), T::zeros([2, 2], (&CpuDevice, kiln_tensor_core::DType::F64)));
    z.set((.., 1), &y);
    z.accumulate([0, 0], &y);
    assert_eq!(z.to_vec::<f64>(), [20.0, 50.0, 0.0, 20.0]);
    z.sum().backward();
    assert_eq!(values(y.grad()), [3.0, 3.0]);
    let x = leaf(&[1.0, 2.0]);
    assert!(catch(|| x.set(0, 5.0)).unwrap_err().to_string().contains("leaf"));
}

fn shape(text: &str) -> Shape {
    let sizes = text.split('x').filter(|n| !n.is_empty());
    sizes.map(|n| n.parse::<usize>().expect("a size")).collect()
}

/// An item as tests/reference/make.py writes it.
fn item(text: &str) -> IndexItem<Cpu> {
    let (kind, rest) = text.split_at(1);
    let number = |text: &str| (!text.is_empty()).then(|| text.parse::<isize>().expect("a number"));
    let split = || rest.split_once(':').expect("sizes and elements");
    match kind {
        "i" => number(rest).expect("a position").into(),
        "n" => NewAxis.into(),
        "e" => Ellipsis.into(),
        "b" => (rest == "1").into(),
        "s" => {
            let bounds: Vec<_> = rest.split(':').map(number).collect();
            let step = bounds[2].unwrap_or(1) as usize;
            IndexItem::Slice { start: bounds[0], end: bounds[1], step }
        }
        "t" => {
            let (sizes, values) = split();
            let values: Vec<i64> =
                values.split(',').map(|v| v.parse().expect("an index")).collect();
            index(&values, shape(sizes)).into()
        }
        "m" => {
            let (sizes, bits) = split();
            let bits: Vec<bool> = bits.chars().map(|bit| bit == '1').collect();
            T::from_slice(&bits, shape(sizes), &CpuDevice).into()
        }
        other => panic!("no item begins with {other}"),
    }
}

#[test]
fn as_pytorch_has_it() {
    let mut text = String::new();
    let table = &include_bytes!("reference/indexing.txt.gz")[..];
    flate2::read::GzDecoder::new(table).read_to_string(&mut text).expect("a readable table");
    for case in text.lines() {
        let parts: Vec<&str> = case.split(' ').collect();
        let [sizes, items, how, result, elements] = parts[..] else { panic!("{case}") };
        let sizes = shape(sizes);
        let values: Vec<i64> = (0..sizes.numel() as i64).collect();
        let (x, at) = (index(&values, sizes), || items.split(';').map(item).collect::<Vec<_>>());
        let read = x.i(at());
        let value = T::arange(-100..read.numel() as i64 - 100, &CpuDevice).reshape_as(&read);
        let got = match how {
            "read" => read,
            "write" => x.set(at(), value),
            _ => x.accumulate(at(), value),
        };
        let want: Vec<i64> = elements
            .split(',')
            .filter(|v| !v.is_empty())
            .map(|v| v.parse().expect("an element"))
            .collect();
        assert_eq!((got.shape(), got.to_vec::<i64>()), (&shape(result), want), "{case}");
    }
    assert_eq!(text.lines().count(), 1500);
}
