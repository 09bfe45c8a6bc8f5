//! The examples run, shortened, and reach what they say: each is a program of its own, started as a user would.

use std::env::consts::EXE_SUFFIX;
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::Command;

/// What an example prints when it is run in a folder.
#[track_caller]
fn output(name: &str, args: &[&str], folder: &Path) -> String {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().and_then(|deps| deps.parent()).unwrap().join("examples");
    let program = built.join(format!("{name}{EXE_SUFFIX}"));
    assert!(program.exists(), "{program:?} is missing: cargo build -p kiln --examples");
    let out = Command::new(program).args(args).current_dir(folder).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{name} {args:?}: {}\n{text}\n{errors}", out.status);
    text
}

/// The number after the last `label` in a text.
#[track_caller]
fn number(text: &str, label: &str) -> f64 {
    let said = text.lines().rev().find_map(|line| line.split_once(label));
    let (_, rest) = said.unwrap_or_else(|| panic!("nothing says `{label}`:\n{text}"));
    let number = rest.trim_start().split([' ', ',', '%']).next().unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("`{number}` is no number:\n{text}"))
}

/// Runs an example in an empty folder; the number after `label` in what it prints must lie in `wanted`.
#[track_caller]
fn run(name: &str, args: &[&str], label: &str, wanted: &RangeInclusive<f64>) {
    let text = output(name, args, tempfile::tempdir().unwrap().path());
    let number = number(&text, label);
    assert!(wanted.contains(&number), "{name}: {label} {number}, wanted {wanted:?}:\n{text}");
}

macro_rules! examples {
    ($($name:ident [$($arg:literal)*] $label:literal $wanted:expr;)*) => {$(
        #[test]
        fn $name() {
            run(stringify!($name), &[$($arg),*], $label, &$wanted);
        }
    )*};
}

// What each reaches in full is in its own first lines and in docs/stories.md; here it is enough that it learns.
examples! {
    linear_regression []                       "epoch 5: loss"          0.0..=0.01;
    logistic_regression []                     "test accuracy:"         95.0..=100.0;
    two_layer_net []                           "step 500: loss"         0.0..=1e-3;
    mlp ["--epochs" "20"]                      "test accuracy:"         94.0..=100.0;
    cnn ["--epochs" "15"]                      "test accuracy:"         95.0..=100.0;
    gradient_hooks ["--epochs" "6"]            "test accuracy:"         40.0..=100.0;
    pinn ["--steps" "600"]                     "largest error:"         0.0..=0.6;
    custom_function ["--epochs" "8"]           "test accuracy:"         90.0..=100.0;
    custom_layer ["--epochs" "8"]              "test accuracy:"         92.0..=100.0;
    fused_kernels ["--size" "10000" "--epochs" "5"] "test accuracy:"    80.0..=100.0;
    mixed_precision ["--epochs" "3"]           "(f16):"                  85.0..=100.0;
    transfer ["--epochs" "4"]                  "fine-tuned:"            75.0..=100.0;
    char_lstm ["--epochs" "1" "--write" "20"]  "on the last tenth"      1.5..=3.1;
    gpt ["--steps" "30" "--write" "20"]        "on the last tenth"      1.5..=3.1;
    vae ["--epochs" "10"]                      "test loss:"             10.0..=32.0;
    dqn ["--steps" "1500"]                     "mean of ten episodes:"  8.0..=500.0;
}

#[test]
fn resume() {
    let [whole, parts] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let label = "weights after 46 batches:";
    let wanted = number(&output("resume", &["--epochs", "2"], whole.path()), label);
    // In the first epoch, at its end, and in the second.
    for batches in ["7", "16", "9"] {
        let text = output("resume", &["--epochs", "2", "--stop-after", batches], parts.path());
        assert!(text.contains("start again to go on"), "{text}");
    }
    let found = output("resume", &["--epochs", "2"], parts.path());
    assert!(found.starts_with("going on after 32 batches"), "{found}");
    assert_eq!(number(&found, label), wanted);
}
