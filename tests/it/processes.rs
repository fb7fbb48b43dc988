//! Many processes on one store. Goal: whatever processes do to themselves, to each other and to the directory, a write
//! that returned is there afterwards, nobody hangs, and what cannot work is a clear error.
//!
//! The processes are this binary in roles (`support::Child`). Checked: contents against what each process said it had
//! written, counters against the sum of all additions, `verify`, the kinds of errors, and time where somebody could hang.

use crate::support::{Child, HANG, Role, command, directory, hear, hear_end, say, text, wait, was_killed};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::json;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tastypod::{ErrorKind, Options, Pod, crash};

pub const CHILDREN: &[Role] = &[
    ("open-and-add", open_and_add),
    ("open-close-storm", open_close_storm),
    ("write-on", write_on),
    ("write-until-removed", write_until_removed),
    ("exit-somehow", exit_somehow),
    ("count-steps", count_steps),
    ("hold-lock", hold_lock),
    ("sleep-for-commit", sleep_for_commit),
    ("commit-and-die", commit_and_die),
    ("try-to-open", try_to_open),
    ("reuse-pid", reuse_pid),
];

#[track_caller]
fn assert_clean(pod: &Pod) {
    let report = pod.verify().unwrap();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn eight_threads_with_two_handles_lose_nothing() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let (one, other) = (Pod::open(&path).unwrap(), Pod::open(&path).unwrap());
    assert_eq!(one.stats().unwrap().processes, 1, "both are one membership");
    one.set("n", 0).unwrap();
    one.set("list", json!([])).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let pod = if thread % 2 == 0 { &one } else { &other };
            scope.spawn(move || {
                for n in 0..60 {
                    pod.at("n").add(1).unwrap();
                    pod.at("list").push(thread).unwrap();
                    pod.set((thread, n), n).unwrap();
                    match n % 5 {
                        0 => pod
                            .transaction(|txn| {
                                txn.at("n").add(1)?;
                                txn.set((thread, "t", n), 1)
                            })
                            .unwrap(),
                        1 => {
                            let guard = pod.lock().unwrap();
                            pod.at("n").add(1).unwrap();
                            pod.remove((thread, "t", n - 1)).unwrap();
                            guard.commit().unwrap();
                        }
                        2 => {
                            let snapshot = pod.snapshot().unwrap();
                            assert_eq!(snapshot.len(), snapshot.entries().map(Result::unwrap).count());
                        }
                        3 => drop(Pod::open(pod.path()).unwrap()),
                        _ => pod.update("n", |value| *value = json!(value.as_i64().unwrap() + 1)).unwrap(),
                    }
                }
            });
        }
    });
    assert_eq!(one.get("n").unwrap(), Some(json!(8 * (60 + 3 * 12))));
    assert_eq!(other.at("list").len().unwrap(), 8 * 60);
    assert_eq!(one.len(), 2 + 8 * 60);
    assert_clean(&one);
    drop(one);
    assert_eq!(other.stats().unwrap().processes, 1, "the other handle keeps the store open");
}

#[test]
fn fifty_processes_that_open_a_new_path_at_once_make_one_store() {
    let dir = directory();
    let path = dir.path().join("deep/er/a.pod");
    let mut children: Vec<Child> = (0..50).map(|n| Child::start("open-and-add", &[text(&path), &n.to_string()])).collect();
    for child in &mut children {
        assert_eq!(child.line().as_deref(), Some("ready"));
    }
    for child in &mut children {
        child.tell("go");
    }
    for child in &mut children {
        assert!(child.wait().success());
    }
    let pod = Pod::open(&path).unwrap();
    assert_eq!(pod.get("n").unwrap(), Some(json!(50)));
    assert_eq!(pod.len(), 51);
    assert_eq!(pod.stats().unwrap().processes, 1);
    assert_clean(&pod);
}

