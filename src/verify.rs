//! A check of a whole store, and its sizes. Read-only; may look at everything.

mod tasks;

use crate::error::{Owner, Result};
use crate::index::order;
use crate::index::table::VOID;
use crate::limits::{PROCESSES_MAX, SEGMENT_BYTES};
use crate::log::record::{self, Kind, Record};
use crate::log::scan::{Ended, Scan};
use crate::segment::counters::Counters;
use crate::segment::heap::{Position, Segment};
use crate::segment::slots::State;
use crate::store::core::shared::{Mode, Shared};
use crate::store::read::snapshot::Instant;
use crate::store::recover::aside;
use crate::store::write::locked::Locked;
use crate::sys::atomic::Ordering;
use crate::sys::{file, process};
use crate::value;
use hashbrown::HashMap;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// What [`Pod::verify`](crate::Pod::verify) found.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// let report = pod.verify()?;
/// assert!(report.is_clean() && report.findings().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Report {
    findings: Vec<String>,
    put_aside: Vec<PathBuf>,
    transactions: u64,
    records: u64,
    keys: u64,
}

impl Report {
    /// Whether the store is in order.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// assert!(pod.verify()?.is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// What is wrong, one sentence for each finding, at most a thousand.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// for finding in pod.verify()?.findings() {
    ///     eprintln!("{finding}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Copies of old logs, the oldest first, at most three. A copy is made when a part of a log cannot be used and is dropped. The files lie
    /// beside the log, so that you can look for lost data in them. They do not mean that something is wrong now. You may remove them.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// assert!(pod.verify()?.put_aside().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_aside(&self) -> &[PathBuf] {
        &self.put_aside
    }

    fn find(&mut self, finding: impl Into<String>) {
        if self.findings.len() < 1000 {
            self.findings.push(finding.into());
        }
    }

    fn expect(&mut self, what: &str, found: u64, expected: u64) {
        if found != expected {
            self.find(format!("{what} is {found}, the log says {expected}"));
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} transactions, {} records, {} keys checked: ", self.transactions, self.records, self.keys)?;
        match self.findings.len() {
            0 => f.write_str("clean")?,
            count => write!(f, "{count} findings")?,
        }
        self.findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))?;
        let aside = |path: &PathBuf| write!(f, "\n  put aside, since a part of it was let go: {}", path.display());
        self.put_aside.iter().try_for_each(aside)
    }
}

/// Sizes and counts of a store.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// println!("{}", pod.stats()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The number of keys.
    pub keys: u64,
    /// The number of transactions committed since the store was made.
    pub transactions: u64,
    /// How many places in the order were given out since the store was made.
    pub ordinals: u64,
    /// Places in the order, from the first key to the last. A place whose key was removed is a gap, which [`Pod::compact`](crate::Pod::compact)
    /// closes.
    pub places: u64,
    /// Bytes of the log in use, in whole segments.
    pub log_bytes: u64,
    /// Bytes of the log that hold current values. May be too high after a process was killed.
    pub live_bytes: u64,
    /// The other bytes of the log in use: old values, and space that is not used yet.
    pub dead_bytes: u64,
    /// Segments of the log, free ones included. A segment is 4 MiB.
    pub segments: u64,
    /// How many of the segments are free.
    pub segments_free: u64,
    /// Whether a segment is being cleaned: its current values move elsewhere, so that its space can be used again.
    pub is_cleaning: bool,
    /// Bytes of the log that have disk space: in use, or allocated in advance.
    pub log_bytes_ready: u64,
    /// Bytes of the index that have disk space.
    pub index_bytes: u64,
    /// Bytes of the order file that have disk space.
    pub order_bytes: u64,
    /// Slots of the hash table.
    pub slots: u64,
    /// How many of the slots are in use.
    pub slots_used: u64,
    /// How many living processes have the store open for writing.
    pub processes: u64,
    /// Which processes these are, by process id.
    pub open_by: Vec<Owner>,
    /// Who holds the store's lock now, and for how long. A lock lasts microseconds, so this is usually `None`.
    pub lock: Option<(Owner, Duration)>,
    /// How many transactions the snapshots of this process keep readable.
    pub pins: u64,
    /// The oldest transaction that a snapshot of any process keeps readable.
    pub oldest_pin: Option<u64>,
    /// Which processes keep transactions readable, the oldest transaction first. Processes that this one may not see are missing.
    pub pin_holders: Vec<PinHolder>,
    /// Whether cleaning waits for one of these snapshots to end. Until then the log grows with every write.
    pub is_held: bool,
    /// Disk space of all files below `.live`, in bytes.
    pub disk_bytes: u64,
    /// All transactions up to this one are safe on the disk. `None` if no process has asked for
    /// [`Durability::Disk`](crate::Durability::Disk).
    pub durable: Option<u64>,
    /// How many times the log was flushed to the disk since the machine was started.
    pub flushes: u64,
    /// How many of these flushes failed, or have no known result because their process died.
    pub flushes_failed: u64,
    /// How many transactions the last flush brought to the disk.
    pub flush_batch: u64,
    /// The most transactions that one flush brought to the disk.
    pub flush_batch_max: u64,
    /// The first transaction that a failed flush did not bring to the disk. It and later ones are committed, but a power cut may undo them.
    pub poisoned_from: Option<u64>,
}

