//! The loader: which batches come, in which order, and what happens when something goes wrong.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{Tensor, device};
use kiln_data::{
    BatchSampler, DataLoader, Dataset, Position, RandomSampler, Sampler, SubsetRandomSampler,
    TensorDataset, WeightedRandomSampler,
};
use kiln_tensor_core::{Error, Result, catch, raise};

/// Items that count how often they are read, and misbehave where told to.
#[derive(Clone)]
struct Numbers {
    len: usize,
    reads: Arc<AtomicUsize>,
    bad: Option<(usize, fn() -> Result<usize>)>,
}

fn numbers(len: usize) -> Numbers {
    Numbers { len, reads: Arc::default(), bad: None }
}

impl Dataset for Numbers {
    type Item = usize;
    fn len(&self) -> usize {
        self.len
    }
    fn get(&self, index: usize) -> Result<usize> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        match self.bad {
            Some((at, act)) if at == index => act(),
            _ => Ok(index),
        }
    }
}

type Lists = DataLoader<Numbers, Vec<usize>>;

fn lists(data: Numbers) -> Lists {
    DataLoader::with_collate(data, |items| items)
}

#[test]
fn in_order_with_a_last_short_batch() {
    let loader = lists(numbers(7)).batch_size(3);
    assert_eq!(loader.epoch().collect::<Vec<_>>(), [vec![0, 1, 2], vec![3, 4, 5], vec![6]]);
    assert_eq!((loader.len(), loader.epoch().len()), (3, 3));
    let loader = loader.drop_last(true);
    assert_eq!(loader.epoch().collect::<Vec<_>>(), [[0, 1, 2], [3, 4, 5]]);
    assert_eq!(loader.len(), 2);
    assert!(lists(numbers(0)).is_empty());
    assert_eq!(lists(numbers(0)).workers(2).epoch().count(), 0);
}

#[test]
fn shuffling_follows_seed_and_epoch() {
    let loader = |seed| lists(numbers(50)).batch_size(8).shuffle(seed);
    let first = loader(1);
    let epochs: Vec<Vec<usize>> = (0..3).map(|_| first.epoch().flatten().collect()).collect();
    assert_ne!(epochs[0], epochs[1]);
    assert_ne!(epochs[1], epochs[2]);
    for epoch in &epochs {
        let mut sorted = epoch.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }
    let again = loader(1);
    assert_eq!(again.epoch().flatten().collect::<Vec<_>>(), epochs[0]);
    assert_ne!(loader(2).epoch().flatten().collect::<Vec<_>>(), epochs[0]);
}

#[test]
fn workers_change_nothing() {
    let run = |workers, prefetch| -> Vec<Vec<usize>> {
        let data = numbers(101).map(|i| {
            // Later batches are often done first.
            std::thread::sleep(std::time::Duration::from_micros(if i % 7 == 0 { 300 } else { 0 }));
            i
        });
        let loader = DataLoader::with_collate(data, |items| items);
        let loader = loader.batch_size(4).shuffle(5).workers(workers).prefetch(prefetch);
        loader.epoch().chain(loader.epoch()).collect()
    };
    let wanted = run(0, 1);
    for (workers, prefetch) in [(1, 1), (2, 1), (3, 2), (8, 3), (100, 1)] {
        assert_eq!(run(workers, prefetch), wanted, "{workers} workers");
    }
}

#[test]
fn workers_are_ahead_by_no_more_than_asked() {
    let data = numbers(1000);
    let loader = lists(data.clone()).batch_size(1).workers(2).prefetch(3);
    let mut epoch = loader.epoch();
    for taken in 1..50 {
        epoch.next();
        assert!(data.reads.load(Ordering::SeqCst) <= taken + 6);
    }
    drop(epoch);
    // Dropping the iterator has stopped the workers.
    let reads = data.reads.load(Ordering::SeqCst);
    assert!(reads < 60);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(data.reads.load(Ordering::SeqCst), reads);
    assert_eq!(Arc::strong_count(&data.reads), 2);
}

