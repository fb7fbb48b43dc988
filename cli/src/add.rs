//! `tastypod add`: puts tasks into a tracker.

use crate::outcome::{Outcome, Result, Trouble};
use crate::{items, output, store};
use serde_json::{Map, Value};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use tastypod::{Key, Tracker};

/// Adds tasks to a tracker, which is made if it is not there.
///
/// Tasks that are there already stay as they are. Without TASKs they are read from standard input, one a line. Items that cannot be tasks are
/// named on standard error and left out, all others are added, and the exit code is 1.
#[derive(clap::Args)]
pub struct Args {
    /// The tracker's directory
    tracker: PathBuf,
    /// Tasks; none: they are read from standard input
    tasks: Vec<std::ffi::OsString>,
    /// Items on standard input end with NUL, as those of `find -print0`
    #[arg(short = '0', long = "null", conflicts_with = "tasks")]
    null: bool,
    /// Items are JSON: a key (a string, an integer or an array of keys), or an object with a "key" and further fields of the task
    #[arg(long)]
    json: bool,
    /// Higher ones are done first (default 0)
    #[arg(long, allow_negative_numbers = true)]
    priority: Option<f64>,
    /// Say nothing of how many were added
    #[arg(short, long)]
    quiet: bool,
}

/// Tasks that are added as one transaction.
const BATCH: usize = 4096;

/// What goes into the tracker, and what was said of it.
struct Adding<'a> {
    args: &'a Args,
    tracker: Tracker,
    waiting: Vec<(Key, Map<String, Value>)>,
    added: usize,
    present: usize,
    refused: usize,
}

pub fn add(args: &Args) -> Result {
    if args.priority.is_some_and(|priority| !priority.is_finite()) {
        return Err(Trouble::usage("a priority is a finite number"));
    }
    let tracker = store::tracker_or_new(&args.tracker)?;
    let mut adding = Adding { args, tracker, waiting: Vec::new(), added: 0, present: 0, refused: 0 };
    if args.tasks.is_empty() {
        if std::io::stdin().is_terminal() {
            eprintln!("tastypod: reading tasks from the terminal, one a line; Ctrl-D ends");
        }
        let separator = if args.null { 0 } else { b'\n' };
        items::each(&mut std::io::stdin().lock(), separator, |number, item| adding.item(&format!("item {number}"), item))?;
    } else {
        for task in &args.tasks {
            adding.item("argument", task.as_encoded_bytes())?;
        }
    }
    adding.flush()?;
    let Adding { tracker, added, present, refused, .. } = adding;
    tracker.pod().clone().close()?;
    if !args.quiet {
        let mut text = format!("{} added", output::grouped(added));
        for (count, what) in [(present, "there already"), (refused, "refused")] {
            if count > 0 {
                text.push_str(&format!(", {} {what}", output::grouped(count)));
            }
        }
        let _ = writeln!(std::io::stderr(), "{text}");
    }
    Ok(if refused > 0 { Outcome::SomeFailed } else { Outcome::Done })
}

impl Adding<'_> {
    fn item(&mut self, place: &str, item: &[u8]) -> Result<()> {
        let task = items::text(item).and_then(|text| if self.args.json { of_json(text) } else { Ok((items::key(text)?, Map::new())) });
        match task {
            Ok((key, mut fields)) => {
                if let Some(priority) = self.args.priority.filter(|_| !fields.contains_key("_priority")) {
                    fields.insert("_priority".to_owned(), priority.into());
                }
                self.waiting.push((key, fields));
            }
            Err(why) => {
                self.refused += 1;
                eprintln!("tastypod: {place}: {why}");
            }
        }
        if self.waiting.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        let count = waiting.len();
        let added = self.tracker.transaction(|t| {
            if waiting.iter().all(|(_, fields)| fields.is_empty()) {
                return t.add_many_if_absent(waiting.iter().map(|(key, _)| key));
            }
            let mut added = 0;
            for (key, fields) in &waiting {
                if t.add_if_absent(key)? {
                    t.merge([(key, fields)])?;
                    added += 1;
                }
            }
            Ok(added)
        })?;
        self.added += added;
        self.present += count - added;
        Ok(())
    }
}

/// A task from JSON: a key alone, or an object with a key and fields.
fn of_json(text: &str) -> std::result::Result<(Key, Map<String, Value>), String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("no JSON: {error}: {text}"))?;
    let (key, fields) = match value {
        Value::Object(mut fields) => (fields.shift_remove("key").ok_or_else(|| format!("an object without \"key\": {text}"))?, fields),
        key => (key, Map::new()),
    };
    if let Some(name) = fields.keys().find(|name| name.starts_with('_') && !["_priority", "_not_before"].contains(&name.as_str())) {
        return Err(format!("unknown field {name}: those that begin with _ are reserved; _priority and _not_before may be set: {text}"));
    }
    if let Some((name, value)) = fields.iter().find(|(name, value)| name.starts_with('_') && !value.is_number()) {
        return Err(format!("{name} is a number, not {value}: {text}"));
    }
    let key = Key::from_json(&key.to_string()).map_err(|error| error.to_string())?;
    Ok((items::key(key)?, fields))
}

#[cfg(test)]
mod tests {
    use super::of_json;

    #[test]
    fn a_task_in_json_is_a_key_or_an_object_with_one() {
        assert_eq!(of_json("\"a\"").unwrap().0.as_str(), Some("a"));
        assert_eq!(of_json("7").unwrap().0.as_i64(), Some(7));
        let (key, fields) = of_json(r#"{"url": "x", "key": ["a", 1], "_priority": 2}"#).unwrap();
        assert_eq!(key.to_json(), r#"["a",1]"#);
        assert_eq!(serde_json::to_string(&fields).unwrap(), r#"{"url":"x","_priority":2}"#);
    }

    #[test]
    fn what_is_no_task_says_why() {
        for (text, why) in [
            ("{", "no JSON"),
            ("{}", "without \"key\""),
            ("1.5", "cannot be a key"),
            (r#"{"key": "a", "_tries": 3}"#, "unknown field _tries"),
            (r#"{"key": "a", "_priority": "high"}"#, "_priority is a number"),
        ] {
            let error = of_json(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