/// The most important values, one a line. `{:#?}` shows all.
impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        writeln!(f, "{} keys, {} transactions", self.keys, self.transactions)?;
        writeln!(
            f,
            "{:.1} MiB on the disk, log {:.1} MiB, of which {:.1} live",
            mib(self.disk_bytes),
            mib(self.log_bytes),
            mib(self.live_bytes)
        )?;
        write!(f, "open by {}", if self.open_by.is_empty() { "nobody" } else { "" })?;
        for (index, owner) in self.open_by.iter().enumerate() {
            write!(f, "{}{owner}", if index == 0 { "" } else { ", " })?;
        }
        if let Some((owner, since)) = &self.lock {
            write!(f, "\nlocked by {owner} for {since:.1?}")?;
        }
        for holder in &self.pin_holders {
            write!(f, "\ntransaction {} is kept readable by {}", holder.transaction, holder.owner)?;
        }
        Ok(())
    }
}

/// A process that keeps a transaction readable, because it has a snapshot or is in a loop. The log from that transaction on cannot be
/// reused meanwhile.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// let snapshot = pod.snapshot()?;
/// for holder in pod.stats()?.pin_holders {
///     println!("{} keeps transaction {}", holder.owner, holder.transaction);
/// }
/// # drop(snapshot);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PinHolder {
    /// The process.
    pub owner: Owner,
    /// The oldest transaction that it keeps readable.
    pub transaction: u64,
}