fn open_and_add(arguments: &[String]) {
    say("ready");
    hear();
    let pod = Pod::open(&arguments[0]).unwrap();
    pod.update_or_insert("n", json!(0), |value| *value = json!(value.as_i64().unwrap() + 1)).unwrap();
    pod.set(("own", arguments[1].as_str()), 1).unwrap();
}

#[test]
fn opening_and_closing_all_the_time_disturbs_nobody() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    Pod::open(&path).unwrap().set("n", 0).unwrap();
    let mut workers: Vec<Child> = (0..2).map(|n| Child::start("write-on", &[text(&path), &n.to_string()])).collect();
    let mut storms: Vec<Child> = (0..4).map(|n| Child::start("open-close-storm", &[text(&path), &n.to_string()])).collect();
    for storm in &mut storms {
        assert!(storm.wait().success());
    }
    let mut written = 0;
    for worker in &mut workers {
        worker.input.take();
        // Heard first: it may stand before a full pipe.
        written += worker.lines().last().unwrap().parse::<usize>().unwrap();
        assert!(worker.wait().success());
    }
    // Alone in turns too: each open finds a store that was closed in order.
    let mut alone = Child::start("open-close-storm", &[text(&path), "4"]);
    assert!(alone.wait().success());
    let pod = Pod::open(&path).unwrap();
    assert_eq!(pod.get("n").unwrap(), Some(json!(5 * 40)));
    assert_eq!(pod.len(), 1 + 5 * 40 + written);
    assert_clean(&pod);
}

fn open_close_storm(arguments: &[String]) {
    for n in 0..40 {
        let pod = Pod::open(&arguments[0]).unwrap();
        pod.at("n").add(1).unwrap();
        assert!(pod.set_if_absent(("storm", arguments[1].as_str(), n), n).unwrap());
        pod.close().unwrap();
    }
}

/// Writes one key after the other until the pipe ends or it is killed; says each one that is written.
fn write_on(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    let end = std::thread::spawn(hear_end);
    for n in 0..1_000_000 {
        if end.is_finished() {
            break;
        }
        pod.set((arguments[1].as_str(), n), n).unwrap();
        say(n + 1);
    }
}

#[test]
fn a_killed_group_of_processes_leaves_all_that_was_said_to_be_written() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    for round in 0..3 {
        let start = |n: usize, group: i32| {
            let mut role = command("write-on", &[text(&path), &format!("{round}.{n}")]);
            role.process_group(group).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
        };
        let leader = start(0, 0);
        let group = leader.id() as i32;
        let children: Vec<std::process::Child> = std::iter::once(leader).chain((1..4).map(|n| start(n, group))).collect();
        std::thread::sleep(Duration::from_millis(150));
        killpg(Pid::from_raw(group), Signal::SIGKILL).unwrap();
        let said: Vec<i64> = children
            .into_iter()
            .map(|mut child| {
                let (input, output) = (child.stdin.take(), std::io::BufReader::new(child.stdout.take().unwrap()));
                assert!(was_killed(wait(&mut child)));
                let mut child = Child { process: child, input, output };
                child.lines().last().map_or(0, |line| line.parse().unwrap())
            })
            .collect();
        let pod = Pod::open(&path).unwrap();
        for (n, said) in said.into_iter().enumerate() {
            let worker = format!("{round}.{n}");
            for key in 0..said {
                assert_eq!(pod.get((worker.as_str(), key)).unwrap(), Some(json!(key)), "{worker} had said {said}");
            }
            assert_eq!(pod.get((worker.as_str(), said + 1)).unwrap(), None, "one write may not have been said yet, not two");
        }
        assert_clean(&pod);
    }
}

