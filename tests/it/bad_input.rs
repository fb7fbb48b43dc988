//! Impossible wishes: wrong paths, missing rights, full and read-only disks, too little memory, keys and values that
//! cannot be stored. Goal: every one is an error whose kind can be matched and whose text names the path and what to do,
//! and nothing is lost or half made by it.
//!
//! What needs mounts, limits or another user happens in processes of their own, which take it along when they end.
//! Where it is not permitted the test says so and is skipped.

use crate::support::{Child, Role, command, directory, hear, say, text};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use tastypod::{Error, ErrorKind, Key, Options, Pod};

pub const CHILDREN: &[Role] = &[
    ("open-as-nobody", open_as_nobody),
    ("fill-disk", fill_disk),
    ("create-on-full-disk", create_on_full_disk),
    ("rebuild-on-full-disk", rebuild_on_full_disk),
    ("read-only-disk", read_only_disk),
    ("write-one", write_one),
    ("write-many", write_many),
    ("little-memory", little_memory),
    ("little-memory-reads", little_memory_reads),
];

/// Everything below a directory, with sizes.
fn listing(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let metadata = path.symlink_metadata().unwrap();
        names.push(format!("{} {}", path.display(), if metadata.is_dir() { 0 } else { metadata.len() }));
        if metadata.is_dir() {
            names.extend(listing(&path));
        }
    }
    names.sort();
    names
}

/// Opening fails with the kind, names the path and what to do, and changes nothing.
#[track_caller]
fn refuse(options: Options, path: &Path, kind: &ErrorKind, words: &[&str]) {
    let parent = path.parent().filter(|parent| parent.is_dir()).map(Path::to_owned);
    let before = parent.as_deref().map(listing);
    let error = options.open(path).unwrap_err();
    explained(&error, kind, path, words);
    assert_eq!(parent.as_deref().map(listing), before, "an open that failed has changed something");
}

#[track_caller]
fn explained(error: &Error, kind: &ErrorKind, path: &Path, words: &[&str]) {
    let message = error.to_string();
    assert_eq!(error.kind(), *kind, "{message}");
    for word in words.iter().chain(&[text(path)]) {
        assert!(message.contains(word), "`{word}` is missing in: {message}");
    }
}

