//! A safetensors file that claims to be larger than it is gets no memory for what is not there. A test of
//! its own, because the memory is counted for the whole program.

use kiln_conformance::{Reference, ReferenceDevice};
use kiln_nn::StateDict;
use kiln_tensor_core::Error;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fn file(header: &str, length: u64) -> Vec<u8> {
    [&length.to_le_bytes()[..], header.as_bytes()].concat()
}

#[test]
fn what_a_file_claims_allocates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("liar.safetensors");
    let header = |shape: &str, end: u64| {
        format!(r#"{{"x":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
    };
    let said = |header: String| file(&header, header.len() as u64);
    let cases = [
        ("a header of 16 EiB", file("{}", u64::MAX)),
        ("a header of 90 MB", file("{}", 90_000_000)),
        ("a tensor of 4 TB", said(header("[1000000,1000000]", 4_000_000_000_000))),
        ("a tensor of 4 TB in 8 bytes", said(header("[1000000,1000000]", 8))),
        ("no elements of huge sizes", said(header("[0,1099511627776,1099511627776]", 0))),
    ];
    for (name, bytes) in cases {
        std::fs::write(&path, &bytes).unwrap();
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let result = StateDict::<Reference>::load(&path, &ReferenceDevice);
        let peak = MEMORY.peak_usage() - before;
        assert!(matches!(result, Err(Error::Format { .. })), "{name}: {result:?}");
        assert!(peak < 1 << 20, "{name}: {peak} bytes for a file of {}", bytes.len());
    }
}
