//! Every kernel compiles for every generation of devices, on any machine that has NVIDIA's compiler.

mod kernels;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::{env, thread};

use kiln_backend_cuda::compiler;

/// Kernels that are compiled in one go: each start of the compiler reads the prelude again.
const AT_ONCE: usize = 20;
/// The variable that gives a process its share of the kernels.
const SHARE: &str = "KILN_TEST_SHARE";

#[test]
fn every_kernel_compiles_for_sm_80() {
    compile("sm_80");
}

#[test]
fn every_kernel_compiles_for_sm_90() {
    compile("sm_90");
}

#[test]
fn every_kernel_compiles_for_sm_100() {
    compile("sm_100");
}

#[test]
fn what_does_not_compile_says_why() {
    let error = compiler::cubin("__global__ void f() { g(); }", "f", "sm_90").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("kernel `f`") && text.contains("\"g\" is undefined"), "{text}");
    let error = compiler::cubin("", "f", "sm_1").unwrap_err().to_string();
    assert!(error.contains("gpu-architecture"), "{error}");
}

/// The compiler's headers are found too: for kernels that use the units for matrices.
#[test]
fn headers_are_found_beside_the_compiler() {
    let source = "#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n#include <mma.h>\n\
                  extern \"C\" __global__ void f(__half* x, __nv_bfloat16* y) { *x = __float2half(*y); }";
    let cubin = compiler::cubin(source, "f", "sm_90").unwrap();
    assert!(cubin.starts_with(b"\x7fELF"));
}

/// NVRTC compiles one program at a time, so the work is shared between processes: this test's, once more for
/// each core.
fn compile(arch: &str) {
    if let Some(why) = compiler::absence() {
        panic!("{why}");
    }
    if let Ok(share) = env::var(SHARE) {
        let (share, of) = share.split_once('/').unwrap();
        return compile_share(arch, share.parse().unwrap(), of.parse().unwrap());
    }
    let of = thread::available_parallelism().map_or(1, usize::from);
    let start = |share| {
        let test = format!("every_kernel_compiles_for_{arch}");
        let mut child = Command::new(env::current_exe().unwrap());
        child.args([&test, "--exact", "--nocapture"]).env(SHARE, format!("{share}/{of}"));
        child.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..of).map(start).collect();
    let outputs: Vec<_> =
        children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    for output in outputs {
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.contains("1 passed"), "{out}{err}");
    }
}

fn compile_share(arch: &str, share: usize, of: usize) {
    let kernels = kernels::every();
    let prelude = prelude(&kernels);
    let mut failed = Vec::new();
    for part in kernels.chunks(AT_ONCE).skip(share).step_by(of) {
        if compiler::check(&together(part, prelude), "several", arch).is_ok() {
            continue;
        }
        // Which of them is wrong?
        for (source, entry) in part {
            if let Err(error) = compiler::check(source, entry, arch) {
                failed.push(format!("{error}\nof the source\n{}", &source[prelude..]));
            }
        }
    }
    let (count, first) = (failed.len(), failed.first());
    assert!(first.is_none(), "{count} kernels do not compile; the first: {}", first.unwrap());
}

/// The length of what all sources begin with.
fn prelude(kernels: &[(String, String)]) -> usize {
    // Sources are in order: what the first and the last share, all share.
    let (first, last) = (&kernels[0].0, &kernels[kernels.len() - 1].0);
    let same = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    first[..same].rfind('\n').map_or(0, |end| end + 1)
}

/// Several sources as one: each in a namespace, its kernel numbered, its macros ended.
fn together(part: &[(String, String)], prelude: usize) -> String {
    let mut whole = part[0].0[..prelude].to_owned();
    for (number, (source, entry)) in part.iter().enumerate() {
        let own = &source[prelude..];
        let renamed = own.replace(&format!(" {entry}("), &format!(" {entry}_{number}("));
        assert_ne!(own, renamed, "{entry} is not in its own source");
        whole += &format!("namespace n{number} {{\n{renamed}\n}}\n");
        let defined = own.lines().filter_map(|line| line.trim().strip_prefix("#define "));
        let macros: BTreeSet<&str> =
            defined.filter_map(|rest| rest.split([' ', '(']).next()).collect();
        macros.iter().for_each(|name| whole += &format!("#undef {name}\n"));
    }
    whole
}
