//! Einstein summation.

use std::collections::BTreeMap;

use crate::autocast::{autocast_dtype, cast, set_autocast};
use crate::{Backend, Error, Shape, Tensor, ViewOp, raise};

impl<B: Backend> Tensor<B> {
    /// Sums products of elements by index letters: `torch.einsum`. Letters that the output lacks are
    /// summed over; a letter that one operand has twice takes its diagonal; `...` stands for leading
    /// dims that broadcast. Without `->`, the output has the letters that occur once, in order.
    ///
    /// ```
    /// use kiln_backend_cpu::{Cpu, CpuDevice};
    /// use kiln_tensor_core::Tensor;
    /// let a = Tensor::<Cpu>::from_slice(&[1.0, 2.0, 3.0, 4.0], [2, 2], &CpuDevice);
    /// let trace = Tensor::einsum("ii->", &[&a]);
    /// assert_eq!(trace.item(), 5.0);
    /// let gram = Tensor::einsum("ij,kj->ik", &[&a, &a]);
    /// assert_eq!(gram.to_vec::<f64>(), [5.0, 11.0, 11.0, 25.0]);
    /// ```
    ///
    /// # Panics
    /// If the equation is malformed or does not fit the operands.
    #[track_caller]
    pub fn einsum(equation: &str, operands: &[&Self]) -> Self {
        if autocast_dtype().is_some() {
            let narrow = |x: &&Self| cast("einsum", [*x]).map_or((*x).clone(), |(_, [x])| x);
            let narrow: Vec<Self> = operands.iter().map(narrow).collect();
            let _inside = set_autocast(None);
            return Self::einsum(equation, &narrow.iter().collect::<Vec<_>>());
        }
        let plan = Plan::new(equation, operands);
        let mut terms: Vec<(Tensor<B>, Vec<Index>)> = operands
            .iter()
            .zip(&plan.inputs)
            .map(|(x, indices)| diagonals((*x).clone(), indices.clone()))
            .collect();
        let (mut product, mut indices) = terms.remove(0);
        for (i, (other, others)) in terms.iter().enumerate() {
            let later = terms[i + 1..].iter().flat_map(|(_, indices)| indices);
            let needed: Vec<Index> = plan.output.iter().chain(later).copied().collect();
            (product, indices) = contract((&product, &indices), (other, others), &needed);
        }
        let (product, indices) = summed(product, indices, &plan.output);
        let order: Vec<isize> = plan.output.iter().map(|i| place(&indices, i) as isize).collect();
        product.permute(order).named("einsum", operands)
    }
}

/// A letter, or a dim that `...` stands for (counted from the last).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Index {
    Dots(usize),
    Letter(char),
}

struct Plan {
    inputs: Vec<Vec<Index>>,
    output: Vec<Index>,
}

