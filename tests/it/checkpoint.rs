//! The JSON files: saved, opened, edited, adopted.

use crate::support::{Child, Role, directory, hear_end, say};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tastypod::{ErrorKind, Key, KeyDialect, Options, Pod, SyncMode, shard};

pub const CHILDREN: &[Role] = &[("checkpoint_writer", writer), ("checkpoint_holder", holder), ("checkpoint_waiter", waiter)];

fn writer(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    pod.set("from another process", 1).unwrap();
    say("written");
    hear_end();
    match arguments[1].as_str() {
        "exit" => std::process::exit(0),
        "kill" => nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap(),
        _ => drop(pod),
    }
}

/// Copies a directory, without `.live` unless it is asked for.
fn copy(from: &Path, to: &Path, with_live: bool) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if entry.file_type().unwrap().is_dir() {
            if with_live {
                copy(&entry.path(), &to.join(name), true);
            }
        } else {
            fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

fn entries(pod: &Pod) -> Vec<(Key, String)> {
    pod.keys().map(|key| key.unwrap()).map(|key| (key.clone(), pod.raw_json(&key).unwrap().unwrap())).collect()
}

fn require_clean(pod: &Pod) {
    let report = pod.verify().unwrap();
    assert!(report.is_clean(), "{report}");
}

fn filled(path: &Path) -> Pod {
    let pod = Options::new().file_size(3).open(path).unwrap();
    pod.extend((0..10).map(|n| (n, json!({"n": n})))).unwrap();
    pod
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_json_files_alone_are_a_store() {
    for gzipped in [false, true] {
        let dir = directory();
        let path = dir.path().join("a.pod");
        let pod = Options::new().file_size(3).gzipped(gzipped).open(&path).unwrap();
        pod.extend((0..10).map(|n| (n, json!({"n": n})))).unwrap();
        pod.set_raw_json("big", "[1e400, 123456789012345678901234567890, 1.10]").unwrap();
        pod.remove(4).unwrap();
        pod.set(("a", "tab\t\\\n"), "é\u{1f980}").unwrap();
        pod.sync().unwrap();
        assert_eq!(pod.dirty_len(), 0);
        let copied = dir.path().join("copy.pod");
        copy(&path, &copied, false);
        let expected = entries(&pod);
        let opened = Pod::open(&copied).unwrap();
        assert_eq!(entries(&opened), expected);
        assert_eq!((opened.dirty_len(), opened.dirty().unwrap()), (0, vec![]));
        require_clean(&opened);
        // The place of the removed key stays empty, so that no other file changes.
        opened.set(9, "changed").unwrap();
        opened.close().unwrap();
        let name = |n: u64| if gzipped { format!("{n}.json.gz") } else { format!("{n}.json") };
        for n in [0, 1, 2] {
            assert_eq!(fs::read(copied.join(name(n))).unwrap(), fs::read(path.join(name(n))).unwrap(), "{n}");
        }
        assert_ne!(fs::read(copied.join(name(3))).unwrap(), fs::read(path.join(name(3))).unwrap());
        // A reader needs nothing but them either, and leaves nothing behind.
        let bare = dir.path().join("bare.pod");
        copy(&path, &bare, false);
        let reader = Options::new().read_only(true).open(&bare).unwrap();
        assert_eq!(entries(&reader), expected);
        assert!(!bare.join(".live").exists());
        require_clean(&reader);
        let lines: usize = (0..4).map(|n| shard::read(bare.join(name(n))).unwrap().raw().filter(|entry| entry.is_ok()).count()).sum();
        assert_eq!(lines, expected.len());
    }
}

#[test]
fn closing_saves_and_the_next_open_goes_by_the_log() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = filled(&path);
    let expected = entries(&pod);
    pod.close().unwrap();
    assert_eq!(text(&path.join("3.json")), "9\t{\"n\":9}\n");
    let pod = Pod::open(&path).unwrap();
    assert_eq!((entries(&pod), pod.dirty_len()), (expected.clone(), 0));
    drop(pod);
    // As after a restore by somebody who knows only of files: everything is new, nothing changed.
    let moved = dir.path().join("moved.pod");
    copy(&path, &moved, true);
    let pod = Pod::open(&moved).unwrap();
    assert_eq!((entries(&pod), pod.dirty_len()), (expected, 0));
    require_clean(&pod);
}

#[test]
fn only_files_with_changes_are_written() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = filled(&path);
    pod.sync().unwrap();
    let before: Vec<_> = (0..4).map(|n| fs::metadata(path.join(format!("{n}.json"))).unwrap().modified().unwrap()).collect();
    pod.set(4, "changed").unwrap();
    assert_eq!(pod.dirty().unwrap(), [Key::from(4)]);
    pod.sync().unwrap();
    let after: Vec<_> = (0..4).map(|n| fs::metadata(path.join(format!("{n}.json"))).unwrap().modified().unwrap()).collect();
    assert_eq!((before[0], before[2], before[3]), (after[0], after[2], after[3]));
    assert_ne!(before[1], after[1]);
    assert_eq!(text(&path.join("1.json")), "3\t{\"n\":3}\n4\t\"changed\"\n5\t{\"n\":5}\n");
}

