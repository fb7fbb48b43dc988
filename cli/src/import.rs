//! `tastypod import`: entries from JSON lines, from directories of tastypy, and from joblogs of GNU parallel.

use crate::change::told;
use crate::outcome::{Outcome, Result, Trouble};
use crate::{items, output, store};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use tastypod::{ErrorKind, Key, Pod};

/// Takes entries into a store, which is made if it is not there.
///
/// JSON lines are {"key": …, "value": …}, as `tastypod export` writes them. A directory is one of tastypy, or any store. A joblog is what
/// `parallel --joblog` wrote: each command becomes a task, done if it succeeded; of several lines with one command the last one counts, and tasks
/// that were tried or done already stay as they are. Lines that make no sense are named on standard error and left out, all others are taken,
/// and the exit code is 1.
#[derive(clap::Args)]
pub struct Args {
    /// The store's directory
    store: PathBuf,
    /// A file, a directory, or - for standard input
    from: PathBuf,
    /// What it is (default: seen from what it begins with)
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// A new store is a tracker
    #[arg(long)]
    tracker: bool,
    /// What is there already stays as it is
    #[arg(long)]
    keep: bool,
    /// Of a joblog: what a command begins with before the task's key, as in --strip 'sha256sum '; the rest is read as one word of a shell
    #[arg(long, value_name = "PREFIX")]
    strip: Option<String>,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Jsonl,
    Joblog,
}

/// A line of JSON.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    key: Key,
    #[serde(borrow)]
    value: &'a RawValue,
}

/// How the header of a joblog begins.
const JOBLOG: &[u8] = b"Seq\tHost\t";

/// Whether a line is one that GNU parallel writes, or its header. With `--joblog +FILE` it writes none.
fn is_of_joblog(line: &[u8]) -> bool {
    line.starts_with(JOBLOG) || std::str::from_utf8(line).is_ok_and(|text| of_joblog(text, None).is_ok())
}

/// Entries that are taken as one transaction.
const BATCH: usize = 4096;

struct Importing<'a> {
    args: &'a Args,
    pod: Pod,
    /// With where each stood.
    waiting: Vec<(String, Key, String)>,
    format: Format,
    taken: usize,
    present: usize,
    refused: usize,
}

pub fn import(args: &Args) -> Result {
    if args.from.is_dir() {
        let from = store::pod_to_read(&args.from)?;
        let mut importing = Importing::begin(args, args.tracker, Format::Jsonl)?;
        for key in from.keys() {
            let key = key?;
            // One that was removed meanwhile is none to take.
            if let Some(text) = from.raw_json(&key)? {
                importing.take(key.to_json(), key, text)?;
            }
        }
        return importing.end();
    }
    let mut input: Box<dyn BufRead> = if args.from.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let failed = |error: std::io::Error| Trouble::usage(format!("{}: {error}", args.from.display()));
        Box::new(BufReader::new(File::open(&args.from).map_err(failed)?))
    };
    let begin = input.fill_buf().map_err(|error| Trouble::io(args.from.display(), &error))?;
    // The first line that says something. Of a long one the beginning tells enough: a command comes last.
    let first = begin.split(|byte| *byte == b'\n').find(|line| !line.is_empty()).unwrap_or_default();
    let (is_joblog, is_json) = (is_of_joblog(first), first.trim_ascii_start().starts_with(b"{"));
    let seen = if is_joblog { Format::Joblog } else { Format::Jsonl };
    let format = args.format.unwrap_or(seen);
    // What is something else altogether makes no store.
    if !first.is_empty() && !(if format == Format::Joblog { is_joblog } else { is_json }) {
        let first = String::from_utf8_lossy(&first[..first.len().min(100)]).into_owned();
        return Err(Trouble::usage(format!(
            "{}: neither lines of JSON as of tastypod export nor a joblog of GNU parallel; it begins with: {first}",
            args.from.display()
        )));
    }
    if format == Format::Joblog {
        eprintln!("tastypod: a joblog has only what has ended: add what was running and what had not begun with tastypod add");
    }
    let mut importing = Importing::begin(args, args.tracker || format == Format::Joblog, format)?;
    if format == Format::Joblog {
        importing.joblog(&mut input)?;
        return importing.end();
    }
    items::each(&mut input, b'\n', |number, line| match items::text(line).and_then(of_json) {
        Ok((key, text)) => importing.take(format!("line {number}"), key, text),
        Err(why) => {
            importing.refuse(&format!("line {number}"), &why);
            Ok(())
        }
    })?;
    importing.end()
}

