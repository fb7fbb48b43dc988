//! The map's calls in one process: what each does, alone and in transactions.

use crate::support::{Role, directory};
use serde_json::{Value, json};
use tastypod::{At, Error, ErrorKind, Key, Options, Pod, Result};

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
fn a_path_into_an_absent_key_is_an_error_unless_it_says_what_to_make() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    let version = pod.version();
    type Ending = (&'static str, fn(&At<'_>) -> Result<()>);
    let endings: [Ending; 11] = [
        ("set", |at| at.set(1)),
        ("set_if_absent", |at| at.set_if_absent(1).map(drop)),
        ("add", |at| at.add(1).map(drop)),
        ("add_i64", |at| at.add_i64(1).map(drop)),
        ("push", |at| at.push(1)),
        ("extend", |at| at.extend([1])),
        ("insert", |at| at.insert(0, 1)),
        ("pop", |at| at.pop().map(drop)),
        ("merge", |at| at.merge(json!({"a": 1}))),
        ("splice", |at| at.splice(.., [1]).map(drop)),
        ("update", |at| at.update(|_| ())),
    ];
    for (name, ending) in endings {
        for at in [pod.at("k"), pod.at("k").key("a"), pod.at("k").index(0)] {
            let error = ending(&at).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::KeyNotFound, "{name}: {error}");
            assert!(error.to_string().contains("key k: it is absent") && error.to_string().contains("or_insert"), "{name}: {error}");
        }
    }
    let at = pod.at("k").key("a");
    assert_eq!((at.get().unwrap(), at.contains().unwrap(), at.remove().unwrap()), (None, false, None));
    assert_eq!(pod.at("k").remove().unwrap(), None);
    assert_eq!((pod.len(), pod.version()), (0, version));
    let transactions = pod.stats().unwrap().transactions;

    let hits = pod.at("page").or_insert(json!({})).key("hits");
    assert_eq!((hits.get().unwrap(), pod.len()), (None, 0));
    assert_eq!((hits.add(1).unwrap(), hits.add(1).unwrap()), (json!(1), json!(2)));
    pod.at("list").or_insert(json!([])).push(1).unwrap();
    pod.at("list").or_insert(json!([])).push(2).unwrap();
    // Made also where the ending changes nothing in it, and not where the ending fails.
    assert_eq!(pod.at("empty").or_insert(json!([])).pop().unwrap(), None);
    assert!(matches!(pod.at("failed").or_insert(json!([])).add(1).unwrap_err().kind(), ErrorKind::TypeMismatch { .. }));
    assert_eq!(pod.get("page").unwrap(), Some(json!({"hits": 2})));
    assert_eq!(pod.get("list").unwrap(), Some(json!([1, 2])));
    assert_eq!(pod.get("empty").unwrap(), Some(json!([])));
    assert_eq!(pod.get("failed").unwrap(), None);
    pod.transaction(|txn| txn.at("page").or_insert(json!({})).key("hits").add(1).map(drop)).unwrap();
    assert_eq!(hits.get().unwrap(), Some(json!(3)));
    let behind = pod.at("page").key("hits").or_insert(0).add(1).unwrap_err();
    assert!(behind.kind() == ErrorKind::InvalidValue && behind.to_string().contains("/hits"), "{behind}");
    assert_eq!(pod.stats().unwrap().transactions, transactions + 6, "one commit each");
}

