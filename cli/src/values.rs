//! `tastypod get`, `set` and `rm`: single values.

use crate::change::told;
use crate::outcome::{Outcome, Result, Trouble};
use crate::select::{KeyForm, no_such_key};
use crate::{output, store};
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::Read;
use std::path::PathBuf;
use tastypod::ErrorKind;

/// Prints a value as JSON.
#[derive(clap::Args)]
pub struct Get {
    /// The store's directory
    store: PathBuf,
    /// The key
    key: String,
    /// Only the part of the value at this JSON pointer: /a/0
    #[arg(short, long, value_name = "POINTER")]
    pointer: Option<String>,
    /// A string is printed as it stands, without quotes
    #[arg(short, long)]
    raw: bool,
    #[command(flatten)]
    form: KeyForm,
}

/// Sets a value. A store that is not there is made.
#[derive(clap::Args)]
pub struct Set {
    /// The store's directory
    store: PathBuf,
    /// The key
    key: String,
    /// JSON; - reads it from standard input
    #[arg(allow_hyphen_values = true)]
    value: String,
    /// Only the part of the value at this JSON pointer: /a/0
    #[arg(short, long, value_name = "POINTER")]
    pointer: Option<String>,
    /// The value is a string as it stands, and no JSON
    #[arg(short, long)]
    string: bool,
    #[command(flatten)]
    form: KeyForm,
}

/// Removes keys.
#[derive(clap::Args)]
pub struct Rm {
    /// The store's directory
    store: PathBuf,
    /// The keys
    #[arg(required = true)]
    keys: Vec<String>,
    /// One line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    form: KeyForm,
}

fn absent(what: impl std::fmt::Display) -> Result {
    eprintln!("tastypod: {what}");
    Ok(Outcome::Absent)
}

pub fn get(args: &Get) -> Result {
    let pod = store::pod_to_read(&args.store)?;
    let key = args.form.key(&args.key)?;
    let text = match args.pointer.as_deref().filter(|pointer| !pointer.is_empty()) {
        // Digits as they stand.
        None => pod.raw_json(&key)?,
        Some(pointer) => match pod.at(&key).pointer(pointer).get_as::<Box<RawValue>>() {
            Ok(value) => value.map(|value| value.get().to_owned()),
            Err(error) if error.kind() == ErrorKind::KeyNotFound => None,
            Err(error) => return Err(error.into()),
        },
    };
    let Some(text) = text else {
        let there = args.pointer.as_ref().filter(|_| pod.contains_key(&key).unwrap_or(false));
        return absent(
            there.map_or_else(|| no_such_key(&key, |key| pod.contains_key(key)), |pointer| format!("{key}: there is nothing at {pointer}")),
        );
    };
    let text = match serde_json::from_str(&text) {
        Ok(Value::String(bare)) if args.raw => bare,
        _ => text,
    };
    output::print(|out| output::line(out, text))?;
    Ok(Outcome::Done)
}

pub fn set(args: &Set) -> Result {
    let pod = store::pod_or_new(&args.store)?;
    let key = args.form.key(&args.key)?;
    let mut text = args.value.clone();
    if text == "-" {
        text.clear();
        std::io::stdin().lock().read_to_string(&mut text).map_err(|error| Trouble::io("standard input", &error))?;
        if args.string && text.ends_with('\n') {
            text.pop();
        }
    }
    if args.string {
        text = Value::from(text).to_string();
    }
    let raw: &RawValue = match serde_json::from_str(&text) {
        Ok(raw) => raw,
        Err(error) => return Err(Trouble::usage(format!("{text} is no JSON: {error}; a string needs quotes, or --string"))),
    };
    match args.pointer.as_deref().filter(|pointer| !pointer.is_empty()) {
        None => pod.set_raw_json(&key, &text)?,
        Some(pointer) => match pod.at(&key).pointer(pointer).set(raw) {
            Err(error) if error.kind() == ErrorKind::KeyNotFound && !pod.contains_key(&key)? => {
                return absent(format!("{}; set it without --pointer first", no_such_key(&key, |key| pod.contains_key(key))));
            }
            Err(error) if error.kind() == ErrorKind::KeyNotFound => {
                return absent(format!("{key}: there is no place at {pointer}: only the last step may be new, and only in an object"));
            }
            outcome => outcome?,
        },
    }
    pod.close()?;
    Ok(Outcome::Done)
}

pub fn rm(args: &Rm) -> Result {
    let pod = store::pod(&args.store)?;
    let keys = args.form.keys(&args.keys)?;
    let all_there = crate::select::all_present(&keys, |key| pod.contains_key(key))?;
    let count = pod.transaction(|t| {
        let mut count = 0;
        for key in &keys {
            if t.contains_key(key)? {
                // What is removed is returned, and a number in it that would be rounded is an error: this value has none.
                t.set_raw_json(key, "{}")?;
                t.remove(key)?;
                count += 1;
            }
        }
        Ok(count)
    })?;
    pod.close()?;
    told(count, "removed", args.json)?;
    Ok(if all_there { Outcome::Done } else { Outcome::Absent })
}
