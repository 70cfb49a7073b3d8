//! When a command that runs until it is stopped has to stop, and what signals ask of the others.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use rustix::process::Signal;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{self, SignalKind, signal};

/// Resolves at Ctrl-C or a request to terminate; with `stop_with_stdin` also when standard input
/// closes, which happens when the process that started this one dies, however it dies.
pub(crate) async fn asked(stop_with_stdin: bool) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without signals the default action ends the process, which is what is wanted.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = stdin_closed(), if stop_with_stdin => {}
    }
}

async fn stdin_closed() {
    let mut stdin = tokio::io::stdin();
    let mut byte = [0];
    while stdin.read(&mut byte).await.is_ok_and(|read| read > 0) {}
}

/// What ends a process unless it says otherwise.
const ENDING: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];

/// Signals that come here and do nothing else, from when this is made to the end of the process.
pub(crate) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        let listen = |ending: Signal| {
            signal(SignalKind::from_raw(ending.as_raw())).map(|heard| (ending, heard))
        };
        ENDING.into_iter().map(listen).collect::<Result<_, _>>().map(Self)
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let mut heard = self.0.iter_mut().filter_map(|(ending, heard)| {
                matches!(heard.poll_recv(context), Poll::Ready(Some(()))).then_some(*ending)
            });
            heard.next().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// The exit code of what a signal ended, as shells give it.
pub(crate) fn exit_code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// Whether the terminal has sent this signal to all processes that this one has started, too.
pub(crate) fn is_from_terminal(signal: Signal) -> bool {
    matches!(signal, Signal::INT | Signal::QUIT) && has_terminal()
}

/// Whether what is typed at a terminal goes to this process and those that it starts.
fn has_terminal() -> bool {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    foreground_of(&stat).is_some_and(|(group, foreground)| group == foreground)
}

/// The process group, and that which has the terminal; see `man 5 proc_pid_stat`.
fn foreground_of(stat: &str) -> Option<(&str, &str)> {
    // The name before may hold spaces and parentheses.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(2);
    Some((fields.next()?, fields.nth(2)?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_group_that_has_the_terminal_is_read() {
        let stat = "17 (a ) b) S 1 17 16 34816 18 4194304 100";
        assert_eq!(super::foreground_of(stat), Some(("17", "18")));
        assert_eq!(super::foreground_of("no line of the system"), None);
    }

    #[test]
    fn an_exit_code_tells_the_signal() {
        assert_eq!(super::exit_code(15), 143);
        assert_eq!(super::exit_code(200), 255);
    }
}
