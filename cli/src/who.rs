//! `tastypod who`: who has a store open, and what they hold.

use crate::outcome::{Outcome, Result};
use crate::{duration, output, store};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use tastypod::{ClaimInfo, Owner};

/// Shows who has a store open, who holds its lock, and who works on what, since when.
#[derive(clap::Args)]
pub struct Args {
    /// The store's directory
    store: PathBuf,
    /// One line of JSON
    #[arg(long)]
    json: bool,
}

fn seconds(moment: SystemTime) -> f64 {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn ago(moment: SystemTime) -> String {
    duration::shown(moment.elapsed().unwrap_or_default())
}

pub fn who(args: &Args) -> Result {
    let pod = store::pod_to_read(&args.store)?;
    let claims: Vec<ClaimInfo> = match store::tracker_if_it_is_one(&args.store) {
        Some(tracker) => tracker.claims()?,
        None => Vec::new(),
    };
    let stats = pod.stats()?;
    // This command itself is no news.
    let others = |owner: &&Owner| owner.pid != std::process::id();
    let processes: Vec<&Owner> = stats.open_by.iter().filter(others).collect();
    let held_by = |owner: &Owner| claims.iter().filter(|claim| claim.owner.pid == owner.pid).count();
    let lock = stats.lock.as_ref().filter(|(owner, _)| others(&owner));
    output::print(|out| {
        if args.json {
            let process = |owner: &&Owner| json!({"pid": owner.pid, "program": owner.program, "started": owner.started.map(seconds), "claims": held_by(owner)});
            let claim = |claim: &ClaimInfo| {
                let left = claim.lease_left.map(|left| left.as_secs_f64());
                json!({"key": claim.key, "pid": claim.owner.pid, "program": claim.owner.program, "since": seconds(claim.since), "lease_left_seconds": left})
            };
            return output::line(
                out,
                json!({
                    "schema": output::SCHEMA,
                    "processes": processes.iter().map(process).collect::<Value>(),
                    "lock": lock.map(|(owner, held)| json!({"pid": owner.pid, "program": owner.program, "seconds": held.as_secs_f64()})),
                    "claims": claims.iter().map(claim).collect::<Value>(),
                    "snapshots": stats.pin_holders.iter().map(|pin| json!({"pid": pin.owner.pid, "program": pin.owner.program, "transaction": pin.transaction})).collect::<Value>(),
                }),
            );
        }
        if !processes.is_empty() {
            let mut table = output::table(&["process", "program", "running for", "tasks"]);
            for owner in &processes {
                let running = owner.started.map(ago).unwrap_or_default();
                table.add_row([owner.pid.to_string(), owner.program.clone(), running, held_by(owner).to_string()]);
            }
            output::line(out, table.trim_fmt())?;
        }
        if let Some((owner, held)) = lock {
            output::line(out, format!("the lock is held by {owner} for {}", duration::shown(*held)))?;
        }
        if !claims.is_empty() {
            let mut table = output::table(&["task", "process", "for", "lease"]);
            for claim in &claims {
                let lease =
                    claim.lease_left.map(|left| if left.is_zero() { "over".to_owned() } else { format!("{} left", duration::shown(left)) });
                table.add_row([claim.key.to_string(), claim.owner.pid.to_string(), ago(claim.since), lease.unwrap_or_default()]);
            }
            output::line(out, format!("\n{}", table.trim_fmt()))?;
        }
        Ok(())
    })?;
    Ok(Outcome::Done)
}
