//! The tracker: every call that tastypy has against a table of what its manual says, the claims against a model, and real workers.

use crate::support::{directory, text};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tastypod::{ErrorKind, Key, Next, Options, Pod, Retry, Tracker};

fn open(max_tries: u64) -> (tempfile::TempDir, Tracker) {
    let directory = directory();
    let tracker = Options::new().max_tries(max_tries).open_tracker(directory.path().join("a.tracker")).unwrap();
    (directory, tracker)
}

fn require_clean(pod: &Pod) {
    let report = pod.verify().unwrap();
    assert!(report.is_clean(), "{report}");
}

fn names(keys: impl Iterator<Item = tastypod::Result<Key>>) -> Vec<String> {
    keys.map(|key| key.unwrap().to_string()).collect()
}

/// What the manual says of a task in each of its states: `_tries` below, at and above a limit of 2, done or not, aborted or not.
#[test]
fn what_the_manual_says_of_a_task_in_each_state() {
    // tries, done, aborted | should_do, with aborted ones
    let table = [
        (0, false, false, true, true),
        (1, false, false, true, true),
        (2, false, false, false, false),
        (3, false, false, false, false),
        (0, true, false, false, false),
        (2, true, false, false, false),
        (0, false, true, false, true),
        (1, false, true, false, true),
        (2, false, true, false, false),
        (0, true, true, false, false),
        (2, true, true, false, false),
    ];
    let (_directory, tracker) = open(2);
    let mut todo = (Vec::new(), Vec::new());
    for (row, (tries, done, aborted, should_do, with_aborted)) in table.into_iter().enumerate() {
        let key = format!("row {row}");
        tracker.set(&key, json!({"_tries": tries, "_done": done, "_aborted": aborted, "row": row})).unwrap();
        assert_eq!(tracker.tries(&key).unwrap(), tries, "{key}");
        assert_eq!(tracker.done(&key).unwrap(), done, "{key}");
        assert_eq!(tracker.aborted(&key).unwrap(), aborted, "{key}");
        assert_eq!(tracker.should_do(&key).unwrap(), should_do, "{key}");
        assert_eq!(tracker.should_do_add(&key).unwrap(), should_do, "{key}");
        let all = tracker.todo().include_aborted();
        assert_eq!(all.should_do(&key).unwrap(), with_aborted, "{key}");
        assert_eq!(all.should_do_add(&key).unwrap(), with_aborted, "{key}");
        todo.0.extend(should_do.then(|| key.clone()));
        todo.1.extend(with_aborted.then_some(key));
    }
    let count = |of: fn(&(u64, bool, bool, bool, bool)) -> bool| table.iter().filter(|row| of(row)).count();
    assert_eq!(tracker.num_done(), count(|row| row.1));
    assert_eq!(tracker.num_tried(), count(|row| row.0 > 0));
    assert_eq!(tracker.num_aborted(), count(|row| row.2));
    assert_eq!(names(tracker.todo_keys()), todo.0);
    assert_eq!(names(tracker.todo().include_aborted().keys()), todo.1);
    let rows: Vec<u64> = tracker.todo_values().map(|value| value.unwrap()["row"].as_u64().unwrap()).collect();
    assert_eq!(rows, [0, 1]);
    let rows: Vec<_> = tracker.todo_items().map(|item| item.unwrap()).map(|(key, value)| (key.to_string(), value["row"].clone())).collect();
    assert_eq!(rows, [("row 0".to_owned(), json!(0)), ("row 1".to_owned(), json!(1))]);
    let rows: Vec<_> = tracker.todo().include_aborted().values().map(|value| value.unwrap()["row"].clone()).collect();
    assert_eq!(rows, [0, 1, 6, 7]);
    let items: Vec<_> = tracker.todo().include_aborted().items().map(|item| item.unwrap()).collect();
    assert!(items.iter().all(|(key, value)| key.to_string() == format!("row {}", value["row"])), "{items:?}");
    let aborted: Vec<_> = (0..table.len()).filter(|row| table[*row].2).map(|row| format!("row {row}")).collect();
    assert_eq!(names(tracker.aborted_keys()), aborted);
    assert_eq!(tracker.aborted_items().map(|item| item.unwrap().0.to_string()).collect::<Vec<_>>(), aborted);
    assert_eq!(tracker.aborted_values().count(), aborted.len());
    // Trying counts, and yields what it left.
    let tried: Vec<_> = tracker.try_items().map(|item| item.unwrap()).collect();
    assert_eq!(
        tried.iter().map(|(key, value)| (key.to_string(), value["_tries"].clone())).collect::<Vec<_>>(),
        [("row 0".to_owned(), json!(1)), ("row 1".to_owned(), json!(2)),]
    );
    assert_eq!(names(tracker.try_keys()), ["row 0"]);
    assert_eq!(tracker.try_values().count(), 0);
    assert_eq!(tracker.todo().include_aborted().try_values().map(|value| value.unwrap()["_tries"].clone()).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(names(tracker.todo().include_aborted().try_keys()), ["row 6"]);
    assert_eq!(tracker.todo().include_aborted().try_items().count(), 0);
    require_clean(&tracker);
}

/// The same table for the calls that count: they say what `should_do` says, and count one try where that is yes.
#[test]
fn what_the_manual_says_of_trying_a_task_in_each_state() {
    for (tries, done, aborted) in
        (0..4u64).flat_map(|tries| [(false, false), (true, false), (false, true), (true, true)].map(|(d, a)| (tries, d, a)))
    {
        for (with_aborted, adds) in [(false, false), (false, true), (true, false), (true, true)] {
            let (_directory, tracker) = open(2);
            tracker.set("a", json!({"_tries": tries, "_done": done, "_aborted": aborted})).unwrap();
            let expected = !done && tries < 2 && (with_aborted || !aborted);
            let said = match (with_aborted, adds) {
                (false, false) => tracker.should_try("a"),
                (false, true) => tracker.should_try_add("a"),
                (true, false) => tracker.todo().include_aborted().should_try("a"),
                (true, true) => tracker.todo().include_aborted().should_try_add("a"),
            };
            assert_eq!(said.unwrap(), expected, "{tries} {done} {aborted} {with_aborted} {adds}");
            assert_eq!(tracker.tries("a").unwrap(), tries + u64::from(expected));
            assert_eq!((tracker.done("a").unwrap(), tracker.aborted("a").unwrap()), (done, aborted));
            require_clean(&tracker);
        }
    }
}

#[test]
fn calls_on_absent_tasks_name_them_and_the_adding_ones_add() {
    let (_directory, tracker) = open(1);
    let absent = |outcome: tastypod::Result<()>| {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeyNotFound);
        assert!(error.to_string().contains("nobody"), "{error}");
    };
    absent(tracker.mark_done("nobody"));
    absent(tracker.mark_not_done("nobody"));
    absent(tracker.increment_tries("nobody"));
    absent(tracker.decrement_tries("nobody"));
    absent(tracker.reset_tries("nobody"));
    absent(tracker.abort("nobody"));
    absent(tracker.unabort("nobody"));
    absent(tracker.tries("nobody").map(drop));
    absent(tracker.aborted("nobody").map(drop));
    absent(tracker.should_do("nobody").map(drop));
    absent(tracker.should_try("nobody").map(drop));
    assert!(!tracker.done("nobody").unwrap());
    assert!(tracker.is_empty());
    assert!(tracker.should_do_add("one").unwrap());
    assert!(tracker.should_try_add("two").unwrap());
    assert!(!tracker.should_try_add("two").unwrap(), "it may be tried once");
    assert!(tracker.todo().include_aborted().should_try_add("three").unwrap());
    assert_eq!((tracker.len(), tracker.num_tried()), (3, 2));
    assert_eq!(tracker.raw_json("one").unwrap().unwrap(), r#"{"_tries":0,"_done":false,"_aborted":false}"#);
    require_clean(&tracker);
}

#[test]
fn adding_many_is_all_or_nothing_and_a_double_is_named() {
    let (_directory, tracker) = open(0);
    tracker.add_many(["a", "b"]).unwrap();
    for keys in [vec!["c", "a"], vec!["c", "d", "c"]] {
        let error = tracker.add_many(&keys).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DuplicateKey);
        assert!(error.to_string().contains(keys.last().unwrap()), "{error}");
        let error = tracker.transaction(|t| t.add_many(&keys)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DuplicateKey);
        assert_eq!(tracker.len(), 2);
    }
    assert_eq!(tracker.add_many_if_absent(["b", "c", "c"]).unwrap(), 1);
    assert_eq!(tracker.transaction(|t| t.add_many_if_absent(["c", "d"])).unwrap(), 1);
    assert_eq!(names(tracker.todo_keys()), ["a", "b", "c", "d"]);
}