/// The log forgets which keys were removed when it needs the space, but not before the files have lost them.
#[test]
fn removed_keys_leave_the_files_however_much_is_written_meanwhile() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Options::new().sync_mode(SyncMode::Manual).open(&path).unwrap();
    let text = "x".repeat(100);
    pod.extend((0..200_000).map(|n| (n, &text))).unwrap();
    pod.sync().unwrap();
    // The first key stays, so that places go on counting from it.
    for key in 1..199_000 {
        pod.remove(key).unwrap();
    }
    for turn in 0..200 {
        pod.extend((199_000..200_000).map(|n| (n, (turn, &text)))).unwrap();
    }
    pod.sync().unwrap();
    let lines: usize = std::fs::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap() != "pod.json" && path.extension().is_some_and(|end| end == "json"))
        .map(|path| std::fs::read_to_string(path).unwrap().lines().count())
        .sum();
    assert_eq!(lines, 1001);
    require_clean(&pod);
    let log_bytes = |pod: &Pod| pod.stats().unwrap().log_bytes;
    // From then on they may be forgotten.
    for turn in 0..200 {
        pod.extend((199_000..200_000).map(|n| (n, (turn, &text)))).unwrap();
    }
    pod.compact().unwrap();
    assert!(log_bytes(&pod) < 32 << 20, "{}", log_bytes(&pod));
}

#[test]
fn edits_by_hand_are_picked_up() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    filled(&path).close().unwrap();
    // Changed values, an added line, a removed one, and Windows' line ends.
    fs::write(path.join("0.json"), "0\t\"edited\"\r\n1\t{\"n\":1}\r\n\"added\"\t[]\r\n2\t{\"n\":2}\r\n\r\n").unwrap();
    fs::write(path.join("2.json"), "6\t{\"n\":6}\n8\t{\"n\":8}").unwrap();
    let reader = Options::new().read_only(true).open(&path).unwrap();
    let pod = Pod::open(&path).unwrap();
    let keys: Vec<String> = pod.keys().map(|key| key.unwrap().to_string()).collect();
    assert_eq!(keys, ["0", "1", "added", "2", "3", "4", "5", "6", "8", "9"]);
    assert_eq!(entries(&reader), entries(&pod));
    assert_eq!(pod.get(0).unwrap(), Some(json!("edited")));
    require_clean(&pod);
    let expected = entries(&pod);
    pod.close().unwrap();
    assert_eq!(text(&path.join("0.json")), "0\t\"edited\"\n1\t{\"n\":1}\n\"added\"\t[]\n");
    let copied = dir.path().join("copy.pod");
    copy(&path, &copied, false);
    assert_eq!(entries(&Pod::open(&copied).unwrap()), expected);
    assert_eq!(entries(&Pod::open(&path).unwrap()), expected);
}

#[test]
fn edits_meet_what_only_the_log_has() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = filled(&path);
    pod.close().unwrap();
    let mut child = Child::start("checkpoint_writer", &[crate::support::text(&path), "kill"]);
    assert_eq!(child.line().as_deref(), Some("written"));
    child.input = None;
    child.wait();
    // The killed process's write is in the log only; the edit is in the file only.
    fs::write(path.join("0.json"), "0\t\"edited\"\n1\t{\"n\":1}\n2\t{\"n\":2}\n").unwrap();
    let pod = Pod::open(&path).unwrap();
    assert_eq!(pod.get(0).unwrap(), Some(json!("edited")));
    assert_eq!(pod.get("from another process").unwrap(), Some(json!(1)));
    assert_eq!(pod.dirty().unwrap(), [Key::from("from another process")]);
    require_clean(&pod);
    pod.close().unwrap();
    assert_eq!(text(&path.join("3.json")), "9\t{\"n\":9}\n\"from another process\"\t1\n");
}