#[test]
fn the_first_the_last_and_what_is_wanted_of_many_are_the_same_alone_and_in_a_transaction() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    let named = |entry: Option<(Key, Value)>| entry.map(|(key, value)| (key.to_string(), value));
    assert_eq!((pod.first().unwrap(), pod.last().unwrap(), pod.pop_first().unwrap()), (None, None, None));
    pod.extend((0..6).map(|n| (n, n))).unwrap();
    pod.remove(0).unwrap();
    pod.remove(5).unwrap();
    assert_eq!((named(pod.first().unwrap()), named(pod.last().unwrap())), (Some(("1".into(), 1.into())), Some(("4".into(), 4.into()))));
    assert_eq!(pod.get_many([4, 5, 1]).unwrap(), [Some(json!(4)), None, Some(json!(1))]);
    let version = pod.version();
    let guard = pod.lock().unwrap();
    assert_eq!(named(pod.pop_first().unwrap()), Some(("1".into(), 1.into())));
    pod.remove(4).unwrap();
    assert_eq!((named(pod.first().unwrap()), named(pod.last().unwrap())), (Some(("2".into(), 2.into())), Some(("3".into(), 3.into()))));
    pod.set(1, "again").unwrap();
    assert_eq!(
        (named(pod.last().unwrap()), pod.get_many([1, 4]).unwrap()),
        (Some(("1".into(), "again".into())), vec![Some("again".into()), None])
    );
    assert_eq!((pod.retain(|key, value| key == &3 || value == "again").unwrap(), keys(&pod)), (1, vec!["3".into(), "1".into()]));
    guard.commit().unwrap();
    assert_eq!(keys(&pod), ["3", "1"]);
    assert_eq!(u64::from(pod.version()), u64::from(version) + 1);
    assert_eq!(pod.remove_if(1, |value| value == "other").unwrap(), None);
    assert_eq!(pod.remove_if(1, |value| value == "again").unwrap(), Some("again".into()));
    assert_eq!((pod.get_or_insert_with(1, || 7).unwrap(), pod.get_or_insert_with(1, || 8).unwrap()), (7.into(), 7.into()));
    assert_eq!(pod.pop_first().unwrap().unwrap().0, 3i64);
    pod.set_raw_json("huge", "1e400").unwrap();
    assert!(pod.get_many(["huge"]).unwrap_err().to_string().contains("key huge"));
    assert!(pod.last().unwrap_err().to_string().contains("key huge"));
    assert_eq!(pod.retain(|_, _| false).unwrap(), 2);
    assert!(pod.is_empty() && pod.verify().unwrap().is_clean());
}

#[test]
fn what_the_types_are_is_said_to_other_libraries() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    assert!(std::panic::catch_unwind(|| pod.update_or_insert("k", 0, |_| panic!("in the middle"))).is_err());
    pod.set("k", 1).unwrap();
    let error = std::io::Error::from(pod.at("absent").set(1).unwrap_err());
    assert!(error.kind() == std::io::ErrorKind::NotFound && error.to_string().contains("absent"), "{error}");
    assert_eq!(std::io::Error::from(Pod::open("/proc/self/mem/x").unwrap_err()).kind(), std::io::ErrorKind::NotADirectory);
    let key = pod.keys().next().unwrap().unwrap();
    assert!(key == *"k" && key == "k" && key != 1i64 && Key::from(1) == 1i64);
    assert_eq!((String::try_from(key.clone()).unwrap(), u64::try_from(Key::from(7)).unwrap()), ("k".to_owned(), 7));
    assert!(matches!(i64::try_from(key).unwrap_err().kind(), ErrorKind::TypeMismatch { .. }));
    assert!(u64::try_from(Key::from(-1)).unwrap_err().to_string().contains("-1"));
    let stats = pod.stats().unwrap();
    assert_eq!(serde_json::to_value(&stats).unwrap()["keys"], 1);
    assert!(stats.to_string().starts_with("1 keys, ") && stats.to_string().contains(&format!("process {}", std::process::id())), "{stats}");
    assert_eq!(tastypod::Version::from(u64::from(pod.version())), pod.version());
}

