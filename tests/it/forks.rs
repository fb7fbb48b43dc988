//! Fork and exec. Goal: a handle made before a fork simply works in the child, and nothing that belongs to the parent
//! (a lock, a transaction, a snapshot, a pin) can be used up, given back or kept alive by a child.
//!
//! Every test does its forking in a process of its own, so that the other tests of this binary are not copied along.
//! Checked: what parent, child and grandchild read afterwards, the errors' kinds, pins and the process table as
//! `stats` shows them, descriptors and locks after exec, and `verify`.

use crate::support::{Child, HANG, Role, directory, hear, hear_end, say, text};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use serde_json::json;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};
use tastypod::{ErrorKind, Options, Pod};

pub const CHILDREN: &[Role] = &[
    ("fork-plain", plain),
    ("fork-thread-holds", thread_holds),
    ("fork-in-closure", in_closure),
    ("fork-in-guard", in_guard),
    ("fork-twice", twice),
    ("fork-parent-gone", parent_gone),
    ("fork-views", views),
    ("fork-iterators", iterators),
    ("fork-while-joining", while_joining),
    ("fork-while-opening", while_opening),
    ("fork-storm", storm),
    ("exec-descriptors", exec_descriptors),
    ("exec-with-guard", exec_with_guard),
];

/// Goes on twice: true in the child.
#[allow(unsafe_code)]
fn split() -> Option<Pid> {
    // SAFETY: glibc keeps its allocator usable in the child of a process with threads, no other thread of these roles
    // is inside of the standard library's locks at a fork, and the child does not return to the test runner.
    match unsafe { fork() }.expect("a process may fork") {
        ForkResult::Child => None,
        ForkResult::Parent { child } => Some(child),
    }
}

/// Runs `body` and exits in order, with 1 after a panic.
fn finish(body: impl FnOnce()) -> ! {
    std::process::exit(i32::from(catch_unwind(AssertUnwindSafe(body)).is_err()))
}

/// Runs `body` in a child made by fork.
fn forked(body: impl FnOnce()) -> Pid {
    split().unwrap_or_else(|| finish(body))
}