#[test]
fn an_edit_under_a_running_process_is_not_overwritten() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = filled(&path);
    pod.sync().unwrap();
    let edited = "0\t\"edited\"\n1\t1\n2\t2\n";
    fs::write(path.join("0.json"), edited).unwrap();
    pod.set(5, "unrelated").unwrap();
    pod.sync().unwrap();
    pod.set(0, "ours").unwrap();
    let error = pod.sync().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ChangedOnDisk { path } if path.ends_with("0.json")), "{error}");
    assert_eq!(text(&path.join("0.json")), edited);
    assert_eq!(pod.get(0).unwrap(), Some(json!("ours")));
    assert_eq!(pod.dirty().unwrap(), [Key::from(0)]);
    // A file that was taken away is an edit too.
    fs::remove_file(path.join("0.json")).unwrap();
    assert!(matches!(pod.sync().unwrap_err().kind(), ErrorKind::ChangedOnDisk { .. }));
    pod.sync_overwrite().unwrap();
    assert_eq!(text(&path.join("0.json")), "0\t\"ours\"\n1\t{\"n\":1}\n2\t{\"n\":2}\n");
    assert_eq!(pod.dirty_len(), 0);
}

#[test]
fn closing_reports_an_edit_and_leaves_it() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = filled(&path);
    pod.sync().unwrap();
    fs::write(path.join("0.json"), "0\t\"edited\"\n1\t1\n2\t2\n").unwrap();
    pod.set(1, "ours").unwrap();
    assert!(matches!(pod.close().unwrap_err().kind(), ErrorKind::ChangedOnDisk { .. }));
    let pod = Pod::open(&path).unwrap();
    // What the log has beyond the files comes on top of the edit.
    assert_eq!(entries(&pod)[..3], [(0.into(), "\"edited\"".into()), (1.into(), "\"ours\"".into()), (2.into(), "2".into())]);
    pod.close().unwrap();
}

#[test]
fn bad_edits_are_errors_that_name_file_and_line() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    filled(&path).close().unwrap();
    let whole = text(&path.join("0.json"));
    for (edit, line) in [
        ("0\t{\"n\":0}\n1\t{\"n\":1}\n", 3),
        ("0\t{\"n\":0}\n1\t{\"n\":1}\n2\t{\"n\":2", 3),
        ("0\t{\"n\":0}\n1\tNaN\n2\t2\n", 2),
        ("0\t1\n0\t2\n1\t1\n2\t2\n", 2),
        ("0\t1\n1\t1\n2\t2\n9\t9\n", 0),
        ("0\t1\n\n1\t1\n2\t2\n", 2),
        ("", 1),
    ] {
        fs::write(path.join("0.json"), edit).unwrap();
        for read_only in [true, false] {
            let error = Options::new().read_only(read_only).open(&path).unwrap_err();
            // The later of two doubles is named, and where that is depends on the files' order.
            let expected = if line == 0 { ("3.json", 1) } else { ("0.json", line) };
            assert!(
                matches!(error.kind(), ErrorKind::Integrity { path, line, .. } if path.ends_with(expected.0) && line == expected.1),
                "{edit:?}: {error}"
            );
        }
    }
    fs::remove_file(path.join("0.json")).unwrap();
    let error = Pod::open(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Integrity { path, .. } if path.ends_with("0.json")), "{error}");
    fs::write(path.join("0.json"), whole).unwrap();
    assert_eq!(Pod::open(&path).unwrap().len(), 10);
}

#[test]
fn the_last_process_saves_also_when_it_just_exits() {
    for way in ["exit", "drop"] {
        let dir = directory();
        let path = dir.path().join("a.pod");
        let mut child = Child::start("checkpoint_writer", &[crate::support::text(&path), way]);
        assert_eq!(child.line().as_deref(), Some("written"));
        assert!(!path.join("pod.json").exists());
        child.input = None;
        assert!(child.wait().success());
        assert_eq!(text(&path.join("0.json")), "\"from another process\"\t1\n", "{way}");
    }
}

