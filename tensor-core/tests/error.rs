//! Mistakes of the program: where they panic, what `catch` gives, and that they name the way out.

mod common;

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex};

use common::{refused, t};
use kiln_tensor_core::{Error, catch, manual_seed, next_draw, rng_state, set_rng_state};

#[test]
fn errors_are_typed_and_name_the_way_out() {
    let (a, b) = (t([[1.0, 2.0, 3.0]]), t([[1.0, 2.0], [3.0, 4.0]]));
    let text = |f: &dyn Fn()| refused(f).to_string();
    let add = text(&|| drop(&a + &b));
    assert!(add.contains("add") && add.contains("[1, 3]") && add.contains("[2, 2]"), "{add}");
    let product = text(&|| drop(a.matmul(&b)));
    assert!(product.contains("matmul") && product.contains("[1, 3] and [2, 2]"), "{product}");
    let mixed = text(&|| drop(b.matmul(&t([[1f32, 2.], [3., 4.]]))));
    assert!(mixed.contains("f64 and f32") && mixed.contains("to_dtype"), "{mixed}");
    let view = text(&|| drop(b.t().view([-1])));
    assert!(view.contains("view") && view.contains("reshape"), "{view}");
    let vector = text(&|| drop(b.to_vec::<f32>()));
    assert!(vector.contains("to_vec") && vector.contains("to_dtype"), "{vector}");
    let item = text(&|| {
        b.item();
    });
    assert!(item.contains("item") && item.contains("reduce"), "{item}");
    let place = text(&|| drop(t([1i64]).add_(0.5)));
    assert!(place.contains("add") && place.contains("in place"), "{place}");
    let alias = text(&|| drop(t([1.0]).expand([3]).add_(1.0)));
    assert!(alias.contains("copy"), "{alias}");
    let dim = refused(|| b.sum_dims([2], false));
    assert!(matches!(dim, Error::Index { what: "dim", index: 2, size: 2, .. }));
    let track = text(&|| drop(b.requires_grad_(true)));
    assert!(track.contains("Autograd"), "{track}");
}

#[test]
fn a_mistake_panics_at_the_callers_line() {
    let seen = Arc::new(Mutex::new(String::new()));
    let hook = panic::take_hook();
    let place = seen.clone();
    panic::set_hook(Box::new(move |info| {
        *place.lock().unwrap() = info.location().map(|l| l.file().to_owned()).unwrap_or_default();
    }));
    let (a, b) = (t([1.0, 2.0]), t([1.0, 2.0, 3.0]));
    let calls: [&dyn Fn(); 6] = [
        &|| drop(&a + &b),
        &|| drop(a.clone() * &b),
        &|| drop(a.add_(&b)),
        &|| drop(a.sum_dims([3], false)),
        &|| drop(a.lerp(&b, 0.5)),
        &|| drop(a.expand([3])),
    ];
    let files = calls.map(|call| {
        assert!(panic::catch_unwind(AssertUnwindSafe(call)).is_err());
        seen.lock().unwrap().clone()
    });
    panic::set_hook(hook);
    files
        .iter()
        .enumerate()
        .for_each(|(i, file)| assert!(file.ends_with("tests/error.rs"), "call {i}: {file}"));
}

#[test]
fn catch_nests_and_lets_other_panics_pass() {
    let inner = catch(|| {
        let caught = catch(|| t([1.0, 2.0]).expand([3]));
        assert!(caught.is_err());
        t([1.0, 2.0]).item()
    });
    assert!(matches!(inner, Err(Error::Shape { op: "item", .. })));
    assert_eq!(catch(|| 5).unwrap(), 5);
    let other = panic::catch_unwind(|| catch(|| panic::resume_unwind(Box::new("mine"))));
    assert_eq!(*other.unwrap_err().downcast::<&str>().unwrap(), "mine");
}

#[test]
fn generators_resume_where_they_stood() {
    manual_seed(11);
    let device = common::DEV;
    assert_eq!((next_draw(device).stream, next_draw(device).stream), (0, 1));
    let state = rng_state(device);
    assert_eq!((state.seed, state.stream), (11, 2));
    let later = next_draw(device);
    set_rng_state(device, state);
    assert_eq!(next_draw(device), later);
}