/// Waits for a forked child to end well, at most some minutes.
#[track_caller]
fn join(child: Pid) {
    let start = Instant::now();
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)).expect("it is our child") {
            WaitStatus::StillAlive => {}
            WaitStatus::Exited(_, 0) => return,
            other => panic!("a forked child failed: {other:?}"),
        }
        if start.elapsed() > HANG {
            let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
            panic!("a forked child hangs");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A store in a directory of its own, and a role at work on it until it ends well.
#[track_caller]
fn run(role: &str) {
    let dir = directory();
    let mut child = Child::start(role, &[text(&dir.path().join("a.pod"))]);
    assert!(child.wait().success(), "{role} failed; its own message is above");
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    assert!(pod.verify().unwrap().is_clean(), "{}", pod.verify().unwrap());
}

fn impatient(path: &Path) -> Pod {
    Options::new().lock_timeout(Duration::from_millis(200)).open(path).unwrap()
}

#[track_caller]
fn assert_kind<T: std::fmt::Debug>(outcome: tastypod::Result<T>, kind: &ErrorKind) {
    assert_eq!(outcome.unwrap_err().kind(), *kind);
}

#[test]
fn a_handle_made_before_a_fork_works_in_the_child() {
    run("fork-plain");
}

fn plain(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    pod.set("n", 0).unwrap();
    let own = pod.stats().unwrap().processes;
    assert_eq!(own, 1);
    let handle = pod.clone();
    let children: Vec<Pid> = (0..4)
        .map(|child| {
            let (pod, handle) = (&pod, &handle);
            forked(move || {
                // The others may add between two looks.
                let known = pod.len();
                assert!((1..=handle.len()).contains(&known));
                for n in 0..50 {
                    handle.set((child, n), n).unwrap();
                    pod.at("n").add(1).unwrap();
                }
                // A new open of the path is the same store as the handle from before the fork.
                let again = Pod::open(pod.path()).unwrap();
                again.transaction(|txn| txn.set(("again", child), 1)).unwrap();
                assert_eq!(pod.get(("again", child)).unwrap(), Some(json!(1)));
                assert!(pod.stats().unwrap().processes >= 2, "the child takes part in its own name");
            })
        })
        .collect();
    for _ in 0..50 {
        pod.at("n").add(1).unwrap();
    }
    children.into_iter().for_each(join);
    assert_eq!(pod.get("n").unwrap(), Some(json!(250)));
    assert_eq!(pod.len(), 1 + 4 * 51);
    assert_eq!(pod.stats().unwrap().processes, own, "the children left");
}

#[test]
fn a_fork_while_another_thread_holds_the_lock_copies_no_lock() {
    run("fork-thread-holds");
}

fn thread_holds(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    pod.set("k", 1).unwrap();
    let (mut read_done, mut tell) = std::io::pipe().unwrap();
    std::thread::scope(|scope| {
        let (held, holding) = std::sync::mpsc::channel();
        let (release, released) = std::sync::mpsc::channel();
        let pod = &pod;
        scope.spawn(move || {
            pod.transaction(|txn| {
                txn.set("k", 2)?;
                held.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            })
            .unwrap();
        });
        holding.recv().unwrap();
        let child = forked(|| {
            // Reads do not wait for the holder, which lets go only after it was told of them.
            assert_eq!(pod.get("k").unwrap(), Some(json!(1)));
            tell.write_all(b"r").unwrap();
            pod.update("k", |value| *value = json!(value.as_i64().unwrap() * 10)).unwrap();
            assert_eq!(pod.get("k").unwrap(), Some(json!(20)));
        });
        read_done.read_exact(&mut [0]).unwrap();
        release.send(()).unwrap();
        join(child);
    });
    assert_eq!(pod.get("k").unwrap(), Some(json!(20)));
}

#[test]
fn a_transaction_forked_inside_its_closure_commits_once_and_in_the_parent() {
    run("fork-in-closure");
}

fn in_closure(arguments: &[String]) {
    let pod = impatient(Path::new(&arguments[0]));
    pod.set("before", 1).unwrap();
    let mut child = None;
    let outcome = pod.transaction(|txn| {
        txn.set("k", "first")?;
        child = split();
        match child {
            Some(child) => {
                // By now the child's closure and its attempt to commit are over: the lock must still be ours.
                join(child);
                txn.set("k", "second")
            }
            None => {
                assert_kind(txn.set("k", "child"), &ErrorKind::Closed);
                assert_kind(txn.get("k"), &ErrorKind::Closed);
                Ok(())
            }
        }
    });
    if child.is_none() {
        finish(|| {
            assert_kind(outcome, &ErrorKind::Closed);
            assert_eq!(pod.get("k").unwrap(), None);
            let error = pod.set("k", "child").unwrap_err();
            let ErrorKind::LockTimeout { owner, .. } = error.kind() else { panic!("{error}") };
            assert_eq!(owner.pid, std::os::unix::process::parent_id(), "{error}");
        });
    }
    outcome.unwrap();
    assert_eq!(pod.get("k").unwrap(), Some(json!("second")));
    pod.set("after", 1).unwrap();
    assert!(pod.verify().unwrap().is_clean());
}

#[test]
fn a_guard_forked_while_it_is_held_stays_with_the_parent() {
    run("fork-in-guard");
}

fn in_guard(arguments: &[String]) {
    let pod = impatient(Path::new(&arguments[0]));
    pod.set("before", 1).unwrap();
    let mut guard = Some(pod.lock().unwrap());
    pod.set("k", "parent").unwrap();
    // Commits, rolls back, drops: none of it may touch the parent's lock.
    for way in 0..3 {
        join(forked(|| {
            assert_eq!(pod.get("k").unwrap(), None, "the guard's writes are the parent's");
            match (way, guard.take().unwrap()) {
                (0, guard) => assert_kind(guard.commit(), &ErrorKind::Closed),
                (1, guard) => guard.rollback(),
                (_, guard) => drop(guard),
            }
            assert!(matches!(pod.set("k", "child").unwrap_err().kind(), ErrorKind::LockTimeout { .. }));
        }));
    }
    let (mut go, mut tell) = std::io::pipe().unwrap();
    let child = forked(|| {
        go.read_exact(&mut [0]).unwrap();
        pod.set("child", 0).unwrap();
        // The inherited guard is still in scope, and a guard of the child's own is not mistaken for it.
        let own = pod.lock().unwrap();
        pod.set("child", 1).unwrap();
        own.commit().unwrap();
        assert_eq!(pod.get("child").unwrap(), Some(json!(1)));
        pod.transaction(|txn| txn.set("child", 2)).unwrap();
        assert_kind(guard.take().unwrap().commit(), &ErrorKind::Closed);
        pod.set("child", 3).unwrap();
    });
    pod.set("k", "parent still").unwrap();
    guard.take().unwrap().commit().unwrap();
    tell.write_all(b"g").unwrap();
    join(child);
    assert_eq!(pod.get("k").unwrap(), Some(json!("parent still")));
    assert_eq!(pod.get("child").unwrap(), Some(json!(3)));
}

#[test]
fn a_grandchild_joins_though_its_parent_never_used_the_store() {
    run("fork-twice");
}

fn twice(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    pod.set("n", 0).unwrap();
    join(forked(|| {
        join(forked(|| {
            pod.at("n").add(1).unwrap();
            join(forked(|| {
                pod.at("n").add(10).unwrap();
            }));
            pod.at("n").add(100).unwrap();
        }));
    }));
    // Many forks in one line, each joins anew.
    for _ in 0..20 {
        join(forked(|| {
            pod.at("n").add(1000).unwrap();
        }));
    }
    assert_eq!(pod.get("n").unwrap(), Some(json!(20_111)));
    assert_eq!(pod.stats().unwrap().processes, 1);
}

#[test]
fn a_grandchild_goes_on_after_its_parents_and_all_others_closed() {
    for others in ["nobody", "somebody"] {
        let dir = directory();
        let path = dir.path().join("a.pod");
        let mut parent = Child::start("fork-parent-gone", &[text(&path)]);
        assert_eq!(parent.line().as_deref(), Some("forked"));
        assert!(parent.wait().success());
        // In the second round another process opens the store, which nobody has open, before the grandchild wakes.
        let between = (others == "somebody").then(|| Pod::open(&path).unwrap());
        parent.tell("go");
        assert_eq!(parent.lines().last().map(String::as_str), Some("written"));
        drop(between);
        let pod = Pod::open(&path).unwrap();
        assert_eq!(pod.len(), 101, "with {others}");
        assert_eq!(pod.get("n").unwrap(), Some(json!(1)));
        assert!(pod.verify().unwrap().is_clean(), "{}", pod.verify().unwrap());
    }
}

fn parent_gone(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    pod.set("n", 1).unwrap();
    let view = pod.view("n").unwrap().unwrap();
    forked(|| {
        forked(|| {
            assert_eq!(hear(), "go");
            assert_eq!(view.as_i64(), Some(1));
            for n in 0..100 {
                pod.set(n, n).unwrap();
            }
            assert!(pod.verify().unwrap().is_clean());
            say("written");
        });
    });
    say("forked");
}

#[test]
fn views_survive_a_fork_and_snapshots_stay_with_the_parent() {
    run("fork-views");
}

fn views(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    pod.set("k", json!({"a": [1, 2, 3]})).unwrap();
    let snapshot = pod.snapshot().unwrap();
    let view = pod.view("k").unwrap().unwrap();
    pod.set("k", "new").unwrap();
    let pin = pod.stats().unwrap().oldest_pin;
    assert!(pin.is_some());
    let pinned_for_all = |pod: &Pod| assert_eq!(pod.stats().unwrap().oldest_pin, pin);
    let mut inherited = Some(snapshot);
    join(forked(|| {
        assert_eq!(view.get("a").unwrap().index(-1).unwrap().as_i64(), Some(3));
        let snapshot = inherited.take().unwrap();
        assert_kind(snapshot.get("k"), &ErrorKind::Closed);
        assert_kind(snapshot.contains_key("absent"), &ErrorKind::Closed);
        // A loop has one item, which says so.
        let mut entries = snapshot.entries();
        assert_eq!(entries.len(), 1);
        assert_kind(entries.next_back().unwrap().map(|_| ()), &ErrorKind::Closed);
        assert!(entries.len() == 0 && entries.next().is_none() && entries.next_back().is_none());
        pinned_for_all(&pod);
        drop(snapshot);
        pinned_for_all(&pod);
        let own = pod.snapshot().unwrap();
        assert_eq!(own.get("k").unwrap(), Some(json!("new")));
        assert_eq!(pod.stats().unwrap().pins, 1);
        drop(own);
        assert_eq!(pod.stats().unwrap().pins, 0);
        pinned_for_all(&pod);
    }));
    // Neither a child that closes nor one that is killed takes the pin along.
    join(forked(|| drop((&pod, inherited.take()))));
    let killed = forked(|| {
        let _own = pod.snapshot().unwrap();
        nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::Signal::SIGKILL).unwrap();
    });
    assert!(matches!(waitpid(killed, None).unwrap(), WaitStatus::Signaled(..)));
    pinned_for_all(&pod);
    // And a child that lives on does not keep it.
    let (mut end, tell) = std::io::pipe().unwrap();
    let child = forked(|| {
        assert_eq!(pod.get("k").unwrap(), Some(json!("new")));
        let _ = end.read(&mut [0]);
    });
    let snapshot = inherited.take().unwrap();
    assert_eq!(snapshot.get("k").unwrap(), Some(json!({"a": [1, 2, 3]})));
    drop(snapshot);
    assert_eq!(pod.stats().unwrap().oldest_pin, None);
    // The child holds the writing end too, so closing ours would not end it.
    drop(tell);
    nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL).unwrap();
    waitpid(child, None).unwrap();
}

