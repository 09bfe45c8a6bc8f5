//! Indexing against the same walk over a plain array; the rules are NumPy's.

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Ellipsis, NewAxis, Step, Tensor, catch};

type T = Tensor<Cpu>;

fn numbers() -> T {
    let values: Vec<i64> = (0..24).collect();
    T::from_slice(&values, [2, 3, 4], &CpuDevice)
}

fn index(values: &[i64], shape: impl Into<kiln_tensor_core::Shape>) -> T {
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
}
