//! Damaged files. Goal: whatever bytes an opener finds, it gets the content that was written or an error that names the
//! file and the place; never a crash, a hang, a wrong value, or a key that is silently missing.
//!
//! Damage model: files of a store that nobody has open are cut off, overwritten in place byte by byte, exchanged, and
//! replaced by older ones. The trials run in a process of their own which says what it is about to try, so that a crash
//! names its cause. Checked after each: the content is the whole one (or, where the control page that knows the log's
//! end was taken away too, a prefix of the commit order); `verify`; that the store takes a write; or else the error.

use crate::chance::every;
use crate::support::{Child, Role, directory, keep_only_log, say, text};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tastypod::{Error, ErrorKind, Options, Pod};

pub const CHILDREN: &[Role] = &[
    ("flip-log", flip_log),
    ("flip-control", flip_control),
    ("put-aside", put_aside),
    ("flip-index-and-order", flip_index_and_order),
    ("truncate-log", truncate_log),
    ("truncate-others", truncate_others),
];

const SHARED: [&str; 6] = ["control", "index", "order", "segments", "locks", "log"];
/// Transactions of the store that is damaged, the one that stores its settings apart.
const TRANSACTIONS: usize = 8;

/// What happened to a file since it was closed in good order is told by its times, which have the grain of the kernel's
/// clock: 10 milliseconds at most.
const CLOCK_GRAIN: Duration = Duration::from_millis(11);

type Content = Vec<(String, Value)>;

fn content(pod: &Pod) -> tastypod::Result<Content> {
    pod.iter().map(|entry| entry.map(|(key, value)| (key.to_string(), value))).collect()
}

/// Transaction by transaction: new keys, replaced ones, a removal, a larger value.
fn fill(pod: &Pod) -> Vec<Content> {
    let mut states = vec![content(pod).unwrap()];
    for n in 0..TRANSACTIONS {
        match n {
            3 => drop(pod.remove("key 1").unwrap()),
            4 => pod.set("key 0", json!({"replaced": [1.5, null, "text"]})).unwrap(),
            5 => pod.extend([("many 1", 1), ("many 2", 2), ("key 2", 3)]).unwrap(),
            6 => pod.set("large", "x".repeat(300)).unwrap(),
            _ => pod.set(format!("key {n}"), n).unwrap(),
        }
        states.push(content(pod).unwrap());
    }
    states
}

/// A store at rest, and all that is needed to damage it and to put it back.
struct Patient {
    path: PathBuf,
    /// The content after each transaction.
    states: Vec<Content>,
    /// First bytes and length of each.
    files: Vec<(PathBuf, Vec<u8>, u64)>,
    /// Where the log ends.
    log_end: usize,
}

impl Patient {
    fn new(path: &str) -> Patient {
        let path = PathBuf::from(path);
        let pod = Pod::open(&path).unwrap();
        let states = fill(&pod);
        let log_end = tastypod::fuzzing::log_end(&pod) as usize;
        drop(pod);
        keep_only_log(&path);
        let mut patient = Patient { path, states, files: Vec::new(), log_end };
        patient.take_copy();
        patient
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(".live").join(name)
    }

    fn take_copy(&mut self) {
        self.files = SHARED
            .iter()
            .map(|name| {
                let mut bytes = fs::read(self.file(name)).unwrap();
                // Megabytes of a log that was never written to need not be written back.
                let length = bytes.len() as u64;
                bytes.truncate((self.log_end + 65_536).max(300_000));
                (self.file(name), bytes, length)
            })
            .collect();
    }

    /// Writes every file back in place, so that device and inode stay.
    fn restore(&self) {
        keep_only_log(&self.path);
        for (path, bytes, length) in &self.files {
            let file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
            file.write_all_at(bytes, 0).unwrap();
            file.set_len(*length).unwrap();
        }
    }