#[test]
fn an_iterator_made_before_a_fork_ends_in_an_error_and_a_live_one_goes_on() {
    run("fork-iterators");
}

fn iterators(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    pod.extend((0..10).map(|n| (n, n))).unwrap();
    let (mut entries, mut keys, mut live) = (pod.iter(), pod.keys(), pod.iter_live());
    entries.next();
    keys.next();
    live.next();
    join(forked(|| {
        assert_kind(entries.next().unwrap(), &ErrorKind::Closed);
        assert!(entries.next().is_none(), "the error is the end");
        assert_kind(keys.next().unwrap(), &ErrorKind::Closed);
        assert!(keys.next().is_none());
        assert_eq!(live.by_ref().map(Result::unwrap).count(), 9);
        assert_eq!(pod.iter().map(Result::unwrap).count(), 10);
    }));
    assert_eq!((entries.count(), keys.count(), live.count()), (9, 9, 9));
}

/// Takes the lock of openers away from everybody, as a slow opener would.
fn hold_opening(path: &Path) -> std::fs::File {
    let locks = std::fs::File::options().read(true).write(true).open(path.join(".live/locks")).unwrap();
    locks.lock().unwrap();
    locks
}

#[test]
fn a_fork_while_a_thread_joins_the_store_leaves_a_child_that_can_join() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let mut child = Child::start("fork-while-joining", &[text(&path)]);
    assert_eq!(child.line().as_deref(), Some("opened"));
    let opening = hold_opening(&path);
    child.tell("fork");
    assert_eq!(child.line().as_deref(), Some("forked"));
    drop(opening);
    assert!(child.wait().success());
    assert_eq!(Pod::open(&path).unwrap().get("n").unwrap(), Some(json!(2)));
}

