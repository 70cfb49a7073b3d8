//! The hash of an object, and of its blocks: so that a block can be verified where the whole is not read.
//!
//! BLAKE3 is a tree over chunks of 1 KiB (<https://github.com/BLAKE3-team/BLAKE3-specs>, section 2.1). A block
//! is a whole subtree of it, so the blocks' chaining values come with the hash of the object for nothing.

use blake3::Hasher;
use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};
use grid_proto::ObjectMeta;

/// Bytes of a block but the last: a power of two, so that it is a subtree.
pub(crate) const BLOCK_BYTES: usize = 1 << 20;

/// Hashes an object whose bytes come one after the other.
pub(crate) struct Hashing {
    /// The blocks that are complete and not the last.
    done: Vec<ChainingValue>,
    block: Hasher,
    filled: usize,
}

/// The chaining values of an object's blocks; none where it is one block.
pub(crate) type Blocks = Box<[ChainingValue]>;

impl Hashing {
    pub(crate) fn new() -> Self {
        Self { done: Vec::new(), block: Hasher::new(), filled: 0 }
    }

    pub(crate) fn bytes(&self) -> u64 {
        (self.done.len() * BLOCK_BYTES + self.filled) as u64
    }

    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.filled == BLOCK_BYTES {
                self.done.push(self.block.finalize_non_root());
                self.block = at_block(self.done.len());
                self.filled = 0;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.filled));
            self.block.update(now);
            self.filled += now.len();
            bytes = rest;
        }
    }

    /// The hash of all of it, and what its blocks are verified with.
    pub(crate) fn finish(&self) -> ([u8; 32], Blocks) {
        if self.done.is_empty() {
            return (*self.block.finalize().as_bytes(), Blocks::default());
        }
        let last = self.block.finalize_non_root();
        let blocks: Blocks = self.done.iter().copied().chain([last]).collect();
        let (left, right) = halves(&blocks);
        let root = merge_subtrees_root(&subtree(left), &subtree(right), Mode::Hash);
        (*root.as_bytes(), blocks)
    }

    /// Whether this is what went through.
    pub(crate) fn is(&self, meta: &ObjectMeta) -> bool {
        self.bytes() == meta.size && self.finish().0 == meta.hash
    }
}

/// Whether these are the bytes of a block.
pub(crate) fn is_block(blocks: &[ChainingValue], number: usize, bytes: &[u8]) -> bool {
    let is = |block: &ChainingValue| {
        !bytes.is_empty() && *block == at_block(number).update(bytes).finalize_non_root()
    };
    blocks.get(number).is_some_and(is)
}

fn at_block(number: usize) -> Hasher {
    let mut hasher = Hasher::new();
    hasher.set_input_offset((number * BLOCK_BYTES) as u64);
    hasher
}

/// The left subtree is the largest complete one.
fn halves(blocks: &[ChainingValue]) -> (&[ChainingValue], &[ChainingValue]) {
    blocks.split_at(blocks.len().next_power_of_two() / 2)
}

fn subtree(blocks: &[ChainingValue]) -> ChainingValue {
    match blocks {
        [block] => *block,
        _ => {
            let (left, right) = halves(blocks);
            merge_subtrees_non_root(&subtree(left), &subtree(right), Mode::Hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn the_hash_is_the_one_of_the_whole_and_each_block_is_known() {
        let block = BLOCK_BYTES;
        for length in [0, 1, block - 1, block, block + 1, 2 * block, 3 * block + 5, 7 * block] {
            let bytes = bytes(length);
            let mut hashing = Hashing::new();
            // Pieces that fit no block.
            bytes.chunks(700_001).for_each(|piece| hashing.add(piece));
            assert_eq!(hashing.bytes(), length as u64);
            let (hash, blocks) = hashing.finish();
            assert_eq!(hash, *blake3::hash(&bytes).as_bytes(), "{length}");
            assert_eq!(blocks.len(), if length > block { length.div_ceil(block) } else { 0 });
            for (number, bytes) in bytes.chunks(block).enumerate().take(blocks.len()) {
                assert!(is_block(&blocks, number, bytes));
                assert!(!is_block(&blocks, number + 1, bytes), "in another place");
                assert!(!is_block(&blocks, number, &bytes[..bytes.len() - 1]), "cut");
            }
        }
    }
}
