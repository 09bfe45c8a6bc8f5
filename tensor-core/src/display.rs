//! Tensors as text, in PyTorch's format: `tensor([[1., 2.], [3., 4.]], dtype=f64)`.

use std::fmt;

use parking_lot::RwLock;

use crate::{Backend, DType, Scalar, Tensor};

/// How tensors are printed; see `torch.set_printoptions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrintOptions {
    /// Digits after the point.
    pub precision: usize,
    /// A tensor of more elements is summarised.
    pub threshold: usize,
    /// How many elements a summary shows at each end of a dimension.
    pub edgeitems: usize,
    /// Characters per line.
    pub linewidth: usize,
    /// Whether to use scientific notation; `None`: where the numbers ask for it.
    pub sci_mode: Option<bool>,
}

impl PrintOptions {
    /// PyTorch's defaults.
    pub const DEFAULT: PrintOptions =
        PrintOptions { precision: 4, threshold: 1000, edgeitems: 3, linewidth: 80, sci_mode: None };
}

impl Default for PrintOptions {
    fn default() -> Self {
        PrintOptions::DEFAULT
    }
}

static OPTIONS: RwLock<PrintOptions> = RwLock::new(PrintOptions::DEFAULT);

/// How tensors are printed at present.
pub fn print_options() -> PrintOptions {
    *OPTIONS.read()
}

/// Changes how tensors are printed.
pub fn set_print_options(options: PrintOptions) {
    *OPTIONS.write() = options;
}

impl<B: Backend> fmt::Display for Tensor<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = print_options();
        let mut text = String::from("tensor(");
        let indent = text.len();
        let mut suffixes = Vec::new();
        if *self.device() != B::Device::default() {
            suffixes.push(format!("device={}", self.device()));
        }
        if self.numel() == 0 {
            text.push_str("[]");
            if self.rank() != 1 {
                let sizes: Vec<String> = self.dims().iter().map(ToString::to_string).collect();
                suffixes.push(format!("size=({})", sizes.join(", ")));
            }
        } else {
            let values = self.to_scalars();
            let summarize = self.numel() > options.threshold;
            let page = Page::new(&values, self.dims(), self.dtype(), summarize, options);
            page.write(&mut text, 0, 0, indent);
        }
        let evident = matches!(self.dtype(), DType::F32 | DType::I64 | DType::Bool);
        if !evident || (self.numel() == 0 && self.dtype() != DType::F32) {
            suffixes.push(format!("dtype={}", self.dtype()));
        }
        match self.grad_fn() {
            Some(name) => suffixes.push(format!("grad_fn=<{name}>")),
            None if self.requires_grad() => suffixes.push("requires_grad=True".into()),
            None => {}
        }
        let mut line = text.len() - text.rfind('\n').map_or(0, |at| at + 1) + 2;
        for suffix in suffixes {
            if line + suffix.len() + 2 > options.linewidth {
                text.push_str(",\n");
                text.push_str(&" ".repeat(indent));
                line = indent + suffix.len();
            } else {
                text.push_str(", ");
                line += suffix.len() + 2;
            }
            text.push_str(&suffix);
        }
        text.push(')');
        f.write_str(&text)
    }
}

/// The elements of a tensor on their way to text.
struct Page<'a> {
    values: &'a [Scalar],
    dims: &'a [usize],
    summarize: bool,
    options: PrintOptions,
    style: Style,
    width: usize,
}

/// How all numbers of a tensor are written.
#[derive(Clone, Copy)]
enum Style {
    /// As they are: integers and bools.
    Plain,
    /// Floats that are whole: `3.`
    Whole,
    /// `3.1416`
    Fixed,
    /// `3.1416e+00`
    Scientific,
}