#[test]
fn a_process_that_is_not_the_last_leaves_the_saving_to_the_others() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    let mut child = Child::start("checkpoint_writer", &[crate::support::text(&path), "exit"]);
    assert_eq!(child.line().as_deref(), Some("written"));
    child.input = None;
    assert!(child.wait().success());
    assert!(!path.join("pod.json").exists());
    pod.close().unwrap();
    assert_eq!(text(&path.join("0.json")), "\"from another process\"\t1\n");
}

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tastypy-0.0.3").join(name)
}

#[test]
fn stores_of_the_real_tastypy_read_as_it_reads_them() {
    for name in ["edge.pod", "many.pod", "edge_gz.pod"] {
        let dir = directory();
        let path = dir.path().join(name);
        copy(&fixture(name), &path, false);
        let expected: Value = serde_json::from_str(&text(&fixture(&format!("{name}.expected.json")))).unwrap();
        let reader = Options::new().read_only(true).open(&path).unwrap();
        let pod = Pod::open(&path).unwrap();
        for pod in [&reader, &pod] {
            let found = entries(pod);
            assert_eq!(found.len(), expected.as_array().unwrap().len(), "{name}");
            for ((key, value), expected) in found.iter().zip(expected.as_array().unwrap()) {
                assert_eq!(serde_json::to_value(key).unwrap(), expected[0], "{name}");
                assert_eq!(serde_json::from_str::<Value>(value).unwrap(), expected[1], "{name}: {key}");
            }
            require_clean(pod);
        }
        // Nothing is written but the manifest, until something changes.
        pod.close().unwrap();
        for entry in fs::read_dir(fixture(name)).unwrap() {
            let file = entry.unwrap().file_name();
            assert_eq!(fs::read(path.join(&file)).unwrap(), fs::read(fixture(name).join(&file)).unwrap(), "{name}");
        }
    }
    let dir = directory();
    copy(&fixture("nan.pod"), dir.path(), false);
    let error = Pod::open(dir.path()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Integrity { path, line: 1, .. } if path.ends_with("0.json")), "{error}");
}

#[test]
fn an_adopted_store_keeps_its_dialect() {
    let dir = directory();
    let path = dir.path().join("edge.pod");
    copy(&fixture("edge.pod"), &path, false);
    let pod = Pod::open(&path).unwrap();
    pod.set("new\\é", "é").unwrap();
    let expected = entries(&pod);
    pod.close().unwrap();
    assert!(text(&path.join("0.json")).ends_with("\"new\\\\\\\\\\\\u00e9\"\t\"\\u00e9\"\n"));
    assert!(text(&path.join("0.json")).contains("\"back\\\\\\\\slash\"\t\"bs\"\n"));
    assert_eq!(entries(&Pod::open(&path).unwrap()), expected);
    let read: Vec<Key> = shard::read(path.join("0.json")).unwrap().raw().map(|entry| entry.unwrap().0).collect();
    assert_eq!(read, expected.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>());
    assert_ne!(shard::read_in(path.join("0.json"), KeyDialect::Json).unwrap().raw().nth(3).unwrap().unwrap().0, read[3]);
}

#[test]
fn a_store_without_manifest_has_full_files() {
    let dir = directory();
    let path = dir.path().join("many.pod");
    copy(&fixture("many.pod"), &path, false);
    let lines = text(&path.join("3.json"));
    let short: String = lines.split_inclusive('\n').skip(1).collect();
    fs::write(path.join("3.json"), short).unwrap();
    let error = Pod::open(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Integrity { path, .. } if path.ends_with("3.json")), "{error}");
    fs::write(path.join("3.json"), lines).unwrap();
    fs::remove_file(path.join("7.json")).unwrap();
    let error = Pod::open(&path).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Integrity { path, .. } if path.ends_with("7.json")), "{error}");
    assert!(!path.join("pod.json").exists(), "nothing is adopted that cannot be");
}

