//! What people are told unasked, and by errors: the words name what to do.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver};

use serde_json::Value;

use crate::support::{PATIENCE, Processes, bundle_path, grid, signal, stderr, stdout};

/// A process that is killed with the test.
struct Running {
    process: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines_of(process.stderr.take().unwrap());
        Self { process, lines }
    }

    /// The next line on its standard error.
    fn says(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("it says nothing more")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn lines_of(stderr: ChildStderr) -> Receiver<String> {
    let (told, lines) = mpsc::channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(stderr).lines().map_while(Result::ok);
        lines.for_each(|line| drop(told.send(line)));
    });
    lines
}

#[tokio::test]
async fn a_run_that_no_worker_may_take_says_why_and_again_when_the_reason_changes() {
    let grid_up = Processes::up(&["--workers=1"]);
    grid_up.run(&["deploy", bundle_path("hello").to_str().unwrap()]);
    let on = |args: &[&str]| {
        let mut command = grid(grid_up.home(), args);
        command.env("GRID_SCHEDULER", &grid_up.address);
        Running::start(&mut command)
    };
    std::fs::write(grid_up.home().join("calls.jsonl"), "1\n2\n").unwrap();
    let mut one = on(&["run", "hello", "inc", "1", "--on", "moon"]);
    let mut many = on(&["run", "hello", "inc", "--map", "calls.jsonl", "--on", "moon"]);
    let needs = "workers may run it: it needs a worker, host or label called moon";
    for run in [&one, &many] {
        let said = run.says();
        assert!(said.contains("(hello@0.1.0:inc) waits: none of 1 ") && said.contains(needs));
    }
    let _other = on(&["worker", "--name=other"]);
    for run in [&one, &many] {
        let said = run.says();
        assert!(said.contains("none of 2 ") && said.contains(needs), "{said}");
    }
    let _moon = on(&["worker", "--name=moon"]);
    for (run, expected) in [(&mut one, "2"), (&mut many, "2\n3")] {
        let mut result = String::new();
        run.process.stdout.take().unwrap().read_to_string(&mut result).unwrap();
        assert_eq!(result.trim(), expected);
        assert_eq!(run.lines.iter().find(|line| line.contains("waits")), None, "nothing changed");
    }
}

