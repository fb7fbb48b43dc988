//! What a Rust programmer expects of a map, of errors and of waiting.

use crate::forked::fork;
use crate::support::{Child, HANG, Role, directory, hear, say, text};
use serde::Serialize;
use serde_json::json;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;
use tastypod::{At, Changed, Error, ErrorKind, Options, Pod, Result, Snapshot, Txn};

pub const CHILDREN: &[Role] =
    &[("set when told", set_when_told), ("wait in an async runtime", wait_in_an_async_runtime), ("wait after a fork", wait_after_a_fork)];

/// Sets a key to each number that it is told.
fn set_when_told(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    say("ready");
    while let Some((key, value)) = hear().trim().split_once(' ') {
        match key {
            "remove" => drop(pod.remove(value).unwrap()),
            _ => pod.set(key, value).unwrap(),
        }
    }
}

fn teller(pod: &Pod) -> Child {
    let mut child = Child::start("set when told", &[text(pod.path())]);
    assert_eq!(child.line().as_deref(), Some("ready"));
    child
}

#[test]
fn iterators_know_how_many_entries_are_left() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.extend((0..100).map(|n| (n, n))).unwrap();
    (0..100).step_by(3).for_each(|n| drop(pod.remove(n).unwrap()));
    let snapshot = pod.snapshot().unwrap();
    let check = |mut left: usize, mut next: Box<dyn FnMut(bool) -> Option<usize> + '_>| {
        for turn in 0.. {
            match next(turn % 3 == 0) {
                Some(after) => left -= 1 + usize::from(after + 1 != left) * 1000,
                None => break,
            }
        }
        assert_eq!(left, 0);
    };
    macro_rules! check_both_ends {
        ($($iterator:expr),*) => {$(
            let mut iterator = $iterator;
            assert_eq!(iterator.len(), 66);
            check(66, Box::new(move |back| {
                if back { iterator.next_back() } else { iterator.next() }.map(|item| item.unwrap())?;
                Some(iterator.len())
            }));
        )*};
    }
    check_both_ends!(pod.iter(), pod.keys(), pod.values(), pod.iter_as::<u8>(), snapshot.iter(), snapshot.keys());
    let mut entries = snapshot.entries();
    assert_eq!(entries.len(), 66);
    entries.next().unwrap().unwrap();
    assert_eq!((entries.len(), entries.by_ref().count(), entries.len()), (65, 65, 0));
    assert_eq!(pod.typed::<i64, u8>().iter().len(), 66);
    // With the writes of a guard, and after a compaction, whose places are others.
    let guard = pod.lock().unwrap();
    pod.set("new", 1).unwrap();
    assert_eq!(pod.keys().len(), 67);
    guard.rollback();
    pod.compact().unwrap();
    assert_eq!((pod.keys().len(), pod.keys().count()), (66, 66));
    // An item that is an error is one of them.
    pod.set("text", "x").unwrap();
    let mut numbers = pod.iter_as::<u8>();
    assert_eq!((numbers.len(), numbers.by_ref().filter(Result::is_err).count(), numbers.len()), (67, 1, 0));
}

#[test]
fn paths_lead_into_snapshots_and_are_sent_to_threads() {
    fn assert_send<T: Send>(value: T) -> T {
        value
    }
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.set("k", json!({"tags": ["x", "y"], "n": 1})).unwrap();
    let snapshot = pod.snapshot().unwrap();
    let path: At<'_> = assert_send(pod.at("k").key("n"));
    std::thread::scope(|scope| {
        scope.spawn(|| path.add(1).unwrap());
        scope.spawn(|| path.clone().add(1).unwrap());
    });
    assert_eq!(pod.at("k").key("n").get_as::<u8>().unwrap(), Some(3));
    let then: At<'_, Snapshot> = snapshot.at("k").key("n");
    assert_eq!((then.get_as::<u8>().unwrap(), then.contains().unwrap()), (Some(1), true));
    assert_eq!(snapshot.at("k").pointer("/tags").len().unwrap(), 2);
    assert_eq!(snapshot.at("absent").get().unwrap(), None);
    assert_eq!(snapshot.at("absent").or_insert(json!({"n": 5})).key("n").get_as::<u8>().unwrap(), Some(5));
    pod.transaction(|txn| {
        let path: At<'_, Txn> = txn.at("k").key("n");
        path.add(1)?;
        assert_eq!(path.get_as::<u8>()?, Some(4));
        Ok(())
    })
    .unwrap();
    // Made under a guard and used after it, a path leads into the store.
    let guard = pod.lock().unwrap();
    let path = pod.at("k").key("n");
    path.set(9).unwrap();
    guard.rollback();
    assert_eq!(path.get_as::<u8>().unwrap(), Some(4));
}

