//! What is there to find mistakes with: NaN in backward, and the graph.

use std::collections::HashMap;

use kiln_autograd::{
    Autograd, Backward, GradFn, detect_anomaly, dot, is_anomaly_enabled, no_grad, svg,
};
use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Tensor, catch, linalg};

type T = Tensor<Autograd<Cpu>>;

fn leaf<const N: usize>(values: [f64; N]) -> T {
    Tensor::from_slice(&values, [N], &CpuDevice).requires_grad_(true)
}

#[inline(never)]
fn root_of_zero(x: &T) -> T {
    x.sqrt() * 0.0
}
const ROOT: u32 = line!() - 2;

#[test]
fn a_nan_in_backward_is_traced_to_forward() {
    let x = leaf([4.0, 0.0]);
    root_of_zero(&x).sum().backward();
    assert!(x.grad().unwrap().isnan().any().item() != 0.0, "unnoticed without");
    let text =
        catch(|| detect_anomaly(|| root_of_zero(&x).sum().backward())).unwrap_err().to_string();
    assert!(text.contains("SqrtBackward: its gradient of input 0 has a NaN"), "{text}");
    assert!(
        text.contains("root_of_zero") && text.contains(&format!("tests/looking.rs:{ROOT}:")),
        "{text}"
    );
    assert!(!text.contains("autograd/src"), "only the program's own lines: {text}");
    assert!(!is_anomaly_enabled());

    let y = root_of_zero(&x).sum();
    let text = catch(|| detect_anomaly(|| y.backward())).unwrap_err().to_string();
    assert!(text.contains("run its forward inside of `detect_anomaly` too"), "{text}");
    // Nothing wrong, nothing said; integers have no NaN.
    detect_anomaly(|| (&x * 2.0).sum().backward());
}

/// The line that is to be named, and what is called there.
type Called = (u32, fn(&T) -> T);

#[test]
fn the_line_is_the_users_whatever_is_called() {
    #[rustfmt::skip]
    let calls: [(&str, Called); 6] = [
        ("a method", (line!(), |x| x.rsqrt() * 0.0)),
        ("an operator", (line!(), |x| x / x)),
        ("a reduction", (line!(), |x| x.norm_dims(0.5, [], false).log() * 0.0)),
        ("several steps", (line!(), |x| x.sqrt().mean() * 0.0)),
        ("a product", (line!(), |x| x.log().unsqueeze(0).matmul(&(x.unsqueeze(1) * 0.0)))),
        ("linear algebra", (line!(), |x| linalg::eigh(&(x.diag(0) * 1.0)).1.sum())),
    ];
    for (what, (line, call)) in calls {
        let x = leaf([0.0, 0.0]);
        let run = || detect_anomaly(|| call(&x).sum().backward());
        let text = catch(run).expect_err(what).to_string();
        let first = text.lines().find(|line| line.contains("looking.rs")).unwrap_or_default();
        assert!(
            first.contains(&format!("tests/looking.rs:{line}:")),
            "{what}, line {line}: {text}"
        );
        let ours = ["autograd/src", "tensor-core/src", "backend-cpu/src"];
        assert!(!ours.iter().any(|ours| text.contains(ours)), "only the program's lines: {text}");
    }
}

#[test]
fn functions_lead_to_the_leaves() {
    let (x, w) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
    let y = (&x * &w).exp() + 1.0;
    let made = GradFn::of(&y).unwrap();
    let below = |f: &GradFn<Cpu>| f.next_functions().into_iter().flatten().next().unwrap();
    let names = [made.name(), below(&made).name(), below(&below(&made)).name()];
    assert_eq!(names[1..], ["ExpBackward", "MulBackward"]);
    let leaves = below(&below(&made)).next_functions();
    assert!(leaves.iter().flatten().all(|f| f.name() == "AccumulateGrad"));
    assert_eq!(leaves[0].as_ref().unwrap().leaf_shape(), Some([2].into()));
    assert_eq!(format!("{:?}", below(&made)), "<ExpBackward>");
    assert!(GradFn::of(&y.detach()).is_none() && GradFn::of(&no_grad(|| &x * 2.0)).is_none());
    let constant = (&x * &w.detach()).sum();
    assert!(GradFn::of(&constant).unwrap().next_functions()[0].is_some());
}