#[test]
fn counters_and_percentages_are_as_tastypy_writes_them() {
    let (_directory, tracker) = open(0);
    assert_eq!((tracker.fraction_done(), tracker.fraction_tried(), tracker.fraction_aborted()), (0.0, 0.0, 0.0));
    assert_eq!(tracker.percent_not_done(2), "100.00 %");
    tracker.add_many(0..173).unwrap();
    for task in 0..58 {
        tracker.mark_done(task).unwrap();
        tracker.mark_done(task).unwrap();
    }
    for task in 0..70 {
        tracker.increment_tries(task).unwrap();
    }
    for task in 100..110 {
        tracker.abort(task).unwrap();
    }
    // As the real library said of the store in `fixtures`.
    assert_eq!(tracker.percent_done(2), "33.53 %");
    assert_eq!(tracker.percent_tried(1), "40.5 %");
    assert_eq!(tracker.percent_aborted(0), "6 %");
    assert_eq!(tracker.percent_not_tried(2), "59.54 %");
    assert_eq!(tracker.percent_not_aborted(0), "94 %");
    tracker.mark_not_done(0).unwrap();
    tracker.unabort(100).unwrap();
    tracker.decrement_tries(0).unwrap();
    tracker.decrement_tries(0).unwrap();
    tracker.increment_tries(1).unwrap();
    tracker.reset_tries(1).unwrap();
    assert_eq!((tracker.num_done(), tracker.num_tried(), tracker.num_aborted()), (57, 68, 9));
    assert_eq!(tracker.tries(0).unwrap(), 0, "it stops at 0");
    tracker.remove(2).unwrap();
    assert_eq!((tracker.num_done(), tracker.num_tried()), (56, 67));
    tracker.clear().unwrap();
    assert_eq!((tracker.num_done(), tracker.num_tried(), tracker.num_aborted(), tracker.len()), (0, 0, 0, 0));
    require_clean(&tracker);
}