pub(crate) fn stats(shared: &Shared) -> Result<Stats> {
    shared.enter()?;
    let counters = shared.counters()?;
    let (_, table) = shared.table()?;
    let (ready, flush) = (&shared.control.ready, &shared.control.flush);
    let horizon = flush.horizon.load(Ordering::Acquire);
    let slots = (0..shared.control.log.segments.load(Ordering::Relaxed)).filter_map(|segment| shared.slot(Segment(segment)).ok());
    let slots: Vec<(State, u64)> = slots.map(|slot| (slot.state(), slot.live.load(Ordering::Relaxed))).collect();
    let oldest_pin = shared.membership.oldest_pin(&shared.live())?;
    // To look through all processes takes a while: only where it matters.
    let holders = if oldest_pin.is_some() { shared.membership.pin_holders() } else { Vec::new() };
    let files = &shared.files;
    let disk_bytes =
        [&files.log, &files.index, &files.order, &files.segments].into_iter().map(|file| file::disk_bytes(file).unwrap_or(0)).sum();
    // Those with nothing live are used again when the next one is entered; the log ends in one all the same.
    let last = Position(shared.control.log.sealed.load(Ordering::Relaxed)).segment();
    let mut in_use = false;
    let is_used = |(segment, (state, live)): (usize, &(State, u64))| {
        in_use = if *state == State::Inside { in_use } else { matches!(state, State::InLog(_)) && (*live > 0 || segment as u64 == last.0) };
        in_use
    };
    let segments = slots.iter().enumerate().map(is_used).filter(|is_used| *is_used).count() as u64;
    let is_alive = |slot: &u64| shared.membership.identity_in(shared.control, *slot).is_some_and(|identity| !process::is_dead(identity));
    let mut open_by: Vec<Owner> =
        (0..PROCESSES_MAX as u64).filter(is_alive).map(|slot| shared.membership.owner_in(shared.control, slot)).collect();
    open_by.sort_by_key(|owner| owner.pid);
    let live_bytes = slots.iter().filter(|(state, _)| matches!(state, State::InLog(_))).map(|(_, live)| live).sum();
    Ok(Stats {
        keys: counters.length,
        transactions: counters.sequence,
        ordinals: counters.next_ordinal,
        places: counters.next_ordinal.saturating_sub(shared.first_ordinal(counters.sequence)),
        log_bytes: segments * SEGMENT_BYTES,
        live_bytes,
        dead_bytes: (segments * SEGMENT_BYTES).saturating_sub(live_bytes),
        segments,
        segments_free: slots.len() as u64 - segments,
        is_cleaning: shared.control.log.victim.load(Ordering::Relaxed) != 0,
        log_bytes_ready: ready.log.load(Ordering::Relaxed),
        index_bytes: ready.index.load(Ordering::Relaxed),
        order_bytes: ready.order.load(Ordering::Relaxed),
        slots: table.place.slots(),
        slots_used: shared.control.table.occupied.get(),
        processes: open_by.len() as u64,
        open_by,
        lock: shared.lock_holder(),
        pins: shared.membership.own_pins() as u64,
        oldest_pin,
        pin_holders: holders.into_iter().map(|(owner, transaction)| PinHolder { owner, transaction }).collect(),
        is_held: oldest_pin.is_some_and(|pin| pin < shared.control.log.noted.load(Ordering::Relaxed)),
        disk_bytes,
        durable: (flush.asked.load(Ordering::Relaxed) != 0).then_some(horizon),
        flushes: flush.flushes.load(Ordering::Relaxed),
        flushes_failed: flush.failed.load(Ordering::Relaxed),
        flush_batch: flush.batch.load(Ordering::Relaxed),
        flush_batch_max: flush.batch_max.load(Ordering::Relaxed),
        poisoned_from: (flush.mended.load(Ordering::Relaxed) < flush.failed.load(Ordering::Relaxed)).then_some(horizon + 1),
    })
}

/// The state that the log alone says a store has.
#[derive(Default)]
struct Replayed<'a> {
    /// The newest record of every key of which there is any.
    heads: HashMap<&'a [u8], (Position, Record<'a>)>,
    last: Option<Ended>,
    settings: Position,
}

pub(crate) fn verify(shared: &Shared, timeout: Duration) -> Result<Report> {
    shared.enter()?;
    let mut report = Report { put_aside: aside::all(&shared.live()), ..Report::default() };
    match shared.mode {
        // Under the mutex nothing changes meanwhile.
        Mode::Writer => {
            let _locked = Locked::new(shared, timeout)?;
            compare(shared, &mut report)?;
        }
        Mode::Private => compare(shared, &mut report)?,
        // Who only reads checks what one snapshot sees, while others go on.
        Mode::Reader => check_snapshot(&Instant::take(shared)?, &mut report)?,
    }
    Ok(report)
}

fn check_snapshot(instant: &Instant<&Shared>, report: &mut Report) -> Result<()> {
    let (shared, counters) = (*instant.shared()?, instant.counters());
    let (mut length, mut sum) = (0, 0u64);
    for ordinal in instant.first_ordinal()..counters.next_ordinal {
        if let Some(record) = shared.ordinal_at(counters.sequence, ordinal)? {
            check_record(shared, &record, report);
            length += 1;
            sum = sum.wrapping_add(record::fingerprint(record.hash(), record.version()));
            let found = shared.get_at(counters.sequence, record.hash(), record.key())?;
            if found.is_none_or(|found| !std::ptr::eq(found.bytes(), record.bytes())) {
                report.find(format!("the index has another record than the order of the key with ordinal {ordinal}"));
            }
        }
    }
    report.keys = length;
    report.expect("the number of keys", counters.length, length);
    Ok(())
}