#[test]
fn a_path_that_cannot_be_a_store_is_refused_and_left_alone() {
    let dir = directory();
    let at = |name: &str| dir.path().join(name);
    refuse(Options::new(), Path::new(""), &ErrorKind::Io, &["path is empty"]);
    fs::write(at("file"), "text").unwrap();
    refuse(Options::new(), &at("file"), &ErrorKind::WrongKind, &["it is a file", "another path"]);
    refuse(Options::new().read_only(true), &at("file"), &ErrorKind::WrongKind, &["it is a file"]);
    assert!(Pod::open(at("file/below")).unwrap_err().to_string().contains(text(&at("file"))));
    fs::create_dir(at("foreign")).unwrap();
    fs::write(at("foreign/notes.txt"), "text").unwrap();
    refuse(Options::new(), &at("foreign"), &ErrorKind::WrongKind, &["notes.txt", "empty or new directory"]);
    refuse(Options::new().read_only(true), &at("foreign"), &ErrorKind::WrongKind, &["notes.txt"]);
    refuse(Options::new().create(false), &at("missing"), &ErrorKind::NotFound, &["no such directory", "create(true)"]);
    refuse(Options::new().read_only(true), &at("missing/too"), &ErrorKind::NotFound, &["no such directory", "read_only"]);
    fs::create_dir(at("empty")).unwrap();
    refuse(Options::new().create(false), &at("empty"), &ErrorKind::NotFound, &["holds no store"]);
    refuse(Options::new().read_only(true), &at("empty"), &ErrorKind::NotFound, &["holds no store"]);
    symlink(at("nowhere"), at("dangling")).unwrap();
    assert_eq!(Pod::open(at("dangling")).unwrap_err().kind(), ErrorKind::Io);
    symlink(at("loop"), at("loop")).unwrap();
    refuse(Options::new(), &at("loop"), &ErrorKind::Io, &[]);
    refuse(Options::new(), &at(&"n".repeat(300)), &ErrorKind::Io, &[]);
    assert_eq!(Pod::open("a\0b").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(Pod::open("/proc/self/fd/store.pod").unwrap_err().kind(), ErrorKind::Io);
    // And an empty directory may become a store, under each of its names.
    symlink(at("empty"), at("link")).unwrap();
    let (pod, linked) = (Pod::open(at("empty")).unwrap(), Pod::open(at("link")).unwrap());
    pod.set("k", 1).unwrap();
    assert_eq!(linked.get("k").unwrap(), Some(json!(1)));
    assert_eq!(pod.stats().unwrap().processes, 1);
}

#[test]
fn files_of_a_store_that_are_something_else_are_named() {
    for name in ["log", "control", "index", "order", "segments", "locks", ""] {
        for with in ["directory", "file of its own kind", "link", "dangling link"] {
            let dir = directory();
            let path = dir.path().join("a.pod");
            Pod::open(&path).unwrap().set("k", 1).unwrap();
            crate::support::keep_only_log(&path);
            let file = if name.is_empty() { path.join(".live") } else { path.join(".live").join(name) };
            let aside = dir.path().join("aside");
            fs::rename(&file, &aside).unwrap();
            match with {
                "directory" if name.is_empty() => fs::write(&file, "a file").unwrap(),
                "directory" => fs::create_dir(&file).unwrap(),
                "link" => symlink(&aside, &file).unwrap(),
                "dangling link" => symlink(dir.path().join("nowhere"), &file).unwrap(),
                _ => fs::rename(&aside, &file).unwrap(),
            }
            let works = |pod: Pod| {
                assert_eq!(pod.get("k").unwrap(), Some(json!(1)), "{name} is a {with}");
                pod.set("k", 1).unwrap();
                assert!(pod.verify().unwrap().is_clean());
            };
            match (with, Pod::open(&path)) {
                ("directory", outcome) => explained(&outcome.unwrap_err(), &ErrorKind::Io, &file, &[]),
                ("link" | "file of its own kind", outcome) => works(outcome.unwrap()),
                (_, Err(error)) => assert!(error.to_string().contains(text(&path)), "{error}"),
                // What can be made anew was.
                (_, Ok(pod)) if name != "log" && !name.is_empty() => works(pod),
                // The log is where it was moved to, and the store at the path is a new one: nothing was lost by it.
                (_, Ok(pod)) => assert_eq!(pod.get("k").unwrap(), None),
            }
            if with != "file of its own kind" {
                crate::support::keep_only_log(&path);
                let _ = fs::remove_dir_all(&file).or_else(|_| fs::remove_file(&file));
                fs::rename(&aside, &file).unwrap();
                works(Pod::open(&path).unwrap());
            }
        }
    }
}

#[test]
fn a_copied_directory_is_a_store_of_its_own() {
    let dir = directory();
    let (path, copy) = (dir.path().join("a.pod"), dir.path().join("copy.pod"));
    let pod = Pod::open(&path).unwrap();
    pod.extend((0..100).map(|n| (n, n))).unwrap();
    let again = |to: &Path| {
        let _ = fs::remove_dir_all(to);
        assert!(Command::new("cp").arg("-r").args([&path, to]).status().unwrap().success());
    };
    // Once while it is open, even with its mutex held, and once at rest.
    again(&copy);
    let held = dir.path().join("held.pod");
    pod.transaction(|txn| {
        txn.set("uncommitted", 1)?;
        again(&held);
        Ok(())
    })
    .unwrap();
    let holding = Pod::open(&held).unwrap();
    assert_eq!((holding.get("uncommitted").unwrap(), holding.len()), (None, 100));
    holding.set("k", 1).unwrap();
    let copied = Pod::open(&copy).unwrap();
    assert_eq!(copied.len(), 100);
    copied.set("k", "copy").unwrap();
    pod.set("k", "original").unwrap();
    pod.remove(7).unwrap();
    assert_eq!(copied.get("k").unwrap(), Some(json!("copy")));
    assert_eq!(copied.get(7).unwrap(), Some(json!(7)));
    assert_eq!(pod.get("k").unwrap(), Some(json!("original")));
    drop((pod, copied));
    let after = dir.path().join("after.pod");
    again(&after);
    for (path, value) in [(&path, "original"), (&copy, "copy"), (&after, "original")] {
        let pod = Pod::open(path).unwrap();
        assert_eq!(pod.get("k").unwrap(), Some(json!(value)));
        assert!(pod.verify().unwrap().is_clean());
    }
}

#[test]
fn keys_and_values_beyond_the_limits_are_refused_and_those_at_the_limits_kept() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    let kind = |outcome: tastypod::Result<()>| outcome.unwrap_err().kind();
    let longest = (65_400..65_536).rev().find(|length| pod.set("k".repeat(*length), 1).is_ok()).unwrap();
    assert!(longest >= 65_530, "a key may have 65535 bytes with its tag, had {longest}");
    assert_eq!(kind(pod.set("k".repeat(longest + 1), 1)), ErrorKind::InvalidKey);
    assert_eq!(kind(pod.set("k".repeat(10 << 20), 1)), ErrorKind::InvalidKey);
    assert_eq!(pod.get("k".repeat(longest + 1)).unwrap_err().kind(), ErrorKind::InvalidKey);
    assert_eq!(kind(pod.set(u64::MAX, 1)), ErrorKind::InvalidKey);
    assert_eq!(kind(pod.set(i64::MAX as u64 + 1, 1)), ErrorKind::InvalidKey);
    pod.set(i64::MAX as u64, 1).unwrap();
    pod.set(i64::MIN, 1).unwrap();
    let nested = |depth: usize| (0..depth).fold(Key::from("leaf"), |key, _| Key::from(vec![key]));
    pod.set(nested(32), 1).unwrap();
    assert_eq!(kind(pod.set(nested(33), 1)), ErrorKind::InvalidKey);
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(kind(pod.set("number", number)), ErrorKind::InvalidValue);
        assert_eq!(kind(pod.set("number", [(1, number)])), ErrorKind::InvalidValue);
    }
    for json in ["NaN", "", "[1,]", "{\"a\":1", "\"\\ud800\"", "1 2", "nul", "\u{feff}1", "'a'", "01", "-", "\"\n\""] {
        assert_eq!(kind(pod.set_raw_json("raw", json)), ErrorKind::InvalidValue, "{json:?}");
    }
    assert_eq!(kind(pod.set_raw_json("raw", &"[".repeat(1_000_000))), ErrorKind::InvalidValue);
    assert_eq!(kind(pod.set_raw_json("raw", &format!("{}{}", "[".repeat(128), "]".repeat(128)))), ErrorKind::InvalidValue);
    let deep = |depth: usize| (0..depth).fold(json!(0), |value, _| Value::Array(vec![value]));
    pod.set("deep", deep(127)).unwrap();
    assert_eq!(pod.get("deep").unwrap(), Some(deep(127)));
    assert_eq!(kind(pod.set("deep", deep(128))), ErrorKind::InvalidValue);
    let before = pod.version();
    let error = pod.set("huge", "x".repeat((256 << 20) + 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidValue);
    assert!(error.to_string().contains("268435456") || error.to_string().contains("256"), "the limit is named: {error}");
    // In a transaction the same error leaves the choice to the closure.
    pod.transaction(|txn| {
        assert_eq!(kind(txn.set("number", f64::NAN)), ErrorKind::InvalidValue);
        txn.set("in between", 1)
    })
    .unwrap();
    assert!(pod.version() > before);
    assert_eq!((pod.get("number").unwrap(), pod.get("raw").unwrap(), pod.get("huge").unwrap()), (None, None, None));
    let length = pod.len();
    drop(pod);
    let pod = Pod::open(&path).unwrap();
    assert_eq!(pod.len(), length);
    assert_eq!(pod.get("k".repeat(longest)).unwrap(), Some(json!(1)));
    assert!(pod.verify().unwrap().is_clean());
}

