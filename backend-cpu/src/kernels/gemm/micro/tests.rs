//! Every kernel that this machine can run, against plain loops.

use super::*;

/// Every kernel that this machine can run.
fn all<T>(tables: Vec<(&'static Kernels<T>, bool)>) -> Vec<&'static Kernels<T>> {
    tables.into_iter().filter(|t| t.1).map(|t| t.0).collect()
}

macro_rules! check {
    ($name:ident, $T:ty, $tables:expr) => {
        #[test]
        fn $name() {
            for kernels in all::<$T>($tables) {
                for (r, by_vectors) in kernels.table.iter().enumerate() {
                    for (w, kernel) in by_vectors.iter().enumerate() {
                        let (rows, width, k) = (r + 1, (w + 1) * kernels.lanes, 3);
                        for cols in w * kernels.lanes + 1..=width {
                            let a: Vec<$T> = (0..k * rows).map(|i| i as $T).collect();
                            let b: Vec<$T> = (0..k * width).map(|i| 1.0 + i as $T).collect();
                            let mut c: Vec<$T> = vec![-1.0; rows * (cols + 2)];
                            let from: Vec<$T> = (0..cols).map(|i| 0.5 * i as $T).collect();
                            let tile = Tile {
                                k,
                                a: a.as_ptr(),
                                b: b.as_ptr(),
                                offsets: std::ptr::null(),
                                c: c.as_mut_ptr(),
                                c_row: cols as isize + 2,
                                cols,
                                from: from.as_ptr(),
                                from_row: 0,
                            };
                            // SAFETY: the tile describes these vectors.
                            unsafe { kernel(&tile) };
                            for i in 0..rows {
                                for j in 0..cols + 2 {
                                    let sum = |j: usize| {
                                        let terms =
                                            (0..k).map(|p| a[p * rows + i] * b[p * width + j]);
                                        from[j] + terms.sum::<$T>()
                                    };
                                    let expected = if j < cols { sum(j) } else { -1.0 };
                                    assert_eq!(
                                        c[i * (cols + 2) + j],
                                        expected,
                                        "{rows} {cols} {i} {j}"
                                    );
                                }
                            }
                        }
                    }
                }
            }
        }
    };
}
/// Every kernel of `tables` against plain loops.
fn check_correlate<T: Float + From<u8> + PartialEq + std::fmt::Debug>(
    tables: Vec<(&'static Kernels<T>, bool)>,
) {
    use super::super::correlate::Span;
    let numbers: Vec<T> = (0..400usize).map(|i| T::from((i * 7 % 11) as u8)).collect();
    let spans = [(0, 3, 40), (45, 50, 1), (50, 60, 16)];
    let spans = spans.map(|(left, right, len)| Span { left, right, len });
    for kernels in all::<T>(tables) {
        for (a, by_right) in kernels.correlate.iter().enumerate() {
            for (kernel, columns) in by_right.iter().zip([1, RIGHT]) {
                let (row, offsets) = (21, [0, 17, 5, 200]);
                let (left, right) = (numbers.as_ptr(), numbers.as_ptr());
                let work = Correlation { left, row, right, offsets, spans: &spans };
                let mut sums = Sums::zero();
                // SAFETY: all elements lie inside the numbers. Twice, to see that it adds up.
                unsafe {
                    kernel(&work, &mut sums);
                    kernel(&work, &mut sums);
                }
                for (l, r) in (0..=a).flat_map(|l| (0..columns).map(move |r| (l, r))) {
                    let mut expected = T::default();
                    for span in spans.iter().chain(&spans) {
                        for i in 0..span.len {
                            let x = numbers[l * row + span.left + i];
                            expected = expected + x * numbers[offsets[r] + span.right + i];
                        }
                    }
                    assert_eq!(sums.total(l, r), expected, "{l} {r}");
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn correlations() {
    check_correlate(vec![(&SCALAR_F32, true), (&AVX2_F32, has().0), (&AVX512_F32, has().1)]);
    check_correlate(vec![(&SCALAR_F64, true), (&AVX2_F64, has().0), (&AVX512_F64, has().1)]);
}
#[cfg(not(target_arch = "x86_64"))]
#[test]
fn correlations() {
    check_correlate(vec![(&SCALAR_F32, true)]);
    check_correlate(vec![(&SCALAR_F64, true)]);
}

#[cfg(target_arch = "x86_64")]
fn has() -> (bool, bool) {
    let fma = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    (fma, is_x86_feature_detected!("avx512f"))
}
#[cfg(target_arch = "x86_64")]
check!(kernels_f32, f32, vec![(&SCALAR_F32, true), (&AVX2_F32, has().0), (&AVX512_F32, has().1)]);
#[cfg(target_arch = "x86_64")]
check!(kernels_f64, f64, vec![(&SCALAR_F64, true), (&AVX2_F64, has().0), (&AVX512_F64, has().1)]);
#[cfg(not(target_arch = "x86_64"))]
check!(kernels_f32, f32, vec![(&SCALAR_F32, true)]);
#[cfg(not(target_arch = "x86_64"))]
check!(kernels_f64, f64, vec![(&SCALAR_F64, true)]);