#[test]
fn removing_the_directory_under_working_processes_is_an_error_and_no_hang() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let kept = Pod::open(&path).unwrap();
    kept.set("k", "old").unwrap();
    let mut children: Vec<Child> = (0..3).map(|n| Child::start("write-until-removed", &[text(&path), &n.to_string()])).collect();
    for child in &mut children {
        assert_eq!(child.line().as_deref(), Some("writing"));
    }
    // Whoever saves meanwhile may put a file into a directory that was just emptied.
    while path.exists() {
        let _ = std::fs::remove_dir_all(&path);
    }
    // A new store at the path has nothing to do with what the others still have in memory.
    let new = Pod::open(&path).unwrap();
    assert!(new.is_empty());
    new.set("k", "new").unwrap();
    assert_eq!(kept.get("k").unwrap(), Some(json!("old")));
    assert_eq!(kept.path(), new.path());
    for child in &mut children {
        child.tell("close");
        assert_eq!(child.lines(), ["store removed"]);
        assert!(child.wait().success());
    }
    match kept.set("k", "into the void") {
        Ok(()) => assert_eq!(kept.get("k").unwrap(), Some(json!("into the void"))),
        Err(error) => assert_eq!(error.kind(), ErrorKind::StoreRemoved),
    }
    assert_eq!(new.get("k").unwrap(), Some(json!("new")));
    assert_eq!(new.len(), 1);
    let error = kept.close().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StoreRemoved);
    assert!(error.to_string().contains(text(&path)), "{error}");
    new.close().unwrap();
    let new = Pod::open(&path).unwrap();
    assert_eq!(new.get("k").unwrap(), Some(json!("new")));
    assert_clean(&new);
}

fn write_until_removed(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    let told = std::thread::spawn(hear);
    let mut written = 0;
    while !told.is_finished() {
        // All kinds of calls, among them growth, may meet the removal.
        let outcome = pod.set((arguments[1].as_str(), written), "x".repeat(100)).and_then(|()| pod.snapshot().map(drop));
        match outcome {
            Ok(()) => {
                written += 1;
                if written == 100 {
                    say("writing");
                }
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::StoreRemoved, "{error}"),
        }
    }
    match pod.close() {
        Err(error) if error.kind() == ErrorKind::StoreRemoved => say("store removed"),
        other => say(format!("{other:?}")),
    }
}

#[test]
fn every_way_to_exit_leaves_a_store_in_good_order() {
    for way in ["exit", "return", "forget", "panic", "main-thread-ends-first"] {
        let dir = directory();
        let path = dir.path().join("a.pod");
        Child::start("exit-somehow", &[text(&path), way]).wait();
        assert!(steps_to_open(&path) < 1000, "after {way} the store was rebuilt");
        let pod = Pod::open(&path).unwrap();
        assert_eq!(pod.len(), 1000);
        assert_clean(&pod);
    }
    // The comparison is able to fail.
    let dir = directory();
    let path = dir.path().join("a.pod");
    Child::start("exit-somehow", &[text(&path), "kill"]).wait();
    assert!(steps_to_open(&path) > 1000);
    let pod = Pod::open(&path).unwrap();
    assert_eq!(pod.len(), 1000);
    assert_clean(&pod);
}

/// How many changes of shared memory an open takes: a rebuild makes some for every record.
fn steps_to_open(path: &Path) -> u64 {
    let mut child = Child::start("count-steps", &[text(path)]);
    let steps = child.line().expect("the count").parse().expect("a number");
    child.wait();
    steps
}

fn count_steps(arguments: &[String]) {
    crash::arm(0, crash::Action::Kill);
    let pod = Pod::open(&arguments[0]).unwrap();
    say(crash::passed());
    drop(pod);
}

fn exit_somehow(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    for n in 0..1000 {
        pod.set(n, n).unwrap();
    }
    match arguments[1].as_str() {
        "exit" => std::process::exit(3),
        "forget" => std::mem::forget(pod),
        "panic" => panic!("this panic is part of a test"),
        "kill" => kill(nix::unistd::getpid(), Signal::SIGKILL).unwrap(),
        "main-thread-ends-first" => {
            std::thread::spawn(move || {
                let _pod = pod;
                std::thread::sleep(Duration::from_secs(60));
            });
        }
        _ => {}
    }
}