#[test]
fn a_read_only_handle_changes_nothing() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let writer = Pod::open(&path).unwrap();
    writer.set("k", 1).unwrap();
    for open_for_writing in [true, false] {
        let reader = Options::new().read_only(true).open(&path).unwrap();
        let kind = |outcome: tastypod::Result<()>| outcome.unwrap_err().kind();
        assert_eq!(kind(reader.set("k", 2)), ErrorKind::ReadOnly, "writer there: {open_for_writing}");
        assert_eq!(kind(reader.remove("k").map(drop)), ErrorKind::ReadOnly);
        assert_eq!(kind(reader.at("k").add(1).map(drop)), ErrorKind::ReadOnly);
        assert_eq!(kind(reader.clear()), ErrorKind::ReadOnly);
        assert_eq!(kind(reader.transaction(|_| Ok(()))), ErrorKind::ReadOnly);
        assert_eq!(kind(reader.lock().map(drop)), ErrorKind::ReadOnly);
        assert_eq!(reader.get("k").unwrap(), Some(json!(1)));
        if open_for_writing {
            // A handle for reading in the process that also writes.
            continue;
        }
    }
    drop(writer);
    let before = listing(&path);
    let reader = Options::new().read_only(true).open(&path).unwrap();
    assert_eq!(reader.set("k", 2).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert!(reader.verify().unwrap().is_clean());
    drop(reader);
    assert_eq!(listing(&path), before);
}

