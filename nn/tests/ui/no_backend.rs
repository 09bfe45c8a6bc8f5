use kiln_nn::Module;

#[derive(Module)]
struct Net {
    width: usize,
}

#[derive(Module)]
enum Choice {
    A,
}

fn main() {}
