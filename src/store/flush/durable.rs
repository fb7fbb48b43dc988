//! Durable commits: waiting until a transaction is on the disk, and flushing the log for all who wait.
//!
//! | `flush.leader` | `failed` and `mended` | a waiter                                                              |
//! |----------------|-----------------------|-----------------------------------------------------------------------|
//! | 0              | equal                 | becomes the leader, flushes; through a new file only if both are 0, else mends |
//! | 0              | `failed` is higher    | becomes the leader, mends (`mend.rs`), which flushes                  |
//! | a living process's, before its deadline | any | sleeps until the round ends, looks again after [`LOOK_AGAIN`]   |
//! | a dead process's, or past its deadline  | any | takes over: adds one to `failed`, then as above                 |
//!
//! A leader who was taken over, and goes on, may still raise the horizon, since his own flush says so, and adds to `failed`
//! what failed. Nothing waits for him.

use crate::error::{Error, ErrorKind, Result};
use crate::segment::heap::Position;
use crate::store::core::files::CONTROL;
use crate::store::core::settings::Settings;
use crate::store::core::shared::Shared;
use crate::sys::atomic::Ordering;
use crate::sys::file::{Kept, Open};
use crate::sys::{clock, file, futex, process};
use std::fs::File;
use std::time::{Duration, Instant};

/// How long a waiter sleeps before it looks whether the leader still lives.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// For how long a leader is waited for, and how much longer for each segment that the log has entered since the last flush.
const PATIENCE: Duration = Duration::from_millis(200);
const PATIENCE_PER_SEGMENT: Duration = Duration::from_millis(100);
/// The longest time that a leader waits for others to join.
const GATHERING_MAX: Duration = Duration::from_micros(200);
/// Segments that the log enters without a flush, in a store where somebody asked for durability, before somebody else flushes.
const SEGMENTS_AHEAD: u64 = 8;

/// Bits of the leader's word for the deadline, in microseconds since boot.
const DEADLINE_BITS: u32 = 48;

fn deadline_of(word: u64) -> u64 {
    word & ((1 << DEADLINE_BITS) - 1)
}

fn slot_of(word: u64) -> u64 {
    (word >> DEADLINE_BITS).wrapping_sub(1)
}

fn microseconds() -> u64 {
    clock::nanoseconds_since_boot() / 1000
}

/// The right to flush. Dropping it without an outcome counts as a failed flush.
struct Leader<'a> {
    shared: &'a Shared,
    word: u64,
    has_outcome: bool,
}