fn while_joining(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    pod.set("n", 0).unwrap();
    say("opened");
    hear();
    join(forked(|| {
        std::thread::scope(|scope| {
            // Waits for the lock of openers, in the middle of joining.
            scope.spawn(|| pod.at("n").add(1).unwrap());
            std::thread::sleep(Duration::from_millis(100));
            let grandchild = forked(|| {
                pod.at("n").add(1).unwrap();
            });
            say("forked");
            join(grandchild);
        });
    }));
}

#[test]
fn a_fork_while_a_thread_opens_a_store_does_not_keep_the_lock_of_openers() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    // Long enough to rebuild that the opener can be killed in the middle of it.
    let pod = Pod::open(&path).unwrap();
    pod.extend((0..60_000).map(|n| (n, n))).unwrap();
    drop(pod);
    std::fs::remove_file(path.join(".live/control")).unwrap();
    let opening = hold_opening(&path);
    let mut child = Child::start("fork-while-opening", &[text(&path)]);
    assert_eq!(child.line().as_deref(), Some("forked"));
    drop(opening);
    // As soon as somebody has the lock, he is killed; the forked child lives on.
    let locks = std::fs::File::open(path.join(".live/locks")).unwrap();
    while locks.try_lock().is_ok() {
        locks.unlock().unwrap();
        std::thread::sleep(Duration::from_micros(300));
    }
    drop(locks);
    child.process.kill().unwrap();
    child.process.wait().unwrap();
    let pod = Options::new().lock_timeout(Duration::from_secs(3)).open(&path).unwrap();
    assert_eq!(pod.len(), 60_000);
    assert_eq!(pod.get(59_999).unwrap(), Some(json!(59_999)));
    // The end of this pipe ends the forked child.
    drop(child.input.take());
}

