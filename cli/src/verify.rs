//! `tastypod verify`: whether a store contradicts itself.

use crate::outcome::{Outcome, Result, Trouble};
use crate::{output, store};
use serde_json::json;
use std::path::{Path, PathBuf};
use tastypod::ErrorKind;

/// Checks a whole store: each transaction, key and counter, and each line of its files. Changes nothing.
#[derive(clap::Args)]
pub struct Args {
    /// The store's directory
    store: PathBuf,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

/// A shard and its number.
pub fn shards(store: &Path) -> std::io::Result<Vec<(u64, PathBuf)>> {
    let number = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        name.strip_suffix(".json").or_else(|| name.strip_suffix(".json.gz"))?.parse().ok()
    };
    let mut shards = Vec::new();
    for entry in std::fs::read_dir(store)? {
        let path = entry?.path();
        if let Some(number) = number(&path) {
            shards.push((number, path));
        }
    }
    shards.sort();
    Ok(shards)
}

/// What is wrong with the lines of the files.
fn in_files(store: &Path) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for (_, path) in shards(store).map_err(|error| Trouble::io(store.display(), &error))? {
        let read = tastypod::shard::read(&path).and_then(|entries| entries.raw().try_for_each(|entry| entry.map(drop)));
        match read {
            // A checkpoint of somebody else may have put another in its place: that is none of ours.
            Err(_) if !path.exists() => {}
            Err(error) => findings.push(error.to_string()),
            Ok(()) => {}
        }
    }
    Ok(findings)
}

/// What `verify` tells.
pub struct Looked {
    /// All that is wrong.
    pub findings: Vec<String>,
    /// In words, what was looked at.
    said: String,
    put_aside: Vec<PathBuf>,
}

/// All that is wrong, and in words what was looked at.
pub fn look(path: &Path) -> Result<Looked> {
    let report = match store::pod_to_read(path) {
        Ok(pod) => pod.verify()?,
        Err(trouble) if trouble.code == 4 => {
            return Ok(Looked { findings: vec![trouble.message], said: "it cannot be opened".to_owned(), put_aside: Vec::new() });
        }
        Err(trouble) => return Err(trouble),
    };
    let mut findings = report.findings().to_vec();
    findings.extend(in_files(path)?);
    let said = report.to_string().lines().next().unwrap_or_default().to_owned();
    Ok(Looked { findings, said, put_aside: report.put_aside().to_owned() })
}

pub fn verify(args: &Args) -> Result {
    let Looked { findings, said, put_aside } = look(&args.store)?;
    output::print(|out| {
        if args.json {
            return output::line(
                out,
                json!({"schema": output::SCHEMA, "clean": findings.is_empty(), "findings": findings, "put_aside": put_aside}),
            );
        }
        output::line(out, said)?;
        findings.iter().try_for_each(|finding| output::line(out, format!("  {finding}")))?;
        let aside = |path: &PathBuf| output::line(out, format!("  put aside, since a part of it was let go: {}", path.display()));
        put_aside.iter().try_for_each(aside)
    })?;
    Ok(if findings.is_empty() { Outcome::Done } else { Outcome::Corrupt })
}

/// Whether an error is about bytes that contradict themselves.
pub fn is_damage(error: &tastypod::Error) -> bool {
    matches!(error.kind(), ErrorKind::Integrity { .. })
}
