//! What calls on a store do while their thread has a transaction on it in hand: the table at `Pod::transaction`.

use crate::support::{Role, directory};
use serde_json::json;
use std::time::Duration;
use tastypod::{Conversion, ErrorKind, Pod, Result, Tracker};

pub const CHILDREN: &[Role] = &[];

type Call = (&'static str, fn(&Tracker) -> Result<()>);

/// Calls that read or write entries. Each leaves the store as the next one needs it: with a task `a`.
const ENTRIES: &[Call] = &[
    ("set", |pod| pod.set("new", json!({}))),
    ("insert", |pod| pod.insert("new", json!({})).map(drop)),
    ("set_if_absent", |pod| pod.set_if_absent("new", json!({})).map(drop)),
    ("set_raw_json", |pod| pod.set_raw_json("new", "{}")),
    ("get", |pod| pod.get("a").map(drop)),
    ("get_as", |pod| pod.get_as::<serde_json::Value>("a").map(drop)),
    ("view", |pod| pod.view("a").map(drop)),
    ("raw_json", |pod| pod.raw_json("a").map(drop)),
    ("contains_key", |pod| pod.contains_key("a").map(drop)),
    ("remove", |pod| pod.remove("new").map(drop)),
    ("update", |pod| pod.update("a", |_| ())),
    ("try_update", |pod| pod.try_update("a", |_| Ok(()))),
    ("update_or_insert", |pod| pod.update_or_insert("a", json!({}), |_| ())),
    ("compare_exchange", |pod| pod.compare_exchange("a", None, None).map(drop)),
    ("compare_exchange_as", |pod| pod.compare_exchange_as("a", None, Some(&1)).map(drop)),
    ("at.get", |pod| pod.at("a").get().map(drop)),
    ("at.set", |pod| pod.at("a").key("x").set(1)),
    ("extend", |pod| pod.extend([("new", json!({}))])),
    ("extend_if_absent", |pod| pod.extend_if_absent([("new", json!({}))]).map(drop)),
    ("first", |pod| pod.first().map(drop)),
    ("last", |pod| pod.last().map(drop)),
    ("pop_first", |pod| pod.pop_first().map(drop).and_then(|()| pod.set("a", json!({})))),
    ("get_many", |pod| pod.get_many(["a", "b"]).map(drop)),
    ("retain", |pod| pod.retain(|_, _| true).map(drop)),
    ("remove_if", |pod| pod.remove_if("a", |_| false).map(drop)),
    ("get_or_insert_with", |pod| pod.get_or_insert_with("a", || 1).map(drop)),
    ("insert_as", |pod| pod.insert_as::<serde_json::Value>("a", json!({})).map(drop)),
    ("update_as", |pod| pod.update_as("a", |_: &mut serde_json::Value| ())),
    ("rename", |pod| pod.rename("a", "other").and_then(|()| pod.rename("other", "a"))),
    ("remove_as", |pod| pod.remove_as::<serde_json::Value>("new").map(drop)),
    ("keys_with_prefix", |pod| pod.keys_with_prefix("a").try_for_each(|key| key.map(drop))),
    ("get_index", |pod| pod.get_index(0).map(drop)),
    ("drain", |pod| pod.drain().and_then(|entries| pod.extend(entries))),
    ("mark_dirty", |pod| pod.mark_dirty("a")),
    ("iter", |pod| pod.iter().try_for_each(|entry| entry.map(drop))),
    ("keys", |pod| pod.keys().try_for_each(|key| key.map(drop))),
    ("values", |pod| pod.values().try_for_each(|value| value.map(drop))),
    ("iter_as", |pod| pod.iter_as::<serde_json::Value>().try_for_each(|entry| entry.map(drop))),
    ("for", |pod| pod.pod().into_iter().try_for_each(|entry| entry.map(drop))),
    ("transaction", |pod| pod.pod().transaction(|_| Ok(()))),
    ("try_transaction", |pod| pod.pod().try_transaction(|_| Ok(()))),
    ("tracker.transaction", |tracker| tracker.transaction(|_| Ok(()))),
    ("add", |tracker| tracker.add("b")),
    ("add_if_absent", |tracker| tracker.add_if_absent("b").map(drop)),
    ("add_many", |tracker| tracker.add_many(["c"])),
    ("add_many_if_absent", |tracker| tracker.add_many_if_absent(["c"]).map(drop)),
    ("merge", |tracker| tracker.merge([("a", json!({"y": 1}))])),
    ("mark_done", |tracker| tracker.mark_done("a")),
    ("mark_not_done", |tracker| tracker.mark_not_done("a")),
    ("increment_tries", |tracker| tracker.increment_tries("a")),
    ("decrement_tries", |tracker| tracker.decrement_tries("a")),
    ("reset_tries", |tracker| tracker.reset_tries("a")),
    ("abort", |tracker| tracker.abort("a")),
    ("unabort", |tracker| tracker.unabort("a")),
    ("done", |tracker| tracker.done("a").map(drop)),
    ("tries", |tracker| tracker.tries("a").map(drop)),
    ("aborted", |tracker| tracker.aborted("a").map(drop)),
    ("should_do", |tracker| tracker.should_do("a").map(drop)),
    ("should_do_add", |tracker| tracker.should_do_add("a").map(drop)),
    ("should_try", |tracker| tracker.should_try("a").map(drop)),
    ("should_try_add", |tracker| tracker.should_try_add("a").map(drop)),
    ("retry", |tracker| tracker.retry(["a"]).map(drop)),
    ("clear", |pod| pod.clear()),
];

/// Calls that work on what is committed, or need the lock for themselves.
const COMMITTED: &[Call] = &[
    ("snapshot", |pod| pod.snapshot().map(drop)),
    ("iter_live", |pod| pod.iter_live().try_for_each(|entry| entry.map(drop))),
    ("stats", |pod| pod.stats().map(drop)),
    ("verify", |pod| pod.verify().map(drop)),
    ("dirty", |pod| pod.dirty().map(drop)),
    ("wait", |pod| pod.wait(pod.version(), Duration::from_micros(1)).map(drop)),
    ("wait_key", |pod| pod.wait_key("a", None, Duration::from_micros(1)).map(drop)),
    ("version_of", |pod| pod.version_of("a").map(drop)),
    ("lock", |pod| pod.lock().map(drop)),
    ("sync", |pod| pod.sync()),
    ("sync_key", |pod| pod.sync_key("a")),
    ("sync_overwrite", |pod| pod.sync_overwrite()),
    ("revert", |pod| pod.revert()),
    ("compact", |pod| pod.compact()),
    ("convert", |pod| pod.convert(Conversion::new().file_size(7))),
    ("convert_to_tracker", |pod| pod.convert_to_tracker().map(drop)),
    ("set_max_tries", |tracker| tracker.set_max_tries(3)),
    ("set_lease", |tracker| tracker.set_lease(None)),
    ("set_backoff", |tracker| tracker.set_backoff(None)),
    ("claim", |tracker| tracker.claim().map(drop)),
    ("claim_many", |tracker| tracker.claim_many(2).map(drop)),
    ("claim_wait", |tracker| tracker.claim_wait(Duration::from_micros(1)).map(drop)),
    ("work", |tracker| tracker.work().try_for_each(|claim| claim.map(drop))),
    ("claims", |tracker| tracker.claims().map(drop)),
    ("failures", |tracker| tracker.failures().try_for_each(|failure| failure.map(drop))),
    ("retry_failed", |tracker| tracker.retry_failed().map(drop)),
    ("retry_died", |tracker| tracker.retry_died().map(drop)),
    ("todo_keys", |tracker| tracker.todo_keys().try_for_each(|key| key.map(drop))),
    ("try_items", |tracker| tracker.try_items().try_for_each(|item| item.map(drop))),
    ("aborted_values", |tracker| tracker.aborted_values().try_for_each(|value| value.map(drop))),
];

fn tracker(path: &std::path::Path) -> Tracker {
    let tracker = Tracker::open(path).unwrap();
    tracker.add("a").unwrap();
    tracker
}

fn require_reentrant(calls: &[Call], tracker: &Tracker, hint: &str) {
    for (name, call) in calls {
        let error = call(tracker).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Reentrant, "{name}: {error}");
        assert!(error.to_string().contains(hint), "{name}: {error}");
    }
}

