//! The driver's functions, read from the header `cuda.h` and written as rows of `backend-cuda/shim`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};

/// Names of parameters that Rust reserves.
const KEYWORDS: [&str; 3] = ["fn", "type", "mod"];

/// Rows of the table, by name.
///
/// # Errors
/// If the header has a type that is neither known nor declared in it.
pub fn table(header: &str) -> Result<String> {
    let text = without_comments(header);
    // What follows describes the forms of old releases.
    let end = text.rfind("#if defined(__CUDA_API_VERSION_INTERNAL)").unwrap_or(text.len());
    let text = &text[..end];
    let (symbols, handles, enums) = (symbols(text), handles(text), enums(text));
    let mut rows = BTreeMap::new();
    for piece in text.split("CUresult CUDAAPI ").skip(1) {
        let (name, rest) = piece.split_once('(').context("a function without `(`")?;
        let (params, _) = rest.split_once(");").with_context(|| name.to_owned())?;
        let mut row = String::new();
        for (param, number) in split(params).zip(1..) {
            let (ty, known) =
                rust_type(param, &handles, &enums).with_context(|| format!("{name}: {param}"))?;
            let known = known.map(|known| {
                if KEYWORDS.contains(&known) { format!("{known}_") } else { known.into() }
            });
            let label = known.unwrap_or_else(|| format!("a{number}"));
            let _ = write!(row, "{}{label}: {ty}", if number == 1 { "" } else { ", " });
        }
        let symbol = symbols.get(name.trim()).copied().unwrap_or(name.trim());
        rows.insert(name.trim(), format!("fn {} = \"{symbol}\"({row});", name.trim()));
    }
    ensure!(rows.len() > 300, "only {} functions: is this cuda.h?", rows.len());
    let mut out = String::from(
        "//! The driver's functions, generated from NVIDIA's `cuda.h` 13.0 by `cargo xtask cuda functions`.\n\
         //! Do not edit: `cargo xtask test cuda` compares this file with the header.\n\
         #![allow(non_snake_case, reason = \"the names are the driver's\")]\n\n\
         use std::ffi::{CStr, c_char, c_int, c_uchar, c_uint, c_ushort, c_void};\n\
         use std::sync::atomic::AtomicPtr;\n\n\
         use crate::runtime::{address, functions};\n\
         use crate::{CUdeviceptr, CUipcEventHandle, CUipcMemHandle, CUlaunchConfig, CUmemLocation};\n\
         use crate::{CUresult, CUtensorMap, Handle};\n\n\
         functions! {\n",
    );
    rows.values().for_each(|row| writeln!(out, "    {row}").expect("a string"));
    out.push_str("}\n");
    Ok(out)
}

fn without_comments(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("/*") {
        out.push_str(before);
        rest = after.split_once("*/").map_or("", |(_, after)| after);
    }
    out + rest
}

/// `#define cuMemAlloc cuMemAlloc_v2`, also inside `__CUDA_API_PTSZ(…)`, which matters only to programs
/// that ask for streams per thread.
fn symbols(text: &str) -> HashMap<&str, &str> {
    let mut found = HashMap::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("#define cu")) {
        let mut words = line.split_whitespace();
        let (Some(name), Some(symbol)) = (words.next(), words.next()) else { continue };
        let symbol =
            symbol.split_once('(').map_or(symbol, |(_, inner)| inner.trim_end_matches(')'));
        let name = &text[name.as_ptr() as usize - text.as_ptr() as usize - 2..][..name.len() + 2];
        if symbol.starts_with("cu") {
            found.insert(name, symbol);
        }
    }
    found
}

/// `typedef struct CUctx_st *CUcontext;` and pointers to functions.
fn handles(text: &str) -> BTreeSet<&str> {
    let pointer = |line: &'_ str| line.starts_with("typedef") && line.contains('*');
    text.lines()
        .filter(|line| pointer(line))
        .filter_map(|line| match line.split_once("CUDA_CB *").or(line.split_once("(*")) {
            Some((_, rest)) => rest.split([')', ' ']).next(),
            None => line.split('*').next_back()?.split(';').next(),
        })
        .map(str::trim)
        .collect()
}