#[test]
fn whichever_handle_writes_what_is_no_task_is_refused() {
    let (directory, tracker) = open(0);
    let pod = Pod::open(directory.path().join("a.tracker")).unwrap();
    tracker.add("a").unwrap();
    let refused = |outcome: tastypod::Result<()>| {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidValue, "{error}");
        assert!(error.to_string().contains("task"), "{error}");
    };
    refused(pod.set("b", 7));
    refused(pod.set("a", json!({"_tries": "none"})));
    refused(pod.set("a", json!({"_done": "yes"})));
    refused(pod.at("a").key("_aborted").set(0));
    refused(pod.at("a").key("_tries").add(0.5).map(drop));
    refused(pod.extend([("c", json!({})), ("d", json!([]))]));
    refused(pod.transaction(|txn| txn.set("e", json!({"_priority": "high"}))));
    refused(pod.update("a", |value| *value = Value::Null));
    refused(tracker.merge([("a", json!({"_not_before": "tomorrow"}))]));
    assert_eq!(pod.len(), 1);
    pod.set("b", json!({})).unwrap();
    assert!(tracker.should_do("b").unwrap(), "missing flags read as their defaults");
    pod.at("b").key("_done").set(true).unwrap();
    pod.at("a").key("_tries").add(3).unwrap();
    assert_eq!((tracker.num_done(), tracker.num_tried()), (1, 1));
    require_clean(&pod);
}

