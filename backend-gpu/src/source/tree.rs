//! C by which the work-items of a group combine what each of them has found, in a fixed order.

/// A variable that each work-item of a group has.
pub(crate) struct Shared {
    /// Its name, which has the combined value afterwards, in every work-item.
    pub(crate) own: &'static str,
    /// What `combine` calls that of another work-item.
    pub(crate) other: &'static str,
    /// Its C type.
    pub(crate) ty: &'static str,
}

/// Local memory for `tree`: a declaration, which stands at the beginning of a kernel.
pub(crate) fn room(group: usize, values: &[Shared]) -> String {
    let one =
        |(k, value): (usize, &Shared)| format!("    LOCAL {} shared{k}[{group}];\n", value.ty);
    values.iter().enumerate().map(one).collect()
}

/// Statements after which the variables have what `combine` makes of those of all `group` work-items, a
/// power of two: first of those that exchange values (`SHUFFLE_DOWN`), where there are some, then
/// over local memory. All work-items of the group come here.
pub(crate) fn tree(group: usize, values: &[Shared], combine: &str) -> String {
    let each = |text: &dyn Fn(usize, &Shared) -> String| -> String {
        values.iter().enumerate().map(|(k, value)| text(k, value)).collect()
    };
    let shuffled =
        each(&|_, v| format!("const {} {} = SHUFFLE_DOWN({}, far); ", v.ty, v.other, v.own));
    let read = each(&|k, v| format!("const {} {} = shared{k}[LANE + far]; ", v.ty, v.other));
    let write = each(&|k, v| format!("shared{k}[LANE] = {}; ", v.own));
    format!(
        "#ifdef SHUFFLE_DOWN
    for (int far = SUB_GROUP / 2; far > 0; far /= 2) {{ {shuffled}{combine} }}
    if (LANE % SUB_GROUP == 0) {{ {first}}}
    BARRIER;
    if (LANE < SUB_GROUP) {{
        {part}
        for (int far = {group} / SUB_GROUP / 2; far > 0; far /= 2) {{ {shuffled}{combine} }}
        if (LANE == 0) {{ {write}}}
    }}
    BARRIER;
#else
    {write}
    BARRIER;
    for (int far = {group} / 2; far > 0; far /= 2) {{
        if (LANE < far) {{ {read}{combine} {write}}}
        BARRIER;
    }}
#endif
    {result}
    BARRIER;
",
        first = each(&|k, v| format!("shared{k}[LANE / SUB_GROUP] = {}; ", v.own)),
        part = each(&|k, v| format!("{} = shared{k}[LANE % ({group} / SUB_GROUP)]; ", v.own)),
        result = each(&|k, v| format!("{} = shared{k}[0]; ", v.own)),
    )
}
