//! Rust source as tokens, so that comments and strings do not count.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Every identifier with its line.
pub fn identifiers(source: &str) -> Result<Vec<(String, usize)>, String> {
    let tokens: TokenStream = source.parse().map_err(|error| format!("{error}"))?;
    let mut found = Vec::new();
    walk(tokens, &mut found);
    Ok(found)
}

fn walk(tokens: TokenStream, found: &mut Vec<(String, usize)>) {
    for token in tokens {
        match token {
            TokenTree::Ident(ident) => found.push((ident.to_string(), ident.span().start().line)),
            TokenTree::Group(group) => walk(group.stream(), found),
            _ => {}
        }
    }
}

/// The functions that stand directly in `trait name { … }`.
pub fn trait_methods(source: &str, name: &str) -> Result<Vec<String>, String> {
    let tokens: TokenStream = source.parse().map_err(|error| format!("{error}"))?;
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let is = |token: &TokenTree, word: &str| matches!(token, TokenTree::Ident(i) if i == word);
    let start = tokens.windows(2).position(|pair| is(&pair[0], "trait") && is(&pair[1], name));
    let body = start.and_then(|start| {
        tokens[start..].iter().find_map(|token| match token {
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => {
                Some(group.stream())
            }
            _ => None,
        })
    });
    let body: Vec<TokenTree> = body.ok_or(format!("no trait {name}"))?.into_iter().collect();
    Ok(body.windows(2).filter(|w| is(&w[0], "fn")).map(|w| w[1].to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_hold_no_identifiers() {
        let source = "// unsafe\n/// unsafe\nfn f() {\n    g(\"unsafe\", 'u', r#\"unsafe\"#)\n}";
        let words: Vec<_> = identifiers(source).unwrap();
        assert!(!words.iter().any(|(word, _)| word == "unsafe"), "{words:?}");
        assert!(words.contains(&("g".into(), 4)));
    }

    #[test]
    fn methods_of_one_trait_only() {
        let source = "trait A { fn no(); } pub trait B: Sized where Self: Clone {\n\
                      /// Docs.\n fn one(x: &Self) -> u8; fn two() { fn inner() {} } }";
        assert_eq!(trait_methods(source, "B").unwrap(), ["one", "two"]);
        assert!(trait_methods(source, "C").is_err());
    }
}
