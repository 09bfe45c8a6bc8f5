//! Checkpoints: what goes in comes out, and what is none is refused.

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_files::{Checkpoint, Saved, StateDict};
use kiln_tensor_core::{
    DType, Error, RngState, Tensor, catch, manual_seed, next_draw, rng_states, set_rng_states,
};
use serde_json::{Value, json};

fn state() -> StateDict<Cpu> {
    let mut state = StateDict::new();
    state.insert("b.weight", Tensor::from_slice(&[1.0, 2.0], [2], &CpuDevice));
    state.insert("a", Tensor::zeros([0, 3], (&CpuDevice, DType::I8)));
    state.metadata_mut().insert("optimizer".into(), "{\"lr\":0.1}".into());
    state
}

fn round_trip(checkpoint: &Checkpoint<Cpu>) -> Checkpoint<Cpu> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.safetensors");
    checkpoint.save(&path).unwrap();
    Checkpoint::load(&path, &CpuDevice).unwrap()
}

#[track_caller]
fn same<T: Saved<Cpu> + Clone + PartialEq + std::fmt::Debug>(value: T) {
    let checkpoint = Checkpoint::new().with("x", value.clone());
    assert_eq!(round_trip(&checkpoint).get::<T>("x").unwrap(), value);
}

#[test]
fn plain_values_come_back_bit_for_bit() {
    same(true);
    same(-3i32);
    same(u64::MAX);
    same(i64::MIN);
    same(0.1f64);
    same(f64::MIN_POSITIVE / 3.0);
    same(f32::MAX);
    same(f64::INFINITY);
    same(-f32::INFINITY);
    same("größer \"\n".to_owned());
    same(vec![1.5, f64::NEG_INFINITY, -0.0]);
    same(Some(2.5));
    same(None::<f64>);
    same(json!({"clock": [1, 2.5, null]}));
    let nan: f64 = round_trip(&Checkpoint::new().with("x", f64::NAN)).get("x").unwrap();
    assert!(nan.is_nan());
    let zero: f64 = round_trip(&Checkpoint::new().with("x", -0.0)).get("x").unwrap();
    assert!(zero.is_sign_negative());
}

#[test]
fn tensors_come_back_under_their_entries() {
    let tensor = Tensor::<Cpu>::from_slice(&[7i64], [], &CpuDevice);
    let checkpoint = Checkpoint::new()
        .with("model", state())
        .with("ema", state())
        .with("empty", StateDict::new())
        .with("count", tensor)
        .with("epoch", 1)
        .with("epoch", 2);
    let read = round_trip(&checkpoint);
    assert_eq!(read.keys().collect::<Vec<_>>(), ["model", "ema", "empty", "count", "epoch"]);
    let model: StateDict<Cpu> = read.get("model").unwrap();
    assert_eq!(format!("{model:?}"), format!("{:?}", state()));
    assert_eq!(model.metadata(), state().metadata());
    assert!(read.get::<StateDict<Cpu>>("empty").unwrap().is_empty());
    assert_eq!(read.get::<Tensor<Cpu>>("count").unwrap().item(), 7.0);
    assert_eq!(read.get::<i32>("epoch").unwrap(), 2);
}

#[test]
fn the_file_is_a_safetensors_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.ckpt");
    Checkpoint::new().with("model", state()).save(&path).unwrap();
    let tensors = StateDict::<Cpu>::load(&path, &CpuDevice).unwrap();
    assert_eq!(tensors.get("model.b.weight").unwrap().to_vec::<f64>(), [1.0, 2.0]);
}

#[test]
fn mistakes_are_named() {
    let checkpoint = round_trip(&Checkpoint::new().with("model", state()).with("epoch", 2));
    let error = checkpoint.get::<f64>("loss").unwrap_err().to_string();
    assert!(error.contains("no entry `loss`; it has: model, epoch"), "{error}");
    let error = checkpoint.get::<StateDict<Cpu>>("epoch").unwrap_err().to_string();
    assert!(error.contains("entry `epoch` of the checkpoint is 2, not a"), "{error}");
    assert!(checkpoint.get::<u8>("model").is_err() && checkpoint.get::<Value>("model").is_err());
    for name in ["", "a.b"] {
        assert!(catch(|| Checkpoint::<Cpu>::new().with(name, 1)).is_err());
    }
}

#[test]
fn other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.safetensors");
    let load = || Checkpoint::<Cpu>::load(&path, &CpuDevice).unwrap_err();
    assert!(matches!(load(), Error::Io { .. }));
    let mut state = state();
    state.save(&path).unwrap();
    assert!(load().to_string().contains("does not say what they are parts of"));
    for (text, word) in [
        ("{}", "version"),
        ("no json", "expected"),
        (r#"{"version": 2, "entries": []}"#, "version 2"),
        (r#"{"version": 1, "entries": []}"#, "belongs to no entry"),
        (
            r#"{"version": 1, "entries": [{"name": "b", "tensors": ["x"], "texts": {}}]}"#,
            "no tensor b.x",
        ),
        (r#"{"version": 1, "entries": [{"name": "b"}]}"#, "unknown kind"),
        (r#"{"version": 1, "entries": [{}]}"#, "nameless"),
    ] {
        state.metadata_mut().insert("checkpoint".into(), text.into());
        state.save(&path).unwrap();
        let error = load();
        assert!(matches!(error, Error::Format { .. }));
        assert!(error.to_string().contains(word), "{text}: {error}");
    }
}

#[test]
fn random_numbers_go_on_where_they_stood() {
    manual_seed(5);
    next_draw(&CpuDevice);
    next_draw(&CpuDevice);
    let checkpoint = round_trip(&Checkpoint::new().with("rng", rng_states()));
    let after = next_draw(&CpuDevice);
    manual_seed(6);
    next_draw(&CpuDevice);
    set_rng_states(&checkpoint.get("rng").unwrap());
    // Saved again before anybody has drawn, they are the same.
    assert_eq!(rng_states(), checkpoint.get("rng").unwrap());
    assert_eq!(next_draw(&CpuDevice), after);
    assert_eq!(after, RngState { seed: 5, stream: 2 });
    assert_eq!(rng_states().devices["cpu"].stream, 3);
    manual_seed(5);
    assert_eq!(next_draw(&CpuDevice).stream, 0);
}
