//! Text as numbers, a character each.

use std::collections::BTreeSet;

/// The characters of a text, numbered from 0 in the order of their code points: what a model of
/// characters takes and gives.
///
/// ```
/// use kiln_data::CharVocab;
/// let vocab = CharVocab::new("hello");
/// assert_eq!(vocab.len(), 4);
/// assert_eq!(vocab.encode("hole"), Some(vec![1, 3, 2, 0]));
/// assert_eq!(vocab.decode([1, 0, 2, 2, 3]), "hello");
/// assert_eq!(vocab.encode("help"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CharVocab {
    /// Sorted.
    chars: Vec<char>,
}

impl CharVocab {
    /// The characters that occur in `text`.
    pub fn new(text: &str) -> Self {
        let chars: BTreeSet<char> = text.chars().collect();
        CharVocab { chars: chars.into_iter().collect() }
    }

    /// How many different characters there are.
    pub fn len(&self) -> usize {
        self.chars.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.chars.is_empty()
    }

    /// The character of each number.
    pub fn chars(&self) -> &[char] {
        &self.chars
    }

    /// The number of each character; `None` if one is not known.
    pub fn encode(&self, text: &str) -> Option<Vec<i64>> {
        let number = |c| self.chars.binary_search(&c).ok().map(|at| at as i64);
        text.chars().map(number).collect()
    }

    /// The text of these numbers. A number of no character becomes U+FFFD, the replacement character.
    pub fn decode(&self, numbers: impl IntoIterator<Item = i64>) -> String {
        let char = |at: i64| usize::try_from(at).ok().and_then(|at| self.chars.get(at).copied());
        numbers.into_iter().map(|at| char(at).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    }
}