#[test]
fn a_zombie_that_held_the_lock_keeps_nobody_waiting() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Options::new().lock_timeout(HANG).open(&path).unwrap();
    let mut zombies = Vec::new();
    for n in 0..3 {
        let mut child = Child::start("hold-lock", &[text(&path)]);
        assert_eq!(child.line().as_deref(), Some("held"));
        // Killed and not waited for: the process id stays.
        child.process.kill().unwrap();
        zombies.push(child);
        pod.set("k", n).unwrap();
    }
    assert_eq!(pod.get("uncommitted").unwrap(), None);
    // The kernel gives up a dying process's locks a moment before it counts as dead.
    let start = Instant::now();
    while pod.stats().unwrap().processes > 1 {
        assert!(start.elapsed() < HANG, "zombies are dead");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_clean(&pod);
}

fn hold_lock(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    let _guard = pod.lock().unwrap();
    pod.set("uncommitted", 1).unwrap();
    say("held");
    hear_end();
}

#[test]
fn sleepers_in_other_processes_wake_at_a_commit() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    let mut sleepers: Vec<Child> =
        ["writer", "writer", "reader"].iter().map(|kind| Child::start("sleep-for-commit", &[text(&path), kind])).collect();
    for sleeper in &mut sleepers {
        assert_eq!(sleeper.line().as_deref(), Some("sleeping"));
    }
    for n in 0..20 {
        let before = pod.version();
        pod.set("n", n).unwrap();
        assert!(pod.version() > before);
        for sleeper in &mut sleepers {
            assert_eq!(sleeper.line(), Some(n.to_string()));
        }
    }
    let version = pod.version();
    let start = Instant::now();
    assert_eq!(pod.wait(version, Duration::from_millis(50)).unwrap(), version);
    assert!((50..5000).contains(&start.elapsed().as_millis()), "a timeout is kept");
}

/// Says the value after each commit.
fn sleep_for_commit(arguments: &[String]) {
    let pod = Options::new().read_only(arguments[1] == "reader").open(&arguments[0]).unwrap();
    let mut seen = pod.version();
    say("sleeping");
    for n in 0..20 {
        let start = Instant::now();
        seen = pod.wait(seen, HANG).unwrap();
        assert!(start.elapsed() < HANG / 2, "woken by the time-out");
        assert_eq!(pod.get("n").unwrap(), Some(json!(n)), "one commit at a time");
        say(n);
    }
}

#[test]
fn a_committer_killed_on_its_way_to_wake_others_keeps_nobody_asleep() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    pod.set("n", 0).unwrap();
    // How many points a commit passes, with and without somebody asleep, is found out by going too far.
    let mut survived = 0;
    for point in 1.. {
        let seen = pod.version();
        let (woken, status) = std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| pod.wait(seen, Duration::from_secs(20)).unwrap());
            let mut child = Child::start("commit-and-die", &[text(&path), &point.to_string()]);
            let status = child.wait();
            let start = Instant::now();
            if !status.success() && pod.version() == seen {
                // Killed before its commit: whoever comes next finishes or forgets it, and that wakes the sleeper.
                pod.set("mine", point).unwrap();
            }
            let woken = sleeper.join().unwrap();
            assert!(start.elapsed() < Duration::from_secs(5), "asleep after the commit, killed at point {point}");
            (woken, status)
        });
        assert!(woken > seen);
        assert!(status.success() || was_killed(status), "{status}");
        survived += u32::from(status.success());
        if survived == 2 {
            assert!(point > 10, "there were points to be killed at");
            break;
        }
    }
    assert_clean(&pod);
}

fn commit_and_die(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    // Time for the sleeper of the test to fall asleep.
    std::thread::sleep(Duration::from_millis(5));
    crash::arm(arguments[1].parse().unwrap(), crash::Action::Kill);
    pod.at("n").add(1).unwrap();
    crash::arm(0, crash::Action::Kill);
}

/// Says what comes of opening, and closes at the end of the pipe.
fn try_to_open(arguments: &[String]) {
    match Options::new().lock_timeout(Duration::from_secs(5)).open(&arguments[0]) {
        Ok(pod) => {
            pod.at("n").add(1).unwrap();
            say("open");
            hear_end();
        }
        Err(error) => say(format!("{:?}: {error}", error.kind())),
    }
}

