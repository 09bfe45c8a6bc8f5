//! Numbers and lists as Python writes them, for the lines that layers print.

/// A truth value.
pub fn bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// A float, as Python's `repr`: the shortest digits that give it back, with an exponent below 1e−4 and
/// from 1e16 on.
pub fn float(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() || (1e-4..1e16).contains(&size) {
        return format!("{value:?}").to_lowercase();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').expect("the format has an exponent");
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// A tuple: `(3,)`, `(3, 5)`.
pub fn tuple(values: &[usize]) -> String {
    match values {
        [one] => format!("({one},)"),
        _ => format!("({})", values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_pythons() {
        let cases = [
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e-4, "0.0001"),
            (0.1, "0.1"),
            (1.0, "1.0"),
            (-20.0, "-20.0"),
            (1e16, "1e+16"),
            (1e100, "1e+100"),
            (0.0, "0.0"),
            (f64::INFINITY, "inf"),
        ];
        for (value, text) in cases {
            assert_eq!(float(value), text);
        }
    }
}