impl Plan {
    #[track_caller]
    fn new<B: Backend>(equation: &str, operands: &[&Tensor<B>]) -> Plan {
        let wrong = |why: String| -> ! {
            let shapes = operands.iter().map(|x| x.shape().clone()).collect();
            raise(Error::Shape { op: "einsum", shapes, why: format!("`{equation}`: {why}") })
        };
        let compact: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match compact.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (compact.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != operands.len() || operands.is_empty() {
            wrong(format!("{} terms for {} operands", terms.len(), operands.len()));
        }
        let parse = |term: &str, rank: Option<usize>, dots: usize| -> Vec<Index> {
            let letters = term.replacen("...", "", 1);
            if let Some(bad) = letters.chars().find(|c| !c.is_ascii_alphabetic()) {
                wrong(format!("`{bad}` is no index letter"));
            }
            let dots = match (term.contains("..."), rank) {
                (true, Some(rank)) => rank.checked_sub(letters.len()),
                (true, None) => Some(dots),
                (false, _) => Some(0),
            };
            let fits = |dots: usize| rank.is_none_or(|rank| rank == letters.len() + dots);
            let Some(dots) = dots.filter(|&dots| fits(dots)) else {
                wrong(format!("the term `{term}` does not have an operand's rank"));
            };
            let head = term.find("...").unwrap_or(0);
            let (before, after) = letters.split_at(head);
            let ellipsis = (0..dots).rev().map(Index::Dots);
            let letters = |part: &str| part.chars().map(Index::Letter).collect::<Vec<_>>();
            letters(before).into_iter().chain(ellipsis).chain(letters(after)).collect()
        };
        let inputs: Vec<Vec<Index>> = terms
            .iter()
            .zip(operands)
            .map(|(term, operand)| parse(term, Some(operand.rank()), 0))
            .collect();
        let mut sizes: BTreeMap<Index, (usize, usize)> = BTreeMap::new();
        for (operand, indices) in operands.iter().zip(&inputs) {
            operands[0].alike("einsum", [*operand]);
            for (&index, &size) in indices.iter().zip(operand.dims()) {
                let (known, count) = sizes.entry(index).or_insert((size, 0));
                let fits = *known == size || size == 1 || *known == 1;
                if !fits {
                    wrong(format!("an index has sizes {known} and {size}"));
                }
                *known = if *known == 1 { size } else { *known };
                *count += 1;
            }
        }
        let widest = sizes.keys().filter(|index| matches!(index, Index::Dots(_))).count();
        let output = match right {
            Some(term) => parse(term, None, widest),
            None => {
                let dots = (0..widest).rev().map(Index::Dots);
                let once = |(index, (_, count)): (&Index, &(usize, usize))| {
                    (matches!(index, Index::Letter(_)) && *count == 1).then_some(*index)
                };
                dots.chain(sizes.iter().filter_map(once)).collect()
            }
        };
        for (i, index) in output.iter().enumerate() {
            if !sizes.contains_key(index) || output[..i].contains(index) {
                wrong(format!("the output's {index:?} is not one index of the operands"));
            }
        }
        Plan { inputs, output }
    }
}

fn place(indices: &[Index], index: &Index) -> usize {
    indices.iter().position(|i| i == index).expect("checked when the equation was read")
}

/// Takes the diagonal of every index that an operand has twice.
fn diagonals<B: Backend>(mut x: Tensor<B>, mut indices: Vec<Index>) -> (Tensor<B>, Vec<Index>) {
    let twice = |indices: &[Index]| {
        (1..indices.len())
            .find_map(|j| Some((indices[..j].iter().position(|i| *i == indices[j])?, j)))
    };
    while let Some((dim1, dim2)) = twice(&indices) {
        x = x.view_as_op(&ViewOp::Diagonal { offset: 0, dim1, dim2 });
        let index = indices.remove(dim2);
        indices.remove(dim1);
        indices.push(index);
    }
    (x, indices)
}

/// Sums over the indices that are not needed any more.
fn summed<B: Backend>(
    x: Tensor<B>,
    indices: Vec<Index>,
    needed: &[Index],
) -> (Tensor<B>, Vec<Index>) {
    let over: Vec<isize> =
        (0..indices.len()).filter(|&d| !needed.contains(&indices[d])).map(|d| d as isize).collect();
    if over.is_empty() {
        return (x, indices);
    }
    let dtype = x.dtype();
    let x = x.sum_dims(over, false).to_dtype(dtype);
    (x, indices.into_iter().filter(|i| needed.contains(i)).collect())
}

/// Multiplies two operands as one batched matrix product: common needed indices are the batch,
/// common others are summed over.
fn contract<B: Backend>(
    (a, ai): (&Tensor<B>, &[Index]),
    (b, bi): (&Tensor<B>, &[Index]),
    needed: &[Index],
) -> (Tensor<B>, Vec<Index>) {
    // What only one side has and nobody needs can be summed before the product.
    let with = |other: &[Index]| [needed, other].concat();
    let (a, ai) = summed(a.clone(), ai.to_vec(), &with(bi));
    let (b, bi) = summed(b.clone(), bi.to_vec(), &with(&ai));
    let both = |i: &&Index| bi.contains(i);
    let batch: Vec<Index> =
        ai.iter().filter(both).filter(|i| needed.contains(i)).copied().collect();
    let inner: Vec<Index> =
        ai.iter().filter(both).filter(|i| !needed.contains(i)).copied().collect();
    let left: Vec<Index> = ai.iter().filter(|i| !bi.contains(i)).copied().collect();
    let right: Vec<Index> = bi.iter().filter(|i| !ai.contains(i)).copied().collect();
    let size = |i: &Index| {
        let of = |x: &Tensor<B>, indices: &[Index]| {
            indices.iter().position(|j| j == i).map_or(1, |d| x.dims()[d])
        };
        // An index that one side lacks, or has with size 1, is as long as the other's: 0 as well.
        match of(&a, &ai) {
            1 => of(&b, &bi),
            size => size,
        }
    };
    let sizes = |indices: &[Index]| indices.iter().map(size).collect::<Shape>();
    let arranged = |x: &Tensor<B>, indices: &[Index], parts: [&[Index]; 3]| {
        let order: Vec<Index> = parts.concat();
        let dims: Vec<isize> = order.iter().map(|i| place(indices, i) as isize).collect();
        let shape = parts.map(|part| sizes(part).numel());
        x.permute(dims).expand(sizes(&order)).reshape_to(&shape.into())
    };
    let product = arranged(&a, &ai, [&batch, &left, &inner]).matmul(&arranged(
        &b,
        &bi,
        [&batch, &inner, &right],
    ));
    let indices = [batch, left, right].concat();
    (product.reshape_to(&sizes(&indices)), indices)
}