#[test]
fn the_drawing_has_each_operation_once() {
    let (x, w) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
    let shared = &x * &w;
    let y = shared.exp() + &shared;
    let text = dot(&[&y, &shared], [("in\"put", &x)]);
    let count = |what: &str| text.matches(what).count();
    assert_eq!([count("MulBackward"), count("ExpBackward"), count("AddBackward")], [1, 1, 1]);
    assert_eq!([count("in\\\"put\\n[2]"), count("leaf\\n[2]"), count("output\\n[2]")], [1, 1, 2]);
    // x→mul, w→mul, mul→exp, mul→add, exp→add, add→out, mul→out
    assert_eq!(count(" -> "), 7);
    assert!(text.starts_with("digraph {") && text.ends_with("}\n"));
}

/// The elements of an XML text, each with its attributes and the text right after its start; panics where the text is
/// not well formed.
fn elements(text: &str) -> Vec<(String, HashMap<String, String>, String)> {
    let entities = ["&amp;", "&lt;", "&gt;", "&quot;"];
    let (mut found, mut open): (Vec<_>, Vec<String>) = (Vec::new(), Vec::new());
    assert!(text.starts_with('<') && text.chars().all(|c| c == '\n' || !c.is_control()));
    for part in text.split('<').skip(1) {
        let (tag, after) = part.split_once('>').expect("a tag that ends");
        assert!(!after.contains('>'), "{after}");
        for (at, _) in after.match_indices('&') {
            assert!(entities.iter().any(|entity| after[at..].starts_with(entity)), "{after}");
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name));
            continue;
        }
        let (tag, closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
        let mut attributes = HashMap::new();
        while let Some((key, value)) = rest.trim_start().split_once("=\"") {
            let (value, more) = value.split_once('"').expect("a value that ends");
            assert!(attributes.insert(key.to_string(), value.to_string()).is_none(), "{key} twice");
            rest = more;
        }
        assert_eq!(rest.trim(), "", "in {tag}");
        if !closed {
            open.push(name.to_string());
        }
        found.push((name.to_string(), attributes, after.to_string()));
    }
    assert!(open.is_empty(), "{open:?}");
    found
}

/// The boxes of a drawing and its edges, by the boxes' names; boxes do not overlap, and edges go down from one to another.
fn drawn(text: &str) -> (Vec<String>, Vec<(String, String)>) {
    let elements = elements(text);
    let number = |attributes: &HashMap<String, String>, key: &str| -> f64 {
        attributes[key].parse().unwrap()
    };
    let (mut boxes, mut places): (Vec<(String, String)>, Vec<[f64; 4]>) = (Vec::new(), Vec::new());
    let mut edges = Vec::new();
    let whole = [number(&elements[0].1, "width"), number(&elements[0].1, "height")];
    for (name, attributes, text) in &elements {
        match name.as_str() {
            "g" if attributes.contains_key("id") => {
                boxes.push((attributes["id"].clone(), String::new()));
            }
            "rect" if attributes.contains_key("rx") => {
                let [x, y, w, h] = ["x", "y", "width", "height"].map(|key| number(attributes, key));
                assert!(x > 0.0 && y > 0.0 && x + w < whole[0] && y + h < whole[1], "outside");
                places.push([x, y, x + w, y + h]);
            }
            "text" => {
                let label = &mut boxes.last_mut().unwrap().1;
                let space = if label.is_empty() { "" } else { " " };
                label.push_str(&format!("{space}{text}"));
            }
            "path" if attributes.contains_key("data-from") => {
                edges.push((attributes["data-from"].clone(), attributes["data-to"].clone()));
            }
            _ => {}
        }
    }
    for (i, a) in places.iter().enumerate() {
        for b in &places[..i] {
            assert!(
                a[0] >= b[2] || b[0] >= a[2] || a[1] >= b[3] || b[1] >= a[3],
                "{a:?} over {b:?}"
            );
        }
    }
    let label = |id: &String| boxes.iter().position(|(known, _)| known == id).expect("a box");
    let edges = edges.iter().map(|(from, to)| {
        let (from, to) = (label(from), label(to));
        assert!(places[from][3] < places[to][1], "an edge goes down");
        (boxes[from].1.clone(), boxes[to].1.clone())
    });
    let edges = edges.collect();
    (boxes.into_iter().map(|(_, label)| label).collect(), edges)
}

