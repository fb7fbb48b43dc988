//! A power cut at any moment, for the files that a checkpoint writes.
//!
//! Goal: what `sync` made power-safe before it returned is there afterwards, and the store is one instant, never a mix.
//!
//! Crash model: what a file held when it was flushed last is on the disk; of what was written since, all, a part, or nothing. A name that was
//! made, changed or removed is on the disk once its directory was flushed; until then each such change by itself may have got there or
//! not, in any combination. The log is gone. A process records, at each crash point of a session, how the directories and the files in
//! them changed and what was flushed (`tastypod::crash::observe`); images are made of that at random.
//!
//! Checked of each image: it opens, its contents are those of a `sync` not older than the last that had returned, or of the one under way;
//! `verify` is clean; it can be written, and it is the same when it is opened again from its files alone.

use crate::chance::{Random, asked};
use crate::forked::{fork, quick_directory};
use crate::support::{Child, Role, say};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tastypod::{Conversion, Options, Pod, crash};

pub const CHILDREN: &[Role] = &[("power_loss_files", power_loss_files_role)];

type Inode = u64;
type Names = BTreeMap<PathBuf, Inode>;
type Contents = BTreeMap<Inode, Arc<Vec<u8>>>;

/// What happened, in order.
enum Event {
    /// At once: names that lead elsewhere now, or nowhere.
    Names(Vec<(PathBuf, Option<Inode>)>),
    Written(Inode, Arc<Vec<u8>>),
    FileFlushed(Inode),
    DirectoryFlushed(PathBuf),
    /// A saving began whose end will hold these contents, or returned.
    Begun(String),
    Returned,
}

/// Files that stay out of it: of these the store says that nothing is trusted after another boot.
const LEFT_OUT: [&str; 10] = ["log", "control", "index", "order", "segments", "locks", "stamps", "tasks", "queue", "claims"];

struct Recorder {
    root: PathBuf,
    names: Names,
    contents: Contents,
    events: Vec<Event>,
}

fn walk(root: &Path, directory: &Path, found: &mut Vec<(PathBuf, Inode, u64, i64, i64)>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            walk(root, &path, found);
        } else if !path.file_name().is_some_and(|name| LEFT_OUT.iter().any(|left| name == *left)) {
            let name = path.strip_prefix(root).unwrap().to_owned();
            found.push((name, metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()));
        }
    }
}

impl Recorder {
    fn look(&mut self) {
        let mut found = Vec::new();
        walk(&self.root, &self.root.clone(), &mut found);
        let now: Names = found.iter().map(|(name, inode, ..)| (name.clone(), *inode)).collect();
        for (name, inode, ..) in &found {
            let bytes = fs::read(self.root.join(name)).unwrap_or_default();
            if self.contents.get(inode).is_none_or(|before| **before != bytes) {
                let bytes = Arc::new(bytes);
                self.contents.insert(*inode, Arc::clone(&bytes));
                self.events.push(Event::Written(*inode, bytes));
            }
        }
        let gone = self.names.keys().filter(|name| !now.contains_key(*name)).map(|name| (name.clone(), None));
        let new =
            now.iter().filter(|(name, inode)| self.names.get(*name) != Some(*inode)).map(|(name, inode)| (name.clone(), Some(*inode)));
        let changed: Vec<_> = gone.chain(new).collect();
        if !changed.is_empty() {
            self.events.push(Event::Names(changed));
        }
        self.names = now;
    }

    fn see(&mut self, point: &'static str) {
        match point {
            "file created" | "file written" | "file renamed" | "file renamed with flags" | "file removed" => self.look(),
            "file synced" | "directory synced" => {
                self.look();
                let subject = crash::subject();
                let Ok(name) = subject.strip_prefix(&self.root) else { return };
                if point == "directory synced" {
                    self.events.push(Event::DirectoryFlushed(name.to_owned()));
                } else if let Some(inode) = self.names.get(name) {
                    self.events.push(Event::FileFlushed(*inode));
                }
            }
            _ => {}
        }
    }
}

fn contents(pod: &Pod) -> String {
    pod.iter().map(|entry| entry.unwrap()).map(|(key, value)| format!("{key}={value};")).collect()
}

fn open(path: &Path) -> Pod {
    Options::new().file_size(3).sync_at(usize::MAX).open(path).unwrap()
}

/// Some changes and savings, recorded; in a process of its own.
fn record(path: &Path, random: &mut Random) -> (Names, Contents, Vec<Event>, String) {
    // Power-safe to begin with.
    drop(open(path));
    let root = path.canonicalize().unwrap();
    let mut recorder = Recorder { root, names: Names::new(), contents: Contents::new(), events: Vec::new() };
    let pod = open(path);
    recorder.look();
    recorder.events.clear();
    let (names, bytes, before) = (recorder.names.clone(), recorder.contents.clone(), contents(&pod));
    let recorder = Arc::new(Mutex::new(recorder));
    let watching = Arc::clone(&recorder);
    crash::observe(move |point| watching.lock().unwrap().see(point));
    for _ in 0..4 {
        for _ in 0..random.index(5) {
            let key = random.index(12) as i64;
            match random.index(4) {
                0 => drop(pod.remove(key).unwrap()),
                _ => pod.set(key, random.index(1000)).unwrap(),
            }
        }
        let now = contents(&pod);
        recorder.lock().unwrap().events.push(Event::Begun(now));
        match random.index(8) {
            0 => pod.convert(Conversion::new().gzipped(random.index(2) == 0).file_size(2 + random.index(3) as u64)).unwrap(),
            _ => pod.sync().unwrap(),
        }
        recorder.lock().unwrap().events.push(Event::Returned);
    }
    crash::look_away();
    std::mem::forget(pod);
    let mut recorder = recorder.lock().unwrap();
    (names, bytes, std::mem::take(&mut recorder.events), before)
}

