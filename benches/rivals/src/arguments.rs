//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lexopt::{Arg, Parser, ValueExt};

use crate::engine::{self, Description};
use crate::workload::{self, Workload};

pub const HELP: &str = "\
Runs the same workloads on tastypod and its rivals, interleaved, and prints rates and ratios.

    cargo run --release -- [options]

    --n COUNT             keys [100000]; 50 bytes each, with a document of 102 bytes
    --rounds COUNT        samples of every workload and engine [5]
    --seconds TIME        length of one sample [0.5]
    --minute TIME         length of a `sustained` run, in seconds [60]
    --only NAME,..        workloads; `increment` means all whose names begin with `increment-`
    --engines NAME,..     engines; the first is the one that the others are compared with
    --control WHEN        the tail's control process runs `together` with the measured one or `apart` [together]
    --dir DIRECTORY       where to make the stores, on a real file system [.]; they are removed at the end
    --svg FILE            write a plot
    --json FILE           write everything that was measured
    --list                show workloads and engines
";

pub enum Call {
    Run(Arguments),
    Worker { engine: String, directory: PathBuf },
    Help,
    List,
}

/// Whether the control process of the tail workloads shares the processors with the process that is measured. On a
/// machine of two cores three busy processes wait for one another; apart, each is measured beside the loader alone.
#[derive(Clone, Copy, PartialEq)]
pub enum ControlTime {
    Together,
    Apart,
}

pub struct Arguments {
    pub key_count: u64,
    pub rounds: u64,
    pub seconds: f64,
    pub minute: u64,
    pub workloads: Vec<&'static Workload>,
    pub engines: Vec<&'static Description>,
    pub control: ControlTime,
    pub directory: PathBuf,
    pub svg: Option<PathBuf>,
    pub json: Option<PathBuf>,
}

pub fn parse() -> Result<Call> {
    let mut parser = Parser::from_env();
    let (mut only, mut engines) = (Vec::new(), Vec::new());
    let mut arguments = Arguments {
        key_count: 100_000,
        rounds: 5,
        seconds: 0.5,
        minute: 60,
        workloads: Vec::new(),
        engines: Vec::new(),
        control: ControlTime::Together,
        directory: ".".into(),
        svg: None,
        json: None,
    };
    while let Some(argument) = parser.next()? {
        match argument {
            Arg::Long("n") => arguments.key_count = parser.value()?.parse()?,
            Arg::Long("rounds") => arguments.rounds = parser.value()?.parse()?,
            Arg::Long("seconds") => arguments.seconds = parser.value()?.parse()?,
            Arg::Long("minute") => arguments.minute = parser.value()?.parse()?,
            Arg::Long("only") => only = names(parser.value()?)?,
            Arg::Long("engines") => engines = names(parser.value()?)?,
            Arg::Long("control") => arguments.control = parser.value()?.parse_with(control_time)?,
            Arg::Long("dir") => arguments.directory = parser.value()?.into(),
            Arg::Long("svg") => arguments.svg = Some(parser.value()?.into()),
            Arg::Long("json") => arguments.json = Some(parser.value()?.into()),
            Arg::Long("list") => return Ok(Call::List),
            Arg::Long("help") | Arg::Short('h') => return Ok(Call::Help),
            // Not for people: this is how the program starts its worker processes.
            Arg::Value(name) if name == "worker" => {
                return Ok(Call::Worker { engine: parser.value()?.string()?, directory: parser.value()?.into() });
            }
            // `cargo bench` passes it.
            Arg::Long("bench") => {}
            other => return Err(other.unexpected().into()),
        }
    }
    ensure!(arguments.key_count > 0 && arguments.rounds > 0 && arguments.seconds > 0.0, "--n, --rounds and --seconds must be above 0");
    arguments.workloads = workload::select(&only)?;
    arguments.engines = select_engines(&engines)?;
    Ok(Call::Run(arguments))
}

fn names(list: OsString) -> Result<Vec<String>> {
    let list = list.string().context("a list of names")?;
    Ok(list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect())
}

fn control_time(word: &str) -> Result<ControlTime> {
    match word {
        "together" => Ok(ControlTime::Together),
        "apart" => Ok(ControlTime::Apart),
        _ => anyhow::bail!("`together` or `apart`"),
    }
}

fn select_engines(names: &[String]) -> Result<Vec<&'static Description>> {
    if names.is_empty() {
        return Ok(engine::ALL.iter().filter(|engine| engine.default).collect());
    }
    names.iter().map(|name| engine::describe(name)).collect()
}
