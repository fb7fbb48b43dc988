//! `tastypod repair`: gets a damaged store to open again, and throws nothing away.
//!
//! What is wrong with the shared state is moved out of it, least first, until the store opens and is clean: first the tables that are made from
//! the log, then what stands in the log behind a place that cannot be read, then the log, whose saved part stands in the JSON files. Of those,
//! files are made anew without the lines that cannot be read. What was moved lies in a directory beside the store afterwards. For a file that is missing or cut off, and for the manifest, nothing makes up.

use crate::outcome::{Outcome, Result, Trouble};
use crate::verify::{self, is_damage};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tastypod::{ErrorKind, Options};

/// Gets a damaged store to open again. Says what it would do; does it with --yes. Nothing is deleted: what is taken out of the store is moved
/// into a directory beside it.
#[derive(clap::Args)]
pub struct Args {
    /// The store's directory
    store: PathBuf,
    /// Do it
    #[arg(long)]
    yes: bool,
}

/// What is made again from the log.
const TABLES: [&str; 7] = ["control", "index", "order", "segments", "tasks", "queue", "claims"];

/// What is wrong, by what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Damage {
    /// The shared state: its tables, or its log.
    Live,
    /// A JSON file, compressed or not, has lines that cannot be read; or this one, which says what another says too.
    Lines { shard: PathBuf, line: u64 },
    /// Nothing that is here can make up for it.
    Beyond,
}

/// What is done about the shared state, from what loses least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Tables,
    Rest,
    Log,
}

/// In this order.
const STEPS: [Step; 3] = [Step::Tables, Step::Rest, Step::Log];

impl Step {
    fn explained(self) -> &'static str {
        match self {
            Step::Tables => "move the tables of .live away, and copy the log: they are made again from it, and nothing is lost",
            Step::Rest => {
                "let go of what stands in the log behind a place that cannot be read: lost are the transactions that the message above names, but for what the JSON files have of them"
            }
            Step::Log => {
                "move all of .live away, the log too: what was saved stands in the JSON files; lost is what was changed after the last saving"
            }
        }
    }
}

impl Damage {
    fn explained(&self) -> String {
        match self {
            Damage::Live => {
                let [tables, rest, log] = STEPS.map(Step::explained);
                format!("{tables}; where that does not help, {rest}; and where that does not help either, {log}")
            }
            Damage::Lines { shard, .. } => {
                format!(
                    "move {} away, and put a file with its other lines in its place: lost are those that cannot be read, or say what others say too",
                    shard.display()
                )
            }
            Damage::Beyond => "nothing that is here can make up for it: restore the file from a copy; nothing was changed".to_owned(),
        }
    }
}

/// Whether the lines of a shard can be read.
fn reads(shard: &Path) -> tastypod::Result<()> {
    tastypod::shard::read(shard)?.raw().try_for_each(|entry| entry.map(drop))
}

