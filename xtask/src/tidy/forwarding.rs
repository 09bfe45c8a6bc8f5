//! A backend that wraps another one forwards every method: a forgotten one still compiles, through
//! its default, and silently loses the kernel underneath.

use std::collections::HashSet;
use std::path::Path;

use anyhow::{Context, Error, Result};

use super::tokens;

const CONTRACT: &str = "tensor-core/src/backend.rs";
const WRAPPERS: [&str; 2] = ["autograd/src/backend.rs", "kiln/src/any.rs"];

pub fn check(root: &Path) -> Result<Vec<String>> {
    let contract = std::fs::read_to_string(root.join(CONTRACT)).context(CONTRACT)?;
    let methods = tokens::trait_methods(&contract, "Backend").map_err(Error::msg)?;
    let mut problems = Vec::new();
    for wrapper in WRAPPERS {
        let source = match std::fs::read_to_string(root.join(wrapper)) {
            Ok(source) => source,
            Err(why) => {
                problems.push(format!("{wrapper}: {why}"));
                continue;
            }
        };
        let missing = missing(&methods, &source).map_err(Error::msg).context(wrapper)?;
        problems.extend(missing.iter().map(|method| {
            format!("{wrapper}: `{method}` of Backend is not forwarded ({CONTRACT})")
        }));
    }
    Ok(problems)
}

/// The methods that the wrapper's source never names.
fn missing(methods: &[String], wrapper: &str) -> Result<Vec<String>, String> {
    let named: HashSet<String> =
        tokens::identifiers(wrapper)?.into_iter().map(|(word, _)| word).collect();
    Ok(methods.iter().filter(|method| !named.contains(*method)).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_method_is_found_even_if_a_comment_names_it() {
        let methods = ["softmax".to_owned(), "linear".to_owned()];
        let wrapper = "impl Backend for W { fn linear() {} } // softmax\n";
        assert_eq!(missing(&methods, wrapper).unwrap(), ["softmax"]);
        assert!(missing(&methods, "forward! { linear(x); softmax(x, dim); }").unwrap().is_empty());
    }
}
