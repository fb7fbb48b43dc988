//! What is measured, and how much faster than its rivals tastypod has to be.

pub mod sustained;
pub mod tail;
pub mod timed;

use anyhow::{Result, ensure};

use self::tail::Role;
use self::timed::Operation;

/// No process may get less than this part of the mean when several increment together.
pub const LEAST_SHARE: f64 = 1.0 / 3.0;

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    /// Repeat an operation for the sample's time on the loaded store, with that many processes or threads.
    Timed(Operation, u64),
    /// Write all entries into an empty store.
    Extend,
    /// Latencies of one process while another one does what the second role says.
    Tail(Role, Role),
    /// An operation for a minute on a store of its own, with that many processes. Only when it is named.
    Sustained(Operation, u64),
    /// Set random keys with that many processes, on engines that bring each to the disk. Only when it is named.
    Durable(u64),
}

pub struct Workload {
    pub name: &'static str,
    pub title: &'static str,
    pub kind: Kind,
    /// Rival, and the least ratio of our rate to its.
    pub thresholds: &'static [(&'static str, f64)],
}

impl Workload {
    /// Whether a fair share for every process is asked for.
    pub fn shared_increments(&self) -> bool {
        matches!(self.kind, Kind::Timed(operation, 2..) if operation.increments())
    }

    /// How many processes it needs.
    pub fn processes(&self) -> u64 {
        match self.kind {
            Kind::Timed(_, lanes) | Kind::Sustained(_, lanes) | Kind::Durable(lanes) => lanes,
            Kind::Extend => 1,
            Kind::Tail(..) => 3,
        }
    }

    /// Whether it resets `_tries`, so that a pending sum has to be checked before it.
    pub fn overwrites(&self) -> bool {
        matches!(self.kind, Kind::Timed(Operation::Set | Operation::Mixed | Operation::MixedBorrowed, _))
    }
}

use Kind::{Durable, Extend, Sustained, Tail, Timed};
use Operation::{Get, GetAs, GetBorrowed, IncrementHot, IncrementRandom, Iterate, Mixed, MixedBorrowed, Set};

#[rustfmt::skip]
pub const ALL: &[Workload] = &[
    Workload { name: "get-borrowed", title: "get, borrowed", kind: Timed(GetBorrowed, 1), thresholds: &[("lmdb", 3.0), ("tdb", 2.0), ("indexmap", 1.0), ("dashmap", 1.0)] },
    Workload { name: "get-as", title: "get into a struct", kind: Timed(GetAs, 1), thresholds: &[("lmdb", 3.0)] },
    Workload { name: "get", title: "get into a Value", kind: Timed(Get, 1), thresholds: &[("lmdb", 2.0)] },
    Workload { name: "set", title: "set a struct", kind: Timed(Set, 1), thresholds: &[("lmdb", 5.0), ("tdb", 1.0)] },
    Workload { name: "extend", title: "bulk extend", kind: Extend, thresholds: &[("lmdb", 3.0)] },
    Workload { name: "increment-hot-1", title: "increment one key, 1 process", kind: Timed(IncrementHot, 1), thresholds: &[("tdb", 8.0)] },
    Workload { name: "increment-hot-2", title: "increment one key, 2 processes", kind: Timed(IncrementHot, 2), thresholds: &[("tdb", 5.0)] },
    Workload { name: "increment-hot-4", title: "increment one key, 4 processes", kind: Timed(IncrementHot, 4), thresholds: &[("tdb", 5.0)] },
    Workload { name: "increment-random-1", title: "increment random keys, 1 process", kind: Timed(IncrementRandom, 1), thresholds: &[("tdb", 3.0)] },
    Workload { name: "increment-random-2", title: "increment random keys, 2 processes", kind: Timed(IncrementRandom, 2), thresholds: &[("tdb", 1.3)] },
    Workload { name: "increment-random-4", title: "increment random keys, 4 processes", kind: Timed(IncrementRandom, 4), thresholds: &[("tdb", 1.3)] },
    Workload { name: "mixed", title: "95 % get into a struct, 5 % set, 2 processes", kind: Timed(Mixed, 2), thresholds: &[("tdb", 3.0)] },
    Workload { name: "mixed-borrowed", title: "95 % get borrowed, 5 % set, 2 processes", kind: Timed(MixedBorrowed, 2), thresholds: &[] },
    Workload { name: "iterate", title: "iterate, borrowed", kind: Timed(Iterate, 1), thresholds: &[("lmdb", 3.0)] },
    Workload { name: "tail-get", title: "get beside a bulk load", kind: Tail(Role::Get, Role::Load), thresholds: &[] },
    Workload { name: "tail-set", title: "set beside a bulk load", kind: Tail(Role::Set, Role::Load), thresholds: &[] },
    Workload { name: "clean-get", title: "get beside cleaning and flushes", kind: Tail(Role::Get, Role::Clean), thresholds: &[] },
    Workload { name: "clean-set", title: "set beside cleaning and flushes", kind: Tail(Role::Set, Role::Clean), thresholds: &[] },
    Workload { name: "durable-1", title: "set, on the disk, 1 process", kind: Durable(1), thresholds: &[("bare-disk", 0.9), ("lmdb-disk", 1.0), ("redb-disk", 1.0), ("sqlite-disk", 1.0)] },
    Workload { name: "durable-4", title: "set, on the disk, 4 processes", kind: Durable(4), thresholds: &[("lmdb-disk", 1.0), ("redb-disk", 1.0), ("sqlite-disk", 1.0)] },
    Workload { name: "durable-16", title: "set, on the disk, 16 processes", kind: Durable(16), thresholds: &[("lmdb-disk", 1.0), ("redb-disk", 1.0), ("sqlite-disk", 1.0)] },
    Workload { name: "sustained-set", title: "set random keys for a minute", kind: Sustained(Set, 1), thresholds: &[] },
    Workload { name: "sustained-hot", title: "increment one key for a minute, 2 processes", kind: Sustained(IncrementHot, 2), thresholds: &[] },
];

/// The workloads that `names` names: each its own name, or the beginning of several up to a hyphen.
pub fn select(names: &[String]) -> Result<Vec<&'static Workload>> {
    let means = |name: &str, workload: &Workload| {
        workload.name == name || ALL.iter().all(|other| other.name != name) && workload.name.starts_with(&format!("{name}-"))
    };
    for name in names {
        ensure!(ALL.iter().any(|workload| means(name, workload)), "no workload is called {name:?}; `--list` shows them");
    }
    let by_default = |workload: &Workload| names.is_empty() && !matches!(workload.kind, Sustained(..) | Durable(_) | Tail(_, Role::Clean));
    Ok(ALL.iter().filter(|workload| by_default(workload) || names.iter().any(|name| means(name, workload))).collect())
}