impl<'a> Leader<'a> {
    /// Takes the right, from nobody (0) or from somebody who lost it.
    fn take(shared: &'a Shared, before: u64) -> Option<Leader<'a>> {
        let flush = &shared.control.flush;
        let segments = shared.order_now().saturating_sub(flush.order.load(Ordering::Relaxed));
        let patience = PATIENCE + PATIENCE_PER_SEGMENT.saturating_mul(u32::try_from(segments).unwrap_or(u32::MAX));
        let deadline = microseconds() + u64::try_from(patience.as_micros()).unwrap_or(u64::MAX / 2);
        let word = (shared.membership.slot() + 1) << DEADLINE_BITS | deadline_of(deadline);
        if !flush.leader.exchange_if(before, word) {
            return None;
        }
        let leader = Leader { shared, word, has_outcome: false };
        if before != 0 {
            flush.failed.increment();
        }
        Some(leader)
    }

    /// Brings everything that is committed now to the disk.
    fn flush(mut self, timeout: Duration) -> Result<()> {
        let (shared, flush) = (self.shared, &self.shared.control.flush);
        let start = Instant::now();
        // Opened before what was seen to fail is looked at: what is not yet known to all will be told through it. But not what
        // was told before to a leader who was taken over and has not said so yet: a new file is believed only where there is none.
        let kept = shared.membership.take_flush_file().filter(Kept::is_there);
        let is_new = kept.is_none();
        let opened = kept.map_or_else(|| shared.log_opened_again().map(Kept::of), Ok)?;
        let failed = flush.failed.load(Ordering::Acquire);
        let is_sound = flush.mended.load(Ordering::Acquire) >= failed && (!is_new || failed == 0);
        if is_sound {
            shared.gather(start);
        }
        let before = flush.horizon.load(Ordering::Acquire);
        let (newest, order) = (shared.control.commit.newest(), shared.order_now());
        let outcome = if is_sound { shared.flush_through(&opened).map(|()| opened) } else { shared.mend(before, timeout).map(Kept::of) };
        self.has_outcome = true;
        let opened = outcome.inspect_err(|_| {
            flush.failed.increment();
        })?;
        shared.membership.keep_flush_file(opened);
        flush.mended.raise_to(failed);
        flush.order.raise_to(order);
        // [flushed]
        flush.horizon.raise_to(newest);
        let batch = newest.saturating_sub(before);
        flush.batch.set(batch);
        flush.batch_max.raise_to(batch);
        flush.nanoseconds.set(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
        flush.flushes.increment();
        Ok(())
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        let flush = &self.shared.control.flush;
        if !self.has_outcome {
            flush.failed.increment();
        }
        flush.leader.exchange_if(self.word, 0);
        flush.round.increment(Ordering::Release);
        futex::wake_all(&flush.round);
    }
}

impl Shared {
    /// Returns when a committed transaction, and all before it, are on the disk. The caller does not hold the mutex.
    pub(crate) fn wait_until_durable(&self, sequence: u64, timeout: Duration) -> Result<()> {
        let flush = &self.control.flush;
        let mut watched = 0;
        loop {
            // Pairs with [flushed].
            if flush.horizon.load(Ordering::Acquire) >= sequence {
                return Ok(());
            }
            // Before the leader is looked at: a round that ends after that look ends the sleep.
            let round = flush.round.load(Ordering::Acquire);
            let leader = flush.leader.load(Ordering::Acquire);
            let is_free = leader == 0 || deadline_of(leader) < microseconds() || leader == watched && self.is_dead(slot_of(leader));
            if is_free {
                if let Some(leader) = Leader::take(self, leader) {
                    leader.flush(timeout)?;
                }
            } else if flush.horizon.load(Ordering::Acquire) < sequence {
                watched = leader;
                futex::wait(&flush.round, round, LOOK_AGAIN);
            }
        }
    }

    fn is_dead(&self, slot: u64) -> bool {
        self.membership.identity_in(self.control, slot).is_none_or(process::is_dead)
    }

    /// Lets others commit what the flush will bring to the disk too, if there were several the last time.
    fn gather(&self, start: Instant) {
        let flush = &self.control.flush;
        let expected = flush.batch.load(Ordering::Relaxed);
        let limit = GATHERING_MAX.min(Duration::from_nanos(flush.nanoseconds.load(Ordering::Relaxed) / 2));
        let is_there = || self.control.commit.newest().saturating_sub(flush.horizon.load(Ordering::Relaxed)) >= expected;
        while expected > 1 && !is_there() && start.elapsed() < limit {
            std::thread::yield_now();
        }
    }

    /// The order of the segment in which the log ends, or of one before it.
    fn order_now(&self) -> u64 {
        let end = Position(self.control.log.sealed.load(Ordering::Acquire));
        self.slot(end.segment()).map_or(0, |slot| slot.order.load(Ordering::Relaxed))
    }

    /// The log, in an open file of its own: two threads that flush at once must not share one.
    pub(crate) fn log_opened_again(&self) -> Result<File> {
        file::open_again(&self.files.log).map_err(|error| Error::io("open", &self.log_path(), error))
    }

    pub(crate) fn flush_through(&self, opened: &impl Open) -> Result<()> {
        file::sync_data(opened).map_err(|error| {
            let path = self.log_path();
            let from = self.control.flush.horizon.load(Ordering::Acquire) + 1;
            let message = format!(
                "flush {}: the write is committed and all see it, but what was written since transaction {from} may be lost by a power cut; the next durable write tries again; look after the disk",
                path.display()
            );
            Error::caused(ErrorKind::Io, message, error)
        })
    }

    /// The newest transaction whose past nobody needs: no reader, for whom `floor` is it, and nothing that is on the disk.
    #[inline]
    pub(crate) fn reusable(&self, floor: u64) -> u64 {
        let flush = &self.control.flush;
        if flush.asked.get() == 0 { floor } else { floor.min(flush.horizon.load(Ordering::Acquire)) }
    }

    /// Makes the store one whose log keeps what is needed of what is on the disk, and brings all of it there, names and all.
    pub(crate) fn ask_for_durability(&self, timeout: Duration) -> Result<()> {
        self.sync_directories()?;
        let flush = &self.control.flush;
        if flush.asked.load(Ordering::Acquire) == 0 || !self.settings()?.is_some_and(|settings| settings.is_durable) {
            self.change_settings(timeout, |settings| {
                // From here on, also if this is killed.
                flush.asked.set(1);
                Settings { is_durable: true, ..settings.unwrap_or_default() }
            })?;
        }
        self.wait_until_durable(self.control.commit.newest(), timeout)
    }

    /// Makes the names of the store power-safe. Directories above it that may not be read were not made by us.
    fn sync_directories(&self) -> Result<()> {
        let live = self.live();
        // The control page too: after a power cut it explains what is missing.
        let control = live.join(CONTROL);
        file::open(&control, false).and_then(|page| file::sync_data(&page)).map_err(|error| Error::io("flush", &control, error))?;
        for directory in [&live, &self.directory] {
            file::sync_directory(directory).map_err(|error| Error::io("flush", directory, error))?;
        }
        for directory in self.directory.ancestors().skip(1) {
            let _ = file::sync_directory(directory);
        }
        Ok(())
    }

    /// Whether the log has grown so far without a flush that somebody should do one, where nobody waits for any.
    pub(crate) fn is_flush_due(&self) -> bool {
        let flush = &self.control.flush;
        flush.asked.load(Ordering::Relaxed) != 0
            && flush.leader.load(Ordering::Relaxed) == 0
            && self.order_now().saturating_sub(flush.order.load(Ordering::Relaxed)) >= SEGMENTS_AHEAD
    }

    /// Flushes in a thread of its own, so that the writers of this process need not wait. Whatever becomes of it: the log has
    /// grown, and whoever enters the next segment asks again.
    #[cold]
    pub(crate) fn flush_aside(&self) {
        let is_first = self.wants_flush.swap(false, std::sync::atomic::Ordering::Relaxed);
        let Some(shared) = self.registered() else { return };
        if is_first {
            let flush = move || Leader::take(&shared, 0).map(|leader| leader.flush(PATIENCE));
            let _ = std::thread::Builder::new().name("tastypod flush".to_owned()).spawn(flush);
        }
    }
}
