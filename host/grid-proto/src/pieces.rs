//! Submissions cut into pieces, so that no frame is long and the first calls run while the last are
//! still on their way.

use crate::call::Arg;
use crate::message::Submission;

/// Calls that one piece of a submission carries at most.
const CALLS_PER_PIECE_MAX: usize = 2_000;
/// Bytes of arguments that one piece carries at most, were its last call small.
const BYTES_PER_PIECE_MAX: usize = 1 << 20;

impl Submission {
    /// The same submission in pieces that fit frames, in order; the last carries what is wanted.
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
        let last = pieces.last_mut().expect("there is a first piece");
        *last = Self { wanted, detached, more, ..std::mem::take(last) };
        pieces
    }
}

fn inline_bytes(arg: &Arg) -> usize {
    match arg {
        Arg::Value(value) => value.bytes.len(),
        Arg::Key(key) => key.0.len(),
    }
}
