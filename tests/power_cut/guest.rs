//! What runs in a machine whose power is cut: `run.py` beside it starts the machine, hears on the serial console what was acknowledged, and
//! compares with what is found after the next start.
//!
//! Writers commit, one after the other, transactions of which number n leaves `(writer, "count")` at n and n in place n modulo 64. One writer's
//! are acknowledged when they are durable, the other's when a `sync` after them returned. So what is found tells exactly which
//! prefix of each writer's commits is there, and any mix.

use std::io::Write;
use std::path::Path;
use tastypod::{Durability, Options, Pod, SyncMode};

const PLACES: u64 = 64;

fn say(text: &str) {
    // In one write: several processes talk.
    let _ = std::io::stdout().write_all(format!("{text}\n").as_bytes());
}

/// The number of the last commit of a writer, if all is as it left it.
fn found(pod: &Pod, writer: &str) -> Result<u64, String> {
    let read = |place: &str| pod.get_as::<u64>((writer, place)).map_err(|error| error.to_string());
    let count = read("count")?.unwrap_or(0);
    for place in 0..PLACES {
        let expected = (0..=count).rev().take(PLACES as usize).find(|number| *number > 0 && number % PLACES == place);
        let there = pod.get_as::<(u64, String)>((writer, place)).map_err(|error| error.to_string())?;
        if there.as_ref().map(|there| there.0) != expected {
            return Err(format!("of {count} commits of {writer}, place {place} has {there:?} and not {expected:?}"));
        }
    }
    Ok(count)
}

fn check(path: &Path, what: &str) -> tastypod::Result<()> {
    let pod = Options::new().sync_mode(SyncMode::Manual).open(path)?;
    for writer in ["durable", "other", "saved"] {
        match found(&pod, writer) {
            Ok(count) => say(&format!("found {what} {writer} {count}")),
            Err(wrong) => say(&format!("wrong {what} {wrong}")),
        }
    }
    let report = pod.verify()?;
    if !report.is_clean() {
        say(&format!("wrong {what} {report}"));
    }
    Ok(())
}

fn write(path: &Path, writer: &str, durability: Durability) -> tastypod::Result<()> {
    let pod = Options::new().durability(durability).sync_mode(SyncMode::Manual).file_size(50).open(path)?;
    let first = pod.get_as::<u64>((writer, "count"))?.unwrap_or(0) + 1;
    for number in first.. {
        let text = "x".repeat((number * 7919 % 2000) as usize);
        pod.transaction(|txn| {
            txn.set((writer, number % PLACES), (number, &text))?;
            txn.set((writer, "count"), number)
        })?;
        if durability == Durability::Disk {
            say(&format!("kept {writer} {number}"));
        } else if number % 20 == 0 {
            pod.sync()?;
            say(&format!("kept {writer} {number}"));
        }
    }
    Ok(())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["check", path, what] => check(Path::new(path), what),
        ["write", path, writer @ "saved"] => write(Path::new(path), writer, Durability::Process),
        ["write", path, writer] => write(Path::new(path), writer, Durability::Disk),
        _ => {
            println!("power_cut check STORE NAME | power_cut write STORE durable|other|saved; tests/power_cut/run.py uses it");
            Ok(())
        }
    };
    if let Err(error) = outcome {
        say(&format!("wrong {} {error}", words.join(" ")));
    }
}
