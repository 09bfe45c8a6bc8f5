//! PyTorch's files: those that `pytorch/make.py` let it write, and ours.

use std::path::{Path, PathBuf};

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_files::StateDict;
use kiln_files::pt::{self, Value};
use kiln_tensor_core::{DType, Error, Tensor};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pytorch").join(name)
}

fn load(name: &str) -> Value<Cpu> {
    pt::load(fixture(name), &CpuDevice).unwrap()
}

#[track_caller]
fn tensor<'a>(value: &'a Value<Cpu>, key: &str) -> &'a Tensor<Cpu> {
    value.get(key).and_then(Value::as_tensor).unwrap_or_else(|| panic!("{key} is no tensor"))
}

#[test]
fn every_kind_of_value_is_read() {
    let all = load("everything.pt");
    assert!(matches!(all.get("none"), Some(Value::None)));
    let truth: Vec<_> =
        all.get("truth").unwrap().items().unwrap().iter().map(Value::as_bool).collect();
    assert_eq!(truth, [Some(true), Some(false)]);
    let ints = all.get("ints").unwrap().items().unwrap().iter().map(|v| v.as_i64().unwrap());
    let wanted = [0, 255, 256, 65536, -1, 1 << 31, -(1 << 40), 1 << 62];
    assert_eq!(ints.collect::<Vec<_>>(), wanted);
    assert_eq!(all.get("float").unwrap().as_f64(), Some(-1.5e-300));
    assert_eq!(all.get("text").unwrap().as_str(), Some("größer"));
    let (key, inner) = &all.get("nested").unwrap().entries().unwrap()[0];
    assert_eq!(key.as_i64(), Some(1));
    assert_eq!(inner.get("deep").unwrap().items().unwrap().len(), 3);
    let size = all.get("size").unwrap().items().unwrap().iter().map(|v| v.as_i64().unwrap());
    assert_eq!(size.collect::<Vec<_>>(), [2, 3]);
    assert_eq!(all.get("device").unwrap().as_str(), Some("cpu"));
    assert_eq!(all.get("indexed_device").unwrap().as_str(), Some("cuda:1"));
    assert!(matches!(all.get("dtype"), Some(Value::DType(DType::BF16))));
    assert!(all.get("absent").is_none());
}

#[test]
fn tensors_are_read_with_their_dtypes_and_strides() {
    let all = load("everything.pt");
    for (name, value) in all.get("dtypes").unwrap().entries().unwrap() {
        let (name, x) = (name.as_str().unwrap(), value.as_tensor().unwrap());
        let values = x.to_dtype(DType::F64).to_vec::<f64>();
        assert_eq!(
            values,
            if name == "bool" { [0.0, 1.0, 1.0] } else { [0.0, 1.0, 3.0] },
            "{name}"
        );
        assert_eq!(
            x.dtype().size(),
            match name {
                "float64" | "int64" => 8,
                "float32" | "int32" => 4,
                "float16" | "bfloat16" | "int16" => 2,
                _ => 1,
            }
        );
    }
    let scalar = tensor(&all, "scalar");
    assert_eq!((scalar.dims(), scalar.dtype(), scalar.item()), (&[][..], DType::I16, 7.0));
    assert_eq!(tensor(&all, "empty").dims(), [0, 3]);
    assert_eq!(tensor(&all, "parameter").to_vec::<f32>(), [3.0]);
    assert_eq!(tensor(&all, "slice").to_vec::<i64>(), [3, 4, 5, 6]);
    assert_eq!(tensor(&all, "matrix").dims(), [4, 6]);
    let transposed = tensor(&all, "transposed");
    assert_eq!(
        (transposed.dims(), &transposed.to_vec::<i64>()[..5]),
        (&[6, 4][..], &[0, 6, 12, 18, 1][..])
    );
    let stepped = [6, 8, 10, 12, 14, 16, 18, 20, 22];
    assert_eq!(tensor(&all, "stepped").to_vec::<i64>(), stepped);
    let expanded = tensor(&all, "expanded");
    assert_eq!((expanded.dims(), expanded.to_vec::<f32>()[1000]), (&[2, 1000][..], 2.0));
    assert_eq!(tensor(&all, "one_wide").to_vec::<i64>(), [0, 6, 12, 18]);
    let tied = all.get("tied").unwrap().items().unwrap();
    let tied: Vec<_> = tied.iter().map(|v| v.as_tensor().unwrap()).collect();
    tied[0].copy_(&Tensor::from_slice(&[5.0f32, 6.0], [2], &CpuDevice));
    assert_eq!(tied[1].to_vec::<f32>(), [5.0, 6.0], "what was one tensor is one tensor");
}

#[test]
fn big_endian_files_are_read() {
    let file = load("big_endian.pt");
    assert_eq!(tensor(&file, "x").to_vec::<f32>(), [1.0, 2.5, -3.0]);
    assert_eq!(tensor(&file, "i").to_vec::<i64>(), [1, 258]);
}

