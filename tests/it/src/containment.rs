//! Hostile functions: each costs its own call and a tick on a counter.

use grid_proto::{FailureKind, TrapKind};
use grid_sdk::Call;
use noop::fresh;
use odd::crash::{
    deep_recursion, divide_by_zero, exit, out_of_bounds, panic, shadow_stack, unreachable,
};
use odd::greed::{flood, huge_result, loop_forever, memory_bomb, sleep_forever};
use odd::pry::{read_file, whoami, write_stderr};

use crate::support::{Grid, Processes, bundle_bytes, counts, eventually, failure};

fn trap(trap: TrapKind) -> FailureKind {
    FailureKind::Trap { trap }
}

#[tokio::test]
async fn every_way_to_fail_is_told_apart_and_counted_beside_good_calls() {
    let grid = Grid::start(2, 1).await;
    grid.deploy("odd").await;
    grid.deploy("noop").await;
    let good = grid.client.map((0..1_000u64).map(fresh::call)).await.unwrap();
    let second = std::time::Duration::from_millis(300);
    let small = 16 << 20;

    let traps = [
        (unreachable::call(), TrapKind::Unreachable),
        (panic::call("boom"), TrapKind::Panic),
        (exit::call(3), TrapKind::Exit),
    ];
    for (call, kind) in traps {
        let failed = failure(grid.client.submit(call).await.unwrap().result().await);
        assert_eq!(failed.kind, trap(kind), "{failed}");
    }
    let failed = failure(grid.client.submit(out_of_bounds::call()).await.unwrap().result().await);
    assert_eq!(failed.kind, trap(TrapKind::OutOfBounds));
    for call in [shadow_stack::call(), deep_recursion::call()] {
        let failed = failure(grid.client.submit(call).await.unwrap().result().await);
        assert_eq!(failed.kind, trap(TrapKind::StackOverflow), "{failed}");
    }
    let zero = grid.client.submit(divide_by_zero::call(0)).await.unwrap();
    let kind = failure(zero.result().await).kind;
    assert!(kind == trap(TrapKind::DivideByZero) || kind == trap(TrapKind::Panic), "{kind:?}");
    let bomb = grid.client.submit(memory_bomb::call().memory_bytes(small)).await.unwrap();
    let kind = failure(bomb.result().await).kind;
    assert!(
        matches!(kind, FailureKind::OutOfMemory { limit_bytes, asked_bytes }
            if limit_bytes == small && asked_bytes > small),
        "{kind:?}"
    );
    let endless: [Call<()>; 2] = [
        Call::from_node(loop_forever::call().timeout(second).node().as_ref().clone()),
        sleep_forever::call().timeout(second),
    ];
    for call in endless {
        let ended = grid.client.submit(call).await.unwrap();
        assert_eq!(failure(ended.value().await).kind, FailureKind::Deadline { limit_ms: 300 });
    }
    let large = grid.client.submit(huge_result::call(100_000_000usize)).await.unwrap();
    let kind = failure(large.result().await).kind;
    assert!(matches!(kind, FailureKind::ResultTooLarge { .. }), "{kind:?}");
    let flooded = grid.client.submit(flood::call(1_000_000usize)).await.unwrap();
    assert_eq!(flooded.result().await.unwrap(), 1_000_000);

    assert!(grid.client.gather(&good).await.unwrap().into_iter().eq(0..1_000));
    assert_eq!(grid.counts("fresh").await.successes, 1_000);
    assert_eq!(grid.counts("panic").await.failures["panic"], 1);
    assert_eq!(grid.counts("loop_forever").await.failures["deadline"], 1);
    assert_eq!(grid.counts("memory_bomb").await.failures["out-of-memory"], 1);
    assert_eq!(grid.counts("shadow_stack").await.failures["stack-overflow"], 1);
    assert_eq!(grid.counts("flood").await.output_cut, 1);
}

