//! NVIDIA's libraries that the backend finds on this machine, one a line: a name, and what was found or what is
//! missing. `cargo xtask doctor` shows them.

fn main() {
    for library in kiln_backend_cuda::libraries::all() {
        match library.found {
            Ok((version, file)) => println!("{}\t{version}\t{}", library.name, file.display()),
            Err(why) => println!("{}\tmissing\t{why}", library.name),
        }
    }
}
