//! Recurrent layers: all steps, several layers, both directions, sequences of several lengths.

mod cell;
mod packed;
mod step;

use kiln_tensor_core::{Backend, DType, Error, Options, Shape, Tensor, autocast, raise};

pub use cell::{GRUCell, LSTMCell, RNNCell, RecurrentCell};
pub use packed::{
    PackedSequence, length_mask, pack_padded_sequence, pack_sequence, pad_packed_sequence,
    pad_sequence, unpack_sequence,
};
pub use step::{Elman, Gated, LongShortTerm, Recurrence, RnnNonlinearity, State};

use crate::{Field, Hooks, Module, Param, Visitor, python};
use cell::uniform;
use step::wrong;

/// The recurrence of Elman (1990): `h' = tanh(x · Wᵢₕᵀ + bᵢₕ + h · Wₕₕᵀ + bₕₕ)`.
pub type RNN<B> = Recurrent<B, Elman>;
/// Long short-term memory (Hochreiter, Schmidhuber 1997). Its state is the pair of hidden state and cell state.
pub type LSTM<B> = Recurrent<B, LongShortTerm>;
/// The gated recurrent unit (Cho et al. 2014).
pub type GRU<B> = Recurrent<B, Gated>;

/// A recurrence over sequences: [`RNN`], [`LSTM`], [`GRU`].
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::LSTM;
/// use kiln_tensor_core::Tensor;
///
/// let lstm = LSTM::<Cpu>::new(10, 20, &CpuDevice).num_layers(2).batch_first(true);
/// let (y, (h, c)) = lstm.forward(&Tensor::randn([3, 7, 10], &CpuDevice), None);
/// assert_eq!(*y.shape(), [3, 7, 20]);
/// assert_eq!((h.dims(), c.dims()), (&[2, 3, 20][..], &[2, 3, 20][..]));
/// ```
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, type_name = Self::name, flops = Self::count)]
pub struct Recurrent<B: Backend, K: Recurrence> {
    /// `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0`, `weight_hr_l0`, then those of
    /// `l0_reverse`, `l1` and so on, as far as they are there; all uniform in `±1 / √hidden` at first.
    weights: Weights<B>,
    input_size: usize,
    hidden_size: usize,
    num_layers: usize,
    bias: bool,
    batch_first: bool,
    dropout: f64,
    bidirectional: bool,
    proj_size: usize,
    #[module(skip)]
    kind: K,
    hooks: Hooks<B>,
}

/// Parameters whose names count layers and directions.
#[derive(Debug)]
struct Weights<B: Backend>(Vec<(String, Param<B>)>);

impl<B: Backend> Field<B> for Weights<B> {
    fn visit_field<'a>(&'a self, _: &str, visitor: &mut dyn Visitor<'a, B>) {
        self.0.iter().for_each(|(name, param)| visitor.param(name, param));
    }
}

/// The tensors of one layer in one direction.
struct Direction<B: Backend> {
    weight_ih: Tensor<B>,
    weight_hh: Tensor<B>,
    bias_ih: Option<Tensor<B>>,
    bias_hh: Option<Tensor<B>>,
    weight_hr: Option<Tensor<B>>,
}

