//! One step of each kind of recurrence: two products, then one program over the gates.

use std::fmt::Debug;

use kiln_tensor_core::{Backend, Error, Fused, FusedMany, Tensor, Val, raise};

/// A kind of recurrence: a marker that [`Recurrent`](super::Recurrent) and
/// [`RecurrentCell`](super::RecurrentCell) are generic over.
pub trait Recurrence: Debug + Default + Clone + Send + Sync + 'static {
    /// The layer's name, and the cell's.
    const NAMES: [&'static str; 2];
    /// How many gates the weights compute.
    const GATES: usize;
    /// What goes from step to step.
    type State<B: Backend>: State<B>;

    /// What it applies to the sum, where that is not the usual.
    fn nonlinearity(&self) -> Option<&'static str> {
        None
    }

    /// One step from the gates of the input and those of the hidden state, `[n, GATES · hidden]` each.
    fn step<B: Backend>(
        &self,
        input: &Tensor<B>,
        hidden: &Tensor<B>,
        state: &Self::State<B>,
    ) -> Self::State<B>;
}

/// What a recurrence carries: the hidden state, and for LSTM the cell state beside it. Dim 0 of both counts
/// the sequences, or layers and directions.
pub trait State<B: Backend>: Clone + Debug {
    /// Applies a function to each tensor; to the second (of the cell) with `true`.
    fn each(&self, f: impl FnMut(&Tensor<B>, bool) -> Tensor<B>) -> Self;
    /// Applies a function to the tensors of several states.
    fn merge(states: &[Self], f: impl FnMut(&[Tensor<B>]) -> Tensor<B>) -> Self;
    /// A state from a function that gives the tensor of each part; the cell's with `true`.
    fn make(f: impl FnMut(bool) -> Tensor<B>) -> Self;
    /// The hidden state.
    fn hidden(&self) -> &Tensor<B>;
    /// The state with another hidden state.
    fn with_hidden(&self, hidden: Tensor<B>) -> Self;
}

impl<B: Backend> State<B> for Tensor<B> {
    fn each(&self, mut f: impl FnMut(&Tensor<B>, bool) -> Tensor<B>) -> Self {
        f(self, false)
    }

    fn merge(states: &[Self], mut f: impl FnMut(&[Tensor<B>]) -> Tensor<B>) -> Self {
        f(states)
    }

    fn make(mut f: impl FnMut(bool) -> Tensor<B>) -> Self {
        f(false)
    }

    fn hidden(&self) -> &Tensor<B> {
        self
    }

    fn with_hidden(&self, hidden: Tensor<B>) -> Self {
        hidden
    }
}

impl<B: Backend> State<B> for (Tensor<B>, Tensor<B>) {
    fn each(&self, mut f: impl FnMut(&Tensor<B>, bool) -> Tensor<B>) -> Self {
        (f(&self.0, false), f(&self.1, true))
    }

    fn merge(states: &[Self], mut f: impl FnMut(&[Tensor<B>]) -> Tensor<B>) -> Self {
        let (hidden, cells): (Vec<_>, Vec<_>) = states.iter().cloned().unzip();
        (f(&hidden), f(&cells))
    }

    fn make(mut f: impl FnMut(bool) -> Tensor<B>) -> Self {
        (f(false), f(true))
    }

    fn hidden(&self) -> &Tensor<B> {
        &self.0
    }

    fn with_hidden(&self, hidden: Tensor<B>) -> Self {
        (hidden, self.1.clone())
    }
}

/// The gates side by side in the last dim, as views.
fn gates<B: Backend, const N: usize>(x: &Tensor<B>) -> [Tensor<B>; N] {
    let size = x.dims()[x.rank() - 1] / N;
    std::array::from_fn(|i| x.narrow(-1, i * size, size))
}

/// `h' = tanh(gates)`, or relu.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elman {
    pub(crate) nonlinearity: RnnNonlinearity,
}