#[test]
fn a_state_dict_is_read_in_its_order() {
    let state = StateDict::<Cpu>::load(fixture("net.pt"), &CpuDevice).unwrap();
    let names: Vec<&str> = state.keys().collect();
    assert_eq!(names[..3], ["conv.weight", "conv.bias", "norm.weight"]);
    assert_eq!(state.get("norm.num_batches_tracked").unwrap().item(), 2.0);
    // A training's dict has one inside.
    let error = StateDict::<Cpu>::load(fixture("run.pt"), &CpuDevice).unwrap_err().to_string();
    assert!(error.contains("run.pt") && error.contains("model (a dict of 9)"), "{error}");
    let run = load("run.pt");
    let inner = run.get("model").unwrap().state_dict().unwrap();
    assert_eq!(inner.len(), state.len());
    assert_eq!(run.get("loss").unwrap().as_f64(), Some(0.25));
    let moments = run.get("optimizer").unwrap().get("state").unwrap().entries().unwrap();
    assert_eq!(tensor(&moments[0].1, "exp_avg").dims(), [2, 1, 3, 3]);
}

#[test]
fn what_would_have_to_be_run_is_refused_by_its_name() {
    for (name, word) in [
        ("refused_module.pt", "`__main__.Net`"),
        ("refused_complex.pt", "`torch.ComplexFloatStorage`"),
        ("refused_set.pt", "`__builtin__.set`"),
        ("refused_numpy.pt", "`numpy._core.multiarray.scalar`"),
        ("legacy.pt", "before version 1.6"),
    ] {
        for result in [
            pt::load::<Cpu>(fixture(name), &CpuDevice).map(drop),
            StateDict::<Cpu>::load(fixture(name), &CpuDevice).map(drop),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{name}: {error:?}");
            let error = error.to_string();
            assert!(error.contains(word) && error.contains(name), "{name}: {error}");
        }
    }
}

/// With `KILN_FILES=folder`, the file stays there for PyTorch to read.
#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let kept = std::env::var("KILN_FILES").map(PathBuf::from);
    let path = kept.unwrap_or_else(|_| folder.path().into()).join("kiln.pt");
    let dtypes = [
        DType::F64,
        DType::F32,
        DType::F16,
        DType::BF16,
        DType::I64,
        DType::I32,
        DType::I16,
        DType::I8,
        DType::U8,
        DType::Bool,
    ];
    let base = Tensor::<Cpu>::from_slice(&[0i64, 1, 3, 4, 5, 7], [2, 3], &CpuDevice);
    let mut entries: Vec<(String, Value<Cpu>)> =
        dtypes.iter().map(|&d| (d.to_string(), base.to_dtype(d).into())).collect();
    entries.push(("turned".into(), base.t().into()));
    entries.push(("scalar".into(), base.select(0, 1).select(0, 2).into()));
    entries.push(("empty".into(), base.narrow(0, 0, 0).into()));
    entries.push(("epoch".into(), 3.into()));
    entries.push(("large".into(), (1i64 << 40).into()));
    entries.push(("loss".into(), 0.1.into()));
    entries.push(("text".into(), "größer".into()));
    entries.push(("dtype".into(), DType::I8.into()));
    entries.push(("list".into(), vec![Value::None, true.into(), Value::Tuple([].into())].into()));
    let value = Value::dict(entries);
    pt::save(&path, &value).unwrap();
    let read: Value<Cpu> = pt::load(&path, &CpuDevice).unwrap();
    // Shapes and dtypes show in what is printed of all, values in what is printed of a tensor.
    assert_eq!(format!("{read:?}"), format!("{value:?}"));
    for (name, value) in value.entries().unwrap() {
        if let (Some(name), Some(written)) = (name.as_str(), value.as_tensor()) {
            assert_eq!(tensor(&read, name).to_string(), written.to_string(), "{name}");
        }
    }
    assert_eq!(tensor(&read, "turned").to_vec::<i64>(), [0, 4, 1, 5, 3, 7]);
}

#[test]
fn state_dicts_take_the_format_of_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = StateDict::<Cpu>::new();
    state.insert("fc.weight", Tensor::from_slice(&[1.5f32, 2.0], [1, 2], &CpuDevice));
    state.insert("fc.bias", Tensor::from_slice(&[0.5f32], [1], &CpuDevice));
    for (name, start) in [("a.pt", &b"PK"[..]), ("a.PTH", b"PK"), ("a.npz", b"PK"), ("a.bin", b"")]
    {
        let path = folder.path().join(name);
        state.save(&path).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(start));
        // The content tells, not the name.
        let other = folder.path().join("renamed");
        std::fs::rename(&path, &other).unwrap();
        let read = StateDict::<Cpu>::load(&other, &CpuDevice).unwrap();
        assert_eq!(read.len(), state.len(), "{name}");
        for (key, tensor) in state.iter() {
            assert_eq!(read.get(key).unwrap().to_string(), tensor.to_string(), "{name}");
        }
    }
    state.metadata_mut().insert("a".into(), "text".into());
    let error = state.save(folder.path().join("b.pt")).unwrap_err().to_string();
    assert!(error.contains("save it as .safetensors"), "{error}");
}

#[test]
fn damaged_files_are_errors_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.pt");
    for name in ["net_io.pt", "everything.pt"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for at in (0..whole.len()).step_by(29) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x41;
            for bytes in [&flipped[..], &whole[..at]] {
                std::fs::write(&path, bytes).unwrap();
                if let Err(error) = pt::load::<Cpu>(&path, &CpuDevice) {
                    assert!(matches!(error, Error::Format { .. }), "{error:?}");
                }
            }
        }
    }
}
