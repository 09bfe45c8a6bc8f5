//! The lines of kinks.txt.

/// Operands and their gradients, one after the other.
pub type Numbers = Vec<Vec<f64>>;

/// The name, the operands and the gradients of each case.
pub fn cases() -> Vec<(&'static str, Numbers, Numbers)> {
    let numbers = |text: &str| -> Numbers {
        let vector = |part: &str| part.split(',').map(|x| x.trim().parse().unwrap()).collect();
        text.split(';').map(vector).collect()
    };
    let case = |line: &'static str| {
        let parts: Vec<&str> = line.split(" | ").collect();
        (parts[0], numbers(parts[1]), numbers(parts[2]))
    };
    include_str!("kinks.txt").lines().map(case).collect()
}

/// The gradient that kinks.txt asks for: 1 + i/4 for result i.
pub fn weights(count: usize) -> Vec<f64> {
    (0..count).map(|i| 1.0 + i as f64 / 4.0).collect()
}

/// Whether these are the same gradients but for rounding; zeros need not have the same sign.
pub fn same(ours: &[f64], theirs: &[f64]) -> bool {
    let near = |(&a, &b): (&f64, &f64)| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * b.abs().max(1e-6)
    };
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(near)
}
