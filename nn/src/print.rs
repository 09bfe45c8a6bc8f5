//! Modules print as PyTorch's do: a tree, a line a module.

use std::fmt::{self, Display, Formatter};

use kiln_tensor_core::Backend;

use crate::Module;
use crate::module_ext::Contents;

impl<B: Backend> Display for dyn Module<Backend = B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let extra = self.extra_repr();
        let children = lines(self);
        if children.is_empty() && !extra.contains('\n') {
            return write!(f, "{}({extra})", self.type_name());
        }
        writeln!(f, "{}(", self.type_name())?;
        for line in extra.lines() {
            writeln!(f, "  {line}")?;
        }
        for child in children {
            writeln!(f, "  {}", child.replace('\n', "\n  "))?;
        }
        f.write_str(")")
    }
}

impl<B: Backend> fmt::Debug for dyn Module<Backend = B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(self, f)
    }
}

/// The children as `(name): …`; a list writes a run of equal ones as `(first-last): n x …`.
fn lines<B: Backend>(module: &dyn Module<Backend = B>) -> Vec<String> {
    let children: Vec<(String, String)> = Contents::of(module)
        .children
        .into_iter()
        .map(|(name, child)| (name, child.to_string()))
        .collect();
    if !module.folds() {
        return children.into_iter().map(|(name, text)| format!("({name}): {text}")).collect();
    }
    children
        .chunk_by(|a, b| a.1 == b.1)
        .map(|run| match run {
            [(name, text)] => format!("({name}): {text}"),
            _ => {
                let [(first, text), .., (last, _)] = run else { unreachable!("a run has an end") };
                format!("({first}-{last}): {} x {text}", run.len())
            }
        })
        .collect()
}