#[test]
fn reverting_goes_back_to_the_files_place_by_place() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = filled(&path);
    pod.sync().unwrap();
    let expected = entries(&pod);
    let old = pod.snapshot().unwrap();
    pod.set(0, "changed").unwrap();
    pod.remove(1).unwrap();
    pod.remove(4).unwrap();
    pod.remove(5).unwrap();
    pod.set(5, 1).unwrap();
    pod.remove(5).unwrap();
    pod.set("new", 1).unwrap();
    let other = pod.snapshot().unwrap();
    let keys = |of: &tastypod::Snapshot| -> Vec<Key> { of.entries().map(|entry| entry.unwrap().0.to_key().unwrap()).collect() };
    let seen = keys(&other);
    pod.revert().unwrap();
    assert_eq!((entries(&pod), pod.dirty_len(), pod.dirty().unwrap()), (expected.clone(), 0, vec![]));
    require_clean(&pod);
    assert_eq!(keys(&other), seen, "snapshots of before stay as they were");
    assert_eq!(old.get(0).unwrap(), Some(json!({"n": 0})));
    assert_eq!(old.len(), 10);
    drop((old, other));
    pod.revert().unwrap();
    pod.set(7, "later").unwrap();
    assert_eq!(pod.dirty().unwrap(), [Key::from(7)]);
    pod.close().unwrap();
    let lines: Vec<usize> = (0..4).map(|n| text(&path.join(format!("{n}.json"))).lines().count()).collect();
    assert_eq!(lines, [3, 3, 3, 1]);
    let pod = Pod::open(&path).unwrap();
    assert_eq!(pod.keys().count(), 10);
    require_clean(&pod);
    // A key that was removed and added again stands in its old place again too.
    let expected = entries(&pod);
    pod.remove(4).unwrap();
    pod.set(4, "removed and added").unwrap();
    pod.revert().unwrap();
    assert_eq!(entries(&pod), expected);
    require_clean(&pod);
    pod.close().unwrap();
    assert_eq!(entries(&Pod::open(&path).unwrap()), expected);
}

#[test]
fn reverting_takes_an_edit() {
    for (edit, added) in [("0\t\"edited\"\n2\t2\n", false), ("0\t\"edited\"\n\"added\"\t[]\n1\t{\"n\":1}\n2\t2\n", true)] {
        let dir = directory();
        let path = dir.path().join("a.pod");
        let pod = filled(&path);
        pod.sync().unwrap();
        pod.set(0, "ours").unwrap();
        pod.remove(9).unwrap();
        fs::write(path.join("0.json"), edit).unwrap();
        assert!(matches!(pod.sync().unwrap_err().kind(), ErrorKind::ChangedOnDisk { .. }));
        pod.revert().unwrap();
        let mut expected: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        if added {
            expected.insert(1, "added".to_owned())
        } else {
            drop(expected.remove(1))
        }
        assert_eq!(pod.keys().map(|key| key.unwrap().to_string()).collect::<Vec<_>>(), expected);
        assert_eq!((pod.get(0).unwrap(), pod.get(2).unwrap()), (Some(json!("edited")), Some(json!(2))));
        require_clean(&pod);
        if !added {
            assert_eq!(pod.dirty_len(), 0);
        }
        pod.set(3, "after").unwrap();
        let entries_before = entries(&pod);
        pod.close().unwrap();
        let pod = Pod::open(&path).unwrap();
        assert_eq!(entries(&pod), entries_before);
        let copied = dir.path().join("copy.pod");
        copy(&path, &copied, false);
        assert_eq!(entries(&Pod::open(&copied).unwrap()), entries_before);
    }
}

#[test]
fn a_bad_edit_is_not_reverted_to() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = filled(&path);
    pod.sync().unwrap();
    fs::write(path.join("0.json"), "0\t1\n1\tNaN\n2\t2\n").unwrap();
    let error = pod.revert().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Integrity { path: at, line: 2, .. } if at == path.join("0.json")), "{error}");
    assert_eq!(pod.get(0).unwrap(), Some(json!({"n": 0})));
}

#[test]
fn the_form_of_the_files_can_be_changed() {
    use tastypod::Conversion;
    let dir = directory();
    let path = dir.path().join("edge.pod");
    copy(&fixture("edge.pod"), &path, false);
    let pod = Pod::open(&path).unwrap();
    let expected = entries(&pod);
    let names = || {
        let mut names: Vec<String> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != ".live");
        names.sort();
        names
    };
    pod.convert(Conversion::new().file_size(10).key_dialect(KeyDialect::Json)).unwrap();
    assert_eq!(names(), ["0.json", "1.json", "pod.json"]);
    assert!(text(&path.join("0.json")).contains("\"back\\\\slash\"\t\"bs\"\n"));
    pod.convert(Conversion::new().gzipped(true)).unwrap();
    assert_eq!(names(), ["0.json.gz", "1.json.gz", "pod.json"]);
    pod.convert(Conversion::new().file_size(100)).unwrap();
    assert_eq!(names(), ["0.json.gz", "pod.json"]);
    assert_eq!(Options::new().gzipped(false).open(&path).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(Options::new().gzipped(true).file_size(100).open(&path).unwrap().len(), expected.len());
    let copied = dir.path().join("copy.pod");
    copy(&path, &copied, false);
    assert_eq!(entries(&Pod::open(&copied).unwrap()), expected);
    pod.convert(Conversion::new().gzipped(false).file_size(3).key_dialect(KeyDialect::Tastypy)).unwrap();
    assert_eq!(names().len(), expected.len().div_ceil(3) + 1);
    assert_eq!(entries(&pod), expected);
    pod.close().unwrap();
    assert_eq!(entries(&Pod::open(&path).unwrap()), expected);
}