#[test]
fn views_see_what_their_transaction_wrote() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    pod.set("old", json!([1, 2])).unwrap();
    let long = "z".repeat(100_000);
    let kept = pod
        .transaction(|txn| {
            txn.set("new", json!({"text": &long, "bytes": [1, 2, 3]}))?;
            txn.remove("old")?;
            assert!(txn.view("old")?.is_none() && txn.view("absent")?.is_none());
            Ok(txn.view("new")?.unwrap())
        })
        .unwrap();
    assert_eq!(kept.get("text").and_then(|text| text.as_str()), Some(&*long));
    assert_eq!(kept, pod.view("new").unwrap().unwrap());
    let guard = pod.lock().unwrap();
    pod.set("new", 7).unwrap();
    assert_eq!(pod.view("new").unwrap().unwrap(), json!(7));
    guard.rollback();
    assert_eq!(pod.view("new").unwrap().unwrap(), kept);
}

#[test]
fn values_of_own_types_are_compared_and_exchanged() {
    #[derive(Serialize)]
    struct Lease {
        owner: &'static str,
        until: f64,
    }
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    let (mine, yours) = (Lease { owner: "me", until: 1.0 }, Lease { owner: "you", until: 2.0 });
    assert!(pod.compare_exchange_as("k", None, Some(&mine)).unwrap());
    assert!(!pod.compare_exchange_as("k", Some(&yours), None).unwrap());
    assert!(pod.compare_exchange("k", Some(&json!({"until": 1.0, "owner": "me"})), Some(&json!([1, 2, 3]))).unwrap());
    assert!(!pod.compare_exchange_as("k", Some(&[1.0, 2.0, 3.0]), None).unwrap());
    assert!(pod.transaction(|txn| txn.compare_exchange_as("k", Some(&vec![1u8, 2, 3]), None)).unwrap());
    assert!(pod.is_empty());
}