impl<'a> Page<'a> {
    fn new(
        values: &'a [Scalar],
        dims: &'a [usize],
        dtype: DType,
        summarize: bool,
        options: PrintOptions,
    ) -> Self {
        let mut page = Page { values, dims, summarize, options, style: Style::Plain, width: 1 };
        let mut shown = Vec::new();
        page.collect(0, 0, &mut shown);
        if dtype.is_float() {
            let counts = |v: &f64| v.is_finite() && *v != 0.0;
            shown.retain(|v| counts(&v.to_f64()));
            page.style = style(shown.iter().map(|v| v.to_f64()), options);
        }
        page.width = shown.iter().map(|&v| page.number(v).len()).max().unwrap_or(1);
        page
    }

    /// The positions along a dimension that are shown; `None` stands for those left out.
    fn positions(&self, dim: usize) -> Vec<Option<usize>> {
        let (size, edge) = (self.dims[dim], self.options.edgeitems);
        if self.summarize && size > 2 * edge {
            let (head, tail) = (0..edge, size - edge..size);
            head.map(Some).chain([None]).chain(tail.map(Some)).collect()
        } else {
            (0..size).map(Some).collect()
        }
    }

    fn stride(&self, dim: usize) -> usize {
        self.dims[dim + 1..].iter().product()
    }

    fn collect(&self, dim: usize, offset: usize, shown: &mut Vec<Scalar>) {
        if dim == self.dims.len() {
            shown.push(self.values[offset]);
            return;
        }
        for at in self.positions(dim).into_iter().flatten() {
            self.collect(dim + 1, offset + at * self.stride(dim), shown);
        }
    }

    fn write(&self, text: &mut String, dim: usize, offset: usize, indent: usize) {
        let depth = self.dims.len() - dim;
        if depth == 0 {
            text.push_str(&self.padded(self.values[offset]));
            return;
        }
        text.push('[');
        let fits = self.options.linewidth.saturating_sub(indent) / (self.width + 2);
        for (i, at) in self.positions(dim).into_iter().enumerate() {
            if i > 0 {
                text.push(',');
                match depth {
                    1 if i % fits.max(1) != 0 => text.push(' '),
                    _ => {
                        text.push_str(&"\n".repeat((depth - 1).max(1)));
                        text.push_str(&" ".repeat(indent + 1));
                    }
                }
            }
            match at {
                Some(at) => self.write(text, dim + 1, offset + at * self.stride(dim), indent + 1),
                None if depth == 1 => text.push_str(" ..."),
                None => text.push_str("..."),
            }
        }
        text.push(']');
    }

    fn padded(&self, value: Scalar) -> String {
        format!("{:>1$}", self.number(value), self.width)
    }

    fn number(&self, value: Scalar) -> String {
        let precision = self.options.precision;
        match (value, self.style) {
            (Scalar::Bool(v), _) => if v { "True" } else { "False" }.into(),
            (Scalar::I64(v), _) => v.to_string(),
            (Scalar::F64(v), _) if v.is_nan() => "nan".into(),
            (Scalar::F64(v), _) if v.is_infinite() => if v > 0.0 { "inf" } else { "-inf" }.into(),
            (Scalar::F64(v), Style::Plain | Style::Whole) => format!("{v:.0}."),
            (Scalar::F64(v), Style::Fixed) => format!("{v:.precision$}"),
            (Scalar::F64(v), Style::Scientific) => scientific(v, precision),
        }
    }
}

/// The style of floats that are finite and not zero.
fn style(values: impl Iterator<Item = f64> + Clone, options: PrintOptions) -> Style {
    let whole = values.clone().all(|v| v == v.ceil());
    let (low, high) =
        values.fold((f64::MAX, 0f64), |(low, high), v| (low.min(v.abs()), high.max(v.abs())));
    let wide = high / low > 1000.0 || high > 1e8 || (!whole && low < 1e-4);
    match (options.sci_mode.unwrap_or(wide && high > 0.0), whole) {
        (true, _) => Style::Scientific,
        (false, true) => Style::Whole,
        (false, false) => Style::Fixed,
    }
}

/// C's `%e`: a sign and at least two digits in the exponent.
fn scientific(v: f64, precision: usize) -> String {
    let text = format!("{v:.precision$e}");
    let (digits, exponent) = text.split_once('e').expect("an exponent");
    let exponent: i32 = exponent.parse().expect("a whole exponent");
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
