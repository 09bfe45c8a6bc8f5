//! What windows see, packed as an operand of a product.

use std::fmt::Write;

use kiln_tensor_core::DType;

use super::T;
use crate::Runtime;
use crate::launch::Call;
use crate::ops::product::{Key, Matrix, Packed, STEPS, Side};
use crate::ops::windows::{SPEC, Spec};
use crate::source::{Operand, computed};

/// Which operand of which convolution windows are packed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Windows {
    /// Columns are the output's positions, steps are channels and taps of the input.
    Forward,
    /// Columns are the input's positions, steps are channels and taps of the output's gradient.
    Input,
    /// Columns are channels and taps, steps are the output's positions.
    Weight,
}

/// What the windows of images `[images.0, images.0 + images.1)` see of contiguous `x`, for each image and group.
pub(super) struct Seen<'a, R: Runtime> {
    pub(super) which: Windows,
    pub(super) x: &'a T<R>,
    pub(super) spec: Spec,
    pub(super) images: (usize, usize),
}

impl<R: Runtime> Seen<'_, R> {
    /// Whether neighbours in memory are neighbours in a row of windows too: they are copied as vectors.
    fn is_dense(&self) -> bool {
        match self.which {
            Windows::Input => self.spec.stride == [1; 3],
            _ => self.spec.stride[2] == 1,
        }
    }
}

impl<R: Runtime> Matrix<R> for Seen<'_, R> {
    #[track_caller]
    fn pack(&self, width: usize) -> Packed<R> {
        let &Seen { which, x, spec, images: (_, images) } = self;
        let (groups, [_, columns, k]) = (spec.groups as usize, which.sizes(&spec));
        let packed = Packed::<R>::new(images * groups, [columns, k], width, x);
        let panels = columns.div_ceil(width);
        let items = images * groups * panels * k.div_ceil(STEPS);
        let call = Call::<R>::new(x.device())
            .value(items as i64)
            .value(panels as i64)
            .value(columns as i64)
            .value(k as i64);
        let key = (width, self.key());
        self.pass(call).tensor(packed.elements()).run_groups("columns", key, (items, 1), || {
            body(which, width, x.dtype(), self.is_dense(), &Operand::new("x", x.dtype(), true))
        });
        packed
    }

    fn side(&self, name: &str) -> Side {
        let from = Operand::new(name, self.x.dtype(), true);
        let (line, element) = apart(self.which, "line", &from);
        let (seen, channels) = self.which.seen();
        Side {
            types: SPEC,
            parameters: format!(", i64 first_matrix, Spec s, {}", from.read()),
            line: format!(
                "const i64 image = (first_matrix + matrix) / s.groups, group = (first_matrix + matrix) % s.groups;
                const int h0 = (int)s.{seen}[0], h1 = (int)s.{seen}[1], h2 = (int)s.{seen}[2];
                const i64 base = (image * {channels} + group * ({channels} / s.groups)) * h0 * h1 * h2;
                {line}"
            ),
            element: element.replace(" at = ", " at = base + "),
            by_step: false,
        }
    }

    fn pass<'a>(&'a self, call: Call<'a, R>) -> Call<'a, R> {
        call.value((self.images.0 * self.spec.groups as usize) as i64)
            .value(self.spec)
            .operand(&Operand::new("x", self.x.dtype(), true), self.x)
    }

    fn key(&self) -> Key {
        let name = match self.which {
            Windows::Forward => "forward",
            Windows::Input => "input",
            Windows::Weight => "weight",
        };
        (name, self.x.dtype(), [self.is_dense(), false, false])
    }
}

impl Windows {
    /// Rows, columns and terms of the product for one image and group.
    pub(super) fn sizes(self, spec: &Spec) -> [usize; 3] {
        let of = |sizes: [i64; 3]| sizes.iter().product::<i64>() as usize;
        let [ins, outs] = [spec.channels, spec.outs].map(|c| (c / spec.groups) as usize);
        let taps = of(spec.window);
        match self {
            Windows::Forward => [outs, of(spec.output), ins * taps],
            Windows::Input => [ins, of(spec.input), outs * taps],
            Windows::Weight => [outs, ins * taps, of(spec.output)],
        }
    }

    /// The sizes of what windows see, and its channels.
    fn seen(self) -> (&'static str, &'static str) {
        match self {
            Windows::Input => ("output", "s.outs"),
            _ => ("input", "s.channels"),
        }
    }
}

