//! Which crate may depend on which.

use std::path::Path;

use anyhow::Result;
use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// The rooms of the house and what each may use: arrows point one way.
#[rustfmt::skip]
const ALLOWED: [(&str, &[&str]); 17] = [
    ("kiln-tensor-core", &[]),
    ("kiln-backend-cpu", &["kiln-tensor-core"]),
    ("kiln-backend-gpu", &["kiln-tensor-core"]),
    ("kiln-backend-opencl", &["kiln-tensor-core", "kiln-backend-gpu"]),
    ("kiln-backend-cuda", &["kiln-tensor-core", "kiln-backend-gpu", "kiln-cuda-shim"]),
    ("kiln-cuda-shim",   &[]),
    ("kiln-backend-minimal", &["kiln-tensor-core"]),
    ("kiln-autograd",    &["kiln-tensor-core"]),
    ("kiln-nn-derive",   &[]),
    ("kiln-files",       &["kiln-tensor-core"]),
    ("kiln-nn",          &["kiln-tensor-core", "kiln-autograd", "kiln-files", "kiln-nn-derive"]),
    ("kiln-optim",       &["kiln-tensor-core", "kiln-autograd", "kiln-nn"]),
    ("kiln-data",        &["kiln-tensor-core", "kiln-files"]),
    ("kiln-conformance", &["kiln-tensor-core", "kiln-autograd"]),
    ("kiln",             &["kiln-tensor-core", "kiln-backend-cpu", "kiln-backend-opencl", "kiln-backend-cuda", "kiln-autograd", "kiln-files", "kiln-nn", "kiln-nn-derive", "kiln-optim", "kiln-data"]),
    ("kiln-fuzz",        &["kiln-tensor-core", "kiln-backend-cpu", "kiln-files", "kiln-data"]),
    ("xtask",            &[]),
];

/// What may stand under `[dependencies]` of nothing: it judges, it does not take part.
const FOR_TESTS: &str = "kiln-conformance";

pub fn check(root: &Path) -> Result<Vec<String>> {
    let metadata =
        MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    Ok(metadata.packages.iter().flat_map(arrows).collect())
}

fn arrows(package: &Package) -> Vec<String> {
    let uses = package
        .dependencies
        .iter()
        // Tests, benches and examples may name what they test with.
        .filter(|dependency| dependency.kind != DependencyKind::Development)
        .map(|dependency| dependency.name.as_str());
    judge(&package.name, uses)
}

fn judge<'a>(package: &str, uses: impl Iterator<Item = &'a str>) -> Vec<String> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == package) else {
        return vec![format!(
            "{package}: a new crate; give it a row in xtask/src/tidy/dependencies.rs"
        )];
    };
    let ours = |name: &&str| *name == "kiln" || *name == "xtask" || name.starts_with("kiln-");
    uses.filter(ours)
        .filter(|used| *used == FOR_TESTS || !allowed.contains(used))
        .map(|used| match allowed {
            [] => format!("{package}: must not depend on {used}; it depends on no crate of ours"),
            _ => format!("{package}: must not depend on {used}; allowed: {}", allowed.join(", ")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_point_one_way() {
        let found = |package, uses: &[&'static str]| judge(package, uses.iter().copied());
        assert!(found("kiln-nn", &["kiln-tensor-core", "serde"]).is_empty());
        assert_eq!(found("kiln-nn", &["kiln-backend-cpu"]).len(), 1);
        assert_eq!(found("kiln-tensor-core", &["kiln-autograd"]).len(), 1);
        assert_eq!(found("kiln-backend-cpu", &["kiln-conformance"]).len(), 1);
        assert_eq!(found("kiln-unheard-of", &[]).len(), 1);
    }
}
