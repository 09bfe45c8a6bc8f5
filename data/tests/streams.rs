//! Streams, datasets made of several, and samplers that divide.

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Tensor, device};
use kiln_data::{
    BatchSampler, Batched, ChainDataset, ConcatDataset, DataLoader, Dataset, DistributedSampler,
    IterableDataset, IterableLoader, Sampler, SequentialSampler, Shard, StackDataset,
    StratifiedSampler, TensorDataset, pad_batch,
};
use kiln_tensor_core::{Error, Result, catch};

/// Counts up; item `bad` cannot be read, and `worse` panics.
struct Numbers {
    len: i64,
    bad: i64,
    worse: i64,
}

fn numbers(len: i64) -> Numbers {
    Numbers { len, bad: -1, worse: -1 }
}

impl IterableDataset for Numbers {
    type Item = Tensor;

    fn iter(
        &self,
        shard: Shard,
        epoch: u64,
    ) -> Box<dyn Iterator<Item = Result<Tensor>> + Send + '_> {
        Box::new(shard.of(0..self.len).map(move |i| {
            assert!(i != self.worse, "item {i} is worse");
            if i == self.bad {
                return Err(Error::Format { what: "stream".into(), why: format!("item {i}") });
            }
            Ok(Tensor::from_slice(&[i + 100 * epoch as i64], [], &device()))
        }))
    }
}

fn epoch<D: IterableDataset<Item = Tensor> + 'static>(
    loader: &IterableLoader<D>,
    number: u64,
) -> Vec<Vec<i64>> {
    loader.epoch(number).map(|batch| batch.to_vec()).collect()
}

#[test]
fn workers_read_shards_and_take_turns() {
    let loader = IterableLoader::new(numbers(7)).batch_size(2);
    assert_eq!(epoch(&loader, 1), [vec![100, 101], vec![102, 103], vec![104, 105], vec![106]]);
    let loader = IterableLoader::new(numbers(7)).batch_size(2).workers(2);
    let turns = [vec![0, 2], vec![1, 3], vec![4, 6], vec![5]];
    for _ in 0..20 {
        assert_eq!(epoch(&loader, 0), turns);
    }
    let loader = IterableLoader::new(numbers(7)).batch_size(2).workers(2).drop_last(true);
    assert_eq!(epoch(&loader, 0), turns[..3]);
    // More workers than items.
    let loader = IterableLoader::new(numbers(3)).workers(5);
    assert_eq!(epoch(&loader, 0), [[0], [1], [2]]);
    let chain = IterableLoader::new(ChainDataset(numbers(2), numbers(3))).batch_size(9);
    assert_eq!(epoch(&chain, 0), [[0, 1, 0, 1, 2]]);
}

#[test]
fn errors_and_panics_of_a_stream_reach_the_caller() {
    for workers in [0, 3] {
        let stream = Numbers { bad: 4, ..numbers(9) };
        let loader = IterableLoader::new(stream).workers(workers);
        let results: Vec<_> = loader.try_epoch(0).collect();
        assert_eq!(results.len(), 9);
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
        assert!(matches!(catch(|| epoch(&loader, 0)), Err(Error::Format { .. })));
        let stream = Numbers { worse: 4, ..numbers(9) };
        let loader = IterableLoader::new(stream).workers(workers);
        let panic = std::panic::catch_unwind(|| epoch(&loader, 0)).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().contains("item 4 is worse"));
    }
}

/// Many workers, early drops, errors and panics, again and again: nothing hangs, nothing is lost, and no
/// thread outlives its epoch.
#[test]
fn loaders_survive_everything_at_once() {
    struct Rough<'a>(&'a AtomicUsize);
    impl Dataset for Rough<'_> {
        type Item = Tensor;
        fn len(&self) -> usize {
            200
        }
        fn get(&self, index: usize) -> Result<Tensor> {
            self.0.fetch_add(1, Ordering::SeqCst);
            match index % 50 {
                17 => Err(Error::Format { what: "rough".into(), why: index.to_string() }),
                33 => panic!("item {index}"),
                _ => Ok(Tensor::from_slice(&[index as i64], [], &device())),
            }
        }
    }
    static READ: AtomicUsize = AtomicUsize::new(0);
    for round in 0..60 {
        let loader = DataLoader::new(Rough(&READ)).shuffle(round).workers(1 + round as usize % 16);
        let mut batches = loader.try_epoch();
        let stop = round as usize * 7 % 220;
        let (mut good, mut errors, mut panics) = (0, 0, 0);
        for _ in 0..stop {
            let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| batches.next()));
            match next {
                Ok(Some(Ok(_))) => good += 1,
                Ok(Some(Err(_))) => errors += 1,
                Ok(None) => break,
                Err(_) => panics += 1,
            }
        }
        assert_eq!(good + errors + panics, stop.min(200), "round {round}");
        drop(batches);
        // Whoever has dropped an epoch has waited for its threads.
        let read = READ.load(Ordering::SeqCst);
        std::thread::yield_now();
        assert_eq!(READ.load(Ordering::SeqCst), read);
        let stream = Numbers { bad: 5, worse: 40, ..numbers(60) };
        let loader = IterableLoader::new(stream).workers(1 + round as usize % 7);
        let first: Vec<_> = loader.try_epoch(0).take(round as usize % 9).collect();
        assert_eq!(first.len(), round as usize % 9);
    }
}

