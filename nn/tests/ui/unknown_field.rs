use kiln_nn::{Linear, Module};
use kiln_tensor_core::Backend;

struct Settings;

#[derive(Module)]
struct Net<B: Backend> {
    fc: Linear<B>,
    settings: Settings,
}

fn main() {}
