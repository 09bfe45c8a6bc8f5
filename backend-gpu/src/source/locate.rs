//! C that finds elements: a number taken apart by sizes, and what that comes to in each operand's strides.

/// Statements that take `number` apart by the sizes of dims `[from, to)` of `sizes`, and add to each variable
/// where that lies by its strides. Numbers of `Width::Short` divide in 32 bits, many times faster.
pub(crate) fn locate(
    number: &str,
    sizes: &str,
    [from, to]: [&str; 2],
    width: Width,
    places: impl IntoIterator<Item = (String, String)>,
) -> String {
    let ty = match width {
        Width::Short => "u32",
        Width::Long => "i64",
    };
    let places: Vec<(String, String)> = places.into_iter().collect();
    let add = |k: &str, d: &str| -> String {
        places
            .iter()
            .map(|(at, strides)| format!("        {at} += {k} * {strides}[{d}];\n"))
            .collect()
    };
    format!(
        "    {{
    {ty} rest = ({ty})({number});
    for (int d = {to} - 1; d > {from}; --d) {{
        const {ty} size = ({ty}){sizes}.sizes[d], next = rest / size;
        const i64 k = rest - next * size;
        rest = next;
{}    }}
    if ({to} > {from}) {{
{}    }}
    }}
",
        add("k", "d"),
        add("(i64)rest", from),
    )
}

/// How long the numbers are that a kernel takes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Width {
    /// Below 2³².
    Short,
    /// Any.
    Long,
}

impl Width {
    /// Of the numbers of so many elements.
    pub(crate) fn of(elements: usize) -> Self {
        if elements <= u32::MAX as usize { Width::Short } else { Width::Long }
    }
}
