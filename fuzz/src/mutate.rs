//! New inputs out of old ones.

use kiln_data::Rng;

/// Numbers at which programs make mistakes.
const EDGES: [u64; 14] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];

/// One of the corpus with a few changes, no longer than `most`.
pub fn mutate(corpus: &[Vec<u8>], most: usize, rng: &mut Rng) -> Vec<u8> {
    let mut bytes = corpus[rng.below(corpus.len())].clone();
    for _ in 0..=rng.below(6) {
        change(&mut bytes, corpus, rng);
    }
    bytes.truncate(most);
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut Rng) {
    let len = bytes.len();
    let at = rng.below(len + 1);
    // A stretch that begins here, more often short than long.
    let longest = (len - at).min(1 << rng.below(10));
    let count = rng.below(longest + 1);
    match rng.below(10) {
        0 | 1 if at < len => bytes[at] ^= 1 << rng.below(8),
        2 if at < len => bytes[at] = rng.bits() as u8,
        3 | 4 => {
            let number = EDGES[rng.below(EDGES.len())].wrapping_add(rng.below(3) as u64);
            let width = [1, 2, 4, 8][rng.below(4)];
            let mut edge = number.to_le_bytes()[..width].to_vec();
            if rng.below(2) == 0 {
                edge.reverse();
            }
            let end = (at + width).min(len);
            bytes[at..end].copy_from_slice(&edge[..end - at]);
        }
        5 => drop(bytes.drain(at..at + count)),
        6 => {
            let copy = bytes[at..at + count].to_vec();
            let to = rng.below(len + 1);
            bytes.splice(to..to, copy);
        }
        7 => {
            let other = &corpus[rng.below(corpus.len())];
            let from = rng.below(other.len() + 1);
            let end = (from + (1 << rng.below(10))).min(other.len());
            bytes.splice(at..at + count, other[from..end].iter().copied());
        }
        8 => {
            // A digit of a text: sizes in headers are written so.
            let digits: Vec<usize> =
                (0..len).filter(|&at| bytes[at].is_ascii_digit()).take(4096).collect();
            if !digits.is_empty() {
                bytes[digits[rng.below(digits.len())]] = b'0' + rng.below(10) as u8;
            }
        }
        _ if rng.below(4) == 0 => bytes.truncate(at),
        _ => bytes.insert(at, rng.bits() as u8),
    }
}
