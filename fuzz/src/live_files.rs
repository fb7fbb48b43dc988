//! The files of a closed store, changed by anybody in any way: the next open gives an error, or the right answers. Never
//! a crash, a hang, or undefined behaviour.
//!
//! Right are the contents after any of the commits if the log was changed together with what tells how far it went (a
//! cut log looks like an unfinished one), and the last content if the log was not changed.

use super::bytes::Bytes;
use serde_json::{Value, json};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use tastypod::{Error, ErrorKind, Pod, fuzzing};

const NAMES: [&str; 5] = ["log", "control", "index", "order", "segments"];

/// A small store, and what it held after each commit.
pub struct Template {
    path: PathBuf,
    files: [Vec<u8>; 5],
    contents: Vec<Value>,
}

fn content(pod: &Pod) -> Result<Value, Error> {
    pod.iter().map(|entry| entry.map(|(key, value)| json!([key.to_json(), value]))).collect()
}

/// Every way to read, wherever it leads.
pub fn read_everything(pod: &Pod) -> Result<Value, Error> {
    let listed = content(pod);
    let _ = (pod.len(), pod.version(), pod.stats());
    let _ = pod.iter_live().take(1000).collect::<Result<Vec<_>, _>>();
    for key in pod.keys().take(1000).flatten() {
        let _ = pod.get(&key);
        let _ = pod.raw_json(&key);
        let _ = pod.view(&key).map(|view| view.map(|view| view.to_value()));
    }
    for key in ["a", "b", "gone", "long", "absent"] {
        let _ = pod.get(key);
    }
    if let Ok(snapshot) = pod.snapshot() {
        let _ = snapshot
            .entries()
            .take(1000)
            .map(|entry| entry.map(|(key, part)| (key.to_key(), part.to_value())))
            .collect::<Result<Vec<_>, _>>();
        let _ = snapshot.get("a");
    }
    let _ = pod.verify().map(|report| report.to_string());
    listed
}

impl Template {
    /// Makes the store in `directory`.
    pub fn new(directory: &Path) -> Template {
        let path = directory.join("a.pod");
        let pod = Pod::open(&path).expect("a new store opens");
        let mut contents = vec![json!([])];
        let mut commit = |change: &dyn Fn(&Pod) -> Result<(), Error>| {
            change(&pod).expect("a sound store writes");
            contents.push(content(&pod).expect("a sound store iterates"));
        };
        commit(&|pod| pod.extend([("a", 1), ("b", 2), ("gone", 3)]));
        commit(&|pod| pod.set("long", json!({"text": "long enough for a place of its own", "list": [1, 2.5, null]})));
        commit(&|pod| pod.remove("gone").map(|_| ()));
        commit(&|pod| pod.at("a").add(41).map(|_| ()));
        commit(&|pod| {
            pod.transaction(|txn| {
                txn.set((1, "pair"), [1, 2, 3])?;
                txn.remove("b")?;
                txn.set("b", "again")
            })
        });
        commit(&|pod| pod.at("long").key("list").push("more"));
        pod.close().expect("a sound store closes");
        super::keep_only_log(&path);
        let read = |name: &str| std::fs::read(path.join(".live").join(name)).expect("the store's files can be read");
        Template { files: NAMES.map(read), path, contents }
    }

    /// The fuzz target: a list of edits, then everything that a program might do.
    pub fn run(&self, data: &[u8]) {
        let live = self.path.join(".live");
        let mut bytes = Bytes::new(data);
        // As if the bytes had changed below the file system, which keeps times and lengths: no right answers can be asked
        // for then. Log, order and segments are left out: in the boot that closed them, what they hold is used without another
        // look.
        let below = bytes.byte() & 1 != 0;
        let mut files = self.files.clone();
        let mut changed = [false; 5];
        for _ in 0..32 {
            if bytes.is_empty() {
                break;
            }
            let choice = bytes.byte();
            let which = usize::from(choice % 5);
            // Most of the files is empty: the near places are more interesting.
            let offset = match choice >> 2 & 3 {
                0 => usize::from(bytes.byte()) * 8,
                1 => usize::from(bytes.byte()) * 4096 + usize::from(bytes.byte()) * 8,
                2 => bytes.word() as usize % (files[which].len() + 1),
                _ => 4096 + usize::from(bytes.byte()) + 256 * usize::from(bytes.byte() % 8),
            };
            let file = &mut files[which];
            match choice >> 4 {
                0..=1 => file.truncate(offset),
                2 => file.resize(file.len() + offset.min(1 << 20), choice),
                kind => {
                    let new = bytes.take(if kind < 9 { 8 } else { 1 + usize::from(kind) });
                    let end = (offset + new.len()).min(file.len());
                    if offset < end {
                        file[offset..end].copy_from_slice(&new[..end - offset]);
                    }
                }
            }
            if below && matches!(NAMES[which], "log" | "order" | "segments") {
                file.clone_from(&self.files[which]);
            } else if below {
                file.resize(self.files[which].len(), 0);
            }
            changed[which] = files[which] != self.files[which];
        }
        for (name, bytes) in NAMES.iter().zip(&files) {
            // In place: another file would be known by its inode not to be the store's.
            let file =
                std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(live.join(name)).expect("the file is ours");
            file.set_len(bytes.len() as u64).and_then(|()| file.write_all_at(bytes, 0)).expect("the file is ours");
        }
        let unnoticed = below && changed != [false; 5];
        if below {
            fuzzing::note_closed_in_order(&live).expect("the files are ours");
        }
        self.use_store(unnoticed, changed);
        super::keep_only_log(&self.path);
        for entry in std::fs::read_dir(&live).expect("the directory is ours").flatten() {
            if entry.file_name().to_string_lossy().starts_with("log.cut") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    fn use_store(&self, unnoticed: bool, changed: [bool; 5]) {
        let pod = match Pod::open(&self.path) {
            Ok(pod) => pod,
            Err(error) => return self.expect_error(&error, unnoticed || changed[0] || changed[1]),
        };
        let found = match read_everything(&pod) {
            Ok(found) => found,
            Err(error) => return self.expect_error(&error, unnoticed || changed[0]),
        };
        if !unnoticed {
            let last = self.contents.last().expect("there is at least the empty content");
            assert!(found == *last || changed[0] && self.contents.contains(&found), "wrong content: {found}");
            assert_eq!(pod.len(), found.as_array().map_or(0, Vec::len));
            let report = pod.verify().expect("what was opened can be verified");
            assert!(report.is_clean(), "{report}");
        }
        let written = pod.set("a", "after").and_then(|()| pod.remove("b").map(|_| ())).and_then(|()| pod.set("new", json!([1, 2])));
        let before_close = read_everything(&pod);
        drop(pod);
        let pod = Pod::open(&self.path);
        let after = pod.as_ref().map_err(|error| error.to_string()).and_then(|pod| read_everything(pod).map_err(|error| error.to_string()));
        if !unnoticed {
            written.expect("a sound store writes");
            assert_eq!(after.expect("a sound store opens"), before_close.expect("a sound store iterates"));
        }
    }

    fn expect_error(&self, error: &Error, may_fail: bool) {
        assert!(may_fail, "an error where the log tells everything: {error}");
        let kind = error.kind();
        assert!(
            matches!(kind, ErrorKind::Integrity { .. } | ErrorKind::VersionMismatch | ErrorKind::Full | ErrorKind::InvalidKey),
            "{kind:?}: {error}"
        );
    }
}
