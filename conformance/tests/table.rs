//! The table is whole: every elementwise op, every primitive and every method that users call has a row.

use std::collections::BTreeSet;
use std::fs::{read_dir, read_to_string};
use std::path::{Path, PathBuf};

use kiln_conformance::table;
use kiln_tensor_core::{ALIASES, BINARY, NUMBERED, UNARY};

/// Families and names.
fn rows() -> BTreeSet<(&'static str, &'static str)> {
    table::rows().map(|row| (row.family, row.name)).collect()
}

/// Ops of two tensors have a row for that and one with a number on the right.
#[test]
fn every_elementwise_op_has_a_row() {
    let unary = UNARY.iter().map(|op| ("pointwise", op.name));
    let numbered = NUMBERED.iter().map(|op| ("numbers", op.name));
    let binary = BINARY.iter().flat_map(|op| [("binary", op.name), ("numbers", op.name)]);
    let rows = rows();
    let missing: Vec<_> =
        unary.chain(numbered).chain(binary).filter(|row| !rows.contains(row)).collect();
    assert!(missing.is_empty(), "no row in conformance/src/table for {missing:?}");
}

/// The operators as tensor-core lists them: `Add add …`, in macros and in `impl`s.
#[test]
fn every_operator_has_a_row() {
    let source = include_str!("../../tensor-core/src/ops/pointwise/operators.rs");
    let listed = source.split("\noperators! {").nth(1).expect("the list of operators");
    let lines =
        listed.lines().map_while(|line| line.strip_suffix(';').or(line.is_empty().then_some("")));
    let mut wanted: Vec<&str> = lines.filter_map(|line| line.split_whitespace().last()).collect();
    assert!(wanted.len() >= 8, "operators found: {wanted:?}");
    let written_out = source.split("std::ops::").skip(1).filter_map(|text| text.split(' ').next());
    for operator in written_out.filter(|name| !name.contains('$')) {
        wanted.push(match operator {
            "Neg" => "neg",
            "Not" => "not",
            other => panic!("an operator that this test knows not: {other}"),
        });
    }
    let rows = rows();
    let missing: Vec<_> =
        wanted.into_iter().filter(|&name| !rows.contains(&("operators", name))).collect();
    assert!(missing.is_empty(), "no row in conformance/src/table/operators.rs for {missing:?}");
}

/// Methods of `Backend` that compute nothing: `forwarding` and each backend's own tests cover them.
const NO_PRIMITIVES: &[&str] = &[
    "name",
    "upload",
    "download",
    "empty",
    "sync",
    "version",
    "shares_storage",
    "is_unique",
    "memory",
    "reset_peak_memory",
    "empty_cache",
    "has_graphs",
    "capture",
    "adopt",
    "records",
    "requires_grad",
    "set_requires_grad",
    "detach",
    "grad",
    "set_grad",
    "named",
    "grad_fn",
];

/// A row, or a row for each way in which the method combines elements (`reduce_sum`, …).
#[test]
fn every_primitive_has_a_row() {
    let source = include_str!("../../tensor-core/src/backend.rs");
    let body = source.split("pub trait Backend").nth(1).expect("the trait");
    let methods = body.split("\n    fn ").skip(1).filter_map(|text| text.split(['(', '<']).next());
    let families = ["primitives", "windows", "fused", "linalg"];
    let has_row = |method: &str| {
        table::rows().filter(|row| families.contains(&row.family)).any(|row| {
            row.name == method || row.name.strip_prefix(method).is_some_and(|r| r.starts_with('_'))
        })
    };
    let missing: Vec<_> = methods.filter(|m| !NO_PRIMITIVES.contains(m) && !has_row(m)).collect();
    assert!(missing.is_empty(), "no row in conformance/src/table for {missing:?}");
}

/// Methods of `Tensor` that need no row, and why.
#[rustfmt::skip]
const NO_OPS: &[(&str, &str)] = &[
    ("from_handle", "for backends"),
    ("handle", "for backends"),
    ("layout", "for backends"),
    ("view_as_op", "for backends; the rows named `view` go through it"),
    ("shape", "reads the layout"),
    ("dims", "reads the layout"),
    ("rank", "reads the layout"),
    ("ndim", "reads the layout"),
    ("numel", "reads the layout"),
    ("element_size", "reads a field: tests of tensor-core"),
    ("nbytes", "reads the layout and a field: tests of tensor-core"),
    ("is_floating_point", "reads a field: tests of tensor-core"),
    ("strides", "reads the layout"),
    ("size", "reads the layout"),
    ("is_contiguous", "reads the layout"),
    ("dtype", "reads a field"),
    ("device", "reads a field"),
    ("requires_grad", "tracking: autograd's tests"),
    ("requires_grad_", "tracking: autograd's tests"),
    ("detach", "tracking: autograd's tests"),
    ("grad", "tracking: autograd's tests"),
    ("set_grad", "tracking: autograd's tests"),
    ("named", "tracking: autograd's tests"),
    ("grad_fn", "tracking: autograd's tests"),
    ("from_slice", "numbers of the program: every row's operands come through `upload`"),
    ("from_shared", "memory of the program: the storage tests of each backend"),
    ("from_shared_ndarray", "memory of the program: tests of kiln"),
    ("from_ndarray", "arrays of the program: tests of kiln"),
    ("to_ndarray", "arrays for the program: tests of kiln"),
    ("new", "numbers of the program: tests of tensor-core"),
    ("to_vec", "numbers for the program: every row's results come through `download`"),
    ("to_scalars", "numbers for the program: every row's results come through `download`"),
    ("to_scalar", "a number for the program: tests of tensor-core"),
    ("item", "a number for the program: tests of tensor-core"),
];

