//! `--joblog`: a line for each attempt, as GNU parallel writes it, for what reads such logs. It is a report: what is done stands in the tracker.

use super::job::{Attempt, End};
use crate::outcome::{Result, Trouble};
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const HEADER: &str = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n";

#[derive(Debug)]
pub struct Joblog {
    path: PathBuf,
}

impl Joblog {
    /// Opens it, and writes the header into a new one. What the first row would meet is met here.
    pub fn open(path: &Path) -> Result<Joblog> {
        let joblog = Joblog { path: path.to_owned() };
        joblog.append("")?;
        Ok(joblog)
    }

    /// Appends whole rows or nothing; other runs may write there too.
    fn append(&self, rows: &str) -> Result<()> {
        let failed = |error: std::io::Error| Trouble::failed(format!("the joblog {}: {error}", self.path.display()));
        let file = File::options().create(true).read(true).append(true).open(&self.path).map_err(failed)?;
        let mut file = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, error)| failed(error.into()))?;
        let (is_file, length) = file.metadata().map(|metadata| (metadata.is_file(), metadata.len())).map_err(failed)?;
        let mut text = if length == 0 { HEADER.to_owned() } else { String::new() };
        if is_file && length > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1)).and_then(|_| file.read_exact(&mut last)).map_err(failed)?;
            // Something has cut it: the next row is one of its own.
            if last != *b"\n" {
                text.push('\n');
            }
        }
        // What is no file is empty always: its header is written by the first call, which has no rows.
        if !is_file && !rows.is_empty() {
            text.clear();
        }
        text.push_str(rows);
        file.write_all(text.as_bytes()).map_err(|error| {
            // On a full disk half of a row may be there.
            let _ = file.set_len(length);
            failed(error)
        })
    }

    /// Notes an attempt.
    pub fn note(&self, sequence: u64, attempt: &Attempt, command: &str) -> Result<()> {
        let (exit, signal) = match attempt.end {
            End::Exited(code) => (code, 0),
            End::Signalled(signal) => (0, signal),
            End::TimedOut => (-1, 0),
            // They go back, or are somebody else's: no end of a task.
            End::Stopped | End::Lost => return Ok(()),
        };
        let began = SystemTime::now().checked_sub(Duration::from_secs_f64(attempt.seconds)).unwrap_or(UNIX_EPOCH);
        let began = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let (seconds, received) = (attempt.seconds, attempt.streams[0].total);
        let command = command.replace('\n', "\0");
        self.append(&format!("{sequence}\t:\t{began:.3}\t{seconds:10.3}\t0\t{received}\t{exit}\t{signal}\t{command}\n"))
    }
}
