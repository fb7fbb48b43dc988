//! `tastypod ls`: keys.

use crate::outcome::{Outcome, Result, Trouble};
use crate::select::Condition;
use crate::{output, store};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use tastypod::Key;

/// Prints the keys of a store, one a line, in order. A key that is no string is printed as JSON.
#[derive(clap::Args)]
pub struct Args {
    /// The store's directory
    store: PathBuf,
    /// Only tasks in this state
    #[arg(short, long, value_enum)]
    state: Option<State>,
    /// Only where a field is so: FIELD=VALUE, FIELD!=VALUE or FIELD~TEXT; several: all of them
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<Condition>,
    /// Keys end with NUL
    #[arg(short = '0', long = "null", conflicts_with = "json")]
    null: bool,
    /// Each key as JSON, as --json-keys reads it, in a line {"schema": 1, "key": …}
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum State {
    /// Done
    Done,
    /// To be done: also those that wait, and those that are under way
    Todo,
    /// Aborted, or tried as often as they may be
    Failed,
}

impl State {
    fn holds(self, task: &Value, max_tries: u64) -> bool {
        let flag = |name: &str| task.get(name).and_then(Value::as_bool).unwrap_or(false);
        let tries = task.get("_tries").and_then(Value::as_u64).unwrap_or(0);
        let has_failed = flag("_aborted") || max_tries != 0 && tries >= max_tries;
        match self {
            State::Done => flag("_done"),
            State::Todo => !flag("_done") && !has_failed,
            State::Failed => !flag("_done") && has_failed,
        }
    }
}

pub fn ls(args: &Args) -> Result {
    let pod = store::pod_to_read(&args.store)?;
    let print = |out: &mut dyn Write, key: &Key| {
        if args.null {
            return write!(out, "{key}\0").map_err(|error| Trouble::io("standard output", &error));
        }
        if args.json { output::line(out, json!({"schema": output::SCHEMA, "key": key})) } else { output::line(out, key) }
    };
    let max_tries = match args.state {
        None => 0,
        Some(_) => {
            let tracker = store::tracker_if_it_is_one(&args.store);
            tracker.ok_or_else(|| Trouble::usage(format!("{} is a pod; only tasks have states", args.store.display())))?.max_tries()
        }
    };
    output::print(|out| {
        if args.state.is_none() && args.conditions.is_empty() {
            return pod.keys().try_for_each(|key| print(out, &key?));
        }
        for entry in pod.iter() {
            let (key, value) = entry?;
            if args.state.is_none_or(|state| state.holds(&value, max_tries))
                && args.conditions.iter().all(|condition| condition.holds(&value))
            {
                print(out, &key)?;
            }
        }
        Ok(())
    })?;
    Ok(Outcome::Done)
}
