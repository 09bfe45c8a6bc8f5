//! Handles, versions, memory shared with the program.

use kiln_backend_cpu::{Cpu, CpuDevice};
use kiln_tensor_core::{Backend, Shared, Tensor};

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