impl<B: Backend, K: Recurrence> Recurrent<B, K> {
    /// One layer in one direction, with biases. The options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(
        input_size: usize,
        hidden_size: usize,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        let options = options.into();
        let mut layer = Recurrent {
            weights: Weights(Vec::new()),
            input_size,
            hidden_size,
            num_layers: 1,
            bias: true,
            batch_first: false,
            dropout: 0.0,
            bidirectional: false,
            proj_size: 0,
            kind: K::default(),
            hooks: Hooks::new(),
        };
        layer.draw(&options);
        layer
    }

    /// Draws all parameters.
    fn draw(&mut self, options: &Options<'_, B>) {
        let rows = K::GATES * self.hidden_size;
        let out = self.out_size();
        let mut all = Vec::new();
        for layer in 0..self.num_layers {
            let input = if layer == 0 { self.input_size } else { out * self.directions() };
            for direction in 0..self.directions() {
                let suffix = if direction == 1 { "_reverse" } else { "" };
                let mut add = |name: &str, shape: &[usize]| {
                    let param = uniform(shape, self.hidden_size, options);
                    all.push((format!("{name}_l{layer}{suffix}"), param));
                };
                add("weight_ih", &[rows, input]);
                add("weight_hh", &[rows, out]);
                if self.bias {
                    add("bias_ih", &[rows]);
                    add("bias_hh", &[rows]);
                }
                if self.proj_size > 0 {
                    add("weight_hr", &[self.proj_size, self.hidden_size]);
                }
            }
        }
        self.weights = Weights(all);
    }

    fn redrawn(mut self) -> Self {
        let first = self.weights.0[0].1.tensor();
        let options: (&B::Device, DType) = (first.device(), first.dtype());
        self.draw(&options.into());
        self
    }

    fn directions(&self) -> usize {
        1 + usize::from(self.bidirectional)
    }

    /// The size of the hidden state.
    fn out_size(&self) -> usize {
        if self.proj_size > 0 { self.proj_size } else { self.hidden_size }
    }

    /// How many layers, each on the results of the one before; 1 by default. Draws new parameters.
    ///
    /// # Panics
    /// If it is 0.
    #[must_use]
    #[track_caller]
    pub fn num_layers(mut self, count: usize) -> Self {
        if count == 0 {
            raise(Error::Argument { op: K::NAMES[0], why: "at least one layer is wanted".into() });
        }
        self.num_layers = count;
        self.redrawn()
    }

    /// Whether it adds biases; `true` by default. Draws new parameters.
    #[must_use]
    pub fn bias(mut self, on: bool) -> Self {
        self.bias = on;
        self.redrawn()
    }

    /// Whether the first dim counts sequences, not steps; `false` by default.
    #[must_use]
    pub fn batch_first(mut self, on: bool) -> Self {
        self.batch_first = on;
        self
    }

    /// The probability of dropout between layers, in training; 0 by default.
    ///
    /// # Panics
    /// If it lies outside `[0, 1]`.
    #[must_use]
    #[track_caller]
    pub fn dropout(mut self, p: f64) -> Self {
        if !(0.0..=1.0).contains(&p) {
            let why = format!("a probability lies in 0..=1, not {p}");
            raise(Error::Argument { op: K::NAMES[0], why });
        }
        self.dropout = p;
        self
    }

    /// Whether a second recurrence goes backwards, whose results are joined to the first's; `false` by
    /// default. Draws new parameters.
    #[must_use]
    pub fn bidirectional(mut self, on: bool) -> Self {
        self.bidirectional = on;
        self.redrawn()
    }

    /// Runs over a batch `[t, n, input]` (`[n, t, input]` with `batch_first`), or one sequence `[t, input]`, from a
    /// state of `[layers · directions, n, hidden]` (without `n` for one sequence), zeros if none is given. Gives
    /// the last layer's hidden states at all steps, and the last states of all layers.
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn forward(
        &self,
        input: &Tensor<B>,
        state: Option<&K::State<B>>,
    ) -> (Tensor<B>, K::State<B>) {
        self.hooks.run_with(self, input, |input| self.over(input, state))
    }

    /// `forward` without hooks.
    #[track_caller]
    fn over(&self, input: &Tensor<B>, state: Option<&K::State<B>>) -> (Tensor<B>, K::State<B>) {
        if input.rank() == 2 {
            let state = state.map(|state| state.each(|x, _| x.unsqueeze(1)));
            let dim = isize::from(!self.batch_first);
            let (y, state) = self.over(&input.unsqueeze(dim), state.as_ref());
            return (y.squeeze(dim), state.each(|x, _| x.squeeze(1)));
        }
        if input.rank() != 3 || input.dims()[2] != self.input_size || input.numel() == 0 {
            let why = format!("[t, n, {}] or [t, {0}] with elements is wanted", self.input_size);
            wrong(K::NAMES[0], input, "[layers · directions, n, hidden]", why);
        }
        let x = if self.batch_first { input.transpose(0, 1) } else { input.clone() };
        let (steps, batch) = (x.dims()[0], x.dims()[1]);
        let (y, state) = self.run(x.flatten(0, 1), &vec![batch; steps], state);
        let y = y.unflatten(0, [steps as isize, batch as isize]);
        (if self.batch_first { y.transpose(0, 1) } else { y }, state)
    }

    /// Runs over packed sequences; the states are in the sequences' first order.
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn forward_packed(
        &self,
        input: &PackedSequence<B>,
        state: Option<&K::State<B>>,
    ) -> (PackedSequence<B>, K::State<B>) {
        let reorder = |state: &K::State<B>, order: &Option<Vec<usize>>| match order {
            Some(order) => state.each(|x, _| packed::ordered(x, 1, order)),
            None => state.clone(),
        };
        let state = state.map(|state| reorder(state, &input.sorted_indices));
        let (y, state) = self.hooks.run_with(self, &input.data, |data| {
            self.run(data.clone(), &input.batch_sizes, state.as_ref())
        });
        (input.with(y), reorder(&state, &input.unsorted_indices))
    }

    /// All layers over `[Σ sizes, input]`, `sizes[t]` rows for step `t`.
    #[track_caller]
    fn run(
        &self,
        mut x: Tensor<B>,
        sizes: &[usize],
        state: Option<&K::State<B>>,
    ) -> (Tensor<B>, K::State<B>) {
        // Weights are cast once for all steps, and states are of the input's dtype.
        let inside = autocast::cast(K::NAMES[0], [&x]);
        let as_input: &dyn Fn(&Tensor<B>) -> Tensor<B> = match &inside {
            Some((_, [narrow])) => {
                x = narrow.clone();
                &|other| other.to_dtype(narrow.dtype())
            }
            None => &Tensor::clone,
        };
        let (batch, count) = (sizes[0], self.num_layers * self.directions());
        let of = |cell: bool| [count, batch, if cell { self.hidden_size } else { self.out_size() }];
        let options: (&B::Device, DType) = (x.device(), x.dtype());
        let zeros = K::State::<B>::make(|cell| Tensor::zeros(of(cell), options));
        let first = state.map_or(zeros, |state| {
            state.each(|x, cell| {
                if *x.shape() != of(cell) {
                    let why = format!("a state of {:?} is wanted", of(cell));
                    wrong(K::NAMES[0], x, "one for each layer and direction", why);
                }
                as_input(x)
            })
        });
        let mut last = Vec::new();
        for layer in 0..self.num_layers {
            if layer > 0 && self.dropout > 0.0 {
                x = x.dropout(self.dropout, self.hooks.training());
            }
            let outputs: Vec<Tensor<B>> = (0..self.directions())
                .map(|direction| {
                    let place = layer * self.directions() + direction;
                    let state = first.each(|x, _| x.select(0, place as isize));
                    let weights = self.direction(place, as_input);
                    let (y, state) = self.steps(&weights, &x, sizes, state, direction == 1);
                    last.push(state);
                    y
                })
                .collect();
            x = if let [one] = &outputs[..] { one.clone() } else { Tensor::cat(&outputs, -1) };
        }
        (x, K::State::merge(&last, |states| Tensor::stack(states, 0)))
    }

    fn direction(&self, place: usize, cast: &dyn Fn(&Tensor<B>) -> Tensor<B>) -> Direction<B> {
        let each = self.weights.0.len() / (self.num_layers * self.directions());
        let params = self.weights.0[place * each..].iter();
        let mut params = params.map(|(_, param)| cast(&param.tensor()));
        let mut next = |on: bool| if on { params.next() } else { None };
        let [weight_ih, weight_hh] =
            [next(true), next(true)].map(|x| x.expect("two weights for each direction"));
        let [bias_ih, bias_hh] = [next(self.bias), next(self.bias)];
        Direction { weight_ih, weight_hh, bias_ih, bias_hh, weight_hr: next(self.proj_size > 0) }
    }

    /// One layer in one direction: the hidden states of all steps, and the last state of each sequence.
    fn steps(
        &self,
        weights: &Direction<B>,
        x: &Tensor<B>,
        sizes: &[usize],
        mut state: K::State<B>,
        backwards: bool,
    ) -> (Tensor<B>, K::State<B>) {
        // The gates of all inputs are one product.
        let gates = x.linear(&weights.weight_ih, weights.bias_ih.as_ref());
        let start = state.clone();
        let rows = |state: &K::State<B>, from: usize, count: usize| {
            state.each(|x, _| x.narrow(0, from, count))
        };
        let cat = |parts: &[K::State<B>]| K::State::merge(parts, |xs| Tensor::cat(xs, 0));
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        if backwards {
            order.reverse();
            state = rows(&state, 0, sizes[sizes.len() - 1]);
        }
        let starts: Vec<usize> = sizes
            .iter()
            .scan(0, |start, &size| {
                *start += size;
                Some(*start - size)
            })
            .collect();
        let mut outputs = vec![None; sizes.len()];
        // States of sequences that have ended, the shortest first.
        let mut ended = Vec::new();
        for t in order {
            let (have, size) = (state.hidden().dims()[0], sizes[t]);
            if size < have {
                ended.push(rows(&state, size, have - size));
                state = rows(&state, 0, size);
            } else if size > have {
                state = cat(&[state, rows(&start, have, size - have)]);
            }
            let input = gates.narrow(0, starts[t], size);
            let hidden = state.hidden().linear(&weights.weight_hh, weights.bias_hh.as_ref());
            state = self.kind.step(&input, &hidden, &state);
            if let Some(projection) = &weights.weight_hr {
                state = state.with_hidden(state.hidden().linear(projection, None));
            }
            outputs[t] = Some(state.hidden().clone());
        }
        if !ended.is_empty() {
            ended.push(state);
            ended.reverse();
            state = cat(&ended);
        }
        let outputs: Vec<Tensor<B>> = outputs.into_iter().flatten().collect();
        (Tensor::cat(&outputs, 0), state)
    }

    fn name(&self) -> &'static str {
        K::NAMES[0]
    }

    /// A product and a sum for every weight, at each step of each sequence.
    fn count(&self, input: &Shape, _output: &Shape) -> u64 {
        let steps: usize = input.iter().rev().skip(1).product();
        let matrix = |param: &Param<B>| if param.shape().rank() == 2 { param.numel() } else { 0 };
        let weights: usize = self.weights.0.iter().map(|(_, param)| matrix(param)).sum();
        (2 * steps * weights) as u64
    }

    fn describe(&self) -> String {
        let mut text = format!("{}, {}", self.input_size, self.hidden_size);
        let flag = |text: &mut String, shown: bool, name: &str, value: String| {
            if shown {
                *text += &format!(", {name}={value}");
            }
        };
        flag(&mut text, self.proj_size != 0, "proj_size", self.proj_size.to_string());
        flag(&mut text, self.num_layers != 1, "num_layers", self.num_layers.to_string());
        flag(&mut text, !self.bias, "bias", python::bool(false).into());
        flag(&mut text, self.batch_first, "batch_first", python::bool(true).into());
        flag(&mut text, self.dropout != 0.0, "dropout", python::float(self.dropout));
        flag(&mut text, self.bidirectional, "bidirectional", python::bool(true).into());
        text
    }
}

impl<B: Backend> RNN<B> {
    /// What it applies to the sum; tanh by default.
    #[must_use]
    pub fn nonlinearity(mut self, nonlinearity: RnnNonlinearity) -> Self {
        self.kind = Elman { nonlinearity };
        self
    }
}

impl<B: Backend> LSTM<B> {
    /// The size that the hidden state is projected to (Sak et al. 2014), 0 for none, which is the default. Draws
    /// new parameters.
    ///
    /// # Panics
    /// If it is not less than the hidden size.
    #[must_use]
    #[track_caller]
    pub fn proj_size(mut self, size: usize) -> Self {
        if size >= self.hidden_size {
            let why = format!("proj_size = {size} is not less than {}", self.hidden_size);
            raise(Error::Argument { op: "LSTM", why });
        }
        self.proj_size = size;
        self.redrawn()
    }
}
