//! Where NVIDIA's libraries lie: in `CUDA_HOME`, in Python wheels, in the system.

use std::env;
use std::path::{Path, PathBuf};

/// Folders that may hold libraries, the most deliberate choice first: a toolkit that a variable names, wheels
/// of the Python that is active, the usual places of a toolkit.
pub(crate) fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for toolkit in ["CUDA_HOME", "CUDA_PATH"].iter().filter_map(env::var_os) {
        folders.extend(of_toolkit(Path::new(&toolkit)));
    }
    for packages in site_packages() {
        // Wheels of CUDA 13 have one folder, those of 12 one for each library; two libraries always have their own.
        for wheel in ["cu13", "cuda_nvrtc", "cublas", "cudnn", "nccl"] {
            let wheel = packages.join("nvidia").join(wheel);
            folders.extend(["lib", "bin/x86_64", "bin"].map(|inside| wheel.join(inside)));
        }
    }
    folders.extend(of_toolkit(Path::new("/usr/local/cuda")));
    folders.retain(|folder| folder.is_dir());
    folders
}

fn of_toolkit(root: &Path) -> impl Iterator<Item = PathBuf> {
    ["lib64", "lib", "lib/x64", "bin", "bin/x64", "targets/x86_64-linux/lib"]
        .iter()
        .map(move |inside| root.join(inside))
}

/// Where Python keeps packages: of the environment that is active, of the user, of the system.
fn site_packages() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> =
        env::var_os("PYTHONPATH").iter().flat_map(env::split_paths).collect();
    let home = env::home_dir().map(|home| home.join(".local"));
    let roots = ["VIRTUAL_ENV", "CONDA_PREFIX"].iter().filter_map(env::var_os).map(PathBuf::from);
    for root in roots.chain(home).chain(["/usr/local".into(), "/usr".into()]) {
        found.push(root.join("Lib/site-packages"));
        let lib = root.join("lib");
        for python in entries(&lib).filter(|name| name.starts_with("python3")) {
            found.push(lib.join(&python).join("site-packages"));
            found.push(lib.join(&python).join("dist-packages"));
        }
    }
    found
}

/// Names in a folder, in order; none where it cannot be read.
fn entries(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let names = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let mut names: Vec<String> =
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.into_iter()
}

/// The files of a library in a folder, the newest version first. `name` as in `nvrtc`: files are
/// `libnvrtc.so.13` or `nvrtc64_130_0.dll`.
pub(crate) fn library(folder: &Path, name: &str) -> Vec<PathBuf> {
    let unix = format!("lib{name}.so");
    let windows = format!("{name}64");
    let mut found: Vec<PathBuf> = entries(folder)
        .filter(|file| {
            file.strip_prefix(&unix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                || (file.starts_with(&windows) && file.ends_with(".dll") && !file.contains("alt"))
        })
        .map(|file| folder.join(file))
        .collect();
    found.reverse();
    found
}

/// Folders with headers beside a folder with libraries.
pub(crate) fn headers(libraries: &Path) -> Vec<PathBuf> {
    let up = |levels: usize| libraries.ancestors().nth(levels);
    let beside = [
        up(1).map(|root| root.join("include")),
        up(1).map(|root| root.join("include/cccl")),
        up(2).map(|root| root.join("include")),
        // Wheels of CUDA 12.
        up(2).map(|root| root.join("cuda_runtime/include")),
        up(2).map(|root| root.join("cuda_cccl/include")),
    ];
    beside.into_iter().flatten().filter(|folder| folder.is_dir()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first_and_relatives_do_not() {
        let folder = env::temp_dir().join(format!("kiln-find-{}", std::process::id()));
        let lib = folder.join("lib");
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::create_dir_all(folder.join("include/cccl")).unwrap();
        let names =
            ["libnvrtc.so.12", "libnvrtc.so.13", "libnvrtc.alt.so.13", "libnvrtc-builtins.so.13.0"];
        for name in names {
            std::fs::write(lib.join(name), "").unwrap();
        }
        assert_eq!(
            library(&lib, "nvrtc"),
            [lib.join("libnvrtc.so.13"), lib.join("libnvrtc.so.12")]
        );
        assert_eq!(library(&lib, "nvrtc-builtins"), [lib.join("libnvrtc-builtins.so.13.0")]);
        assert_eq!(headers(&lib), [folder.join("include"), folder.join("include/cccl")]);
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(library(&lib, "nvrtc"), Vec::<PathBuf>::new());
    }
}
