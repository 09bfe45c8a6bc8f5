//! Sequences of several lengths in one tensor.

use kiln_tensor_core::{Backend, DType, Error, Tensor, raise};

/// Sequences of several lengths, element `t` of all of them side by side: what `pack_padded_sequence` and
/// `pack_sequence` give, and what recurrent layers take.
#[derive(Clone, Debug)]
pub struct PackedSequence<B: Backend> {
    /// `[Σ lengths, …]`
    pub data: Tensor<B>,
    /// How many sequences have an element `t`; never more than one has of the one before.
    pub batch_sizes: Vec<usize>,
    /// Which sequence each of the batch was, where they were sorted by length.
    pub sorted_indices: Option<Vec<usize>>,
    /// Where each sequence is in the batch.
    pub unsorted_indices: Option<Vec<usize>>,
}

impl<B: Backend> PackedSequence<B> {
    /// The same lengths with other data.
    pub(crate) fn with(&self, data: Tensor<B>) -> Self {
        PackedSequence { data, ..self.clone() }
    }
}

/// Rows of dim `dim` in another order.
pub(crate) fn ordered<B: Backend>(x: &Tensor<B>, dim: isize, order: &[usize]) -> Tensor<B> {
    x.index_select(dim, &numbers(order, x))
}

fn numbers<B: Backend>(order: &[usize], like: &Tensor<B>) -> Tensor<B> {
    let order: Vec<i64> = order.iter().map(|&i| i as i64).collect();
    Tensor::from_slice(&order, order.len(), like.device())
}

/// Packs padded sequences `[t, n, …]` (or `[n, t, …]` with `batch_first`) of these lengths. They are sorted by
/// length, longest first, unless `enforce_sorted` says that they are: PyTorch's default is `true`.
///
/// # Panics
/// If there is not one positive length of at most `t` for each, or they are not sorted and should be.
#[track_caller]
pub fn pack_padded_sequence<B: Backend>(
    input: &Tensor<B>,
    lengths: &[usize],
    batch_first: bool,
    enforce_sorted: bool,
) -> PackedSequence<B> {
    let op = "pack_padded_sequence";
    let wrong = |why: &str| -> ! {
        raise(Error::Argument { op, why: format!("{why}, not {lengths:?} for {}", input.shape()) })
    };
    if input.rank() < 2 {
        wrong("a tensor [t, n, …] and lengths are wanted");
    }
    let input = if batch_first { input.transpose(0, 1) } else { input.clone() };
    let (steps, batch) = (input.dims()[0], input.dims()[1]);
    if lengths.len() != batch || batch == 0 || lengths.iter().any(|&n| n == 0 || n > steps) {
        wrong("one length for each sequence, from 1 to the padded length, is wanted");
    }
    let mut order: Vec<usize> = (0..batch).collect();
    if !enforce_sorted {
        order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
    } else if !lengths.is_sorted_by(|a, b| a >= b) {
        wrong("lengths in descending order are wanted; `enforce_sorted = false` sorts them");
    }
    let longest = lengths[order[0]];
    let batch_sizes: Vec<usize> =
        (0..longest).map(|t| lengths.iter().filter(|&&n| n > t).count()).collect();
    // Rows of [t · n, …], element by element.
    let rows: Vec<usize> = batch_sizes
        .iter()
        .enumerate()
        .flat_map(|(t, &size)| order[..size].iter().map(move |&i| t * batch + i))
        .collect();
    let data = ordered(&input.flatten(0, 1), 0, &rows);
    let sorted = (!enforce_sorted).then_some(order);
    PackedSequence {
        data,
        batch_sizes,
        unsorted_indices: sorted.as_deref().map(inverse),
        sorted_indices: sorted,
    }
}

fn inverse(order: &[usize]) -> Vec<usize> {
    let mut inverse = vec![0; order.len()];
    order.iter().enumerate().for_each(|(to, &from)| inverse[from] = to);
    inverse
}

