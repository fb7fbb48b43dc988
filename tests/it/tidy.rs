//! The habits of this code, checked: layers, places of `unsafe`, SAFETY comments, lengths.

use std::fs;
use std::path::{Path, PathBuf};

fn sources() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 30, "the sources are found");
    files.into_iter().map(|(path, text)| (path.strip_prefix(&root).unwrap().to_owned(), text)).collect()
}

/// Lowest first. `key` stands with `value`, since keys are written as JSON by it.
const LAYERS: [&[&str]; 12] = [
    &["error", "limits"],
    &["sys"],
    &["segment"],
    &["log"],
    &["value", "key"],
    &["index"],
    &["store"],
    &["checkpoint"],
    &["verify"],
    &["pod"],
    &["tracker"],
    &["fuzzing"],
];

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|names| names.contains(&name))
}

#[test]
fn a_layer_names_only_layers_below_it() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let top = path.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        let Some(own) = layer(&top) else { continue };
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let name: String = used.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect();
                if layer(&name).is_some_and(|other| other > own) {
                    wrong.push(format!("{}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The rooms of `store`, the lowest step first. Rooms on one step do not know each other.
const STORE: [&[&str]; 7] = [&["core"], &["read"], &["write"], &["flush", "saving", "tasks"], &["shrink"], &["recover"], &["attach"]];

/// The rooms of `value`: writing and reading stand beside each other over what is archived.
const VALUE: [&[&str]; 3] = [&["archive"], &["reading", "writing"], &["editing"]];

/// What a room of `store` calls of rooms above it nevertheless, by methods of `Shared`, which no path shows: the places where a
/// commit is told of elsewhere, and where somebody who comes finds what another left.
const CALLED_UP: [(&str, &str, &[&str]); 6] = [
    ("core", "attach", &["join_after_fork"]),
    ("write", "recover", &["forget_unsealed", "is_unfinished", "repair"]),
    ("write", "tasks", &["has_room_for_task", "max_tries_for", "note_settings", "note_task", "standing_in_pod", "take_sample", "tally"]),
    ("write", "flush", &["flush_aside", "is_flush_due", "reusable", "wait_until_durable"]),
    ("write", "shrink", &["do_chores", "forget_dead_puncher", "note_chores", "note_first", "note_renumbered"]),
    ("flush", "attach", &["registered"]),
];

/// The files of a layer that has rooms: room, name, and code in one piece.
fn files_in_rooms(layer: &str) -> Vec<(String, String, String)> {
    let parts = |path: &Path| path.iter().map(|part| part.to_str().unwrap().trim_end_matches(".rs").to_owned()).collect::<Vec<_>>();
    let files = sources().into_iter().map(|(path, text)| (parts(&path), code(&text).collect::<Vec<_>>().join("\n")));
    files
        .filter(|(parts, _)| parts[0] == layer && parts.len() == 3 && parts[1] != "tests")
        .map(|(parts, text)| (parts[1].clone(), parts[2].clone(), text))
        .collect()
}

fn name_at(text: &str) -> &str {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap()
}

/// What a file names of its own layer: room, and file or item in it.
fn named<'a>(layer: &str, text: &'a str) -> Vec<(&'a str, &'a str)> {
    let start = format!("crate::{layer}::");
    let paths = text.split(start.as_str()).skip(1);
    paths.map(|path| (name_at(path), path[name_at(path).len()..].strip_prefix("::").map_or("", name_at))).collect()
}

/// Which arrows point up, or from room to room on one step.
fn wrong_arrows(layer: &str, steps: &[&[&str]]) -> Vec<String> {
    let step = |room: &str| steps.iter().position(|rooms| rooms.contains(&room));
    let mut wrong = Vec::new();
    for (room, file, text) in files_in_rooms(layer) {
        let own = step(&room);
        if own.is_none() {
            wrong.push(format!("{layer}/{room} has no step"));
        }
        if text.contains("super::super") || text.contains("crate::{") {
            wrong.push(format!("{layer}/{room}/{file} names another room without saying which"));
        }
        for (other, item) in named(layer, &text) {
            if other != room && step(other).is_none_or(|other| Some(other) >= own) {
                wrong.push(format!("{layer}/{room}/{file} names {other}::{item}"));
            }
        }
    }
    wrong
}

/// The files of a layer that name each other in a circle, or what names them.
fn circles(layer: &str) -> Vec<String> {
    let mut files: Vec<(String, Vec<String>)> = files_in_rooms(layer)
        .into_iter()
        .map(|(room, file, text)| {
            let names = named(layer, &text).iter().map(|(room, file)| format!("{room}/{file}")).collect();
            (format!("{room}/{file}"), names)
        })
        .collect();
    loop {
        let left: Vec<String> = files.iter().map(|(file, _)| file.clone()).collect();
        // Whoever names nothing of what is left stands in no circle, nor does who is named by nothing of it.
        files.retain(|(file, names)| names.iter().any(|name| name != file && left.contains(name)));
        let named: Vec<String> = files.iter().flat_map(|(file, names)| names.iter().filter(move |name| *name != file)).cloned().collect();
        files.retain(|(file, _)| named.contains(file));
        if files.len() == left.len() {
            return left;
        }
    }
}

#[test]
fn a_room_names_only_rooms_below_it() {
    for (layer, steps) in [("store", &STORE[..]), ("value", &VALUE)] {
        let mut known: Vec<&str> = steps.concat();
        let mut found: Vec<String> = files_in_rooms(layer).into_iter().map(|(room, ..)| room).collect();
        known.sort_unstable();
        found.sort();
        found.dedup();
        assert_eq!(found, known, "the rooms of {layer}");
        let wrong = wrong_arrows(layer, steps);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn no_files_of_a_layer_with_rooms_name_each_other_in_a_circle() {
    // The store carries whoever makes its canonical form, and that is asked about a store.
    let mut found = circles("store");
    found.sort();
    assert_eq!(found, ["core/canon", "core/how", "core/shared"]);
    assert_eq!(circles("value"), [""; 0]);
}

/// A method of `Shared` may stand in any room, so calls of them go past the arrows. Those that do are counted.
#[test]
fn a_room_calls_only_known_methods_of_rooms_above_it() {
    let step = |room: &str| STORE.iter().position(|rooms| rooms.contains(&room));
    let files = files_in_rooms("store");
    let mut methods: Vec<(String, &str)> = Vec::new();
    for (room, _, text) in &files {
        let mut is_shared = false;
        for line in text.lines() {
            if line.starts_with("impl") {
                is_shared = ["Shared {", "Locked<S> {", "Transaction<S> {"].iter().any(|end| line.ends_with(end));
            }
            let name = ["    pub(crate) fn ", "    pub(super) fn "].iter().find_map(|start| line.strip_prefix(start)).map(name_at);
            methods.extend(name.filter(|_| is_shared).map(|name| (room.clone(), name)));
        }
    }
    assert!(methods.len() > 100, "only {} methods were found", methods.len());
    // Of names that several types have it is not known whose is called.
    let is_one = |name: &str| methods.iter().filter(|(_, other)| *other == name).count() == 1;
    let mut called: Vec<(String, String, String)> = Vec::new();
    for (room, _, text) in &files {
        for (above, name) in methods.iter().filter(|(above, name)| above != room && step(above) >= step(room) && is_one(name)) {
            let is_own = [format!("fn {name}("), format!("fn {name}<")].iter().any(|head| text.contains(head));
            let is_called = text.match_indices(&format!(".{name}(")).any(|(at, _)| {
                let receiver = text[..at].trim_end().trim_end_matches("()");
                ["self", "shared", "locked", "store", "copy"].iter().any(|name| receiver.ends_with(name))
            });
            if is_called && !is_own {
                called.push((room.clone(), above.clone(), (*name).to_owned()));
            }
        }
    }
    let known = CALLED_UP.iter().flat_map(|(room, above, names)| names.iter().map(|name| (*room, *above, *name)));
    let mut known: Vec<(String, String, String)> = known.map(|(room, above, name)| (room.into(), above.into(), name.into())).collect();
    known.sort();
    called.sort();
    called.dedup();
    assert_eq!(called, known);
}

#[test]
fn unsafe_stands_only_where_it_may_and_is_argued_for() {
    let allowed = |path: &Path| {
        path.starts_with("sys")
            || path.starts_with("segment")
            || path.starts_with("value/archive/archived.rs")
            || path.starts_with("value/writing/stored.rs")
    };
    // A single call of a function that only a caller who is alone may call.
    let single = ["store/attach/open.rs"];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let lines: Vec<&str> = text.lines().collect();
        let uses: Vec<usize> = (0..lines.len())
            .filter(|index| {
                let line = lines[*index].split("//").next().unwrap();
                !line.trim_start().starts_with('#')
                    && (line.contains("unsafe {") || line.contains("unsafe impl") || line.contains("unsafe fn"))
            })
            .collect();
        let is_single = single.iter().any(|name| path.ends_with(name)) && uses.len() == 1;
        if !uses.is_empty() && !allowed(&path) && !is_single {
            wrong.push(format!("{}: unsafe outside of its layers", path.display()));
        }
        for index in uses {
            let above = lines[index.saturating_sub(12)..=index].join("\n");
            if !above.contains("SAFETY:") && !above.contains("# Safety") {
                wrong.push(format!("{}:{}: unsafe without an argument", path.display(), index + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The code of a file, without comments and without tests of its own, line by line.
fn code(text: &str) -> impl Iterator<Item = &str> {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    text.lines().map(|line| line.split("// ").next().unwrap()).filter(|line| !line.trim_start().starts_with("//"))
}

/// What changes files, or memory that processes share.
const CHANGES: [&str; 29] = [
    ".store(",
    "fetch_",
    "compare_exchange",
    "write_bytes",
    "copy_nonoverlapping",
    "fallocate",
    "ftruncate",
    "set_len(",
    "write_all",
    "write_at(",
    "pwrite",
    "sync_data(",
    "sync_all(",
    "fsync(",
    "msync(",
    "fs::write(",
    "fs::rename",
    "renameat",
    "fs::copy(",
    "hard_link(",
    "create_dir",
    "create_new(true)",
    "remove_file(",
    "remove_dir",
    "set_permissions(",
    "::try_lock_exclusive(",
    "F_OFD_SETLK",
    "FUTEX_WAKE,",
    "pthread_mutex_",
];

/// A new change of shared state is a crash point without anybody thinking of it: there is no way to make one but through
/// `sys`, and there none without a point.
#[test]
fn whatever_changes_shared_state_passes_a_crash_point() {
    // Memory of one process: what a fork copies, and the crash points' own.
    let private = ["fork.rs", "fork_lock.rs", "crash.rs", "signals.rs"];
    let mut wrong = Vec::new();
    let mut points = 0;
    for (path, text) in sources() {
        let is_system = path.starts_with("sys");
        if is_system && private.iter().any(|name| path.ends_with(name)) || path.starts_with("fuzzing.rs") {
            continue;
        }
        let lines: Vec<&str> = code(&text).collect();
        if !is_system {
            for line in &lines {
                // Files, and shared words of other types than `sys::atomic` counts. `self.generation` and the like are of one process.
                let forbidden = ["libc::", "nix::", "memmap2", "OpenOptions", "File::create", "std::fs::File::options"];
                let changes_file = CHANGES[4..].iter().any(|change| line.contains(change)) && !line.contains("file::");
                let is_shared = path.starts_with("segment") && (line.contains("AtomicU") || line.contains("AtomicI"));
                if forbidden.iter().any(|name| line.contains(name)) || changes_file || is_shared {
                    wrong.push(format!("{}: only `sys` may: {}", path.display(), line.trim()));
                }
            }
            continue;
        }
        // From one `fn` to the next.
        let text = lines.join("\n");
        for function in text.split("fn ").skip(1) {
            let name = function.split(['(', '<']).next().unwrap();
            let is_point = function.contains("crash::point(") || function.contains("self.store(");
            points += usize::from(is_point);
            // Bytes of records before they are sealed: `Heap::write` has points in the middle of them and behind them.
            if CHANGES.iter().any(|change| function.contains(change))
                && !is_point
                && (name, path.file_name().unwrap()) != ("fill", "atomic.rs".as_ref())
            {
                wrong.push(format!("{}: no crash point in {name}", path.display()));
            }
        }
    }
    assert!(points > 15, "only {points} functions with points were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_short_and_finished() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let code =
            text.split("#[cfg(test)]\nmod tests {").next().unwrap().lines().filter(|line| !line.trim_start().starts_with("//")).count();
        if code > 500 {
            wrong.push(format!("{}: {code} lines without comments", path.display()));
        }
        for word in ["todo!(", "unimplemented!(", "FIXME", "TODO", "dbg!("] {
            if text.contains(word) {
                wrong.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_dependency_needs_a_newer_rust_than_is_stated() {
    let host = if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };
    let mut cargo = std::process::Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", host]);
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let version = |text: &str| -> Vec<u64> { text.split('.').map(|part| part.parse().unwrap()).collect() };
    let stated = version(env!("CARGO_PKG_RUST_VERSION"));
    let packages = metadata["packages"].as_array().unwrap();
    let newer = |package: &&serde_json::Value| {
        let needed = package["rust_version"].as_str().map(version).unwrap_or_default();
        needed.iter().chain(&[0; 3]).take(3).gt(stated.iter().chain(&[0; 3]).take(3))
    };
    let wrong: Vec<String> = packages.iter().filter(newer).map(|package| package["name"].to_string()).collect();
    assert!(packages.len() > 20 && wrong.is_empty(), "newer than {stated:?}: {wrong:?}");
}
