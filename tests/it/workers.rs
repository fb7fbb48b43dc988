//! Pools of workers: real processes that are killed, stopped, and too slow for their leases.
//!
//! Goal: every task is done exactly once, whatever becomes of who works on it; nobody who lost a claim has his work accepted; a
//! try is counted for each claim; what a task brings is there exactly once.
//!
//! Crash model: SIGKILL at random moments, SIGSTOP and SIGCONT, work that takes longer than the lease.

use crate::chance::{Random, asked, seed};
use crate::support::{Child, Role, directory, hear, say, text};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::HashSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};
use tastypod::{ErrorKind, Next, Options, Tracker};

pub const CHILDREN: &[Role] = &[("worker", worker_role), ("holder", holder_role), ("sleeper", sleeper_role)];

const LEASE: Duration = Duration::from_millis(100);
/// The first child of a task.
const CHILDREN_FROM: i64 = 1_000_000;

fn open(path: &str) -> Tracker {
    Options::new().lease(LEASE).open_tracker(path).unwrap()
}

/// Works until nothing is left. Says of each claim task and try: `c` when it has it, `d` when the task is done, `l` when the claim was lost.
fn worker_role(arguments: &[String]) {
    let tracker = open(&arguments[0]);
    let slow_every: u64 = arguments[1].parse().unwrap();
    let mut turn = 0;
    for claim in tracker.work() {
        let claim = claim.unwrap();
        let (key, tries) = (claim.key().as_i64().unwrap(), claim.tries());
        say(format_args!("c {key} {tries}"));
        turn += 1;
        if turn % slow_every == 0 {
            std::thread::sleep(LEASE * 2);
        }
        let outcome = claim.done_and(|t| {
            t.at(key).key("times done").add(1)?;
            t.at(key).key("done by").set(tries)?;
            // Tasks bring children, those do not.
            if key < CHILDREN_FROM { t.add(key + CHILDREN_FROM) } else { Ok(()) }
        });
        match outcome {
            Ok(()) => say(format_args!("d {key} {tries}")),
            Err(error) if error.kind() == ErrorKind::LeaseLost => say(format_args!("l {key} {tries}")),
            Err(error) => panic!("{error}"),
        }
    }
    say("finished");
}

/// What workers said, of which the killed ones may not have come to say the last thing.
#[derive(Default)]
struct Said {
    /// By task and try.
    claims: Vec<(i64, u64)>,
    done: Vec<(i64, u64)>,
    lost: Vec<(i64, u64)>,
    finished: bool,
}

/// A worker, and a thread that hears what it says.
struct Worker {
    pid: Pid,
    hearer: std::thread::JoinHandle<Said>,
}

fn start(path: &Path, slow_every: u64) -> Worker {
    let mut child = Child::start("worker", &[text(path), &slow_every.to_string()]);
    let pid = Pid::from_raw(child.pid());
    let hearer = std::thread::spawn(move || {
        let mut all = Said::default();
        while let Some(said) = child.line() {
            let words: Vec<&str> = said.split(' ').collect();
            let list = match words[0] {
                "c" => &mut all.claims,
                "d" => &mut all.done,
                "l" => &mut all.lost,
                _ => {
                    assert_eq!(said, "finished");
                    all.finished = true;
                    continue;
                }
            };
            list.push((words[1].parse().unwrap(), words[2].parse().unwrap()));
        }
        let status = child.wait();
        assert!(status.success() || status.signal() == Some(Signal::SIGKILL as i32), "a worker failed");
        all
    });
    Worker { pid, hearer }
}

/// Fails where something was said twice.
fn once_each<T: Copy + Eq + std::hash::Hash + std::fmt::Debug>(said: impl Iterator<Item = T>) -> HashSet<T> {
    let mut seen = HashSet::new();
    said.for_each(|one| assert!(seen.insert(one), "{one:?} came twice"));
    seen
}

