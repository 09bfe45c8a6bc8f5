//! A training that is killed and resumed gives the bits of one that was not.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kiln::data::transforms::{RandomCrop, ToTensor, Transform};
use kiln::data::{Position, digits};
use kiln::optim::lr_scheduler::{CosineAnnealingLR, Schedule};
use kiln::prelude::*;

const EPOCHS: u64 = 3;

#[derive(Module)]
struct Net {
    hidden: Linear,
    norm: BatchNorm1d,
    drop: Dropout,
    out: Linear,
}

impl Forward for Net {
    fn forward(&self, x: &Tensor) -> Tensor {
        let x = self.norm.call(&self.hidden.call(&x.flatten(1, -1))).relu();
        self.out.call(&self.drop.call(&x))
    }
}

/// Trains for `EPOCHS` epochs with a checkpoint after every batch, from the checkpoint at `path` if there
/// is one. Stops after `budget` batches. Gives the parameters once it is done.
fn train(path: &Path, budget: usize, mut saved: impl FnMut()) -> Option<Vec<f32>> {
    let device = Device::cpu();
    manual_seed(3);
    let augment = RandomCrop::new(8, 8).padding(1).then(ToTensor::new(&device));
    let data = digits().subset((0..200).collect::<Vec<_>>()).transform(augment).seed(5);
    let loader = DataLoader::new(data).batch_size(32).shuffle(11).workers(2);
    let net = Net {
        hidden: Linear::new(64, 16, &device),
        norm: BatchNorm1d::new(16, &device),
        drop: Dropout::new(0.3),
        out: Linear::new(16, 10, &device),
    };
    let mut adam = Adam::new(net.parameters()).lr(3e-3);
    let mut scheduler = CosineAnnealingLR::new(EPOCHS).attach(&mut adam);
    // Grows within the run, so that a scaler that starts anew shows.
    let mut scaler = GradScaler::new().init_scale(1024.0).growth_interval(4);
    let mut total = 0.0;
    if path.exists() {
        let checkpoint = Checkpoint::load(path, &device).unwrap();
        net.load_state_dict(&checkpoint.get("model").unwrap(), true).unwrap();
        adam.load_state_dict(&checkpoint.get("optimizer").unwrap()).unwrap();
        scheduler.load_state_dict(&checkpoint.get("scheduler").unwrap()).unwrap();
        scaler.load_state_dict(&checkpoint.get("scaler").unwrap()).unwrap();
        loader.resume(checkpoint.get("loader").unwrap());
        set_rng_states(&checkpoint.get("rng").unwrap());
        total = checkpoint.get("total loss").unwrap();
    }
    let mut steps = 0;
    while loader.position().epoch < EPOCHS {
        let epoch = loader.position().epoch;
        for (x, y) in loader.epoch() {
            if steps == budget {
                return None;
            }
            let loss = cross_entropy(&net.call(&x), &y);
            adam.zero_grad();
            scaler.scale(&loss).backward();
            scaler.step(&mut adam);
            scaler.update();
            total += loss.item();
            steps += 1;
            if loader.position().epoch > epoch {
                scheduler.step(&mut adam);
            }
            Checkpoint::new()
                .with("model", net.state_dict())
                .with("optimizer", adam.state_dict())
                .with("scheduler", scheduler.state_dict())
                .with("scaler", scaler.state_dict())
                .with("loader", loader.position())
                .with("rng", rng_states())
                .with("total loss", total)
                .save(path)
                .unwrap();
            saved();
        }
    }
    let mut values = vec![total as f32, scaler.get_scale() as f32];
    for (_, tensor) in net.state_dict().iter() {
        values.extend(tensor.to_dtype(F32).to_vec::<f32>());
    }
    Some(values)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// The one test of this file that trains in this process: random numbers are the whole program's.
#[test]
fn stopped_or_killed_at_any_point_it_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let whole = train(&folder.path().join("whole"), usize::MAX, || {}).unwrap();
    assert_eq!(
        bits(&whole),
        bits(&train(&folder.path().join("again"), usize::MAX, || {}).unwrap())
    );
    // Seven batches an epoch: in the middle, at the end, at the first one of an epoch, and one by one.
    for budget in [1, 3, 7, 8] {
        let path = folder.path().join(format!("stopped-{budget}"));
        let resumed = std::iter::repeat_with(|| train(&path, budget, || {})).flatten().next();
        assert_eq!(bits(&resumed.unwrap()), bits(&whole), "stopped every {budget} batches");
    }
    let path = folder.path().join("killed");
    let mut kills = 0;
    // Each process is killed while it works on what follows its second to fifth checkpoint.
    let killed = loop {
        let last = run_and_kill(&path, 2 + kills % 4);
        if let Some(values) = last {
            break values;
        }
        kills += 1;
        assert!(kills < 100, "no process came to its end");
    };
    assert!(kills > 2, "{kills} processes were killed");
    assert_eq!(killed, bits(&whole));
    // Nothing but checkpoints and what was being written when the process was killed.
    let state = Checkpoint::load(&path, &Device::cpu()).unwrap();
    assert_eq!(state.get::<Position>("loader").unwrap(), Position { epoch: EPOCHS, batch: 0 });
}

/// Runs [`child`] in a process of its own and kills it after so many checkpoints; gives what it ends with
/// if it ends before.
fn run_and_kill(path: &Path, checkpoints: usize) -> Option<Vec<u32>> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--ignored", "--nocapture"])
        .env("KILN_RESUME", path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut count = 0;
    let mut values = None;
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok) {
        if line.ends_with("saved") {
            count += 1;
            if count == checkpoints {
                child.kill().unwrap();
            }
        } else if let Some(text) = line.strip_prefix("done ") {
            values = Some(text.split(' ').map(|v| v.parse().unwrap()).collect());
        }
    }
    let status = child.wait().unwrap();
    assert!(status.success() || count >= checkpoints, "{status}");
    values
}

#[test]
#[ignore = "a part of the test above, which runs it in processes of its own"]
fn child() {
    let path = PathBuf::from(std::env::var("KILN_RESUME").unwrap());
    let values = train(&path, usize::MAX, || println!("saved")).unwrap();
    let values = bits(&values).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    println!("done {values}");
}
