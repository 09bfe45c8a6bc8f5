//! Files with random damage: each reader gives data or a typed error, never a panic, and never more
//! data than the file can hold.

mod common;

use std::path::Path;
use std::sync::OnceLock;

use common::{Folder, gzip};
use kiln_data::{CsvReader, Image, read_idx};
use kiln_tensor_core::{Error, Result};
use proptest::prelude::*;
use proptest::sample::Index;

/// How many bytes of data a file gives.
type Reader = fn(&Path) -> Result<usize>;

fn idx(path: &Path) -> Result<usize> {
    read_idx(path).map(|array| array.bytes().len())
}

fn csv(path: &Path) -> Result<usize> {
    // At least one byte of text a field, which takes eight.
    CsvReader::new().read(path).map(|table| table.rows() * table.names().len())
}

fn image(path: &Path) -> Result<usize> {
    Image::open(path).map(|image| image.pixels().len())
}

/// Whole files and what reads them.
fn files() -> &'static [(&'static str, Reader, Vec<u8>)] {
    static FILES: OnceLock<Vec<(&str, Reader, Vec<u8>)>> = OnceLock::new();
    FILES.get_or_init(|| {
        let array = [&[0, 0, 0x0D, 2, 0, 0, 0, 3, 0, 0, 0, 2][..], &[7; 24]].concat();
        let table = b"id,size,kind\n1,0.5,cat\n-2,\"1e3\",dog\n3,nan,\"a,b\"\n".to_vec();
        vec![
            ("idx.gz", idx as Reader, gzip(&array)),
            ("idx", idx, array),
            ("csv.gz", csv, gzip(&table)),
            ("csv", csv, table),
            ("png", image, common::picture("rgb.png")),
            ("jpeg", image, common::picture("rgb.jpg")),
        ]
    })
}

#[test]
fn whole_files_are_read() {
    let folder = Folder::new();
    for (name, read, bytes) in files() {
        assert!(read(&folder.write(name, bytes)).unwrap() > 0, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    /// Several bytes changed, some taken out or put in, the end cut off.
    #[test]
    fn damaged_files_are_read_or_refused(
        which in any::<Index>(),
        edits in prop::collection::vec((any::<Index>(), any::<u8>(), 0..3u8), 0..6),
        keep in 0.0..=1.0f64,
    ) {
        let (name, read, whole) = which.get(files());
        let mut bytes = whole.clone();
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, byte),
            }
        }
        bytes.truncate((bytes.len() as f64 * keep) as usize);
        let folder = Folder::new();
        match read(&folder.write(name, &bytes)) {
            // DEFLATE makes at most 1032 bytes of one.
            Ok(size) => prop_assert!(size <= (bytes.len() + 64) * 1032, "{name}: {size} bytes"),
            Err(Error::Format { .. }) => {}
            Err(other) => prop_assert!(false, "{name}: {other}"),
        }
    }
}
