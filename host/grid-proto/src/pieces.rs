//! Submissions cut into pieces, so that no frame is long and the first calls run while the last are
//! still on their way.

use crate::call::Arg;
use crate::id::Key;
use crate::message::Submission;

/// Calls that one piece of a submission carries at most, and calls that it names: about a millisecond
/// of a scheduler that has others to serve.
pub const CALLS_PER_PIECE_MAX: usize = 500;
/// Bytes of arguments that one piece carries at most, were its last call small.
const BYTES_PER_PIECE_MAX: usize = 1 << 20;

impl Submission {
    /// The same submission in pieces that fit frames, in order: the calls, then what is wanted of
    /// them.
    #[must_use]
    pub fn into_pieces(self) -> Vec<Self> {
        let Self { request, tasks, calls, wanted, detached, more } = self;
        let empty = || Self { request, more: true, ..Self::default() };
        let mut pieces = vec![Self { tasks, ..empty() }];
        let mut bytes = 0;
        for spec in calls {
            let size: usize = spec.args.iter().map(inline_bytes).sum();
            let piece = pieces.last().expect("there is a first piece");
            let full = piece.calls.len() >= CALLS_PER_PIECE_MAX
                || (bytes + size > BYTES_PER_PIECE_MAX && !piece.calls.is_empty());
            if full {
                pieces.push(empty());
                bytes = 0;
            }
            bytes += size;
            pieces.last_mut().expect("there is a first piece").calls.push(spec);
        }
        let mut name = |key: Key, list: fn(&mut Self) -> &mut Vec<Key>| {
            let last = pieces.last().expect("there is a first piece");
            if last.wanted.len() + last.detached.len() >= CALLS_PER_PIECE_MAX {
                pieces.push(empty());
            }
            list(pieces.last_mut().expect("there is a first piece")).push(key);
        };
        wanted.into_iter().for_each(|key| name(key, |piece| &mut piece.wanted));
        detached.into_iter().for_each(|key| name(key, |piece| &mut piece.detached));
        pieces.last_mut().expect("there is a first piece").more = more;
        pieces
    }

    /// Calls that it carries and names.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.calls.len() + self.wanted.len() + self.detached.len()
    }
}

fn inline_bytes(arg: &Arg) -> usize {
    match arg {
        Arg::Value(value) => value.bytes.len(),
        Arg::Key(key) => key.0.len(),
    }
}
