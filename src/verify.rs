//! A check of a whole store, and its sizes. Read-only; may look at everything.

use crate::error::Result;
use crate::index::order;
use crate::limits::PROCESSES_MAX;
use crate::log::record::{Kind, Record};
use crate::log::scan::Scan;
use crate::segment::heap::Position;
use crate::store::locked::Locked;
use crate::store::shared::{Mode, Shared};
use crate::sys::atomic::Ordering;
use crate::sys::process;
use crate::value;
use hashbrown::HashMap;
use std::fmt;
use std::time::Duration;

/// What [`Pod::verify`](crate::Pod::verify) found.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// let report = pod.verify()?;
/// assert!(report.is_clean() && report.findings().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Report {
    findings: Vec<String>,
    transactions: u64,
    records: u64,
    keys: u64,
}

impl Report {
    /// Whether nothing contradicts anything.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// assert!(pod.verify()?.is_clean());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// What is wrong, one sentence each; at most a thousand.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// for finding in pod.verify()?.findings() {
    ///     eprintln!("{finding}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn findings(&self) -> &[String] {
        &self.findings
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
        if self.is_clean() {
            return f.write_str("clean");
        }
        write!(f, "{} findings", self.findings.len())?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))
    }
}

/// Sizes and counts of a store.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// println!("{:#?}", pod.stats()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Keys present.
    pub keys: u64,
    /// Transactions committed since the store was made.
    pub transactions: u64,
    /// Ordinals given out; those beyond `keys` are holes that removals left.
    pub ordinals: u64,
    /// Bytes of log in use.
    pub log_bytes: u64,
    /// Bytes of log with disk blocks: in use, or allocated ahead.
    pub log_bytes_ready: u64,
    /// Bytes of the index with disk blocks.
    pub index_bytes: u64,
    /// Bytes of the order with disk blocks.
    pub order_bytes: u64,
    /// Slots of the hash table, and how many are in use.
    pub slots: u64,
    /// See `slots`.
    pub slots_used: u64,
    /// Living processes that have it open for writing.
    pub processes: u64,
    /// Transactions that snapshots of this process keep readable.
    pub pins: u64,
    /// The oldest transaction that a snapshot of any process keeps readable.
    pub oldest_pin: Option<u64>,
}

pub(crate) fn stats(shared: &Shared) -> Result<Stats> {
    shared.enter()?;
    let counters = shared.control.commit.read();
    let (_, table) = shared.table()?;
    let ready = &shared.control.ready;
    Ok(Stats {
        keys: counters.length,
        transactions: counters.sequence,
        ordinals: counters.next_ordinal,
        log_bytes: shared.control.log.sealed.load(Ordering::Acquire) * 8,
        log_bytes_ready: ready.log.load(Ordering::Relaxed),
        index_bytes: ready.index.load(Ordering::Relaxed),
        order_bytes: ready.order.load(Ordering::Relaxed),
        slots: table.place.slots(),
        slots_used: shared.control.table.occupied.get(),
        processes: (0..PROCESSES_MAX as u64)
            .filter_map(|slot| shared.membership.identity_in(shared.control, slot))
            .filter(|identity| !process::is_dead(*identity))
            .count() as u64,
        pins: shared.membership.own_pins() as u64,
        oldest_pin: shared.membership.oldest_pin(&shared.live())?,
    })
}

/// The state that the log alone says a store has.
#[derive(Default)]
struct Replayed<'a> {
    /// The newest record of every key that ever was.
    heads: HashMap<&'a [u8], (Position, Record<'a>)>,
    sequence: u64,
    length: u64,
    next_ordinal: u64,
    settings: Position,
    end: Position,
}

pub(crate) fn verify(shared: &Shared, timeout: Duration) -> Result<Report> {
    shared.enter()?;
    // Under the mutex nothing changes meanwhile. Who only reads compares with a store that others may be changing, and
    // so checks the log up to the commit that he saw.
    let _locked = if shared.mode == Mode::Writer { Some(Locked::new(shared, timeout)?) } else { None };
    let mut report = Report::default();
    let counters = shared.control.commit.read();
    let replayed = replay(shared, counters.sequence, &mut report);
    report.expect("the commit word", counters.sequence, replayed.sequence);
    report.expect("the number of keys", counters.length, replayed.length);
    report.expect("the next ordinal", counters.next_ordinal, replayed.next_ordinal);
    if shared.mode != Mode::Reader {
        report.expect("the position of the settings", shared.control.log.settings.get(), replayed.settings.0);
        report.expect("the sealed position", shared.control.log.sealed.get(), replayed.end.0);
        compare_index(shared, &replayed, &mut report)?;
        compare_order(shared, &replayed, &mut report)?;
    }
    Ok(report)
}

fn replay<'a>(shared: &'a Shared, until: u64, report: &mut Report) -> Replayed<'a> {
    let ready = shared.control.ready.log.load(Ordering::Acquire);
    let mut scan = Scan::new(&shared.heap, ready, shared.header.salt);
    let mut replayed = Replayed::default();
    while replayed.sequence < until {
        let transaction = match scan.next() {
            Ok(transaction) => transaction,
            Err(end) => {
                report.find(format!("the log is damaged at byte {}: {}", end.at.bytes(), end.why));
                break;
            }
        };
        let counters = transaction.footer.counters;
        for (position, record) in transaction.records {
            report.records += 1;
            if record.version() != counters.sequence {
                report.find(format!(
                    "the record at byte {} has version {} in transaction {}",
                    position.bytes(),
                    record.version(),
                    counters.sequence
                ));
            }
            if record.kind() == Kind::Settings {
                replayed.settings = position;
                continue;
            }
            if record.hash() != crate::log::record::hash_of(record.key(), shared.header.seed) {
                report.find(format!("the record at byte {} has another hash than its key", position.bytes()));
            }
            if record.is_set()
                && let Err(what) = value::validate(record.value())
            {
                report.find(format!("the value at byte {} is malformed: {what}", position.bytes()));
            }
            let before = replayed.heads.insert(record.key(), (position, record));
            let was_set = before.as_ref().is_some_and(|(_, before)| before.is_set());
            if record.previous() != before.map_or(Position::NONE, |(position, _)| position) {
                report.find(format!("the record at byte {} does not name the one that it replaces", position.bytes()));
            }
            match (record.is_set(), was_set) {
                (true, true) if before.is_some_and(|(_, before)| before.ordinal() != record.ordinal()) => {
                    report.find(format!("the record at byte {} moved its key to another ordinal", position.bytes()));
                }
                (true, false) => {
                    report.expect("the ordinal of a new key", record.ordinal(), replayed.next_ordinal);
                    replayed.next_ordinal += 1;
                    replayed.length += 1;
                }
                (false, true) => replayed.length -= 1,
                (false, false) => report.find(format!("the record at byte {} removes an absent key", position.bytes())),
                (true, true) => {}
            }
        }
        report.transactions += 1;
        replayed.sequence = counters.sequence;
        replayed.end = transaction.footer_at;
        report.expect("the number of keys in a footer", counters.length, replayed.length);
        report.expect("the next ordinal in a footer", counters.next_ordinal, replayed.next_ordinal);
    }
    replayed
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
        report.keys += 1;
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

fn compare_order(shared: &Shared, replayed: &Replayed<'_>, report: &mut Report) -> Result<()> {
    let mut present = 0;
    for ordinal in 0..replayed.next_ordinal {
        let Some(position) = shared.ordinal_head(ordinal) else {
            report.find(format!("ordinal {ordinal} names nothing"));
            continue;
        };
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
    report.expect("the number of keys in order", present, replayed.length);
    Ok(())
}
