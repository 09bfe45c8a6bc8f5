//! What a program is told when it is wrong: each kind of mistake once, with the whole message. A message
//! names the op, what it was given and the way out.

use std::fs;

use kiln::data::{CsvReader, Image, read_idx};
use kiln::prelude::*;
use kiln::{Error, catch, graph};

/// What `f` is told.
#[track_caller]
fn told<T>(f: impl FnOnce() -> T) -> String {
    match catch(f) {
        Ok(_) => panic!("this passes"),
        Err(error) => error.to_string(),
    }
}

fn ones(shape: impl Into<Shape>) -> Tensor {
    Tensor::ones(shape, &Device::cpu())
}

fn numbers<const N: usize>(numbers: [i64; N]) -> Tensor {
    Tensor::from_slice(&numbers, [N], &Device::cpu())
}

#[test]
fn shapes_that_do_not_fit() {
    assert_eq!(
        told(|| ones([2, 3]) + ones([4])),
        "add: these do not broadcast: sizes, aligned at the last dim, must be equal or 1 \
         (shapes: [2, 3] and [4])"
    );
    assert_eq!(
        told(|| ones([2, 3]).matmul(&ones([2, 3]))),
        "matmul: the last size of the left operand must be the last but one of the right \
         (shapes: [2, 3] and [2, 3])"
    );
    assert_eq!(
        told(|| Tensor::cat(&[&ones([2, 3]), &ones([2])], 0)),
        "cat: all sizes but that of dim 0 must be equal (shapes: [2, 3] and [2])"
    );
    let device = Device::cpu();
    assert_eq!(
        told(|| Linear::new(4, 2, &device).call(&ones([5, 3]))),
        "linear: x […, in] and a weight [out, in] are wanted (shapes: [5, 3] and [2, 4] and [2])"
    );
    assert_eq!(
        told(|| Conv2d::new(3, 8, 5, &device).call(&ones([1, 3, 4, 4]))),
        "conv: the (dilated) kernel is larger than the padded input (shapes: [1, 3, 4, 4] and \
         [8, 3, 5, 5] and [8])"
    );
    assert_eq!(
        told(|| cross_entropy(&ones([5, 3]), &numbers([0, 1]))),
        "cross_entropy: x [n, classes, …] with targets [n, …], or [classes] with a 0-d target, \
         and one weight per class, are wanted (shapes: [5, 3] and [2])"
    );
    assert_eq!(
        told(|| ones([2, 3]).reshape([4, -1])),
        "reshape: 6 elements cannot have sizes [4, -1] (shapes: [2, 3])"
    );
}

#[test]
fn memory_that_cannot_be_viewed() {
    assert_eq!(
        told(|| ones([2, 3]).t().view([-1])),
        "view: memory with strides [1, 3] cannot be viewed so; `reshape` copies where it must \
         (shapes: [3, 2] and [6])"
    );
    assert_eq!(
        told(|| ones([2, 3]).expand([2, 4])),
        "expand: only sizes of 1 and new leading dims expand (shapes: [2, 3] and [2, 4])"
    );
}

#[test]
fn dtypes_that_do_not_fit() {
    let device = Device::cpu();
    assert_eq!(
        told(|| ones([2, 2]).matmul(&ones([2, 2]).to_dtype(F64))),
        "matmul: both operands must have one dtype; convert one with `to_dtype` (dtypes: f32 and \
         f64)"
    );
    assert_eq!(
        told(|| numbers([1, 2]).requires_grad_(true)),
        "requires_grad_: only floats have gradients; convert with `to_dtype` first (dtypes: i64)"
    );
    assert_eq!(
        told(|| numbers([1, 2]).add_(0.5)),
        "add: the result cannot be stored in place without loss; use the form without `_` \
         (dtypes: f32 and i64)"
    );
    assert_eq!(
        told(|| numbers([1, 2]).mean()),
        "mean: floats are wanted; convert with `to_dtype` (dtypes: i64)"
    );
    assert_eq!(
        told(|| ones([3]).index_select(0, &ones([1]))),
        "index_select: an index is i64; convert with `to_dtype(DType::I64)` (dtypes: f32)"
    );
    assert_eq!(
        told(|| Embedding::new(3, 2, &device).call(&ones([1]))),
        "embedding: the numbers of vectors are integers (dtypes: f32)"
    );
    assert_eq!(
        told(|| ones([2]).to_vec::<f64>()),
        "to_vec: ask for the tensor's own dtype, or convert with `to_dtype` first (dtypes: f32 \
         and f64)"
    );
}

