//! `tastypod retry`, `abort` and `reset`: what a person changes about tasks.

use crate::outcome::{Outcome, Result, Trouble};
use crate::select::Selection;
use crate::{output, store};
use serde_json::{Value, json};
use std::path::PathBuf;
use tastypod::{Key, Tracker};

/// Has failed tasks tried anew, as if they never had been. Without TASKs and conditions: all that failed.
#[derive(clap::Args)]
pub struct Retry {
    /// The tracker's directory
    tracker: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

/// Aborts tasks: nobody does them any more. What is done stays done; a task that is under way is finished.
#[derive(clap::Args)]
pub struct Abort {
    /// The tracker's directory
    tracker: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// All that is not done
    #[arg(long)]
    all: bool,
    /// Why, for `tastypod failures`
    #[arg(long)]
    reason: Option<String>,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

/// Makes tasks as they were when they were added: not done, not aborted, never tried, without results of `tastypod run`.
#[derive(clap::Args)]
pub struct Reset {
    /// The tracker's directory
    tracker: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// All tasks
    #[arg(long)]
    all: bool,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

/// What an attempt leaves in a task.
const RESULTS: [&str; 11] = [
    "_error",
    "_not_before",
    "exit",
    "signal",
    "seconds",
    "stdout",
    "stderr",
    "stdout_bytes",
    "stderr_bytes",
    "stdout_lossy",
    "stderr_lossy",
];

/// Tasks that are changed as one transaction.
const BATCH: usize = 4096;

/// Says what was done to how many.
pub fn told(count: usize, what: &str, is_json: bool) -> Result<()> {
    if is_json {
        output::print(|out| output::line(out, json!({"schema": output::SCHEMA, what: count})))?;
    } else {
        eprintln!("tastypod: {} {what}", output::grouped(count as u64));
    }
    Ok(())
}

/// Gives the tracker up, so that what cannot be saved is an error, and says what was done to how many.
fn end(tracker: &Tracker, count: usize, what: &str, is_json: bool, all_there: bool) -> Result {
    told(count, what, is_json)?;
    tracker.pod().clone().close()?;
    Ok(if all_there { Outcome::Done } else { Outcome::Absent })
}

/// The keys that are meant, of those that are there, and whether all that were named are.
fn selected(tracker: &Tracker, selection: &Selection, is_all: bool, is_candidate: impl Fn(&Value) -> bool) -> Result<(Vec<Key>, bool)> {
    if selection.is_empty() != is_all {
        return Err(Trouble::usage("name tasks, or give conditions with --where, or --all"));
    }
    if let Some(named) = selection.named()? {
        let all_there = crate::select::all_present(&named, |key| tracker.contains_key(key))?;
        let mut keys = Vec::new();
        for key in named {
            if tracker.get(&key)?.is_some_and(|task| is_candidate(&task) && selection.matches(&task)) {
                keys.push(key);
            }
        }
        return Ok((keys, all_there));
    }
    let mut keys = Vec::new();
    for entry in tracker.iter() {
        let (key, task) = entry?;
        if is_candidate(&task) && selection.matches(&task) {
            keys.push(key);
        }
    }
    Ok((keys, true))
}

pub fn retry(args: &Retry) -> Result {
    let tracker = store::tracker(&args.tracker)?;
    let named = args.selection.named()?;
    let mut all_there = true;
    let keys = match named {
        Some(named) => {
            all_there = crate::select::all_present(&named, |key| tracker.contains_key(key))?;
            let matches = |key: &Key| Ok::<_, Trouble>(tracker.get(key)?.is_some_and(|task| args.selection.matches(&task)));
            named.into_iter().filter_map(|key| matches(&key).map(|is| is.then_some(key)).transpose()).collect::<Result<Vec<_>>>()?
        }
        None => {
            let failures =
                tracker.failures().filter(|failure| failure.as_ref().map_or(true, |failure| args.selection.matches(&failure.value)));
            failures.map(|failure| Ok(failure?.key)).collect::<Result<Vec<_>>>()?
        }
    };
    let count = tracker.retry(keys)?;
    end(&tracker, count, "retried", args.json, all_there)
}

pub fn abort(args: &Abort) -> Result {
    let tracker = store::tracker(&args.tracker)?;
    let flag = |task: &Value, name: &str| task.get(name).and_then(Value::as_bool).unwrap_or(false);
    let (keys, all_there) = selected(&tracker, &args.selection, args.all, |task| !flag(task, "_done") && !flag(task, "_aborted"))?;
    let mut count = 0;
    for keys in keys.chunks(BATCH) {
        count += tracker.transaction(|t| {
            let mut count = 0;
            for key in keys.iter() {
                // Somebody may have removed it, or done it, meanwhile.
                if !t.contains_key(key)? || t.done(key)? {
                    continue;
                }
                t.abort(key)?;
                if let Some(reason) = &args.reason {
                    t.at(key).key("_error").set(reason)?;
                }
                count += 1;
            }
            Ok(count)
        })?;
    }
    end(&tracker, count, "aborted", args.json, all_there)
}

pub fn reset(args: &Reset) -> Result {
    let tracker = store::tracker(&args.tracker)?;
    let (keys, all_there) = selected(&tracker, &args.selection, args.all, |_| true)?;
    let mut count = 0;
    for keys in keys.chunks(BATCH) {
        count += tracker.transaction(|t| {
            let mut count = 0;
            for key in keys.iter() {
                if !t.contains_key(key)? {
                    continue;
                }
                t.update(key, |task| {
                    if let Value::Object(task) = task {
                        RESULTS.iter().for_each(|name| drop(task.shift_remove(*name)));
                        task.insert("_tries".to_owned(), 0.into());
                        task.insert("_done".to_owned(), false.into());
                        task.insert("_aborted".to_owned(), false.into());
                    }
                })?;
                count += 1;
            }
            Ok(count)
        })?;
    }
    end(&tracker, count, "reset", args.json, all_there)
}
