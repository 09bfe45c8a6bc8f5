//! Products of vectors and matrices, each against loops over every index of an equation.

use kiln_tensor_core::{Shape, Tensor};

use super::plain::{Plain, shaped, shaped_values};
use super::{Oracle, make_rows};
use crate::agree::Tolerance;
use crate::host::indices;
use crate::layouts::{FLOATS, NUMBERS};
use crate::strategies::{Gen, NORMAL, Purpose, Sample};
use crate::{Form, Host};

const SUM: Tolerance =
    Tolerance::new(8.0, 256.0, "sums of up to 60 products of two or three").stored(2.0);

/// The letters that equations are written in.
const LETTERS: &str = "bijk";

fn letter(c: char) -> usize {
    LETTERS.find(c).expect("a letter of an equation")
}

/// The operands of `terms`, as in `ij,jk`: a size is drawn for each letter.
fn operands(g: &mut Gen, terms: &str) -> Sample {
    let mut sizes = g.shuffled(match g.purpose {
        Purpose::Forward => &[2, 3, 5, 4],
        Purpose::Gradient => &[2, 3, 1, 2],
        Purpose::Speed => &[64; 4],
    });
    if g.form == Form::Empty {
        let none = g.below(sizes.len());
        sizes[none] = 0;
    }
    let shape = |term: &str| -> Shape { term.chars().map(|c| sizes[letter(c)]).collect() };
    Sample::new(terms.split(',').map(|term| g.values(&shape(term), NORMAL)).collect::<Vec<_>>())
}

/// The sum, over all letters that the result lacks, of the products of elements.
fn einsum(h: &[Host], equation: &str) -> Plain {
    let (terms, result) = equation.split_once("->").expect("an equation");
    let mut sizes = [1; LETTERS.len()];
    for (x, term) in h.iter().zip(terms.split(',')) {
        term.chars().zip(&x.shape[..]).for_each(|(c, &n)| sizes[letter(c)] = n);
    }
    // Letters that do not occur have the size 1.
    let to: Shape = result.chars().map(|c| sizes[letter(c)]).collect();
    let mut out = vec![0.0; to.numel()];
    for all in indices(&sizes) {
        let own = |term: &str| term.chars().map(|c| all[letter(c)]).collect::<Vec<_>>();
        let factor = |(x, term): (&Host, &str)| x.get(&own(term)).to_f64();
        let product: f64 = h.iter().zip(terms.split(',')).map(factor).product();
        let place = own(result).iter().zip(&to[..]).fold(0, |at, (&i, &n)| at * n + i);
        out[place] += product;
    }
    (to, out)
}

/// `0.5 · x + 2 · product`, where `x` broadcasts.
fn added(x: &Host, (to, product): Plain) -> Plain {
    let element = |(i, product): (&Vec<usize>, f64)| {
        let own = &i[i.len() - x.shape.rank()..];
        let at: Vec<usize> = own.iter().zip(&x.shape[..]).map(|(&i, &n)| i.min(n - 1)).collect();
        x.get(&at).to_f64() * 0.5 + 2.0 * product
    };
    let values = indices(&to).iter().zip(product).map(element).collect();
    (to, values)
}

/// Equations as they are written, and in full.
const EQUATIONS: &[(&str, &str)] = &[
    ("ij,jk->ki", "ij,jk->ki"),
    ("ij , jk", "ij,jk->ik"),
    ("bij,bjk,k->b", "bij,bjk,k->b"),
    ("...ij,...jk->...ik", "bij,jk->bik"),
    ("...ij->...", "bij->b"),
    ("ji", "ji->ij"),
    ("ii", "ii->"),
    ("ii->i", "ii->i"),
    ("iij,j->i", "iij,j->i"),
    ("i,j->ij", "i,j->ij"),
    ("bij,bij->b", "bij,bij->b"),
    ("ij,kj,b->bik", "ij,kj,b->bik"),
];

/// Rows of products: dtypes, the operands' letters, the call, and what is right.
macro_rules! products {
    (($d:tt) $($name:ident $dtypes:ident $terms:literal |$x:ident| $call:expr; |$h:ident| $right:expr;)*
      @ { $($rest:tt)* }) => {
        make_rows! { ($d) products "products";
            $($name {
                dtypes: $dtypes,
                sample: |g| operands(g, $terms),
                run: |$x, _| shaped($call),
                oracle: Oracle::Values(|s| {
                    let $h = &s.inputs[..];
                    shaped_values($right)
                }),
                tolerance: SUM,
                kinks: &[],
                order: 2,
            })*
            $($rest)*
        }
    };
}