fn check_record(shared: &Shared, record: &Record<'_>, report: &mut Report) {
    report.records += 1;
    let at = || shared.heap.position_of(record.bytes()).bytes();
    if !record.is_intact() {
        report.find(format!("the checksum of the record at byte {} is wrong", at()));
    }
    if record.kind() != Kind::Settings && record.hash() != record::hash_of(record.key(), shared.header.seed) {
        report.find(format!("the record at byte {} has another hash than its key", at()));
    }
    if record.kind() != Kind::Remove
        && let Err(what) = value::validate(record.value())
    {
        report.find(format!("the value at byte {} is malformed: {what}", at()));
    }
}

fn compare(shared: &Shared, report: &mut Report) -> Result<()> {
    let counters = shared.counters()?;
    let replayed = replay(shared, counters.sequence, report);
    let said = replayed.last.map_or_else(Counters::default, |last| last.counters);
    report.expect("the commit word", counters.sequence, said.sequence);
    report.expect("the number of keys", counters.length, said.length);
    for (what, kept, said) in [
        ("the tasks done", counters.done, said.done),
        ("the tasks tried", counters.tried, said.tried),
        ("the tasks aborted and failed", counters.given_up(), said.given_up()),
    ] {
        report.expect(what, kept, said);
    }
    report.expect("the next ordinal", counters.next_ordinal, said.next_ordinal);
    report.expect("the position of the settings", shared.control.log.settings.get(), replayed.settings.0);
    let first = shared.record(replayed.settings).map_or(0, |settings| settings.ordinal());
    report.expect("the first place in order", shared.control.order.first.get(), first);
    report.expect("the sealed position", shared.control.log.sealed.get(), replayed.last.map_or(0, |last| last.at.0));
    let present: Vec<_> = replayed.heads.values().filter(|(_, record)| record.is_set()).collect();
    report.expect("the number of keys in the log", present.len() as u64, said.length);
    let sum = present.iter().fold(0u64, |sum, (_, record)| sum.wrapping_add(record::fingerprint(record.hash(), record.version())));
    report.expect("the fingerprint of all keys", sum, replayed.last.map_or(0, |last| last.fingerprint));
    compare_index(shared, &replayed, report)?;
    let next_ordinal = said.next_ordinal.min(counters.next_ordinal);
    compare_order(shared, &replayed, next_ordinal, report)?;
    tasks::compare_tasks(shared, report)?;
    compare_segments(shared, &replayed, next_ordinal, report)
}

fn replay<'a>(shared: &'a Shared, until: u64, report: &mut Report) -> Replayed<'a> {
    let ready = shared.control.ready.log.load(Ordering::Acquire);
    // A private reader has put nothing in order.
    let scan_of = if shared.mode == Mode::Private { Scan::tolerant } else { Scan::new };
    let mut scan = scan_of(&shared.heap, ready, shared.header.salt, |segment| shared.has_head(segment));
    let mut replayed = Replayed::default();
    while replayed.last.map_or(0, |last| last.counters.sequence) < until {
        let transaction = match scan.next() {
            Ok(transaction) => transaction,
            Err(end) => {
                report.find(format!("the log is damaged at byte {}: {}", end.at.bytes(), end.why));
                break;
            }
        };
        for (position, record) in &transaction.records {
            check_record(shared, record, report);
            if record.kind() == Kind::Settings {
                replayed.settings = *position;
                continue;
            }
            // A moved mark of a removal may come after a newer record of its key.
            let age = |record: &Record<'_>| (record.version(), record.ordinal());
            if replayed.heads.get(record.key()).is_none_or(|(_, known)| age(known) <= age(record)) {
                replayed.heads.insert(record.key(), (*position, *record));
            }
        }
        report.transactions += 1;
        replayed.last = transaction.end.or(replayed.last);
    }
    replayed
}

