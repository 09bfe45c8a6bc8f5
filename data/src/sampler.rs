//! Which items an epoch has, and in which order.

use kiln_tensor_core::{Error, raise};

use crate::Rng;

/// Chooses the items of each epoch. The choice depends on the sampler and the epoch alone.
pub trait Sampler: Send + Sync {
    /// The positions of epoch `epoch`, in order.
    fn indices(&self, epoch: u64) -> Vec<usize>;

    /// How many positions an epoch has.
    fn count(&self) -> usize {
        self.indices(0).len()
    }
}

/// Chooses the items of each epoch, batch by batch.
pub trait BatchSampler: Send + Sync {
    /// The positions of each batch of epoch `epoch`, in order; no batch is empty.
    fn batches(&self, epoch: u64) -> Vec<Vec<usize>>;

    /// How many batches an epoch has.
    fn count(&self) -> usize {
        self.batches(0).len()
    }
}

/// All items in their own order: `torch.utils.data.SequentialSampler`.
#[derive(Clone, Debug)]
pub struct SequentialSampler(
    /// How many items there are.
    pub usize,
);

impl Sampler for SequentialSampler {
    fn indices(&self, _epoch: u64) -> Vec<usize> {
        (0..self.0).collect()
    }

    fn count(&self) -> usize {
        self.0
    }
}

/// Items in random order: `torch.utils.data.RandomSampler`.
#[derive(Clone, Debug)]
pub struct RandomSampler {
    len: usize,
    seed: u64,
    draws: Option<usize>,
}

impl RandomSampler {
    /// Each of `len` items once.
    pub fn new(len: usize, seed: u64) -> Self {
        RandomSampler { len, seed, draws: None }
    }

    /// `draws` independent draws instead, in which an item may come several times or never.
    pub fn with_replacement(mut self, draws: usize) -> Self {
        self.draws = Some(draws);
        self
    }
}

impl Sampler for RandomSampler {
    fn indices(&self, epoch: u64) -> Vec<usize> {
        let mut rng = Rng::new(self.seed, epoch);
        match self.draws {
            None => rng.permutation(self.len),
            Some(_) if self.len == 0 => Vec::new(),
            Some(draws) => (0..draws).map(|_| rng.below(self.len)).collect(),
        }
    }

    fn count(&self) -> usize {
        if self.len == 0 { 0 } else { self.draws.unwrap_or(self.len) }
    }
}

/// The items at given positions in random order: `torch.utils.data.SubsetRandomSampler`.
#[derive(Clone, Debug)]
pub struct SubsetRandomSampler {
    indices: Vec<usize>,
    seed: u64,
}

impl SubsetRandomSampler {
    /// Each of these positions once.
    pub fn new(indices: impl Into<Vec<usize>>, seed: u64) -> Self {
        SubsetRandomSampler { indices: indices.into(), seed }
    }
}

impl Sampler for SubsetRandomSampler {
    fn indices(&self, epoch: u64) -> Vec<usize> {
        let mut indices = self.indices.clone();
        Rng::new(self.seed, epoch).shuffle(&mut indices);
        indices
    }
}

/// Items by weight, so that rare ones come more often: `torch.utils.data.WeightedRandomSampler`.
///
/// ```
/// use kiln_data::{Sampler, WeightedRandomSampler};
/// let sampler = WeightedRandomSampler::new([0.0, 3.0, 1.0], 5, 42);
/// assert!(sampler.indices(0).iter().all(|&i| i > 0));
/// ```
#[derive(Clone, Debug)]
pub struct WeightedRandomSampler {
    weights: Vec<f64>,
    draws: usize,
    seed: u64,
    replacement: bool,
}

impl WeightedRandomSampler {
    /// `draws` independent draws; item `i` has the chance `weights[i]` over their sum.
    ///
    /// # Panics
    /// If a weight is negative or not finite, or all are 0.
    #[track_caller]
    pub fn new(weights: impl Into<Vec<f64>>, draws: usize, seed: u64) -> Self {
        let weights = weights.into();
        let sum: f64 = weights.iter().sum();
        if weights.iter().any(|w| !w.is_finite() || *w < 0.0) || sum == 0.0 || !sum.is_finite() {
            raise(Error::Argument {
                op: "WeightedRandomSampler",
                why: "weights must be finite, not negative, and not all 0".into(),
            });
        }
        WeightedRandomSampler { weights, draws, seed, replacement: true }
    }

    /// An item comes once at most.
    ///
    /// # Panics
    /// If fewer items have a weight above 0 than are drawn.
    #[track_caller]
    pub fn without_replacement(mut self) -> Self {
        let possible = self.weights.iter().filter(|&&w| w > 0.0).count();
        if self.draws > possible {
            raise(Error::Argument {
                op: "WeightedRandomSampler",
                why: format!("{} draws without replacement from {possible} items", self.draws),
            });
        }
        self.replacement = false;
        self
    }
}

