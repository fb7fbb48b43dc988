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

#[test]
fn unsafe_stands_only_where_it_may_and_is_argued_for() {
    let allowed = |path: &Path| {
        path.starts_with("sys")
            || path.starts_with("segment")
            || path.starts_with("value/archived.rs")
            || path.starts_with("value/stored.rs")
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