/// Looks for what is wrong, without changing anything but what each opening does.
fn diagnose(store: &Path) -> Result<Option<(Damage, String)>> {
    let shards = verify::shards(store).map_err(failed(store))?;
    // A file with lines that cannot be read; else the line that the store complains of.
    let of_shard = |shard: &Path, line: u64| match reads(shard) {
        Err(error) if matches!(error.kind(), ErrorKind::Integrity { path, .. } if path.ends_with("pod.json")) => Damage::Beyond,
        Err(_) if shard.extension().is_some_and(|extension| extension == "gz") || !shard.exists() => Damage::Beyond,
        Err(_) => Damage::Lines { shard: shard.to_owned(), line: 0 },
        Ok(()) if line > 0 => Damage::Lines { shard: shard.to_owned(), line },
        Ok(()) => Damage::Beyond,
    };
    let error = match Options::new().create(false).open(store) {
        Ok(pod) => {
            let report = pod.verify()?;
            pod.close()?;
            if let Some(finding) = report.findings().first() {
                return Ok(Some((Damage::Live, finding.clone())));
            }
            let broken = shards.iter().find_map(|(_, shard)| reads(shard).err().map(|error| (of_shard(shard, 0), error.to_string())));
            return Ok(broken);
        }
        Err(error) => error,
    };
    let ErrorKind::Integrity { path, line, what } = error.kind() else { return Err(error.into()) };
    let is_shard = shards.iter().any(|(_, shard)| shard.file_name() == path.file_name());
    let damage = if path.ends_with("pod.json") || what.contains("missing") || what.contains("cut off") && is_shard {
        Damage::Beyond
    } else if is_shard {
        of_shard(&store.join(path.file_name().unwrap_or_default()), line)
    } else {
        Damage::Live
    };
    Ok(Some((damage, error.to_string())))
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Trouble {
    move |error| Trouble::io(path.display(), &error)
}

/// Fails where a living process has it open: byte 0 of the file of locks is locked by each that has.
fn require_alone(store: &Path) -> Result<()> {
    let path = store.join(".live/locks");
    let Ok(locks) = File::options().read(true).write(true).open(&path) else { return Ok(()) };
    let mut lock = libc::flock { l_type: libc::F_WRLCK as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 1, l_pid: 0 };
    nix::fcntl::fcntl(locks.as_fd(), nix::fcntl::FcntlArg::F_OFD_GETLK(&mut lock))
        .map_err(|error| Trouble::system(path.display(), error))?;
    if lock.l_type == libc::F_UNLCK as libc::c_short {
        return Ok(());
    }
    Err(Trouble::failed(format!("{}: somebody has it open (tastypod who, or fuser, says who); end that first", store.display())))
}

/// A name beside the store that is not there yet.
fn quarantine_of(store: &Path) -> Result<PathBuf> {
    let whole = fs::canonicalize(store).map_err(failed(store))?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let free = (0..).map(|number| whole.with_file_name(format!("{name}.quarantine-{}", seconds + number))).find(|path| !path.exists());
    free.ok_or_else(|| Trouble::failed("no name is free for a quarantine"))
}

/// Moves a file into the quarantine, if it is there.
fn move_away(store: &Path, name: &str, quarantine: &Path) -> Result<()> {
    let (from, to) = (store.join(name), quarantine.join(name));
    if fs::symlink_metadata(&from).is_err() {
        return Ok(());
    }
    fs::create_dir_all(to.parent().unwrap_or(quarantine)).map_err(failed(&to))?;
    // A step before may have moved a part of the same directory.
    if to.is_dir() {
        for entry in fs::read_dir(&from).map_err(failed(&from))? {
            let name = entry.map_err(failed(&from))?.file_name();
            fs::rename(from.join(&name), to.join(&name)).map_err(failed(&to))?;
        }
        return fs::remove_dir(&from).map_err(failed(&from));
    }
    fs::rename(&from, &to).map_err(failed(&to))
}

/// Whether a line of a shard can be read, in a file of its own with the manifest beside it.
fn is_readable(line: &[u8], scratch: &Path) -> Result<bool> {
    let file = scratch.join("0.json");
    fs::write(&file, line).map_err(failed(&file))?;
    match tastypod::shard::read(&file).and_then(|entries| entries.raw().try_for_each(|entry| entry.map(drop))) {
        Ok(()) => Ok(true),
        Err(error) if is_damage(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Puts a shard with its readable lines, without the one that was named, in the place of one with others.
fn keep_readable_lines(store: &Path, shard: &Path, named: u64, quarantine: &Path) -> Result<()> {
    let name = shard.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let scratch = quarantine.join("scratch");
    fs::create_dir_all(&scratch).map_err(failed(&scratch))?;
    let manifest = store.join("pod.json");
    if manifest.exists() {
        fs::copy(&manifest, scratch.join("pod.json")).map_err(failed(&manifest))?;
    }
    // A file that has to be mended twice is there twice.
    let moved =
        (0..).map(|round| quarantine.join(if round == 0 { name.clone() } else { format!("{name}.{round}") })).find(|path| !path.exists());
    let moved = moved.unwrap_or_else(|| quarantine.join(&name));
    fs::rename(shard, &moved).map_err(failed(shard))?;
    let mut lines = BufReader::new(File::open(&moved).map_err(failed(&moved))?);
    let mut kept = File::create(shard).map_err(failed(shard))?;
    let (mut line, mut number) = (Vec::new(), 0);
    while lines.read_until(b'\n', &mut line).map_err(failed(&moved))? > 0 {
        number += 1;
        if number != named && is_readable(&line, &scratch)? {
            kept.write_all(&line).map_err(failed(shard))?;
        } else {
            eprintln!("tastypod: left out of {name}: {}", String::from_utf8_lossy(&line).trim_end().chars().take(200).collect::<String>());
        }
        line.clear();
    }
    kept.sync_all().map_err(failed(shard))?;
    // Only copies of ours.
    fs::remove_dir_all(&scratch).map_err(failed(&scratch))
}

fn act(step: Step, store: &Path, quarantine: &Path) -> Result<()> {
    match step {
        Step::Log => return move_away(store, ".live", quarantine),
        // What does not open in this way is left to the next step.
        Step::Rest => return Options::new().create(false).salvage(true).open(store).and_then(|pod| pod.close()).or(Ok(())),
        Step::Tables => {}
    }
    let (log, copy) = (store.join(".live/log"), quarantine.join("log.before"));
    if log.exists() {
        fs::copy(&log, &copy).map_err(failed(&copy))?;
    }
    TABLES.iter().try_for_each(|name| move_away(store, &format!(".live/{name}"), quarantine))
}

/// Does what can be done, until nothing is wrong. What still is, if anything.
fn mend(store: &Path, quarantine: &Path) -> Result<Option<String>> {
    let mut steps = STEPS.into_iter();
    let mut before = None;
    while let Some((damage, finding)) = diagnose(store)? {
        // What did not help once will not help again.
        if damage != Damage::Live && before.as_ref() == Some(&finding) {
            return Ok(Some(finding));
        }
        match &damage {
            Damage::Beyond => return Ok(Some(finding)),
            Damage::Live => {
                let Some(step) = steps.next() else { return Ok(Some(finding)) };
                eprintln!("tastypod: {}", step.explained());
                act(step, store, quarantine)?;
            }
            Damage::Lines { shard, line } => {
                eprintln!("tastypod: {}", damage.explained());
                keep_readable_lines(store, shard, *line, quarantine)?;
            }
        }
        before = Some(finding);
    }
    Ok(None)
}

pub fn repair(args: &Args) -> Result {
    let store = &args.store;
    crate::store::require(store)?;
    require_alone(store)?;
    let Some((damage, finding)) = diagnose(store)? else {
        eprintln!("tastypod: {} is clean; there is nothing to repair", store.display());
        return Ok(Outcome::Done);
    };
    eprintln!("tastypod: {} is damaged: {finding}", store.display());
    if damage == Damage::Beyond {
        eprintln!("tastypod: {}", damage.explained());
        return Ok(Outcome::Corrupt);
    }
    if !args.yes {
        eprintln!("tastypod: with --yes, and alike for what else turns up: {}", damage.explained());
        return Ok(Outcome::Corrupt);
    }
    let quarantine = quarantine_of(store)?;
    fs::create_dir(&quarantine).map_err(failed(&quarantine))?;
    let wrong = mend(store, &quarantine)?;
    let place = quarantine.display();
    Ok(match wrong {
        None => {
            eprintln!("tastypod: {} is clean; what was taken out of it is in {place}", store.display());
            Outcome::Done
        }
        Some(finding) => {
            eprintln!("tastypod: still: {finding}");
            eprintln!("tastypod: this cannot be repaired here; what was taken out of the store is in {place}, to be put back");
            Outcome::Corrupt
        }
    })
}
