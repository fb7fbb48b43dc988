//! Counts the words of real files into one pod, with a pool of processes made by fork.
//!
//! `cargo run --release --example wordcount -- words.pod /usr/share/common-licenses`
//!
//! Every process uses the handle that was opened before the fork. Killed in the middle and started again, it goes on
//! with the files that are not counted yet: a file's words and the note that it is done are one transaction.

use nix::sys::wait::wait;
use nix::unistd::{ForkResult, fork};
use std::collections::HashMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use tastypod::Pod;

const WORKERS: usize = 4;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let pod = Pod::open(arguments.next().unwrap_or_else(|| "words.pod".to_owned()))?;
    let roots: Vec<String> = arguments.collect();
    let roots = if roots.is_empty() { vec!["/usr/share/common-licenses".to_owned()] } else { roots };
    let mut files = Vec::new();
    for root in &roots {
        collect(Path::new(root), &mut files)?;
    }
    println!("{} files, {} workers", files.len(), WORKERS);
    for worker in 0..WORKERS {
        // SAFETY: the process has one thread, so the child may do anything.
        #[allow(unsafe_code)]
        if let ForkResult::Child = unsafe { fork() }? {
            let outcome = files.iter().skip(worker).step_by(WORKERS).try_for_each(|file| count(&pod, file));
            if let Err(error) = &outcome {
                eprintln!("worker {worker}: {error}");
            }
            std::process::exit(i32::from(outcome.is_err()));
        }
    }
    for _ in 0..WORKERS {
        wait()?;
    }
    report(&pod)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    } else if path.is_file() {
        files.push(path.to_owned());
    }
    Ok(())
}

fn count(pod: &Pod, file: &Path) -> tastypod::Result<()> {
    let done = ("file", file.to_string_lossy());
    if pod.contains_key(&done)? {
        return Ok(());
    }
    let Ok(bytes) = std::fs::read(file) else { return Ok(()) };
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    let mut counts: HashMap<&str, u64> = HashMap::new();
    for word in text.split(|letter: char| !letter.is_alphabetic()).filter(|word| !word.is_empty()) {
        *counts.entry(word).or_default() += 1;
    }
    pod.transaction(|txn| {
        for (word, count) in &counts {
            txn.at(*word).or_insert(0).add(*count)?;
        }
        txn.set(&done, counts.values().sum::<u64>())
    })
}

fn report(pod: &Pod) -> Result<(), Box<dyn Error>> {
    let mut words: Vec<(u64, String)> = Vec::new();
    let (mut files, mut total) = (0, 0);
    let snapshot = pod.snapshot()?;
    for entry in snapshot.entries() {
        let (key, value) = entry?;
        let count = value.as_i64().unwrap_or(0) as u64;
        match key.as_str() {
            Some(word) => words.push((count, word.to_owned())),
            None => {
                files += 1;
                total += count;
            }
        }
    }
    assert_eq!(total, words.iter().map(|(count, _)| count).sum::<u64>(), "no word is lost or counted twice");
    words.sort_by(|one, other| other.cmp(one));
    println!("{files} files, {total} words, {} different", words.len());
    for (count, word) in words.iter().take(10) {
        println!("{count:>8}  {word}");
    }
    Ok(())
}
