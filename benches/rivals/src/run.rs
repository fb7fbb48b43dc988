//! The run: in every round each workload, in every workload each engine in turn, so that whatever the machine does
//! meanwhile hits all of them alike.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::arguments::{Arguments, ControlTime};
use crate::crew::Crew;
use crate::data::Keys;
use crate::engine;
use crate::gate::Gate;
use crate::machine;
use crate::results::{Results, Sample, Tail};
use crate::worker::{Command, GATE_FILE, KEYS_FILE};
use crate::workload::sustained::{self, Sustained};
use crate::workload::tail::{self, Role};
use crate::workload::timed::{self, Operation};
use crate::workload::{Kind, Workload};

struct Run<'a> {
    arguments: &'a Arguments,
    directory: PathBuf,
    gate: Gate,
    seed: u64,
    /// For each engine, the sum of all `_tries` that it must have, where that is known.
    sums: BTreeMap<&'static str, u64>,
    results: Results,
}

pub fn run(arguments: &Arguments) -> Result<Results> {
    let parent = arguments.directory.canonicalize().with_context(|| format!("{}", arguments.directory.display()))?;
    if machine::is_memory_only(&parent)? {
        eprintln!("warning: {} is a tmpfs; name a directory on a disk with --dir", parent.display());
    }
    let directory = tempfile::Builder::new().prefix(".rivals-").tempdir_in(&parent)?;
    Keys::write(&directory.path().join(KEYS_FILE), arguments.key_count)?;
    let mut run = Run {
        arguments,
        directory: directory.path().to_owned(),
        gate: Gate::open(&directory.path().join(GATE_FILE))?,
        seed: 0,
        sums: BTreeMap::new(),
        results: Results {
            machine: machine::describe(&parent)?,
            key_count: arguments.key_count,
            rounds: arguments.rounds,
            seconds: arguments.seconds,
            engines: arguments.engines.iter().map(|engine| engine.name).collect(),
            samples: Vec::new(),
            tails: BTreeMap::new(),
            sustained: BTreeMap::new(),
        },
    };
    let mut crews = arguments.engines.iter().map(|engine| run.prepare(engine)).collect::<Result<Vec<_>>>()?;
    for round in 1..=arguments.rounds {
        for workload in &arguments.workloads {
            eprintln!("round {round} of {}: {}", arguments.rounds, workload.title);
            for crew in &mut crews {
                run.sample(round, workload, crew)?;
            }
        }
    }
    crews.iter_mut().try_for_each(|crew| run.settle(crew))?;
    drop(crews);
    directory.close().context("removing the stores")?;
    Ok(run.results)
}