#[test]
fn a_pod_becomes_a_tracker_by_its_values_or_by_conversion() {
    let directory = directory();
    let path = directory.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    let empty = Tracker::open(&path).unwrap();
    assert!(pod.set("x", 1).is_err(), "it is one for everybody at once");
    drop((pod, empty));

    let path = directory.path().join("b.pod");
    let pod = Pod::open(&path).unwrap();
    pod.set("a", json!({"_tries": 1, "_done": true, "_aborted": false})).unwrap();
    let tracker = Tracker::open(&path).unwrap();
    assert_eq!((tracker.num_done(), tracker.num_tried()), (1, 1));
    require_clean(&tracker);

    let path = directory.path().join("c.pod");
    let pod = Pod::open(&path).unwrap();
    pod.extend([
        ("number", json!(1)),
        ("list", json!([1])),
        ("object", json!({"x": 1, "_done": true})),
        ("task", json!({"_tries": 2, "_done": false, "_aborted": true})),
    ])
    .unwrap();
    let error = Tracker::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKind);
    assert!(error.to_string().contains("convert_to_tracker"), "{error}");
    let tracker = pod.convert_to_tracker().unwrap();
    assert_eq!(pod.raw_json("number").unwrap().unwrap(), r#"{"_tries":0,"_done":false,"_aborted":false,"val":1}"#);
    assert_eq!(pod.raw_json("object").unwrap().unwrap(), r#"{"x":1,"_done":true,"_tries":0,"_aborted":false}"#);
    assert_eq!((tracker.num_done(), tracker.num_tried(), tracker.num_aborted(), tracker.len()), (1, 1, 1, 4));
    require_clean(&tracker);
    drop((pod, tracker));
    let tracker = Tracker::open(&path).unwrap();
    assert_eq!(names(tracker.todo_keys()), ["number", "list"]);
    require_clean(&tracker);
    assert_eq!(Options::new().max_tries(4).open_tracker(&path).unwrap_err().kind(), ErrorKind::Conflict);
}

#[test]
fn loops_see_tasks_that_are_added_and_pass_by_what_is_finished() {
    let (_directory, tracker) = open(0);
    tracker.add_many(0..10_000).unwrap();
    tracker.transaction(|t| (0..9_990).try_for_each(|task| t.mark_done(task))).unwrap();
    assert_eq!(tracker.todo_keys().count(), 10);
    let mut seen = Vec::new();
    for key in tracker.try_keys() {
        let key = key.unwrap().as_i64().unwrap();
        seen.push(key);
        if key < 10_005 {
            tracker.add_if_absent(key + 10).unwrap();
        }
        tracker.remove(key + 1).unwrap();
    }
    // Every other one was removed before its turn.
    assert_eq!(seen, (9_990..10_015).step_by(2).collect::<Vec<_>>());
    require_clean(&tracker);
}

#[test]
fn claims_come_by_priority_then_order_and_failed_ones_behind() {
    let (_directory, tracker) = open(0);
    tracker.add_many(["a", "b"]).unwrap();
    tracker
        .merge([
            ("high", json!({"_priority": 2})),
            ("low", json!({"_priority": -1.5})),
            ("c", json!({})),
            ("higher", json!({"_priority": 2.5})),
        ])
        .unwrap();
    let next = || {
        tracker.claim().unwrap().map(|claim| {
            let key = claim.key().to_string();
            (key, claim)
        })
    };
    let mut order = Vec::new();
    while let Some((key, claim)) = next() {
        order.push(key.clone());
        if order.len() == 3 {
            // The first of those without a priority: behind the others of its kind.
            assert_eq!(claim.fail("busy").unwrap(), Retry::Behind);
        } else if order.len() == 4 {
            assert_eq!(key, "b");
            claim.release().unwrap();
        } else {
            claim.done().unwrap();
        }
        require_clean(&tracker);
    }
    assert_eq!(order, ["higher", "high", "a", "b", "b", "c", "a", "low"]);
    assert_eq!(tracker.at("a").key("_error").get().unwrap(), None, "done forgets the error");
    assert_eq!((tracker.tries("a").unwrap(), tracker.tries("b").unwrap()), (2, 1));
}

#[test]
fn a_task_waits_for_its_time_and_longer_after_each_failure() {
    let directory = directory();
    let backoff = Options::new().backoff(Duration::from_millis(60), 3.0, Duration::from_millis(100)).max_tries(4);
    let tracker = backoff.open_tracker(directory.path().join("a.tracker")).unwrap();
    tracker.add("a").unwrap();
    let fail = || {
        let Next::Task(claim) = tracker.claim_wait(Duration::from_secs(20)).unwrap() else { panic!("it comes up again") };
        claim.fail("no").unwrap()
    };
    assert_eq!(fail(), Retry::After(Duration::from_millis(60)));
    let not_before = tracker.at("a").key("_not_before").get_as::<f64>().unwrap().unwrap();
    assert!(
        tracker.claim().unwrap().is_none()
            || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64() >= not_before
    );
    assert!(matches!(tracker.claim_wait(Duration::ZERO).unwrap(), Next::TimedOut | Next::Task(_)));
    require_clean(&tracker);
    assert_eq!(tracker.retry(["a"]).unwrap(), 1);
    assert_eq!(fail(), Retry::After(Duration::from_millis(60)));
    assert_eq!(fail(), Retry::After(Duration::from_millis(100)), "three times as long, but at most so long");
    assert_eq!(fail(), Retry::After(Duration::from_millis(100)));
    assert_eq!(fail(), Retry::Never);
    assert!(matches!(tracker.claim_wait(Duration::from_secs(20)).unwrap(), Next::Finished));
    let failures: Vec<_> = tracker.failures().map(|failure| failure.unwrap()).collect();
    assert_eq!((failures.len(), failures[0].tries, failures[0].is_final, failures[0].error.as_deref()), (1, 4, true, Some("no")));
    let progress = tracker.progress();
    assert_eq!((progress.failed, progress.todo, progress.percent()), (1, 0, 100));
    assert_eq!(tracker.retry_failed().unwrap(), 1);
    assert_eq!(tracker.progress().percent(), 0);
    require_clean(&tracker);
}

#[test]
fn a_claim_that_is_dropped_or_panicked_on_goes_back_with_a_reason() {
    let (_directory, tracker) = open(0);
    tracker.add("a").unwrap();
    drop(tracker.claim().unwrap().unwrap());
    assert_eq!(tracker.at("a").key("_error").get().unwrap(), Some("the claim was dropped".into()));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _claim = tracker.claim().unwrap().unwrap();
        panic!("a worker's own");
    }));
    assert!(outcome.is_err());
    assert_eq!(tracker.at("a").key("_error").get().unwrap(), Some("the worker panicked".into()));
    assert_eq!(tracker.tries("a").unwrap(), 2, "the tries are not given back");
    let claim = tracker.claim().unwrap().unwrap();
    let error = claim.done_and(|t| t.add("child").and_then(|()| t.add("a"))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DuplicateKey);
    assert!(!tracker.done("a").unwrap() && !tracker.contains_key("child").unwrap());
    let claim = tracker.claim().unwrap().expect("it went back");
    assert!(claim.value().unwrap()["_error"].as_str().unwrap().contains("a is there already"));
    claim.done_with(json!([1])).unwrap_err();
    let claim = tracker.claim().unwrap().expect("it went back again");
    claim.done_with(json!({"result": [1]})).unwrap();
    assert!(tracker.claims().unwrap().is_empty());
    require_clean(&tracker);
}