#[test]
fn an_item_that_cannot_be_read_is_an_error_at_its_batch() {
    let damaged = || Err(Error::Format { what: "item".into(), why: "damaged".into() });
    for workers in [0, 3] {
        let data = Numbers { bad: Some((5, damaged)), ..numbers(12) };
        let loader = lists(data).batch_size(2).workers(workers);
        let batches: Vec<_> = loader.try_epoch().collect();
        assert_eq!(batches.len(), 6);
        for (at, batch) in batches.iter().enumerate() {
            match batch {
                Ok(batch) => assert_eq!(*batch, [2 * at, 2 * at + 1]),
                Err(error) => assert_eq!((at, error.to_string()), (2, "item: damaged".into())),
            }
        }
        assert!(batches[2].is_err());
        let error = catch(|| loader.epoch().count()).unwrap_err();
        assert!(matches!(error, Error::Format { .. }));
    }
}

#[test]
fn a_panic_in_a_worker_surfaces_at_the_consumer() {
    for workers in [0, 3] {
        let data = Numbers { bad: Some((5, || panic!("boom"))), ..numbers(12) };
        let loader = lists(data).batch_size(2).workers(workers);
        let mut epoch = loader.epoch();
        assert_eq!(epoch.next(), Some(vec![0, 1]));
        assert_eq!(epoch.next(), Some(vec![2, 3]));
        let payload = catch_unwind(AssertUnwindSafe(|| epoch.next())).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"boom"));
    }
}

#[test]
fn a_mistake_in_a_worker_keeps_its_type() {
    let mistake = || raise(Error::Argument { op: "f", why: "no".into() });
    for workers in [0, 3] {
        let data = Numbers { bad: Some((0, mistake)), ..numbers(4) };
        let error = catch(|| lists(data).workers(workers).try_epoch().count()).unwrap_err();
        assert!(matches!(error, Error::Argument { op: "f", .. }));
    }
}

#[test]
fn a_run_resumes_where_it_stopped() {
    for workers in [0, 2] {
        let loader = || lists(numbers(10)).batch_size(2).shuffle(3).workers(workers);
        let whole = loader();
        let all: Vec<_> = whole.epoch().chain(whole.epoch()).chain(whole.epoch()).collect();
        let stopped = loader();
        assert_eq!(stopped.epoch().count(), 5);
        assert_eq!(stopped.position(), Position { epoch: 1, batch: 0 });
        let mut epoch = stopped.epoch();
        epoch.next();
        epoch.next();
        assert_eq!(stopped.position(), Position { epoch: 1, batch: 2 });
        let resumed = loader();
        resumed.resume(stopped.position());
        let rest: Vec<_> = resumed.epoch().chain(resumed.epoch()).collect();
        assert_eq!(rest, all[7..]);
        assert_eq!(resumed.position(), Position { epoch: 3, batch: 0 });
    }
}

#[test]
fn leaving_an_epoch_early_starts_the_next_one() {
    let loader = lists(numbers(10)).batch_size(2).shuffle(3);
    let both: Vec<Vec<usize>> = loader.epoch().chain(loader.epoch()).collect();
    let loader = lists(numbers(10)).batch_size(2).shuffle(3);
    loader.epoch().next();
    assert_eq!(loader.epoch().next().unwrap(), both[5]);
}

#[test]
fn samplers_choose() {
    let taken: Vec<usize> = SubsetRandomSampler::new([7, 3, 5], 1).indices(0);
    let mut sorted = taken.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, [3, 5, 7]);

    let draws = RandomSampler::new(3, 1).with_replacement(300);
    assert_eq!((draws.count(), draws.indices(4).len()), (300, 300));
    assert!((0..3).all(|i| draws.indices(4).contains(&i)));

    let weights = [1.0, 0.0, 3.0, 0.0];
    let drawn = WeightedRandomSampler::new(weights, 8000, 1).indices(0);
    let twos = drawn.iter().filter(|&&i| i == 2).count();
    assert!(drawn.iter().all(|&i| i == 0 || i == 2));
    // Six standard deviations of 8000 draws with chance 3/4.
    assert!(twos.abs_diff(6000) < 233, "{twos}");

    let once = WeightedRandomSampler::new([1.0, 0.0, 3.0, 2.0], 3, 1).without_replacement();
    let mut firsts = [0; 4];
    for epoch in 0..3000 {
        let mut drawn = once.indices(epoch);
        firsts[drawn[0]] += 1;
        drawn.sort_unstable();
        assert_eq!(drawn, [0, 2, 3]);
    }
    // The first draw follows the weights; six standard deviations are 164.
    assert!(
        [500i32, 0, 1500, 1000].iter().zip(firsts).all(|(w, f)| (w - f).abs() < 164),
        "{firsts:?}"
    );

    for wrong in [vec![-1.0, 2.0], vec![f64::NAN], vec![0.0, 0.0], vec![]] {
        assert!(catch(|| WeightedRandomSampler::new(wrong, 1, 0)).is_err());
    }
    assert!(catch(|| WeightedRandomSampler::new(weights, 3, 0).without_replacement()).is_err());
}

