//! Cases that worker pools were seen to go wrong in, each with its neighbours.
//!
//! Goal: a task whose worker died or was too slow goes to another one, and never more often than it may be tried; nobody is told that all is
//! done while something may still come; no number in a task or an option keeps other tasks from being given out.
//!
//! Crash model: SIGKILL and SIGSTOP of workers that hold claims, with nobody else there, and with only the JSON files left.

use crate::chance::{Random, seed};
use crate::forked::fork;
use crate::support::{Child, HANG, Role, directory, hear, say, text};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};
use tastypod::{Claim, ErrorKind, Next, Options, Pod, Result, Retry, Tracker};

pub const CHILDREN: &[Role] = &[("case_worker", worker_role), ("case_waits", waits_role), ("case_orphan", orphan_role)];

const SOON: Duration = Duration::from_millis(30);
const HOUR: Duration = Duration::from_secs(3600);

fn outcome<T>(result: Result<T>) -> String {
    result.map_or_else(|error| format!("{:?}", error.kind()), |_| "Ok".to_owned())
}

fn named(claim: &Claim) -> String {
    format!("{} {}", claim.key(), claim.tries())
}

/// A worker that does as it is told, a line each.
fn worker_role(arguments: &[String]) {
    let tracker = Tracker::open(&arguments[0]).unwrap();
    let mut held: VecDeque<Claim> = VecDeque::new();
    say("ready");
    loop {
        let told = hear();
        let (call, argument) = told.split_once(' ').unwrap_or((&told, ""));
        let mut end = |ends: fn(Claim) -> Result<()>| outcome(ends(held.pop_front().expect("it holds something")));
        say(match call {
            "" => return,
            "claim" => match tracker.claim().unwrap() {
                None => "nothing".to_owned(),
                Some(claim) => {
                    held.push_back(claim);
                    named(held.back().unwrap())
                }
            },
            "wait" => {
                say("waits");
                match tracker.claim_wait(HANG).unwrap() {
                    Next::Task(claim) => {
                        held.push_back(claim);
                        named(held.back().unwrap())
                    }
                    other => format!("{other:?}"),
                }
            }
            "done" => end(Claim::done),
            "done_with" => end(|claim| claim.done_with(json!({"r": 1}))),
            "done_and" => end(|claim| claim.done_and(|t| t.add("child"))),
            "fail" => end(|claim| claim.fail("it was told to").map(drop)),
            "fail_with" => end(|claim| claim.fail_with("it was told to", json!({"r": 1})).map(drop)),
            "release" => end(Claim::release),
            "abort" => end(|claim| claim.abort("it was told to")),
            "drop" => end(|claim| {
                drop(claim);
                Ok(())
            }),
            "heartbeat" => outcome(held.front().expect("it holds something").heartbeat()),
            "add" => outcome(tracker.add(argument)),
            "set" => outcome(tracker.set(argument, json!({"again": true}))),
            "remove" => outcome(tracker.remove(argument)),
            "sync" => outcome(tracker.sync()),
            "claims" => tracker.claims().unwrap().len().to_string(),
            other => panic!("no call {other}"),
        });
    }
}

struct Worker(Child);

impl Worker {
    fn start(path: &Path) -> Worker {
        let mut child = Child::start("case_worker", &[text(path)]);
        assert_eq!(child.line().as_deref(), Some("ready"));
        Worker(child)
    }

    fn hear(&mut self) -> String {
        self.0.line().expect("the worker lives")
    }

    fn ask(&mut self, call: &str) -> String {
        self.0.tell(call);
        self.hear()
    }

    /// Lets it wait for a task: [`hear`](Worker::hear) says which.
    fn wait(&mut self) {
        assert_eq!(self.ask("wait"), "waits");
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.pid()), signal).unwrap();
    }
}

fn store(options: Options) -> (tempfile::TempDir, PathBuf, Tracker) {
    let directory = directory();
    let path = directory.path().join("a.tracker");
    let tracker = options.open_tracker(&path).unwrap();
    (directory, path, tracker)
}

#[track_caller]
fn next(tracker: &Tracker) -> Claim {
    match tracker.claim_wait(HANG).unwrap() {
        Next::Task(claim) => claim,
        other => panic!("{other:?}, and a task is left"),
    }
}

fn error_of(tracker: &Tracker, key: &str) -> String {
    tracker.at(key).key("_error").get_as::<String>().unwrap().unwrap_or_default()
}

#[track_caller]
fn require_clean(tracker: &Tracker) {
    let report = tracker.verify().unwrap();
    assert!(report.is_clean(), "{report}");
}

fn is_finished(tracker: &Tracker) -> bool {
    matches!(tracker.claim_wait(Duration::ZERO).unwrap(), Next::Finished)
}