#[test]
fn foreign_errors_pass_a_transaction_without_annotations() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    let file = dir.path().join("numbers");
    std::fs::write(&file, "1 2 x").unwrap();
    let read = |path: &std::path::Path| {
        pod.transaction(|txn| {
            for word in std::fs::read_to_string(path)?.split_whitespace() {
                let number: u64 = word.parse()?;
                txn.set(word, number)?;
                txn.set("float", "0.5".parse::<f64>()?)?;
                txn.set("json", serde_json::from_str::<serde_json::Value>("[]")?)?;
                txn.set("text", std::str::from_utf8(word.as_bytes())?)?;
            }
            Ok(())
        })
    };
    let error = read(&file).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::Other, "invalid digit found in string".to_owned()));
    assert!(error.get_ref().is_some_and(|cause| cause.is::<std::num::ParseIntError>()));
    assert!(std::error::Error::source(&error).is_none(), "its text would be printed twice");
    let error: std::io::Error = read(&dir.path().join("absent")).unwrap_err().into();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    assert!(pod.is_empty());

    // Back from an error of the system to what it was made of.
    let once = |pod: &Pod| -> std::io::Result<()> { Ok(pod.at("absent").set(1)?) };
    assert_eq!(Error::from(once(&pod).unwrap_err()).kind(), ErrorKind::KeyNotFound);

    // With anyhow: in `transaction`, and in `try_transaction` as the last expression.
    use anyhow::Context as _;
    fn inside(pod: &Pod) -> anyhow::Result<()> {
        pod.transaction(|txn| {
            let number: u64 = "y".parse().context("the number of pages")?;
            txn.set("pages", number)?;
            Ok(())
        })?;
        Ok(())
    }
    fn last(pod: &Pod) -> anyhow::Result<()> {
        pod.try_transaction(|txn| {
            txn.set("pages", 1)?;
            anyhow::ensure!(txn.len()? > 1, "too few pages");
            Ok(())
        })
    }
    let error = inside(&pod).unwrap_err();
    assert_eq!(error.to_string(), "the number of pages");
    assert_eq!(error.root_cause().to_string(), "invalid digit found in string");
    let error = pod.transaction(|txn| Ok(txn.update("absent", |_| ()).context("the settings of user 7")?)).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (ErrorKind::KeyNotFound, "the settings of user 7".to_owned()));
    let chain: Vec<String> = anyhow::Error::from(error).chain().map(ToString::to_string).collect();
    assert!(chain.len() == 2 && chain[0] == "the settings of user 7" && chain[1].contains("absent"), "{chain:?}");
    let boxed = |txn: &Txn| -> std::result::Result<(), Box<dyn std::error::Error + Send + Sync>> { Ok(txn.update("absent", |_| ())?) };
    assert_eq!(pod.transaction(|txn| Ok(boxed(txn)?)).unwrap_err().kind(), ErrorKind::KeyNotFound);
    assert_eq!(last(&pod).unwrap_err().to_string(), "too few pages");
    // What was not made of an error of ours keeps its type, and what was keeps its kind, by whichever way it came.
    let absent = |path: &std::path::Path| -> anyhow::Result<String> { Ok(std::fs::read_to_string(path)?) };
    let error = pod.transaction(|_| Ok(absent(&dir.path().join("absent"))?)).unwrap_err();
    assert!(error.get_ref().is_some_and(|cause| cause.is::<std::io::Error>()), "{error:?}");
    assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::NotFound);
    let detour = || -> anyhow::Result<()> { Ok(once(&pod)?) };
    assert_eq!(Error::from(detour().unwrap_err()).kind(), ErrorKind::KeyNotFound);
    let boxed: Box<dyn std::error::Error + Send + Sync> = Box::new(once(&pod).unwrap_err());
    assert_eq!(Error::from(boxed).kind(), ErrorKind::KeyNotFound);
    let again: Result<()> = pod.transaction(|_| Err(anyhow::Error::from(Error::other("mine")))?);
    assert_eq!((again.as_ref().unwrap_err().kind(), again.unwrap_err().to_string()), (ErrorKind::Other, "mine".to_owned()));
    assert!(pod.is_empty());
}

#[test]
fn a_wait_for_a_key_ends_when_another_process_changes_it() {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    let mut child = teller(&pod);
    let absent = pod.version_of("k").unwrap();
    assert_eq!(absent, None);
    // Others' commits do not end it.
    let waiting = std::thread::spawn({
        let pod = pod.clone();
        move || pod.wait_key("k", absent, HANG).unwrap()
    });
    (0..50).for_each(|n| pod.set(("other", n), n).unwrap());
    assert!(!waiting.is_finished());
    child.tell("k 1");
    let first = waiting.join().unwrap();
    assert!(first.is_some() && pod.version_of("k").unwrap() == first);
    assert_eq!(pod.get_as::<String>("k").unwrap().as_deref(), Some("1"));
    assert_eq!(pod.wait_key("k", first, Duration::from_millis(5)).unwrap(), first);
    // What was missed ends it at once.
    assert_eq!(pod.wait_key("k", None, HANG).unwrap(), first);
    for (told, is_there) in [("k 2", true), ("remove k", false), ("k 3", true)] {
        let seen = pod.version_of("k").unwrap();
        child.tell(told);
        let now = pod.wait_key("k", seen, HANG).unwrap();
        assert!(now != seen && now.is_some() == is_there, "{told}: {seen:?} {now:?}");
    }
    // A checkpoint changes nothing.
    let seen = pod.version_of("k").unwrap();
    pod.sync().unwrap();
    assert_eq!(pod.wait_key("k", seen, Duration::ZERO).unwrap(), seen);
}