#[test]
fn what_is_out_of_range() {
    assert_eq!(
        told(|| ones([2, 3]).sum_dims([2], false)),
        "sum: dim 2 is out of range for size 2 (shape [2, 3])"
    );
    assert_eq!(
        told(|| ones([2, 3]).index_select(1, &numbers([3]))),
        "index_select: index 3 is out of range for size 3 (shape [2, 3])"
    );
    assert_eq!(
        told(|| ones([2, 3]).gather(1, &numbers([-4]).view([1, 1]))),
        "gather: index -4 is out of range for size 3 (shape [2, 3])"
    );
    assert_eq!(
        told(|| ones([2, 3]).narrow(1, 2, 2)),
        "narrow: end 4 is out of range for size 3 (shape [2, 3])"
    );
    assert_eq!(
        told(|| ones([2, 3]).i((0, 7))),
        "index: index 7 is out of range for size 3 (shape [3])"
    );
    assert_eq!(
        told(|| cross_entropy(&ones([2, 3]), &numbers([0, 3]))),
        "cross_entropy: class 3 is out of range for size 3 (shape [2])"
    );
}

#[test]
fn writes_in_place_that_would_spoil_gradients() {
    let w = ones([2]).requires_grad_(true);
    assert_eq!(
        told(|| w.mul_(2.0)),
        "MulBackward: a leaf of shape [2] that requires gradients is written to in place; do it \
         inside `no_grad`, or on `detach()`"
    );
    let h = &w * 1.0;
    let loss = (&h * &h).sum();
    h.add_(1.0);
    assert_eq!(
        told(|| loss.backward()),
        "MulBackward: a tensor of shape [2] that it saved for backward has been written to in \
         place since (1 times); use the form without `_`, or write to a copy"
    );
    // The ways out.
    no_grad(|| w.mul_(2.0));
    let h = &w * 1.0;
    let loss = (&h * &h).sum();
    let _ = &h + 1.0;
    loss.backward();
    assert_eq!(w.grad().unwrap().to_vec::<f32>(), [4.0, 4.0]);
}

#[test]
fn backward_of_what_has_no_gradient() {
    let w = ones([2]).requires_grad_(true);
    let y = &w * &w;
    assert_eq!(
        told(|| y.backward()),
        "backward: a tensor of shape [2] is not a single element; reduce it (`sum`, `mean`) or \
         pass its gradient"
    );
    let loss = y.sum();
    loss.backward();
    assert_eq!(
        told(|| loss.backward()),
        "SumBackward: backward has been through this graph already and freed what it had saved; \
         the first time, pass retain_graph(true)"
    );
    assert_eq!(
        told(|| ones([1]).backward()),
        "backward: a tensor of shape [1] does not require gradients: nothing that it was made of \
         does, or recording was off"
    );
    assert_eq!(
        told(|| grad(&(&w * 2.0).sum(), &[&ones([2]).requires_grad_(true)])),
        "grad: the outputs do not depend on input 0 of shape [2]; `allow_unused` gives None for \
         such"
    );
}

