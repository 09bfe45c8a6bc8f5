//! Datasets made of others.

mod common;

use kiln_data::{Dataset, digits};
use kiln_tensor_core::{Result, catch};

#[derive(Clone, Debug)]
struct Numbers(usize);

impl Dataset for Numbers {
    type Item = usize;
    fn len(&self) -> usize {
        self.0
    }
    fn get(&self, index: usize) -> Result<usize> {
        Ok(index)
    }
}

fn items(data: &impl Dataset<Item = usize>) -> Vec<usize> {
    (0..data.len()).map(|i| data.get(i).unwrap()).collect()
}

#[test]
fn combinators() {
    let data = Numbers(4).map(|i| 10 * i).subset([3, 1]).concat(Numbers(2));
    assert_eq!(items(&data), [30, 10, 0, 1]);
    assert!(catch(|| Numbers(3).subset([0, 3])).is_err());
}

#[test]
fn random_split_takes_each_item_once() {
    let [a, b, c] = Numbers(10).random_split([5, 3, 2], 7);
    assert_eq!([a.len(), b.len(), c.len()], [5, 3, 2]);
    let mut all = [items(&a), items(&b), items(&c)].concat();
    assert_ne!(all, (0..10).collect::<Vec<_>>());
    all.sort_unstable();
    assert_eq!(all, (0..10).collect::<Vec<_>>());
    let [again, ..] = Numbers(10).random_split([5, 3, 2], 7);
    assert_eq!(items(&a), items(&again));
    let [other, ..] = Numbers(10).random_split([5, 3, 2], 8);
    assert_ne!(items(&a), items(&other));
}

#[test]
fn fractions_round_as_in_pytorch() {
    let lens = |len, fractions: [f64; 3]| Numbers(len).random_split(fractions, 0).map(|p| p.len());
    // random_split(range(10), [1/3, 1/3, 1/3]) has parts of 4, 3 and 3.
    assert_eq!(lens(10, [1.0 / 3.0; 3]), [4, 3, 3]);
    assert_eq!(lens(11, [0.5, 0.25, 0.25]), [6, 3, 2]);
    assert_eq!(lens(0, [0.5, 0.25, 0.25]), [0, 0, 0]);
    for wrong in [[0.5, 0.5, 0.5], [1.5, -0.25, -0.25], [f64::NAN, 0.5, 0.5]] {
        assert!(catch(|| Numbers(10).random_split(wrong, 0)).is_err(), "{wrong:?}");
    }
    assert!(catch(|| Numbers(10).random_split([5, 4], 0)).is_err());
}

#[test]
fn stratified_split_keeps_the_classes_in_proportion() {
    let data = digits();
    let labels = data.labels().to_vec();
    let [train, test] = data.stratified_split(&labels, [1437, 360], 3);
    assert_eq!([train.len(), test.len()], [1437, 360]);
    for class in 0..10 {
        let count = |indices: &[usize]| indices.iter().filter(|&&i| labels[i] == class).count();
        let all = labels.iter().filter(|&&l| l == class).count();
        let share = all as f64 * 360.0 / 1797.0;
        assert!((count(test.indices()) as f64 - share).abs() < 1.5, "class {class}");
    }
    let mut all = [train.indices(), test.indices()].concat();
    all.sort_unstable();
    assert_eq!(all, (0..1797).collect::<Vec<_>>());
    // The parts are not in the order of the classes.
    let head: Vec<i64> = test.indices()[..20].iter().map(|&i| labels[i]).collect();
    assert!(head.iter().any(|&l| l != head[0]));
}