#[test]
fn a_claimed_task_is_left_alone_by_tries_and_keeps_its_claim_over_writes() {
    let (_directory, tracker) = open(0);
    tracker.add_many(["a", "b"]).unwrap();
    let claim = tracker.claim().unwrap().unwrap();
    assert!(!tracker.should_try("a").unwrap());
    assert_eq!(names(tracker.try_keys()), ["b"]);
    tracker.at("a").key("progress").set(0.5).unwrap();
    tracker.set("a", json!({"_tries": 1, "other": true})).unwrap();
    assert_eq!(tracker.claims().unwrap().len(), 1);
    claim.done().unwrap();
    assert_eq!(tracker.raw_json("a").unwrap().unwrap(), r#"{"_tries":1,"other":true,"_done":true}"#);
    let claim = tracker.claim().unwrap().unwrap();
    assert_eq!(claim.key().as_str(), Some("b"));
    tracker.remove("b").unwrap();
    tracker.add("b").unwrap();
    assert_eq!(claim.done().unwrap_err().kind(), ErrorKind::LeaseLost, "that is another task");
    assert!(!tracker.done("b").unwrap());
    require_clean(&tracker);
}

#[test]
fn a_lease_that_is_over_lets_others_take_the_task_and_fences_the_first() {
    let directory = directory();
    let tracker = Options::new().lease(Duration::from_millis(40)).max_tries(2).open_tracker(directory.path().join("a.tracker")).unwrap();
    tracker.add("a").unwrap();
    let first = tracker.claim().unwrap().unwrap();
    first.heartbeat().unwrap();
    let Next::Task(second) = tracker.claim_wait(Duration::from_secs(20)).unwrap() else { panic!("it is taken over") };
    assert_eq!(second.tries(), 2);
    assert!(second.value().unwrap()["_error"].as_str().unwrap().contains("longer than its lease"));
    assert_eq!(first.heartbeat().unwrap_err().kind(), ErrorKind::LeaseLost);
    assert_eq!(first.done().unwrap_err().kind(), ErrorKind::LeaseLost);
    assert_eq!(tracker.claims().unwrap().len(), 1);
    // The last try: nobody may take it, so nobody waits for it either, and it may still finish.
    assert!(matches!(tracker.claim_wait(Duration::from_secs(20)).unwrap(), Next::Finished));
    require_clean(&tracker);
    second.done().unwrap();
    assert_eq!((tracker.num_done(), tracker.progress().percent()), (1, 100));
    require_clean(&tracker);
}

#[test]
fn a_lease_that_is_over_and_was_not_used_by_others_is_still_good() {
    let directory = directory();
    let tracker = Options::new().lease(Duration::from_millis(10)).open_tracker(directory.path().join("a.tracker")).unwrap();
    tracker.add("a").unwrap();
    let claim = tracker.claim().unwrap().unwrap();
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(tracker.claims().unwrap()[0].lease_left, Some(Duration::ZERO));
    claim.heartbeat().unwrap();
    require_clean(&tracker);
    std::thread::sleep(Duration::from_millis(60));
    assert_eq!(tracker.claims().unwrap().len(), 1);
    claim.done().unwrap();
    assert!(tracker.claim().unwrap().is_none());
    require_clean(&tracker);
}

#[test]
fn another_limit_of_tries_changes_what_is_failed() {
    let (directory, tracker) = open(0);
    tracker.add_many(0..10).unwrap();
    for task in 0..10 {
        (0..task).for_each(|_| tracker.increment_tries(task).unwrap());
    }
    let claim = tracker.claim().unwrap().unwrap();
    tracker.set_max_tries(3).unwrap();
    assert_eq!((tracker.progress().failed, tracker.max_tries()), (7, 3));
    require_clean(&tracker);
    claim.done().unwrap();
    tracker.set_max_tries(5).unwrap();
    assert_eq!(tracker.progress().failed, 5);
    require_clean(&tracker);
    drop(tracker);
    let tracker = Options::new().max_tries(5).open_tracker(directory.path().join("a.tracker")).unwrap();
    let order: Vec<_> = tracker.claim_many(100).unwrap().iter().map(|claim| claim.key().as_i64().unwrap()).collect();
    assert_eq!(order, [1, 2, 3, 4]);
    require_clean(&tracker);
}

/// A step of the random test.
#[derive(Debug, Clone)]
enum Step {
    Set(u8, Option<u8>, bool, bool, Option<i8>),
    Remove(u8),
    Claim,
    End(u8, u8),
    MaxTries(u8),
    Try(u8),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..12u8, proptest::option::of(0..3u8), any::<bool>(), any::<bool>(), proptest::option::of(-1..2i8))
            .prop_map(|(key, tries, done, aborted, priority)| Step::Set(key, tries, done && aborted, aborted && !done, priority)),
        1 => (0..12u8).prop_map(Step::Remove),
        6 => Just(Step::Claim),
        6 => (any::<u8>(), 0..5u8).prop_map(|(which, how)| Step::End(which, how)),
        1 => (0..4u8).prop_map(Step::MaxTries),
        2 => (0..12u8).prop_map(Step::Try),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Random calls against a map in memory: who may be claimed, what is counted, and that `verify` finds nothing.
    #[test]
    fn random_calls_leave_what_a_map_in_memory_says(steps in steps()) {
        let (directory, mut tracker) = open(0);
        let mut model: BTreeMap<u8, (u64, bool, bool, f64)> = BTreeMap::new();
        let mut max = 0;
        let mut claims: Vec<(u8, tastypod::Claim)> = Vec::new();
        for step in steps {
            let allows = |task: &(u64, bool, bool, f64)| !task.1 && !task.2 && (max == 0 || task.0 < max);
            match step {
                Step::Set(key, tries, done, aborted, priority) => {
                    let mut value = json!({"_done": done, "_aborted": aborted});
                    tries.inspect(|tries| value["_tries"] = (*tries).into());
                    priority.inspect(|priority| value["_priority"] = (*priority).into());
                    tracker.set(key, &value).unwrap();
                    model.insert(key, (tries.unwrap_or(0).into(), done, aborted, priority.unwrap_or(0).into()));
                }
                Step::Remove(key) => {
                    prop_assert_eq!(tracker.remove(key).unwrap().is_some(), model.remove(&key).is_some());
                    let lost = claims.extract_if(.., |(claimed, _)| *claimed == key).collect::<Vec<_>>();
                    for (_, claim) in lost {
                        prop_assert_eq!(claim.done().unwrap_err().kind(), ErrorKind::LeaseLost);
                    }
                }
                Step::Claim => {
                    let is_free = |key: &u8| claims.iter().all(|(claimed, _)| claimed != key);
                    let best = model.iter().filter(|(key, task)| is_free(key) && allows(task)).map(|(_, task)| task.3).reduce(f64::max);
                    match tracker.claim().unwrap() {
                        None => prop_assert_eq!(best, None),
                        Some(claim) => {
                            let key = claim.key().as_i64().unwrap() as u8;
                            prop_assert!(is_free(&key) && allows(&model[&key]), "{} is claimed", key);
                            prop_assert_eq!(Some(model[&key].3), best);
                            model.get_mut(&key).unwrap().0 += 1;
                            prop_assert_eq!(claim.tries(), model[&key].0);
                            claims.push((key, claim));
                        }
                    }
                }
                Step::End(which, how) if !claims.is_empty() => {
                    let which = which as usize % claims.len();
                    let (key, claim) = claims.swap_remove(which);
                    let task = model.get_mut(&key).unwrap();
                    match how {
                        0 => { claim.done().unwrap(); task.1 = true; }
                        1 => { claim.fail("no").unwrap(); }
                        2 => { claim.release().unwrap(); task.0 = task.0.saturating_sub(1); }
                        3 => { claim.abort("never").unwrap(); task.2 = true; }
                        _ => drop(claim),
                    }
                }
                Step::End(..) => {}
                Step::MaxTries(tries) => { max = tries.into(); tracker.set_max_tries(max).unwrap(); }
                Step::Try(key) => {
                    let expected = model.get(&key).is_none_or(allows) && claims.iter().all(|(claimed, _)| *claimed != key);
                    prop_assert_eq!(tracker.should_try_add(key).unwrap(), expected);
                    let task = model.entry(key).or_insert((0, false, false, 0.0));
                    task.0 += u64::from(expected);
                }
                Step::Reopen if claims.is_empty() => {
                    drop(tracker);
                    tracker = Tracker::open(directory.path().join("a.tracker")).unwrap();
                }
                Step::Reopen => {}
            }
            let count = |of: fn(&(u64, bool, bool, f64)) -> bool| model.values().filter(|task| of(task)).count();
            prop_assert_eq!((tracker.num_done(), tracker.num_tried(), tracker.num_aborted()), (count(|task| task.1), count(|task| task.0 > 0), count(|task| task.2)));
            prop_assert_eq!(tracker.claims().unwrap().len(), claims.len());
            let report = tracker.verify().unwrap();
            prop_assert!(report.is_clean(), "{}", report);
        }
    }
}

