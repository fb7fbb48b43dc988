//! `tastypod status`: how far a tracker is.

use crate::outcome::{Outcome, Result};
use crate::run::Bar;
use crate::{duration, output, store};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tastypod::{Progress, Tracker};

/// Shows how far a tracker is, over all that work on it.
#[derive(clap::Args)]
pub struct Args {
    /// The tracker's directory
    tracker: PathBuf,
    /// Go on until all is finished: a bar in a terminal, else a line whenever something has changed
    #[arg(short, long)]
    watch: bool,
    /// One line of JSON
    #[arg(long)]
    json: bool,
    /// How often to look, while watching
    #[arg(long, value_parser = duration::parse, default_value = "1s", value_name = "DURATION")]
    interval: Duration,
}

pub fn status(args: &Args) -> Result {
    if args.watch {
        return watch(args);
    }
    let tracker = store::tracker_to_read(&args.tracker)?;
    output::print(|out| if args.json { output::line(out, json_of(&tracker)?) } else { text(&tracker, &args.tracker, out) })?;
    Ok(Outcome::Done)
}

/// Who holds how many claims: `(pid, program)` and their number.
fn workers(tracker: &Tracker) -> Result<BTreeMap<(u32, String), usize>> {
    let mut workers = BTreeMap::new();
    for claim in store::claims(tracker)? {
        *workers.entry((claim.owner.pid, claim.owner.program)).or_insert(0) += 1;
    }
    Ok(workers)
}

/// How many of the failed tasks the next run tries again, since theirs was killed.
fn interrupted(tracker: &Tracker, progress: &Progress) -> Result<usize> {
    let mut count = 0;
    if progress.failed > 0 && tracker.max_tries() == 1 {
        for failure in tracker.failures() {
            count += usize::from(store::is_interrupted(tracker, &failure?));
        }
    }
    Ok(count)
}

pub fn json_of(tracker: &Tracker) -> Result<Value> {
    // Claims of the dead are ended before it is counted.
    let workers = workers(tracker)?.into_iter();
    let progress = tracker.progress();
    let mut value = json!({"schema": output::SCHEMA, "tracker": tracker.path(), "percent": progress.percent()});
    if let (Value::Object(value), Ok(Value::Object(counts))) = (&mut value, serde_json::to_value(&progress)) {
        value.extend(counts);
        value.insert("max_tries".to_owned(), tracker.max_tries().into());
        value.insert("lease_seconds".to_owned(), tracker.lease().map(|lease| lease.as_secs_f64()).into());
        value.insert("interrupted".to_owned(), interrupted(tracker, &progress)?.into());
        let workers = workers.map(|((pid, program), claims)| json!({"pid": pid, "program": program, "claims": claims}));
        value.insert("workers".to_owned(), workers.collect());
    }
    Ok(value)
}

/// How wide a bar in text is.
const WIDTH: usize = 40;

/// A bar of blocks, where only what is finished is full.
pub fn bar(progress: &Progress) -> String {
    let finished = progress.done + progress.failed;
    let full = if progress.total == 0 { WIDTH } else { (finished as u128 * WIDTH as u128 / progress.total as u128) as usize };
    format!("{}{}", "█".repeat(full), "░".repeat(WIDTH - full))
}

fn text(tracker: &Tracker, path: &Path, out: &mut dyn Write) -> Result<()> {
    // As above.
    let workers = workers(tracker)?;
    let progress = tracker.progress();
    let name = path.display();
    let bar = bar(&progress);
    if output::may_colour(&std::io::stdout()) {
        let colour = if progress.failed > 0 { 33 } else { 32 };
        output::line(out, format!("\u{1b}[1m{name}\u{1b}[0m  \u{1b}[{colour}m{bar}\u{1b}[0m {:>3} %", progress.percent()))?;
    } else {
        output::line(out, format!("{name}  {bar} {:>3} %", progress.percent()))?;
    }
    let mut counts = format!("{} tasks: {} done", output::grouped(progress.total as u64), output::grouped(progress.done as u64));
    for (count, what) in [(progress.failed, "failed"), (progress.claimed, "in work"), (progress.todo, "to do")] {
        if count > 0 {
            counts.push_str(&format!(", {} {what}", output::grouped(count as u64)));
        }
    }
    output::line(out, counts)?;
    match interrupted(tracker, &progress)? {
        0 => {}
        1 => output::line(out, "1 of the failed did not end: its run was killed, and the next one tries it again")?,
        count => output::line(
            out,
            format!("{} of the failed did not end: their run was killed, and the next one tries them again", output::grouped(count as u64)),
        )?,
    }
    if progress.rate > 0.0 && progress.todo + progress.claimed > 0 {
        let left = progress.eta_seconds.map(|seconds| format!(", {} left", duration::shown(Duration::from_secs_f64(seconds.max(0.0)))));
        output::line(out, format!("{:.1}/s{}", progress.rate, left.unwrap_or_default()))?;
    }
    let workers: Vec<String> = workers.into_iter().map(|((pid, program), claims)| format!("{program} {pid} ({claims})")).collect();
    if !workers.is_empty() {
        output::line(out, format!("at work: {}", workers.join(", ")))?;
    }
    Ok(())
}

fn watch(args: &Args) -> Result {
    let tracker = store::tracker_to_watch(&args.tracker)?;
    let bar = Bar::new(!args.json);
    let is_drawn = !args.json && std::io::stderr().is_terminal();
    let mut said = String::new();
    output::print(|out| {
        loop {
            let seen = tracker.version();
            let progress = tracker.progress();
            bar.show(&progress);
            let line = if args.json { json_of(&tracker)?.to_string() } else { progress.to_string() };
            if !is_drawn && line != said {
                output::line(out, &line)?;
                out.flush().map_err(|error| crate::outcome::Trouble::io("standard output", &error))?;
                said = line;
            }
            if progress.todo + progress.claimed == 0 {
                return Ok(());
            }
            std::thread::sleep(args.interval);
            // Rates fall also where nothing happens.
            tracker.wait(seen, args.interval)?;
        }
    })?;
    bar.finish();
    Ok(Outcome::Done)
}