/// `TASTYPOD_TASKS` says how many tasks; as many again come as their children.
#[test]
fn every_task_is_done_exactly_once_whatever_becomes_of_its_workers() {
    let tasks = asked("TASTYPOD_TASKS", 10_000) as i64;
    let directory = directory();
    let path = directory.path().join("a.tracker");
    let tracker = open(text(&path));
    tracker.add_many(0..tasks).unwrap();
    let mut random = Random(seed());
    let (mut all, mut kills, mut stops) = (Said::default(), 0, 0);
    let mut workers: Vec<Worker> = (0..8).map(|worker| start(&path, if worker % 4 == 0 { 300 } else { u64::MAX })).collect();
    let begun = Instant::now();
    let mut account = |worker: Worker| {
        let said = worker.hearer.join().unwrap();
        all.claims.extend(said.claims);
        all.done.extend(said.done);
        all.lost.extend(said.lost);
        said.finished
    };
    while tracker.progress().percent() < 100 {
        std::thread::sleep(Duration::from_millis(random.below(60)));
        let victim = random.index(workers.len());
        if workers[victim].hearer.is_finished() {
            continue;
        }
        if random.below(3) == 0 {
            // Stopped for longer than its lease.
            let _ = kill(workers[victim].pid, Signal::SIGSTOP);
            std::thread::sleep(LEASE + LEASE / 2);
            let _ = kill(workers[victim].pid, Signal::SIGCONT);
            stops += 1;
        } else if kill(workers[victim].pid, Signal::SIGKILL).is_ok() {
            kills += 1;
            let worker = std::mem::replace(&mut workers[victim], start(&path, if random.below(4) == 0 { 300 } else { u64::MAX }));
            account(worker);
        }
    }
    for worker in workers {
        assert!(account(worker), "who was not killed comes to the end, and says so");
    }
    let report = tracker.verify().unwrap();
    assert!(report.is_clean(), "{report}");
    assert!(tracker.claims().unwrap().is_empty());
    // Each try of each task is the claim of one worker, and ends in one way.
    let claims = once_each(all.claims.iter().copied());
    let ended = once_each(all.done.iter().chain(&all.lost).copied());
    let done = once_each(all.done.iter().map(|(task, _)| *task));
    let done_by = once_each(all.done.iter().copied());
    assert!(ended.is_subset(&claims), "only who had a claim ends it");
    assert_eq!(tracker.len() as i64, 2 * tasks);
    let (mut tries, mut unsaid) = (0, 0);
    for task in (0..tasks).chain(CHILDREN_FROM..CHILDREN_FROM + tasks) {
        let value = tracker.get(task).unwrap().unwrap_or_else(|| panic!("{task} is not there"));
        assert_eq!((&value["_done"], &value["times done"]), (&true.into(), &1.into()), "{task}: {value}");
        let by = value["done by"].as_u64().unwrap();
        assert!(!done.contains(&task) || done_by.contains(&(task, by)), "{task}: {value}");
        let tried = value["_tries"].as_u64().unwrap();
        // Claims that nobody spoke of are those of killed workers, one each at most.
        unsaid += (1..=tried).filter(|one| !claims.contains(&(task, *one))).count();
        tries += tried as usize;
    }
    assert!(unsaid <= kills, "{tries} tries, {} claims, {kills} kills", claims.len());
    assert_eq!(tries, claims.len() + unsaid, "a try for each claim");
    assert!((done.len()..=done.len() + kills).contains(&(2 * tasks as usize)), "{} were done, {kills} kills", done.len());
    println!("{} tasks, {tries} tries, {} claims lost, {kills} kills, {stops} stops, {:.1?}", 2 * tasks, all.lost.len(), begun.elapsed());
}

/// Holds the only task until it is killed, or told to end it: then says what it was told.
fn holder_role(arguments: &[String]) {
    let tracker = Tracker::open(&arguments[0]).unwrap();
    let claim = tracker.claim().unwrap().unwrap();
    say("holds");
    hear();
    let beat = claim.heartbeat().err().map(|error| error.kind());
    let outcome = claim.done_and(|t| t.add("child")).err().map(|error| error.kind());
    let name = |kind: Option<ErrorKind>| kind.map_or_else(|| "held".to_owned(), |kind| format!("{kind:?}"));
    say(format_args!("{} {}", name(beat), name(outcome)));
}

/// Sleeps until there is a task.
fn sleeper_role(arguments: &[String]) {
    let tracker = Tracker::open(&arguments[0]).unwrap();
    say("sleeps");
    match tracker.claim_wait(Duration::from_secs(50)).unwrap() {
        Next::Task(claim) => {
            say(claim.value().unwrap()["_error"].as_str().unwrap());
            claim.done().unwrap();
        }
        other => say(format_args!("{other:?}")),
    }
}

fn sleeper(path: &Path) -> Child {
    let mut sleeper = Child::start("sleeper", &[text(path)]);
    assert_eq!(sleeper.line().as_deref(), Some("sleeps"));
    sleeper
}

fn holder(path: &Path) -> Child {
    let mut holder = Child::start("holder", &[text(path)]);
    assert_eq!(holder.line().as_deref(), Some("holds"));
    holder
}

