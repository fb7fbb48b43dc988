//! `tastypod failures`: what failed, by why.

use crate::outcome::{Outcome, Result};
use crate::select::Selection;
use crate::{output, store};
use serde_json::{Value, json};
use std::path::PathBuf;
use tastypod::Key;

/// Shows what failed, by why: tasks that were aborted, tried as often as they may be, or that wait to be tried again.
#[derive(clap::Args)]
pub struct Args {
    /// The tracker's directory
    tracker: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// Each task on a line of its own, with its error behind a tab
    #[arg(short, long, conflicts_with = "json")]
    list: bool,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

/// Failures for one reason.
struct Group {
    error: String,
    keys: Vec<Key>,
    /// How many will not be tried again.
    finals: usize,
    /// The last line that the first one wrote on standard error.
    said: String,
}

pub fn failures(args: &Args) -> Result {
    let tracker = store::tracker_to_read(&args.tracker)?;
    let named = args.selection.named()?;
    let mut groups: Vec<Group> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for failure in tracker.failures() {
        let failure = failure?;
        if named.as_ref().is_some_and(|named| !named.contains(&failure.key)) || !args.selection.matches(&failure.value) {
            continue;
        }
        let is_final = failure.is_final && !store::is_interrupted(&tracker, &failure);
        let error =
            failure.error.unwrap_or_else(|| (if failure.is_aborted { "aborted" } else { "tried as often as it may be" }).to_owned());
        let place = *places.entry(error.clone()).or_insert(groups.len());
        if place == groups.len() {
            let said = failure.value.get("stderr").and_then(Value::as_str).and_then(|text| text.lines().last());
            groups.push(Group { error, keys: Vec::new(), finals: 0, said: said.unwrap_or_default().to_owned() });
        }
        groups[place].finals += usize::from(is_final);
        groups[place].keys.push(failure.key);
    }
    // The most frequent reason first; else in order.
    groups.sort_by_key(|group| std::cmp::Reverse(group.keys.len()));
    output::print(|out| {
        if args.json {
            let of = |group: &Group| json!({"error": group.error, "count": group.keys.len(), "final": group.finals, "stderr": group.said, "keys": group.keys});
            return output::line(out, json!({"schema": output::SCHEMA, "failures": groups.iter().map(of).collect::<Value>()}));
        }
        if args.list {
            return groups
                .iter()
                .flat_map(|group| group.keys.iter().map(|key| (key, &group.error)))
                .try_for_each(|(key, error)| output::line(out, format!("{key}\t{}", error.replace('\n', " "))));
        }
        if groups.is_empty() {
            return Ok(());
        }
        let mut table = output::table(&["tasks", "again", "error", "such as", "which said"]);
        for group in &groups {
            let again = group.keys.len() - group.finals;
            let first = group.keys.first().map(Key::to_string).unwrap_or_default();
            table.add_row([
                output::grouped(group.keys.len() as u64),
                output::grouped(again as u64),
                group.error.clone(),
                first,
                group.said.clone(),
            ]);
        }
        output::line(out, table.trim_fmt())
    })?;
    Ok(Outcome::Done)
}