impl Sampler for WeightedRandomSampler {
    fn indices(&self, epoch: u64) -> Vec<usize> {
        let mut rng = Rng::new(self.seed, epoch);
        if self.replacement {
            let mut sum = 0.0;
            let sums: Vec<f64> = self.weights.iter().map(|w| (sum += w, sum).1).collect();
            // Rounding may carry a draw up to the sum itself: the last item that has a weight takes it.
            let last = self.weights.iter().rposition(|&w| w > 0.0).unwrap_or(0);
            let draw = |_| {
                let at = rng.uniform() * sum;
                sums.partition_point(|&s| s <= at).min(last)
            };
            return (0..self.draws).map(draw).collect();
        }
        // Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006: the items whose
        // exponential waiting times with rate `weight` are shortest.
        let wait = |(at, &weight): (usize, &f64)| (-(1.0 - rng.uniform()).ln() / weight, at);
        let mut waits: Vec<(f64, usize)> = self.weights.iter().enumerate().map(wait).collect();
        waits.retain(|&(_, at)| self.weights[at] > 0.0);
        waits.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        waits.into_iter().take(self.draws).map(|(_, at)| at).collect()
    }
}

/// Items in random order in which every stretch has the classes in their proportions, as nearly as whole
/// items allow: batches of any size are stratified.
///
/// ```
/// use kiln_data::{Sampler, StratifiedSampler};
/// let labels = [0, 0, 0, 0, 0, 0, 1, 1, 1];
/// let batch: Vec<i64> = StratifiedSampler::new(labels, 7).indices(0)[..3].iter().map(|&i| labels[i]).collect();
/// assert_eq!(batch.iter().sum::<i64>(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct StratifiedSampler {
    labels: Vec<i64>,
    seed: u64,
}

impl StratifiedSampler {
    /// Each item once; `labels` holds the class of each.
    pub fn new(labels: impl Into<Vec<i64>>, seed: u64) -> Self {
        StratifiedSampler { labels: labels.into(), seed }
    }
}

impl Sampler for StratifiedSampler {
    fn indices(&self, epoch: u64) -> Vec<usize> {
        let mut rng = Rng::new(self.seed, epoch);
        let mut order = rng.permutation(self.labels.len());
        order.sort_by_key(|&i| self.labels[i]);
        // The items of a class lie evenly between 0 and 1; of equal places, classes take turns.
        let mut placed: Vec<(f64, usize)> = Vec::with_capacity(order.len());
        for class in order.chunk_by(|&a, &b| self.labels[a] == self.labels[b]) {
            let place = |at: usize| (at as f64 + 0.5) / class.len() as f64;
            placed.extend(class.iter().enumerate().map(|(at, &i)| (place(at), i)));
        }
        placed.sort_by(|a, b| a.0.total_cmp(&b.0));
        placed.into_iter().map(|(_, i)| i).collect()
    }

    fn count(&self) -> usize {
        self.labels.len()
    }
}

/// The share of one of several processes, each item in one share, in random order:
/// `torch.utils.data.DistributedSampler`. Shares have one length: some items come twice if the processes do
/// not divide the items.
#[derive(Clone, Debug)]
pub struct DistributedSampler {
    len: usize,
    replicas: usize,
    rank: usize,
    seed: u64,
}

impl DistributedSampler {
    /// The share of process `rank` of `replicas`, of `len` items.
    ///
    /// # Panics
    /// If there is no such process.
    #[track_caller]
    pub fn new(len: usize, replicas: usize, rank: usize, seed: u64) -> Self {
        if rank >= replicas {
            let why = format!("there is no process {rank} of {replicas}");
            raise(Error::Argument { op: "DistributedSampler", why });
        }
        DistributedSampler { len, replicas, rank, seed }
    }
}

impl Sampler for DistributedSampler {
    fn indices(&self, epoch: u64) -> Vec<usize> {
        let order = Rng::new(self.seed, epoch).permutation(self.len);
        let all = order.iter().cycle().take(self.count() * self.replicas);
        all.skip(self.rank).step_by(self.replicas).copied().collect()
    }

    fn count(&self) -> usize {
        self.len.div_ceil(self.replicas)
    }
}

/// Batches of a sampler's items: `torch.utils.data.BatchSampler`, the class. Of several, batches from
/// different samplers can be put in one epoch; for one, a loader's own batch size does the same.
#[derive(Clone, Debug)]
pub struct Batched<S> {
    sampler: S,
    batch_size: usize,
    drop_last: bool,
}

impl<S: Sampler> Batched<S> {
    /// Batches of `batch_size` items; a last one that is not full is left out if `drop_last`.
    ///
    /// # Panics
    /// If `batch_size` is 0.
    #[track_caller]
    pub fn new(sampler: S, batch_size: usize, drop_last: bool) -> Self {
        Batched { sampler, batch_size: items("Batched", batch_size), drop_last }
    }
}

/// The size of a batch, which is not 0.
#[track_caller]
pub(crate) fn items(op: &'static str, batch_size: usize) -> usize {
    if batch_size == 0 {
        raise(Error::Argument { op, why: "a batch holds at least one item".into() });
    }
    batch_size
}

impl<S: Sampler> BatchSampler for Batched<S> {
    fn batches(&self, epoch: u64) -> Vec<Vec<usize>> {
        let indices = self.sampler.indices(epoch);
        let full = |batch: &&[usize]| !self.drop_last || batch.len() == self.batch_size;
        indices.chunks(self.batch_size).filter(full).map(<[usize]>::to_vec).collect()
    }

    fn count(&self) -> usize {
        let items = self.sampler.count();
        if self.drop_last { items / self.batch_size } else { items.div_ceil(self.batch_size) }
    }
}