impl Run<'_> {
    /// Starts the workers of an engine, loads the store through the first and has all of them read it once.
    fn prepare(&self, engine: &'static engine::Description) -> Result<Crew> {
        eprintln!("loading {}", engine.label);
        let processes = self.arguments.workloads.iter().map(|workload| workload.processes()).max().unwrap_or(1);
        let mut crew = Crew::start(engine, if engine.processes { processes } else { 1 }, &self.directory)?;
        for member in 0..crew.len() {
            crew.order(member, Command::Open(self.directory.join(engine.name)))?;
            if member == 0 {
                crew.order(member, Command::Extend)?;
            }
            crew.order(member, Command::Warm)?;
        }
        Ok(crew)
    }

    fn sample(&mut self, round: u64, workload: &'static Workload, crew: &mut Crew) -> Result<()> {
        if workload.overwrites() {
            self.settle(crew)?;
        }
        let outcomes = match workload.kind {
            Kind::Timed(operation, lanes) => self.timed(operation, lanes, crew)?,
            Kind::Durable(lanes) if crew.engine.name.ends_with("-disk") => self.timed(Operation::Set, lanes, crew)?,
            Kind::Durable(_) => return Ok(()),
            Kind::Extend => vec![self.extend(crew)?],
            Kind::Tail(role, neighbour) if crew.engine.processes && crew.engine.grows => {
                return self.tail(workload, [role, neighbour], crew);
            }
            Kind::Tail(..) => return Ok(()),
            Kind::Sustained(operation, lanes) if crew.engine.processes => return self.sustained(workload, operation, lanes, crew),
            Kind::Sustained(..) => return Ok(()),
        };
        let shares: Vec<u64> = outcomes.iter().flat_map(|outcome| &outcome.operations).copied().collect();
        let seconds = outcomes.iter().fold(0.0, |longest: f64, outcome| longest.max(outcome.seconds));
        let rate = shares.iter().sum::<u64>() as f64 / seconds;
        self.results.samples.push(Sample { workload: workload.name, engine: crew.engine.name, round, rate, shares });
        Ok(())
    }

    fn next_seed(&mut self) -> u64 {
        self.seed += 1 << 32;
        self.seed
    }

    fn timed(&mut self, operation: Operation, lanes: u64, crew: &mut Crew) -> Result<Vec<timed::Outcome>> {
        let increments = operation.increments();
        if increments && !self.sums.contains_key(crew.engine.name) {
            self.sums.insert(crew.engine.name, crew.order(0, Command::SumTries)?.sum);
        }
        let (processes, lanes_here) = if crew.engine.processes { (lanes, 1) } else { (1, lanes) };
        let seed = self.next_seed();
        let plan = |seed| timed::Plan { operation, lanes_here, lanes_in_all: lanes, seconds: self.arguments.seconds, seed };
        let commands: Vec<Command> = (0..processes).map(|process| Command::Timed(plan(seed + (process << 16)))).collect();
        self.gate.close();
        let outcomes: Vec<_> = crew.order_all(&commands)?.into_iter().map(|report| report.timed).collect();
        if increments {
            let made: u64 = outcomes.iter().flat_map(|outcome| &outcome.operations).sum();
            *self.sums.entry(crew.engine.name).or_default() += made;
        }
        Ok(outcomes)
    }

    /// Checks that no increment was lost since the sum was last known; the next workload may set `_tries` anew.
    fn settle(&mut self, crew: &mut Crew) -> Result<()> {
        if let Some(expected) = self.sums.remove(crew.engine.name) {
            let found = crew.order(0, Command::SumTries)?.sum;
            ensure!(found == expected, "{} lost increments: {found} of {expected} are there", crew.engine.label);
        }
        Ok(())
    }

    fn extend(&mut self, crew: &mut Crew) -> Result<timed::Outcome> {
        let directory = self.spare(crew);
        crew.order(0, Command::Open(directory.clone()))?;
        let outcome = crew.order(0, Command::Extend)?.timed;
        crew.order(0, Command::Close)?;
        remove(&directory)?;
        Ok(outcome)
    }

    /// A directory for a store of one sample only.
    fn spare(&mut self, crew: &Crew) -> PathBuf {
        let seed = self.next_seed();
        self.directory.join(format!("{}-{}", crew.engine.name, seed >> 32))
    }

    fn sustained(&mut self, workload: &'static Workload, operation: Operation, lanes: u64, crew: &mut Crew) -> Result<()> {
        let directory = self.spare(crew);
        for member in 0..lanes as usize {
            crew.order(member, Command::Open(directory.clone()))?;
            if member == 0 {
                crew.order(member, Command::Extend)?;
            }
            crew.order(member, Command::Warm)?;
        }
        let mut sustained = Sustained::default();
        let before = sustained::disk_bytes(&self.directory)?;
        sustained.sizes[0] = sustained::size(&directory)?;
        for _ in 0..self.arguments.minute {
            let seed = self.next_seed();
            let plan = |seed| timed::Plan { operation, lanes_here: 1, lanes_in_all: lanes, seconds: 1.0, seed };
            let commands: Vec<Command> = (0..lanes).map(|lane| Command::Timed(plan(seed + (lane << 16)))).collect();
            self.gate.close();
            let outcomes: Vec<_> = crew.order_all(&commands)?.into_iter().map(|report| report.timed).collect();
            let operations: u64 = outcomes.iter().flat_map(|outcome| &outcome.operations).sum();
            sustained.rates.push(operations as f64 / outcomes.iter().fold(1.0, |longest: f64, outcome| longest.max(outcome.seconds)));
            sustained.operations += operations;
        }
        sustained.sizes[1] = sustained::size(&directory)?;
        std::thread::sleep(Duration::from_secs(sustained::REST_SECONDS));
        sustained.sizes[2] = sustained::size(&directory)?;
        sustained.disk_bytes = sustained::disk_bytes(&self.directory)? - before;
        for member in 0..lanes as usize {
            crew.order(member, Command::Close)?;
        }
        self.results.sustained.entry(workload.name).or_default().insert(crew.engine.name, sustained);
        remove(&directory)
    }

    fn tail(&mut self, workload: &'static Workload, [role, neighbour]: [Role; 2], crew: &mut Crew) -> Result<()> {
        const MEASURED: usize = 0;
        const LOADER: usize = 1;
        let directory = self.spare(crew);
        crew.order(LOADER, Command::Open(directory.clone()))?;
        crew.order(LOADER, Command::Extend)?;
        crew.order(MEASURED, Command::Open(directory.clone()))?;
        crew.order(MEASURED, Command::Warm)?;
        let steps: &[&[Role]] = match self.arguments.control {
            ControlTime::Together => &[&[role, neighbour, Role::Control]],
            ControlTime::Apart => &[&[role, neighbour], &[Role::Control, neighbour]],
        };
        let mut tail = Tail::default();
        for roles in steps {
            self.tail_step(roles, crew, &mut tail)?;
        }
        crew.order(MEASURED, Command::Close)?;
        crew.order(LOADER, Command::Close)?;
        remove(&directory)?;
        let all = self.results.tails.entry(workload.name).or_default().entry(crew.engine.name).or_default();
        all.measured.merge(&tail.measured);
        all.control.merge(&tail.control);
        all.loaded += tail.loaded;
        Ok(())
    }

    fn tail_step(&mut self, roles: &[Role], crew: &mut Crew, tail: &mut Tail) -> Result<()> {
        let first_fresh = self.arguments.key_count + tail.loaded;
        let seed = self.next_seed();
        let (seconds, lanes_in_all) = (self.arguments.seconds, roles.len() as u64);
        let plan = |&role: &Role| Command::Tail(tail::Plan { role, lanes_in_all, seconds, seed, first_fresh });
        self.gate.close();
        let reports = crew.order_all(&roles.iter().map(plan).collect::<Vec<_>>())?;
        for (role, report) in roles.iter().zip(reports) {
            match role {
                Role::Clean => {}
                Role::Load => tail.loaded += report.tail.loaded,
                Role::Control => tail.control.merge(&report.tail.histogram),
                Role::Get | Role::Set => tail.measured.merge(&report.tail.histogram),
            }
        }
        Ok(())
    }
}

fn remove(directory: &Path) -> Result<()> {
    std::fs::remove_dir_all(directory).with_context(|| format!("removing {}", directory.display()))
}
