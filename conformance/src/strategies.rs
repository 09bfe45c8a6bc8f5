//! Where cases come from: shapes of distinct sizes, broadcasts, values with all that is special about
//! them. proptest draws a size and a seed; everything else follows from them, so a failure shrinks by
//! its size and is the same in every run.

use std::ops::RangeInclusive;

use kiln_tensor_core::{DType, Scalar, Shape, philox};
use proptest::prelude::{Strategy, any};

use crate::{Form, Host};

/// The operands of one case, and whole-number arguments such as dims.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Operands.
    pub inputs: Vec<Host>,
    /// Arguments, as the row understands them.
    pub args: Vec<i64>,
}

impl Sample {
    /// Operands without arguments.
    pub fn new(inputs: impl Into<Vec<Host>>) -> Sample {
        Sample { inputs: inputs.into(), args: Vec::new() }
    }

    /// With arguments.
    #[must_use]
    pub fn with(mut self, args: impl Into<Vec<i64>>) -> Sample {
        self.args = args.into();
        self
    }
}

/// What a case is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Comparing results: up to 210 elements, special values.
    Forward,
    /// Differences in each element: few elements, away from kinks.
    Gradient,
    /// Timing: sizes as in real work, a quarter of a million elements, all smooth.
    Speed,
}

/// Which values an operand holds.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// Lowest and highest value; derivatives exist between them.
    pub range: (f64, f64),
    /// Points where the derivative jumps; gradients are taken at a distance from them.
    pub kinks: &'static [f64],
    /// Whether results are also compared at NaN, infinities, zeros and far outside of the range.
    pub special: bool,
    /// Whether gradients need values that differ clearly from each other, this far (0: any).
    pub spacing: f64,
    /// Where in a spacing the values lie, so that two operands can keep apart.
    pub offset: f64,
    /// Whether integers must not be 0, being divisors.
    pub divisor: bool,
}

/// Values between −2 and 2.
pub const NORMAL: Fill = Fill::within(-2.0, 2.0);
/// Values between 0.5 and 2.
pub const POSITIVE: Fill = Fill::within(0.5, 2.0);
/// Values with ties when results are compared, clearly different ones for gradients.
pub const DISTINCT: Fill = Fill { spacing: 0.25, ..NORMAL };

impl Fill {
    /// Values in a range where the op is smooth.
    pub const fn within(low: f64, high: f64) -> Fill {
        Fill {
            range: (low, high),
            kinks: &[],
            special: false,
            spacing: 0.0,
            offset: 0.3,
            divisor: false,
        }
    }

    /// With everything special when results are compared.
    #[must_use]
    pub const fn special(self) -> Fill {
        Fill { special: true, ..self }
    }

    /// Without the integer 0.
    #[must_use]
    pub const fn divisor(self) -> Fill {
        Fill { divisor: true, ..self }
    }

    /// With points to keep away from.
    #[must_use]
    pub const fn kinks(self, kinks: &'static [f64]) -> Fill {
        Fill { kinks, ..self }
    }
}

const SPECIAL: [f64; 12] = [
    f64::NAN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    -0.0,
    0.0,
    1.0,
    -1.0,
    0.5,
    -0.5,
    2.5,
    -100.0,
    100.0,
];

/// Draws the parts of one case.
#[derive(Debug)]
pub struct Gen {
    /// The dtype that the case is about.
    pub dtype: DType,
    /// How operands will lie in memory; `Empty` and `Scalar` decide shapes.
    pub form: Form,
    /// What the case is for.
    pub purpose: Purpose,
    size: usize,
    seed: u64,
    drawn: u64,
}

impl Gen {
    /// A source of cases: the same parts for the same arguments.
    pub fn new(dtype: DType, form: Form, purpose: Purpose, size: usize, seed: u64) -> Gen {
        Gen { dtype, form, purpose, size, seed, drawn: 0 }
    }