#[test]
fn another_user_is_told_that_rights_are_missing() {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root can become another user");
        return;
    }
    // Not in the target directory, which the other user may not reach.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (private, public) = (dir.path().join("private.pod"), dir.path().join("public.pod"));
    let keep = Pod::open(&private).unwrap();
    keep.set("k", 1).unwrap();
    let public_pod = Options::new().file_mode(0o644).open(&public).unwrap();
    public_pod.set("k", 1).unwrap();
    let ask = |path: &Path, how: &str| {
        let mut child = Child::start("open-as-nobody", &[text(path), how]);
        let said = child.lines();
        assert!(child.wait().success(), "{said:?}");
        said.join("\n")
    };
    let told = |path: &Path, how: &str| {
        let said = ask(path, how);
        assert!(said.starts_with("Io: ") && said.contains("no permission") && said.contains(text(path)), "{said}");
    };
    let before = listing(dir.path());
    told(&private, "write");
    told(&private, "read");
    told(&public, "write");
    told(&dir.path().join("new.pod"), "write");
    let said = [&private, &dir.path().join("new.pod")].map(|path| ask(path, "write"));
    assert!(said[0].contains("the store belongs to another user") && said[1].contains("the directory above"), "{said:?}");
    assert_eq!(ask(&public, "read"), "1");
    assert_eq!(listing(dir.path()), before);
    drop((keep, public_pod));
    // The same with nobody there.
    told(&private, "write");
    told(&public, "write");
    assert_eq!(ask(&public, "read"), "1");
    // With rights on everything the other user takes part, though the umask takes such rights away.
    let shared = dir.path().join("shared.pod");
    let pod = Options::new().file_mode(0o666).open(&shared).unwrap();
    pod.set("k", 1).unwrap();
    assert_eq!(ask(&shared, "write"), "1");
    assert_eq!(pod.get("nobody").unwrap(), Some(json!(1)));
}

fn open_as_nobody(arguments: &[String]) {
    let (user, group) = (nix::unistd::Uid::from_raw(65_534), nix::unistd::Gid::from_raw(65_534));
    nix::unistd::setgroups(&[]).unwrap();
    nix::unistd::setresgid(group, group, group).unwrap();
    nix::unistd::setresuid(user, user, user).unwrap();
    let write = arguments[1] == "write";
    match Options::new().read_only(!write).open(&arguments[0]) {
        Ok(pod) => {
            if write {
                pod.set("nobody", 1).unwrap();
            }
            say(pod.get("k").unwrap().unwrap());
        }
        Err(error) => say(format!("{:?}: {error}", error.kind())),
    }
}