fn while_opening(arguments: &[String]) {
    let path = arguments[0].clone();
    let opener = std::thread::spawn(move || Pod::open(path).map(drop));
    std::thread::sleep(Duration::from_millis(100));
    forked(hear_end);
    say("forked");
    let _ = opener.join();
    hear_end();
}

#[test]
fn forks_in_the_middle_of_everything_that_threads_do_lose_nothing() {
    run("fork-storm");
}

fn storm(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    pod.set("n", 0).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut added = 0;
    std::thread::scope(|scope| {
        let (pod, stop) = (&pod, &stop);
        let running = || !stop.load(std::sync::atomic::Ordering::Relaxed);
        let adder = scope.spawn(move || {
            let mut count = 0;
            while running() {
                pod.at("n").add(1).unwrap();
                count += 1;
            }
            count
        });
        scope.spawn(move || {
            while running() {
                let snapshot = pod.snapshot().unwrap();
                assert!(snapshot.get("n").unwrap().is_some());
                // Opening and closing another store at the same time.
                drop(Pod::open(pod.path().join("../b.pod")).unwrap());
            }
        });
        let children: Vec<Pid> = (0..40)
            .map(|child| {
                std::thread::sleep(Duration::from_millis(3));
                forked(|| {
                    for n in 0..5 {
                        pod.set((child, n), n).unwrap();
                    }
                    pod.at("n").add(1).unwrap();
                    assert!(pod.snapshot().unwrap().get("n").unwrap().is_some());
                })
            })
            .collect();
        children.into_iter().for_each(join);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        added = adder.join().unwrap();
    });
    assert_eq!(pod.get("n").unwrap(), Some(json!(added + 40)));
    assert_eq!(pod.len(), 1 + 200);
    assert_eq!(pod.stats().unwrap().oldest_pin, None);
}

#[test]
fn a_started_program_inherits_no_descriptor_of_the_store() {
    run("exec-descriptors");
}

fn exec_descriptors(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    let _snapshot = pod.snapshot().unwrap();
    let _reader = Options::new().read_only(true).open(&arguments[0]).unwrap();
    let open = |role: &str| {
        let listed = std::process::Command::new("sh").args(["-c", "readlink /proc/self/fd/* || true"]).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(!listed.contains(".live"), "{role}: {listed}");
    };
    open("the parent");
    join(forked(|| {
        pod.set("k", 1).unwrap();
        open("the child");
    }));
}

#[test]
fn exec_gives_up_the_lock_and_what_was_not_committed() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let mut child = Child::start("exec-with-guard", &[text(&path)]);
    assert_eq!(child.line().as_deref(), Some("exec"));
    let pod = Options::new().lock_timeout(HANG).open(&path).unwrap();
    pod.set("other", 1).unwrap();
    assert_eq!(pod.get("k").unwrap(), None);
    assert_eq!(pod.stats().unwrap().oldest_pin, None, "its snapshot's pin ended with its program");
    assert!(child.process.try_wait().unwrap().is_none(), "its process still runs");
    assert!(pod.verify().unwrap().is_clean());
    child.kill();
}

fn exec_with_guard(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    pod.set("before", 1).unwrap();
    let _snapshot = pod.snapshot().unwrap();
    let _guard = pod.lock().unwrap();
    pod.set("k", 1).unwrap();
    say("exec");
    let error = std::os::unix::process::CommandExt::exec(std::process::Command::new("sleep").arg("60"));
    panic!("{error}");
}
