//! cuDNN 9.28.0, which computes on the host.
#![allow(non_snake_case)]

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetVersion() -> usize {
    92_800
}