#[test]
fn a_store_saves_itself_when_enough_keys_changed() {
    use tastypod::SyncMode;
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Options::new().sync_at(3).open(&path).unwrap();
    pod.set("a", 1).unwrap();
    pod.set("a", 2).unwrap();
    pod.set("b", 1).unwrap();
    assert_eq!((pod.dirty_len(), path.join("0.json").exists()), (2, false));
    pod.transaction(|txn| txn.set("c", 1)).unwrap();
    assert_eq!((pod.dirty_len(), text(&path.join("0.json")).lines().count()), (0, 3));
    let held = pod.hold().unwrap();
    pod.extend((0..10).map(|n| (n, n))).unwrap();
    assert_eq!(pod.dirty_len(), 10);
    drop(held);
    pod.remove("a").unwrap();
    assert_eq!((pod.dirty_len(), text(&path.join("0.json")).lines().count()), (0, 12));
    // The hold of a process that died holds nobody.
    let mut child = Child::start("checkpoint_holder", &[crate::support::text(&path)]);
    assert_eq!(child.line().as_deref(), Some("held"));
    pod.extend((20..30).map(|n| (n, n))).unwrap();
    assert_eq!(pod.dirty_len(), 10);
    child.kill();
    // Seen a moment later.
    let saves = (0..1000).any(|turn| {
        std::thread::sleep(std::time::Duration::from_millis(5));
        pod.set(0, turn).unwrap();
        pod.dirty_len() == 0
    });
    assert!(saves);
    let every = Options::new().sync_at(0).open(&path).unwrap();
    every.set("each", 1).unwrap();
    assert!(text(&path.join("0.json")).ends_with("\"each\"\t1\n"));
    let behind = Options::new().sync_at(1).sync_mode(SyncMode::Background).open(&path).unwrap();
    behind.set("behind", 1).unwrap();
    while pod.dirty_len() > 0 {
        std::thread::yield_now();
    }
    assert!(text(&path.join("0.json")).ends_with("\"behind\"\t1\n"));
}

fn holder(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    let held = pod.hold().unwrap();
    say("held");
    hear_end();
    drop(held);
}

#[allow(unsafe_code)]
fn waiter(arguments: &[String]) {
    use nix::sys::signal::{SigHandler, Signal, signal};
    let handler = if arguments[1] == "ignored" { SigHandler::SigIgn } else { SigHandler::SigDfl };
    for number in [Signal::SIGTERM, Signal::SIGINT] {
        // SAFETY: no handler of this program's is set. However the tests were started, this is how it is here.
        unsafe { signal(number, handler) }.unwrap();
    }
    let pod = Options::new().sync_on_signals(true).open(&arguments[0]).unwrap();
    pod.set("a", 1).unwrap();
    say("waiting");
    if arguments[1] == "ignored" {
        say(crate::support::hear());
        return;
    }
    hear_end();
    std::thread::sleep(crate::support::HANG);
}

#[test]
fn a_signal_saves_where_that_was_asked_for_and_ends_the_process() {
    use nix::sys::signal::{Signal, kill};
    use std::os::unix::process::ExitStatusExt;
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let dir = directory();
        let path = dir.path().join("a.pod");
        let mut child = Child::start("checkpoint_waiter", &[crate::support::text(&path), "heeded"]);
        assert_eq!(child.line().as_deref(), Some("waiting"));
        assert!(!path.join("0.json").exists());
        kill(nix::unistd::Pid::from_raw(child.pid()), signal).unwrap();
        assert_eq!(child.wait().signal(), Some(signal as i32));
        assert_eq!(text(&path.join("0.json")), "\"a\"\t1\n");
    }
}

