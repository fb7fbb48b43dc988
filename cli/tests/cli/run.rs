//! `tastypod run`: what tasks get, what is kept of them, and how a run ends.

use crate::support::{HANG, Place, until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::Instant;

#[test]
fn output_exit_code_and_duration_are_kept_in_the_task() {
    let place = Place::new();
    place.run(&["add", "t", "good", "bad"]).expect(0);
    let script = "echo out $TASTYPOD_KEY $TASTYPOD_ATTEMPT; echo err >&2; test $TASTYPOD_KEY = good || exit 7";
    let ended = place.run(&["run", "t", "-j2", "--json", "--", "sh", "-c", script]).expect(1);
    let said: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(said["attempts"], json!({"succeeded": 1, "failed": 1}));
    assert_eq!((&said["schema"], &said["done"], &said["failed"]), (&json!(1), &json!(1), &json!(1)));
    assert!(ended.err.contains("1/2 done, 1 failed"), "{}", ended.err);
    for (key, exit) in [("good", 0), ("bad", 7)] {
        assert_eq!(place.field("t", key, "exit"), exit);
        assert_eq!(place.field("t", key, "stdout"), format!("out {key} 1\n"));
        assert_eq!(place.field("t", key, "stderr"), "err\n");
        assert!(place.field("t", key, "seconds").as_f64().unwrap() > 0.0);
    }
    assert_eq!(place.field("t", "bad", "_error"), "exit code 7");
    // Nothing is left; and what a signal ended says so, until a later attempt goes well.
    place.run(&["run", "t", "--", "true"]).expect(1);
    place.run(&["run", "t", "--max-tries", "2", "--", "sh", "-c", "kill -USR1 $$"]).expect(1);
    assert_eq!((place.field("t", "bad", "exit"), place.field("t", "bad", "signal")), (Value::Null, json!(10)));
    assert_eq!(place.field("t", "bad", "_error"), "killed by SIGUSR1");
    place.run(&["run", "t", "--max-tries", "3", "--", "true"]).expect(0);
    assert_eq!((place.field("t", "bad", "exit"), place.field("t", "bad", "signal")), (json!(0), Value::Null));
    assert!(place.field("t", "bad", "_error").is_null());
}

#[test]
fn placeholders_and_shells() {
    let place = Place::new();
    place.run(&["add", "t", "d/it's a.txt"]).expect(0);
    let printed = |arguments: &[&str]| {
        place.shell("rm -rf u && cp -r t u").expect(0);
        place.run(&[&["run", "u", "-q", "-p"], arguments].concat()).expect(0).out
    };
    assert_eq!(printed(&["--", "echo", "{/.}", "{//}", "{#}", "x{}"]), "it's a d 1 xd/it's a.txt\n");
    assert_eq!(printed(&["--", "echo"]), "d/it's a.txt\n");
    assert_eq!(printed(&["--shell", "--", "echo {/} | tr a-z A-Z"]), "IT'S A.TXT\n");
    assert_eq!(printed(&["--stdin", "--", "cat"]), "d/it's a.txt\n");
    let task: Value = serde_json::from_str(&printed(&["--stdin=json", "--", "cat"])).unwrap();
    assert_eq!((&task["key"], &task["value"]["_tries"]), (&json!("d/it's a.txt"), &json!(1)));
    assert_eq!(place.run(&["run", "t", "--dry-run", "--", "cp", "{}", "{/}"]).expect(0).out, "cp 'd/it'\\''s a.txt' 'it'\\''s a.txt'\n");
    assert_eq!(place.field("t", "d/it's a.txt", "_tries"), 0, "a dry run tries nothing");
}

#[test]
fn output_comes_in_order_and_whole() {
    let place = Place::new();
    let lines: String = (1..=60).map(|number| format!("{number}\n")).collect();
    place.feed(&["add", "t"], lines.as_bytes()).expect(0);
    // Later ones are faster.
    let script = "echo $0; sleep 0.0$((9 - $0 % 10)); echo $0";
    let ended = place.run(&["run", "t", "-j8", "-k", "-q", "--", "sh", "-c", script, "{}"]).expect(0);
    assert_eq!(ended.out, (1..=60).map(|number| format!("{number}\n{number}\n")).collect::<String>());
}

#[test]
fn what_is_kept_is_limited_and_what_is_printed_is_not() {
    let place = Place::new();
    place.run(&["add", "t", "a"]).expect(0);
    let script = "head -c 200000 /dev/zero | tr '\\0' x; printf '\\377' >&2";
    let ended = place.run(&["run", "t", "-p", "--keep-output", "10", "--", "sh", "-c", script]).expect(0);
    assert_eq!(ended.out.len(), 200_000);
    assert_eq!(place.field("t", "a", "stdout"), "xxxxxxxxxx");
    assert_eq!(place.field("t", "a", "stdout_bytes"), 200_000);
    assert_eq!((place.field("t", "a", "stderr"), place.field("t", "a", "stderr_lossy")), (json!("\u{fffd}"), json!(true)));
}

#[test]
fn a_task_that_takes_too_long_is_stopped_with_all_it_started() {
    let place = Place::new();
    place.run(&["add", "t", "a"]).expect(0);
    // It does not listen to the first signal, and neither does its child.
    let script = "trap '' TERM; echo begun; sleep 97531 & wait; sleep 97531";
    place.run(&["run", "t", "--timeout", "200ms", "--", "sh", "-c", script]).expect(1);
    assert_eq!(place.field("t", "a", "_error"), "timed out after 200 ms");
    assert_eq!(place.field("t", "a", "stdout"), "begun\n");
    until("its child is gone", || crate::support::processes_with("sleep 97531").is_empty());
}

#[test]
fn a_task_that_leaves_something_in_the_background_is_done() {
    let place = Place::new();
    place.run(&["add", "t", "a"]).expect(0);
    let start = Instant::now();
    place.run(&["run", "t", "--", "sh", "-c", "sleep 70 & echo $!"]).expect(0);
    assert!(start.elapsed() < HANG, "nobody waits for it");
    let pid = place.field("t", "a", "stdout").as_str().unwrap().trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).expect("it goes on");
}

