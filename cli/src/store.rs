//! Opening stores. What changes one joins it; what only looks joins it too where it is in use, and else reads its files.

use crate::outcome::{Result, Trouble};
use std::path::Path;
use std::time::Duration;
use tastypod::{ClaimInfo, ErrorKind, Failure, Options, Pod, SyncMode, Tracker};

/// A command saves in the background: a worker that waits for the disk does no work.
fn options() -> Options {
    Options::new().create(false).sync_mode(SyncMode::Background)
}

/// Whether there is something that may be a store.
fn is_there(path: &Path) -> Result<bool> {
    match path.metadata() {
        // An empty directory becomes a store as one that is not there does.
        Ok(found) if found.is_dir() => Ok(path.read_dir().map_or(true, |mut entries| entries.next().is_some())),
        Ok(_) => Err(Trouble::usage(format!("{} is no store: a store is a directory", path.display()))),
        Err(_) if path.is_symlink() => Err(Trouble::usage(format!("{} is a link that leads nowhere", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Trouble::io(path.display(), &error)),
    }
}

/// Fails where there is nothing.
pub fn require(path: &Path) -> Result<()> {
    if is_there(path)? {
        return Ok(());
    }
    Err(Trouble::absent(format!(
        "there is no store at {0}; `tastypod add {0} …` makes a tracker, `tastypod set {0} …` a map",
        path.display()
    )))
}

/// A tracker that is there, to change.
pub fn tracker(path: &Path) -> Result<Tracker> {
    require(path)?;
    options().open_tracker(path).map_err(|error| no_tracker(path, error))
}

/// A tracker, made if it is not there. A new one tries each task once, since that is what is expected of a command; one that is there
/// keeps its own limit.
pub fn tracker_or_new(path: &Path) -> Result<Tracker> {
    let options = options().create(true);
    let options = if is_there(path)? { options } else { options.max_tries(1) };
    options.open_tracker(path).map_err(|error| no_tracker(path, error))
}

/// Why a tracker could not be opened, in the words of the command line where it is a map.
fn no_tracker(path: &Path, error: tastypod::Error) -> Trouble {
    if error.kind() == ErrorKind::WrongKind && Options::new().read_only(true).open(path).is_ok() {
        return is_map(path);
    }
    error.into()
}

fn is_map(path: &Path) -> Trouble {
    Trouble::usage(format!("{0} is a map and no tracker; `tastypod convert {0} --tracker` makes a task of each value", path.display()))
}

/// Whether a look at it should join it: where it has shared state. Else its files are read, and nothing is made of them.
fn is_in_use(path: &Path) -> bool {
    path.join(".live").is_dir()
}

/// How long a look waits for somebody who holds the lock: most of what is looked at needs none.
const PATIENCE: Duration = Duration::from_secs(1);

/// Opens for a look, without a change where that is possible.
fn look<T>(path: &Path, open: impl Fn(Options) -> tastypod::Result<T>) -> Result<T> {
    require(path)?;
    if !is_in_use(path) {
        return Ok(open(options().read_only(true))?);
    }
    match open(options().lock_timeout(PATIENCE)) {
        Ok(opened) => Ok(opened),
        // Somebody else's, or on a medium that cannot be written.
        Err(error) if matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::Io) => {
            open(options().read_only(true)).map_err(|_| error.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// A tracker, to look at.
pub fn tracker_to_read(path: &Path) -> Result<Tracker> {
    look(path, |options| options.open_tracker(path)).map_err(|trouble| match Options::new().read_only(true).open(path) {
        Ok(_) if trouble.code == 2 && !path.join("pod.json").exists() => Trouble::usage(format!(
            "{0} is a directory of tastypy, and a look makes no tracker of it; `tastypod convert {0} --tracker` does",
            path.display()
        )),
        Ok(_) if trouble.code == 2 => is_map(path),
        _ => trouble,
    })
}

/// A tracker, to look at again and again: joined where that may be, since what is only read does not move before somebody joins it.
pub fn tracker_to_watch(path: &Path) -> Result<Tracker> {
    tracker(path).or_else(|_| tracker_to_read(path))
}

/// Whether a task stands failed only until the next run, because its own was killed: see `Deaths` in `run/worker.rs`.
pub fn is_interrupted(tracker: &Tracker, failure: &Failure) -> bool {
    tracker.max_tries() == 1 && failure.is_final && !failure.is_aborted && failure.has_died
}

/// Who works on what. Where somebody holds the lock, claims of dead workers are among them.
pub fn claims(tracker: &Tracker) -> Result<Vec<ClaimInfo>> {
    match tracker.claims() {
        Err(error) if matches!(error.kind(), ErrorKind::LockTimeout { .. }) => {
            eprintln!("tastypod: {error}");
            Ok(Options::new().read_only(true).open_tracker(tracker.path())?.claims()?)
        }
        claims => Ok(claims?),
    }
}

/// A store, to look at.
pub fn pod_to_read(path: &Path) -> Result<Pod> {
    look(path, |options| options.open(path))
}

/// The tracker at a path, to look at; nothing where it is a pod, which it stays.
pub fn tracker_if_it_is_one(path: &Path) -> Option<Tracker> {
    options().read_only(true).open_tracker(path).ok()
}

/// A store that is there, to change.
pub fn pod(path: &Path) -> Result<Pod> {
    require(path)?;
    Ok(options().open(path)?)
}

/// A store, made if it is not there.
pub fn pod_or_new(path: &Path) -> Result<Pod> {
    is_there(path)?;
    Ok(options().create(true).open(path)?)
}
