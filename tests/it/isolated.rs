//! Isolated handles: what they see, what others see of them, and what becomes of changes that meet.

use crate::forked::fork;
use crate::support::{Child, Role, directory, hear, hear_end, say, text};
use serde_json::{Value, json};
use std::path::Path;
use tastypod::{Conversion, Durability, ErrorKind, Options, Pod, Tracker};

pub const CHILDREN: &[Role] = &[("isolated-dies", dies), ("isolated-counts", counts), ("isolated-forks", forks)];

fn isolated(path: &Path) -> Pod {
    Options::new().isolated(true).sync_at(1).open(path).unwrap()
}

fn entries(pod: &Pod) -> Vec<(String, Value)> {
    pod.iter().map(|entry| entry.map(|(key, value)| (key.to_string(), value)).unwrap()).collect()
}

fn kind(outcome: Result<(), tastypod::Error>) -> ErrorKind {
    outcome.unwrap_err().kind()
}

#[test]
fn an_isolated_handle_sees_the_store_as_it_was_and_its_own_changes() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let shared = Pod::open(&path).unwrap();
    shared.extend([("a", 1), ("b", 2), ("c", 3)]).unwrap();
    let mine = isolated(&path);
    shared.set("a", 10).unwrap();
    shared.remove("c").unwrap();
    shared.set("d", 4).unwrap();
    mine.set("b", 20).unwrap();
    mine.set("e", 5).unwrap();
    let pairs = |list: &[(&str, i64)]| list.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect::<Vec<_>>();
    let before = entries(&mine);
    assert_eq!(before, pairs(&[("a", 1), ("b", 20), ("c", 3), ("e", 5)]));
    assert_eq!(entries(&shared), pairs(&[("a", 10), ("b", 2), ("d", 4)]));
    assert_eq!((mine.len(), mine.dirty_len(), shared.dirty_len()), (4, 2, shared.dirty_len()));
    mine.sync().unwrap();
    // Published, in one commit, and saved; what others did is still not seen.
    assert_eq!(entries(&shared), pairs(&[("a", 10), ("b", 20), ("d", 4), ("e", 5)]));
    assert_eq!(entries(&mine), before);
    assert_eq!((mine.dirty_len(), shared.dirty_len()), (0, 0));
    assert_eq!(std::fs::read_to_string(path.join("0.json")).unwrap(), "\"a\"\t10\n\"b\"\t20\n\"d\"\t4\n\"e\"\t5\n");
    let version = shared.version();
    mine.sync().unwrap();
    assert_eq!(shared.version(), version, "nothing to publish");
    mine.revert().unwrap();
    assert_eq!(entries(&mine), entries(&shared));
    assert!(mine.verify().unwrap().is_clean() && shared.verify().unwrap().is_clean());
}

#[test]
fn changes_of_the_same_key_conflict_and_either_may_win() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let shared = Pod::open(&path).unwrap();
    shared.extend([("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)]).unwrap();
    type Step = fn(&Pod);
    // What others do, what is done here, whether that conflicts.
    let cases: [(Step, Step, bool); 9] = [
        (|pod| pod.set("a", 10).unwrap(), |pod| pod.set("a", 11).unwrap(), true),
        (|pod| drop(pod.remove("b").unwrap()), |pod| pod.set("b", 20).unwrap(), true),
        (|pod| pod.set("b", 7).unwrap(), |pod| pod.set("b", 8).unwrap(), true),
        (|pod| pod.set("c", 30).unwrap(), |pod| drop(pod.remove("c").unwrap()), true),
        (|pod| pod.set("new", 1).unwrap(), |pod| pod.set("new", 2).unwrap(), true),
        (
            |pod| pod.set("newer", 1).unwrap(),
            |pod| {
                pod.set("newer", 2).unwrap();
                pod.remove("newer").unwrap();
            },
            false,
        ),
        (
            |pod| {
                pod.remove("d").unwrap();
                pod.set("d", 9).unwrap();
            },
            |pod| {
                pod.remove("d").unwrap();
                pod.set("d", 8).unwrap();
            },
            true,
        ),
        (|pod| pod.set("a", 12).unwrap(), |pod| pod.set("e", 50).unwrap(), false),
        (|pod| pod.compact().unwrap(), |pod| pod.set("e", 51).unwrap(), false),
    ];
    for (index, (theirs, ours, conflicts)) in cases.into_iter().enumerate() {
        let mine = isolated(&path);
        theirs(&shared);
        ours(&mine);
        let (before, seen) = (entries(&shared), entries(&mine));
        if !conflicts {
            mine.sync().unwrap();
            continue;
        }
        let error = mine.sync().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "case {index}");
        for word in ["revert()", "sync_overwrite()", "nothing was published", "a.pod"] {
            assert!(error.to_string().contains(word), "{error}");
        }
        assert_eq!((entries(&shared), entries(&mine)), (before.clone(), seen.clone()), "case {index}: nothing changed");
        let other = isolated(&path);
        ours(&other);
        if index % 2 == 0 {
            let touched = mine.dirty().unwrap();
            mine.sync_overwrite().unwrap();
            assert!(!touched.is_empty() && touched.iter().all(|key| mine.get(key).unwrap() == shared.get(key).unwrap()), "case {index}");
        } else {
            mine.revert().unwrap();
            assert_eq!(entries(&mine), before, "case {index}");
            ours(&mine);
            mine.sync().unwrap();
            // What `other` did is now behind.
            assert_eq!(kind(other.sync()), ErrorKind::Conflict, "case {index}");
        }
        assert!(mine.verify().unwrap().is_clean() && shared.verify().unwrap().is_clean(), "case {index}");
    }
}

#[test]
fn removed_and_added_keys_go_last_here_and_there() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let shared = Pod::open(&path).unwrap();
    shared.extend((0..10).map(|n| (n, n))).unwrap();
    let mine = isolated(&path);
    mine.remove(3).unwrap();
    mine.set(3, 33).unwrap();
    mine.set("x", 1).unwrap();
    mine.remove(0).unwrap();
    mine.transaction(|txn| {
        txn.remove(5)?;
        txn.set(5, 55)
    })
    .unwrap();
    mine.compact().unwrap();
    mine.sync().unwrap();
    assert_eq!(entries(&mine), entries(&shared));
    // And again, from what was published.
    mine.remove(3).unwrap();
    mine.set(0, "back").unwrap();
    mine.set("x", 2).unwrap();
    mine.sync().unwrap();
    assert_eq!(entries(&mine), entries(&shared));
    mine.clear().unwrap();
    mine.sync().unwrap();
    assert!(shared.is_empty());
    drop((mine, shared));
    assert!(Pod::open(&path).unwrap().is_empty());
}