fn body(which: Windows, width: usize, dtype: DType, dense: bool, from: &Operand) -> String {
    let (seen, channels) = which.seen();
    let ty = computed(dtype);
    let steps = match which {
        Windows::Forward => positions(width, false, dense, from),
        Windows::Input if dense => positions(width, true, true, from),
        Windows::Input => {
            let (line, element) = apart(which, "(first + i)", from);
            format!(
                "    for (int i = 0; i < count; ++i) {{
        {line}
        for (i64 t = from; t < to; ++t) {{
            {ty} value = 0;
            {element}
            out[t * {width} + i] = value;
        }}
    }}
"
            )
        }
        Windows::Weight => taps(width, dense, from),
    };
    format!(
        "{SPEC}KERNEL void columns(i64 items, i64 panels, i64 columns, i64 k, i64 first_matrix, Spec s,
    {read}, GLOBAL {ty}* y) {{
    const i64 item = ITEM;
    if (item >= items) return;
    const i64 chunks = (k + {last}) / {STEPS}, panel = item / chunks, from = (item - panel * chunks) * {STEPS};
    const i64 to = from + {STEPS} < k ? from + {STEPS} : k;
    const i64 matrix = panel / panels, first = (panel - matrix * panels) * {width};
    const i64 image = (first_matrix + matrix) / s.groups, group = (first_matrix + matrix) % s.groups;
    const int h0 = (int)s.{seen}[0], h1 = (int)s.{seen}[1], h2 = (int)s.{seen}[2];
    x += (image * {channels} + group * ({channels} / s.groups)) * h0 * h1 * h2;
    GLOBAL {ty}* out = y + panel * {width} * k;
    const int count = columns - first < {width} ? (int)(columns - first) : {width};
{steps}    for (i64 t = from; t < to; ++t) for (int i = count; i < {width}; ++i) out[t * {width} + i] = 0;
}}
",
        read = from.read(),
        last = STEPS - 1,
    )
}

/// Takes a number apart by sizes of three dims: `rest` becomes `{name}0`, `{name}1`, `{name}2` and what is left.
fn decode(sizes: &str, name: &str) -> String {
    (0..3).rev().fold(String::new(), |mut c, d| {
        let size = format!("(int)s.{sizes}[{d}]");
        let _ = write!(c, "const int {name}{d} = rest % {size}; rest /= {size}; ");
        c
    })
}

/// Columns are positions. Those of one row follow each other in memory: each step copies row by row.
fn positions(width: usize, back: bool, dense: bool, from: &Operand) -> String {
    let (sizes, sign) = if back { ("input", "-") } else { ("output", "+") };
    let origin = |d: usize| match back {
        true => format!("l{d} + (int)s.padding[{d}]"),
        false => format!("l{d} * (int)s.stride[{d}] - (int)s.padding[{d}]"),
    };
    let step = if dense { "1" } else { "(int)s.stride[2]" };
    format!(
        "    int runs = 0, lane[{width}], length[{width}], o0[{width}], o1[{width}], o2[{width}];
    for (int i = 0; i < count; i += length[runs - 1]) {{
        int rest = (int)first + i;
        {lanes}
        const int row = (int)s.{sizes}[2] - l2;
        lane[runs] = i; length[runs] = row < count - i ? row : count - i;
        o0[runs] = {origin0}; o1[runs] = {origin1}; o2[runs] = {origin2};
        ++runs;
    }}
    const int step = {step};
    for (i64 t = from; t < to; ++t) {{
        int rest = (int)t;
        {taps}
        for (int r = 0; r < runs; ++r) {{
            const int z0 = o0[r] {sign} t0 * (int)s.dilation[0], z1 = o1[r] {sign} t1 * (int)s.dilation[1];
            const int z2 = o2[r] {sign} t2 * (int)s.dilation[2], n = length[r];
            const int row_inside = z0 >= 0 && z0 < h0 && z1 >= 0 && z1 < h1;
            int low = z2 >= 0 ? 0 : (step - 1 - z2) / step;
            int high = z2 >= h2 || !row_inside ? 0 : (h2 - z2 + step - 1) / step;
            high = high < n ? high : n;
            low = low < high ? low : high;
            const i64 at = (((i64)rest * h0 + z0) * h1 + z1) * h2 + z2;
            const i64 to_lane = t * {width} + lane[r];
            for (int j = 0; j < low; ++j) out[to_lane + j] = 0;
            for (int j = low; j < high; ++j) out[to_lane + j] = {load};
            for (int j = high; j < n; ++j) out[to_lane + j] = 0;
        }}
    }}
",
        lanes = decode(sizes, "l"),
        taps = decode("window", "t"),
        origin0 = origin(0),
        origin1 = origin(1),
        origin2 = origin(2),
        load = from.load("at + j * step"),
    )
}