products! { ($)
    dot NUMBERS "i,i" |x| vec![x[0].dot(&x[1])]; |h| vec![einsum(h, "i,i->")];
    outer NUMBERS "i,j" |x| vec![x[0].outer(&x[1]), x[0].ger(&x[1])]; |h| vec![einsum(h, "i,j->ij"), einsum(h, "i,j->ij")];
    mv NUMBERS "ij,j" |x| vec![x[0].mv(&x[1])]; |h| vec![einsum(h, "ij,j->i")];
    mm NUMBERS "ij,jk" |x| vec![x[0].mm(&x[1])]; |h| vec![einsum(h, "ij,jk->ik")];
    bmm NUMBERS "bij,bjk" |x| vec![x[0].bmm(&x[1])]; |h| vec![einsum(h, "bij,bjk->bik")];
    // Vectors and matrices, stacks of matrices, and either with a broadcast batch.
    matmul NUMBERS "j,jk,ij,bij,bjk" |x| {
            let [v, right, left, many, others] = [0, 1, 2, 3, 4].map(|i| &x[i]);
            vec![
                v.matmul(v),
                v.matmul(right),
                left.matmul(v),
                left.matmul(right),
                many.matmul(others),
                many.matmul(right),
                left.matmul(others),
                many.matmul(v),
                v.matmul(others),
                many.unsqueeze(1).matmul(others),
            ]
        };
        |h| {
            let of = |operands: &[usize], equation| {
                einsum(&operands.iter().map(|&i| h[i].clone()).collect::<Vec<_>>(), equation)
            };
            let crossed = {
                // A batch of its own on each side.
                let (many, others) = (&h[3], &h[4]);
                let (n, rows, cols) = (many.shape[0], many.shape[1], others.shape[2]);
                let cell = |i: &Vec<usize>| -> f64 {
                    let term = |j| {
                        many.get(&[i[0], i[2], j]).to_f64() * others.get(&[i[1], j, i[3]]).to_f64()
                    };
                    (0..many.shape[2]).map(term).sum()
                };
                let to: Shape = [n, n, rows, cols].into();
                let values = indices(&to).iter().map(cell).collect();
                (to, values)
            };
            vec![
                of(&[0, 0], "j,j->"),
                of(&[0, 1], "j,jk->k"),
                of(&[2, 0], "ij,j->i"),
                of(&[2, 1], "ij,jk->ik"),
                of(&[3, 4], "bij,bjk->bik"),
                of(&[3, 1], "bij,jk->bik"),
                of(&[2, 4], "ij,bjk->bik"),
                of(&[3, 0], "bij,j->bi"),
                of(&[0, 4], "j,bjk->bk"),
                crossed,
            ]
        };
    addmm FLOATS "ik,k,ij,jk" |x| {
            vec![
                x[0].addmm(&x[2], &x[3], 0.5, 2.0),
                x[0].copy().addmm_(&x[2], &x[3], 0.5, 2.0),
                x[1].addmm(&x[2], &x[3], 0.5, 2.0),
            ]
        };
        |h| {
            let product = einsum(&h[2..], "ij,jk->ik");
            [0, 0, 1].map(|i| added(&h[i], product.clone())).to_vec()
        };
    baddbmm FLOATS "bik,k,bij,bjk" |x| {
            vec![
                x[0].baddbmm(&x[2], &x[3], 0.5, 2.0),
                x[0].copy().baddbmm_(&x[2], &x[3], 0.5, 2.0),
                x[1].baddbmm(&x[2], &x[3], 0.5, 2.0),
            ]
        };
        |h| {
            let product = einsum(&h[2..], "bij,bjk->bik");
            [0, 0, 1].map(|i| added(&h[i], product.clone())).to_vec()
        };
    tensordot NUMBERS "bij,jbk" |x| {
            vec![
                x[0].tensordot(&x[1], [&[2], &[0]]),
                x[0].tensordot(&x[1], [&[0, -1], &[1, 0]]),
            ]
        };
        |h| vec![crossed_dot(h), einsum(h, "bij,jbk->ik")];
    @ {
        einsum {
            dtypes: NUMBERS,
            sample: |g| {
                let which = g.below(EQUATIONS.len());
                let (terms, _) = EQUATIONS[which].1.split_once("->").expect("an equation");
                operands(g, terms).with([which as i64])
            },
            run: |x, which| {
                let operands: Vec<&Tensor<B>> = x.iter().collect();
                shaped(vec![Tensor::einsum(EQUATIONS[which[0] as usize].0, &operands)])
            },
            oracle: Oracle::Values(|s| {
                shaped_values(vec![einsum(&s.inputs, EQUATIONS[s.args[0] as usize].1)])
            }),
            tolerance: SUM,
            kinks: &[],
            order: 2,
        }
    }
}

/// `bij` and `jck` over `j` alone, with a batch of their own: `bick`.
fn crossed_dot(h: &[Host]) -> Plain {
    let (a, b) = (&h[0].shape, &h[1].shape);
    let to: Shape = [a[0], a[1], b[1], b[2]].into();
    let cell = |i: &Vec<usize>| -> f64 {
        let term = |j| h[0].get(&[i[0], i[1], j]).to_f64() * h[1].get(&[j, i[2], i[3]]).to_f64();
        (0..a[2]).map(term).sum()
    };
    let values = indices(&to).iter().map(cell).collect();
    (to, values)
}