/// The binary in a role, in a pid namespace of its own; nothing where that is not permitted.
fn in_own_pid_namespace(role: &str, arguments: &[&str]) -> Option<Child> {
    let unshare = ["-Urpf", "--kill-child", "--mount-proc"];
    let permitted = Command::new("unshare").args(unshare).arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    if !permitted {
        println!("skipped: no pid namespaces here");
        return None;
    }
    let role = command(role, arguments);
    let mut command = Command::new("unshare");
    command.args(unshare).arg(role.get_program()).args(role.get_args());
    command.envs(role.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let input = process.stdin.take();
    let output = std::io::BufReader::new(process.stdout.take().unwrap());
    Some(Child { process, input, output })
}

#[test]
fn a_second_pid_namespace_is_refused_while_the_store_is_open() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    pod.set("n", 0).unwrap();
    let Some(mut refused) = in_own_pid_namespace("try-to-open", &[text(&path)]) else { return };
    let said = refused.line().unwrap();
    assert!(said.starts_with("ForeignState: ") && said.contains(text(&path)) && said.contains("pid namespace"), "{said}");
    pod.at("n").add(1).unwrap();
    drop(pod);
    // With nobody there it may, and then we are the ones who are refused.
    let mut inside = in_own_pid_namespace("try-to-open", &[text(&path)]).unwrap();
    assert_eq!(inside.line().as_deref(), Some("open"));
    assert_eq!(Pod::open(&path).unwrap_err().kind(), ErrorKind::ForeignState);
    assert_eq!(Options::new().read_only(true).open(&path).unwrap_err().kind(), ErrorKind::ForeignState);
    // However the other ends.
    inside.kill();
    let start = Instant::now();
    let pod = loop {
        match Pod::open(&path) {
            Ok(pod) => break pod,
            // The kernel ends the namespace's processes a moment later.
            Err(error) => assert!(start.elapsed() < HANG, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(pod.get("n").unwrap(), Some(json!(2)));
    assert_clean(&pod);
}

#[test]
fn a_process_with_the_id_of_a_dead_one_is_not_taken_for_it() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let Some(mut inside) = in_own_pid_namespace("reuse-pid", &[text(&path)]) else { return };
    let said = inside.lines();
    assert!(inside.wait().success(), "{said:?}");
    if said == ["skipped"] {
        println!("skipped: process ids cannot be chosen here");
        return;
    }
    let pod = Pod::open(&path).unwrap();
    assert_eq!(pod.get("k").unwrap(), Some(json!(2)));
    assert_clean(&pod);
}

fn reuse_pid(arguments: &[String]) {
    let pod = Options::new().lock_timeout(Duration::from_millis(300)).open(&arguments[0]).unwrap();
    let mut first = Child::start("hold-lock", &[&arguments[0]]);
    assert_eq!(first.line().as_deref(), Some("held"));
    let id = first.pid();
    first.kill();
    // A process's start is known to a hundredth of a second.
    std::thread::sleep(Duration::from_millis(20));
    if std::fs::write("/proc/sys/kernel/ns_last_pid", (id - 1).to_string()).is_err() {
        return say("skipped");
    }
    let mut second = Child::start("hold-lock", &[&arguments[0]]);
    if second.pid() != id {
        return say("skipped");
    }
    assert_eq!(second.line().as_deref(), Some("held"));
    assert_eq!(pod.stats().unwrap().processes, 2, "this one and the second");
    // It lives, so its lock is respected.
    let error = pod.set("k", 1).unwrap_err();
    let ErrorKind::LockTimeout { owner, .. } = error.kind() else { panic!("{error}") };
    assert_eq!(owner.pid as i32, id);
    second.kill();
    pod.set("k", 2).unwrap();
    assert_eq!(pod.get("uncommitted").unwrap(), None);
}