#[test]
fn batch_samplers_choose_whole_batches() {
    struct Pairs;
    impl BatchSampler for Pairs {
        fn batches(&self, epoch: u64) -> Vec<Vec<usize>> {
            vec![vec![epoch as usize, 3], vec![1]]
        }
    }
    let loader = lists(numbers(4)).batch_sampler(Pairs);
    assert_eq!(loader.len(), 2);
    assert_eq!(loader.epoch().collect::<Vec<_>>(), [vec![0, 3], vec![1]]);
    assert_eq!(loader.epoch().next(), Some(vec![1, 3]));
    loader.resume(Position { epoch: 4, batch: 0 });
    let error = catch(|| loader.epoch().count()).unwrap_err();
    assert!(error.to_string().contains("item 4 of 4"), "{error}");
}

#[test]
fn tensor_batches_are_rows() {
    let x: Vec<f32> = (0..15).map(|v| v as f32).collect();
    let x = Tensor::from_slice(&x, [5, 3], &device());
    let y = Tensor::from_slice(&[0i64, 1, 2, 3, 4], [5], &device());
    let data = TensorDataset::new((x, y));
    let (row, label) = data.get(3).unwrap();
    assert_eq!((row.dims(), label.dims()), (&[3][..], &[][..]));
    assert_eq!(row.to_vec::<f32>(), [9.0, 10.0, 11.0]);

    // The fast path and item by item give the same, through a subset as well.
    let data = data.subset([4, 0, 2]);
    let (x, y) = data.batch(&[1, 0], 0).unwrap();
    assert_eq!(x.to_vec::<f32>(), [0.0, 1.0, 2.0, 12.0, 13.0, 14.0]);
    assert_eq!(y.to_vec::<i64>(), [0, 4]);
    let (slow, _) = data.clone().map(|item| item).batch(&[1, 0], 0).unwrap();
    assert_eq!((slow.dims(), slow.to_vec::<f32>()), (x.dims(), x.to_vec::<f32>()));

    assert_eq!(data.all().unwrap().1.to_vec::<i64>(), [4, 0, 2]);

    let loader = DataLoader::new(data).batch_size(2);
    let sizes: Vec<_> = loader.epoch().map(|(x, y)| (x.dims()[0], y.dims()[0])).collect();
    assert_eq!(sizes, [(2, 2), (1, 1)]);

    let (x, y) = (Tensor::zeros([5, 3], &device()), Tensor::zeros([4], &device()));
    assert!(matches!(catch(|| TensorDataset::new((x, y))), Err(Error::Shape { .. })));
}

#[test]
fn items_that_do_not_fit_together_are_refused() {
    let data = numbers(4).map(|i| (Tensor::zeros([2, i / 2], &device()), i as i64));
    let loader = DataLoader::new(data).batch_size(2);
    assert_eq!(loader.epoch().next().unwrap().1.to_vec::<i64>(), [0, 1]);
    let error = catch(|| {
        DataLoader::new(numbers(4).map(|i| Tensor::zeros([2, i], &device())))
            .batch_size(2)
            .epoch()
            .count()
    })
    .unwrap_err();
    assert!(
        error.to_string().contains("collate") && error.to_string().contains("[2, 1]"),
        "{error}"
    );
    let none = catch(|| numbers(0).map(|_| Tensor::zeros([2], &device())).all()).unwrap_err();
    assert!(none.to_string().contains("no items make no batch"), "{none}");
    assert!(catch(|| lists(numbers(4)).batch_size(0)).is_err());
    assert!(catch(|| lists(numbers(4)).prefetch(0)).is_err());
}