/// Asks for the claims, which offers what is past its lease, until all are.
fn wait_until_leases_are_over(tracker: &Tracker) {
    let start = Instant::now();
    while tracker.claims().unwrap().iter().any(|claim| claim.lease_left.is_some_and(|left| !left.is_zero())) {
        assert!(start.elapsed() < HANG, "a lease does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}

// T1: a worker dies.

#[test]
fn what_a_killed_worker_held_goes_back_behind_what_waits_with_the_death_as_its_error() {
    for is_reaped in [true, false] {
        let (_directory, path, tracker) = store(Options::new());
        tracker.add_many(["a", "b"]).unwrap();
        let mut first = Worker::start(&path);
        assert_eq!(first.ask("claim"), "a 1");
        if is_reaped {
            first.0.kill()
        } else {
            first.signal(Signal::SIGKILL)
        }
        let start = Instant::now();
        while !tracker.claims().unwrap().is_empty() {
            // A killed process that nobody waited for is a zombie a moment later.
            assert!(!is_reaped && start.elapsed() < HANG, "the dead hold nothing");
        }
        let claim = next(&tracker);
        assert_eq!(named(&claim), "b 1");
        claim.done().unwrap();
        let claim = next(&tracker);
        assert_eq!(named(&claim), "a 2");
        let error = error_of(&tracker, "a");
        assert!(error.contains(&format!("process {}", first.0.pid())) && error.contains("died"), "{error}");
        claim.done().unwrap();
        assert!(is_finished(&tracker));
        assert_eq!(tracker.num_done(), 2);
        require_clean(&tracker);
    }
}

#[test]
fn a_stopped_worker_without_a_lease_keeps_its_task() {
    let (_directory, path, tracker) = store(Options::new());
    tracker.add_many(["a", "b"]).unwrap();
    let mut first = Worker::start(&path);
    assert_eq!(first.ask("claim"), "a 1");
    first.signal(Signal::SIGSTOP);
    let claim = next(&tracker);
    assert_eq!(named(&claim), "b 1");
    claim.done().unwrap();
    assert!(matches!(tracker.claim_wait(Duration::from_millis(300)).unwrap(), Next::TimedOut));
    assert_eq!(tracker.claims().unwrap()[0].owner.pid as i32, first.0.pid());
    first.signal(Signal::SIGCONT);
    assert_eq!(first.ask("done"), "Ok");
    assert!(is_finished(&tracker));
    assert_eq!(tracker.tries("a").unwrap(), 1);
}

// T2: a task that kills its workers.

#[test]
fn a_task_that_kills_its_workers_is_started_as_often_as_it_may_be_and_then_failed() {
    let looks = ["failures", "claim_wait", "should_try", "claims"];
    // The JSON files alone are left after the kill with this number, if any.
    let cases = looks.iter().map(|look| (*look, None)).chain((0..3).map(|kill| ("failures", Some(kill))));
    for (look, files_alone_after) in cases {
        let (_directory, path, tracker) = store(Options::new().max_tries(3));
        tracker.add("poison").unwrap();
        tracker.close().unwrap();
        for turn in 0..3 {
            let mut worker = Worker::start(&path);
            assert_eq!(worker.ask("claim"), format!("poison {}", turn + 1));
            if files_alone_after == Some(turn) {
                assert_eq!(worker.ask("sync"), "Ok");
            }
            worker.0.kill();
            if files_alone_after == Some(turn) {
                std::fs::remove_dir_all(path.join(".live")).unwrap();
            }
        }
        let tracker = Tracker::open(&path).unwrap();
        // Whatever is asked first says it.
        match look {
            "claim_wait" => assert!(is_finished(&tracker)),
            "should_try" => assert!(!tracker.should_try("poison").unwrap()),
            "claims" => assert!(tracker.claims().unwrap().is_empty()),
            _ => {}
        }
        let failures: Vec<_> = tracker.failures().collect::<Result<_>>().unwrap();
        assert_eq!((failures.len(), failures[0].tries, failures[0].is_final), (1, 3, true), "{look} {files_alone_after:?}");
        let error = failures[0].error.as_deref().unwrap_or("none");
        assert!(error.contains("died"), "{look} {files_alone_after:?}: {error}");
        assert!(is_finished(&tracker), "{look} {files_alone_after:?}");
        assert!(!tracker.should_try("poison").unwrap() && !tracker.should_do("poison").unwrap());
        assert!(tracker.claim().unwrap().is_none() && tracker.try_keys().next().is_none());
        assert_eq!(tracker.tries("poison").unwrap(), 3);
        let progress = tracker.progress();
        assert_eq!((progress.failed, progress.todo, progress.claimed, progress.percent()), (1, 0, 0, 100));
        require_clean(&tracker);
    }
}

#[test]
fn a_living_process_tells_of_a_death_as_soon_as_it_lists_failures() {
    let (_directory, path, tracker) = store(Options::new().max_tries(1));
    tracker.add("poison").unwrap();
    let mut worker = Worker::start(&path);
    assert_eq!(worker.ask("claim"), "poison 1");
    assert_eq!(tracker.failures().count(), 0, "somebody works on it: it may still be done");
    worker.0.kill();
    let failures: Vec<_> = tracker.failures().collect::<Result<_>>().unwrap();
    assert_eq!(failures.len(), 1);
    assert!(failures[0].is_final && failures[0].error.as_deref().unwrap_or("none").contains("died"), "{failures:?}");
    assert_eq!(tracker.retry_failed().unwrap(), 1);
    assert_eq!(named(&next(&tracker)), "poison 1");
}

// T3: a late result.

#[test]
fn a_late_result_counts_where_nobody_took_the_task() {
    let (_directory, path, tracker) = store(Options::new().lease(SOON));
    tracker.add("a").unwrap();
    let mut late = Worker::start(&path);
    assert_eq!(late.ask("claim"), "a 1");
    wait_until_leases_are_over(&tracker);
    assert_eq!(late.ask("heartbeat"), "Ok");
    wait_until_leases_are_over(&tracker);
    assert_eq!(late.ask("done_with"), "Ok");
    assert_eq!(tracker.at("a").key("r").get().unwrap(), Some(1.into()));
    assert_eq!((tracker.tries("a").unwrap(), tracker.num_done()), (1, 1));
    assert!(is_finished(&tracker));
    require_clean(&tracker);
}

#[test]
fn a_late_result_counts_for_nothing_where_somebody_took_the_task() {
    for end in ["done", "done_with", "done_and", "fail", "fail_with", "release", "abort", "drop"] {
        for others in 1..=2 {
            let (_directory, path, tracker) = store(Options::new().lease(SOON));
            tracker.add("a").unwrap();
            let mut late = Worker::start(&path);
            assert_eq!(late.ask("claim"), "a 1");
            if others == 2 {
                // A second one takes it, and is killed.
                let mut second = Worker::start(&path);
                second.wait();
                assert_eq!(second.hear(), "a 2");
                second.0.kill();
            }
            let claim = next(&tracker);
            assert_eq!(named(&claim), format!("a {}", others + 1));
            let before = tracker.raw_json("a").unwrap();
            assert_eq!(late.ask("heartbeat"), "LeaseLost", "{end}");
            assert_eq!(late.ask(end), if end == "drop" { "Ok" } else { "LeaseLost" }, "{end}");
            assert_eq!(tracker.raw_json("a").unwrap(), before, "{end}");
            assert!(!tracker.contains_key("child").unwrap());
            assert_eq!(tracker.claims().unwrap()[0].owner.pid, std::process::id(), "{end}");
            claim.done_with(json!({"r": 2})).unwrap();
            assert_eq!(tracker.at("a").key("r").get().unwrap(), Some(2.into()));
            assert_eq!((tracker.tries("a").unwrap(), tracker.num_done(), tracker.len()), (others + 1, 1, 1));
            assert!(is_finished(&tracker));
            require_clean(&tracker);
        }
    }
}

/// What stands in the queue for a claim past its lease is not all that there is of the offer.
#[test]
fn a_task_past_its_lease_stays_on_offer_whatever_becomes_of_its_place_in_the_queue() {
    type Change = fn(&Tracker);
    let changes: [(&str, Change); 7] = [
        ("nothing", |_| ()),
        ("another limit of tries", |tracker| tracker.set_max_tries(5).unwrap()),
        ("no limit of tries", |tracker| tracker.set_max_tries(0).unwrap()),
        ("another place in the order", |tracker| tracker.compact().unwrap()),
        ("done by mistake", |tracker| {
            tracker.mark_done("a").unwrap();
            assert!(tracker.claim().unwrap().is_none());
            tracker.mark_not_done("a").unwrap();
        }),
        ("aborted by mistake", |tracker| {
            tracker.abort("a").unwrap();
            assert!(tracker.claim().unwrap().is_none());
            tracker.unabort("a").unwrap();
        }),
        ("another priority", |tracker| tracker.at("a").key("_priority").set(-1).unwrap()),
    ];
    for (name, change) in changes {
        let (_directory, _, tracker) = store(Options::new().lease(SOON).max_tries(3));
        // Holes, for a compaction to close.
        tracker.add_many(0..3000).unwrap();
        tracker.transaction(|t| (0..3000).try_for_each(|key| t.remove(key).map(drop))).unwrap();
        tracker.add("a").unwrap();
        let late = next(&tracker);
        wait_until_leases_are_over(&tracker);
        change(&tracker);
        require_clean(&tracker);
        match tracker.claim_wait(HANG).unwrap() {
            Next::Task(claim) => {
                assert_eq!(named(&claim), "a 2", "{name}");
                assert_eq!(outcome(late.done()), "LeaseLost", "{name}");
                claim.done().unwrap();
            }
            other => panic!("{name}: {other:?}, and the task may be taken"),
        }
        assert!(is_finished(&tracker), "{name}");
        require_clean(&tracker);
    }
}

// T5: the first one always fails.

#[test]
fn a_task_that_fails_is_tried_again_behind_all_others() {
    let keys = ["f", "a", "b", "c", "d", "e", "g", "h", "i", "j"];
    let starts = |tracker: &Tracker| {
        tracker.add_many(keys).unwrap();
        let mut starts = Vec::new();
        while let Next::Task(claim) = tracker.claim_wait(Duration::ZERO).unwrap() {
            starts.push(claim.key().to_string());
            if starts.last().unwrap() == "f" { claim.fail("always").map(drop).unwrap() } else { claim.done().unwrap() }
        }
        starts
    };
    let (_directory, _, tracker) = store(Options::new().max_tries(3));
    assert_eq!(starts(&tracker), [&keys[..], &["f", "f"]].concat());
    assert!(is_finished(&tracker));
    let (_directory, _, tracker) = store(Options::new().max_tries(3).backoff(HOUR, 2.0, HOUR));
    assert_eq!(starts(&tracker), keys);
    assert!(matches!(tracker.claim_wait(SOON).unwrap(), Next::TimedOut), "it waits for its time");
    assert_eq!(tracker.retry(["f"]).unwrap(), 1);
    assert_eq!(named(&next(&tracker)), "f 1");
}

/// Waits for a second, and says what came of it and how many microseconds of processor time that took.
fn waits_role(arguments: &[String]) {
    let tracker = Tracker::open(&arguments[0]).unwrap();
    let used = || {
        let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
        [usage.user_time(), usage.system_time()].iter().map(|time| time.tv_sec() * 1_000_000 + time.tv_usec()).sum::<i64>()
    };
    let before = used();
    let next = tracker.claim_wait(Duration::from_secs(1)).unwrap();
    let used = used() - before;
    say(format_args!("{next:?}"));
    say(used);
}

#[test]
fn waiting_for_a_task_takes_next_to_no_processor_time() {
    let cases = ["backoff", "far future", "held", "held with a lease", "held past its lease and exhausted"];
    // All wait at the same time.
    let waiting = cases.map(|what| {
        let options = match what {
            "backoff" => Options::new().backoff(HOUR, 1.0, HOUR),
            "held with a lease" => Options::new().lease(HOUR),
            "held past its lease and exhausted" => Options::new().lease(SOON).max_tries(1),
            _ => Options::new(),
        };
        let (directory, path, tracker) = store(options);
        tracker.merge([("a", if what == "far future" { json!({"_not_before": 1e18}) } else { json!({}) })]).unwrap();
        let claim = tracker.claim().unwrap();
        let mut held = Vec::new();
        if what == "backoff" {
            claim.unwrap().fail("later").map(drop).unwrap();
        } else {
            held.extend(claim);
        }
        let expected = if what.contains("past") {
            wait_until_leases_are_over(&tracker);
            "Finished"
        } else {
            "TimedOut"
        };
        (what, expected, Child::start("case_waits", &[text(&path)]), (tracker, held, directory))
    });
    for (what, expected, mut waiter, _held) in waiting {
        assert_eq!(waiter.line().as_deref(), Some(expected), "{what}");
        let microseconds: i64 = waiter.line().unwrap().parse().unwrap();
        println!("{what}: {microseconds} microseconds");
        assert!(microseconds < 50_000, "{what}: {microseconds} microseconds of processor time in a second of waiting");
    }
}

// T6: not finished yet.

#[test]
fn nobody_is_told_that_all_is_done_while_the_last_task_may_come_back_or_bring_another() {
    let ends = [
        ("fail", "task 2"),
        ("drop", "task 2"),
        ("release", "task 1"),
        ("kill", "task 2"),
        ("stop", "task 2"),
        ("done_and", "child 1"),
        ("done", "Finished"),
        ("abort", "Finished"),
    ];
    for (end, expected) in ends {
        let options = Options::new().max_tries(2);
        let (_directory, path, tracker) = store(if end == "stop" { options.lease(SOON * 5) } else { options });
        tracker.add("task").unwrap();
        let (mut first, mut second) = (Worker::start(&path), Worker::start(&path));
        assert_eq!(first.ask("claim"), "task 1");
        second.wait();
        // It is asleep by then, most likely; that it is not told too early shows in either case.
        std::thread::sleep(SOON);
        match end {
            "kill" => first.0.kill(),
            "stop" => first.signal(Signal::SIGSTOP),
            end => assert_eq!(first.ask(end), "Ok"),
        }
        assert_eq!(second.hear(), expected, "{end}");
        if expected != "Finished" {
            // A last try past its lease is waited for by nobody.
            assert!(end == "stop" || !is_finished(&tracker), "{end}: the second try has not ended");
            assert_eq!(second.ask("done"), "Ok");
        }
        assert!(is_finished(&tracker), "{end}");
        require_clean(&tracker);
    }
}

#[test]
fn in_the_moment_in_which_a_lease_ends_nobody_is_told_that_all_is_done() {
    let (_directory, _, tracker) = store(Options::new().lease(Duration::from_millis(3)));
    for task in 0..300 {
        tracker.add(task).unwrap();
        let late = next(&tracker);
        let start = Instant::now();
        let claim = loop {
            match tracker.claim_wait(Duration::ZERO).unwrap() {
                Next::Task(claim) => break claim,
                Next::TimedOut => assert!(start.elapsed() < HANG, "the lease does not end"),
                Next::Finished => panic!("task {task} may be taken"),
            }
        };
        assert_eq!((claim.key().as_i64(), claim.tries()), (Some(task), 2));
        claim.done().unwrap();
        assert_eq!(outcome(late.done()), "LeaseLost");
    }
}

// T7: absurd numbers.

#[test]
fn an_absurd_backoff_is_refused_by_its_name_and_leaves_no_store_or_is_a_delay() {
    let second = Duration::from_secs(1);
    let cases = [
        (HOUR, 1e300, Duration::MAX, true),
        (HOUR, 1.0, Duration::MAX, true),
        (Duration::MAX, 1e308, Duration::MAX, true),
        (Duration::MAX, 2.0, Duration::ZERO, true),
        (Duration::from_nanos(1), f64::MIN_POSITIVE, Duration::MAX, true),
        (Duration::ZERO, 2.0, second, true),
        (second, 0.0, second, true),
        (second, 0.5, HOUR, true),
        (second, -2.0, HOUR, false),
        (second, -1e-300, HOUR, false),
        (second, f64::INFINITY, HOUR, false),
        (second, f64::NEG_INFINITY, HOUR, false),
        (second, f64::NAN, HOUR, false),
    ];
    for (first, factor, longest, is_valid) in cases {
        let directory = directory();
        let path = directory.path().join("deep/a.tracker");
        let what = format!("{first:?} {factor} {longest:?}");
        let opened = Options::new().backoff(first, factor, longest).open_tracker(&path);
        if !is_valid {
            let error = opened.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidValue, "{what}: {error}");
            assert!(error.to_string().contains("backoff"), "{what}: {error}");
            assert!(!path.exists() && !path.parent().unwrap().exists(), "{what}: it left a store");
            let tracker = Tracker::open(&path).unwrap();
            let error = tracker.set_backoff(Some((first, factor, longest))).unwrap_err();
            assert!(error.to_string().contains("backoff"), "{what}: {error}");
            tracker.add("a").unwrap();
            assert_eq!(next(&tracker).fail("no").unwrap(), Retry::Behind, "{what}: nothing was changed");
            continue;
        }
        let tracker = opened.unwrap();
        tracker.add_many(["a", "b"]).unwrap();
        let mut are_long = true;
        for _ in 0..3 {
            let Some(claim) = tracker.claim().unwrap() else { break };
            match claim.fail("no").unwrap() {
                Retry::After(delay) => are_long &= delay >= HOUR,
                retry => {
                    assert_eq!((retry, first), (Retry::Behind, Duration::ZERO), "{what}");
                    are_long = false;
                }
            }
        }
        assert!(are_long || first < HOUR || longest < HOUR, "{what}");
        if are_long {
            assert!(matches!(tracker.claim_wait(Duration::ZERO).unwrap(), Next::TimedOut), "{what}");
        }
        require_clean(&tracker);
        let tried = tracker.raw_json("a").unwrap();
        drop(tracker);
        let again = Options::new().backoff(first, factor, longest).open_tracker(&path).unwrap();
        assert_eq!(again.raw_json("a").unwrap(), tried, "{what}");
        again.set_backoff(Some((first, factor, longest))).unwrap();
    }
}

#[test]
fn an_absurd_lease_lasts_as_long_as_it_says() {
    for lease in [Duration::MAX, Duration::from_nanos(u64::MAX), Duration::from_nanos(u64::MAX - 1)] {
        let (_directory, _, tracker) = store(Options::new().lease(lease));
        tracker.add("a").unwrap();
        let claim = next(&tracker);
        for _ in 0..2 {
            assert!(!is_finished(&tracker), "{lease:?}: somebody works on it");
            assert!(tracker.claim().unwrap().is_none(), "{lease:?}");
            assert!(tracker.claims().unwrap()[0].lease_left > Some(HOUR), "{lease:?}: {:?}", tracker.claims());
            claim.heartbeat().unwrap();
        }
        claim.done().unwrap();
        assert!(is_finished(&tracker));
    }
    let (_directory, _, tracker) = store(Options::new().lease(Duration::ZERO).max_tries(u64::MAX));
    tracker.add("a").unwrap();
    let claim = next(&tracker);
    assert!(tracker.claim().unwrap().is_none() && !is_finished(&tracker), "without a lease a claim lasts");
    claim.done().unwrap();
}

/// Values of a field that are taken, and such that are refused.
fn fields() -> Vec<(&'static str, Vec<Value>, Vec<Value>)> {
    let wrong = || vec![json!("soon"), json!(true), json!([1]), json!({"x": 1})];
    let numbers = || {
        let integers = [json!(0), json!(-1), json!(i64::MIN), json!(i64::MAX), json!(u64::MAX), Value::Null];
        integers.into_iter().chain([1e18, 1e308, -1e308, -0.0, 5e-324, -0.5].map(Value::from)).collect::<Vec<_>>()
    };
    let tries =
        vec![json!(u64::MAX), json!(u64::MAX - 1), json!(i64::MAX), json!(1_u64 << 63), json!(0), json!(-1), json!(i64::MIN), Value::Null];
    let no_tries = wrong().into_iter().chain([json!(0.5), json!(1e300)]).collect();
    vec![
        ("_not_before", numbers(), wrong()),
        ("_priority", numbers(), wrong()),
        ("_tries", tries, no_tries),
        ("_done", vec![Value::Null, json!(false)], vec![json!(0), json!("no")]),
        ("_aborted", vec![Value::Null, json!(false)], vec![json!(1), json!("no")]),
    ]
}

/// Ways to write a field of a task.
#[allow(clippy::type_complexity)]
const WAYS: [(&str, fn(&Tracker, &str, &Value) -> Result<()>); 5] = [
    ("set", |tracker, field, value| tracker.set("odd", json!({field: value}))),
    ("at", |tracker, field, value| tracker.at("odd").key(field).set(value)),
    ("merge", |tracker, field, value| tracker.merge([("odd", json!({field: value}))])),
    ("transaction", |tracker, field, value| tracker.transaction(|t| t.set("odd", json!({field: value})))),
    ("pod", |tracker, field, value| Pod::open(tracker.path())?.update("odd", |odd| odd[field] = value.clone())),
];

#[test]
fn absurd_fields_are_refused_by_their_name_or_taken_and_never_hold_up_other_tasks() {
    for (field, _, refused) in fields() {
        let (_directory, _, tracker) = store(Options::new());
        tracker.add_many(["odd", "other"]).unwrap();
        for (value, (way, write)) in refused.iter().flat_map(|value| WAYS.map(|way| (value, way))) {
            let error = write(&tracker, field, value).err().unwrap_or_else(|| panic!("{way}: {field} {value} is taken"));
            assert_eq!(error.kind(), ErrorKind::InvalidValue, "{way}: {error}");
            assert!(error.to_string().contains(field) && error.to_string().contains("odd"), "{way}: {error}");
        }
        for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            // Where it can be stored at all, it is no number there, but null.
            let _ = tracker.set("odd", BTreeMap::from([(field, number)]));
        }
        // That a task is done stands fast, whatever the fields say.
        if field != "_done" {
            let error = next(&tracker).done_with(json!({field: &refused[0]})).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
        assert_eq!((tracker.len(), tracker.num_done()), (2, 0));
        let keys: Vec<_> = tracker.claim_many(5).unwrap().iter().map(|claim| claim.key().to_string()).collect();
        assert!(keys.contains(&"other".to_owned()), "{field}: {keys:?}");
        require_clean(&tracker);
    }
    for (field, taken, _) in fields() {
        for (turn, value) in taken.iter().enumerate() {
            for max_tries in [0, 3, u64::MAX] {
                let (way, write) = WAYS[turn % WAYS.len()];
                let what = format!("{field} {value} by {way}, {max_tries} tries");
                let (_directory, path, tracker) = store(Options::new().max_tries(max_tries));
                tracker.add_many(["odd", "other"]).unwrap();
                write(&tracker, field, value).unwrap_or_else(|error| panic!("{what}: {error}"));
                for is_again in [false, true] {
                    let claims = tracker.claim_many(5).unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert!(claims.iter().any(|claim| claim.key().as_str() == Some("other")), "{what}");
                    require_clean(&tracker);
                    for claim in claims {
                        let is_odd = claim.key().as_str() == Some("odd");
                        match (is_odd, is_again) {
                            (_, false) => claim.release().unwrap_or_else(|error| panic!("{what}: {error}")),
                            (true, true) => drop(claim.fail("no").unwrap_or_else(|error| panic!("{what}: {error}"))),
                            (false, true) => claim.done().unwrap(),
                        }
                    }
                }
                let calls: [fn(&Tracker) -> Result<()>; 4] = [
                    |tracker| tracker.increment_tries("odd"),
                    |tracker| tracker.decrement_tries("odd"),
                    |tracker| tracker.mark_done("odd"),
                    |tracker| tracker.mark_not_done("odd"),
                ];
                for call in calls {
                    call(&tracker).unwrap_or_else(|error| panic!("{what}: {error}"));
                }
                tracker.should_try("odd").unwrap_or_else(|error| panic!("{what}: {error}"));
                require_clean(&tracker);
                let (stored, tries) = (tracker.raw_json("odd").unwrap(), tracker.tries("odd").unwrap());
                tracker.close().unwrap();
                std::fs::remove_dir_all(path.join(".live")).unwrap();
                let tracker = Tracker::open(&path).unwrap();
                assert_eq!((tracker.raw_json("odd").unwrap(), tracker.tries("odd").unwrap()), (stored, tries), "{what}");
                require_clean(&tracker);
            }
        }
    }
}

#[test]
fn the_most_absurd_priorities_are_in_order_and_a_count_of_tries_stops_at_the_greatest() {
    let (_directory, _, tracker) = store(Options::new());
    let priorities = [json!(-1e308), json!(1e308), json!(i64::MIN), json!(u64::MAX), Value::Null, json!(5e-324), json!(-0.0), json!(1)];
    tracker.merge(priorities.iter().enumerate().map(|(key, priority)| (key, json!({"_priority": priority})))).unwrap();
    let order: Vec<_> = tracker.claim_many(100).unwrap().iter().map(|claim| claim.key().as_i64().unwrap()).collect();
    assert_eq!(order, [1, 3, 7, 5, 4, 6, 2, 0]);
    tracker.clear().unwrap();
    tracker.set("a", json!({"_tries": u64::MAX})).unwrap();
    let claim = next(&tracker);
    assert_eq!(claim.tries(), u64::MAX);
    claim.fail("no").map(drop).unwrap();
    tracker.increment_tries("a").unwrap();
    assert_eq!((tracker.tries("a").unwrap(), tracker.num_tried()), (u64::MAX, 1));
    require_clean(&tracker);
}

#[test]
fn another_priority_or_time_counts_at_once() {
    let far = json!(1e18);
    let cases = [
        ("lowered", json!({"_priority": 5}), json!({"_priority": -5}), "b 1"),
        ("raised", json!({"_priority": -5}), json!({"_priority": 5}), "a 1"),
        ("put off", json!({"_priority": 5}), json!({"_priority": 5, "_not_before": far}), "b 1"),
        ("put off for longer", json!({"_not_before": 1}), json!({"_not_before": far}), "b 1"),
        ("put forward", json!({"_not_before": far}), json!({"_not_before": 1}), "a 1"),
        ("put forward and lowered", json!({"_not_before": far}), json!({"_not_before": 1, "_priority": -1}), "b 1"),
        ("made plain", json!({"_priority": -5}), json!({}), "a 1"),
        ("made plain from later", json!({"_not_before": far}), json!({}), "a 1"),
    ];
    for (name, before, after, expected) in cases {
        let (_directory, _, tracker) = store(Options::new());
        tracker.set("a", &before).unwrap();
        tracker.add("b").unwrap();
        for value in [&after, &before, &after] {
            tracker.set("a", value).unwrap();
        }
        let progress = tracker.progress();
        let claim = next(&tracker);
        assert_eq!(named(&claim), expected, "{name}");
        require_clean(&tracker);
        claim.done().unwrap();
        let is_for_later = after.get("_not_before") == Some(&far);
        assert_eq!((progress.todo, serde_json::to_value(&progress).unwrap()["waiting"].as_u64()), (2, Some(is_for_later.into())), "{name}");
        match tracker.claim_wait(Duration::ZERO).unwrap() {
            Next::Task(claim) => assert_eq!((is_for_later, claim.done().is_ok()), (false, true), "{name}"),
            other => assert!(is_for_later && matches!(other, Next::TimedOut), "{name}: {other:?}"),
        }
        assert_eq!(tracker.num_done(), if is_for_later { 1 } else { 2 }, "{name}");
        require_clean(&tracker);
    }
}

#[test]
fn without_a_limit_tasks_that_were_tried_out_may_be_tried_again() {
    let (_directory, path, tracker) = store(Options::new().max_tries(1));
    tracker.merge([("a", json!({})), ("b", json!({"_priority": 1})), ("later", json!({"_not_before": 1e18}))]).unwrap();
    tracker.set("later", json!({"_not_before": 1e18, "_tries": 1})).unwrap();
    for _ in 0..2 {
        assert_eq!(next(&tracker).fail("no").unwrap(), Retry::Never);
    }
    assert!(is_finished(&tracker), "what was tried out is not waited for");
    assert_eq!((tracker.progress().failed, tracker.failures().count()), (3, 3));
    let mut other = Worker::start(&path);
    tracker.set_max_tries(0).unwrap();
    assert_eq!((tracker.progress().failed, tracker.progress().todo), (0, 3));
    assert_eq!((other.ask("claim"), other.ask("claim"), other.ask("claim")), ("b 2".into(), "a 2".into(), "nothing".into()));
    require_clean(&tracker);
    // What is held beyond the limit is lost to nobody either, once there is none.
    tracker.set_max_tries(2).unwrap();
    tracker.set_lease(Some(SOON)).unwrap();
    assert_eq!(other.ask("heartbeat"), "Ok");
    wait_until_leases_are_over(&tracker);
    assert!(tracker.claim().unwrap().is_none());
    tracker.set_max_tries(0).unwrap();
    assert_eq!((named(&next(&tracker)), other.ask("heartbeat")), ("b 3".into(), "LeaseLost".into()));
    require_clean(&tracker);
}

// T10: empty is not done.

#[test]
fn what_is_ready_claimed_later_done_failed_and_aborted_is_counted_apart() {
    let (_directory, path, tracker) = store(Options::new().max_tries(2));
    assert!(is_finished(&tracker), "an empty tracker is finished");
    let counts = |tracker: &Tracker| {
        let progress = serde_json::to_value(tracker.progress()).unwrap();
        ["total", "done", "failed", "aborted", "claimed", "todo", "ready", "waiting"].map(|name| progress[name].as_u64())
    };
    assert_eq!(counts(&tracker), [0; 8].map(Some));
    tracker
        .merge([
            ("done", json!({"_done": true})),
            ("done, then aborted", json!({"_done": true, "_aborted": true})),
            ("tried out", json!({"_tries": 2})),
            ("aborted", json!({"_aborted": true})),
            ("ready", json!({})),
            ("ready and tried", json!({"_tries": 1})),
            ("ready for long", json!({"_not_before": 1})),
            ("later", json!({"_not_before": 1e18})),
            ("later too", json!({"_not_before": 1e18, "_tries": 1, "_priority": 3})),
            ("later, but done", json!({"_not_before": 1e18, "_done": true})),
            ("held", json!({"_priority": 5})),
        ])
        .unwrap();
    // Stale entries in the queue do not count, nor do those that stand there twice.
    for moment in [2e18, 1e18] {
        tracker.at("later").key("_not_before").set(moment).unwrap();
    }
    let mut worker = Worker::start(&path);
    assert_eq!(worker.ask("claim"), "held 1");
    let expected = [11, 3, 2, 1, 1, 5, 3, 2].map(Some);
    assert_eq!(counts(&tracker), expected);
    tracker.abort("held").unwrap();
    assert_eq!(counts(&tracker), expected, "somebody still works on it");
    tracker.unabort("held").unwrap();
    let reader = Options::new().read_only(true).open_tracker(&path).unwrap();
    assert_eq!(counts(&reader), expected);
    for claim in tracker.claim_many(10).unwrap() {
        claim.done().unwrap();
    }
    assert!(matches!(tracker.claim_wait(Duration::ZERO).unwrap(), Next::TimedOut), "one is held, two are for later");
    assert_eq!(worker.ask("done"), "Ok");
    assert!(matches!(tracker.claim_wait(Duration::ZERO).unwrap(), Next::TimedOut), "two are for later");
    tracker.abort("later").unwrap();
    tracker.mark_done("later too").unwrap();
    assert!(is_finished(&tracker));
    assert_eq!(counts(&tracker), [11, 8, 3, 2, 0, 0, 0, 0].map(Some));
    tracker.set_max_tries(0).unwrap();
    assert!(!is_finished(&tracker), "one may be tried again");
    require_clean(&tracker);
}

/// Everything that says whether a store was written: its version, and its JSON files with their times.
fn written(tracker: &Tracker) -> (String, Vec<(PathBuf, Vec<u8>, SystemTime)>) {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(tracker.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            files.push((path.clone(), std::fs::read(&path).unwrap(), path.metadata().unwrap().modified().unwrap()));
        }
    }
    files.sort();
    (format!("{:?}", tracker.version()), files)
}

#[test]
fn who_joins_puts_nothing_back_that_a_living_worker_holds_and_writes_nothing() {
    let (_directory, path, tracker) = store(Options::new().lease(HOUR));
    tracker.add_many(["a", "b"]).unwrap();
    let mut worker = Worker::start(&path);
    assert_eq!(worker.ask("claim"), "a 1");
    let before = written(&tracker);
    for _ in 0..3 {
        drop(Tracker::open(&path).unwrap());
        drop(Pod::open(&path).unwrap());
        drop(Options::new().read_only(true).open_tracker(&path).unwrap());
        let mut other = Worker::start(&path);
        assert_eq!(other.ask("claims"), "1");
        other.0.kill();
        assert_eq!(tracker.claims().unwrap().len(), 1);
        assert_eq!(written(&tracker), before);
    }
    assert_eq!(worker.ask("heartbeat"), "Ok");
    assert_eq!(worker.ask("done"), "Ok");
    drop(worker);
    tracker.close().unwrap();
    let tracker = Tracker::open(&path).unwrap();
    let before = written(&tracker);
    tracker.close().unwrap();
    let tracker = Tracker::open(&path).unwrap();
    assert_eq!(written(&tracker).1, before.1, "opening and closing writes no data");
    assert_eq!((tracker.num_done(), tracker.tries("a").unwrap()), (1, 1));
}

// T11: order.

#[test]
fn keys_that_processes_add_in_turn_come_in_turn_and_keep_their_places() {
    let (_directory, path, tracker) = store(Options::new());
    let mut workers = [Worker::start(&path), Worker::start(&path)];
    let mut random = Random(seed());
    let mut expected: Vec<String> = Vec::new();
    for turn in 0..60 {
        let worker = &mut workers[turn % 2];
        let key = format!("key {turn}");
        assert_eq!(worker.ask(&format!("add {key}")), "Ok");
        expected.push(key);
        let old = random.one(&expected).clone();
        match random.below(3) {
            0 => assert_eq!(worker.ask(&format!("set {old}")), "Ok"),
            1 => {
                // Removed and added again, it is a new one.
                assert_eq!(worker.ask(&format!("remove {old}")), "Ok");
                assert_eq!(worker.ask(&format!("add {old}")), "Ok");
                expected.retain(|key| *key != old);
                expected.push(old);
            }
            _ => {}
        }
    }
    drop(workers);
    let order = |tracker: &Tracker| tracker.keys().map(|key| key.unwrap().to_string()).collect::<Vec<_>>();
    assert_eq!(order(&tracker), expected);
    tracker.compact().unwrap();
    assert_eq!(order(&tracker), expected);
    tracker.close().unwrap();
    std::fs::remove_dir_all(path.join(".live")).unwrap();
    let tracker = Tracker::open(&path).unwrap();
    assert_eq!(order(&tracker), expected);
    let claimed: Vec<_> = tracker.claim_many(100).unwrap().iter().map(|claim| claim.key().to_string()).collect();
    assert_eq!(claimed, expected);
}

// T12: orphans.

/// Claims a task, and starts a copy of itself, which speaks for it from then on. How it ends is the test's.
fn orphan_role(arguments: &[String]) {
    let tracker = Tracker::open(&arguments[0]).unwrap();
    let claim = Cell::new(tracker.claim().unwrap());
    let claims_own = arguments[1] == "claims";
    let copy = fork(|line| {
        let own = claims_own.then(|| next(&tracker));
        line.say("is there");
        say(std::process::id());
        assert_eq!(hear(), "the parent is dead");
        if claims_own {
            // The inherited claim is nobody's here, whatever became of it.
            let claim = claim.take().expect("each copy has it");
            say(outcome(claim.heartbeat()));
            drop(claim);
            say(outcome(own.unwrap().done()));
        }
        hear();
    });
    assert_eq!(copy.hear().as_deref(), Some("is there"));
    if arguments[2] == "exits" {
        std::process::exit(0);
    }
    copy.hear();
}

#[test]
fn the_tasks_of_a_dead_worker_go_back_though_a_copy_of_it_lives() {
    for (claims, how) in [("claims", "is killed"), ("claims", "exits"), ("idles", "is killed"), ("idles", "exits")] {
        let (_directory, path, tracker) = store(Options::new());
        tracker.add_many(["parent's", "copy's"]).unwrap();
        let mut parent = Child::start("case_orphan", &[text(&path), claims, how]);
        let copy: u32 = parent.line().unwrap().parse().unwrap();
        if how == "exits" {
            assert!(parent.wait().success())
        } else {
            parent.kill()
        }
        let owners = |tracker: &Tracker| tracker.claims().unwrap().iter().map(|claim| claim.owner.pid).collect::<Vec<_>>();
        assert_eq!(owners(&tracker), if claims == "claims" { vec![copy] } else { vec![] }, "{claims} {how}");
        if claims == "idles" {
            let claim = next(&tracker);
            assert_eq!(named(&claim), "copy's 1");
            claim.done().unwrap();
        }
        let claim = next(&tracker);
        assert_eq!(named(&claim), "parent's 2", "{claims} {how}");
        let error = error_of(&tracker, "parent's");
        assert!(error.contains(&format!("process {}", parent.pid())) && error.contains("died"), "{error}");
        parent.tell("the parent is dead");
        if claims == "claims" {
            assert_eq!((parent.line().as_deref(), parent.line().as_deref()), (Some("Closed"), Some("Ok")));
        }
        claim.done().unwrap();
        assert!(is_finished(&tracker), "{claims} {how}");
        assert_eq!((tracker.num_done(), tracker.tries("copy's").unwrap()), (2, 1));
        require_clean(&tracker);
        // The copy ends when nobody speaks to it any more.
        drop(parent.input.take());
        assert!(parent.lines().is_empty());
    }
}
