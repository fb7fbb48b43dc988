//! An operation repeated for a fixed time, by one lane in each of several processes or threads.

use std::hint::black_box;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::data::{Doc, KEY_SIZE, Keys, Random};
use crate::engine::Engine;
use crate::gate::{Gate, now};

/// Operations between two looks at the clock.
const BATCH_SIZE: u64 = 32;

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Operation {
    GetBorrowed,
    GetAs,
    Get,
    Set,
    IncrementHot,
    IncrementRandom,
    /// 95 % `GetAs`, 5 % `Set`.
    Mixed,
    /// 95 % `GetBorrowed`, 5 % `Set`.
    MixedBorrowed,
    /// Counts values, not passes.
    Iterate,
}

impl Operation {
    pub fn increments(self) -> bool {
        matches!(self, Operation::IncrementHot | Operation::IncrementRandom)
    }
}

/// What a worker has to work with.
pub struct Surroundings {
    pub keys: Keys,
    pub documents: Vec<Doc>,
    pub gate: Gate,
}

impl Surroundings {
    pub fn document(&self, random: &mut Random) -> &Doc {
        &self.documents[random.below(self.documents.len())]
    }
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Plan {
    pub operation: Operation,
    /// Lanes that this process runs: more than one only as threads.
    pub lanes_here: u64,
    pub lanes_in_all: u64,
    pub seconds: f64,
    pub seed: u64,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// For each lane.
    pub operations: Vec<u64>,
    /// From the common start until the last lane stopped.
    pub seconds: f64,
}

pub fn run(engine: &dyn Engine, surroundings: &Surroundings, plan: Plan) -> Result<Outcome> {
    if plan.lanes_here == 1 {
        let (operations, seconds) = run_lane(engine, surroundings, plan, 0)?;
        return Ok(Outcome { operations: vec![operations], seconds });
    }
    let mut handles = Vec::new();
    for _ in 0..plan.lanes_here {
        handles.push(engine.share().context("this engine does not run in threads")?);
    }
    let lanes = std::thread::scope(|scope| {
        let lanes = (0..).zip(handles).map(|(lane, engine)| scope.spawn(move || run_lane(&*engine, surroundings, plan, lane)));
        let lanes: Vec<_> = lanes.collect();
        lanes.into_iter().map(|lane| lane.join().expect("a lane does not panic")).collect::<Result<Vec<_>>>()
    })?;
    let seconds = lanes.iter().fold(0.0, |longest: f64, lane| longest.max(lane.1));
    Ok(Outcome { operations: lanes.iter().map(|lane| lane.0).collect(), seconds })
}

fn run_lane(engine: &dyn Engine, surroundings: &Surroundings, plan: Plan, lane: u64) -> Result<(u64, f64)> {
    let random = &mut Random::new(Random::new(plan.seed + lane).next());
    let keys = &surroundings.keys;
    let hot = keys.get(0);
    let repeat = |operation: &mut dyn FnMut() -> Result<u64>| repeat(surroundings, plan, operation);
    let set = |random: &mut Random, key: &str| engine.set(key, surroundings.document(random));
    let get_as = |_: &mut Random, key: &str| engine.get_as(key).map(discard);
    let get_borrowed = |_: &mut Random, key: &str| engine.view(key).map(discard);
    let one_in_twenty = |random: &mut Random| random.below(20) == 0;
    match plan.operation {
        Operation::GetBorrowed => repeat(&mut || batch(keys, random, get_borrowed)),
        Operation::GetAs => repeat(&mut || batch(keys, random, get_as)),
        Operation::Get => repeat(&mut || batch(keys, random, |_, key| engine.get(key).map(discard))),
        Operation::Set => repeat(&mut || batch(keys, random, set)),
        Operation::IncrementHot => repeat(&mut || batch(keys, random, |_, _| engine.increment(hot))),
        Operation::IncrementRandom => repeat(&mut || batch(keys, random, |_, key| engine.increment(key))),
        Operation::Mixed => {
            repeat(&mut || batch(keys, random, |random, key| if one_in_twenty(random) { set(random, key) } else { get_as(random, key) }))
        }
        Operation::MixedBorrowed => repeat(&mut || {
            batch(keys, random, |random, key| if one_in_twenty(random) { set(random, key) } else { get_borrowed(random, key) })
        }),
        Operation::Iterate => repeat(&mut || engine.iterate()),
    }
}

/// Operations on random keys, which were copied to one place first: a program has just made or received the key that it asks
/// for, and what is measured is the store, not the way to the list of keys.
fn batch(keys: &Keys, random: &mut Random, operation: impl Fn(&mut Random, &str) -> Result<()>) -> Result<u64> {
    let mut near = String::with_capacity(BATCH_SIZE as usize * KEY_SIZE);
    for _ in 0..BATCH_SIZE {
        near.push_str(keys.random(random));
    }
    for index in 0..BATCH_SIZE as usize {
        operation(random, &near[index * KEY_SIZE..][..KEY_SIZE])?;
    }
    Ok(BATCH_SIZE)
}

/// Keeps the compiler from leaving out what was read.
fn discard<T>(value: T) {
    black_box(value);
}

fn repeat(surroundings: &Surroundings, plan: Plan, operation: &mut dyn FnMut() -> Result<u64>) -> Result<(u64, f64)> {
    let released_at = surroundings.gate.pass(plan.lanes_in_all)?;
    let deadline = released_at + (plan.seconds * 1e9) as u64;
    let mut operations = 0;
    loop {
        operations += operation()?;
        let stopped_at = now();
        if stopped_at >= deadline {
            return Ok((operations, (stopped_at - released_at) as f64 / 1e9));
        }
    }
}