#[test]
fn a_signal_that_is_ignored_stays_ignored() {
    let dir = directory();
    let mut child = Child::start("checkpoint_waiter", &[crate::support::text(&dir.path().join("a.pod")), "ignored"]);
    assert_eq!(child.line().as_deref(), Some("waiting"));
    for signal in [nix::sys::signal::Signal::SIGTERM, nix::sys::signal::Signal::SIGINT] {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.pid()), signal).unwrap();
    }
    child.tell("still here");
    assert_eq!(child.line().as_deref(), Some("still here"));
    assert!(child.wait().success());
}

#[test]
fn a_bad_edit_changes_nothing_and_can_be_taken_back() {
    let dir = directory();
    for (name, keeps_live) in [("with the log", true), ("files alone", false)] {
        let path = dir.path().join(name);
        filled(&path).close().unwrap();
        if !keeps_live {
            std::fs::remove_dir_all(path.join(".live")).unwrap();
        }
        let shard = path.join("0.json");
        let (good, manifest) = (text(&shard), text(&path.join("pod.json")));
        // A key that stands twice is found only once all files are put together.
        let first = good.lines().next().unwrap();
        std::fs::write(&shard, format!("{good}{first}\n")).unwrap();
        for _ in 0..2 {
            assert!(matches!(Pod::open(&path).unwrap_err().kind(), ErrorKind::Integrity { .. }));
            assert_eq!(text(&path.join("pod.json")), manifest);
        }
        std::fs::write(&shard, &good).unwrap();
        let pod = Pod::open(&path).unwrap();
        assert_eq!(pod.len(), 10, "{name}");
        require_clean(&pod);
    }
}

/// A value of every packed form, by its key, and how many bytes it may take.
fn packed() -> Vec<(&'static str, Value, usize)> {
    let bytes: Vec<u8> = (0..1 << 20).map(|index: u32| (index * 31 % 253) as u8).collect();
    let integers: Vec<i64> = (0..1 << 17).map(|index| (index - 100) << (index % 40)).collect();
    let floats: Vec<f64> = integers.iter().map(|value| *value as f64 / 8.0).chain([-0.0, 1.0, 1e300]).collect();
    let size = |elements: usize, each: f64| (elements as f64 * each) as usize;
    let limits = [size(bytes.len(), 1.05), size(integers.len(), 8.4), size(floats.len(), 8.4)];
    vec![("bytes", json!(bytes), limits[0]), ("integers", json!(integers), limits[1]), ("floats", json!(floats), limits[2])]
}

#[test]
fn packed_arrays_are_arrays_of_numbers_in_the_files() {
    let directory = directory();
    let path = directory.path().join("a.pod");
    let require = |pod: &Pod| {
        for (key, value, limit) in packed() {
            assert!(pod.view(key).unwrap().unwrap().byte_len() <= limit, "{key}");
            assert_eq!(pod.raw_json(key).unwrap().unwrap(), value.to_string(), "{key}");
            assert_eq!(pod.get(key).unwrap().unwrap().to_string(), value.to_string(), "{key}");
        }
        assert_eq!(pod.at("small").key("list").index(1).get().unwrap().unwrap(), 300);
        assert_eq!(pod.raw_json("small").unwrap().unwrap(), r#"{"list":[1,300,3],"floats":[1.0,-0.0],"mixed":[1,2.0],"none":[]}"#);
        let bytes = pod.get_as::<serde_bytes::ByteBuf>("bytes").unwrap().unwrap();
        assert_eq!(pod.get_as::<Vec<u8>>("bytes").unwrap().unwrap(), *bytes);
        require_clean(pod);
    };
    let pod = Pod::open(&path).unwrap();
    let before = pod.stats().unwrap().live_bytes;
    for (key, value, _) in packed() {
        pod.set(key, &value).unwrap();
    }
    let grown = (pod.stats().unwrap().live_bytes - before) as usize;
    assert!(grown <= packed().iter().map(|(_, _, limit)| limit).sum(), "{grown} bytes of records");
    pod.set("small", json!({"list": [1, 2, 3], "floats": [1.0, -0.0], "mixed": [1, 2.0], "none": []})).unwrap();
    pod.at("small").key("list").index(1).add(298).unwrap();
    require(&pod);
    drop(pod);
    let from_log = Pod::open(&path).unwrap();
    require(&from_log);
    drop(from_log);
    fs::remove_dir_all(path.join(".live")).unwrap();
    require(&Pod::open(&path).unwrap());
}