/// Runs a role that has a fresh disk below the directory, which no other process sees. Nothing where it may not.
pub fn on_disk_of(kind: &str, directory: &Path, role: &str) {
    let mount = match kind {
        "tmpfs" => "mount -t tmpfs -o size=3m none disk",
        "tmpfs of 9 MB" => "mount -t tmpfs -o size=9m none disk",
        "tmpfs of 30 MB" => "mount -t tmpfs -o size=30m none disk",
        // Without large folios, of which a segment of tests is a part.
        _ if cfg!(tastypod_small_segments) => {
            "truncate -s 12M image && mkfs.ext4 -q -m 0 -b 4096 -O ^has_journal,verity image && mount -o loop image disk"
        }
        _ => "truncate -s 12M image && mkfs.ext4 -q -m 0 -O ^has_journal image && mount -o loop image disk",
    };
    fs::create_dir(directory.join("disk")).unwrap();
    let role = command(role, &[text(&directory.join("disk/a.pod"))]);
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!("{{ {mount}; }} || exit 1; exec \"$0\" \"$@\"")]);
    command.arg(role.get_program()).args(role.get_args()).current_dir(directory);
    command.envs(role.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = Child::of(command);
    let said = child.lines();
    let status = child.wait();
    // A role that fails panics, which is another number; this is `unshare`'s or the mount's.
    if status.code() == Some(1) {
        println!("skipped: no {kind} may be mounted here");
        return;
    }
    assert!(status.success(), "on {kind}: {said:?}");
}

/// What a role says about a store. On a small disk in a process of its own: the control page stays mapped until the exit of
/// who had it, and keeps its blocks, and a disk writable.
fn ask(role: &str, path: &Path) -> String {
    let mut child = Child::start(role, &[text(path)]);
    let said = child.lines().join("\n");
    assert!(child.wait().success(), "{said}");
    said
}

/// Says whether it could write to a store, or make one.
fn write_one(arguments: &[String]) {
    match Pod::open(&arguments[0]).and_then(|pod| pod.set("k", 1)) {
        Ok(()) => say("written"),
        Err(error) => say(format!("{:?}: {error}", error.kind())),
    }
}

/// Fills the disk to the last block, and returns what to remove to have `spare` bytes again.
pub fn use_up(directory: &Path, spare: usize) -> impl FnOnce() + use<> {
    let (last, first) = (directory.join("spare"), directory.join("ballast"));
    fs::write(&last, vec![1; spare]).unwrap();
    let mut ballast = fs::File::create(first).unwrap();
    for size in [65_536, 4096, 512, 1] {
        while std::io::Write::write_all(&mut ballast, &vec![1; size]).is_ok() {}
    }
    move || fs::remove_file(last).unwrap()
}

#[test]
fn a_full_disk_in_the_middle_of_growing_changes_nothing() {
    for kind in ["tmpfs", "ext4"] {
        let dir = directory();
        on_disk_of(kind, dir.path(), "fill-disk");
    }
}

fn fill_disk(arguments: &[String]) {
    let path = Path::new(&arguments[0]);
    let pod = Pod::open(path).unwrap();
    let other = |n: i64| format!("{n} {}", "x".repeat(1000));
    pod.set(0, other(0)).unwrap();
    let give_back = use_up(path.parent().unwrap(), 600_000);
    let mut written = 1;
    let error = loop {
        match pod.set(written, other(written)) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100_000, "the disk is never full");
    };
    explained(&error, &ErrorKind::Full, path, &["free some space", "nothing was changed"]);
    let complete = |pod: &Pod, count: i64| {
        assert_eq!(pod.len(), count as usize);
        for n in 0..count {
            assert_eq!(pod.get(n).unwrap(), Some(json!(other(n))));
        }
        let report = pod.verify().unwrap();
        assert!(report.is_clean(), "{report}");
    };
    complete(&pod, written);
    let version = pod.version();
    let in_one = pod.transaction(|txn| (0..2000).try_for_each(|n| txn.set(n, other(-n))));
    assert_eq!(in_one.unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(pod.extend((0..2000).map(|n| (n, other(-n)))).unwrap_err().kind(), ErrorKind::Full);
    let guard = pod.lock().unwrap();
    (0..2000).try_for_each(|n| pod.set(n, other(-n))).unwrap();
    assert_eq!(guard.commit().unwrap_err().kind(), ErrorKind::Full);
    assert_eq!(pod.version(), version);
    complete(&pod, written);
    // Snapshots, readers and other processes do not care.
    assert_eq!(pod.snapshot().unwrap().len(), written as usize);
    assert_eq!(Options::new().read_only(true).open(path).unwrap().len(), written as usize);
    give_back();
    pod.set(written, other(written)).unwrap();
    complete(&pod, written + 1);
    drop(pod);
    complete(&Pod::open(path).unwrap(), written + 1);
}

