//! Plots are whole pictures of the size they say, without any font of the system.
#![cfg(feature = "plot")]

use kiln_data::metrics::ConfusionMatrix;
use kiln_data::plot::{ConfusionPlot, Figure, Histogram, ImageGrid, LinePlot, TrainingCurves};
use kiln_data::{Dataset, History, Image, Progress, digits};
use kiln_tensor_core::Error;

/// Draws both ways and gives the PNG as an image.
fn drawn(name: &str, figure: &impl Figure) -> Image {
    let svg = figure.svg().unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    let png = figure.png().unwrap();
    // KILN_PLOTS=folder keeps the pictures, to look at.
    if let Ok(folder) = std::env::var("KILN_PLOTS") {
        figure.save(format!("{folder}/{name}.png")).unwrap();
        figure.save(format!("{folder}/{name}.svg")).unwrap();
    }
    let image = Image::decode(&png, name).unwrap();
    assert_eq!((image.width() as u32, image.height() as u32), figure.size());
    let ink = image.pixels().iter().filter(|&&v| v < 128).count();
    assert!(ink > 500, "{name} is empty");
    image
}

/// How many pixels are close to a colour.
fn count(image: &Image, colour: [u8; 3]) -> usize {
    let near = |p: &&[u8]| p.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 8);
    image.pixels().chunks_exact(3).filter(near).count()
}

fn history() -> History {
    let mut history = History::new();
    let progress = Progress::new(12).quiet(true);
    for epoch in 1..=12 {
        let t = f64::from(epoch as u8);
        let mut bar = progress.epoch(epoch, 1);
        bar.step(
            1,
            &[("loss", 2.3 * (-0.4 * t).exp() + 0.03), ("accuracy", 1.0 - 0.8 * (-0.5 * t).exp())],
        );
        let val = [
            ("val loss", 2.3 * (-0.35 * t).exp() + 0.1),
            ("val accuracy", 0.98 - 0.8 * (-0.5 * t).exp()),
        ];
        history.push(bar.finish(&val));
    }
    history
}

#[test]
fn training_curves_have_two_panels_of_two_lines() {
    let image = drawn("curves", &TrainingCurves::new("Handwritten digits, CNN", &history()));
    assert!(count(&image, [0, 114, 178]) > 500 && count(&image, [230, 159, 0]) > 500);
}

#[test]
fn lines_leave_gaps_where_values_are_missing() {
    let points = |missing: usize| {
        (0..200).map(move |i| {
            let x = i as f64 / 20.0;
            (x, if (50..50 + missing).contains(&i) { f64::NAN } else { x.sin() })
        })
    };
    let plot = |missing| LinePlot::new("A sine").line("sin x", points(missing)).labels("x", "y");
    let whole = count(&drawn("sine", &plot(0)), [0, 114, 178]);
    let gap = count(&drawn("sine_gap", &plot(60)), [0, 114, 178]);
    assert!(gap < whole - 100, "{gap} {whole}");
    // Nothing, one point and no range are no reason to fail.
    drawn("empty", &LinePlot::new("nothing"));
    drawn("point", &LinePlot::new("a point").line("p", [(1.0, 1.0)]));
}

#[test]
fn a_confusion_matrix_is_dark_where_counts_are_high() {
    let mut matrix = ConfusionMatrix::new(10);
    for class in 0..10 {
        matrix.add(&[class; 36], &[class; 36]);
        matrix.add(&[(class + 3) % 10], &[class]);
    }
    let image = drawn("confusion", &ConfusionPlot::new("Test accuracy 97.3 %", &matrix));
    assert!(count(&image, [12, 71, 140]) > 10 * 1000);
    let names = ["T-shirt/top", "Trouser", "Pullover", "Ankle boot"];
    let mut matrix = ConfusionMatrix::with_names(names);
    matrix.add(&[0, 1, 2, 3, 0], &[0, 1, 2, 3, 3]);
    drawn("names", &ConfusionPlot::new("Clothes", &matrix));
}

#[test]
fn a_grid_shows_each_image() {
    let mut grid = ImageGrid::new("The first digits", 8);
    for at in 0..20 {
        let (image, label) = digits().get(at).unwrap();
        let caption = format!("{label}");
        grid = if at == 5 { grid.wrong(image, "5 → 9") } else { grid.image(image, caption) };
    }
    drawn("grid", &grid);
}

#[test]
fn histograms_count() {
    let plot = Histogram::new("", [0.0, 0.1, 0.9, 1.0, f64::NAN]).bins(2);
    assert_eq!(plot.counts(), (0.0, 0.5, vec![2, 2]));
    assert_eq!(Histogram::new("", [3.0; 4]).bins(1).counts(), (2.5, 1.0, vec![4]));
    assert_eq!(Histogram::new("", []).bins(1).counts(), (0.0, 1.0, vec![0]));
    let mut rng = kiln_data::Rng::new(1, 0);
    let values: Vec<f64> =
        (0..5000).map(|_| (0..12).map(|_| rng.uniform()).sum::<f64>() - 6.0).collect();
    drawn("histogram", &Histogram::new("Weights of a layer", values).label("weight"));
}

#[test]
fn the_name_decides_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let plot = LinePlot::new("a").line("b", [(0.0, 0.0), (1.0, 1.0)]);
    plot.save(folder.path().join("a.PNG")).unwrap();
    plot.save(folder.path().join("a.svg")).unwrap();
    let error = plot.save(folder.path().join("a.gif")).unwrap_err();
    assert!(matches!(error, Error::Argument { .. }), "{error}");
    let error = plot.save(folder.path().join("no/a.png")).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}
