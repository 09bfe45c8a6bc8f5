//! Sums, means and maxima of looked-up vectors.

use kiln_tensor_core::{Backend, DType, Error, Options, Tensor, raise};

use crate::{Hooks, Module, Param};

/// What becomes of the vectors of a bag.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BagMode {
    /// Their sum.
    Sum,
    /// Their mean.
    #[default]
    Mean,
    /// The largest of each component.
    Max,
}

/// Looks up bags of vectors and combines each: integers `[n, count]`, or `[total]` with the places where bags begin
/// → `[n, embedding_dim]`. An empty bag gives zeros.
#[derive(Debug, Module)]
#[module(extra_repr = Self::describe)]
pub struct EmbeddingBag<B: Backend> {
    /// `[num_embeddings, embedding_dim]`, normal numbers at first.
    pub weight: Param<B>,
    #[module(skip)]
    mode: BagMode,
    padding_idx: Option<usize>,
    include_last_offset: bool,
    hooks: Hooks<B>,
}

impl<B: Backend> EmbeddingBag<B> {
    /// A table of `num_embeddings` vectors; bags give means. The options are `&device` or `(&device, dtype)`.
    pub fn new<'a>(
        num_embeddings: usize,
        embedding_dim: usize,
        options: impl Into<Options<'a, B>>,
    ) -> Self {
        EmbeddingBag {
            weight: Param::new(Tensor::randn([num_embeddings, embedding_dim], options)),
            mode: BagMode::Mean,
            padding_idx: None,
            include_last_offset: false,
            hooks: Hooks::new(),
        }
    }

    /// What becomes of a bag; its mean by default.
    #[must_use]
    pub fn mode(mut self, mode: BagMode) -> Self {
        self.mode = mode;
        self
    }

    /// The vector that does not count; it starts as zeros.
    ///
    /// # Panics
    /// If there is no such vector.
    #[must_use]
    #[track_caller]
    pub fn padding_idx(mut self, index: usize) -> Self {
        crate::init::zeros_(&self.weight.tensor().detach().narrow(0, index, 1));
        self.padding_idx = Some(index);
        self
    }

    /// Whether the last offset is where the last bag ends; `false` by default.
    #[must_use]
    pub fn include_last_offset(mut self, on: bool) -> Self {
        self.include_last_offset = on;
        self
    }

    fn describe(&self) -> String {
        let shape = self.weight.shape();
        let mode = match self.mode {
            BagMode::Sum => "sum",
            BagMode::Mean => "mean",
            BagMode::Max => "max",
        };
        let padding = self.padding_idx.map_or(String::new(), |i| format!(", padding_idx={i}"));
        format!("{}, {}, mode='{mode}'{padding}", shape[0], shape[1])
    }

    /// Bags of `input`; `offsets` says where each begins if `input` has one dim. `per_sample_weights`, shaped as the
    /// input, multiply the vectors of sums. Reads input and offsets.
    ///
    /// # Panics
    /// If shapes or dtypes do not fit, or offsets are not in order.
    #[track_caller]
    pub fn forward(
        &self,
        input: &Tensor<B>,
        offsets: Option<&Tensor<B>>,
        per_sample_weights: Option<&Tensor<B>>,
    ) -> Tensor<B> {
        let wrong = |why: &str| -> ! {
            let shapes = [Some(input), offsets, per_sample_weights];
            raise(Error::Shape {
                op: "embedding_bag",
                shapes: shapes.iter().flatten().map(|x| x.shape().clone()).collect(),
                why: why.into(),
            })
        };
        if !input.dtype().is_int() || offsets.is_some_and(|x| !x.dtype().is_int()) {
            wrong("the numbers of vectors, and offsets, are integers");
        }
        if per_sample_weights
            .is_some_and(|x| self.mode != BagMode::Sum || x.shape() != input.shape())
        {
            wrong("weights of the input's shape are wanted, and only where bags give sums");
        }
        let numbers = input.to_dtype(DType::I64).to_vec::<i64>();
        let starts: Vec<usize> = match (input.dims(), offsets) {
            (&[bags, count], None) => (0..=bags).map(|i| i * count).collect(),
            (&[total], Some(offsets)) if offsets.rank() == 1 => {
                let offsets = offsets.to_dtype(DType::I64).to_vec::<i64>();
                let mut starts: Vec<usize> =
                    offsets.iter().map(|&at| usize::try_from(at).unwrap_or(usize::MAX)).collect();
                if !self.include_last_offset {
                    starts.push(total);
                }
                starts
            }
            _ => wrong("numbers [n, count], or [total] with offsets [n], are wanted"),
        };
        let first =
            starts.first() == Some(&0) && starts.last().is_some_and(|&end| end <= numbers.len());
        if !first || !starts.is_sorted() {
            wrong("offsets that begin with 0 and rise up to the number of elements are wanted");
        }
        let counted =
            |at: &usize| self.padding_idx.is_none_or(|index| numbers[*at] != index as i64);
        let bags: Vec<Vec<usize>> =
            starts.windows(2).map(|pair| (pair[0]..pair[1]).filter(counted).collect()).collect();
        let (weight, device) = (self.weight.tensor(), input.device());
        let index = |places: &[i64]| Tensor::from_slice(places, places.len(), device);
        let places: Vec<i64> = bags.iter().flatten().map(|&at| at as i64).collect();
        let wanted: Vec<i64> = bags.iter().flatten().map(|&at| numbers[at]).collect();
        let rows = weight.index_select(0, &index(&wanted));
        if self.mode == BagMode::Max {
            return self.largest(&rows, &bags);
        }
        let rows = match per_sample_weights {
            Some(factors) => {
                let factors = factors.reshape([-1]).index_select(0, &index(&places));
                rows * factors.unsqueeze(1)
            }
            None => rows,
        };
        let owners: Vec<i64> = bags
            .iter()
            .enumerate()
            .flat_map(|(i, bag)| bag.iter().map(move |_| i as i64))
            .collect();
        let zeros = Tensor::zeros([bags.len(), rows.dims()[1]], (device, rows.dtype()));
        let sums = zeros.index_add(0, &index(&owners), &rows);
        if self.mode == BagMode::Sum {
            return sums;
        }
        let counts: Vec<f64> = bags.iter().map(|bag| bag.len().max(1) as f64).collect();
        sums / Tensor::from_slice(&counts, [bags.len(), 1], device).to_dtype(weight.dtype())
    }

    /// The largest components of each bag of rows.
    fn largest(&self, rows: &Tensor<B>, bags: &[Vec<usize>]) -> Tensor<B> {
        let (longest, size) = (bags.iter().map(Vec::len).max().unwrap_or(0), rows.dims()[1]);
        if longest == 0 {
            return Tensor::zeros([bags.len(), size], (rows.device(), rows.dtype()));
        }
        // A bag repeats its first row up to the longest; an empty one takes any, and is zeroed.
        let mut start = 0;
        let mut at = Vec::new();
        for bag in bags {
            at.extend((0..longest).map(
                |i| if bag.is_empty() { 0 } else { start + i * usize::from(i < bag.len()) } as i64,
            ));
            start += bag.len();
        }
        let at = Tensor::from_slice(&at, at.len(), rows.device());
        let padded =
            rows.index_select(0, &at).unflatten(0, [bags.len() as isize, longest as isize]);
        let (values, _) = padded.max_dim(1, false);
        let empty: Vec<bool> = bags.iter().map(Vec::is_empty).collect();
        let empty = Tensor::from_slice(&empty, [bags.len(), 1], rows.device());
        values.masked_fill(&empty, 0.0)
    }
}