#[test]
fn what_a_kill_left_is_rebuilt_with_its_tasks_and_claims_of_the_dead_go_back() {
    let (directory, tracker) = open(3);
    let path = directory.path().join("a.tracker");
    tracker.add_many(0..100).unwrap();
    for claim in tracker.claim_many(10).unwrap() {
        claim.done().unwrap();
    }
    let held = tracker.claim_many(5).unwrap();
    // As after a power cut: the log alone.
    let copy = directory.path().join("copy.tracker");
    std::fs::create_dir_all(copy.join(".live")).unwrap();
    std::fs::copy(path.join(".live/log"), copy.join(".live/log")).unwrap();
    let rebuilt = Tracker::open(text(&copy)).unwrap();
    require_clean(&rebuilt);
    assert_eq!((rebuilt.num_done(), rebuilt.num_tried(), rebuilt.max_tries()), (10, 15, 3));
    assert!(rebuilt.claims().unwrap().is_empty());
    assert!(rebuilt.at(10).key("_error").get_as::<String>().unwrap().unwrap().contains("died"));
    require_clean(&rebuilt);
    let order: Vec<_> = rebuilt.claim_many(1000).unwrap().iter().map(|claim| claim.key().as_i64().unwrap()).collect();
    assert_eq!(order, (15..100).chain(10..15).collect::<Vec<_>>());
    drop(held);
}