    /// What was put aside, the oldest first.
    fn cuts(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path.join(".live")).unwrap().map(|entry| entry.unwrap().path());
        let mut cuts: Vec<_> = entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("log.cut-")).collect();
        cuts.sort();
        cuts
    }

    fn restore_all(&self) {
        self.restore();
        self.cuts().iter().for_each(|path| fs::remove_file(path).unwrap());
    }

    fn flip(&self, name: &str, at: usize, bits: u8) {
        let file = File::options().read(true).write(true).open(self.file(name)).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at as u64).unwrap();
        file.write_all_at(&[byte[0] ^ bits], at as u64).unwrap();
    }

    /// Opens it. How many transactions are there; nothing after an error, which is checked.
    fn examine(&self, trial: &str) -> Option<usize> {
        self.examine_opened(Pod::open(&self.path), trial)
    }

    /// The same for whoever lets go of what stands behind the damage.
    fn salvage(&self, trial: &str) -> Option<usize> {
        self.examine_opened(Options::new().salvage(true).open(&self.path), trial)
    }

    fn examine_opened(&self, opened: Result<Pod, Error>, trial: &str) -> Option<usize> {
        match opened {
            Ok(pod) => {
                let found = content(&pod).unwrap_or_else(|error| panic!("{trial}: opened, then: {error}"));
                let state = self.states.iter().rposition(|state| *state == found);
                let state = state.unwrap_or_else(|| panic!("{trial}: content that never was: {found:?}"));
                for (key, value) in &found {
                    assert_eq!(pod.get(key.as_str()).unwrap().as_ref(), Some(value), "{trial}");
                }
                assert_eq!(pod.len(), found.len(), "{trial}");
                let report = pod.verify().unwrap();
                assert!(report.is_clean(), "{trial}: {report}");
                pod.set("after", 1).unwrap();
                assert_eq!(pod.get("after").unwrap(), Some(json!(1)), "{trial}");
                Some(state)
            }
            Err(error) => {
                let message = error.to_string();
                match error.kind() {
                    ErrorKind::Integrity { path, line, .. } => {
                        assert!(path.starts_with(&self.path), "{trial}: {message}");
                        assert!(message.contains(&line.to_string()) && message.contains("byte"), "{trial}: {message}");
                    }
                    ErrorKind::VersionMismatch => assert!(message.contains("version"), "{trial}: {message}"),
                    other => panic!("{trial}: an unexpected kind of error: {other:?}: {message}"),
                }
                assert!(message.contains(text(&self.path)), "{trial}: the message names the file: {message}");
                None
            }
        }
    }
}

/// Runs a role to its end; if it dies, what it said last is what it died of. Returns how many trials it made.
#[track_caller]
fn run(role: &str, arguments: &[&str]) -> usize {
    let dir = directory();
    let path = dir.path().join("a.pod");
    let mut child = Child::start(role, &[&[text(&path)], arguments].concat());
    let said = child.lines();
    let status = child.wait();
    assert!(status.success(), "{role}: {status} at {:?}", said.last());
    said.len()
}

/// Small random numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % end
    }
}

#[test]
fn a_flipped_byte_anywhere_in_a_log_is_found() {
    assert!(run("flip-log", &["with control", "0"]) > 200);
}

#[test]
fn a_flipped_byte_anywhere_in_a_log_without_control_page_costs_at_most_what_was_written_last() {
    assert!(run("flip-log", &["without control", "0"]) > 50);
}

fn flip_log(arguments: &[String]) {
    let patient = Patient::new(&arguments[0]);
    let with_control = arguments[1] == "with control";
    // The head's used bytes, a few of its padding, every byte of every record, and some unused behind.
    let places =
        (0..72).chain((88..4096).step_by(512)).chain(4096..patient.log_end).chain((patient.log_end..patient.log_end + 64).step_by(8));
    // Strides that come to every bit.
    let one_in = if with_control { 5 } else { 23 };
    for at in every(one_in, places) {
        let trial = format!("byte {at} of the log of {}, {}", patient.log_end, arguments[1]);
        say(&trial);
        patient.flip("log", at, 1 << (at % 8));
        if !with_control {
            fs::remove_file(patient.file("control")).unwrap();
        }
        let unused = (72..4096).contains(&at) || at >= patient.log_end;
        match patient.examine(&trial) {
            Some(TRANSACTIONS) => assert!(unused, "{trial}: not noticed"),
            // Without the control page a damaged last transaction looks like an unfinished one.
            Some(found) => {
                assert!(!with_control, "{trial}: lost what was behind transaction {found} without an error");
                assert_eq!(found + 1, TRANSACTIONS, "{trial}: only the last one may be lost without an error");
                assert!(patient.cuts().is_empty(), "{trial}: nothing stood behind it");
            }
            None => {
                assert!(!unused, "{trial}: an error for a byte without meaning");
                // Whoever says so gets what stands before the place, and the log as it was.
                if crate::chance::is_thorough() || at % 4 == 0 {
                    match patient.salvage(&trial) {
                        Some(found) => assert!(found < TRANSACTIONS && patient.cuts().len() == 1, "{trial}: {found} transactions"),
                        None => assert!(at < 4096 + 512, "{trial}: something stands before it"),
                    }
                }
            }
        }
        patient.restore_all();
    }
}