#[test]
fn numbers_of_32_bits_are_kept_as_they_are_written_and_never_become_infinite() {
    let dir = directory();
    let pod = Pod::open(dir.path()).unwrap();
    for value in [0.1f32, -0.3, 1.0, 16_777_216.0, f32::MAX, f32::MIN_POSITIVE, 1e-45, 3.402_823e38] {
        pod.set("k", value).unwrap();
        let theirs: serde_json::Value = serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap();
        assert_eq!((pod.get_as::<f32>("k").unwrap(), pod.get("k").unwrap()), (Some(value), Some(theirs)));
    }
    pod.set("k", 0.1f32).unwrap();
    assert_eq!(pod.raw_json("k").unwrap().unwrap(), "0.1");
    assert_eq!(pod.at("k").add(0.2f32).unwrap(), json!(0.1 + 0.2));
    for text in ["1e300", "-1E+300"] {
        pod.set_raw_json("k", text).unwrap();
        let error = pod.get_as::<f32>("k").unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidValue && error.to_string().contains("f32"), "{error}");
        assert!(pod.get_as::<f64>("k").unwrap().is_some());
    }
}

#[test]
fn errors_of_paths_name_the_place_and_the_length() {
    let dir = directory();
    let pod = Pod::open(dir.path()).unwrap();
    pod.set("k", json!({"list": [1, 2, 3], "n": u64::MAX, "text": "x"})).unwrap();
    pod.set("wide", 1i128 << 100).unwrap();
    pod.set("flat", true).unwrap();
    let at = |pointer: &str| pod.at("k").pointer(pointer);
    for (error, expected) in [
        (at("/list/3").set(4).unwrap_err(), "/list in the value has 3 elements, and none at index 3; push and insert add to it"),
        (at("/list/9/x").set(4).unwrap_err(), "/list in the value has 3 elements, and none at index 9"),
        (at("/list").insert(5, 4).unwrap_err(), "/list in the value has 3 elements, and no place 5"),
        (at("/a/b").set(4).unwrap_err(), "nothing at /a, and a path makes only its last step"),
        (at("/a").pop().unwrap_err(), "nothing at /a in the value"),
        (at("/a").len().unwrap_err(), "nothing at /a in the value"),
        (at("/n").add(1).unwrap_err(), "cannot add to /n in the value: the sum 18446744073709551616 does not fit an integer of 64 bits"),
        (pod.at("wide").add(1).unwrap_err(), "cannot add to the value: the sum 1267650600228229401496703205377 does not fit"),
        (pod.at("flat").len().unwrap_err(), "the value is a boolean, which has no length"),
    ] {
        let text = error.to_string();
        assert!(text.contains(expected) && !text.contains("\"\"") && !text.contains("set it first"), "{text}");
    }
}

#[test]
fn a_file_of_no_entries_is_refused() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let error = Options::new().file_size(0).open(&path).unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidValue && error.to_string().contains("file_size"), "{error}");
    assert!(!path.exists());
    let pod = Pod::open(&path).unwrap();
    assert_eq!(pod.convert(tastypod::Conversion::new().file_size(0)).unwrap_err().kind(), ErrorKind::InvalidValue);
}

#[test]
fn verify_counts_the_keys_that_stats_counts() {
    let dir = directory();
    let pod = Pod::open(dir.path()).unwrap();
    pod.extend((0..10).map(|n| (n, n))).unwrap();
    (0..4).for_each(|n| drop(pod.remove(n).unwrap()));
    let report = pod.verify().unwrap().to_string();
    assert!(pod.stats().unwrap().keys == 6 && report.contains(" 6 keys checked"), "{report}");
}

#[test]
fn a_store_that_cannot_be_made_on_a_full_disk_can_be_made_later() {
    for kind in ["tmpfs", "ext4"] {
        let dir = directory();
        on_disk_of(kind, dir.path(), "create-on-full-disk");
    }
}

