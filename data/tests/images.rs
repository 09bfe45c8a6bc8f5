//! Image files and folders of them, right and wrong.

mod common;

use common::{Folder, assert_format, jpeg_that_claims, picture, png_that_claims};
use kiln_data::{Dataset, Image, ImageFolder};
use kiln_tensor_core::{Error, catch};
use serde_json::Value;

/// What PIL says of the pictures.
fn expected() -> Value {
    serde_json::from_slice(&picture("pixels.json")).unwrap()
}

fn numbers(list: &Value) -> Vec<u8> {
    list.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as u8).collect()
}

#[test]
fn png_and_jpeg_are_read_as_pil_reads_them() {
    for (name, pixels) in expected()["files"].as_object().unwrap() {
        let (image, pixels) = (Image::decode(&picture(name), name).unwrap(), numbers(pixels));
        assert_eq!((image.height(), image.width()), (11, 13), "{name}");
        assert_eq!(image.pixels().len(), pixels.len(), "{name}");
        // Decoders of JPEG may round otherwise, and interpolate colours otherwise.
        let most = if name.ends_with("jpg") { 6 } else { 0 };
        let far = image.pixels().iter().zip(&pixels).find(|(a, b)| a.abs_diff(**b) > most);
        assert_eq!(far, None, "{name}");
    }
}

#[test]
fn resizing_is_pils() {
    let image = Image::decode(&picture("rgb.png"), "rgb.png").unwrap();
    for case in expected()["resized"].as_array().unwrap() {
        let size = numbers(&case["size"]);
        let resized = image.resize(size[0].into(), size[1].into());
        assert_eq!(resized.pixels(), numbers(&case["pixels"]), "{size:?}");
    }
}

#[test]
fn what_is_written_is_read_again() {
    let folder = Folder::new();
    for channels in 1..=4 {
        let image = Image::new(2, 3, channels, (0..6 * channels as u8).map(|v| 10 * v).collect());
        let path = folder.path().join(format!("{channels}.png"));
        image.save(&path).unwrap();
        let read = Image::open(&path).unwrap();
        assert_eq!(read, if channels == 1 { image } else { image.into_rgb() });
    }
    let image = Image::new(1, 2, 1, vec![4, 16]).with_white(16);
    let read = Image::decode(&image.to_png().unwrap(), "white").unwrap();
    assert_eq!(read.pixels(), [64, 255]);
    let error = image.save(folder.path().join("a.jpg")).unwrap_err();
    assert!(error.to_string().contains("are written as .png"), "{error}");
    assert!(Image::new(0, 2, 1, vec![]).to_png().is_err());
}

#[test]
fn damaged_images_are_errors() {
    let folder = Folder::new();
    for name in ["rgb.png", "palette.png", "deep.png", "rgb.jpg", "progressive.jpg"] {
        let whole = picture(name);
        for at in 0..whole.len() - 2 {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x55;
            let _ = Image::decode(&flipped, "flipped");
            let _ = Image::decode(&whole[..at], "cut");
        }
        let path = folder.write("half", &whole[..whole.len() / 3]);
        assert_format(Image::open(&path), &path, &["no readable image"]);
    }
    let path = folder.write("text.png", b"not an image");
    assert_format(Image::open(&path), &path, &["no readable image"]);
    assert!(matches!(Image::open(folder.path().join("none")), Err(Error::Io { .. })));
}

#[test]
fn a_header_that_claims_more_than_the_file_can_hold_is_refused() {
    // 30,000 and 65,535 pixels each way are 2.7 and 12.9 GB in a file of a few hundred bytes.
    let folder = Folder::new();
    for side in [30_000u16, 65_535] {
        for bytes in [png_that_claims(side.into(), side.into()), jpeg_that_claims(side, side)] {
            let path = folder.write("liar", &bytes);
            assert_format(Image::open(&path), &path, &["no readable image", "imit"]);
        }
    }
}

#[test]
fn a_folder_gives_sorted_classes_and_files() {
    let folder = Folder::new();
    let png = picture("rgb.png");
    for name in ["dog/2.PNG", "dog/10.png", "cat/a.png", "cat/b.png"] {
        folder.write(name, &png);
    }
    folder.write("cat/c.jpeg", &picture("rgb.jpg"));
    folder.write("cat/notes.txt", b"no image");
    folder.write("readme.txt", b"no class");
    let data = ImageFolder::new(folder.path()).unwrap();
    assert_eq!(data.classes(), ["cat", "dog"]);
    assert_eq!(data.labels(), [0, 0, 0, 1, 1]);
    let names = data.files().iter().map(|(p, _)| p.file_name().unwrap().to_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["a.png", "b.png", "c.jpeg", "10.png", "2.PNG"]);
    let (image, label) = data.get(4).unwrap();
    assert_eq!((image.height(), image.width(), image.channels(), label), (11, 13, 3, 1));
}

#[test]
fn a_folder_without_classes_or_images_is_an_error() {
    let folder = Folder::new();
    assert_format(ImageFolder::new(folder.path()), folder.path(), &["no subfolder"]);
    folder.write("cat/notes.txt", b"");
    let class = folder.path().join("cat");
    assert_format(ImageFolder::new(folder.path()), &class, &["no .png"]);
    let missing = folder.path().join("missing");
    assert!(matches!(ImageFolder::new(&missing), Err(Error::Io { path, .. }) if path == missing));
    // A file that is no image is reported when it is asked for.
    let path = folder.write("cat/a.png", b"");
    assert_format(ImageFolder::new(folder.path()).unwrap().get(0), &path, &["no readable image"]);
}

#[test]
fn images_of_the_wrong_size_are_refused() {
    let error = catch(|| Image::new(2, 3, 1, vec![0; 5])).unwrap_err();
    assert!(error.to_string().contains("2×3 pixels of 1 channels cannot be 5 values"), "{error}");
}
