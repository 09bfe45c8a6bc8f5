//! CSV files: typed columns, and every way in which one can be wrong.

mod common;

use common::{Folder, assert_format, device, gzip};
use kiln_data::{Column, CsvReader, Table, digits};
use kiln_tensor_core::{Error, catch};

#[test]
fn columns_take_the_narrowest_type() {
    let text = "id, size ,kind,mixed\n1,0.5,cat,7\n-2,,dog,x\n3,1e3,cat,\n";
    let table = CsvReader::new().parse(text, "t").unwrap();
    assert_eq!(table.names(), ["id", "size", "kind", "mixed"]);
    assert_eq!(table.rows(), 3);
    assert_eq!(table.column("id"), &Column::Int(vec![1, -2, 3]));
    let Column::Float(size) = table.column("size") else { panic!("{table:?}") };
    assert_eq!((size[0], size[2]), (0.5, 1000.0));
    assert!(size[1].is_nan());
    assert_eq!(table.column("mixed"), &Column::Text(vec!["7".into(), "x".into(), "".into()]));
    assert_eq!(table.classes("kind"), (vec!["cat".into(), "dog".into()], vec![0, 1, 0]));
}

#[test]
fn tables_become_tensors() {
    let table = CsvReader::new().parse("a,b,c,t\n1,0.5,1,x\n2,1.5,0,y\n", "t").unwrap();
    let x: common::Tensor = table.tensor(&["b", "a"], &device()).unwrap();
    assert_eq!((x.dims(), x.to_vec::<f32>()), (&[2, 2][..], vec![0.5, 1.0, 1.5, 2.0]));
    let y: common::Tensor = table.labels("c", &device()).unwrap();
    assert_eq!(y.to_vec::<i64>(), [1, 0]);
    let text = table.tensor::<kiln_conformance::Reference>(&["t"], &device()).unwrap_err();
    assert!(text.to_string().contains("`t` holds something other than numbers"), "{text}");
    assert!(table.labels::<kiln_conformance::Reference>("b", &device()).is_err());
    let none = catch(|| table.column("nope").clone()).unwrap_err();
    assert!(none.to_string().contains("no column `nope`; there are a, b, c, t"), "{none}");
}

#[test]
fn quotes_delimiters_and_no_header() {
    let reader = CsvReader::new().header(false).delimiter(b';');
    let table = reader.parse("1;\"a;b\"\n2;c\n", "t").unwrap();
    assert_eq!(table.names(), ["0", "1"]);
    assert_eq!(table.column("1"), &Column::Text(vec!["a;b".into(), "c".into()]));
}

#[test]
fn wrong_files_are_named_with_the_reason() {
    let folder = Folder::new();
    let packed = gzip(b"a,b\n1,2\n");
    let cases: &[(&str, Vec<u8>, &[&str])] = &[
        ("empty", vec![], &["no rows"]),
        ("header only", b"a,b\n".to_vec(), &["no rows"]),
        ("ragged", b"a,b\n1,2\n3\n".to_vec(), &["line: 3", "2 fields"]),
        ("latin", b"a,b\n1,\xe9\n".to_vec(), &["line 2 is not UTF-8"]),
        ("twice", b"a,a\n1,2\n".to_vec(), &["two columns `a`"]),
        ("gz cut", packed[..packed.len() - 4].to_vec(), &["damaged gzip"]),
        ("bomb", gzip(&vec![b'1'; 1 << 20]), &["limit of 65536 bytes"]),
        ("long", vec![b'1'; 65_537], &["limit of 65536 bytes"]),
    ];
    for (name, bytes, words) in cases {
        let path = folder.write(name, bytes);
        assert_format(CsvReader::new().limit(1 << 16).read(&path), &path, words);
    }
}

#[test]
fn every_truncation_and_every_flipped_byte_is_survived() {
    let folder = Folder::new();
    let text = b"a,\"b c\",d\n1,2.5,x\n-3,1e3,\"y\"\n";
    for whole in [text.to_vec(), gzip(text)] {
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut flipped = whole.clone();
                flipped[at] ^= flip;
                survived(CsvReader::new().read(folder.write("a", &flipped)));
            }
            survived(CsvReader::new().read(folder.write("a", &whole[..at])));
        }
    }
}

/// Whatever is in a file is either read or refused with the reason.
fn survived(result: kiln_tensor_core::Result<Table>) {
    match result {
        Ok(table) => assert!(table.rows() > 0),
        Err(error) => assert!(matches!(error, Error::Format { .. }), "{error:?}"),
    }
}

#[test]
fn plain_and_gzip_hold_the_same() {
    let folder = Folder::new();
    let text = b"a,b\n1,2\n";
    let plain = CsvReader::new().read(folder.write("t", text)).unwrap();
    let packed = CsvReader::new().read(folder.write("t", &gzip(text))).unwrap();
    assert_eq!(plain, packed);
}

#[test]
fn digits_are_all_there() {
    let digits = digits();
    let counts: Vec<usize> =
        (0..10).map(|d| digits.labels().iter().filter(|&&l| l == d).count()).collect();
    assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
    let (x, _): (common::Tensor, _) = digits.tensors(&device());
    assert_eq!(x.dims(), [1797, 1, 8, 8]);
    let first: Vec<f32> = x.to_vec::<f32>()[..8].iter().map(|v| v * 16.0).collect();
    assert_eq!(first, [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0]);
    // The sum of all values, as scikit-learn's copy gives it.
    let sum: f64 = x.to_vec::<f32>().iter().map(|&v| f64::from(v) * 16.0).sum();
    assert_eq!(sum, 561_718.0);
}
