//! IDX files: what is read, and every way in which one can be wrong.

mod common;

use common::{Folder, assert_format, device, gzip};
use kiln_data::{Dataset, fashion_mnist, read_idx, read_idx_images};
use kiln_tensor_core::{DType, Error};

/// An IDX file of `u8` with these sizes and elements.
fn idx(sizes: &[u32], data: &[u8]) -> Vec<u8> {
    typed(0x08, sizes, data)
}

fn typed(code: u8, sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, code, sizes.len() as u8];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

#[test]
fn plain_and_gzip_hold_the_same() {
    let folder = Folder::new();
    let bytes = idx(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    for bytes in [gzip(&bytes), bytes] {
        let array = read_idx(folder.write("a", &bytes)).unwrap();
        assert_eq!((array.shape().to_vec(), array.dtype()), (vec![2, 3], DType::U8));
        let tensor: common::Tensor = array.tensor(&device());
        assert_eq!(tensor.to_vec::<u8>(), [1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn every_element_type_is_read_in_its_byte_order() {
    let folder = Folder::new();
    let read = |code, data: &[u8]| -> common::Tensor {
        let size = data.len() as u32 / 2;
        let sizes = [data.len() as u32 / size];
        let width = match code {
            0x08 | 0x09 => 1,
            0x0B => 2,
            0x0E => 8,
            _ => 4,
        };
        assert_eq!(sizes, [2]);
        assert_eq!(size, width);
        read_idx(folder.write("a", &typed(code, &sizes, data))).unwrap().tensor(&device())
    };
    let pair = |a: &[u8], b: &[u8]| [a, b].concat();
    assert_eq!(read(0x08, &[7, 200]).to_vec::<u8>(), [7, 200]);
    assert_eq!(read(0x09, &[7, 200]).to_vec::<i8>(), [7, -56]);
    let data = pair(&(-2i16).to_be_bytes(), &300i16.to_be_bytes());
    assert_eq!(read(0x0B, &data).to_vec::<i16>(), [-2, 300]);
    let data = pair(&(-2i32).to_be_bytes(), &70_000i32.to_be_bytes());
    assert_eq!(read(0x0C, &data).to_vec::<i32>(), [-2, 70_000]);
    let data = pair(&1.5f32.to_be_bytes(), &(-0.1f32).to_be_bytes());
    assert_eq!(read(0x0D, &data).to_vec::<f32>(), [1.5, -0.1]);
    let data = pair(&1.5f64.to_be_bytes(), &(-0.1f64).to_be_bytes());
    assert_eq!(read(0x0E, &data).to_vec::<f64>(), [1.5, -0.1]);
}

#[test]
fn wrong_files_are_named_with_the_reason() {
    let folder = Folder::new();
    let whole = idx(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let mut bad_crc = gzip(&whole);
    let crc = bad_crc.len() - 8;
    bad_crc[crc] ^= 1;
    let packed = gzip(&whole);
    let cases: &[(&str, Vec<u8>, &[&str])] = &[
        ("empty", vec![], &["header", "4 bytes"]),
        ("text", b"hello world".to_vec(), &["not an IDX file"]),
        ("type", typed(0x0A, &[1], &[0]), &["unknown", "0x0a"]),
        ("no sizes", vec![0, 0, 8, 3, 0, 0, 0, 1], &["sizes", "12 bytes"]),
        ("cut", whole[..whole.len() - 1].to_vec(), &["cut off", "5 of 6"]),
        ("long", idx(&[2, 2], &[1, 2, 3, 4, 5]), &["more data"]),
        // 16 EiB, and sizes whose product overflows: both must allocate nothing.
        ("liar", idx(&[u32::MAX, u32::MAX], &[1]), &["cannot hold more"]),
        ("overflow", idx(&[u32::MAX; 9], &[1]), &["cannot hold more"]),
        ("gz liar", gzip(&idx(&[1 << 30, 1 << 10], &[1])), &["cannot hold more"]),
        ("gz cut", packed[..packed.len() - 9].to_vec(), &["damaged gzip"]),
        ("gz crc", bad_crc, &["damaged gzip"]),
        ("gz long", gzip(&idx(&[2, 2], &[1, 2, 3, 4, 5])), &["more data"]),
        ("bomb", gzip(&idx(&[2], &vec![0; 1 << 22])), &["more data"]),
        ("gz header", vec![0x1f, 0x8b, 9, 9, 9], &["damaged gzip"]),
    ];
    for (name, bytes, words) in cases {
        let path = folder.write(name, bytes);
        assert_format(read_idx(&path), &path, words);
    }
    let missing = folder.path().join("missing");
    assert!(matches!(read_idx(&missing), Err(Error::Io { path, .. }) if path == missing));
}

#[test]
fn every_truncation_and_every_flipped_byte_is_survived() {
    let folder = Folder::new();
    for whole in [idx(&[2, 3], &[1, 2, 3, 4, 5, 6]), gzip(&idx(&[2, 3], &[1, 2, 3, 4, 5, 6]))] {
        for at in 0..whole.len() {
            assert!(read_idx(folder.write("a", &whole[..at])).is_err(), "cut at {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 0xff;
            let _ = read_idx(folder.write("a", &flipped));
        }
    }
}

#[test]
fn images_want_their_labels() {
    let folder = Folder::new();
    let images = folder.write("images", &idx(&[2, 1, 3], &[0, 51, 102, 153, 204, 255]));
    let labels = |bytes: &[u8]| folder.write("labels", bytes);
    let names = ["a", "b"];

    let data = read_idx_images(&images, labels(&idx(&[2], &[1, 0])), &names).unwrap();
    assert_eq!(data.labels(), [1, 0]);
    assert_eq!(data.get(1).unwrap().0.pixels(), [153, 204, 255]);
    let (x, y): (common::Tensor, _) = data.tensors(&device());
    assert_eq!(x.dims(), [2, 1, 1, 3]);
    assert_eq!(x.to_vec::<f32>(), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
    assert_eq!(y.to_vec::<i64>(), [1, 0]);

    let path = labels(&idx(&[3], &[1, 0, 0]));
    assert_format(read_idx_images(&images, &path, &names), &path, &["2 images"]);
    let path = labels(&idx(&[2], &[1, 2]));
    assert_format(read_idx_images(&images, &path, &names), &path, &["label 2", "2 classes"]);
    let path = labels(&typed(0x09, &[2], &[1, 0]));
    assert_format(read_idx_images(&images, &path, &names), &path, &["u8", "i8"]);
    assert_format(read_idx_images(&path, &path, &names), &path, &["3 dims"]);
}

#[test]
fn fashion_mnist_says_how_to_get_it() {
    let folder = Folder::new();
    let error = fashion_mnist(Some(folder.path())).unwrap_err();
    assert!(matches!(&error, Error::Io { .. }));
    let text = error.to_string();
    let wanted = ["train-images-idx3-ubyte", "apt-get install dataset-fashion-mnist", "https://"];
    wanted.iter().for_each(|word| assert!(text.contains(word), "{text}"));
}

#[test]
fn fashion_mnist_takes_plain_and_packed_files() {
    let folder = Folder::new();
    let (images, labels) = (idx(&[1, 2, 2], &[1, 2, 3, 4]), idx(&[1], &[9]));
    folder.write("train-images-idx3-ubyte", &images);
    folder.write("train-labels-idx1-ubyte.gz", &gzip(&labels));
    folder.write("t10k-images-idx3-ubyte.gz", &gzip(&images));
    folder.write("t10k-labels-idx1-ubyte", &labels);
    let data = fashion_mnist(Some(folder.path())).unwrap();
    assert_eq!((data.train.len(), data.test.labels()), (1, &[9i64][..]));
    assert_eq!(data.train.classes()[9], "Ankle boot");
}