#[test]
fn failures_are_tried_again_after_a_while() {
    let place = Place::new();
    place.run(&["add", "t", "a"]).expect(0);
    let ended = place.run(&[
        "run",
        "t",
        "--max-tries",
        "3",
        "--backoff",
        "50ms,1",
        "-p",
        "--",
        "sh",
        "-c",
        "date +%s%N; exit $((3 - TASTYPOD_ATTEMPT))",
    ]);
    let moments: Vec<u64> = ended.expect(0).out.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(moments.len(), 3);
    assert!(moments.windows(2).all(|pair| pair[1] - pair[0] >= 50_000_000), "{moments:?}");
    assert_eq!(place.field("t", "a", "_tries"), 3);
}

#[test]
fn halt_gives_up() {
    let place = Place::new();
    let lines: String = (1..=50).map(|number| format!("{number}\n")).collect();
    place.feed(&["add", "t"], lines.as_bytes()).expect(0);
    let ended = place.run(&["run", "t", "-j1", "--halt", "soon,fail=2", "--", "sh", "-c", "test $0 -lt 5", "{}"]).expect(1);
    assert!(ended.err.contains("4/50 done, 2 failed"), "{}", ended.err);
    // The one that sleeps is stopped and goes back, its try not counted.
    place
        .run(&[
            "run",
            "t",
            "-j2",
            "--halt",
            "now,fail=1",
            "--",
            "sh",
            "-c",
            "test $0 = 8 || { touch go; exec sleep 1000; }; until [ -e go ]; do sleep 0.02; done; exit 1",
            "{}",
        ])
        .expect(1);
    assert_eq!(place.field("t", "7", "_tries"), 0);
    assert_eq!(place.field("t", "8", "_tries"), 1);
}

#[test]
fn several_runs_share_a_tracker() {
    let place = Place::new();
    let lines: String = (1..=300).map(|number| format!("{number}\n")).collect();
    place.feed(&["add", "t"], lines.as_bytes()).expect(0);
    let runs: Vec<_> =
        (0..4).map(|_| place.start(&["run", "t", "-j2", "-p", "-q", "--", "sh", "-c", "sleep 0.01; echo $0", "{}"])).collect();
    let mut printed: Vec<u32> = Vec::new();
    for run in runs {
        let ended = run.end();
        assert_eq!(ended.code, 0, "{ended:?}");
        printed.extend(ended.out.lines().map(|line| line.parse::<u32>().unwrap()));
    }
    printed.sort_unstable();
    assert_eq!(printed, (1..=300).collect::<Vec<u32>>(), "each once");
}

#[test]
fn a_run_whose_lease_is_over_loses_its_task() {
    let place = Place::new();
    place.run(&["add", "t", "a"]).expect(0);
    let stopped = place.start(&["run", "t", "--max-tries", "2", "--lease", "2s", "--", "sh", "-c", "sleep 3; echo first"]);
    until("it has begun", || place.field("t", "a", "_tries") == 1);
    stopped.signal(Signal::SIGSTOP);
    place.run(&["run", "t", "--", "echo", "second"]).expect(0);
    stopped.signal(Signal::SIGCONT);
    let ended = stopped.end();
    assert!(ended.err.contains("lease"), "{ended:?}");
    assert_eq!(place.field("t", "a", "stdout"), "second a\n");
    // One that gives its signs of life keeps its task however long it takes.
    place.run(&["add", "t", "b"]).expect(0);
    place.run(&["run", "t", "-j2", "--", "sh", "-c", "sleep 3; echo kept"]).expect(0);
    assert_eq!((place.field("t", "b", "stdout"), place.field("t", "b", "_tries")), (json!("kept\n"), json!(1)));
}