#[test]
fn of_damaged_logs_that_are_put_aside_the_newest_three_stay() {
    assert_eq!(run("put-aside", &[]), 6);
}

fn put_aside(arguments: &[String]) {
    let patient = Patient::new(&arguments[0]);
    let mut newest = Vec::new();
    for turn in 0..6 {
        let trial = format!("turn {turn}");
        say(&trial);
        let at = 4096 + (patient.log_end - 4096) / 3 + turn * 8;
        patient.flip("log", at, 1);
        let damaged = fs::read(patient.file("log")).unwrap();
        fs::remove_file(patient.file("control")).unwrap();
        assert_eq!(patient.examine(&trial), None, "{trial}: whole transactions stand behind");
        patient.salvage(&trial).expect("a prefix");
        let cuts = patient.cuts();
        assert_eq!(cuts.len(), 3.min(turn + 1), "{trial}: {cuts:?}");
        assert!(fs::read(cuts.last().unwrap()).unwrap()[..patient.log_end] == damaged[..patient.log_end], "{trial}: all of the log");
        assert!(cuts.iter().rev().skip(1).eq(newest.iter().rev().take(2)), "{trial}: {cuts:?} after {newest:?}");
        newest = cuts;
        patient.restore();
    }
}

#[test]
fn flipped_bytes_in_the_control_page_never_change_the_content() {
    assert!(run("flip-control", &["1"]) >= 112);
}

#[test]
fn many_flipped_bytes_in_the_control_page_never_change_the_content() {
    assert!(run("flip-control", &["64"]) >= 112);
}

/// The store is closed in good order before each trial, so that the control page would be trusted.
fn flip_control(arguments: &[String]) {
    let mut patient = Patient::new(&arguments[0]);
    let count: usize = arguments[1].parse().unwrap();
    let mut numbers = Numbers(count as u64);
    patient.states.push([patient.states[TRANSACTIONS].clone(), vec![("after".to_owned(), json!(1))]].concat());
    drop(Pod::open(&patient.path).unwrap().set("after", 1));
    for trial in every(7, 0..900) {
        // All words of the page itself come up when one byte is flipped, later the process table.
        let places: Vec<usize> = (0..count)
            .map(
                |_| if count > 1 || trial >= 800 { numbers.below(if trial % 2 == 0 { 1536 } else { 266_240 }) } else { trial * 1536 / 800 },
            )
            .collect();
        let trial = format!("flip {trial}: bytes {places:?} of control");
        say(&trial);
        let before = fs::read(patient.file("control")).unwrap();
        for at in places {
            patient.flip("control", at, 1 << numbers.below(8));
        }
        match patient.examine(&trial) {
            Some(found) => assert_eq!(found, TRANSACTIONS + 1, "{trial}"),
            None => {
                File::options().write(true).open(patient.file("control")).unwrap().write_all_at(&before, 0).unwrap();
                assert_eq!(patient.examine("restored"), Some(TRANSACTIONS + 1));
            }
        }
    }
}

#[test]
fn flipped_bytes_in_index_and_order_never_change_the_content() {
    assert!(run("flip-index-and-order", &[]) >= 150);
}

fn flip_index_and_order(arguments: &[String]) {
    let mut patient = Patient::new(&arguments[0]);
    let mut numbers = Numbers(7);
    patient.states.push([patient.states[TRANSACTIONS].clone(), vec![("after".to_owned(), json!(1))]].concat());
    drop(Pod::open(&patient.path).unwrap().set("after", 1));
    for trial in 0..150 {
        std::thread::sleep(CLOCK_GRAIN);
        let name = if trial % 2 == 0 { "index" } else { "order" };
        let length = if trial % 2 == 0 { fs::metadata(patient.file(name)).unwrap().len() as usize } else { 8 * 16 };
        let places: Vec<usize> = (0..1 + trial * 4).map(|_| numbers.below(length)).collect();
        let trial = format!("flip {trial}: {} bytes of {name}", places.len());
        say(&trial);
        for at in places {
            patient.flip(name, at, 1 << numbers.below(8));
        }
        assert_eq!(patient.examine(&trial), Some(TRANSACTIONS + 1), "{trial}: index and order can be made anew");
    }
}

