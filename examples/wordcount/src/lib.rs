//! The words of a text: counted in chunks, the counts put together in a tree.

use std::collections::BTreeMap;

use grid_sdk::task;
use serde::{Deserialize, Serialize};

/// How often each word occurs, in small letters.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// By the word.
    pub words: BTreeMap<String, u64>,
}

/// Counts the words of a text: runs of letters and digits, with apostrophes inside.
#[task]
pub fn count(text: String) -> Counts {
    let mut words = BTreeMap::new();
    for word in text.split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '\u{2019}') {
        let word = word.trim_matches(['\'', '\u{2019}']);
        if !word.is_empty() {
            *words.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    Counts { words }
}

/// Puts two counts together.
#[task]
pub fn merge(a: Counts, b: Counts) -> Counts {
    let mut words = a.words;
    for (word, count) in b.words {
        *words.entry(word).or_default() += count;
    }
    Counts { words }
}

/// What is worth to be sent back.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Top {
    /// All words, repetitions included.
    pub total: u64,
    /// Different words.
    pub distinct: u64,
    /// The most frequent ones and how often they occur; equally frequent ones by the alphabet.
    pub words: Vec<(String, u64)>,
}

/// The most frequent words.
#[task]
pub fn top(counts: Counts, most: usize) -> Top {
    let (total, distinct) = (counts.words.values().sum(), counts.words.len() as u64);
    let mut words: Vec<_> = counts.words.into_iter().collect();
    // The sort is stable, and the words came by the alphabet.
    words.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    words.truncate(most);
    Top { total, distinct, words }
}

grid_sdk::bundle!(count, merge, top);

/// Cuts a text at the ends of lines into chunks of at most `bytes`, or of one line where a line is
/// longer.
#[must_use]
pub fn chunks(text: &str, bytes: usize) -> Vec<&str> {
    let mut chunks = Vec::new();
    let (mut start, mut end) = (0, 0);
    for line in text.split_inclusive('\n') {
        if end > start && end + line.len() - start > bytes {
            chunks.push(&text[start..end]);
            start = end;
        }
        end += line.len();
    }
    chunks.extend((end > start).then(|| &text[start..end]));
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../data/declaration.txt");

    fn counts(text: &str) -> Vec<(String, u64)> {
        count(text.to_owned()).words.into_iter().collect()
    }

    #[test]
    fn words_are_letters_and_digits() {
        let expected = [("don't", 1), ("ende", 1), ("zoë", 2)].map(|(w, n)| (w.to_owned(), n));
        assert_eq!(counts("Zoë, 'zoë' -- don't;\nENDE!"), expected);
        assert!(counts(" -- ''\n").is_empty());
    }

    #[test]
    fn chunks_are_the_text() {
        for bytes in [1, 40, 1000, 1_000_000] {
            let chunks = chunks(TEXT, bytes);
            assert_eq!(chunks.concat(), TEXT);
            assert!(chunks.iter().all(|chunk| {
                chunk.ends_with('\n') && (chunk.len() <= bytes || chunk.lines().count() == 1)
            }));
        }
        assert!(chunks("", 10).is_empty());
    }

    #[test]
    fn chunks_counted_are_the_text_counted() {
        let whole = count(TEXT.to_owned());
        let parts = chunks(TEXT, 500).into_iter().map(|chunk| count(chunk.to_owned()));
        assert_eq!(parts.reduce(merge).unwrap(), whole);
        let top = top(whole, 2);
        assert_eq!(top.words, [("the".to_owned(), 76), ("of".to_owned(), 75)]);
    }
}