#[tokio::test]
async fn a_failed_run_is_json_for_programs() {
    let grid_up = Processes::up(&["--workers=1"]);
    for name in ["hello", "odd"] {
        grid_up.run(&["deploy", bundle_path(name).to_str().unwrap()]);
    }
    let fails = |args: &[&str], code: i32| -> Value {
        let output = grid_up.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let said = fails(&["run", "hello", "parse", "\"x\"", "--json"], 1);
    assert_eq!(
        (&said["kind"], &said["site"]["worker"]),
        (&"user-error".into(), &"worker-0".into())
    );
    assert!(said["causes"][0].as_str().unwrap().contains("invalid digit"), "{said}");
    assert!(said["spent"]["wall_us"].is_u64() && said["message"].is_string(), "{said}");
    let said = fails(&["run", "odd", "memory_bomb", "--memory=16MiB", "--json"], 3);
    assert_eq!(
        (&said["kind"], &said["detail"]["limit_bytes"]),
        (&"out-of-memory".into(), &(16 << 20).into())
    );
    let said = fails(&["run", "nobody", "task", "--json"], 4);
    assert_eq!(said["kind"], "refused");
    std::fs::write(grid_up.home().join("words.jsonl"), "\"x\"\n").unwrap();
    let said = fails(&["run", "hello", "parse", "--map", "words.jsonl", "--json"], 1);
    assert!(said["kind"] == "user-error" && said["causes"].is_array(), "{said}");
    let plain = grid_up.run(&["run", "hello", "parse", "\"x\""]);
    assert_eq!(stdout(&plain), "");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let home = tempfile::tempdir().unwrap();
    let runs: [(&[&str], i32); 5] = [
        (&["completions", "bash"], 0),
        (&["--help"], 0),
        (&["run", "--help"], 0),
        (&["status", "--scheduler=127.0.0.1:1", "--connect-timeout=0.05"], 5),
        (&["new", "9 lives"], 6),
    ];
    for (args, code) in runs {
        // Both ends of what it writes are closed before it can write.
        let closed = || std::io::pipe().unwrap().1;
        let ended = grid(home.path(), args).stdout(closed()).stderr(closed()).status().unwrap();
        assert_eq!(ended.code(), Some(code), "{args:?}");
    }
}

#[test]
fn a_time_that_is_none_is_named_with_its_option() {
    let home = tempfile::tempdir().unwrap();
    for time in ["nan", "-1", "1e300"] {
        let commands: [&[&str]; 6] = [
            &["run", "hello", "inc", "1", "--timeout", time],
            &["lock", "run", "l", "--timeout", time, "--", "true"],
            &["queue", "get", "q", "--timeout", time],
            &["event", "wait", "e", "--timeout", time],
            &["status", "--connect-timeout", time],
            &["worker", "--waiting-timeout", time],
        ];
        for args in commands {
            let refused = grid(home.path(), args).output().unwrap();
            let words = stderr(&refused);
            assert_eq!(refused.status.code(), Some(2), "{args:?}: {words}");
            assert!(words.contains("timeout <SECONDS>'") && words.contains("from 0 to"), "{words}");
        }
    }
}

#[test]
fn slots_that_no_machine_has_are_refused() {
    let home = tempfile::tempdir().unwrap();
    for slots in ["0", "-1", "1000000", "many"] {
        let refused = grid(home.path(), &["worker", &format!("--slots={slots}")]).output().unwrap();
        let words = stderr(&refused);
        assert_eq!(refused.status.code(), Some(2), "{slots}: {words}");
        assert!(words.contains("--slots <SLOTS>"), "{words}");
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_shown_is_refused() {
    let grid_up = Processes::up(&["--workers=1"]);
    grid_up.run(&["deploy", bundle_path("hello").to_str().unwrap()]);
    let commands: [(&[&str], i32); 6] = [
        (&["variable", "set", "a\u{1b}[2J", "1"], 4),
        (&["lock", "run", "a\nb", "--", "true"], 4),
        (&["run", "hello", "inc", "1", "--publish", "a\tb"], 4),
        (&["run", "hello", "inc", "1", "--on", "a\rb"], 4),
        (&["worker", "--name", "a\nb"], 5),
        (&["worker", "--name", "fine", "--label", "a\u{7f}b"], 5),
    ];
    for (args, code) in commands {
        let refused = grid_up.run(args);
        assert_eq!(refused.status.code(), Some(code), "{args:?}: {}", stderr(&refused));
        assert!(stderr(&refused).contains("has a control character"), "{}", stderr(&refused));
    }
}

#[tokio::test]
async fn the_log_tells_of_each_lost_worker_once() {
    let home = tempfile::tempdir().unwrap();
    let mut command = grid(home.path(), &["scheduler", "-v", "--listen=127.0.0.1:0"]);
    let mut scheduler = Running::start(command.env_remove("GRID_LOG"));
    let mut listening = String::new();
    BufReader::new(scheduler.process.stdout.as_mut().unwrap()).read_line(&mut listening).unwrap();
    let address = listening.trim().rsplit(' ').next().unwrap();
    let worker = |name: &str| {
        let args = ["worker", "--no-supervisor", "--name", name, "--scheduler", address];
        Running::start(&mut grid(home.path(), &args))
    };
    // All lines up to one with these words, that one last.
    let until = |words: &str| {
        let mut lines = vec![scheduler.says()];
        while !lines.last().unwrap().contains(words) {
            lines.push(scheduler.says());
        }
        lines
    };
    let silent = worker("quiet");
    until("a worker connected");
    // A second one of the name is refused.
    let mut namesake = worker("quiet");
    let refused = until("WARN").pop().unwrap();
    assert!(refused.contains("\"quiet\"") && refused.contains("is connected already"), "{refused}");
    assert_eq!(namesake.process.wait().unwrap().code(), Some(5));
    let mut leaver = worker("leaver");
    until("a worker connected");
    signal("-TERM", u64::from(leaver.process.id()));
    leaver.process.wait().unwrap();
    let left = until("a worker left");
    assert!(!left.iter().any(|line| line.contains("WARN")), "{left:?}");
    signal("-STOP", u64::from(silent.process.id()));
    let lost = until("WARN").pop().unwrap();
    assert!(lost.contains("\"quiet\"") && lost.contains("reason"), "{lost}");
    drop(silent);
    signal("-TERM", u64::from(scheduler.process.id()));
    assert_eq!(scheduler.lines.iter().find(|line| line.contains("WARN")), None, "once");
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_written_is_named() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("file"), "").unwrap();
    let args = ["scheduler", "--listen=127.0.0.1:0", "--state-dir=file"];
    let refused = grid(home.path(), &args).output().unwrap();
    assert_eq!(refused.status.code(), Some(6));
    let words = stderr(&refused);
    assert!(words.contains("`file/bundles`") && words.contains("--state-dir"), "{words}");

    let grid_up = Processes::up(&["--workers=1"]);
    let bundles = grid_up.home().join("state/bundles");
    std::fs::remove_dir_all(&bundles).unwrap();
    std::fs::write(&bundles, "").unwrap();
    let refused = grid_up.run(&["deploy", bundle_path("hello").to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(4), "{}", stderr(&refused));
    let words = stderr(&refused);
    assert!(words.contains(bundles.to_str().unwrap()) && words.contains("make room"), "{words}");
}