impl Importing<'_> {
    fn begin(args: &Args, is_tracker: bool, format: Format) -> Result<Importing<'_>> {
        let pod = if is_tracker { store::tracker_or_new(&args.store)?.pod().clone() } else { store::pod_or_new(&args.store)? };
        Ok(Importing { args, pod, waiting: Vec::new(), format, taken: 0, present: 0, refused: 0 })
    }

    /// All of a joblog, where the last line of a command counts.
    fn joblog(&mut self, input: &mut dyn BufRead) -> Result<()> {
        let mut text = Vec::new();
        input.read_to_end(&mut text).map_err(|error| Trouble::io(self.args.from.display(), &error))?;
        let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
        let mut rows: Vec<(String, Key, String)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        items::each(&mut text.as_slice(), b'\n', |number, line| {
            // The header may come again where logs were joined.
            if line.starts_with(JOBLOG) {
                return Ok(());
            }
            let place = format!("line {number}");
            let row = items::text(line).and_then(|text| of_joblog(text, self.args.strip.as_deref()));
            match row {
                Ok(_) if number > lines => self.refuse(&place, &format!("it is cut off, and not taken: {}", String::from_utf8_lossy(line))),
                Ok((key, task)) => match places.get(&key) {
                    Some(known) => rows[*known] = (place, key, task),
                    None => {
                        places.insert(key.clone(), rows.len());
                        rows.push((place, key, task));
                    }
                },
                Err(why) => self.refuse(&place, &why),
            }
            Ok(())
        })?;
        rows.into_iter().try_for_each(|(place, key, task)| self.take(place, key, task))
    }

    fn refuse(&mut self, place: &str, why: &str) {
        self.refused += 1;
        eprintln!("tastypod: {place}: {why}");
    }

    fn take(&mut self, place: String, key: Key, text: String) -> Result<()> {
        self.waiting.push((place, key, text));
        if self.waiting.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        match self.put(&waiting) {
            Ok(taken) => {
                self.taken += taken;
                self.present += waiting.len() - taken;
            }
            // One that the store does not take keeps none of the others out.
            Err(error) if is_refusal(&error) => {
                for entry in &waiting {
                    match self.put(std::slice::from_ref(entry)) {
                        Ok(taken) => {
                            self.taken += taken;
                            self.present += 1 - taken;
                        }
                        Err(error) if is_refusal(&error) => self.refuse(&entry.0, &error.to_string()),
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Sets entries as one transaction. How many it were.
    fn put(&self, entries: &[(String, Key, String)]) -> tastypod::Result<usize> {
        self.pod.transaction(|t| {
            let mut taken = 0;
            for (_, key, text) in entries {
                let stays = match self.format {
                    _ if self.args.keep => t.contains_key(key)?,
                    Format::Jsonl => false,
                    // What the tracker knows of a task is newer than the log.
                    Format::Joblog => t.get(key)?.is_some_and(|task| task["_tries"].as_u64() != Some(0) || task["_done"] == true),
                };
                if !stays {
                    t.set_raw_json(key, text)?;
                    taken += 1;
                }
            }
            Ok(taken)
        })
    }

    fn end(mut self) -> Result {
        self.flush()?;
        self.pod.close()?;
        if self.present > 0 && !self.args.json {
            eprintln!("tastypod: {} there already, which stay as they are", output::grouped(self.present as u64));
        }
        told(self.taken, "imported", self.args.json)?;
        Ok(if self.refused == 0 { Outcome::Done } else { Outcome::SomeFailed })
    }
}

/// Whether an entry is at fault, and not the store.
fn is_refusal(error: &tastypod::Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidKey | ErrorKind::InvalidValue | ErrorKind::TypeMismatch { .. })
}

fn of_json(text: &str) -> std::result::Result<(Key, String), String> {
    let line: Line<'_> = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
    Ok((line.key, line.value.get().to_owned()))
}

/// Seq, Host, Starttime, JobRuntime, Send, Receive, Exitval, Signal, Command.
fn of_joblog(text: &str, strip: Option<&str>) -> std::result::Result<(Key, String), String> {
    let fields: Vec<&str> = text.splitn(9, '\t').collect();
    let [_, _, _, seconds, _, _, exit, signal, command] = fields[..] else { return Err(format!("no line of a joblog: {text}")) };
    let wrong = |field: &str| format!("{field} is no number: {text}");
    let whole = |field: &str| field.trim().parse::<i64>().map_err(|_| wrong(field));
    let seconds = seconds.trim().parse::<f64>().ok().filter(|seconds| seconds.is_finite()).ok_or_else(|| wrong(seconds))?;
    let (exit, signal) = (whole(exit)?, whole(signal)?);
    // GNU parallel writes a newline as NUL.
    let command = &command.replace('\0', "\n");
    let key = match strip {
        None => command.clone(),
        Some(prefix) => word(command.strip_prefix(prefix).ok_or_else(|| format!("the command does not begin with {prefix:?}: {text}"))?),
    };
    let is_done = exit == 0 && signal == 0;
    let mut task = json!({"_tries": 1, "_done": is_done, "_aborted": false, "exit": if signal == 0 && exit >= 0 { json!(exit) } else { Value::Null }, "seconds": seconds});
    if signal != 0 {
        task["signal"] = signal.into();
    }
    if !is_done {
        let why = match (signal, exit) {
            (0, -1) => "timed out".to_owned(),
            (0, exit) => format!("exit code {exit}"),
            (signal, _) => format!("killed by signal {signal}"),
        };
        task["_error"] = why.into();
    }
    Ok((Key::from(key), task.to_string()))
}

/// What a shell would take a word for, as GNU parallel quotes it.
fn word(text: &str) -> String {
    let mut word = String::new();
    let mut letters = text.trim().chars();
    let mut quote = None;
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            ('\'' | '"', None) => quote = Some(letter),
            (letter, Some(open)) if letter == open => quote = None,
            ('\\', None | Some('"')) => word.extend(letters.next()),
            _ => word.push(letter),
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joblog_tells_what_was_done() {
        let line = "2\t:\t1700000000.1\t     0.250\t0\t65\t1\t0\tsha256sum it\\'s\\ a.txt";
        let (key, task) = of_joblog(line, Some("sha256sum ")).unwrap();
        assert_eq!(key.as_str(), Some("it's a.txt"));
        let task: Value = serde_json::from_str(&task).unwrap();
        assert_eq!(task, json!({"_tries": 1, "_done": false, "_aborted": false, "exit": 1, "seconds": 0.25, "_error": "exit code 1"}));
        assert_eq!(of_joblog(line, None).unwrap().0.as_str(), Some("sha256sum it\\'s\\ a.txt"));
        assert!(of_joblog(line, Some("md5sum ")).unwrap_err().contains("does not begin"));
        assert!(of_joblog("1\t:\tx", None).is_err());
    }

    #[test]
    fn words_lose_their_quotes() {
        for (text, expected) in [("a", "a"), ("a\\ b", "a b"), ("'a'\\''b'", "a'b"), ("\"a\\\"b\"", "a\"b")] {
            assert_eq!(word(text), expected);
        }
    }
}