#[test]
fn a_compaction_keeps_tasks_claims_turns_and_loops() {
    let (_directory, tracker) = open(5);
    tracker.add_many(0..3000).unwrap();
    tracker.merge((3000..3010).map(|task| (task, json!({"_priority": task % 3})))).unwrap();
    let claims = tracker.claim_many(40).unwrap();
    // Put back in another order than that of the keys.
    let mut held = Vec::new();
    for (turn, claim) in claims.into_iter().enumerate() {
        if turn % 4 == 3 { held.insert(0, claim) } else { claim.done().unwrap() }
    }
    let kept = held.split_off(6);
    for claim in held {
        claim.fail("later").unwrap();
    }
    tracker.transaction(|t| (100..1900).try_for_each(|task| t.remove(task).map(|_| ()))).unwrap();
    tracker.abort(2500).unwrap();
    let before = names(tracker.todo_keys());
    let mut halfway = tracker.todo_keys();
    let mut seen: Vec<String> = names(halfway.by_ref().take(500));
    let counts = |tracker: &Tracker| {
        (tracker.num_done(), tracker.num_tried(), tracker.num_aborted(), tracker.progress().failed, tracker.claims().unwrap().len())
    };
    let counted = counts(&tracker);
    tracker.compact().unwrap();
    require_clean(&tracker);
    assert_eq!(counts(&tracker), counted);
    assert_eq!(names(tracker.todo_keys()), before);
    seen.extend(names(halfway));
    assert_eq!(seen, before, "each once");
    for claim in kept {
        claim.done().unwrap();
    }
    require_clean(&tracker);
    let order: Vec<i64> = tracker.claim_many(10_000).unwrap().iter().map(|claim| claim.key().as_i64().unwrap()).collect();
    let (plain, behind) = order.split_at(order.len() - 6);
    assert!(plain.is_sorted(), "{plain:?}");
    assert!(behind.iter().rev().is_sorted(), "as they were put back: {behind:?}");
    require_clean(&tracker);
    tracker.set_max_tries(9).unwrap();
    require_clean(&tracker);
}

#[test]
fn a_reader_makes_no_tracker_of_a_pod() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    let refused = || Options::new().read_only(true).open_tracker(&path).unwrap_err();
    assert_eq!(refused().kind(), ErrorKind::WrongKind, "also where this process has it open for writing");
    pod.set("a", 1).unwrap();
    pod.close().unwrap();
    assert_eq!(refused().kind(), ErrorKind::WrongKind);
}