#[test]
fn a_log_cut_off_anywhere_is_an_error_while_its_end_is_known() {
    assert!(run("truncate-log", &["with control"]) > 100);
}

#[test]
fn a_log_cut_off_anywhere_without_control_page_is_a_prefix_or_an_error() {
    assert!(run("truncate-log", &["without control"]) > 100);
}

fn truncate_log(arguments: &[String]) {
    let patient = Patient::new(&arguments[0]);
    let with_control = arguments[1] == "with control";
    let full = fs::metadata(patient.file("log")).unwrap().len() as usize;
    let sizes = [0, 1, 8, 71, 72, 4095, 4096, 4097, 4104, full - 1, full, full + 1, full + 4096, 4 << 20];
    for size in sizes.into_iter().chain((4096..patient.log_end + 16).step_by(13)) {
        let trial = format!("log of {full} bytes, used up to {}, cut to {size}, {}", patient.log_end, arguments[1]);
        say(&trial);
        File::options().write(true).open(patient.file("log")).unwrap().set_len(size as u64).unwrap();
        if !with_control {
            fs::remove_file(patient.file("control")).unwrap();
        }
        let found = patient.examine(&trial);
        if size >= patient.log_end {
            assert_eq!(found, Some(TRANSACTIONS), "{trial}: nothing is missing");
        } else if with_control || size < 4096 {
            assert_eq!(found, None, "{trial}");
        }
        patient.restore_all();
    }
}

#[test]
fn control_index_and_order_may_be_cut_off_emptied_removed_or_garbage() {
    assert!(run("truncate-others", &[]) > 50);
}

fn truncate_others(arguments: &[String]) {
    let patient = Patient::new(&arguments[0]);
    let mut numbers = Numbers(3);
    for name in ["control", "index", "order", "segments", "locks"] {
        let full = fs::metadata(patient.file(name)).unwrap().len();
        for size in [0, 1, 7, 8, 63, 4095, 4096, 4097, full / 2, full.saturating_sub(1), full + 1, full * 3] {
            say(format!("{name} of {full} bytes cut to {size}"));
            File::options().write(true).open(patient.file(name)).unwrap().set_len(size).unwrap();
            assert_eq!(patient.examine(&format!("{name} cut to {size}")), Some(TRANSACTIONS));
            patient.restore_all();
        }
        for filling in ["zeros", "ones", "garbage"] {
            say(format!("{name} of {filling}"));
            let bytes: Vec<u8> = (0..full.max(100))
                .map(|_| match filling {
                    "zeros" => 0,
                    "ones" => 0xff,
                    _ => numbers.below(256) as u8,
                })
                .collect();
            File::options().write(true).open(patient.file(name)).unwrap().write_all_at(&bytes, 0).unwrap();
            assert_eq!(patient.examine(&format!("{name} of {filling}")), Some(TRANSACTIONS));
            patient.restore_all();
        }
        say(format!("{name} removed"));
        fs::remove_file(patient.file(name)).unwrap();
        assert_eq!(patient.examine(&format!("{name} removed")), Some(TRANSACTIONS));
        patient.restore_all();
    }
}

/// Two stores in one directory, with different content.
fn two(directory: &Path) -> (PathBuf, PathBuf, Content, Content) {
    let (one, other) = (directory.join("one.pod"), directory.join("other.pod"));
    let first = Pod::open(&one).unwrap();
    first.extend((0..50).map(|n| (n, "one"))).unwrap();
    let second = Pod::open(&other).unwrap();
    second.extend((30..100).map(|n| (n, "other"))).unwrap();
    let contents = (content(&first).unwrap(), content(&second).unwrap());
    (one, other, contents.0, contents.1)
}

