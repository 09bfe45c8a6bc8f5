//! State dicts, and what files can do wrong.

use std::fs;
use std::path::Path;

use kiln_autograd::Autograd;
use kiln_conformance::{Reference, ReferenceDevice};
use kiln_nn::{Buffer, Linear, Module, ModuleExt, StateDict};
use kiln_tensor_core::{DType, Element, Error, Tensor};
use proptest::prelude::*;

type Ad = Autograd<Reference>;
const DEVICE: ReferenceDevice = ReferenceDevice;

#[derive(Module)]
struct Net {
    fc: Linear<Ad>,
    steps: Buffer<Ad>,
    scratch: Buffer<Ad>,
}

fn net() -> Net {
    Net {
        fc: Linear::new(2, 3, &DEVICE),
        steps: Buffer::new(Tensor::full((), 7i64, &DEVICE)),
        scratch: Buffer::new(Tensor::zeros([5], &DEVICE)).persistent(false),
    }
}

fn reason(result: Result<impl Sized, Error>) -> String {
    match result {
        Err(Error::StateDict { why } | Error::Format { why, .. }) => why,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("no error"),
    }
}

#[test]
fn a_state_goes_into_the_same_parameters() {
    let (from, to) = (net(), net());
    let held = to.fc.weight.tensor();
    let state = from.state_dict();
    assert_eq!(state.keys().collect::<Vec<_>>(), ["steps", "fc.weight", "fc.bias"]);
    assert!(state.iter().all(|(_, tensor)| !tensor.requires_grad()));
    to.load_state_dict(&state, true).unwrap();
    assert_eq!(held.to_vec::<f32>(), from.fc.weight.tensor().to_vec::<f32>());
    assert!(to.fc.weight.tensor().requires_grad());
}

#[test]
fn another_models_state_is_refused_whole() {
    let net = net();
    let before = net.fc.bias.as_ref().unwrap().tensor().to_vec::<f32>();
    let mut state = StateDict::new();
    state.insert("fc.weight", Tensor::zeros([3, 4], &DEVICE));
    state.insert("fc.bias", Tensor::zeros([3], &DEVICE));
    state.insert("head.weight", Tensor::zeros([1], &DEVICE));
    let why = reason(net.load_state_dict(&state, true));
    for part in ["missing: steps", "unexpected: head.weight", "fc.weight: [3, 4]", "[3, 2]"] {
        assert!(why.contains(part), "{part} in {why}");
    }
    assert_eq!(net.fc.bias.as_ref().unwrap().tensor().to_vec::<f32>(), before);

    let why = reason(net.load_state_dict(&state, false));
    assert!(why.contains("size mismatch") && !why.contains("missing"), "{why}");
    state.remove("fc.weight").unwrap();
    let keys = net.load_state_dict(&state, false).unwrap();
    assert_eq!(keys.missing, ["steps", "fc.weight"]);
    assert_eq!(keys.unexpected, ["head.weight"]);
    assert_eq!(net.fc.bias.as_ref().unwrap().tensor().to_vec::<f32>(), [0.0; 3]);
}

#[test]
fn a_state_is_converted_to_the_dtype_of_the_module() {
    let net = net();
    let state: StateDict<Ad> = net
        .state_dict()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_dtype(DType::F64)))
        .collect();
    net.fc.weight.tensor().detach().copy_(&Tensor::zeros([3, 2], &DEVICE));
    net.load_state_dict(&state, true).unwrap();
    assert_eq!(net.fc.weight.dtype(), DType::F32);
    assert_ne!(net.fc.weight.tensor().to_vec::<f32>(), [0.0; 6]);
}

#[test]
fn a_file_brings_the_module_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let (from, to) = (net(), net());
    from.save(&path).unwrap();
    from.save(&path).unwrap();
    to.load(&path).unwrap();
    assert_eq!(to.fc.weight.tensor().to_vec::<f32>(), from.fc.weight.tensor().to_vec::<f32>());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");

    let nowhere = folder.path().join("no/such/folder");
    assert!(matches!(from.save(&nowhere), Err(Error::Io { .. })));
    assert!(matches!(to.load(&nowhere), Err(Error::Io { .. })));
}

#[test]
fn every_dtype_survives() {
    fn check<T: Element>(state: &mut StateDict<Reference>) {
        let values = Tensor::from_slice(&[0.0f32, 1.0, 5.0], [3], &DEVICE).to_dtype(T::DTYPE);
        state.insert(T::DTYPE.name(), values);
    }
    let mut state = StateDict::new();
    check::<f64>(&mut state);
    check::<f32>(&mut state);
    check::<half::f16>(&mut state);
    check::<half::bf16>(&mut state);
    check::<i64>(&mut state);
    check::<i32>(&mut state);
    check::<i16>(&mut state);
    check::<i8>(&mut state);
    check::<u8>(&mut state);
    check::<bool>(&mut state);
    state.insert("scalar", Tensor::full((), 2.5, &DEVICE));
    state.insert("empty", Tensor::zeros([0, 3], &DEVICE));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.safetensors");
    state.save(&path).unwrap();
    let loaded = StateDict::<Reference>::load(&path, &DEVICE).unwrap();
    assert_eq!(loaded.len(), 12);
    for (name, tensor) in state.iter() {
        let other = loaded.get(name).unwrap();
        assert_eq!((tensor.shape(), tensor.dtype()), (other.shape(), other.dtype()));
        let values = |x: &Tensor<Reference>| x.to_dtype(DType::F64).to_vec::<f64>();
        assert_eq!(values(tensor), values(other), "{name}");
    }
}

