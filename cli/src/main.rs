//! `tastypod`: a resumable parallel job runner that several shells may join, and a window into any store.

mod add;
mod change;
mod duration;
mod export;
mod failures;
mod import;
mod items;
mod ls;
mod outcome;
mod output;
mod pages;
mod repair;
mod run;
mod select;
mod status;
mod store;
mod top;
mod upkeep;
mod values;
mod verify;
mod who;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// A resumable parallel job runner, and a window into any store of tastypod.
///
/// `tastypod add` puts tasks into a tracker, `tastypod run` does them, from any number of shells at once. Kill any of them, or all: what was
/// done stays done, and the next run goes on.
#[derive(Parser)]
#[command(name = "tastypod", version, after_long_help = outcome::EXIT_CODES, propagate_version = true, infer_subcommands = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Add(add::Args),
    Run(run::Args),
    Status(status::Args),
    Failures(failures::Args),
    Retry(change::Retry),
    Abort(change::Abort),
    Reset(change::Reset),
    Who(who::Args),
    Top(top::Args),
    Get(values::Get),
    Set(values::Set),
    Rm(values::Rm),
    Ls(ls::Args),
    Import(import::Args),
    Export(export::Args),
    Sync(upkeep::Sync),
    Verify(verify::Args),
    Repair(repair::Args),
    Compact(upkeep::Compact),
    Convert(upkeep::Convert),
    Completions(pages::Completions),
    Man(pages::Man),
}

impl Command {
    fn run(self) -> outcome::Result {
        match self {
            Command::Add(args) => add::add(&args),
            Command::Run(args) => run::run(&args),
            Command::Status(args) => status::status(&args),
            Command::Failures(args) => failures::failures(&args),
            Command::Retry(args) => change::retry(&args),
            Command::Abort(args) => change::abort(&args),
            Command::Reset(args) => change::reset(&args),
            Command::Who(args) => who::who(&args),
            Command::Top(args) => top::top(&args),
            Command::Get(args) => values::get(&args),
            Command::Set(args) => values::set(&args),
            Command::Rm(args) => values::rm(&args),
            Command::Ls(args) => ls::ls(&args),
            Command::Import(args) => import::import(&args),
            Command::Export(args) => export::export(&args),
            Command::Sync(args) => upkeep::sync(&args),
            Command::Verify(args) => verify::verify(&args),
            Command::Repair(args) => repair::repair(&args),
            Command::Compact(args) => upkeep::compact(&args),
            Command::Convert(args) => upkeep::convert(&args),
            Command::Completions(args) => pages::completions(&args),
            Command::Man(args) => pages::man(&args),
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(outcome) => outcome.into(),
        Err(trouble) => {
            eprintln!("tastypod: {}", trouble.message);
            ExitCode::from(trouble.code)
        }
    }
}