#[test]
fn files_exchanged_with_those_of_another_store_are_not_taken_for_ones_own() {
    for name in ["control", "index", "order", "segments", "locks"] {
        for in_place in [false, true] {
            let dir = directory();
            let (one, other, first, second) = two(dir.path());
            let (left, right) = (one.join(".live").join(name), other.join(".live").join(name));
            if in_place {
                let (left_bytes, right_bytes) = (fs::read(&left).unwrap(), fs::read(&right).unwrap());
                fs::write(&left, right_bytes).unwrap();
                fs::write(&right, left_bytes).unwrap();
            } else {
                let aside = dir.path().join("aside");
                fs::rename(&left, &aside).unwrap();
                fs::rename(&right, &left).unwrap();
                fs::rename(&aside, &right).unwrap();
            }
            for (path, expected) in [(&one, &first), (&other, &second)] {
                keep_only_log(path);
                let pod = Pod::open(path).unwrap();
                assert_eq!(content(&pod).unwrap(), *expected, "{name}");
                assert!(pod.verify().unwrap().is_clean(), "{}", pod.verify().unwrap());
                pod.set(0, "more").unwrap();
            }
        }
    }
    // The log is the store: with another's log it is the other store.
    let dir = directory();
    let (one, other, _, second) = two(dir.path());
    keep_only_log(&one);
    fs::copy(other.join(".live/log"), one.join(".live/log")).unwrap();
    let pod = Pod::open(&one).unwrap();
    assert_eq!(content(&pod).unwrap(), second);
    assert!(pod.verify().unwrap().is_clean());
}

#[test]
fn older_control_index_and_order_are_noticed_and_an_older_log_is_an_error() {
    for replaced in [
        &["control"][..],
        &["index"],
        &["order"],
        &["control", "index", "order", "segments"],
        &["log"],
        &["log", "index", "order", "segments"],
    ] {
        for in_place in [true, false] {
            let dir = directory();
            let path = dir.path().join("a.pod");
            let pod = Pod::open(&path).unwrap();
            fill(&pod);
            drop(pod);
            let older: Vec<Vec<u8>> = replaced.iter().map(|name| fs::read(path.join(".live").join(name)).unwrap()).collect();
            std::thread::sleep(CLOCK_GRAIN);
            let pod = Pod::open(&path).unwrap();
            pod.set("later", 1).unwrap();
            pod.remove("key 2").unwrap();
            let expected = content(&pod).unwrap();
            drop(pod);
            keep_only_log(&path);
            for (name, bytes) in replaced.iter().zip(older) {
                let file = path.join(".live").join(name);
                if !in_place {
                    fs::remove_file(&file).unwrap();
                }
                fs::write(&file, bytes).unwrap();
            }
            let outcome = Pod::open(&path);
            if replaced.contains(&"log") && in_place {
                let error = outcome.unwrap_err();
                assert!(matches!(error.kind(), ErrorKind::Integrity { .. }), "{error}");
            } else if replaced.contains(&"log") {
                // A whole older log with another inode is what a restored copy looks like; the number may be the same by
                // chance, and then it is an older log.
                match outcome {
                    Ok(pod) => assert_eq!(pod.get("later").unwrap(), None),
                    Err(error) => assert!(matches!(error.kind(), ErrorKind::Integrity { .. }), "{error}"),
                }
            } else {
                let pod = outcome.unwrap();
                assert_eq!(content(&pod).unwrap(), expected, "older {replaced:?}");
                assert!(pod.verify().unwrap().is_clean());
            }
        }
    }
}

#[test]
fn a_log_of_another_version_or_of_something_else_is_refused_and_kept() {
    let dir = directory();
    let path = dir.path().join("a.pod");
    drop(Pod::open(&path).unwrap());
    let log = path.join(".live/log");
    let mut bytes = fs::read(&log).unwrap();
    bytes[8] += 1;
    fs::write(&log, &bytes).unwrap();
    let error = Pod::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::VersionMismatch);
    assert!(error.to_string().contains(text(&log)), "{error}");
    assert_eq!(tastypod::Options::new().read_only(true).open(&path).unwrap_err().kind(), ErrorKind::VersionMismatch);
    for foreign in [&b"[ a text file ]"[..], &[0; 100_000], &[0xff; 100_000]] {
        fs::write(&log, foreign).unwrap();
        let error = Pod::open(&path).unwrap_err();
        let ErrorKind::Integrity { path: named, line: 0 | 15, .. } = error.kind() else { panic!("{error}") };
        assert_eq!(named, log);
        assert_eq!(fs::read(&log).unwrap(), foreign, "nothing was changed");
    }
}
