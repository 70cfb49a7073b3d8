//! When a command that runs until it is stopped has to stop.

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

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