/// Many changes at random on two isolated handles that never touch the same keys, against plain maps.
#[test]
fn many_changes_of_several_handles_come_together() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let shared = Options::new().sync_at(usize::MAX).open(&path).unwrap();
    shared.extend((0..2000).map(|n| (n, json!({"n": n})))).unwrap();
    let handles = [isolated(&path), isolated(&path)];
    let mut expected: std::collections::BTreeMap<i64, Value> = (0..2000).map(|n| (n, json!({"n": n}))).collect();
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    for step in 0..20_000 {
        let (owner, key) = (next(2), next(2000) as i64);
        // Each handle has its own half of the keys.
        let (mine, key) = (&handles[owner as usize], key * 2 % 4000 + owner as i64);
        match next(4) {
            0 => {
                assert_eq!(mine.remove(key).unwrap(), expected.remove(&key), "step {step}, key {key}");
            }
            _ => {
                let value = json!([step, "x".repeat(next(300) as usize)]);
                mine.set(key, &value).unwrap();
                expected.insert(key, value);
            }
        }
        if step % 3000 == 2999 {
            handles[next(2) as usize].sync().unwrap();
        }
        if step == 10_000 {
            shared.compact().unwrap();
        }
    }
    handles.iter().for_each(|mine| mine.sync().unwrap());
    let all: std::collections::BTreeMap<i64, Value> =
        shared.iter().map(|entry| entry.map(|(key, value)| (key.as_i64().unwrap(), value)).unwrap()).collect();
    assert!(all == expected);
    assert!(shared.verify().unwrap().is_clean() && handles.iter().all(|mine| mine.verify().unwrap().is_clean()));
}

#[test]
fn an_isolated_tracker_counts_for_itself_until_it_publishes() {
    let dir = directory();
    let path = dir.path().join("a.tracker");
    let shared = Tracker::open(&path).unwrap();
    shared.add_many(["a", "b", "c"]).unwrap();
    let claim = shared.claim().unwrap().unwrap();
    let mine = Options::new().isolated(true).open_tracker(&path).unwrap();
    // Claims are the copy's own: what is claimed there is to be had here.
    let here = mine.claim_many(3).unwrap();
    assert!(here.iter().any(|here| here.key() == claim.key()));
    here.into_iter().for_each(|here| here.release().unwrap());
    mine.mark_done("b").unwrap();
    mine.add("d").unwrap();
    assert_eq!((mine.num_done(), mine.len(), shared.num_done(), shared.len()), (1, 4, 0, 3));
    assert_eq!(mine.todo_keys().map(|key| key.unwrap().to_string()).collect::<Vec<_>>(), ["a", "c", "d"]);
    claim.done().unwrap();
    // The claim and its release left "a" as it was when it was copied, and somebody else finished it.
    assert_eq!(kind(mine.sync()), ErrorKind::Conflict);
    mine.revert().unwrap();
    mine.mark_done("b").unwrap();
    mine.add("d").unwrap();
    mine.sync().unwrap();
    assert_eq!((shared.num_done(), shared.len()), (2, 4));
    assert_eq!(shared.todo_keys().map(|key| key.unwrap().to_string()).collect::<Vec<_>>(), ["c", "d"]);
    mine.set_max_tries(2).unwrap();
    assert_eq!((mine.max_tries(), shared.max_tries()), (2, 2));
    assert!(mine.set("c", 1).is_err(), "no task");
    assert!(mine.verify().unwrap().is_clean() && shared.verify().unwrap().is_clean());
}