fn create_on_full_disk(arguments: &[String]) {
    let path = Path::new(&arguments[0]);
    let parent = path.parent().unwrap();
    // Every amount of space that does not suffice fails somewhere else.
    let mut failed = 0;
    for spare in (0..600_000).step_by(30_000) {
        use_up(parent, spare)();
        let said = ask("write-one", path);
        if said != "written" {
            assert!(said.starts_with("Full: ") && said.contains(text(path)) && said.contains("free some space"), "{spare}: {said}");
            failed += 1;
            assert!(!path.join(".live/tmp/log").exists(), "a draft of the log takes up what space there is");
            match Options::new().read_only(true).open(path) {
                Ok(pod) => assert!(pod.is_empty() && pod.verify().unwrap().is_clean()),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "there is a store or none: {error}"),
            }
        }
        // The very same path works as soon as there is space.
        fs::remove_file(parent.join("ballast")).unwrap();
        assert_eq!(ask("write-one", path), "written");
        fs::remove_dir_all(path).unwrap();
    }
    assert!((3..20).contains(&failed), "{failed} amounts of space did not suffice");
    // And whoever was told so need not start again.
    use_up(parent, 100_000)();
    explained(&Pod::open(path).unwrap_err(), &ErrorKind::Full, path, &["free some space"]);
    fs::remove_file(parent.join("ballast")).unwrap();
    let pod = Pod::open(path).unwrap();
    pod.set("k", 1).unwrap();
    assert!(pod.verify().unwrap().is_clean());
}

#[test]
fn a_rebuild_on_a_full_disk_keeps_the_log() {
    for kind in ["tmpfs", "ext4"] {
        let dir = directory();
        on_disk_of(kind, dir.path(), "rebuild-on-full-disk");
    }
}

fn rebuild_on_full_disk(arguments: &[String]) {
    let (path, live) = (Path::new(&arguments[0]), Path::new(&arguments[0]).join(".live"));
    let parent = path.parent().unwrap();
    assert_eq!(ask("write-many", path), "written");
    let log = fs::read(live.join("log")).unwrap();
    let mut failed = 0;
    for spare in (0..1_000_000).step_by(100_000) {
        for name in ["index", "order", "segments", "control"] {
            fs::remove_file(live.join(name)).unwrap();
        }
        use_up(parent, spare)();
        let said = ask("write-one", path);
        if said != "written" {
            assert!(said.starts_with("Full: ") && said.contains(text(path)) && said.contains("free some space"), "{spare}: {said}");
            failed += 1;
            assert!(fs::read(live.join("log")).unwrap() == log, "{spare}: the log was changed");
            // Who only reads needs memory, no disk.
            let pod = Options::new().read_only(true).open(path).unwrap();
            assert_eq!(pod.len(), 5000);
        }
        fs::remove_file(parent.join("ballast")).unwrap();
        if said == "written" {
            break;
        }
    }
    assert!((3..10).contains(&failed), "{failed} amounts of space did not suffice");
    let pod = Pod::open(path).unwrap();
    assert_eq!(pod.len(), 5001);
    assert!(pod.verify().unwrap().is_clean());
}

/// Says whether it could write enough for a table that is not the first.
fn write_many(arguments: &[String]) {
    Pod::open(&arguments[0]).unwrap().extend((0..5000).map(|n| (n, n))).unwrap();
    say("written");
}

#[test]
fn a_read_only_file_system_can_be_read() {
    for kind in ["tmpfs", "ext4"] {
        let dir = directory();
        on_disk_of(kind, dir.path(), "read-only-disk");
    }
}

fn read_only_disk(arguments: &[String]) {
    let path = Path::new(&arguments[0]);
    assert_eq!(ask("write-one", path), "written");
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(path.parent().unwrap()).status().unwrap();
    assert!(remounted.success());
    explained(&Pod::open(path).unwrap_err(), &ErrorKind::ReadOnly, path, &["read-only", "read_only(true)"]);
    let new = path.with_extension("new");
    explained(&Pod::open(&new).unwrap_err(), &ErrorKind::ReadOnly, &new, &["read-only"]);
    let reader = Options::new().read_only(true).open(path).unwrap();
    assert_eq!(reader.get("k").unwrap(), Some(json!(1)));
    assert_eq!(reader.set("k", 2).unwrap_err().kind(), ErrorKind::ReadOnly);
    assert!(reader.verify().unwrap().is_clean());
    reader.close().unwrap();
}

