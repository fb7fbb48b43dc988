//! `tastypod completions` and `man`: for shells and for readers.

use crate::outcome::{Outcome, Result, Trouble};
use crate::output;
use clap::CommandFactory;
use std::path::PathBuf;

/// Prints a script that completes this command's arguments: tastypod completions bash > ~/.local/share/bash-completion/completions/tastypod
#[derive(clap::Args)]
pub struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

/// Prints the manual page of this command, or of one of its subcommands: tastypod man run | man -l -
#[derive(clap::Args)]
pub struct Man {
    /// The subcommand
    subcommand: Option<String>,
    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "subcommand")]
    out: Option<PathBuf>,
}

fn command() -> clap::Command {
    crate::Cli::command()
}

/// Prints what was made in memory, so that a reader who goes away is no panic of its maker.
fn print(bytes: &[u8]) -> Result {
    output::print(|out| out.write_all(bytes).map_err(|error| Trouble::io("standard output", &error)))?;
    Ok(Outcome::Done)
}

pub fn completions(args: &Completions) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "tastypod", &mut script);
    print(&script)
}

pub fn man(args: &Man) -> Result {
    if let Some(directory) = &args.out {
        let failed = |error| Trouble::io(directory.display(), &error);
        std::fs::create_dir_all(directory).map_err(failed)?;
        clap_mangen::generate_to(command(), directory).map_err(failed)?;
        return Ok(Outcome::Done);
    }
    let mut command = command();
    command.build();
    let page = match &args.subcommand {
        None => command,
        Some(name) => command.find_subcommand(name).cloned().ok_or_else(|| Trouble::usage(format!("{name}: no such subcommand")))?,
    };
    let name = page.get_display_name().unwrap_or_else(|| page.get_name()).to_owned();
    let mut text = Vec::new();
    clap_mangen::Man::new(page).title(name).render(&mut text).map_err(|error| Trouble::io("the manual page", &error))?;
    print(&text)
}
