//! Latencies of one process while another bulk-loads and grows the index, or has the log cleaned and flushed, and of a third that touches no store.

use std::hint::black_box;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::timed::Surroundings;
use crate::data::{self, Doc, Random};
use crate::engine::Engine;
use crate::gate::now;
use crate::histogram::Histogram;

const CHUNK_SIZE: u64 = 100;
const FLUSHED_EACH: u64 = 256;
const PRIVATE_WORDS: usize = 1 << 17;
/// Makes a step of the control about as long as an operation on the store, so that the same share of both is interrupted.
const WORDS_A_STEP: usize = 160;

#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Role {
    /// Reads random keys into a struct.
    Get,
    /// Sets random keys.
    Set,
    /// Extends the store by chunks of fresh keys.
    Load,
    /// Sets random keys without pause, so that the log is cleaned, each [`FLUSHED_EACH`]th of them down to the disk.
    Clean,
    /// Writes to memory of its own only: what it suffers is the machine's doing.
    Control,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Plan {
    pub role: Role,
    pub lanes_in_all: u64,
    pub seconds: f64,
    pub seed: u64,
    /// The number of the first fresh key.
    pub first_fresh: u64,
}

#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    pub histogram: Histogram,
    /// Keys that the loader added.
    pub loaded: u64,
}

pub fn run(engine: Option<&dyn Engine>, surroundings: &Surroundings, plan: Plan) -> Result<Outcome> {
    let random = &mut Random::new(plan.seed);
    let (keys, store) = (&surroundings.keys, || engine.context("this role needs an open store"));
    match plan.role {
        Role::Get => {
            let store = store()?;
            measure(surroundings, plan, || store.get_as(keys.random(random)).map(|document| drop(black_box(document))))
        }
        Role::Set => {
            let store = store()?;
            measure(surroundings, plan, || store.set(keys.random(random), surroundings.document(random)))
        }
        Role::Load => load(store()?, surroundings, plan),
        Role::Clean => {
            let (store, mut count) = (store()?, 0);
            measure(surroundings, plan, || {
                count += 1;
                let (key, document) = (keys.random(random), surroundings.document(random));
                if count % FLUSHED_EACH == 0 { store.set_on_disk(key, document) } else { store.set(key, document) }
            })
        }
        Role::Control => {
            let mut words = vec![1_u64; PRIVATE_WORDS];
            measure(surroundings, plan, || {
                for _ in 0..WORDS_A_STEP {
                    words[random.below(PRIVATE_WORDS)] += 1;
                }
                black_box(&mut words);
                Ok(())
            })
        }
    }
}

/// Latencies are the times between consecutive looks at the clock, so that nothing falls between two measurements.
fn measure(surroundings: &Surroundings, plan: Plan, mut operation: impl FnMut() -> Result<()>) -> Result<Outcome> {
    let mut histogram = Histogram::default();
    let deadline = surroundings.gate.pass(plan.lanes_in_all)? + (plan.seconds * 1e9) as u64;
    let mut before = now();
    while before < deadline {
        operation()?;
        let after = now();
        histogram.record(after - before);
        before = after;
    }
    Ok(Outcome { histogram, loaded: 0 })
}

fn load(engine: &dyn Engine, surroundings: &Surroundings, plan: Plan) -> Result<Outcome> {
    let mut next = plan.first_fresh;
    let outcome = measure(surroundings, plan, || {
        let keys: Vec<String> = (next..next + CHUNK_SIZE).map(data::key).collect();
        next += CHUNK_SIZE;
        engine.extend(&mut entries(&keys, &surroundings.documents))
    })?;
    Ok(Outcome { loaded: next - plan.first_fresh, ..outcome })
}

fn entries<'a>(keys: &'a [String], documents: &'a [Doc]) -> impl Iterator<Item = (&'a str, &'a Doc)> {
    keys.iter().map(String::as_str).zip(documents.iter().cycle())
}