/// A file as PyTorch's `safetensors.torch.save_file` writes it.
#[test]
fn pytorchs_file_loads() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/linear.safetensors");
    let net = Linear::<Ad>::new(2, 3, &DEVICE);
    net.load(path).unwrap();
    assert_eq!(net.weight.tensor().to_vec::<f32>(), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
    assert_eq!(net.bias.unwrap().tensor().to_vec::<f32>(), [-1.0, 0.0, 1.0]);
}

/// A file with this header in front of `data`.
fn file(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn what_is_not_a_safetensors_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.safetensors");
    let entry = |dtype: &str, shape: &str, offsets: &str| {
        format!(r#"{{"x":{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}}}"#)
    };
    let good = file(&entry("F32", "[2]", "[0,8]"), &[0; 8]);
    let huge = u64::MAX.to_le_bytes();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("three bytes", vec![1, 2, 3]),
        ("a header longer than memory", huge.to_vec()),
        ("a header longer than the file", [&90_000_000u64.to_le_bytes()[..], b"{}"].concat()),
        ("no JSON", file("not json", &[])),
        ("no UTF-8", [&2u64.to_le_bytes()[..], &[0xff, 0xfe]].concat()),
        ("data cut off", good[..good.len() - 1].to_vec()),
        ("data left over", [&good[..], &[0]].concat()),
        ("a shape larger than its data", file(&entry("F32", "[1000000000]", "[0,8]"), &[0; 8])),
        ("sizes whose product overflows", {
            let shape = format!("[{0},{0}]", u64::MAX / 2);
            file(&entry("F32", &shape, "[0,8]"), &[0; 8])
        }),
        ("an empty tensor with huge sizes", {
            let shape = format!("[0,{0},{0}]", 1u64 << 40);
            file(&entry("F32", &shape, "[0,0]"), &[])
        }),
        ("offsets outside", file(&entry("F32", "[2]", "[8,16]"), &[0; 8])),
        ("offsets backwards", file(&entry("F32", "[2]", "[8,0]"), &[0; 8])),
        ("a negative size", file(&entry("F32", "[-2]", "[0,8]"), &[0; 8])),
        ("a dtype of the format that Kiln lacks", file(&entry("U64", "[1]", "[0,8]"), &[0; 8])),
        ("a dtype of no format", file(&entry("F99", "[1]", "[0,8]"), &[0; 8])),
        ("deep nesting", file(&"[".repeat(100_000), &[])),
    ];
    for (what, bytes) in cases {
        fs::write(&path, bytes).unwrap();
        let result = StateDict::<Reference>::load(&path, &DEVICE);
        assert!(matches!(result, Err(Error::Format { .. })), "{what}: {result:?}");
    }
    fs::write(&path, good).unwrap();
    assert_eq!(StateDict::<Reference>::load(&path, &DEVICE).unwrap().len(), 1);
}

#[test]
fn a_file_with_any_byte_changed_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.safetensors");
    let net = Linear::<Reference>::new(1, 1, &DEVICE);
    net.save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[at] ^= 0x11;
        fs::write(&path, &bytes).unwrap();
        let _ = StateDict::<Reference>::load(&path, &DEVICE);
        fs::write(&path, &bytes[..at]).unwrap();
        assert!(StateDict::<Reference>::load(&path, &DEVICE).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Several bytes changed, some taken out or put in, the end cut off.
    #[test]
    fn a_damaged_file_is_read_or_refused(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..6),
        keep in 0.5..=1.0f64,
    ) {
        let header = r#"{"x":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"y":{"dtype":"BOOL","shape":[2],"data_offsets":[24,26]}}"#;
        let mut bytes = file(header, &[1; 26]);
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes.truncate((bytes.len() as f64 * keep) as usize);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.safetensors");
        fs::write(&path, &bytes).unwrap();
        match StateDict::<Reference>::load(&path, &DEVICE) {
            Ok(state) => {
                let size: usize = state.iter().map(|(_, x)| x.numel() * x.dtype().size()).sum();
                prop_assert!(size <= bytes.len());
            }
            Err(Error::Format { .. }) => {}
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}

#[test]
fn bools_are_zero_or_one_whatever_the_file_says() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bools.safetensors");
    let header = r#"{"x":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}}"#;
    fs::write(&path, file(header, &[0, 1, 255])).unwrap();
    let state = StateDict::<Reference>::load(&path, &DEVICE).unwrap();
    assert_eq!(state.get("x").unwrap().to_vec::<bool>(), [false, true, true]);
}

#[test]
fn texts_go_with_the_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("noted.safetensors");
    let mut state = net().state_dict();
    state.metadata_mut().insert("epoch".into(), "7".into());
    state.save(&path).unwrap();
    let loaded = StateDict::<Ad>::load(&path, &DEVICE).unwrap();
    assert_eq!(loaded.metadata(), state.metadata());
    assert_eq!(loaded.len(), state.len());
}