#[test]
fn a_number_beyond_64_bits_keeps_nobody_from_removing_it_or_from_what_stands_behind() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    let wide = 1i128 << 100;
    let nearest = json!([2f64.powi(100), 1]);
    let set = || {
        pod.set("wide", [wide, 1]).unwrap();
        pod.set_raw_json("huge", "-1e400").unwrap();
        pod.set("last", 1).unwrap();
    };
    set();
    assert_eq!(serde_json::from_str::<Value>(&pod.raw_json("wide").unwrap().unwrap()).unwrap(), nearest, "as serde_json reads it");
    // What is read or written back is not rounded.
    for error in [pod.get("wide").unwrap_err(), pod.update("wide", |_| ()).unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::InvalidValue);
        assert!(error.to_string().contains("would be rounded"), "{error}");
    }
    let of_items = |items: Vec<Result<(Key, Value)>>| {
        let items: Vec<String> =
            items.into_iter().map(|item| item.map_or_else(|error| error.to_string(), |(key, value)| format!("{key}={value}"))).collect();
        assert!(items[0].contains("key wide") && items[1].contains("key huge"), "{items:?}");
        assert_eq!(items[2], "last=1");
    };
    of_items(pod.iter().collect());
    of_items(pod.iter_live().collect());
    of_items(pod.snapshot().unwrap().iter().collect());
    of_items(pod.transaction(|txn| Ok(txn.iter().collect())).unwrap());
    assert!(pod.transaction(|txn| txn.entries()).unwrap_err().to_string().contains("key wide"));
    let guard = pod.lock().unwrap();
    of_items(pod.iter().collect());
    assert_eq!(pod.iter_as::<(i128, u8)>().next().unwrap().unwrap().1, (wide, 1));
    guard.rollback();
    let error = pod.extend([("good", 1.0), ("bad", f64::NAN)]).unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidValue && error.to_string().contains("key bad"), "{error}");

    assert_eq!(pod.at("wide").index(0).remove().unwrap(), Some(nearest[0].clone()));
    set();
    assert_eq!(pod.remove("wide").unwrap(), Some(nearest.clone()));
    assert_eq!(pod.remove("huge").unwrap(), Some(json!(f64::MIN)));
    set();
    assert_eq!(pod.insert("wide", 1).unwrap(), Some(nearest));
    assert_eq!(pod.transaction(|txn| txn.remove("huge")).unwrap(), Some(json!(f64::MIN)));
    assert_eq!(pod.len(), 2);
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

#[test]
fn values_of_a_type_are_read_changed_and_removed_and_others_stay_as_they_are() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    assert_eq!(pod.insert_as::<i64>("n", 1).unwrap(), None);
    assert_eq!(pod.insert_as::<i64>("n", 2).unwrap(), Some(1));
    assert_eq!(pod.update_as("n", |n: &mut i64| std::mem::replace(n, 3)).unwrap(), 2);
    pod.set("text", "x").unwrap();
    let version = pod.version();
    assert!(pod.insert_as::<i64>("text", 1).is_err() && pod.remove_as::<i64>("text").is_err());
    assert!(pod.update_as("text", |n: &mut i64| *n += 1).is_err());
    assert_eq!(pod.update_as("absent", |n: &mut i64| *n += 1).unwrap_err().kind(), ErrorKind::KeyNotFound);
    assert_eq!(pod.version(), version);
    let numbers = pod.typed::<String, i64>();
    assert_eq!((numbers.get("n").unwrap(), numbers.len(), numbers.is_empty()), (Some(3), 2, false));
    assert_eq!(numbers.insert("m".to_owned(), 5).unwrap(), None);
    numbers.update("m", |m| *m += 1).unwrap();
    let read: Vec<Option<(String, i64)>> = numbers.iter().map(|entry| entry.ok()).collect();
    assert_eq!(read, [Some(("n".to_owned(), 3)), None, Some(("m".to_owned(), 6))]);
    pod.set(7, 7).unwrap();
    assert_eq!(numbers.iter().last().unwrap().unwrap_err().kind(), ErrorKind::InvalidKey);
    assert_eq!(pod.typed::<i64, i64>().iter().last().unwrap().unwrap(), (7, 7));
    assert_eq!(numbers.remove("m").unwrap(), Some(6));
    assert!(!numbers.contains_key("m").unwrap());
    assert_eq!(pod.transaction(|txn| txn.remove_as::<i64>("n")).unwrap(), Some(3));
}

#[test]
fn a_key_is_renamed_unless_the_new_one_exists() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.extend([("a", 1), ("b", 2)]).unwrap();
    pod.rename("a", "c").unwrap();
    assert_eq!(keys(&pod), ["b", "c"]);
    assert_eq!(pod.rename("b", "c").unwrap_err().kind(), ErrorKind::DuplicateKey);
    assert_eq!(pod.rename("a", "d").unwrap_err().kind(), ErrorKind::KeyNotFound);
    assert_eq!(pod.rename("a", "a").unwrap_err().kind(), ErrorKind::KeyNotFound);
    pod.rename("b", "b").unwrap();
    assert_eq!((keys(&pod), pod.get("c").unwrap()), (vec!["b".to_owned(), "c".to_owned()], Some(json!(1))));
    assert_eq!(pod.drain().unwrap(), [("b".into(), 2.into()), ("c".into(), 1.into())]);
    assert!(pod.is_empty() && pod.verify().unwrap().is_clean());
}