#[test]
fn steps_where_there_are_no_graphs() {
    let device = Device::cpu();
    let error = graph::capture(&device, || ones([2])).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }));
    assert_eq!(
        error.to_string(),
        "graph::capture is not supported on cpu: it does at once what it is asked; `graph::Step` runs there too"
    );
    let mut step = graph::Step::new(&device);
    let mut calls = 0;
    for i in 1..5 {
        let x = ones([i]);
        let sum = step.run([&x], |[x]| {
            calls += 1;
            x.sum()
        });
        assert_eq!(sum.item(), i as f64);
    }
    assert_eq!(calls, 4);
    let leaf = ones([2]).requires_grad_(true);
    assert_eq!(
        told(|| step.run([&leaf], |[x]| x.sum())),
        "Step::run: an input requires a gradient; a step's inputs are data"
    );
}

fn net(width: usize) -> Sequential {
    let device = Device::cpu();
    Sequential::new((Linear::new(4, width, &device), ReLU::new(), Linear::new(width, 2, &device)))
}

#[test]
fn weights_of_another_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    net(8).save(&path).unwrap();
    assert_eq!(
        net(6).load(&path).unwrap_err().to_string(),
        "load_state_dict: Sequential does not fit: size mismatch for 0.weight: [8, 4] in the \
         state dict, [6, 4] in the model; size mismatch for 0.bias: [8] in the state dict, [6] \
         in the model; size mismatch for 2.weight: [2, 8] in the state dict, [2, 6] in the \
         model"
    );
    let error = Linear::new(4, 8, &Device::cpu()).load(&path).unwrap_err();
    assert_eq!(
        error.to_string(),
        "load_state_dict: Linear does not fit: missing: weight, bias; unexpected: 0.bias, \
         0.weight, 2.bias, 2.weight"
    );
}

/// Each kind of file: cut off, empty, and not of its kind at all.
#[test]
fn files_that_are_not_what_they_claim() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let said = |error: Error| {
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
        error.to_string().replace(&path.display().to_string(), "FILE")
    };
    let weights = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        said(net(8).load(&path).unwrap_err())
    };
    net(8).save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    assert_eq!(
        weights(&whole[..whole.len() - 1]),
        "FILE: not a safetensors file: incomplete metadata, file not fully covered"
    );
    assert_eq!(weights(&u64::MAX.to_le_bytes()), "FILE: not a safetensors file: header too large");
    assert_eq!(weights(b""), "FILE: not a safetensors file: header too small");

    let idx = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        said(read_idx(&path).unwrap_err())
    };
    assert_eq!(
        idx(&[0, 0, 8, 1, 0, 0, 0, 2, 1]),
        "FILE: an array of u8 [2] is cut off: 1 of 2 bytes are there"
    );
    assert_eq!(
        idx(&[0, 0, 8, 1, 255, 255, 255, 255, 1]),
        "FILE: an array of u8 [4294967295] should take 4294967295 bytes, and the file cannot \
         hold more than 9"
    );
    assert_eq!(
        idx(b"hello world"),
        "FILE: is not an IDX file: it does not start with two zero bytes"
    );

    let csv = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        said(CsvReader::new().read(&path).unwrap_err())
    };
    assert_eq!(
        csv(b"a,b\n1,2\n3\n"),
        "FILE: CSV error: record 2 (line: 3, byte: 8): found record with 1 fields, but the \
         previous record has 2 fields"
    );
    assert_eq!(csv(b"a,b\n1,\xff\n"), "FILE: line 2 is not UTF-8");
    assert_eq!(csv(b""), "FILE: holds no rows");

    let image = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        said(Image::open(&path).unwrap_err())
    };
    assert_eq!(image(b"\x89PNG\r\n\x1a\n"), "FILE: no readable image: unexpected end of file");
    assert_eq!(image(b"hello world"), "FILE: no readable image: it is neither PNG nor JPEG");
}

#[test]
fn files_that_are_not_there() {
    let error = net(8).load("no/such/file.safetensors").unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error:?}");
    assert!(error.to_string().starts_with("no/such/file.safetensors: "), "{error}");
}
