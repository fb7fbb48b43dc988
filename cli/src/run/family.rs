//! All processes of an attempt: its process group, and what left that by `setsid`.
//!
//! Children that are still in its tree are found by their parents. One that gave itself away to init as a daemon does has nothing left of
//! its origin but the environment, where each attempt has a name of its own. What clears its environment *and* leaves the tree is not found.

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::time::{Duration, Instant};

/// The entry of the environment that names the attempt.
pub const MARK: &str = "TASTYPOD_JOB";

/// How the guard is called. It has the environment of its runner, which may be part of an attempt of another one; and it ends by itself.
pub const GUARD: &str = "tastypod-guard";

/// How long to look for one that has been killed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A process, by two numbers that no other one has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Member {
    pid: i32,
    started_ticks: u64,
}

/// What `/proc` says of a process.
struct Seen {
    member: Member,
    name: String,
    is_dead: bool,
    parent: i32,
    group: i32,
}

fn seen(pid: i32) -> Option<Seen> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (head, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |index: usize| fields.get(index)?.parse().ok();
    Some(Seen {
        member: Member { pid, started_ticks: fields.get(19)?.parse().ok()? },
        name: head.split_once(" (")?.1.to_owned(),
        is_dead: ["Z", "X"].contains(&fields[0]),
        parent: number(1)?,
        group: number(2)?,
    })
}

fn all() -> Vec<Seen> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| seen(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// An attempt's processes.
#[derive(Debug)]
pub struct Family {
    group: i32,
    mark: Vec<u8>,
    /// Descendants that were seen, in the group or not.
    known: Vec<Member>,
}

/// What the entries of all attempts of this process begin with. Their number follows.
pub fn marks() -> String {
    let own = std::process::id();
    let started = seen(own.cast_signed()).map_or(0, |seen| seen.member.started_ticks);
    format!("{MARK}={own}.{started}.")
}

impl Family {
    pub fn new(group: i32, mark: &str) -> Family {
        Family { group, mark: mark.as_bytes().to_vec(), known: Vec::new() }
    }

    fn is_marked(&self, pid: i32) -> bool {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == self.mark)
    }

    /// Members that live, but for the leader of the group, whom somebody else waits for.
    fn living(&mut self) -> Vec<Seen> {
        let all = all();
        let mut is_member: Vec<bool> = all
            .iter()
            .map(|seen| {
                seen.group == self.group || self.known.contains(&seen.member) || seen.name != GUARD && self.is_marked(seen.member.pid)
            })
            .collect();
        // Children of members, until there are no further ones.
        loop {
            let parents: std::collections::HashSet<i32> =
                all.iter().zip(&is_member).filter(|(_, is)| **is).map(|(seen, _)| seen.member.pid).collect();
            let mut has_grown = false;
            for (seen, is_member) in all.iter().zip(&mut is_member) {
                if !*is_member && seen.name != GUARD && parents.contains(&seen.parent) {
                    *is_member = true;
                    has_grown = true;
                }
            }
            if !has_grown {
                break;
            }
        }
        let members: Vec<Seen> = all.into_iter().zip(is_member).filter(|(_, is)| *is).map(|(seen, _)| seen).collect();
        self.known = members.iter().map(|seen| seen.member).collect();
        members.into_iter().filter(|seen| !seen.is_dead && seen.member.pid != self.group).collect()
    }

    /// Sends a signal to all.
    pub fn signal(&mut self, signal: Signal) {
        let members = self.living();
        let _ = killpg(Pid::from_raw(self.group), signal);
        for seen in members.iter().filter(|seen| seen.group != self.group) {
            let _ = kill(Pid::from_raw(seen.member.pid), signal);
        }
    }

    /// Whether the leader of the group is the last one.
    pub fn is_alone(&mut self) -> bool {
        self.living().is_empty()
    }

    /// Kills all, also what they start meanwhile. Who could not be ended: names and process ids.
    pub fn kill(&mut self) -> Vec<String> {
        let start = Instant::now();
        loop {
            self.signal(Signal::SIGKILL);
            let left = self.living();
            if left.is_empty() || start.elapsed() > PATIENCE {
                return left.iter().map(|seen| format!("{} ({})", seen.member.pid, seen.name)).collect();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