#[test]
fn a_reader_that_came_first_sees_later_writers_after_a_refresh() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    Pod::open(&path).unwrap().set("k", 0).unwrap();
    let mut reader = Options::new().read_only(true).open(&path).unwrap();
    let earlier = reader.snapshot().unwrap();
    reader.refresh().unwrap();
    let writer = Pod::open(&path).unwrap();
    for turn in 1..4 {
        writer.set("k", turn).unwrap();
        // From now on it sees each commit.
        reader.refresh().unwrap();
        assert_eq!(reader.get_as::<i32>("k").unwrap(), Some(turn));
    }
    assert_eq!(earlier.get_as::<i32>("k").unwrap(), Some(0));
    assert_eq!(reader.set("k", 9).unwrap_err().kind(), ErrorKind::ReadOnly);
    drop(writer);
    assert_eq!(reader.get_as::<i32>("k").unwrap(), Some(3));
    // An edit by hand too.
    drop(reader);
    let edited = dir.path().join("b.pod");
    std::fs::create_dir(&edited).unwrap();
    std::fs::write(edited.join("0.json"), "\"k\"\t1\n").unwrap();
    let mut reader = Options::new().read_only(true).open(&edited).unwrap();
    std::fs::write(edited.join("0.json"), "\"k\"\t2\n").unwrap();
    reader.refresh().unwrap();
    assert_eq!(reader.get_as::<i32>("k").unwrap(), Some(2));
    let mut same = Pod::open(&path).unwrap();
    same.refresh().unwrap();
    same.set("k", 4).unwrap();
}

