//! cuBLASLt 13.1.2, which computes on the host. `FAKE_CUBLASLT_VERSION` changes what it says that it is.
#![allow(non_snake_case)]

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtGetVersion() -> usize {
    std::env::var("FAKE_CUBLASLT_VERSION").map_or(130_102, |version| version.parse().unwrap())
}
