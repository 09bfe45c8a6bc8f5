//! A file that claims to be larger than it is gets no memory for what is not there. A test of its own,
//! because the memory is counted for the whole program.

mod common;

use common::{Folder, gzip, jpeg_that_claims, png_that_claims};
use kiln_data::{CsvReader, Image, read_idx};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// The most bytes that `f` has had at one time.
fn peak<T>(f: impl FnOnce() -> T) -> (usize, T) {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let result = f();
    (MEMORY.peak_usage() - before, result)
}

fn idx(sizes: &[u32], data: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    sizes.iter().for_each(|size| bytes.extend(size.to_be_bytes()));
    bytes.extend(data);
    bytes
}

#[test]
fn what_a_file_claims_allocates_nothing() {
    let folder = Folder::new();
    type Read = fn(&std::path::Path) -> Option<String>;
    let open: Read = |path| Image::open(path).err().map(|error| error.to_string());
    let array: Read = |path| read_idx(path).err().map(|error| error.to_string());
    let table: Read =
        |path| CsvReader::new().limit(1 << 16).read(path).err().map(|error| error.to_string());
    let cases: Vec<(&str, Vec<u8>, Read)> = vec![
        ("PNG", png_that_claims(65_535, 65_535), open),
        ("JPEG", jpeg_that_claims(65_535, 65_535), open),
        ("IDX", idx(&[u32::MAX, 1 << 8], &[1; 9]), array),
        ("packed IDX", gzip(&idx(&[1 << 30], &[1; 9])), array),
        ("packed IDX with more than it says", gzip(&idx(&[9], &vec![0; 1 << 24])), array),
        ("packed CSV", gzip(&vec![b'1'; 1 << 24]), table),
    ];
    // What a reader needs for itself, whatever the file: buffers, tables of the decoders.
    let most = 2 << 20;
    for (name, bytes, read) in cases {
        let path = folder.write("file", &bytes);
        let (peak, error) = peak(|| read(&path));
        let error = error.unwrap_or_else(|| panic!("{name} was read"));
        assert!(peak < most, "{name}: {peak} bytes for a file of {}: {error}", bytes.len());
    }
}