    /// A number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        self.drawn += 1;
        philox::uniform(self.seed, 0, self.drawn, DType::F64)
    }

    /// A whole number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.unit() * n as f64) as usize
    }

    /// True or false.
    pub fn flip(&mut self) -> bool {
        self.unit() < 0.5
    }

    /// One of the items.
    pub fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Items in random order.
    pub fn shuffled<T: Copy>(&mut self, items: &[T]) -> Vec<T> {
        let mut items = items.to_vec();
        (1..items.len()).for_each(|i| items.swap(i, self.below(i + 1)));
        items
    }

    /// A shape with a rank in the range, sizes distinct so that swapped dims show. Now and then a size
    /// is 1, or 0 if that is this case's form.
    pub fn shape(&mut self, ranks: RangeInclusive<usize>) -> Shape {
        let mut shape = self.nonempty(ranks);
        if self.form == Form::Empty && shape.rank() > 0 {
            let dim = self.below(shape.rank());
            shape[dim] = 0;
        }
        shape
    }

    /// `shape` for ops that need elements.
    pub fn nonempty(&mut self, ranks: RangeInclusive<usize>) -> Shape {
        let (low, high) = ranks.into_inner();
        if self.purpose == Purpose::Speed {
            let sizes: [&[usize]; 5] =
                [&[], &[1 << 18], &[512, 512], &[64, 64, 64], &[16, 32, 32, 16]];
            return sizes[2.max(low).min(high).min(4)].into();
        }
        let rank = match self.form {
            Form::Scalar => low,
            form => {
                // A dimension is needed for a layout to differ, two for a transposition.
                let low = low.max(if form == Form::Transposed { 2 } else { 1 }).min(high);
                low + self.below(high.min(low + self.size) - low + 1)
            }
        };
        let sizes: &[usize] = match self.purpose {
            Purpose::Gradient => &[2, 3, 1, 2, 1, 1],
            _ => &[2, 3, 5, 7, 1, 2],
        };
        // A shrunk case has the small sizes only.
        let usable = &sizes[..rank.max(2 + self.size).min(if rank > 4 { 6 } else { 4 })];
        let mut shape: Shape = self.shuffled(usable).into_iter().take(rank).collect();
        if rank > 0 && self.below(6) == 0 {
            let dim = self.below(rank);
            shape[dim] = 1;
        }
        shape
    }

    /// A size that is a row's own choice, or another where speed is measured.
    pub fn size(&self, size: usize, real: usize) -> usize {
        if self.purpose == Purpose::Speed { real } else { size }
    }

    /// Shapes that broadcast to one of the ranks: the shape, and one for each operand.
    pub fn broadcast(&mut self, count: usize, ranks: RangeInclusive<usize>) -> (Shape, Vec<Shape>) {
        let whole = self.shape(ranks);
        let mut shapes = vec![whole.clone(); count];
        if self.purpose == Purpose::Speed || self.flip() {
            return (whole, shapes);
        }
        for dim in 0..whole.rank() {
            // One operand at least keeps the size.
            let keeper = self.below(count);
            for (i, shape) in shapes.iter_mut().enumerate() {
                if i != keeper && self.flip() {
                    shape[dim] = 1;
                }
            }
        }
        for shape in &mut shapes {
            while shape.first() == Some(&1) && self.flip() {
                shape.remove(0);
            }
        }
        let all = |sum: Option<Shape>, shape: &Shape| sum?.broadcast(shape);
        let whole =
            shapes.iter().fold(Some(Shape::scalar()), all).expect("one operand kept each size");
        (whole, shapes)
    }

    /// A dim of a shape of at least one dimension; negative as often as not.
    pub fn dim(&mut self, rank: usize) -> i64 {
        let rank = rank.max(1);
        let dim = self.below(rank) as i64;
        if self.flip() { dim - rank as i64 } else { dim }
    }

    /// Some dims, at least one if there are any.
    pub fn dims(&mut self, rank: usize) -> Vec<i64> {
        let all: Vec<i64> = (0..rank as i64).collect();
        let keep = 1 + self.below(rank.max(1));
        self.shuffled(&all).into_iter().take(keep).collect()
    }

    /// An operand of the case's dtype.
    pub fn values(&mut self, shape: &Shape, fill: Fill) -> Host {
        self.values_as(self.dtype, shape, fill)
    }

    /// An operand of a given dtype.
    pub fn values_as(&mut self, dtype: DType, shape: &Shape, fill: Fill) -> Host {
        let count = shape.numel();
        let values: Vec<Scalar> = match (self.purpose, dtype) {
            (_, DType::Bool) => (0..count).map(|_| Scalar::Bool(self.flip())).collect(),
            (_, d) if d.is_int() => (0..count).map(|_| self.whole(d, fill)).collect(),
            (Purpose::Gradient, _) if fill.spacing > 0.0 => self.spaced(count, fill),
            (Purpose::Gradient, _) => (0..count).map(|_| self.smooth(fill)).collect(),
            (Purpose::Forward, _) => (0..count).map(|_| self.number(fill)).collect(),
            (Purpose::Speed, _) => {
                (0..count).map(|_| Scalar::F64(self.within(fill.range))).collect()
            }
        };
        Host::new(shape.clone(), dtype, values)
    }

    fn within(&mut self, (low, high): (f64, f64)) -> f64 {
        low + self.unit() * (high - low)
    }

    /// A float that every float dtype can hold exactly, or nearly so.
    fn number(&mut self, fill: Fill) -> Scalar {
        Scalar::F64(match (fill.special, self.below(6)) {
            (true, 0) => self.pick(&SPECIAL),
            (true, 1) => (self.within((-10.0, 10.0)) * 8.0).round() / 8.0,
            // Few distinct values, so that ties happen.
            _ if fill.spacing > 0.0 => (self.within(fill.range) * 2.0).round() / 2.0,
            _ => {
                let (low, high) = fill.range;
                ((self.within((low, high)) * 64.0).round() / 64.0).clamp(low, high)
            }
        })
    }

    fn whole(&mut self, dtype: DType, fill: Fill) -> Scalar {
        let (low, high) = (fill.range.0.ceil() as i64, fill.range.1.floor() as i64);
        let (low, high) = if fill.special { (low.min(-5), high.max(5)) } else { (low, high) };
        let low = if dtype == DType::U8 { low.max(0) } else { low };
        Scalar::I64(match (fill.special, dtype, self.below(12)) {
            (true, DType::I8, 0) => self.pick(&[-128, 127]),
            (true, DType::U8, 0) => 255,
            _ => match low + self.below((high - low + 1).max(1) as usize) as i64 {
                0 if fill.divisor => 1,
                value => value,
            },
        })
    }

    fn smooth(&mut self, fill: Fill) -> Scalar {
        loop {
            let value = self.within(fill.range);
            if fill.kinks.iter().all(|kink| (value - kink).abs() > 0.05) {
                return Scalar::F64(value);
            }
        }
    }

    fn spaced(&mut self, count: usize, fill: Fill) -> Vec<Scalar> {
        let steps: Vec<usize> = (0..count).collect();
        let value = |i: usize| fill.spacing * ((i as f64 - (count / 2) as f64) + fill.offset);
        self.shuffled(&steps).into_iter().map(|i| Scalar::F64(value(i))).collect()
    }

    /// Indices below `size`.
    pub fn index(&mut self, shape: &Shape, size: usize) -> Host {
        let values: Vec<i64> = (0..shape.numel()).map(|_| self.below(size) as i64).collect();
        Host::indices(shape.clone(), &values)
    }
}

/// Draws samples that `sample` makes.
pub fn samples(
    sample: fn(&mut Gen) -> Sample,
    dtype: DType,
    form: Form,
    purpose: Purpose,
) -> impl Strategy<Value = Sample> {
    (0..=4usize, any::<u64>().no_shrink())
        .prop_map(move |(size, seed)| sample(&mut Gen::new(dtype, form, purpose, size, seed)))
}

/// Draws shapes of distinct sizes, of rank 0 to 4.
pub fn shapes() -> impl Strategy<Value = Shape> {
    let form = proptest::sample::select(&Form::ALL[..]);
    (form, 0..=4usize, any::<u64>().no_shrink()).prop_map(|(form, size, seed)| {
        Gen::new(DType::F32, form, Purpose::Forward, size, seed).shape(0..=4)
    })
}