#[test]
fn what_is_not_of_a_copy_is_refused_or_done_to_the_store() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let mine = Options::new().isolated(true).file_size(2).durability(Durability::Disk).open(&path).unwrap();
    assert_eq!(mine.convert_to_tracker().unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(kind(mine.convert(Conversion::new().gzipped(true))), ErrorKind::Conflict);
    mine.extend((0..5).map(|n| (n, n))).unwrap();
    let guard = mine.lock().unwrap();
    assert_eq!(kind(mine.sync()), ErrorKind::Reentrant);
    guard.commit().unwrap();
    mine.sync().unwrap();
    assert!(path.join("2.json").exists());
    let long = "x".repeat(100_000);
    mine.set("long", &long).unwrap();
    let view = mine.view("long").unwrap().unwrap();
    assert_eq!(view.as_str(), Some(&*long));
    let snapshot = mine.snapshot().unwrap();
    mine.remove("long").unwrap();
    assert!(snapshot.contains_key("long").unwrap());
    drop((snapshot, view));
    // A copy of a store that nobody else may write.
    drop(mine);
    let reader = Options::new().isolated(true).read_only(true).open(&path).unwrap();
    assert_eq!((reader.len(), kind(reader.set("a", 1)), kind(reader.sync())), (5, ErrorKind::ReadOnly, ErrorKind::ReadOnly));
    let removed = isolated(&path);
    removed.set(9, 9).unwrap();
    drop(reader);
    std::fs::rename(&path, dir.path().join("elsewhere")).unwrap();
    assert_eq!(kind(removed.sync()), ErrorKind::StoreRemoved);
}

fn dies(arguments: &[String]) {
    let mine = isolated(Path::new(&arguments[0]));
    mine.set("a", 2).unwrap();
    say("changed");
    hear_end();
}

#[test]
fn what_was_not_published_dies_with_its_process() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let shared = Pod::open(&path).unwrap();
    shared.set("a", 1).unwrap();
    let mut child = Child::start("isolated-dies", &[text(&path)]);
    assert_eq!(child.line().as_deref(), Some("changed"));
    child.kill();
    shared.set("b", 1).unwrap();
    assert_eq!((shared.get("a").unwrap(), shared.len()), (Some(json!(1)), 2));
    // Neither does a handle publish that is given up.
    let mine = isolated(&path);
    mine.set("a", 3).unwrap();
    mine.close().unwrap();
    drop(shared);
    assert_eq!(std::fs::read_to_string(path.join("0.json")).unwrap(), "\"a\"\t1\n\"b\"\t1\n");
}

fn forks(arguments: &[String]) {
    let mine = isolated(Path::new(&arguments[0]));
    mine.set("a", 1).unwrap();
    let snapshot = mine.snapshot().unwrap();
    let child = fork(|_| {
        mine.at("a").add(1).unwrap();
        mine.sync().unwrap();
        mine.set("b", "x".repeat(100_000)).unwrap();
        assert_eq!(mine.view("b").unwrap().unwrap().as_str().map(str::len), Some(100_000));
    });
    child.succeed("the fork");
    assert_eq!(snapshot.get("a").unwrap(), Some(json!(1)));
    mine.at("a").add(1).unwrap();
    // A fork that is killed with the lock in its hand leaves a copy in order.
    let mut killed = fork(|_| {
        let guard = mine.lock().unwrap();
        mine.set("a", 100).unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
        guard.commit().unwrap();
    });
    killed.wait_for_end();
    mine.sync().unwrap();
    assert!(mine.verify().unwrap().is_clean());
}

#[test]
fn a_fork_shares_the_copy_and_may_publish_it() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    assert!(Child::start("isolated-forks", &[text(&path)]).wait().success());
    let shared = Pod::open(&path).unwrap();
    assert_eq!((shared.get("a").unwrap(), shared.len()), (Some(json!(3)), 2));
}

/// Adds to one key until it was published often enough, taking conflicts as they come.
fn counts(arguments: &[String]) {
    let mine = isolated(Path::new(&arguments[0]));
    say("ready");
    hear();
    for _ in 0..50 {
        loop {
            mine.at("n").add(1).unwrap();
            match mine.sync() {
                Ok(()) => break,
                Err(error) if error.kind() == ErrorKind::Conflict => mine.revert().unwrap(),
                Err(error) => panic!("{error}"),
            }
        }
    }
    say("through");
}

#[test]
fn no_publication_of_several_processes_is_lost() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let shared = Options::new().sync_at(usize::MAX).open(&path).unwrap();
    shared.set("n", 0).unwrap();
    let mut children: Vec<Child> = (0..3).map(|_| Child::start("isolated-counts", &[text(&path)])).collect();
    children.iter_mut().for_each(|child| assert_eq!(child.line().as_deref(), Some("ready")));
    children.iter_mut().for_each(|child| child.tell("go"));
    children.iter_mut().for_each(|child| assert_eq!(child.line().as_deref(), Some("through")));
    assert_eq!(shared.get_as::<i64>("n").unwrap(), Some(150));
}