/// Ends when no thread waits for tasks any more.
fn require_no_thread_that_waits() {
    let start = std::time::Instant::now();
    while threads_that_wait() > 0 {
        assert!(start.elapsed() < HANG);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn threads_that_wait() -> usize {
    let names =
        std::fs::read_dir("/proc/self/task").unwrap().filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "tastypod-wait").count()
}

/// Plays a role in a process of its own: threads are counted there, and a fork copies no test runner.
fn apart(role: &str) {
    let mut child = Child::start(role, &[]);
    let said = child.lines();
    assert!(child.wait().success(), "{said:?}");
}

#[test]
fn tasks_of_an_async_runtime_wait_for_commits() {
    apart("wait in an async runtime");
}

fn wait_in_an_async_runtime(_: &[String]) {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let mut child = teller(&pod);
    runtime.block_on(async {
        let within = |changed| tokio::time::timeout(HANG, changed);
        // Nothing happens: the runtime's own time-out ends it, and the thread too.
        let seen = pod.version();
        assert!(tokio::time::timeout(Duration::from_millis(20), pod.changed(seen)).await.is_err());
        require_no_thread_that_waits();
        // Many tasks, one thread.
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let pod = pod.clone();
                tokio::spawn(async move { tokio::time::timeout(HANG, pod.changed(seen)).await.unwrap().unwrap() })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(threads_that_wait(), 1);
        child.tell("k 1");
        for task in tasks {
            assert!(task.await.unwrap() > seen);
        }
        // One after the other misses nothing, however fast they come.
        let writer = pod.clone();
        let writing = std::thread::spawn(move || (0..2000).for_each(|n| writer.set("n", n).unwrap()));
        let mut seen = pod.version();
        while pod.get_as::<i32>("n").unwrap() != Some(1999) {
            seen = within(pod.changed(seen)).await.unwrap().unwrap();
        }
        writing.join().unwrap();
        // Who waits for a later version keeps nobody else asleep.
        let seen = pod.version();
        let (far, near) = (pod.changed((u64::from(seen) + 1000).into()), pod.changed(seen));
        let far = tokio::spawn(async move { far.await.unwrap() });
        tokio::time::sleep(Duration::from_millis(5)).await;
        let near = tokio::spawn(async move { near.await.unwrap() });
        tokio::time::sleep(Duration::from_millis(5)).await;
        pod.set("n", 2000).unwrap();
        assert!(tokio::time::timeout(HANG, near).await.unwrap().unwrap() > seen && !far.is_finished());
        far.abort();
        // An isolated handle sees its own commits.
        let isolated = Options::new().isolated(true).open(pod.path()).unwrap();
        let changed = isolated.changed(isolated.version());
        let task = tokio::spawn(async move { changed.await.unwrap() });
        tokio::time::sleep(Duration::from_millis(5)).await;
        isolated.set("own", 1).unwrap();
        tokio::time::timeout(HANG, task).await.unwrap().unwrap();
        drop(isolated);
        // What is there already is said at once; a reader waits as well.
        assert!(within(pod.changed(0.into())).await.unwrap().unwrap() >= seen);
        let reader = Options::new().read_only(true).open(pod.path()).unwrap();
        let seen = reader.version();
        let changed = tokio::spawn(async move { reader.changed(seen).await });
        child.tell("k 2");
        assert!(tokio::time::timeout(HANG, changed).await.unwrap().unwrap().unwrap() > seen);
        let mut forgotten = Box::pin(pod.changed(pod.version()));
        assert!(tokio::time::timeout(Duration::from_millis(5), &mut forgotten).await.is_err());
        let guard = pod.lock().unwrap();
        assert_eq!(pod.changed(0.into()).await.unwrap_err().kind(), ErrorKind::Reentrant);
        guard.rollback();
        drop(forgotten);
    });
    // Dropping one that was just polled costs nothing: nobody waits for the thread.
    let poll = |changed: &mut Changed, waker: &Waker| Pin::new(changed).poll(&mut Context::from_waker(waker));
    let start = std::time::Instant::now();
    for _ in 0..1000 {
        assert!(poll(&mut pod.changed(pod.version()), Waker::noop()).is_pending());
    }
    println!("1000 dropped in {:?}", start.elapsed());
    // A waker that is all that keeps another future, and one that panics.
    struct Keeps(#[allow(dead_code)] Mutex<Option<Changed>>, bool);
    impl Wake for Keeps {
        fn wake(self: Arc<Self>) {
            assert!(self.1, "a runtime's own fault");
        }
    }
    for is_sound in [true, false] {
        let mut inner = pod.changed(pod.version());
        assert!(poll(&mut inner, Waker::noop()).is_pending());
        let waker = Waker::from(Arc::new(Keeps(Mutex::new(Some(inner)), is_sound)));
        let (mut outer, mut other) = (pod.changed(pod.version()), pod.changed(pod.version()));
        assert!(poll(&mut outer, &waker).is_pending());
        if is_sound {
            drop(waker);
            assert!(poll(&mut outer, Waker::noop()).is_pending());
        } else {
            let seen = pod.version();
            assert!(poll(&mut other, Waker::noop()).is_pending());
            pod.set("n", 1).unwrap();
            let woken = runtime.block_on(async { tokio::time::timeout(HANG, pod.changed(seen)).await });
            assert!(woken.unwrap().unwrap() > seen);
        }
    }
    require_no_thread_that_waits();
    // Nothing keeps the store open, nor does a thread that has not ended yet: the last handle saves it.
    drop(child);
    let mut last = pod.changed(pod.version());
    assert!(poll(&mut last, Waker::noop()).is_pending());
    drop(last);
    let path = pod.path().to_owned();
    drop(pod);
    assert!(std::fs::read_dir(&path).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().contains("json")));
}

#[test]
fn a_child_made_by_fork_waits_on_its_own() {
    apart("wait after a fork");
}

fn wait_after_a_fork(_: &[String]) {
    let dir = directory();
    let pod = Pod::open(dir.path().join("a.pod")).unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (parent, seen) = (runtime(), pod.version());
    let mut waiting = Box::pin(pod.changed(seen));
    parent.block_on(async { assert!(tokio::time::timeout(Duration::from_millis(5), &mut waiting).await.is_err()) });
    let forked = fork(|line| {
        let seen = pod.version();
        let writer = pod.clone();
        let writing = std::thread::spawn(move || writer.set(("child", 1), 1).unwrap());
        let now = runtime().block_on(async { tokio::time::timeout(HANG, pod.changed(seen)).await.unwrap().unwrap() });
        writing.join().unwrap();
        line.say(now > seen);
    });
    assert_eq!(forked.hear().as_deref(), Some("true"));
    parent.block_on(async { assert!(tokio::time::timeout(HANG, waiting).await.unwrap().unwrap() > seen) });
    forked.end();
    // The child's last handle saves what it changed, and what it had polled of its parent's does not keep the store.
    let (path, alone) = (pod.path().to_owned(), dir.path().join("b.pod"));
    drop(pod);
    assert!(path.join("0.json").exists());
    let pod = Pod::open(&alone).unwrap();
    let mut waiting = pod.changed(pod.version());
    assert!(Pin::new(&mut waiting).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    std::thread::sleep(Duration::from_millis(5));
    let handles = std::cell::Cell::new(Some((pod, waiting)));
    let forked = fork(|line| {
        let (pod, waiting) = handles.take().unwrap();
        pod.set("c", 1).unwrap();
        drop(waiting);
        pod.close().unwrap();
        line.say("closed");
    });
    assert_eq!(forked.hear().as_deref(), Some("closed"));
    let (pod, waiting) = handles.take().unwrap();
    drop(waiting);
    pod.close().unwrap();
    assert!(alone.join("0.json").exists());
    forked.end();
}