#[test]
fn loops_go_backwards_and_meet_in_the_middle() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.extend((0..6).map(|n| (n, n))).unwrap();
    pod.remove(2).unwrap();
    let check = |pod: &Pod| {
        let values: Vec<i64> = pod.iter_as().rev().map(|entry| entry.unwrap().1).collect();
        assert_eq!(values, [5, 4, 3, 1, 0]);
        assert_eq!(pod.keys().next_back().unwrap().unwrap(), 5);
        assert_eq!(pod.values().next_back().unwrap().unwrap(), 5);
        assert_eq!(pod.typed::<i64, i64>().iter().rev().nth(1).unwrap().unwrap(), (4, 4));
        let mut both = pod.iter();
        let mut met = Vec::new();
        while let Some(front) = both.next() {
            met.push(front.unwrap().1);
            met.extend(both.next_back().map(|back| back.unwrap().1));
        }
        assert_eq!(met, [0, 5, 1, 4, 3]);
        assert!(both.next_back().is_none());
        assert_eq!(pod.get_index(2).unwrap(), Some((3.into(), 3.into())));
        assert_eq!(pod.get_index(5).unwrap(), None);
    };
    check(&pod);
    let guard = pod.lock().unwrap();
    check(&pod);
    drop(guard);
    let snapshot = pod.snapshot().unwrap();
    pod.remove(0).unwrap();
    let mut entries = snapshot.entries();
    let mut met = Vec::new();
    while let Some(back) = entries.next_back() {
        met.extend([Some(back), entries.next()].into_iter().flatten().map(|entry| entry.unwrap().1.as_i64().unwrap()));
        assert_eq!(entries.len(), 5 - met.len());
    }
    assert_eq!(met, [5, 0, 4, 1, 3]);
    assert_eq!((snapshot.first().unwrap().unwrap().1, snapshot.last().unwrap().unwrap().1), (json!(0), json!(5)));
    pod.extend([(("x", 1), 1), (("y", 1), 2), (("x", 2), 3)]).unwrap();
    pod.extend([("xa", 1), ("ya", 2)]).unwrap();
    let found = |prefix: Key| pod.keys_with_prefix(&prefix).map(|key| key.unwrap().to_string()).collect::<Vec<_>>();
    assert_eq!(found(("x",).into()), [r#"["x",1]"#, r#"["x",2]"#]);
    assert_eq!(found("x".into()), ["xa"]);
    assert_eq!(found(3.into()), ["3"]);
    let snapshot = pod.snapshot().unwrap();
    let in_place: Vec<String> = snapshot.entries().map(|entry| entry.unwrap().0.to_string()).collect();
    assert_eq!(in_place, snapshot.keys().map(|key| key.unwrap().to_string()).collect::<Vec<_>>());
    assert_eq!(snapshot.entries().next().unwrap().unwrap().0.as_i64(), Some(1));
    assert_eq!(snapshot.keys_with_prefix(("x",)).count(), 2);
    pod.transaction(|txn| {
        txn.set(("x", 3), 7)?;
        assert_eq!(txn.keys_with_prefix(("x",)).next_back().unwrap()?, Key::from(("x", 3)));
        assert_eq!(txn.values().next_back().unwrap()?, 7);
        assert_eq!(txn.keys_with_prefix(u64::MAX).next().unwrap().unwrap_err().kind(), ErrorKind::InvalidKey);
        Ok(())
    })
    .unwrap();
}

#[test]
fn parts_are_compared_and_found_by_pointers_in_snapshots_and_views() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    let value = json!({"a": [1, {"b": u64::MAX}], "c": 1.0});
    pod.extend([("k", &value), ("same", &value)]).unwrap();
    let (snapshot, view) = (pod.snapshot().unwrap(), pod.view("k").unwrap().unwrap());
    pod.set("k", 1).unwrap();
    let part = snapshot.view("k").unwrap().unwrap();
    assert!(part == value && view == value && part == view.part() && Some(part) == snapshot.view("same").unwrap());
    assert!(part != json!({"a": [1, {"b": u64::MAX}], "c": 1}) && part != json!(null));
    assert_eq!(part.pointer("/a/1/b").and_then(|part| part.as_u64()), Some(u64::MAX));
    assert!(part.pointer("/a/7").is_none() && part.pointer("a").is_none() && part.pointer("/c/x").is_none());
    assert!(part.is_object() && part.pointer("/a").unwrap().is_array() && !view.is_array());
    assert_eq!((view.to_string(), view.len(), view.is_empty(), view.is_null()), (value.to_string(), 2, false, false));
    assert_eq!(view.entries().rev().map(|(key, _)| key).collect::<Vec<_>>(), ["c", "a"]);
    assert_eq!(view.pointer("/a").unwrap().iter().len(), 2);
    assert_eq!(snapshot.raw_json("k").unwrap(), Some(value.to_string()));
    assert_eq!(snapshot.iter_as::<Value>().next().unwrap().unwrap().1, value);
    assert!(snapshot.view("absent").unwrap().is_none());
    let count = pod.transaction(|txn| {
        assert!(!txn.is_empty()?);
        txn.extend_if_absent([("k", 2), ("new", 3)])
    });
    assert_eq!((count.unwrap(), pod.get("k").unwrap(), pod.get("new").unwrap()), (1, Some(json!(1)), Some(json!(3))));
}