/// A role with a limit on its address space, in kilobytes.
fn limited(kilobytes: u64, role: &str, path: &Path) -> Child {
    let role = command(role, &[text(path)]);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -v {kilobytes} && exec \"$0\" \"$@\"")]).arg(role.get_program()).args(role.get_args());
    command.envs(role.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Child::of(command)
}

#[test]
fn little_address_space_is_enough_or_the_reason_of_an_error() {
    let dir = directory();
    // Below 30500 the test itself lacks memory, and more so the larger its program is.
    for kilobytes in [35_000, 60_000, 200_000, 1_000_000] {
        let path = dir.path().join(format!("{kilobytes}.pod"));
        let (written, error) = write_in(kilobytes, &path);
        assert!(if error.is_empty() { written == "40" } else { kilobytes < 1_000_000 && written != "0" }, "{kilobytes}: {written} {error}");
        let pod = Pod::open(&path).unwrap();
        assert_eq!(pod.len().to_string(), written, "what was written with {kilobytes} kilobytes is there: {error}");
        assert!(pod.verify().unwrap().is_clean());
    }
    // What is larger than the limit is not opened at all.
    let (written, error) = write_in(35_000, &dir.path().join("1000000.pod"));
    assert!(written == "0" && !error.is_empty(), "{written} {error}");
}

/// How many values could be written to a store with so much address space, and the error that ended it.
fn write_in(kilobytes: u64, path: &Path) -> (String, String) {
    let mut child = limited(kilobytes, "little-memory", path);
    let said = child.lines().join("\n");
    assert!(child.wait().success(), "with {kilobytes} kilobytes: {said}");
    let (written, error) = said.split_once(' ').unwrap_or((&said, ""));
    let is_clear = error.starts_with("Full: ") && error.contains("ulimit -v") && error.contains(text(path));
    assert!(error.is_empty() || is_clear, "with {kilobytes} kilobytes: {said}");
    (written.to_owned(), error.to_owned())
}

/// Says how many values were written, and the error that ended it.
fn little_memory(arguments: &[String]) {
    let pod = match Pod::open(&arguments[0]) {
        Ok(pod) => pod,
        Err(error) => return say(format!("0 {:?}: {error}", error.kind())),
    };
    for n in 0..40 {
        if let Err(error) = pod.set(n, "x".repeat(1_000_000)) {
            assert_eq!(pod.get(n).unwrap(), None);
            return say(format!("{n} {:?}: {error}", error.kind()));
        }
    }
    say(40);
}

#[test]
fn a_store_that_outgrows_the_address_space_of_a_process_says_so_there() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let pod = Pod::open(&path).unwrap();
    pod.set("early", 1).unwrap();
    let mut child = limited(200_000, "little-memory-reads", &path);
    assert_eq!(child.line().as_deref(), Some("1"));
    // Both the log and the index grow.
    for n in 0..90 {
        pod.set(n, "x".repeat(1_000_000)).unwrap();
    }
    pod.set("late", 1).unwrap();
    child.tell("go on");
    let said = child.lines();
    assert!(child.wait().success(), "{said:?}");
    assert_eq!(said[0], "1", "what is in reach can be read");
    assert!(said[1].contains("ulimit -v") && said[1].contains(text(&path)), "{said:?}");
    assert!(said[2].contains("ulimit -v") && said[2].contains(text(&path)), "{said:?}");
    pod.set("after", 1).unwrap();
    assert!(pod.verify().unwrap().is_clean());
}

fn little_memory_reads(arguments: &[String]) {
    let pod = Pod::open(&arguments[0]).unwrap();
    say(pod.get("early").unwrap().unwrap());
    assert_eq!(hear(), "go on");
    say(pod.get("early").unwrap().unwrap());
    say(pod.get("late").map_or_else(|error| error.to_string(), |value| format!("{value:?}")));
    say(pod.set("mine", 1).map_or_else(|error| error.to_string(), |()| "written".to_owned()));
}