#[test]
fn the_picture_has_each_operation_and_edge() {
    let (x, w) = (leaf([1.0, 2.0]), leaf([3.0, 4.0]));
    let shared = &x * &w;
    let y = shared.exp() + &shared;
    let (mut boxes, mut edges) = drawn(&svg(&[&y, &shared], [("a<b&\"c\"\n", &x)]));
    boxes.sort();
    edges.sort();
    let name = "a&lt;b&amp;&quot;c&quot;\u{fffd} [2]";
    let want =
        ["AddBackward", "ExpBackward", "MulBackward", name, "leaf [2]", "output [2]", "output [2]"];
    assert_eq!(boxes, want);
    let want = [
        ("AddBackward", "output [2]"),
        ("ExpBackward", "AddBackward"),
        ("MulBackward", "AddBackward"),
        ("MulBackward", "ExpBackward"),
        ("MulBackward", "output [2]"),
        (name, "MulBackward"),
        ("leaf [2]", "MulBackward"),
    ];
    assert_eq!(edges, want.map(|(a, b)| (a.to_string(), b.to_string())));
    assert_eq!(svg(&[&y], [("x", &x)]), svg(&[&y], [("x", &x)]), "the same each time");
}

#[test]
fn pictures_of_all_graphs() {
    let none: [(&str, &T); 0] = [];
    assert_eq!(drawn(&svg(&[], none)), (vec![], vec![]));
    let x = leaf([1.0, 2.0]);
    // What is not recorded, a leaf, one twice, an operation on one operand twice.
    let square = &x * &x;
    let (boxes, edges) = drawn(&svg(&[&x.detach(), &x, &square, &square], none));
    assert_eq!((boxes.len(), edges.len()), (6, 5));

    // Many layers, wide ones, and edges that pass many of them.
    let mut state = vec![x.clone(), leaf([0.5, 0.25]), leaf([2.0, 1.0])];
    let mut random = 1u32;
    let mut next = |below: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) as usize % below
    };
    for _ in 0..150 {
        let (a, b) = (next(state.len()), next(state.len()));
        state.push(if next(4) == 0 { state[a].sin() } else { &state[a] + &state[b] });
    }
    let outputs: Vec<&T> = state.iter().collect();
    let text = svg(&outputs, none);
    let (boxes, edges) = drawn(&text);
    assert_eq!(boxes.len(), 2 * 153);
    let lines = dot(&outputs, none);
    assert_eq!(edges.len(), lines.matches(" -> ").count());

    // Deep: neither the stack nor the square of its depth.
    let (mut y, depth) = (x.clone(), 100_000);
    for _ in 0..depth / 2 {
        y = (&y + &x).sin();
    }
    let text = svg(&[&y], none);
    assert_eq!(text.matches(" id=\"n").count(), depth + 2);
    assert_eq!(text.matches("data-from").count(), depth + depth / 2 + 1);
    assert!(text.len() < 1000 * depth, "{}", text.len());
    assert_eq!(dot(&[&y], none).matches(" -> ").count(), depth + depth / 2 + 1);
}
