//! What a call writes: kept up to a limit, counted beyond it. Writing never waits and never traps.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Lines that a failure carries.
const LAST_LINES_MAX: usize = 20;
/// Bytes of the end that are kept when the limit is reached: what a function wrote last says most
/// about its end.
const TAIL_BYTES_MAX: usize = 4 << 10;
/// A longer line of `last_lines` is cut.
const LINE_CHARS_MAX: usize = 400;
/// What a guest is told it may write at once; more is taken too.
const PERMIT_BYTES: usize = 64 << 10;

/// Standard output, standard error and log lines of one call. Clones write to the same place.
#[derive(Clone)]
pub(crate) struct Output(Arc<Mutex<Captured>>);

struct Captured {
    limit_bytes: usize,
    /// The first bytes.
    head: Vec<u8>,
    /// The last bytes, once the head is full.
    tail: VecDeque<u8>,
    written_bytes: u64,
}

/// What a call wrote, at its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// As people may read it.
    pub(crate) text: String,
    pub(crate) last_lines: Vec<String>,
    pub(crate) written_bytes: u64,
    pub(crate) dropped_bytes: u64,
}

impl Output {
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self(Arc::new(Mutex::new(Captured::new(limit_bytes))))
    }

    fn lock(&self) -> MutexGuard<'_, Captured> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        self.lock().write(bytes);
    }

    fn count(&self, bytes: usize) {
        let mut captured = self.lock();
        captured.written_bytes = captured.written_bytes.saturating_add(bytes as u64);
    }

    pub(crate) fn finish(&self) -> Written {
        self.lock().finish()
    }

    /// Begins anew, for another call.
    pub(crate) fn begin(&self, limit_bytes: u64) {
        *self.lock() = Captured::new(limit_bytes);
    }
}

impl Captured {
    fn new(limit_bytes: u64) -> Self {
        Self {
            limit_bytes: usize::try_from(limit_bytes).unwrap_or(usize::MAX),
            head: Vec::new(),
            tail: VecDeque::new(),
            written_bytes: 0,
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.written_bytes = self.written_bytes.saturating_add(bytes.len() as u64);
        let room = self.limit_bytes.saturating_sub(self.head.len());
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(head);
        let rest = &rest[rest.len().saturating_sub(TAIL_BYTES_MAX)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(TAIL_BYTES_MAX);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }

    fn finish(&mut self) -> Written {
        if self.written_bytes == 0 {
            return Written::default();
        }
        let kept = (self.head.len() + self.tail.len()) as u64;
        let dropped_bytes = self.written_bytes.saturating_sub(kept);
        let mut text = plain_text(&self.head);
        if dropped_bytes > 0 {
            text.push_str(&format!("\n[{dropped_bytes} bytes not kept]\n"));
        }
        text.push_str(&plain_text(self.tail.make_contiguous()));
        Written {
            last_lines: last_lines(&text),
            text,
            written_bytes: self.written_bytes,
            dropped_bytes,
        }
    }
}

fn last_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(LAST_LINES_MAX)
        .map(|line| line.chars().take(LINE_CHARS_MAX).collect())
        .collect();
    lines.reverse();
    lines
}

/// A guest's text without what a terminal or a page would act on: escape sequences, control
/// characters other than newline and tab, and marks that reorder text. Bytes that are no UTF-8
/// become replacement characters.
#[must_use]
pub fn plain_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\n' | '\t' => plain.push(char),
            '\x1b' => skip_escape(&mut chars),
            '\u{9b}' => skip_csi(&mut chars),
            _ if char.is_control() || reorders(char) => {}
            _ => plain.push(char),
        }
    }
    plain
}

fn reorders(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// ECMA-48: after ESC, `[` begins a control sequence; `]`, `P`, `X`, `^` and `_` begin strings that
/// end with BEL or ESC `\`; anything else is one or two characters.
fn skip_escape(chars: &mut Chars<'_>) {
    match chars.next() {
        Some('[') => skip_csi(chars),
        Some(']' | 'P' | 'X' | '^' | '_') => {
            while let Some(char) = chars.next() {
                // A newline ends it too: an unfinished string must not swallow all that follows.
                match char {
                    '\x07' | '\n' => break,
                    '\x1b' => {
                        chars.next_if_eq(&'\\');
                        break;
                    }
                    _ => {}
                }
            }
        }
        Some(' '..='/') => {
            chars.next();
        }
        _ => {}
    }
}

fn skip_csi(chars: &mut Chars<'_>) {
    while chars.next_if(|char| matches!(char, '\x20'..='\x3f')).is_some() {}
    chars.next_if(|char| matches!(char, '\x40'..='\x7e'));
}

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        Self::write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT_BYTES)
    }

    /// The default would allocate what the guest asks for.
    fn write_zeroes(&mut self, bytes: usize) -> StreamResult<()> {
        self.count(bytes);
        Ok(())
    }
}

impl AsyncWrite for Output {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Self::write(&self, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