#[test]
fn the_task_of_a_killed_worker_goes_to_a_sleeping_one() {
    let directory = directory();
    let path = directory.path().join("a.tracker");
    let tracker = Tracker::open(&path).unwrap();
    for turn in 0..5 {
        tracker.add(turn).unwrap();
        let holder = holder(&path);
        assert_eq!(tracker.claims().unwrap()[0].owner.pid as i32, holder.pid());
        let mut sleepers = [sleeper(&path), sleeper(&path)];
        std::thread::sleep(Duration::from_millis(turn * 23));
        // Killed, and not waited for: a zombie counts as dead.
        kill(Pid::from_raw(holder.pid()), Signal::SIGKILL).unwrap();
        let start = Instant::now();
        let first = sleepers[0].line().unwrap();
        let other = sleepers[1].line().unwrap();
        println!("taken over, and done, after {:.0?}", start.elapsed());
        let (said, other) = if other == "Finished" { (first, other) } else { (other, first) };
        assert!(said.contains(&format!("process {}", holder.pid())) && said.contains("died"), "{said}");
        assert_eq!(other, "Finished", "one of them has it");
        assert!(sleepers.iter_mut().all(|sleeper| sleeper.wait().success()));
        assert!(tracker.done(turn).unwrap());
        assert_eq!(tracker.tries(turn).unwrap(), 2);
    }
}

#[test]
fn a_stopped_worker_loses_its_task_with_its_lease_and_is_told_so() {
    let directory = directory();
    let path = directory.path().join("a.tracker");
    let tracker = open(text(&path));
    tracker.add("task").unwrap();
    let mut holder = holder(&path);
    kill(Pid::from_raw(holder.pid()), Signal::SIGSTOP).unwrap();
    let start = Instant::now();
    let mut sleeper = sleeper(&path);
    let said = sleeper.line().unwrap();
    println!("taken over after {:.0?}, with a lease of {LEASE:?}", start.elapsed());
    assert!(said.contains(&format!("process {}", holder.pid())) && said.contains("longer than its lease"), "{said}");
    assert!(sleeper.wait().success());
    let value = tracker.raw_json("task").unwrap();
    kill(Pid::from_raw(holder.pid()), Signal::SIGCONT).unwrap();
    holder.tell("end it");
    assert_eq!(holder.line().as_deref(), Some("LeaseLost LeaseLost"));
    assert!(holder.wait().success());
    assert_eq!(tracker.raw_json("task").unwrap(), value, "nothing of it was accepted");
    assert_eq!((tracker.tries("task").unwrap(), tracker.num_done()), (2, 1));
}

#[test]
fn a_sleeper_is_woken_by_a_new_task_and_told_when_nothing_is_left() {
    let directory = directory();
    let path = directory.path().join("a.tracker");
    let tracker = Tracker::open(&path).unwrap();
    tracker.merge([("first", serde_json::json!({"_error": "none"}))]).unwrap();
    let claim = tracker.claim().unwrap().unwrap();
    let sleepers: Vec<_> = (0..2).map(|_| sleeper(&path)).collect();
    std::thread::sleep(Duration::from_millis(20));
    claim.done_and(|t| t.merge([("second", serde_json::json!({"_error": "brought by the first"}))])).unwrap();
    let ended = |mut sleeper: Child| {
        let said = sleeper.line().unwrap();
        assert!(sleeper.wait().success());
        said
    };
    let mut said: Vec<_> = sleepers.into_iter().map(ended).collect();
    said.sort();
    assert_eq!(said, ["Finished", "brought by the first"]);
}

/// What a fork inherits of a claim is nothing: the parent goes on with it.
#[test]
fn a_claim_is_inert_in_a_forked_child() {
    let mut child = Child::start("fork_with_claim", &[]);
    let lines = child.lines();
    assert!(child.wait().success(), "{lines:?}");
    assert_eq!(lines, ["Closed", "Closed", "dropped", "done"]);
}

pub const FORKING: &[Role] = &[("fork_with_claim", fork_role)];

fn fork_role(_: &[String]) {
    let directory = directory();
    let tracker = Tracker::open(directory.path().join("a.tracker")).unwrap();
    tracker.add_many(["a", "b"]).unwrap();
    let claim = tracker.claim().unwrap().unwrap();
    let child = crate::forked::fork(|line| {
        let other = tracker.claim().unwrap().expect("a child claims in its own name");
        assert_eq!(other.key().as_str(), Some("b"));
        other.done().unwrap();
        line.say(format_args!("{:?}", claim.heartbeat().unwrap_err().kind()));
    });
    say(child.succeed("the child"));
    let claim = std::cell::Cell::new(Some(claim));
    for ends in [true, false] {
        let child = crate::forked::fork(|line| {
            let claim = claim.take().expect("each copy has it");
            if ends {
                line.say(format_args!("{:?}", claim.done().unwrap_err().kind()));
            } else {
                drop(claim);
                line.say("dropped");
            }
        });
        say(child.succeed("the copy"));
        assert_eq!(tracker.claims().unwrap().len(), 1, "it is still the parent's");
    }
    claim.take().expect("the copies were others").done().unwrap();
    assert_eq!(tracker.num_done(), 2);
    say("done");
}