/// `} CUlimit;` after `typedef enum`, and further names for them.
fn enums(text: &str) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for piece in text.split("typedef enum ").skip(1) {
        let name = piece.split_once('}').and_then(|(_, rest)| rest.split_once(';'));
        found.extend(name.map(|(name, _)| name.trim()));
    }
    for line in text.lines().filter_map(|line| line.strip_prefix("typedef ")) {
        let mut words = line.split([' ', ';']).filter(|word| !word.is_empty());
        if let (Some(old), Some(new)) = (words.next(), words.next())
            && found.contains(old)
        {
            found.insert(new);
        }
    }
    found
}

/// Parameters, without `void`.
fn split(params: &str) -> impl Iterator<Item = &str> {
    params.split(',').map(str::trim).filter(|param| !param.is_empty() && *param != "void")
}

/// A parameter's type in Rust, and its name where the header has one.
fn rust_type<'a>(
    param: &'a str,
    handles: &BTreeSet<&str>,
    enums: &BTreeSet<&str>,
) -> Result<(String, Option<&'a str>)> {
    let stars = param.matches('*').count() + param.matches('[').count();
    let constant = param.starts_with("const ");
    let words: Vec<&str> = param
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty() && *word != "const")
        .collect();
    // The last word is the parameter's name, unless there is only a type.
    let (named, label) = match words.as_slice() {
        ["unsigned", "int" | "long" | "char" | "short"] | [_] => (&words[..], None),
        words => (&words[..words.len() - 1], words.last().copied()),
    };
    let base = match named {
        ["void"] => "c_void",
        ["char"] => "c_char",
        ["int"] | ["CUdevice"] => "c_int",
        ["unsigned"] | ["unsigned", "int"] | ["cuuint32_t"] => "c_uint",
        ["unsigned", "short"] => "c_ushort",
        ["unsigned", "char"] => "c_uchar",
        ["float"] => "f32",
        ["size_t"] => "usize",
        ["CUdeviceptr"] => "CUdeviceptr",
        ["unsigned", "long", "long"] | ["cuuint64_t"] | ["CUtexObject"] | ["CUsurfObject"] => "u64",
        ["CUmemGenericAllocationHandle"] | ["CUgraphConditionalHandle"] => "u64",
        ["CUipcMemHandle"] => "CUipcMemHandle",
        ["CUipcEventHandle"] => "CUipcEventHandle",
        ["CUmemLocation"] => "CUmemLocation",
        ["CUlaunchConfig"] => "CUlaunchConfig",
        ["CUtensorMap"] => "CUtensorMap",
        [handle] if handles.contains(handle) => "Handle",
        [name] if enums.contains(name) => "c_uint",
        // A struct: its layout is the caller's care.
        [_] if stars > 0 => "c_void",
        _ => bail!("a type that is not known"),
    };
    let mut ty = String::new();
    for star in 0..stars {
        // Only the innermost pointer of the header's types is one to constants.
        ty += if constant && star == stars - 1 { "*const " } else { "*mut " };
    }
    Ok((ty + base, label))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "\
#define cuMemAlloc                          cuMemAlloc_v2
#define cuStreamWait   __CUDA_API_PTSZ(cuStreamWait_v2)
typedef struct CUstream_st *CUstream; /* a stream */
typedef void (CUDA_CB *CUhostFn)(void *userData);
typedef enum CUlimit_enum { A, B } CUlimit_v1;
typedef CUlimit_v1 CUlimit;
";

    #[test]
    fn types_of_parameters() {
        let text = without_comments(HEADER);
        let (handles, enums) = (handles(&text), enums(&text));
        let ty = |param| rust_type(param, &handles, &enums).unwrap().0;
        assert_eq!(ty("CUdeviceptr *dptr"), "*mut CUdeviceptr");
        assert_eq!(ty("const char *name"), "*const c_char");
        assert_eq!(ty("const char **name"), "*mut *const c_char");
        assert_eq!(ty("void **params"), "*mut *mut c_void");
        assert_eq!(ty("CUstream hStream"), "Handle");
        assert_eq!(ty("CUhostFn fn"), "Handle");
        assert_eq!(ty("CUlimit limit"), "c_uint");
        assert_eq!(ty("unsigned int flags"), "c_uint");
        assert_eq!(ty("const CUunheard *of"), "*const c_void");
        assert!(rust_type("CUunheard of", &handles, &enums).is_err());
    }

    #[test]
    fn later_forms_are_meant() {
        let symbols = symbols(HEADER);
        assert_eq!(symbols["cuMemAlloc"], "cuMemAlloc_v2");
        assert_eq!(symbols["cuStreamWait"], "cuStreamWait_v2");
    }
}
