//! A worker process: opens stores, runs its part of each workload as the parent commands, and reports.

use std::io::{BufRead, Write, stdin, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::data::{self, Keys};
use crate::engine::{self, Engine};
use crate::gate::{Gate, now};
use crate::workload::tail;
use crate::workload::timed::{self, Surroundings};

pub const KEYS_FILE: &str = "keys";
pub const GATE_FILE: &str = "gate";

/// One line of JSON on the worker's standard input. Every command acts on the store that was opened last.
#[derive(Clone, Serialize, Deserialize)]
pub enum Command {
    Open(PathBuf),
    Close,
    /// Writes all entries at once.
    Extend,
    /// Reads every key once, so that its pages are mapped.
    Warm,
    Timed(timed::Plan),
    Tail(tail::Plan),
    SumTries,
}

/// What a worker reports, whichever of it the command asks for; one line of JSON on its standard output.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Report {
    pub timed: timed::Outcome,
    pub tail: tail::Outcome,
    pub sum: u64,
}

pub type Reply = Result<Report, String>;

struct Worker {
    engine: String,
    surroundings: Surroundings,
    stores: Vec<Box<dyn Engine>>,
}

/// Obeys until the parent closes the pipe.
pub fn serve(engine: String, directory: &Path) -> Result<()> {
    let surroundings = Surroundings {
        keys: Keys::open(&directory.join(KEYS_FILE))?,
        documents: data::documents(),
        gate: Gate::open(&directory.join(GATE_FILE))?,
    };
    let mut worker = Worker { engine, surroundings, stores: Vec::new() };
    for line in stdin().lock().lines() {
        let reply: Reply = worker.obey(serde_json::from_str(&line?)?).map_err(|error| format!("{error:#}"));
        let mut output = stdout().lock();
        serde_json::to_writer(&mut output, &reply)?;
        writeln!(output)?;
        output.flush()?;
    }
    Ok(())
}

impl Worker {
    fn obey(&mut self, command: Command) -> Result<Report> {
        let mut report = Report::default();
        match command {
            Command::Open(directory) => self.stores.push(engine::open(&self.engine, &directory, self.surroundings.keys.count())?),
            Command::Close => drop(self.stores.pop()),
            Command::Extend => report.timed = self.extend()?,
            Command::Warm => self.warm()?,
            Command::Timed(plan) => report.timed = timed::run(self.store()?, &self.surroundings, plan)?,
            Command::Tail(plan) => report.tail = tail::run(self.store().ok(), &self.surroundings, plan)?,
            Command::SumTries => report.sum = self.store()?.sum_tries()?,
        }
        Ok(report)
    }

    fn store(&self) -> Result<&dyn Engine> {
        Ok(&**self.stores.last().context("the worker has no store open")?)
    }

    fn extend(&self) -> Result<timed::Outcome> {
        let keys = &self.surroundings.keys;
        let documents = self.surroundings.documents.iter().cycle();
        let store = self.store()?;
        let start = now();
        store.extend(&mut (0..keys.count()).map(|index| keys.get(index)).zip(documents))?;
        Ok(timed::Outcome { operations: vec![keys.count() as u64], seconds: (now() - start) as f64 / 1e9 })
    }

    fn warm(&self) -> Result<()> {
        let (keys, store) = (&self.surroundings.keys, self.store()?);
        (0..keys.count()).try_for_each(|index| store.view(keys.get(index)).map(|_| ()))
    }
}