#[test]
fn inside_a_closure_every_call_that_can_fail_names_the_argument_of_the_closure() {
    let dir = directory();
    let tracker = tracker(dir.path());
    let (version, snapshot) = (tracker.version(), tracker.snapshot().unwrap());
    let other = Tracker::open(dir.path()).unwrap();
    let outcome = tracker.transaction(|t| {
        t.add("b")?;
        for handle in [&tracker, &other] {
            require_reentrant(ENTRIES, handle, "the closure's argument");
            require_reentrant(COMMITTED, handle, "the closure's argument");
            assert_eq!((handle.len(), handle.is_empty(), handle.version()), (2, false, version));
        }
        t.update("a", |_| assert_eq!(tracker.len(), 2))?;
        t.mark_done("a")?;
        t.increment_tries("b")?;
        assert_eq!((tracker.num_done(), tracker.num_tried(), tracker.num_aborted(), tracker.fraction_done()), (1, 1, 0, 0.5));
        t.abort("b")?;
        t.remove("a")?;
        assert_eq!((other.num_done(), other.num_tried(), other.num_aborted(), other.fraction_done()), (0, 1, 1, 0.0));
        t.add("a")?;
        assert_eq!((snapshot.len(), t.len()?), (1, 2));
        t.clear()?;
        assert!(tracker.is_empty());
        Err::<(), _>(tastypod::Error::other("no"))
    });
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Other);
    assert_eq!((tracker.len(), tracker.num_aborted()), (1, 0));
    tracker.update("a", |_| require_reentrant(ENTRIES, &tracker, "the closure's argument")).unwrap();
    tracker.update("a", |_| require_reentrant(COMMITTED, &tracker, "the closure's argument")).unwrap();
    assert!(tracker.verify().unwrap().is_clean());
}