/// What [`RNN`](super::RNN) applies to its gates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RnnNonlinearity {
    /// `tanh x`
    #[default]
    Tanh,
    /// `max(x, 0)`
    Relu,
}

impl Recurrence for Elman {
    const NAMES: [&'static str; 2] = ["RNN", "RNNCell"];
    const GATES: usize = 1;
    type State<B: Backend> = Tensor<B>;

    fn nonlinearity(&self) -> Option<&'static str> {
        (self.nonlinearity == RnnNonlinearity::Relu).then_some("relu")
    }

    fn step<B: Backend>(&self, input: &Tensor<B>, hidden: &Tensor<B>, _: &Tensor<B>) -> Tensor<B> {
        static TANH: Fused<2> = Fused::new("rnn_tanh_cell", |[x, h]| (x + h).tanh());
        static RELU: Fused<2> = Fused::new("rnn_relu_cell", |[x, h]| (x + h).relu());
        match self.nonlinearity {
            RnnNonlinearity::Tanh => TANH.call([input, hidden]),
            RnnNonlinearity::Relu => RELU.call([input, hidden]),
        }
    }
}

/// Gates input, forget, cell, output: `c' = f · c + i · g`, `h' = o · tanh c'` (Hochreiter, Schmidhuber 1997; Gers
/// et al. 2000).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LongShortTerm;

impl Recurrence for LongShortTerm {
    const NAMES: [&'static str; 2] = ["LSTM", "LSTMCell"];
    const GATES: usize = 4;
    type State<B: Backend> = (Tensor<B>, Tensor<B>);

    fn step<B: Backend>(
        &self,
        input: &Tensor<B>,
        hidden: &Tensor<B>,
        (_, cell): &(Tensor<B>, Tensor<B>),
    ) -> (Tensor<B>, Tensor<B>) {
        fn program<'b>(v: [Val<'b>; 9]) -> [Val<'b>; 2] {
            let [i, f, o] = [0, 1, 3].map(|k| (v[k] + v[k + 4]).sigmoid());
            let cell = f * v[8] + i * (v[2] + v[6]).tanh();
            [o * cell.tanh(), cell]
        }
        static CELL: FusedMany<9, 2> = FusedMany::new("lstm_cell", program);
        let ([xi, xf, xg, xo], [hi, hf, hg, ho]) = (gates(input), gates(hidden));
        let [hidden, cell] = CELL.call([&xi, &xf, &xg, &xo, &hi, &hf, &hg, &ho, cell]);
        (hidden, cell)
    }
}

/// Gates reset, update, new: `n = tanh(x + r · h)`, `h' = (1 − z) · n + z · h` (Cho et al. 2014, with the reset
/// gate after the product, as in PyTorch).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gated;

impl Recurrence for Gated {
    const NAMES: [&'static str; 2] = ["GRU", "GRUCell"];
    const GATES: usize = 3;
    type State<B: Backend> = Tensor<B>;

    fn step<B: Backend>(&self, input: &Tensor<B>, hidden: &Tensor<B>, h: &Tensor<B>) -> Tensor<B> {
        fn program<'b>([xr, xz, xn, hr, hz, hn, h]: [Val<'b>; 7]) -> Val<'b> {
            let (reset, update) = ((xr + hr).sigmoid(), (xz + hz).sigmoid());
            let new = (xn + reset * hn).tanh();
            (h - new) * update + new
        }
        static CELL: Fused<7> = Fused::new("gru_cell", program);
        let ([xr, xz, xn], [hr, hz, hn]) = (gates(input), gates(hidden));
        CELL.call([&xr, &xz, &xn, &hr, &hz, &hn, h])
    }
}

/// Says which shapes a recurrence takes.
#[track_caller]
#[cold]
pub(crate) fn wrong<B: Backend>(op: &'static str, x: &Tensor<B>, state: &str, why: String) -> ! {
    raise(Error::Shape {
        op,
        shapes: vec![x.shape().clone()],
        why: format!("{why}; the state is {state}"),
    })
}