/// The sources of tensor-core.
fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = read_to_string(&path).expect("a source");
            found.push((path, text));
        }
    }
}

/// The public methods of `Tensor`: those that are written out, and those that the tables make.
fn methods() -> BTreeSet<String> {
    let (core, mut files) =
        (concat!(env!("CARGO_MANIFEST_DIR"), "/../tensor-core/src"), Vec::new());
    sources(Path::new(core), &mut files);
    let mut methods = BTreeSet::new();
    let mut made_by_macros = BTreeSet::new();
    for (path, text) in &files {
        let mut inside = false;
        for line in text.lines() {
            if line.trim_start().starts_with("impl") {
                inside = line.trim_start().starts_with("impl<B: Backend> Tensor<B>");
            } else if line.starts_with('}') {
                inside = false;
            }
            let Some(rest) = line.trim_start().strip_prefix("pub fn ").filter(|_| inside) else {
                continue;
            };
            let name = rest.split(['(', '<']).next().expect("a name");
            if name.starts_with('$') {
                made_by_macros.insert(path.file_stem().expect("a name").to_string_lossy());
            } else {
                methods.insert(name.to_owned());
            }
        }
    }
    let made_by_macros: Vec<_> = made_by_macros.into_iter().collect();
    assert_eq!(
        made_by_macros,
        ["alias", "binary", "numbered", "unary"],
        "a macro that this test knows not"
    );
    let unary = UNARY.iter().chain(NUMBERED).map(|op| op.name);
    for name in unary.chain(BINARY.iter().map(|op| op.name)) {
        methods.extend([name.to_owned(), format!("{name}_")]);
    }
    methods.extend(ALIASES.iter().map(|(name, _)| (*name).to_owned()));
    assert!(
        methods.len() > 300,
        "{} methods found: is this test still reading them?",
        methods.len()
    );
    methods
}

/// Whether some row calls a method: `x.name(…)` or `Tensor::name(…)`.
fn called(method: &str) -> bool {
    let forms = [format!(".{method}("), format!(".{method}::<"), format!("Tensor::{method}(")];
    table::rows().any(|row| {
        let source: String = row.source.split_whitespace().collect();
        forms.iter().any(|form| source.contains(form))
    })
}

#[test]
fn every_method_of_tensor_is_called_by_a_row() {
    let methods = methods();
    let listed = |name: &str| NO_OPS.iter().any(|(other, _)| *other == name);
    let without: Vec<_> = methods.iter().filter(|m| !listed(m) && !called(m)).collect();
    assert!(without.is_empty(), "no row calls {without:?}");
    for (name, why) in NO_OPS {
        assert!(methods.contains(*name), "`{name}` is not there any more");
        assert!(!why.is_empty(), "why has `{name}` no row?");
    }
}

/// Functions are written `linalg::name(…)`.
#[test]
fn every_function_of_linalg_is_called_by_a_row() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tensor-core/src/ops/linalg");
    let mut files = Vec::new();
    sources(Path::new(folder), &mut files);
    let names =
        files.iter().flat_map(|(_, text)| text.lines().filter_map(|l| l.strip_prefix("pub fn ")));
    let names: Vec<_> = names.filter_map(|rest| rest.split(['(', '<']).next()).collect();
    assert!(names.len() > 20, "functions found: {names:?}");
    let called = |name: &str| {
        let form = format!("linalg::{name}(");
        table::rows().any(|row| row.source.split_whitespace().collect::<String>().contains(&form))
    };
    let without: Vec<_> = names.into_iter().filter(|name| !called(name)).collect();
    assert!(without.is_empty(), "no row calls {without:?}");
}

#[test]
fn every_file_of_rows_is_in_the_table() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/table");
    let mut files = Vec::new();
    sources(Path::new(folder), &mut files);
    for (path, text) in &files {
        let stem = path.file_stem().expect("a name").to_string_lossy();
        if stem != "mod" && text.contains("make_rows! {") {
            assert!(table::rows().any(|row| row.family == stem), "{stem} is not in `families!`");
        }
    }
}

#[test]
fn a_visitor_sees_every_row() {
    struct Names(Vec<&'static str>);
    impl table::Visitor for Names {
        fn visit<R: table::Row>(&mut self) {
            self.0.push(R::SPEC.name);
        }
    }
    let mut names = Names(Vec::new());
    table::visit(&mut names);
    assert_eq!(names.0, table::rows().map(|row| row.name).collect::<Vec<_>>());
}

#[test]
fn names_are_unique_in_a_family_and_reasons_are_given() {
    let mut seen = BTreeSet::new();
    for row in table::rows() {
        assert!(seen.insert((row.family, row.name)), "{} appears twice", row.name);
        assert!(!row.tolerance.why.is_empty(), "{}: why this tolerance?", row.name);
        assert!(row.order == 0 || row.order == 2, "{}: order {}", row.name, row.order);
    }
}