#[test]
fn datasets_of_several() {
    let part = |from: i64, len: usize| {
        let values: Vec<i64> = (from..from + len as i64).collect();
        TensorDataset::new(Tensor::from_slice(&values, [len], &device()))
    };
    let all = ConcatDataset::new([part(0, 2), part(10, 0), part(20, 3)]);
    assert_eq!((all.len(), all.datasets().len()), (5, 3));
    let items: Vec<i64> = (0..5).map(|i| all.get(i).unwrap().to_vec::<i64>()[0]).collect();
    assert_eq!(items, [0, 1, 20, 21, 22]);
    assert!(ConcatDataset::<TensorDataset<Tensor>>::new([]).is_empty());
    let pairs = StackDataset::new(part(0, 3), part(50, 3));
    let (a, b) = pairs.get(2).unwrap();
    assert_eq!((a.to_vec::<i64>(), b.to_vec::<i64>()), (vec![2], vec![52]));
    assert!(catch(|| StackDataset::new(part(0, 3), part(0, 2))).is_err());
}

#[test]
fn shares_are_disjoint_and_of_one_length() {
    let share = |rank| DistributedSampler::new(10, 4, rank, 3);
    let all: Vec<Vec<usize>> = (0..4).map(|rank| share(rank).indices(5)).collect();
    assert!(all.iter().all(|indices| indices.len() == share(0).count()));
    let mut once = all.concat();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once, (0..10).collect::<Vec<_>>());
    assert_eq!(all.concat().len(), 12);
    assert_ne!(share(0).indices(5), share(0).indices(6));
    assert!(catch(|| DistributedSampler::new(3, 2, 2, 0)).is_err());
}

#[test]
fn every_stretch_of_a_stratified_epoch_has_the_classes_in_proportion() {
    // 50, 30 and 20 items of three classes.
    let labels: Vec<i64> =
        (0..100).map(|i| if i < 50 { 0 } else { i64::from(i >= 80) + 1 }).collect();
    let sampler = StratifiedSampler::new(labels.clone(), 1);
    let order = sampler.indices(0);
    for batch in order.chunks(10) {
        let count = |class| batch.iter().filter(|&&i| labels[i] == class).count();
        assert!(
            count(0).abs_diff(5) <= 1 && count(1).abs_diff(3) <= 1 && count(2).abs_diff(2) <= 1
        );
    }
    assert_ne!(order, sampler.indices(1));
    let mut once = order;
    once.sort_unstable();
    assert_eq!(once, (0..sampler.count()).collect::<Vec<_>>());
}

#[test]
fn batches_of_a_sampler() {
    let batched = |drop_last| Batched::new(SequentialSampler(5), 2, drop_last);
    assert_eq!(batched(false).batches(0), [vec![0, 1], vec![2, 3], vec![4]]);
    assert_eq!(batched(true).batches(0), [[0, 1], [2, 3]]);
    assert_eq!((batched(false).count(), batched(true).count()), (3, 2));
    assert!(catch(|| Batched::new(SequentialSampler(5), 0, true)).is_err());
}

#[test]
fn sequences_of_different_lengths_make_a_batch() {
    /// Item i is i + 1 rows of i.
    struct Rows;
    impl Dataset for Rows {
        type Item = Tensor;
        fn len(&self) -> usize {
            5
        }
        fn get(&self, index: usize) -> Result<Tensor> {
            Ok(Tensor::from_slice(&vec![index as f32; 2 * (index + 1)], [index + 1, 2], &device()))
        }
    }
    let loader =
        DataLoader::with_collate(Rows, |items| pad_batch(&items, -1)).batch_size(2).workers(2);
    let batches: Vec<(Tensor, Tensor)> = loader.epoch().collect();
    assert_eq!(batches[0].0.dims(), [2, 2, 2]);
    assert_eq!(batches[0].0.to_vec::<f32>(), [0.0, 0.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!(batches[1].1.to_vec::<i64>(), [3, 4]);
    assert_eq!(batches[2].0.dims(), [1, 5, 2]);
    let (a, b) = (Tensor::zeros([2, 3], &device()), Tensor::zeros([2, 4], &device()));
    assert!(catch(|| pad_batch(&[a.clone(), b], 0)).is_err());
    assert!(catch(|| pad_batch(&[a.sum()], 0)).is_err());
    assert!(catch(|| pad_batch::<kiln_conformance::Reference>(&[], 0)).is_err());
    assert_eq!(pad_batch(&[a.narrow(0, 0, 0), a], 0).0.dims(), [2, 2, 3]);
}
