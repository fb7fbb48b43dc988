//! The parent's side of the worker processes of one engine.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, anyhow};

use crate::engine::Description;
use crate::worker::{Command, Reply, Report};

struct Member {
    process: Child,
    /// Taken away to make it leave.
    commands: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

pub struct Crew {
    pub engine: &'static Description,
    members: Vec<Member>,
}

impl Crew {
    pub fn start(engine: &'static Description, size: u64, directory: &Path) -> Result<Crew> {
        let start_one = |_| {
            let mut process = std::process::Command::new(std::env::current_exe()?)
                .args(["worker", engine.name])
                .arg(directory)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let commands = process.stdin.take();
            let replies = BufReader::new(process.stdout.take().context("a worker without standard output")?);
            Ok(Member { process, commands, replies })
        };
        let members = (0..size).map(start_one).collect::<Result<_>>()?;
        Ok(Crew { engine, members })
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Commands one worker and waits for its report.
    pub fn order(&mut self, member: usize, command: Command) -> Result<Report> {
        self.send(member, &command)?;
        self.receive(member)
    }

    /// Sends the first workers a command each, then waits for all of their reports.
    pub fn order_all(&mut self, commands: &[Command]) -> Result<Vec<Report>> {
        for (member, command) in commands.iter().enumerate() {
            self.send(member, command)?;
        }
        (0..commands.len()).map(|member| self.receive(member)).collect()
    }

    fn send(&mut self, member: usize, command: &Command) -> Result<()> {
        let line = serde_json::to_string(command)? + "\n";
        let commands = self.members[member].commands.as_mut().context("the worker was sent away")?;
        commands.write_all(line.as_bytes()).with_context(|| format!("a worker of {} has ended", self.engine.name))
    }

    fn receive(&mut self, member: usize) -> Result<Report> {
        let mut line = String::new();
        self.members[member].replies.read_line(&mut line)?;
        let reply: Reply = serde_json::from_str(&line).with_context(|| format!("a worker of {} has ended", self.engine.name))?;
        reply.map_err(|message| anyhow!("{}: {message}", self.engine.name))
    }
}

impl Drop for Crew {
    /// Lets every worker close its stores and leave.
    fn drop(&mut self) {
        for member in &mut self.members {
            member.commands = None;
        }
        for member in &mut self.members {
            let _ = member.process.wait();
        }
    }
}
