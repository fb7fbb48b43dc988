//! `tastypod sync`, `compact` and `convert`: a store's files.

use crate::outcome::{Outcome, Result, Trouble};
use crate::{output, store};
use serde_json::{Value, json};
use std::path::PathBuf;
use tastypod::{Conversion, KeyDialect};

/// Saves a store: on return all that was committed before survives a power cut, and stands in its JSON files.
#[derive(clap::Args)]
pub struct Sync {
    /// The store's directory
    store: PathBuf,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

/// Makes a store small: closes the holes that removals left, and gives space back. Others may go on using it.
#[derive(clap::Args)]
pub struct Compact {
    /// The store's directory
    store: PathBuf,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

/// Changes the form of a store's JSON files, or makes a pod a tracker. Others may go on using it.
#[derive(clap::Args)]
pub struct Convert {
    /// The store's directory
    store: PathBuf,
    /// Entries in a file
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    file_size: Option<u64>,
    /// Files are compressed
    #[arg(long, conflicts_with = "plain")]
    gzip: bool,
    /// Files are not compressed
    #[arg(long)]
    plain: bool,
    /// How keys are written in the files
    #[arg(long, value_enum)]
    keys: Option<Dialect>,
    /// A pod becomes a tracker: values that are no objects become {"val": …}
    #[arg(long)]
    tracker: bool,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Dialect {
    /// As JSON
    Json,
    /// As tastypy reads them, with every backslash doubled
    Tastypy,
}

fn tell(is_json: bool, value: &Value, text: &str) -> Result {
    if is_json {
        output::print(|out| output::line(out, value))?;
    } else {
        eprintln!("tastypod: {text}");
    }
    Ok(Outcome::Done)
}

pub fn sync(args: &Sync) -> Result {
    let pod = store::pod(&args.store)?;
    let dirty = pod.dirty_len();
    pod.sync()?;
    pod.close()?;
    tell(args.json, &json!({"schema": output::SCHEMA, "saved": dirty}), &format!("{} changed keys saved", output::grouped(dirty as u64)))
}

pub fn compact(args: &Compact) -> Result {
    let pod = store::pod(&args.store)?;
    let before = pod.stats()?;
    pod.compact()?;
    let after = pod.stats()?;
    pod.close()?;
    let holes = |stats: &tastypod::Stats| stats.places - stats.keys.min(stats.places);
    let value = json!({
        "schema": output::SCHEMA,
        "disk_bytes": {"before": before.disk_bytes, "after": after.disk_bytes},
        "holes": {"before": holes(&before), "after": holes(&after)},
    });
    let kilobytes = |bytes: u64| output::grouped(bytes.div_ceil(1024));
    let text = format!(
        "shared state: {} → {} KiB; holes: {} → {}",
        kilobytes(before.disk_bytes),
        kilobytes(after.disk_bytes),
        holes(&before),
        holes(&after)
    );
    tell(args.json, &value, &text)
}

pub fn convert(args: &Convert) -> Result {
    let mut conversion = Conversion::new();
    if let Some(entries) = args.file_size {
        conversion = conversion.file_size(entries);
    }
    if args.gzip || args.plain {
        conversion = conversion.gzipped(args.gzip);
    }
    if let Some(dialect) = args.keys {
        conversion = conversion.key_dialect(if dialect == Dialect::Json { KeyDialect::Json } else { KeyDialect::Tastypy });
    }
    let has_form = args.file_size.is_some() || args.gzip || args.plain || args.keys.is_some();
    if !has_form && !args.tracker {
        return Err(Trouble::usage("say what to convert to: --file-size, --gzip, --plain, --keys or --tracker"));
    }
    let pod = store::pod(&args.store)?;
    if args.tracker {
        pod.convert_to_tracker()?;
    }
    if has_form {
        pod.convert(conversion)?;
    }
    pod.close()?;
    tell(args.json, &json!({"schema": output::SCHEMA, "converted": true}), "converted")
}
