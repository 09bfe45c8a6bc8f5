//! Recurrent cells: one step.

use kiln_tensor_core::{Backend, DType, Options, Shape, Tensor, autocast};

use super::step::{Elman, Gated, LongShortTerm, Recurrence, RnnNonlinearity, State, wrong};
use crate::{Hooks, Module, Param, init, python};

/// One step of [`RNN`](super::RNN).
pub type RNNCell<B> = RecurrentCell<B, Elman>;
/// One step of [`LSTM`](super::LSTM). Its state is the pair of hidden state and cell state.
pub type LSTMCell<B> = RecurrentCell<B, LongShortTerm>;
/// One step of [`GRU`](super::GRU).
pub type GRUCell<B> = RecurrentCell<B, Gated>;

/// One step of a recurrence: [`RNNCell`], [`LSTMCell`], [`GRUCell`].
///
/// ```
/// use kiln_backend_cpu::{Cpu, CpuDevice};
/// use kiln_nn::LSTMCell;
/// use kiln_tensor_core::Tensor;
///
/// let cell = LSTMCell::<Cpu>::new(10, 20, &CpuDevice);
/// let mut state = None;
/// for _ in 0..3 {
///     state = Some(cell.forward(&Tensor::randn([5, 10], &CpuDevice), state.as_ref()));
/// }
/// assert_eq!(*state.unwrap().0.shape(), [5, 20]);
/// ```
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe, type_name = Self::name, flops = Self::count)]
pub struct RecurrentCell<B: Backend, K: Recurrence> {
    /// `[gates · hidden, input]`; all parameters are uniform in `±1 / √hidden` at first.
    pub weight_ih: Param<B>,
    /// `[gates · hidden, hidden]`
    pub weight_hh: Param<B>,
    /// `[gates · hidden]`
    pub bias_ih: Option<Param<B>>,
    /// `[gates · hidden]`
    pub bias_hh: Option<Param<B>>,
    #[module(skip)]
    kind: K,
    hooks: Hooks<B>,
}

impl<B: Backend, K: Recurrence> RecurrentCell<B, K> {
    /// A cell with biases. The options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(
        input_size: usize,
        hidden_size: usize,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        let (options, rows) = (options.into(), K::GATES * hidden_size);
        let param = |shape: &[usize]| uniform(shape, hidden_size, &options);
        RecurrentCell {
            weight_ih: param(&[rows, input_size]),
            weight_hh: param(&[rows, hidden_size]),
            bias_ih: Some(param(&[rows])),
            bias_hh: Some(param(&[rows])),
            kind: K::default(),
            hooks: Hooks::new(),
        }
    }

    /// Whether it adds biases; `true` by default.
    #[must_use]
    pub fn bias(mut self, on: bool) -> Self {
        if !on {
            (self.bias_ih, self.bias_hh) = (None, None);
        }
        self
    }

    /// The state after input `[n, input]` (or `[input]`) and a state of `[n, hidden]` (or `[hidden]`), zeros if
    /// none is given.
    ///
    /// # Panics
    /// If sizes, dtypes or devices do not fit.
    #[track_caller]
    pub fn forward(&self, input: &Tensor<B>, state: Option<&K::State<B>>) -> K::State<B> {
        let (hidden, state) = self.hooks.run_with(self, input, |input| {
            let state = self.stepped(input, state);
            (state.hidden().clone(), state)
        });
        state.with_hidden(hidden)
    }

    /// `forward` without hooks.
    #[track_caller]
    fn stepped(&self, input: &Tensor<B>, state: Option<&K::State<B>>) -> K::State<B> {
        let [weight_ih, weight_hh] = [self.weight_ih.tensor(), self.weight_hh.tensor()];
        let [bias_ih, bias_hh] =
            [&self.bias_ih, &self.bias_hh].map(|bias| bias.as_ref().map(Param::tensor));
        let hidden = weight_hh.dims()[1];
        let zeros;
        let state = match state {
            Some(state) => state,
            None => {
                let mut shape = Shape::from(&input.dims()[..input.rank().saturating_sub(1)]);
                shape.push(hidden);
                zeros =
                    K::State::<B>::make(|_| Tensor::zeros(&shape, (input.device(), input.dtype())));
                &zeros
            }
        };
        let fits =
            |x: &Tensor<B>, size: usize| x.rank() == input.rank() && x.dims().last() == Some(&size);
        if !matches!(input.rank(), 1 | 2)
            || !fits(input, weight_ih.dims()[1])
            || !fits(state.hidden(), hidden)
        {
            let why = format!("[n, {}] and a state [n, {hidden}] are wanted", weight_ih.dims()[1]);
            wrong(self.name(), input, &state.hidden().shape().to_string(), why);
        }
        if let Some((_inside, [x, weight_ih, weight_hh], [bias_ih, bias_hh])) = autocast::cast_given(
            self.name(),
            [input, &weight_ih, &weight_hh],
            [bias_ih.as_ref(), bias_hh.as_ref()],
        ) {
            let state = state.each(|part, _| part.to_dtype(x.dtype()));
            let x = x.linear(&weight_ih, bias_ih.as_ref());
            let h = state.hidden().linear(&weight_hh, bias_hh.as_ref());
            return self.kind.step(&x, &h, &state);
        }
        let x = input.linear(&weight_ih, bias_ih.as_ref());
        let h = state.hidden().linear(&weight_hh, bias_hh.as_ref());
        self.kind.step(&x, &h, state)
    }

    fn name(&self) -> &'static str {
        K::NAMES[1]
    }

    /// A product and a sum for every weight, for each row.
    fn count(&self, input: &Shape, _output: &Shape) -> u64 {
        let rows: usize = input.iter().rev().skip(1).product();
        (2 * rows * (self.weight_ih.numel() + self.weight_hh.numel())) as u64
    }

    fn describe(&self) -> String {
        let (ih, hh) = (self.weight_ih.shape(), self.weight_hh.shape());
        let mut text = format!("{}, {}", ih[1], hh[1]);
        if self.bias_ih.is_none() {
            text += &format!(", bias={}", python::bool(false));
        }
        if let Some(name) = self.kind.nonlinearity() {
            text += &format!(", nonlinearity={name}");
        }
        text
    }
}

impl<B: Backend> RNNCell<B> {
    /// What it applies to the sum; tanh by default.
    #[must_use]
    pub fn nonlinearity(mut self, nonlinearity: RnnNonlinearity) -> Self {
        self.kind = Elman { nonlinearity };
        self
    }
}

/// A parameter of a recurrence, uniform in `±1 / √hidden`.
pub(super) fn uniform<B: Backend>(
    shape: &[usize],
    hidden: usize,
    options: &Options<'_, B>,
) -> Param<B> {
    let dtype = options.dtype.unwrap_or(DType::F32);
    let param = Param::new(Tensor::zeros(shape, (options.device, dtype)));
    let bound = 1.0 / (hidden.max(1) as f64).sqrt();
    init::uniform_(&param, -bound, bound);
    param
}
