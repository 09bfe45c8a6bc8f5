//! NumPy's files: those that `pytorch/make.py` let it write, and ours.

use std::path::{Path, PathBuf};

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_files::{StateDict, npy, npz};
use kiln_tensor_core::{DType, Error, Tensor};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/numpy").join(name)
}

fn load(name: &str) -> Tensor<Cpu> {
    npy::load(fixture(name), &CpuDevice).unwrap_or_else(|error| panic!("{error}"))
}

/// What NumPy calls each dtype that it has.
const NAMES: [(&str, DType); 9] = [
    ("float64", DType::F64),
    ("float32", DType::F32),
    ("float16", DType::F16),
    ("int64", DType::I64),
    ("int32", DType::I32),
    ("int16", DType::I16),
    ("int8", DType::I8),
    ("uint8", DType::U8),
    ("bool", DType::Bool),
];

#[test]
fn every_dtype_is_read() {
    for (name, dtype) in NAMES {
        let x = load(&format!("{name}.npy"));
        assert_eq!((x.dims(), x.dtype()), (&[2, 3][..], dtype));
        let values = x.to_dtype(DType::F64).to_vec::<f64>();
        let wanted = [0.0, 1.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(values, wanted.map(|v: f64| if dtype == DType::Bool { v.min(1.0) } else { v }));
    }
}

#[test]
fn orders_versions_and_odd_shapes_are_read() {
    let fortran = load("fortran.npy");
    assert_eq!(fortran.dims(), [2, 3, 4]);
    assert_eq!(fortran.to_vec::<i32>(), (0..24).collect::<Vec<_>>());
    assert_eq!(load("big_endian.npy").to_vec::<f64>(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let scalar = load("scalar.npy");
    assert_eq!((scalar.dims(), scalar.item()), (&[][..], 2.5));
    assert_eq!(load("empty.npy").dims(), [0, 4]);
    for version in 1..=3 {
        assert_eq!(load(&format!("version{version}.npy")).to_vec::<i16>(), [0, 1, 2, 3, 4]);
    }
}

#[test]
fn what_is_no_tensor_is_refused_by_its_name() {
    for (name, word) in [
        ("objects.npy", "Python objects"),
        ("complex.npy", "`<c16`"),
        ("text.npy", "`<U2`"),
        ("records.npy", "records"),
        ("stored.npz", "not a .npy array"),
    ] {
        let error = npy::load::<Cpu>(fixture(name), &CpuDevice).unwrap_err();
        assert!(matches!(error, Error::Format { .. }));
        let error = error.to_string();
        assert!(error.contains(word) && error.contains(name), "{error}");
    }
}

#[test]
fn archives_are_read_stored_and_deflated() {
    for name in ["stored.npz", "deflated.npz"] {
        let arrays: StateDict<Cpu> = npz::load(fixture(name), &CpuDevice).unwrap();
        assert_eq!(arrays.keys().collect::<Vec<_>>(), ["x", "y", "s"]);
        let x = arrays.get("x").unwrap();
        assert_eq!((x.dims(), x.to_vec::<f32>()[5]), (&[2, 3][..], 5.0));
        assert_eq!(arrays.get("y").unwrap().dims(), [3000]);
        assert_eq!(arrays.get("s").unwrap().item(), 1.5);
    }
}

/// With `KILN_FILES=folder`, the files stay there for NumPy to read.
#[test]
fn what_is_written_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let folder = std::env::var("KILN_FILES").map_or_else(|_| folder.path().into(), PathBuf::from);
    let base = Tensor::<Cpu>::from_slice(&[0i64, 1, 3, 4, 5, 6], [2, 3], &CpuDevice);
    let mut arrays = StateDict::new();
    for dtype in NAMES.map(|(_, dtype)| dtype).into_iter().chain([DType::BF16]) {
        arrays.insert(dtype.to_string(), base.to_dtype(dtype));
    }
    arrays.insert("turned", base.t());
    arrays.insert("line", base.select(0, 1));
    arrays.insert("scalar", base.sum());
    arrays.insert("empty", base.narrow(1, 0, 0));
    for (name, tensor) in arrays.iter() {
        let path = folder.join(format!("{name}.npy"));
        npy::save(&path, tensor).unwrap();
        let read: Tensor<Cpu> = npy::load(&path, &CpuDevice).unwrap();
        assert_eq!((read.dims(), read.dtype()), (tensor.dims(), tensor.dtype()));
        assert_eq!(read.to_string(), tensor.to_string());
        // A header of NumPy's length, to the byte: the data is aligned.
        assert_eq!(
            std::fs::metadata(&path).unwrap().len(),
            128 + (tensor.numel() * tensor.dtype().size()) as u64
        );
    }
    for name in ["stored.npz", "deflated.npz"] {
        let path = folder.join(name);
        match name {
            "stored.npz" => npz::save(&path, &arrays).unwrap(),
            _ => npz::save_compressed(&path, &arrays).unwrap(),
        }
        let read: StateDict<Cpu> = npz::load(&path, &CpuDevice).unwrap();
        assert_eq!(read.keys().collect::<Vec<_>>(), arrays.keys().collect::<Vec<_>>());
        for (key, array) in arrays.iter() {
            assert_eq!(read.get(key).unwrap().to_string(), array.to_string(), "{name}: {key}");
        }
    }
}

#[test]
fn damaged_files_are_errors_and_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    for name in ["float64.npy", "version2.npy", "deflated.npz"] {
        let whole = std::fs::read(fixture(name)).unwrap();
        for at in (0..whole.len()).step_by(3) {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x41;
            for bytes in [&flipped[..], &whole[..at]] {
                std::fs::write(&path, bytes).unwrap();
                for result in [
                    npy::load::<Cpu>(&path, &CpuDevice).map(drop),
                    npz::load::<Cpu>(&path, &CpuDevice).map(drop),
                ] {
                    if let Err(error) = result {
                        assert!(matches!(error, Error::Format { .. }), "{error:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_shape_that_the_file_cannot_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("liar.npy");
    for shape in ["(4000000000, 4000000000)", "(9223372036854775807, 2)", "(1000000,)", "(1,)"] {
        let text = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((text.len() as u16).to_le_bytes());
        bytes.extend(text.as_bytes());
        std::fs::write(&path, bytes).unwrap();
        assert!(
            matches!(npy::load::<Cpu>(&path, &CpuDevice), Err(Error::Format { .. })),
            "{shape}"
        );
    }
}