#[test]
fn every_error_about_a_value_names_its_key_once() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.set_raw_json("k", "[3.14159265358979323846]").unwrap();
    let check = |what: &str, error: Error| {
        let text = error.to_string();
        assert!(text.starts_with("key k: ") && text.matches("key k").count() == 1, "{what}: {text}");
    };
    let nan = || [f64::NAN];
    macro_rules! calls {
        ($($on:ident)*) => {$(
            check("get", $on.get("k").unwrap_err());
            check("get_as", $on.get_as::<String>("k").unwrap_err());
            check("get_many", $on.get_many(["k"]).unwrap_err());
            check("set", $on.set("k", nan()).unwrap_err());
            check("set_raw_json", $on.set_raw_json("k", "[").unwrap_err());
            check("insert", $on.insert("k", nan()).unwrap_err());
            check("insert_as", $on.insert_as::<i64>("k", 1).unwrap_err());
            check("set_if_absent", $on.set_if_absent("k", nan()).unwrap_err());
            check("extend", $on.extend([("k", nan())]).unwrap_err());
            check("remove_as", $on.remove_as::<i64>("k").unwrap_err());
            check("update", $on.update("k", |_| ()).unwrap_err());
            check("update_as", $on.update_as("k", |_: &mut i64| ()).unwrap_err());
            check("update_or_insert", $on.update_or_insert("k", nan(), |_| ()).unwrap_err());
            check("get_or_insert_with", $on.get_or_insert_with("k", || 1).unwrap_err());
            check("compare_exchange_as", $on.compare_exchange_as("k", None, Some(&nan())).unwrap_err());
            check("at get", $on.at("k").get().unwrap_err());
            check("at set", $on.at("k").index(0).set(nan()).unwrap_err());
            check("at push", $on.at("k").push(nan()).unwrap_err());
            check("at key", $on.at("k").key("x").set(1).unwrap_err());
            check("at add", $on.at("k").add(1).unwrap_err());
            check("at len", $on.at("k").index(0).len().unwrap_err());
            check("at or_insert", $on.at("k").or_insert(nan()).push(1).unwrap_err());
        )*};
    }
    calls!(pod);
    pod.transaction(|txn| {
        calls!(txn);
        Ok(())
    })
    .unwrap();
    let snapshot = pod.snapshot().unwrap();
    check("snapshot", snapshot.get("k").unwrap_err());
    check("snapshot at", snapshot.at("k").get().unwrap_err());
    pod.clear().unwrap();
    check("absent", pod.update("k", |_| ()).unwrap_err());
    check("absent for a path", pod.at("k").key("x").set(1).unwrap_err());
    check("absent for a length", pod.at("k").len().unwrap_err());
    check("mark_dirty", pod.mark_dirty("k").unwrap_err());
    check("rename", pod.rename("k", "l").unwrap_err());
}