/// Statements that prepare for a column, and those that make `value` its element at step `t`, for any windows.
/// The element is in channels of `h0` × `h1` × `h2`.
fn apart(which: Windows, column: &str, from: &Operand) -> (String, String) {
    let (of_column, of_step) = match which {
        Windows::Forward => ("output", "window"),
        Windows::Input => ("input", "window"),
        Windows::Weight => ("window", "output"),
    };
    let channel = if which == Windows::Weight { "channel" } else { "left" };
    let line =
        format!("int rest = (int){column}; {} const int channel = rest;", decode(of_column, "l"));
    let mut element =
        format!("int left = (int)t, inside = 1; {}", decode(of_step, "t").replace("rest", "left"));
    for d in 0..3 {
        let place = match which {
            Windows::Forward => {
                format!(
                    "l{d} * (int)s.stride[{d}] + t{d} * (int)s.dilation[{d}] - (int)s.padding[{d}]"
                )
            }
            Windows::Input => format!("l{d} + (int)s.padding[{d}] - t{d} * (int)s.dilation[{d}]"),
            Windows::Weight => {
                format!(
                    "t{d} * (int)s.stride[{d}] + l{d} * (int)s.dilation[{d}] - (int)s.padding[{d}]"
                )
            }
        };
        let _ = write!(element, "int z{d} = {place}; ");
        if which == Windows::Input {
            // Windows that skip have met only some positions.
            let _ = write!(
                element,
                "inside &= z{d} >= 0 && z{d} % (int)s.stride[{d}] == 0; z{d} /= (int)s.stride[{d}]; "
            );
        }
        let _ = write!(element, "inside &= z{d} >= 0 && z{d} < h{d}; ");
    }
    let _ = write!(
        element,
        "if (inside) {{ const i64 at = (((i64){channel} * h0 + z0) * h1 + z1) * h2 + z2; value = {}; }}",
        from.load("at")
    );
    (line, element)
}

/// Columns are channels and taps, steps are positions: each column copies rows of positions.
fn taps(width: usize, dense: bool, from: &Operand) -> String {
    let step = if dense { "1" } else { "(int)s.stride[2]" };
    format!(
        "    const int step = {step};
    for (int i = 0; i < count; ++i) {{
        int rest = (int)first + i;
        {taps}
        const int channel = rest;
        for (i64 t = from; t < to;) {{
            rest = (int)t;
            {positions}
            const int row = (int)s.output[2] - p2, n = row < to - t ? row : (int)(to - t);
            const int z0 = p0 * (int)s.stride[0] + t0 * (int)s.dilation[0] - (int)s.padding[0];
            const int z1 = p1 * (int)s.stride[1] + t1 * (int)s.dilation[1] - (int)s.padding[1];
            const int z2 = p2 * step + t2 * (int)s.dilation[2] - (int)s.padding[2];
            const int row_inside = z0 >= 0 && z0 < h0 && z1 >= 0 && z1 < h1;
            int low = z2 >= 0 ? 0 : (step - 1 - z2) / step;
            int high = z2 >= h2 || !row_inside ? 0 : (h2 - z2 + step - 1) / step;
            high = high < n ? high : n;
            low = low < high ? low : high;
            const i64 at = (((i64)channel * h0 + z0) * h1 + z1) * h2 + z2;
            for (int j = 0; j < low; ++j) out[(t + j) * {width} + i] = 0;
            for (int j = low; j < high; ++j) out[(t + j) * {width} + i] = {load};
            for (int j = high; j < n; ++j) out[(t + j) * {width} + i] = 0;
            t += n;
        }}
    }}
",
        taps = decode("window", "t"),
        positions = decode("output", "p"),
        load = from.load("at + j * step"),
    )
}
