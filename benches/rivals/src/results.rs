//! What was measured, and the medians and ratios that follow from it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::engine;
use crate::histogram::Histogram;
use crate::workload::sustained::Sustained;
use crate::workload::{self, Kind, Workload};

#[derive(Serialize)]
pub struct Results {
    pub machine: String,
    pub key_count: u64,
    pub rounds: u64,
    pub seconds: f64,
    /// The first is the one that the others are compared with.
    pub engines: Vec<&'static str>,
    pub samples: Vec<Sample>,
    /// By workload, then engine; all rounds together.
    pub tails: BTreeMap<&'static str, BTreeMap<&'static str, Tail>>,
    /// The same; the last round.
    pub sustained: BTreeMap<&'static str, BTreeMap<&'static str, Sustained>>,
}

#[derive(Serialize)]
pub struct Sample {
    pub workload: &'static str,
    pub engine: &'static str,
    pub round: u64,
    /// Operations a second, of all processes together.
    pub rate: f64,
    /// Operations of each process.
    pub shares: Vec<u64>,
}

#[derive(Default, Serialize)]
pub struct Tail {
    pub measured: Histogram,
    pub control: Histogram,
    pub loaded: u64,
}

/// Median, least and greatest over the rounds.
#[derive(Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Spread { median, min, max })
    }
}

impl Results {
    /// The measured workloads that have a rate.
    pub fn workloads(&self) -> impl Iterator<Item = &'static Workload> {
        let measured = |workload: &&Workload| self.samples.iter().any(|sample| sample.workload == workload.name);
        workload::ALL.iter().filter(measured)
    }

    pub fn tail_workloads(&self) -> impl Iterator<Item = &'static Workload> {
        workload::ALL.iter().filter(|workload| matches!(workload.kind, Kind::Tail(..)) && self.tails.contains_key(workload.name))
    }

    pub fn sustained_workloads(&self) -> impl Iterator<Item = &'static Workload> {
        workload::ALL.iter().filter(|workload| self.sustained.contains_key(workload.name))
    }

    fn of<'a>(&'a self, workload: &'a str, engine: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.workload == workload && sample.engine == engine)
    }

    pub fn rate(&self, workload: &str, engine: &str) -> Option<Spread> {
        Spread::of(self.of(workload, engine).map(|sample| sample.rate).collect())
    }

    /// How many times the rival's rate the first engine reached, compared round by round.
    pub fn ratio(&self, workload: &str, rival: &str) -> Option<Spread> {
        let ours = self.of(workload, self.engines[0]);
        let pairs = ours.filter_map(|our| Some((our, self.of(workload, rival).find(|their| their.round == our.round)?)));
        Spread::of(pairs.map(|(our, their)| our.rate / their.rate).collect())
    }

    /// How many times its own rate with one process an engine reaches with several, on the disk.
    pub fn times_one(&self, workload: &str, engine: &str) -> Option<Spread> {
        let pairs = self
            .of(workload, engine)
            .filter_map(|several| Some((several, self.of("durable-1", engine).find(|one| one.round == several.round)?)));
        Spread::of(pairs.map(|(several, one)| several.rate / one.rate).collect())
    }

    /// The least process's part of the mean process's operations.
    pub fn least_share(&self, workload: &str, engine: &str) -> Option<Spread> {
        let part = |sample: &Sample| {
            let mean = sample.shares.iter().sum::<u64>() as f64 / sample.shares.len() as f64;
            Some(*sample.shares.iter().min()? as f64 / mean)
        };
        Spread::of(self.of(workload, engine).filter_map(part).collect())
    }

    /// Mean operations of a process in a sample.
    pub fn mean_share(&self, workload: &str, engine: &str) -> Option<Spread> {
        let mean = |sample: &Sample| sample.shares.iter().sum::<u64>() as f64 / sample.shares.len() as f64;
        Spread::of(self.of(workload, engine).map(mean).collect())
    }

    /// Thresholds are about tastypod only.
    pub fn judges_ours(&self) -> bool {
        [engine::OURS, engine::OURS_ON_DISK].contains(&self.engines[0])
    }
}
