//! Which commands the tasks of a tracker were done with. A task is its key, so that one that is done stays done when another command comes;
//! but that is said, or results of two commands would stand beside each other unnoticed.

use crate::outcome::{Result, Trouble};
use crate::output;
use std::io::ErrorKind;
use std::path::Path;
use tastypod::Tracker;

/// In the tracker's directory: a JSON array of commands, as they could be typed.
const FILE: &str = "run.commands";

/// How many are kept, the latest last.
const KEPT: usize = 16;

/// Notes a command; what is to be said where tasks were done by others.
pub fn note(tracker: &Tracker, named: &Path, command: &str) -> Result<Option<String>> {
    let path = tracker.path().join(FILE);
    let failed = |error| Trouble::io(path.display(), &error);
    let mut known: Vec<String> = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(error)),
    };
    let progress = tracker.progress();
    if progress.done + progress.failed + progress.claimed == 0 {
        known.clear();
    }
    let others: Vec<String> = known.iter().filter(|known| *known != command).cloned().collect();
    if known.last().is_none_or(|last| last != command) {
        known = others.iter().cloned().chain([command.to_owned()]).collect();
        known.drain(..known.len().saturating_sub(KEPT));
        write(&path, &serde_json::json!(known).to_string()).map_err(failed)?;
    }
    let over = progress.done + progress.claimed;
    Ok(others.last().filter(|_| over > 0).map(|other| {
        let (count, named) = (output::grouped(over as u64), named.display());
        format!(
            "another command was run on this tracker: {other}; what is done or in work ({count}) stays as it is; to have all done anew: tastypod reset {named} --all"
        )
    }))
}

/// All of it or nothing.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension(format!("commands.{}", std::process::id()));
    std::fs::write(&new, format!("{text}\n")).and_then(|()| std::fs::rename(&new, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&new);
    })
}
