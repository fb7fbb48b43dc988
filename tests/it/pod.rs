//! The map's calls in one process: what each does, alone and in transactions.

use crate::support::{Role, directory};
use serde_json::{Value, json};
use tastypod::{Error, ErrorKind, Options, Pod};

pub const CHILDREN: &[Role] = &[];

fn keys(pod: &Pod) -> Vec<String> {
    pod.keys().map(|key| key.unwrap().to_string()).collect()
}

#[test]
fn a_removed_key_that_is_set_again_goes_last() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.extend([("a", 1), ("b", 2), ("c", 3)]).unwrap();
    pod.set("a", 10).unwrap();
    assert_eq!(keys(&pod), ["a", "b", "c"]);
    pod.remove("a").unwrap();
    pod.set("a", 11).unwrap();
    assert_eq!(keys(&pod), ["b", "c", "a"]);
    pod.transaction(|txn| {
        txn.remove("b")?;
        txn.set("b", 1)?;
        txn.set("d", 1)
    })
    .unwrap();
    assert_eq!(keys(&pod), ["c", "a", "b", "d"]);
    assert!(pod.verify().unwrap().is_clean(), "{}", pod.verify().unwrap());
}

#[test]
fn a_store_keeps_its_content_and_order_over_reopening() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    for n in 0..20_000 {
        pod.set(n, json!({"n": n})).unwrap();
    }
    for n in (0..20_000).step_by(3) {
        pod.remove(n).unwrap();
    }
    let before: Vec<(String, Value)> = pod.iter().map(|entry| entry.map(|(key, value)| (key.to_string(), value)).unwrap()).collect();
    drop(pod);
    for _ in 0..2 {
        let pod = Pod::open(&path).unwrap();
        let after: Vec<(String, Value)> = pod.iter().map(|entry| entry.map(|(key, value)| (key.to_string(), value)).unwrap()).collect();
        assert_eq!(before, after);
        assert!(pod.verify().unwrap().is_clean(), "{}", pod.verify().unwrap());
        drop(pod);
        // The second time index and control are gone and the log alone has to do.
        for name in ["control", "index", "order", "segments"] {
            let _ = std::fs::remove_file(path.join(".live").join(name));
        }
    }
}

#[test]
fn a_snapshot_sees_one_instant_whatever_happens() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.extend((0..1000).map(|n| (n, n))).unwrap();
    let snapshot = pod.snapshot().unwrap();
    pod.extend((500..5000).map(|n| (n, -1))).unwrap();
    for n in 0..100 {
        pod.remove(n).unwrap();
        pod.set(n, "again").unwrap();
    }
    assert_eq!(snapshot.len(), 1000);
    assert_eq!(snapshot.get(7).unwrap(), Some(json!(7)));
    assert_eq!(snapshot.get(4000).unwrap(), None);
    let seen: Vec<i64> = snapshot.into_iter().map(|entry| entry.unwrap().1.as_i64().unwrap()).collect();
    assert_eq!(seen, (0..1000).collect::<Vec<i64>>());
}

#[test]
fn an_error_or_a_panic_in_a_transaction_leaves_nothing() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.set("k", 1).unwrap();
    let outcome = pod.transaction(|txn| {
        txn.set("k", 2)?;
        txn.remove("k")?;
        Err::<(), _>(Error::other("no"))
    });
    assert_eq!(outcome.unwrap_err().to_string(), "no");
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = pod.lock().unwrap();
        pod.set("k", 3).unwrap();
        panic!("in the middle");
    }));
    assert!(panicked.is_err());
    assert_eq!(pod.get("k").unwrap(), Some(json!(1)));
    pod.set("k", 4).unwrap();
}

#[test]
fn a_call_on_the_store_inside_its_own_transaction_is_an_error() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    let other = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.set("k", 1).unwrap();
    pod.transaction(|_| {
        assert_eq!(other.set("k", 2).unwrap_err().kind(), ErrorKind::Reentrant);
        assert_eq!(other.get("k").unwrap_err().kind(), ErrorKind::Reentrant);
        Ok(())
    })
    .unwrap();
    pod.update("k", |_| assert_eq!(pod.remove("k").unwrap_err().kind(), ErrorKind::Reentrant)).unwrap();
}

#[test]
fn a_guard_is_joined_by_its_thread_and_hidden_from_others() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.set("k", 1).unwrap();
    let guard = pod.lock().unwrap();
    pod.set("k", 2).unwrap();
    pod.set("new", 1).unwrap();
    assert_eq!((pod.get("k").unwrap(), pod.len()), (Some(json!(2)), 2));
    assert_eq!(keys(&pod), ["k", "new"]);
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!((pod.get("k").unwrap(), pod.len()), (Some(json!(1)), 1)));
    });
    guard.commit().unwrap();
    assert_eq!((pod.get("k").unwrap(), pod.len()), (Some(json!(2)), 2));
}

#[test]
fn a_guard_that_an_early_error_drops_leaves_nothing() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.set("from", 1).unwrap();
    let version = pod.version();
    let moved = |to: &str| {
        let guard = pod.lock()?;
        pod.at("from").add(-1)?;
        pod.at(to).add(1)?;
        guard.commit()
    };
    assert_eq!(moved("absent").unwrap_err().kind(), ErrorKind::KeyNotFound);
    assert_eq!((pod.get("from").unwrap(), pod.version()), (Some(json!(1)), version));
    pod.set("to", 0).unwrap();
    moved("to").unwrap();
    assert_eq!((pod.get("from").unwrap(), pod.get("to").unwrap()), (Some(json!(0)), Some(json!(1))));
}

#[test]
fn values_larger_than_a_segment_and_many_segments_in_one_transaction() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    let large = "x".repeat(9 << 20);
    pod.set("large", &large).unwrap();
    pod.set("after", 1).unwrap();
    pod.extend((0..50).map(|n| (n, "y".repeat(1 << 20)))).unwrap();
    pod.set("large", "small").unwrap();
    pod.set("large", &large).unwrap();
    assert_eq!(pod.view("large").unwrap().unwrap().as_str().map(str::len), Some(9 << 20));
    assert!(pod.verify().unwrap().is_clean());
    drop(pod);
    std::fs::remove_file(path.join(".live/control")).unwrap();
    let pod = Pod::open(&path).unwrap();
    assert_eq!(pod.len(), 52);
    assert_eq!(pod.view("large").unwrap().unwrap().as_str().map(str::len), Some(9 << 20));
    assert!(pod.verify().unwrap().is_clean());
}

#[test]
fn different_store_options_are_a_conflict_that_names_both() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let _pod = Options::new().file_size(10).open(&path).unwrap();
    let error = Options::new().file_size(20).open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.to_string().contains("10") && error.to_string().contains("20"), "{error}");
    Pod::open(&path).unwrap();
}