#[tokio::test]
async fn a_panic_tells_its_message_its_source_line_and_the_last_output() {
    let grid = Grid::start(1, 1).await;
    grid.deploy("odd").await;
    let failed = failure(grid.client.submit(panic::call("boom")).await.unwrap().result().await);
    assert!(failed.message.contains("boom") && failed.message.contains("crash.rs"), "{failed}");
    let here = failed.trace.iter().find(|frame| {
        frame.file.as_deref().is_some_and(|file| file.ends_with("odd/src/crash.rs"))
            && frame.line.is_some()
    });
    assert!(here.is_some(), "{:?}", failed.trace);
    let bomb = grid.client.submit(memory_bomb::call().memory_bytes(16 << 20)).await.unwrap();
    let lines = failure(bomb.result().await).last_lines;
    assert!(lines.iter().any(|line| line.contains("memory allocation")), "{lines:?}");
    assert!(failed.spent.wall_us > 0 && failed.spent.peak_memory_bytes > 0);
    let site = failed.site.unwrap();
    assert_eq!((site.task.as_str(), site.worker.as_str()), ("odd@0.1.0:panic", "worker-0"));
}

#[tokio::test]
async fn what_a_call_writes_is_told_to_whoever_waits_for_it_without_its_escapes() {
    let grid = Grid::start(1, 1).await;
    grid.deploy("odd").await;
    let text = format!("{}\u{1b}[2J the end", "x".repeat(20_000));
    let call = grid.client.submit(write_stderr::call(text.as_str())).await.unwrap();
    call.result().await.unwrap();
    let output = call.output();
    assert!(output.trim_end().ends_with("the end"), "{output}");
    assert!(!output.contains('\u{1b}') && output.len() <= 8 << 10, "{}", output.len());
}

#[tokio::test]
async fn a_call_knows_itself_and_sees_no_files() {
    let grid = Grid::start(1, 1).await;
    grid.deploy("odd").await;
    let call = grid.client.submit(whoami::call()).await.unwrap();
    let (key, task, attempt, worker, remaining_ms) = call.result().await.unwrap();
    assert_eq!((key, task, attempt), (call.key().to_string(), "whoami".to_owned(), 0));
    assert_eq!(worker, "worker-0");
    assert!(remaining_ms > 0 && remaining_ms <= 60_000);
    let file = grid.client.submit(read_file::call("/etc/passwd")).await.unwrap();
    assert_eq!(failure(file.result().await).kind, FailureKind::User);
}

#[tokio::test]
async fn ten_thousand_trapping_calls_leave_nothing_behind() {
    const CALLS: u64 = 10_000;
    const GROWTH_BYTES_MAX: u64 = 8 << 20;
    let grid = Processes::up(&["--workers=2", "--quarantine-after=0"]);
    let client = grid.client().await;
    client.deploy(&bundle_bytes("odd"), false).await.unwrap();
    // Warm: code is loaded, buffers have their size.
    let trapping = async |calls: u64| {
        let calls = (0..calls).map(|_| unreachable::call().impure());
        for future in client.map(calls).await.unwrap() {
            assert_eq!(failure(future.result().await).kind, trap(TrapKind::Unreachable));
        }
    };
    trapping(500).await;
    let before: Vec<_> = grid.worker_pids.iter().map(|pid| footprint(*pid)).collect();
    trapping(CALLS).await;
    assert_eq!(counts(&client, "unreachable").await.failures["unreachable"], CALLS + 500);
    eventually("the workers are as they were", async || {
        grid.worker_pids.iter().zip(&before).all(|(pid, (descriptors, resident_bytes))| {
            let now = footprint(*pid);
            now.0 <= *descriptors && now.1 < resident_bytes + GROWTH_BYTES_MAX
        })
    })
    .await;
    let workers = client.workers().await.unwrap();
    let pids: Vec<_> = workers.iter().map(|worker| u64::from(worker.pid)).collect();
    assert!(grid.worker_pids.iter().all(|pid| pids.contains(pid)));
}

/// Open descriptors and resident bytes of a process.
fn footprint(pid: u64) -> (usize, u64) {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let pages: u64 = statm.split_whitespace().nth(1).unwrap().parse().unwrap();
    (descriptors, pages * 4096)
}