/// The disk after a power cut behind so many events.
fn image(names: &Names, bytes: &Contents, events: &[Event], random: &mut Random) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut on_disk = names.clone();
    let mut flushed = bytes.clone();
    let mut written = bytes.clone();
    let mut pending: Vec<&Vec<(PathBuf, Option<Inode>)>> = Vec::new();
    let apply = |on_disk: &mut Names, changes: &Vec<(PathBuf, Option<Inode>)>| {
        for (name, inode) in changes {
            match inode {
                Some(inode) => drop(on_disk.insert(name.clone(), *inode)),
                None => drop(on_disk.remove(name)),
            }
        }
    };
    for event in events {
        match event {
            Event::Names(changes) => pending.push(changes),
            Event::Written(inode, bytes) => drop(written.insert(*inode, Arc::clone(bytes))),
            Event::FileFlushed(inode) => {
                let bytes = written.get(inode).cloned().unwrap_or_default();
                flushed.insert(*inode, bytes);
            }
            Event::DirectoryFlushed(directory) => {
                // A change is one step of the file system's journal; it is on the disk when the directory was flushed in which a name was made.
                let concerns = |changes: &&Vec<(PathBuf, Option<Inode>)>| {
                    let is_in = |name: &PathBuf| name.parent() == Some(directory);
                    changes.iter().any(|(name, inode)| inode.is_some() && is_in(name)) || changes.iter().all(|(name, _)| is_in(name))
                };
                for changes in pending.iter().filter(|changes| concerns(changes)) {
                    apply(&mut on_disk, changes);
                }
                pending.retain(|changes| !concerns(changes));
            }
            Event::Begun(_) | Event::Returned => {}
        }
    }
    for changes in pending {
        if random.index(2) == 0 {
            apply(&mut on_disk, changes);
        }
    }
    let mut files = BTreeMap::new();
    for (name, inode) in on_disk {
        let (safe, newest) = (flushed.get(&inode), written.get(&inode).cloned().unwrap_or_default());
        let bytes = match (safe, random.index(3)) {
            (Some(safe), 0 | 1) => safe.to_vec(),
            (None, 0) => Vec::new(),
            (None, 1) => newest[..random.index(newest.len() + 1)].to_vec(),
            _ => newest.to_vec(),
        };
        files.insert(name, bytes);
    }
    files
}

/// The contents that may be found, after so many events.
fn allowed(events: &[Event], before: &str) -> Vec<String> {
    let mut allowed = vec![before.to_owned()];
    for event in events {
        match event {
            Event::Begun(contents) => allowed.push(contents.clone()),
            Event::Returned => drop(allowed.drain(..allowed.len() - 1)),
            _ => {}
        }
    }
    allowed
}

fn lay_out(path: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) {
    for (name, bytes) in files {
        let to = path.join(name);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
}

fn power_loss_files_role(arguments: &[String]) {
    let images: usize = arguments[0].parse().unwrap();
    let start = Instant::now();
    let seed = asked("TASTYPOD_SEED", 1);
    let directory = quick_directory();
    let (mut made, mut sessions, mut recorded) = (0, 0, 0);
    while made < images {
        sessions += 1;
        let mut random = Random(seed << 20 | sessions);
        let path = directory.path().join(format!("{sessions}.pod"));
        let (names, bytes, events, before) = record(&path, &mut random);
        recorded += events.len();
        for _ in 0..60 {
            let cut = random.index(events.len() + 1);
            let files = image(&names, &bytes, &events[..cut], &mut random);
            let allowed = allowed(&events[..cut], &before);
            let copy = directory.path().join("image.pod");
            lay_out(&copy, &files);
            let context = format!("seed {seed}, session {sessions}, cut at {cut} of {}", events.len());
            if files.keys().all(|name| name.starts_with(".live")) {
                // Nothing was ever saved.
                assert!(allowed.iter().any(String::is_empty), "{context}: all is gone");
                fs::remove_dir_all(&copy).unwrap();
                continue;
            }
            let found = fork(|line| {
                let pod = open_image(&copy);
                line.say(contents(&pod));
                let report = pod.verify().unwrap();
                assert!(report.is_clean(), "{report}");
                pod.set("after", 1).unwrap();
                pod.sync().unwrap();
            })
            .succeed(&context);
            assert!(allowed.contains(&found), "{context}: found {found}, allowed {allowed:?}");
            fs::remove_dir_all(copy.join(".live")).unwrap();
            let again = fork(|line| line.say(contents(&open_image(&copy)))).succeed(&context);
            assert_eq!(again, format!("{found}after=1;"), "{context}: from the files alone");
            fs::remove_dir_all(&copy).unwrap();
            made += 1;
        }
        fs::remove_dir_all(&path).unwrap();
    }
    // One in which nothing changes is short.
    assert!(recorded as u64 > 30 * sessions, "the sessions are recorded: {recorded} events of {sessions}");
    say(format_args!("{made} images of {sessions} sessions, {recorded} events; {:.1?}", start.elapsed()));
}

/// In the form that the image has.
fn open_image(path: &Path) -> Pod {
    Options::new().sync_at(usize::MAX).open(path).unwrap()
}

#[test]
fn after_a_power_cut_the_files_are_those_of_one_saving() {
    let images = asked("TASTYPOD_POWER_LOSS_IMAGES", 200).to_string();
    let mut child = Child::start("power_loss_files", &[&images]);
    let lines = child.lines();
    for line in &lines {
        println!("{line}");
    }
    assert!(child.wait().success(), "the reason was printed above");
    assert_eq!(lines.len(), 1);
}