/// The sequences padded with `padding_value` to `total_length`, or to the longest, `[t, n, …]` (or `[n, t, …]`
/// with `batch_first`), in their first order; and their lengths.
///
/// # Panics
/// If `total_length` is less than the longest sequence has.
#[track_caller]
pub fn pad_packed_sequence<B: Backend>(
    sequence: &PackedSequence<B>,
    batch_first: bool,
    padding_value: f64,
    total_length: Option<usize>,
) -> (Tensor<B>, Vec<usize>) {
    let PackedSequence { data, batch_sizes, unsorted_indices, .. } = sequence;
    let steps = total_length.unwrap_or(batch_sizes.len());
    if steps < batch_sizes.len() {
        raise(Error::Argument {
            op: "pad_packed_sequence",
            why: format!("total_length = {steps} is less than {} steps", batch_sizes.len()),
        });
    }
    let batch = batch_sizes.first().copied().unwrap_or(0);
    let length = |i: usize| batch_sizes.iter().filter(|&&size| size > i).count();
    let order = unsorted_indices.clone().unwrap_or_else(|| (0..batch).collect());
    let lengths: Vec<usize> = order.iter().map(|&i| length(i)).collect();
    // One more row holds the padding.
    let mut end = data.shape().clone();
    end[0] = 1;
    let padding = Tensor::full(end, padding_value, (data.device(), data.dtype()));
    let rows = Tensor::cat(&[data, &padding], 0);
    let starts: Vec<usize> = batch_sizes
        .iter()
        .scan(0, |start, &size| {
            *start += size;
            Some(*start - size)
        })
        .collect();
    let last = data.dims()[0];
    let row = |t: usize, i: usize| match batch_sizes.get(t) {
        Some(&size) if i < size => starts[t] + i,
        _ => last,
    };
    let rows_of: Vec<usize> = (0..steps)
        .flat_map(|t| order.iter().map(move |&i| (t, i)))
        .map(|(t, i)| row(t, i))
        .collect();
    let padded = ordered(&rows, 0, &rows_of).unflatten(0, [steps as isize, batch as isize]);
    (if batch_first { padded.transpose(0, 1) } else { padded }, lengths)
}

/// Sequences `[length, …]` padded to the longest and stacked: `[t, n, …]`, or `[n, t, …]` with `batch_first`.
///
/// # Panics
/// If there are none, or sizes, dtypes or devices differ.
#[track_caller]
pub fn pad_sequence<B: Backend>(
    sequences: &[Tensor<B>],
    batch_first: bool,
    padding_value: f64,
) -> Tensor<B> {
    let longest = sequences.iter().map(|x| x.size(0)).max().unwrap_or(0);
    let padded = sequences.iter().map(|x| {
        let mut shape = x.shape().clone();
        shape[0] = longest - x.dims()[0];
        let padding = Tensor::full(shape, padding_value, (x.device(), x.dtype()));
        Tensor::cat(&[x, &padding], 0)
    });
    Tensor::stack(&padded.collect::<Vec<_>>(), usize::from(!batch_first) as isize)
}

/// Packs sequences `[length, …]`; see [`pack_padded_sequence`].
///
/// # Panics
/// As [`pad_sequence`] and [`pack_padded_sequence`].
#[track_caller]
pub fn pack_sequence<B: Backend>(
    sequences: &[Tensor<B>],
    enforce_sorted: bool,
) -> PackedSequence<B> {
    let lengths: Vec<usize> = sequences.iter().map(|x| x.size(0)).collect();
    pack_padded_sequence(&pad_sequence(sequences, false, 0.0), &lengths, false, enforce_sorted)
}

/// The sequences, each of its own length.
#[track_caller]
pub fn unpack_sequence<B: Backend>(sequence: &PackedSequence<B>) -> Vec<Tensor<B>> {
    let (padded, lengths) = pad_packed_sequence(sequence, true, 0.0, None);
    lengths.iter().enumerate().map(|(i, &n)| padded.select(0, i as isize).narrow(0, 0, n)).collect()
}

/// A mask `[n, t]` that is true where a sequence of that length has an element: what attention wants of padded
/// sequences.
pub fn length_mask<B: Backend>(lengths: &[usize], steps: usize, device: &B::Device) -> Tensor<B> {
    let at = Tensor::<B>::arange(steps as i64, (device, DType::I64));
    let lengths: Vec<i64> = lengths.iter().map(|&n| n as i64).collect();
    at.lt(Tensor::from_slice(&lengths, [lengths.len(), 1], device))
}
