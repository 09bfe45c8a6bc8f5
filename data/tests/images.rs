//! Image files and folders of them, right and wrong.

mod common;

use std::io::Cursor;

use common::{Folder, assert_format};
use image::{ImageFormat, Rgb, RgbImage};
use kiln_data::{Dataset, Image, ImageFolder};
use kiln_tensor_core::{Error, catch};

fn encoded(format: ImageFormat) -> Vec<u8> {
    let image = RgbImage::from_fn(6, 4, |x, y| Rgb([40 * x as u8, 60 * y as u8, 9]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn png_and_jpeg_are_read() {
    let png = Image::decode(&encoded(ImageFormat::Png), "a.png").unwrap();
    assert_eq!((png.height(), png.width(), png.channels()), (4, 6, 3));
    assert_eq!(&png.pixels()[3 * (6 + 2)..][..3], [80, 60, 9]);
    let jpeg = Image::decode(&encoded(ImageFormat::Jpeg), "a.jpg").unwrap();
    assert_eq!((jpeg.height(), jpeg.width()), (4, 6));
}

#[test]
fn gray_stays_gray_and_transparency_goes() {
    let mut bytes = Cursor::new(Vec::new());
    image::GrayImage::from_pixel(2, 1, image::Luma([77]))
        .write_to(&mut bytes, ImageFormat::Png)
        .unwrap();
    let gray = Image::decode(bytes.get_ref(), "gray").unwrap();
    assert_eq!((gray.channels(), gray.pixels()), (1, &[77u8, 77][..]));
    assert_eq!(gray.into_rgb().pixels(), [77; 6]);
    let mut bytes = Cursor::new(Vec::new());
    image::RgbaImage::from_pixel(1, 1, image::Rgba([1, 2, 3, 4]))
        .write_to(&mut bytes, ImageFormat::Png)
        .unwrap();
    assert_eq!(Image::decode(bytes.get_ref(), "rgba").unwrap().pixels(), [1, 2, 3]);
}

#[test]
fn damaged_images_are_errors() {
    let folder = Folder::new();
    for format in [ImageFormat::Png, ImageFormat::Jpeg] {
        let whole = encoded(format);
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
    for side in [30_000u32, 65_535] {
        let mut png = encoded(ImageFormat::Png);
        png[16..20].copy_from_slice(&side.to_be_bytes());
        png[20..24].copy_from_slice(&side.to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(&png[12..29]);
        png[29..33].copy_from_slice(&crc.sum().to_be_bytes());
        let mut jpeg = encoded(ImageFormat::Jpeg);
        // The frame header: marker, length, bits, then height and width.
        let frame = jpeg.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
        jpeg[frame + 5..frame + 7].copy_from_slice(&(side as u16).to_be_bytes());
        jpeg[frame + 7..frame + 9].copy_from_slice(&(side as u16).to_be_bytes());
        for bytes in [png, jpeg] {
            let path = folder.write("liar", &bytes);
            assert_format(Image::open(&path), &path, &["no readable image", "imit"]);
        }
    }
}

#[test]
fn a_folder_gives_sorted_classes_and_files() {
    let folder = Folder::new();
    let png = encoded(ImageFormat::Png);
    for name in ["dog/2.PNG", "dog/10.png", "cat/a.png", "cat/b.png"] {
        folder.write(name, &png);
    }
    folder.write("cat/c.jpeg", &encoded(ImageFormat::Jpeg));
    folder.write("cat/notes.txt", b"no image");
    folder.write("readme.txt", b"no class");
    let data = ImageFolder::new(folder.path()).unwrap();
    assert_eq!(data.classes(), ["cat", "dog"]);
    assert_eq!(data.labels(), [0, 0, 0, 1, 1]);
    let names = data.files().iter().map(|(p, _)| p.file_name().unwrap().to_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["a.png", "b.png", "c.jpeg", "10.png", "2.PNG"]);
    let (image, label) = data.get(4).unwrap();
    assert_eq!((image.height(), image.width(), image.channels(), label), (4, 6, 3, 1));
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