#[test]
fn under_a_guard_calls_on_entries_are_part_of_it_and_others_name_the_guard() {
    let dir = directory();
    let tracker = tracker(dir.path());
    let before = tracker.version();
    let guard = tracker.lock().unwrap();
    for (name, call) in ENTRIES {
        call(&tracker).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((tracker.len(), tracker.is_empty()), (tracker.iter().count(), *name == "clear"), "after {name}");
        assert_eq!(tracker.version(), before, "{name} is part of the guard");
    }
    require_reentrant(COMMITTED, &tracker, "guard");
    tracker.update_or_insert("a", json!({}), |_| require_reentrant(ENTRIES, &tracker, "the closure's argument")).unwrap();
    drop(guard);
    assert_eq!((tracker.len(), tracker.version()), (1, before));
    for (name, call) in ENTRIES {
        let guard = tracker.lock().unwrap();
        tracker.clear().unwrap();
        tracker.add("a").unwrap();
        call(&tracker).unwrap_or_else(|error| panic!("{name}: {error}"));
        guard.rollback();
    }
    for (name, call) in COMMITTED {
        call(&tracker).unwrap_or_else(|error| panic!("{name} without a guard: {error}"));
    }
    assert!(tracker.verify().unwrap().is_clean());
}

#[test]
fn a_guard_that_ends_inside_of_a_call_on_it_ends_with_the_call() {
    let dir = directory();
    let pod = Pod::open(dir.path()).unwrap();
    let guard = pod.lock().unwrap();
    pod.set("a", 1).unwrap();
    pod.update("a", |_| drop(guard)).unwrap();
    assert_eq!(pod.get("a").unwrap(), None);
    let guard = pod.lock().unwrap();
    pod.set("a", 1).unwrap();
    pod.update("a", |_| assert_eq!(guard.commit().unwrap_err().kind(), ErrorKind::Reentrant)).unwrap();
    pod.set("b", 1).unwrap();
    assert_eq!(pod.len(), 1);
}
