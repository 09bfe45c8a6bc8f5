//! Event files: those that `events/make.py` let PyTorch write, and ours.

mod common;

use std::path::{Path, PathBuf};

use common::{Tensor, device};
use kiln_data::Image;
use kiln_data::tensorboard::{Event, HParam, Histogram, Summary, SummaryWriter, read_events};
use kiln_tensor_core::Error;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/events").join(name)
}

/// Steps, tags and summaries.
fn all(events: &[Event]) -> Vec<(i64, &str, &Summary)> {
    let each = |e: &'_ Event| e.step;
    events
        .iter()
        .flat_map(|e| e.values.iter().map(move |(t, s)| (each(e), t.as_str(), s)))
        .collect()
}

fn histogram(summary: &Summary) -> &Histogram {
    match summary {
        Summary::Histogram(histogram) => histogram,
        other => panic!("{other:?}"),
    }
}

/// The same events as `events/make.py` writes with PyTorch. With `KILN_EVENTS=folder` they stay there.
fn write(folder: &Path) -> SummaryWriter {
    let kept = std::env::var("KILN_EVENTS").map_or_else(|_| folder.to_owned(), PathBuf::from);
    let mut writer = SummaryWriter::new(kept.join("runs/a")).unwrap();
    for step in 0..3 {
        writer.add_scalar("loss", 1.0 / (step + 1) as f64, step).unwrap();
    }
    let values = [-1.5, 0.0, 0.25, 0.3, 2.0, 1e-13];
    writer.add_histogram("weights", &Tensor::from_slice(&values, [2, 3], &device()), 4).unwrap();
    let mut pixels = [0f32; 30];
    pixels[8] = 1.0;
    writer.add_image("picture", &Tensor::from_slice(&pixels, [3, 2, 5], &device()), 5).unwrap();
    writer.add_text("note", "some *words*", 6).unwrap();
    let hparams: [(&str, HParam); 3] =
        [("lr", 0.1.into()), ("layers", 2.into()), ("name", "adam".into())];
    writer.add_hparams(&hparams, &[("accuracy", 0.75)]).unwrap();
    writer.add_scalars("both/x", &[("train", 1.0), ("test", 2.0)], 1).unwrap();
    writer.add_scalars("both/x", &[("train", 3.0)], 2).unwrap();
    let images = Tensor::ones([9, 1, 4, 6], &device());
    writer.add_images("grid", &images, 7).unwrap();
    writer
}

#[test]
fn what_is_written_is_what_pytorch_writes() {
    let folder = common::Folder::new();
    let writer = write(folder.path());
    let (ours, theirs) =
        (read_events(writer.path()).unwrap(), read_events(fixture("torch.tfevents")).unwrap());
    let (ours, theirs) = (all(&ours), all(&theirs));
    assert_eq!(theirs.len(), 6);
    assert_eq!(ours[..3], theirs[..3]);
    assert_eq!(*ours[1].2, Summary::Scalar(0.5));
    let (a, b) = (histogram(ours[3].2), histogram(theirs[3].2));
    assert_eq!(
        (ours[3].1, &a.counts, a.num, a.min, a.max),
        (theirs[3].1, &b.counts, b.num, b.min, b.max)
    );
    // NumPy sums pairwise; a bin's limit is a product of hundreds of factors on both sides.
    assert!((a.sum - b.sum).abs() < 1e-12 && (a.sum_squares - b.sum_squares).abs() < 1e-12);
    assert_eq!(a.limits, b.limits);
    let picture = |s: &(i64, &str, &Summary)| match s.2 {
        Summary::Image { height, width, png } => {
            (s.0, s.1.to_owned(), *height, *width, Image::decode(png, s.1).unwrap())
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(picture(&ours[4]), picture(&theirs[4]));
    assert_eq!(ours[5], theirs[5]);
    assert_eq!(*ours[5].2, Summary::Text("some *words*".into()));
    let grid = picture(&ours[6]);
    assert_eq!((grid.2, grid.3), (2 * 6 + 2, 8 * 8 + 2));
}

#[test]
fn hyperparameters_and_charts_of_several_are_runs_of_their_own() {
    let folder = common::Folder::new();
    let writer = write(folder.path());
    let run = writer.path().parent().unwrap();
    let files = |under: &str| -> Vec<PathBuf> {
        let list = |p: &Path| -> Vec<PathBuf> {
            std::fs::read_dir(p).unwrap().map(|entry| entry.unwrap().path()).collect()
        };
        let folders = list(run).into_iter().filter(|p| p.is_dir());
        let named = folders.filter(|p| p.file_name().unwrap().to_str().unwrap().contains(under));
        named.flat_map(|p| list(&p)).collect()
    };
    let train = read_events(&files("both_x_train")[0]).unwrap();
    assert_eq!(
        all(&train),
        [(1, "both/x", &Summary::Scalar(1.0)), (2, "both/x", &Summary::Scalar(3.0))]
    );
    assert_eq!(files("both_x_test").len(), 1);
    let hparams = read_events(&files(".")[0]).unwrap();
    let theirs = read_events(fixture("torch_hparams.tfevents")).unwrap();
    let (ours, theirs) = (all(&hparams), all(&theirs));
    // The hyperparameters of a session are a map, whose entries may have any order.
    let session = |s: &Summary| match s {
        Summary::Plugin { name, content } => {
            let mut bytes = content.clone();
            bytes.sort_unstable();
            (name.clone(), bytes)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(ours.len(), 4);
    assert_eq!((ours[0], ours[2], ours[3]), (theirs[0], theirs[2], theirs[3]));
    assert_eq!((ours[1].1, session(ours[1].2)), (theirs[1].1, session(theirs[1].2)));
}

#[test]
fn bad_values_are_errors() {
    let folder = common::Folder::new();
    let mut writer = SummaryWriter::new(folder.path()).unwrap();
    for values in [&[][..], &[f64::NAN], &[1e30]] {
        let values = Tensor::from_slice(values, [values.len()], &device());
        let error = writer.add_histogram("h", &values, 0).unwrap_err();
        assert!(matches!(error, Error::Argument { .. }), "{error}");
    }
    let blocked = folder.write("file", b"");
    assert!(matches!(SummaryWriter::new(blocked.join("run")), Err(Error::Io { .. })));
}

#[test]
fn damaged_files_are_errors() {
    let folder = common::Folder::new();
    let whole = std::fs::read(fixture("torch.tfevents")).unwrap();
    for at in (0..whole.len()).step_by(13) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x55;
        let path = folder.write("flipped", &flipped);
        common::assert_format(read_events(&path), &path, &[]);
    }
    // Cut off between two records it is a shorter file; else it is cut off.
    let cut = folder.write("cut", &whole[..whole.len() - 1]);
    common::assert_format(read_events(&cut), &cut, &["cut off"]);
}
