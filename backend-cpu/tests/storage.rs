//! Handles, versions, memory shared with the program.

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Backend, Error, Shared, Tensor, catch};

#[test]
fn adds_and_views() {
    let x = Tensor::<Cpu>::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [2, 3], &CpuDevice);
    let y = &x + &x.t().contiguous().reshape_to(&[2, 3].into());
    assert_eq!(y.to_vec::<f32>(), [2.0, 6.0, 5.0, 9.0, 8.0, 12.0]);
    assert_eq!(x.sum().item(), 21.0);
}

#[test]
fn versions_count_in_place_writes() {
    let x = Tensor::<Cpu>::from_slice(&[1.0f32, 2.0], [2], &CpuDevice);
    assert_eq!(Cpu::version(&x), 0);
    let y = x.clone();
    assert!(!Cpu::is_unique(&x));
    y.add_(1.0);
    assert_eq!(Cpu::version(&x), 1);
    assert_eq!(x.to_vec::<f32>(), [2.0, 3.0]);
    drop(y);
    assert!(Cpu::is_unique(&x));
}

#[test]
fn shared_memory_shows_changes_on_both_sides() {
    let data = Shared::new(vec![1.0f64, 2.0, 3.0]);
    let x = Tensor::<Cpu>::from_shared(&data, [3], &CpuDevice);
    let again = Tensor::<Cpu>::from_shared(&data, [3], &CpuDevice);
    assert!(Cpu::shares_storage(&x, &again) && !Cpu::is_unique(&x));
    x.mul_(&again);
    assert_eq!(*data.read(), [1.0, 4.0, 9.0]);
    data.write()[0] = 7.0;
    assert_eq!(x.to_vec::<f64>(), [7.0, 4.0, 9.0]);
}

#[test]
fn shared_memory_is_never_taken_for_a_result() {
    let data = Shared::new(vec![1.0f64, 2.0, 3.0]);
    let x = Tensor::<Cpu>::from_shared(&data, [3], &CpuDevice);
    // The only tensor, given up: its memory is the program's all the same.
    let y = (x + 1.0) * 2.0;
    assert_eq!(y.to_vec::<f64>(), [4.0, 6.0, 8.0]);
    assert_eq!(*data.read(), [1.0, 2.0, 3.0]);
}

#[test]
fn shared_memory_outlives_either_side() {
    let data = Shared::new(vec![1i64, 2, 3, 4]);
    let x = Tensor::<Cpu>::from_shared(&data, [2, 2], &CpuDevice);
    drop(data);
    let column = x.select(1, 1);
    drop(x);
    column.fill_(9);
    assert_eq!(column.to_vec::<i64>(), [9, 9]);

    let data = Shared::new(vec![0u8; 5]);
    Tensor::<Cpu>::from_shared(&data, [5], &CpuDevice).fill_(3);
    assert_eq!(*data.read(), [3; 5]);
}

#[test]
fn nothing_is_copied_when_memory_is_shared() {
    let mut vector = Vec::with_capacity(100);
    vector.extend([1.0f32, 2.0]);
    let address = vector.as_ptr();
    let data = Shared::new(vector);
    assert_eq!(data.read().as_ptr(), address);
    let boxed: Box<[f32]> = vec![4.0, 5.0].into();
    let owner = Shared::of(boxed);
    let x = Tensor::<Cpu>::from_shared(&owner, [2], &CpuDevice);
    x.sqrt_();
    assert_eq!(owner.read()[0], 2.0);
    let array = Shared::of([1i32, 2, 3]);
    Tensor::<Cpu>::from_shared(&array, [3], &CpuDevice).cumsum(0);
    assert_eq!(*array.read(), [1, 2, 3]);
}

#[test]
fn shared_memory_and_its_shape_must_fit() {
    let data = Shared::new(vec![1.0f32; 6]);
    let error = catch(|| Tensor::<Cpu>::from_shared(&data, [4], &CpuDevice)).unwrap_err();
    assert!(matches!(error, Error::Shape { op: "from_shared", .. }), "{error:?}");
    let empty = Shared::new(Vec::<f32>::new());
    assert_eq!(Tensor::<Cpu>::from_shared(&empty, [0, 3], &CpuDevice).sum().item(), 0.0);
}

/// Either side sees whole operations of the other.
#[test]
fn shared_memory_is_safe_between_threads() {
    // Miri takes some thousand times as long.
    let (len, rounds) = if cfg!(miri) { (64, 3) } else { (10_000, 50) };
    let data = Shared::new(vec![0i64; len]);
    let x = Tensor::<Cpu>::from_shared(&data, [len], &CpuDevice);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..rounds {
                    x.add_(1);
                    let seen = data.read();
                    assert!(seen.iter().all(|&v| v == seen[0]), "half of an operation shows");
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..rounds {
                data.write().iter_mut().for_each(|v| *v += 1);
                let sum = x.sum().item();
                assert_eq!(sum % len as f64, 0.0, "half of a change shows");
            }
        });
    });
    assert_eq!(x.to_vec::<i64>(), vec![3 * rounds; len]);
}
