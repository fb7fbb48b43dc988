//! `tastypod export`: all entries, as JSON lines or as a directory of tastypy.

use crate::outcome::{Outcome, Result, Trouble};
use crate::{output, store};
use serde_json::json;
use std::path::{Path, PathBuf};
use tastypod::{Conversion, ErrorKind, Key, KeyDialect, Options, Pod};

/// Writes all entries of one instant to standard output, as JSON lines {"key": …, "value": …}; or into a new directory for tastypy.
#[derive(clap::Args)]
pub struct Args {
    /// The store's directory
    store: PathBuf,
    /// JSON lines; this is what is done without any option
    #[arg(long, conflicts_with = "tastypy")]
    jsonl: bool,
    /// Into this directory, which must be new, for the Python library tastypy
    #[arg(long, value_name = "DIRECTORY")]
    tastypy: Option<PathBuf>,
    /// Entries in a file, which tastypy must be told too (its default is 1000)
    #[arg(long, default_value_t = 1000, requires = "tastypy", value_parser = clap::value_parser!(u64).range(1..))]
    file_size: u64,
}

/// Calls a body with all entries of one instant, values as JSON text.
fn each(pod: &Pod, mut body: impl FnMut(Key, String) -> Result<()>) -> Result<()> {
    let snapshot = pod.snapshot()?;
    for entry in snapshot.entries() {
        let (key, part) = entry?;
        let key = key.to_key()?;
        let text = match part.to_value() {
            Ok(value) => value.to_string(),
            // Numbers with more digits than a value has: as they stand now.
            Err(error) if error.kind() == ErrorKind::InvalidValue => match pod.raw_json(&key)? {
                Some(text) => text,
                None => continue,
            },
            Err(error) => return Err(error.into()),
        };
        body(key, text)?;
    }
    Ok(())
}

pub fn export(args: &Args) -> Result {
    let pod = store::pod_to_read(&args.store)?;
    if let Some(directory) = &args.tastypy {
        return to_tastypy(&pod, directory, args.file_size);
    }
    output::print(|out| each(&pod, |key, text| output::line(out, format!("{{\"key\":{},\"value\":{text}}}", json!(key)))))?;
    Ok(Outcome::Done)
}

fn to_tastypy(pod: &Pod, directory: &Path, file_size: u64) -> Result {
    if directory.exists() {
        return Err(Trouble::usage(format!("{} is there already; name a directory that is not", directory.display())));
    }
    let target = Options::new().file_size(file_size).open(directory)?;
    let mut count = 0_u64;
    let mut waiting: Vec<(Key, String)> = Vec::new();
    let flush = |waiting: &mut Vec<(Key, String)>| {
        let entries = std::mem::take(waiting);
        target.transaction(|t| entries.iter().try_for_each(|(key, text)| t.set_raw_json(key, text)))
    };
    each(pod, |key, text| {
        count += 1;
        waiting.push((key, text));
        if waiting.len() >= 4096 {
            flush(&mut waiting)?;
        }
        Ok(())
    })?;
    flush(&mut waiting)?;
    target.convert(Conversion::new().key_dialect(KeyDialect::Tastypy))?;
    target.close()?;
    eprintln!("tastypod: {} exported; open it with file_size={file_size}", output::grouped(count));
    Ok(Outcome::Done)
}
