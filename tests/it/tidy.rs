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
const LAYERS: [&[&str]; 10] = [
    &["error", "limits"],
    &["sys"],
    &["segment"],
    &["log"],
    &["value", "key"],
    &["index"],
    &["store"],
    &["verify"],
    &["pod"],
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
    // Single calls of a function that only a caller who is alone may call, and of libc's registration of an exit handler.
    let single = ["store/open.rs", "store/membership.rs"];
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
