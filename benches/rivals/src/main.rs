//! The workloads of tastypod's comparison, on tastypod and its rivals, in one interleaved run with real processes.

mod arguments;
mod crew;
mod data;
mod engine;
mod gate;
mod histogram;
mod machine;
mod plot;
mod report;
mod results;
mod run;
mod worker;
mod workload;

use std::fs::File;
use std::io::BufWriter;
use std::process::ExitCode;

use anyhow::{Context, Result};

use arguments::{Arguments, Call};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    match arguments::parse()? {
        Call::Run(arguments) => compare(&arguments),
        Call::Worker { engine, directory } => worker::serve(engine, &directory),
        Call::Help => {
            print!("{}", arguments::HELP);
            Ok(())
        }
        Call::List => {
            report::list();
            Ok(())
        }
    }
}

fn compare(arguments: &Arguments) -> Result<()> {
    let results = run::run(arguments)?;
    report::print(&results);
    if let Some(path) = &arguments.json {
        let file = File::create(path).with_context(|| format!("{}", path.display()))?;
        serde_json::to_writer_pretty(BufWriter::new(file), &results)?;
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, plot::draw(&results)).with_context(|| format!("{}", path.display()))?;
    }
    Ok(())
}
