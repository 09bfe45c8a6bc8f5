//! Rows of the table against PyTorch's answers. What is right here is right on every backend, since these are held
//! against the reference backend.

use std::collections::BTreeSet;
use std::io::Read;

use kiln_conformance::{Host, Reference, ReferenceDevice, Tolerance, agree, table};
use kiln_tensor_core::{DType, Scalar, Shape, Tensor};

/// Sums and series in another order; what both have comes from the formulas.
const NEAR: Tolerance =
    Tolerance::new(512.0, 1.0, "the order of sums, and other series for special functions");

fn dtype(name: &str) -> DType {
    match name {
        "f64" => DType::F64,
        "i64" => DType::I64,
        "i32" => DType::I32,
        "bool" => DType::Bool,
        other => panic!("no dtype is called {other}"),
    }
}

/// A tensor as tests/reference/make.py writes it.
fn tensor(text: &str) -> Host {
    let parts: Vec<&str> = text.split(':').collect();
    let [name, sizes, values] = parts[..] else { panic!("no tensor: {text}") };
    let sizes = sizes.split('x').filter(|n| !n.is_empty());
    let shape: Shape = sizes.map(|n| n.parse::<usize>().expect("a size")).collect();
    let dtype = dtype(name);
    let value = |v: &str| match dtype.is_float() {
        true => Scalar::F64(v.parse().expect("a float")),
        false => Scalar::I64(v.parse().expect("an integer")),
    };
    let values = values.split(',').filter(|v| !v.is_empty()).map(value);
    Host::new(shape, dtype, values)
}

fn tensors(text: &str) -> Vec<Host> {
    text.split(';').filter(|x| !x.is_empty()).map(tensor).collect()
}

#[test]
fn rows_do_what_pytorch_does() {
    let mut text = String::new();
    let packed = &include_bytes!("reference/ops.txt.gz")[..];
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).expect("a readable table");
    let (mut seen, mut wrong) = (BTreeSet::new(), Vec::new());
    for case in text.lines() {
        let parts: Vec<&str> = case.split(' ').collect();
        let [name, args, inputs, results] = parts[..] else { panic!("no case: {case}") };
        let (family, row) = name.split_once('/').expect("a family and a name");
        let spec = table::rows().find(|spec| spec.family == family && spec.name == row);
        let spec = spec.unwrap_or_else(|| panic!("no row {name}"));
        let args: Vec<i64> = args
            .split(',')
            .filter(|a| !a.is_empty())
            .map(|a| a.parse().expect("an argument"))
            .collect();
        let upload = |x: &Host| x.upload::<Reference>(&ReferenceDevice);
        let operands: Vec<Tensor<Reference>> = tensors(inputs).iter().map(upload).collect();
        let got: Vec<Host> =
            (spec.reference)(&operands, &args).iter().map(Host::download).collect();
        let want = tensors(results);
        let differs = |(i, (got, want)): (usize, (&Host, &Host))| {
            let why = match got.dtype == want.dtype {
                true => agree(got, want, &NEAR).err()?,
                false => format!("{} where {} is right", got.dtype, want.dtype),
            };
            Some(format!("{name} {args:?} of {inputs}: result {i}: {why}"))
        };
        assert_eq!(got.len(), want.len(), "{name}: number of results");
        wrong.extend(got.iter().zip(&want).enumerate().filter_map(differs));
        seen.insert(name);
    }
    assert!(wrong.is_empty(), "{} results differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!((seen.len(), text.lines().count()), (84, 532), "rows and cases in the table");
}