/// What is counted of each segment against what the records that order and settings name take in it.
fn compare_segments(shared: &Shared, replayed: &Replayed<'_>, next_ordinal: u64, report: &mut Report) -> Result<()> {
    let mut live: HashMap<u64, u64> = HashMap::new();
    let settings = Some(replayed.settings).filter(|settings| *settings != Position::NONE);
    for position in (shared.control.order.low.get()..next_ordinal).filter_map(|ordinal| shared.ordinal_head(ordinal)).chain(settings) {
        let bytes = shared.record(position).map_or(0, |record| record.bytes().len() as u64);
        *live.entry(position.segment().0).or_default() += bytes;
        if !matches!(shared.slot(position.segment())?.state(), State::InLog(_)) {
            report.find(format!("the segment of the record at byte {}, which is in use, counts as free", position.bytes()));
        }
    }
    for (segment, live) in live {
        let counted = shared.slot(Segment(segment))?.live.get();
        if counted < live {
            report.find(format!("segment {segment} counts {counted} bytes in use, {live} are"));
        }
    }
    Ok(())
}

fn compare_index(shared: &Shared, replayed: &Replayed<'_>, report: &mut Report) -> Result<()> {
    let (_, table) = shared.table()?;
    let mut used = 0;
    for slot in 0..table.place.words() {
        let entry = table.entry(slot);
        if entry.0 == 0 {
            continue;
        }
        used += 1;
        if entry == VOID {
            continue;
        }
        match shared.record(entry.position()) {
            Err(_) => report.find(format!("slot {slot} names a place without a record")),
            Ok(record) => {
                if replayed.heads.get(record.key()).is_none_or(|(position, _)| *position != entry.position()) {
                    report.find(format!("slot {slot} does not name the newest record of its key"));
                }
                if entry.is_dead() == record.is_set() {
                    report.find(format!("slot {slot} is wrong about whether its key was removed"));
                }
            }
        }
    }
    if used > shared.control.table.occupied.get() {
        report.find(format!("{used} slots are in use, {} are counted", shared.control.table.occupied.get()));
    }
    for (key, (position, record)) in &replayed.heads {
        report.keys += u64::from(record.is_set());
        match shared.published(record.hash(), key)? {
            Some((found, _)) if found == *position => {}
            // A table may have dropped the mark of a removed key.
            None if !record.is_set() => {}
            Some(_) => report.find(format!("the index has another record than the newest, at byte {}, of a key", position.bytes())),
            None => report.find(format!("the index misses the key of the record at byte {}", position.bytes())),
        }
    }
    Ok(())
}

fn compare_order(shared: &Shared, replayed: &Replayed<'_>, next_ordinal: u64, report: &mut Report) -> Result<()> {
    let mut present = 0;
    for ordinal in shared.control.order.low.get()..next_ordinal {
        if order::forward(&shared.order, ordinal).is_some_and(|other| other > next_ordinal) {
            report.find(format!("ordinal {ordinal} leads to one that was never given out"));
        }
        // Nothing stands where a key was removed whose records are gone.
        let Some(position) = shared.ordinal_head(ordinal) else { continue };
        let Ok(record) = shared.record(position) else {
            report.find(format!("ordinal {ordinal} names a place without a record"));
            continue;
        };
        if record.ordinal() != ordinal {
            report.find(format!("ordinal {ordinal} names a record with ordinal {}", record.ordinal()));
        }
        if order::is_hole(&shared.order, ordinal) == record.is_set() {
            report.find(format!("ordinal {ordinal} is wrong about whether its key was removed"));
        }
        if record.is_set() {
            present += 1;
            if replayed.heads.get(record.key()).is_none_or(|(newest, _)| *newest != position) {
                report.find(format!("ordinal {ordinal} does not name the newest record of its key"));
            }
        }
    }
    report.expect("the number of keys in order", present, replayed.last.map_or(0, |last| last.counters.length));
    Ok(())
}
