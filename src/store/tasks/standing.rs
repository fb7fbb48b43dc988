//! The tasks of a tracker in the index: how each stands, sets of those to do, the queue of those whose turn does not come by
//! their place in the order.
//!
//! All of it follows from the records, and is written by the same steps that publish them, so that it commits with them, and a
//! repair, which publishes again, puts it in order. In a store of another kind all this costs one look at a word.

use crate::error::{Error, ErrorKind, Result};
use crate::index::bits::{BLOCK, Set};
use crate::index::order::{self, TaskWord};
use crate::index::queue::{self, Heap, Waiting, priority_key};
use crate::key::Key;
use crate::log::batch::{Batch, Claiming, Pending};
use crate::log::record::{Kind, Record, Standing, Tally};
use crate::segment::control::{IDLE_NANOSECONDS, SAMPLE_NANOSECONDS};
use crate::segment::counters::Counters;
use crate::segment::heap::Position;
use crate::store::core::files::CLAIM_WORDS;
use crate::store::core::settings::{Settings, StoreKind};
use crate::store::core::shared::{Mode, Shared};
use crate::store::write::publishing::{By, Noted};
use crate::sys::atomic::Ordering;
use crate::sys::clock;
use crate::value::{Archive, Task};

/// Turns of tasks that were tried: behind all that were not.
pub(crate) const BEHIND: u64 = 1 << 40;

/// The turn of a tried task, of which the mark is known, and a transaction that is not older than it.
fn last_turn(mark: u64, version: u64) -> u64 {
    BEHIND + version.saturating_sub((BEHIND + version).wrapping_sub(mark) % order::MARKS)
}

/// A value that a tracker does not take.
#[cold]
fn refused(key: &[u8], why: &str) -> Error {
    let key = Key::decode(key).map_or_else(|_| "?".to_owned(), |key| key.to_string());
    Error::new(ErrorKind::InvalidValue, format!("the store is a tracker, and the value for {key} is no task: {why}; nothing was changed"))
}

fn standing(task: &Task, is_claimed: bool, max_tries: u64) -> Standing {
    let bit = |is: bool, bit: u8| if is { bit } else { 0 };
    Standing(
        bit(task.done, Standing::DONE)
            | bit(task.tries > 0, Standing::TRIED)
            | bit(task.aborted, Standing::ABORTED)
            | bit(task.is_exhausted(max_tries), Standing::EXHAUSTED)
            | bit(is_claimed, Standing::CLAIMED),
    )
}

impl Shared {
    /// The rule for tasks that a batch is subject to: how often one may be tried. Nothing where the store is no tracker and does
    /// not become one.
    #[inline]
    pub(crate) fn max_tries_for(&self, batch: &Batch) -> Result<Option<u64>> {
        if let Some(index) = batch.records.iter().take(8).position(|pending| pending.kind == Kind::Settings && !pending.is_moved) {
            let record = Record::of(batch.record(index)).expect("the batch was built by record::append");
            let settings: Settings = Archive::of(&record).node().read()?;
            return Ok((settings.kind == StoreKind::Tracker).then_some(settings.max_tries));
        }
        Ok(self.is_tracker().then(|| self.control.tasks.max_tries.get()))
    }

    /// How a task stands under the rules of the store.
    pub(crate) fn standing_of(&self, task: &Task, is_claimed: bool) -> Standing {
        standing(task, is_claimed, self.control.tasks.max_tries.get())
    }

    /// How a value of a store that becomes a tracker stands.
    pub(crate) fn standing_in_pod(&self, at: Position, max_tries: u64) -> Result<Standing> {
        let task = Task::of(Archive::of(&self.record(at)?).node()).unwrap_or_default();
        Ok(standing(&task, false, max_tries))
    }

    /// What a record that sets a key, or removes it, will do to the counters; fails for a value that is no task. `before` is the
    /// task that it replaces.
    #[inline]
    pub(crate) fn tally(&self, pending: &Pending, record: &Record<'_>, before: Standing, max_tries: u64) -> Result<Tally> {
        if pending.kind != Kind::Set {
            return Ok(Tally { before, after: Standing::default() });
        }
        let task = Task::of(Archive::of(record).node()).map_err(|why| refused(record.key(), &why))?;
        let is_claimed = match pending.claiming {
            Claiming::Keep => before.has(Standing::CLAIMED),
            Claiming::Take(_) => true,
            Claiming::End => false,
        };
        let after = standing(&task, is_claimed, max_tries);
        if after.is_todo() && !is_claimed {
            // Who waits for tasks gets up while this one is committed.
            self.wake_early();
        }
        Ok(Tally { before, after })
    }

    /// Notes what a published record made of its task: to be called before the order names it. Returns what the order has to say.
    #[inline]
    pub(crate) fn note_task(&self, record: &Record<'_>, noted: &Noted<'_>) -> Result<TaskWord> {
        let ordinal = record.ordinal();
        let before = order::task(&self.order, noted.from);
        if record.is_moved() {
            return Ok(before);
        }
        let after = record.standing();
        let mut word = TaskWord { standing: after, mark: 0 };
        if after.has(Standing::CLAIMED) {
            word.mark = self.place_of_claim(record, before, noted.claiming, noted.by)?;
        }
        if before.standing.has(Standing::CLAIMED) && !(after.has(Standing::CLAIMED) && word.mark == before.mark) {
            self.note_free(before.mark, noted.by)?;
        }
        let bits = self.bits()?;
        if noted.from != ordinal {
            self.note_renumbered_task(noted.from, ordinal, &word)?;
        }
        let is_todo = record.is_set() && after.is_todo();
        if after.has(Standing::CLAIMED) && word.mark == before.mark && is_todo && !before.standing.is_todo() {
            // Whoever met its entry in the queue meanwhile dropped it.
            self.offer_again(word.mark)?;
        }
        // A repair may have half of it before it; a new ordinal has nothing.
        let is_unsure = noted.from != ordinal || !matches!(noted.by, By::Writer(_)) || record.is_new();
        if is_unsure || is_todo != before.standing.is_todo() {
            bits.put(Set::Todo, ordinal, is_todo);
        }
        if is_unsure || after.has(Standing::ABORTED) != before.standing.has(Standing::ABORTED) {
            bits.put(Set::Aborted, ordinal, after.has(Standing::ABORTED));
        }
        let is_waiting = is_todo && !after.has(Standing::CLAIMED);
        if is_waiting || self.control.tasks.claims.get() == 0 {
            self.note_brought();
        }
        let is_ready = is_waiting && self.note_waiting(record, noted, before, &mut word)?;
        if is_ready || is_unsure || bits.contains(Set::Ready, ordinal) {
            bits.put(Set::Ready, ordinal, is_ready);
        }
        Ok(word)
    }

    /// Notes that a task has another ordinal.
    #[cold]
    fn note_renumbered_task(&self, from: u64, ordinal: u64, word: &TaskWord) -> Result<()> {
        let bits = self.bits()?;
        for set in [Set::Todo, Set::Aborted, Set::Ready] {
            bits.put(set, from, false);
        }
        if word.standing.has(Standing::CLAIMED) { self.renumber_claim(word.mark, ordinal) } else { Ok(()) }
    }

    /// Notes a task that waits to be claimed: true if its turn comes by its place in the order; otherwise it is put into the queue,
    /// unless it is there.
    fn note_waiting(&self, record: &Record<'_>, noted: &Noted<'_>, before: TaskWord, word: &mut TaskWord) -> Result<bool> {
        let ordinal = record.ordinal();
        let task = Task::of(Archive::of(record).node()).unwrap_or_default();
        if task.is_plain() {
            return Ok(true);
        }
        let old = noted.before.filter(Record::is_set).map(|replaced| Task::of(Archive::of(&replaced).node()).unwrap_or_default());
        let was_claimed = before.standing.has(Standing::CLAIMED);
        let was_waiting = before.standing.is_todo() && !was_claimed;
        let turn = match old {
            Some(old)
                if was_waiting
                    && !old.is_plain()
                    && (old.priority.to_bits(), old.not_before, old.tries) == (task.priority.to_bits(), task.not_before, task.tries) =>
            {
                if noted.from == ordinal {
                    word.mark = before.mark;
                    return Ok(false);
                }
                if task.tries == 0 { ordinal } else { last_turn(before.mark, noted.before.map_or(0, |before| before.version())) }
            }
            Some(old) if was_claimed && task.tries < old.tries => self.claim_at(before.mark)?.turn,
            _ if task.tries == 0 => ordinal,
            _ => BEHIND + record.version(),
        };
        word.mark = turn % order::MARKS;
        self.enqueue(&task, turn, ordinal)?;
        Ok(false)
    }

    /// Puts a task into the queue. There is room.
    pub(crate) fn enqueue(&self, task: &Task, turn: u64, ordinal: u64) -> Result<()> {
        let queue = self.queue()?;
        if task.not_before > 0 && task.not_before > now_microseconds() {
            queue.push(Heap::Delayed, Waiting { key: task.not_before, turn, ordinal });
        } else {
            queue.push(Heap::Ready, Waiting { key: priority_key(task.priority), turn, ordinal });
        }
        Ok(())
    }

    /// Whether an entry of the queue is still true.
    pub(crate) fn is_waiting(&self, entry: &Waiting) -> Result<bool> {
        let word = order::task(&self.order, entry.ordinal);
        if order::load(&self.order, entry.ordinal).is_none() || order::is_hole(&self.order, entry.ordinal) || !word.standing.is_todo() {
            return Ok(false);
        }
        if word.standing.has(Standing::CLAIMED) {
            return Ok(self.claim_at(word.mark)?.is_offered());
        }
        Ok(word.mark == entry.turn % order::MARKS && !self.bits()?.contains(Set::Ready, entry.ordinal))
    }

    /// Takes over settings that were published.
    pub(crate) fn note_settings(&self, record: &Record<'_>, by: By) -> Result<()> {
        let settings: Settings = Archive::of(record).node().read()?;
        let tasks = &self.control.tasks;
        let is_tracker = settings.kind == StoreKind::Tracker;
        let is_same = is_tracker == self.is_tracker() && settings.max_tries == tasks.max_tries.get();
        tasks.max_tries.set(settings.max_tries);
        tasks.lease_nanoseconds.set(settings.lease_nanoseconds.unwrap_or(0));
        let (first, factor, longest) = settings.backoff.unwrap_or((0, 0.0, 0));
        for (word, value) in tasks.backoff.iter().zip([first, factor.to_bits(), longest]) {
            word.set(value);
        }
        if is_tracker && !record.is_renumbered() && (!is_same || !matches!(by, By::Writer(_))) {
            self.rebuild_tasks(by)?;
        }
        tasks.is_tracker.set(u64::from(is_tracker));
        Ok(())
    }

    /// Whether one more task can wait, and one more claim be held.
    #[inline]
    pub(crate) fn has_room_for_task(&self) -> Result<bool> {
        let (tasks, files) = (&self.control.tasks, self.task_files()?);
        let queued = tasks.waiting[0].get() + tasks.waiting[1].get();
        let queue_bytes = tasks.queue_ready.get().min(files.queue.map().capacity());
        let claims_bytes = tasks.claims_ready.get().min(files.claims.map().capacity());
        Ok(queue::words_for(queued + 2) * 8 <= queue_bytes && (tasks.claims_used.get() + 1) * CLAIM_WORDS * 8 <= claims_bytes)
    }

    /// Finds out anew how all tasks stand, from their records. What it needs of space was reserved, except in a rebuild.
    pub(crate) fn rebuild_tasks(&self, by: By) -> Result<()> {
        let tasks = &self.control.tasks;
        let counters = self.control.commit.read().unwrap_or_default();
        let is_rebuild = matches!(by, By::Rebuild);
        if is_rebuild {
            for word in tasks.ready().into_iter().chain([&tasks.claims_used, &tasks.claims_free, &tasks.claims]) {
                word.set(0);
            }
        }
        let ordinals = counters.next_ordinal;
        if is_rebuild {
            tasks.blocks.set(0);
            self.reserve_tasks(ordinals, ordinals, 0)?;
        }
        let bits = self.bits()?;
        for block in 0..ordinals.div_ceil(BLOCK) {
            bits.clear(block);
        }
        self.queue()?.clear();
        for ordinal in self.control.order.low.get()..ordinals {
            let Some(at) = order::load(&self.order, ordinal) else { continue };
            let record = self.record(at)?;
            if !record.is_set() || record.ordinal() != ordinal {
                continue;
            }
            let before = order::task(&self.order, ordinal);
            let is_claimed = if is_rebuild { record.standing().has(Standing::CLAIMED) } else { before.standing.has(Standing::CLAIMED) };
            let task = Task::of(Archive::of(&record).node()).unwrap_or_default();
            let standing = standing(&task, is_claimed, tasks.max_tries.get());
            let mut word = TaskWord { standing, mark: before.mark };
            if is_claimed && is_rebuild {
                self.reserve_tasks(ordinals, ordinals, tasks.claims_used.get() + 1)?;
                word.mark = self.orphan(ordinal)?;
            }
            bits.put(Set::Todo, ordinal, standing.is_todo());
            bits.put(Set::Aborted, ordinal, standing.has(Standing::ABORTED));
            if is_claimed && !is_rebuild {
                self.offer_again(word.mark)?;
            }
            if standing.is_todo() && !is_claimed {
                bits.put(Set::Ready, ordinal, task.is_plain());
                if !task.is_plain() {
                    let turn = if task.tries == 0 { ordinal } else { BEHIND + record.version() };
                    word.mark = turn % order::MARKS;
                    self.enqueue(&task, turn, ordinal)?;
                }
            }
            order::store(&self.order, ordinal, at, false, word);
        }
        self.note_brought();
        Ok(())
    }

    /// After a rebuild of the index: the tasks too, where the store is a tracker.
    pub(crate) fn rebuild_kind(&self) -> Result<()> {
        let position = Position(self.control.log.settings.get());
        self.control.tasks.is_tracker.set(0);
        if position == Position::NONE { Ok(()) } else { self.note_settings(&self.record(position)?, By::Rebuild) }
    }

    /// Puts the queue and the table of claims in order after a kill.
    pub(crate) fn repair_tasks(&self) -> Result<()> {
        if !self.is_tracker() || self.mode != Mode::Writer {
            return Ok(());
        }
        self.repair_claims()?;
        if !self.queue()?.repair() {
            self.rebuild_tasks(By::Repair)?;
        }
        Ok(())
    }

    /// What all tasks add up to under another rule, for the settings that bring it.
    pub(crate) fn count_tasks(&self, max_tries: u64) -> Result<Counters> {
        let mut counters = self.counters()?;
        (counters.done, counters.tried, counters.aborted, counters.failed) = (0, 0, 0, 0);
        for ordinal in self.control.order.low.get()..counters.next_ordinal {
            let Some(at) = order::load(&self.order, ordinal) else { continue };
            let record = self.record(at)?;
            if record.is_set() {
                let task = Task::of(Archive::of(&record).node()).unwrap_or_default();
                let is_claimed = self.is_tracker() && order::task(&self.order, ordinal).standing.has(Standing::CLAIMED);
                Tally { before: Standing::default(), after: standing(&task, is_claimed, max_tries) }.count(&mut counters);
            }
        }
        Ok(counters)
    }

    /// How many tasks wait for a later time. Without the mutex: what is changed meanwhile may be counted or not.
    pub(crate) fn count_delayed(&self) -> Result<u64> {
        let (tasks, queue) = (&self.control.tasks, self.queue()?);
        if queue.len(Heap::Delayed) == 0 {
            return Ok(0);
        }
        let bytes = tasks.queue_ready.load(Ordering::Acquire).min(self.task_files()?.queue.map().capacity());
        let ordinals = self.order_bytes_ready() / order::bytes_for(1);
        let now = now_microseconds();
        let mut delayed = hashbrown::HashSet::new();
        for entry in queue.entries(Heap::Delayed).take((bytes / 8 / queue::words_for(1)) as usize) {
            let stands = |standing: Standing| standing.is_todo() && !standing.has(Standing::CLAIMED);
            if entry.ordinal >= ordinals || !stands(order::task(&self.order, entry.ordinal).standing) {
                continue;
            }
            let not_before =
                self.read_ordinal(entry.ordinal, |record| Ok(Task::of(Archive::of(&record).node()).map_or(0, |task| task.not_before)))?;
            if not_before.is_some_and(|moment| moment > now) {
                delayed.insert(entry.ordinal);
            }
        }
        Ok(delayed.len() as u64)
    }

    /// How many tasks are aborted, not done, and in nobody's work. Without the mutex, as above.
    pub(crate) fn count_aborted(&self) -> Result<u64> {
        let bits = self.bits()?;
        let (mut count, mut from) = (0, 0);
        while let Some(ordinal) = bits.next(Set::Aborted, from) {
            let standing = order::task(&self.order, ordinal).standing;
            count += u64::from(standing.has(Standing::ABORTED) && !standing.has(Standing::DONE | Standing::CLAIMED));
            from = ordinal + 1;
        }
        Ok(count)
    }

    /// Notes how much is finished, for the rate of work. Under the mutex.
    pub(crate) fn take_sample(&self, counters: &Counters) {
        let tasks = &self.control.tasks;
        let (now, count) = (clock::coarse_nanoseconds(), tasks.sampled.get());
        let since = now.saturating_sub(tasks.sample(count.wrapping_sub(1))[0].get());
        if count == tasks.samples_from.get() || since >= SAMPLE_NANOSECONDS {
            tasks.add_sample(now, counters.done);
        }
    }

    /// Notes that a task is taken up. Where nobody worked for a while a new run of the work begins, which the rate of the one
    /// before says nothing about. Under the mutex.
    pub(crate) fn sample_start(&self) -> Result<()> {
        let tasks = &self.control.tasks;
        if tasks.claims.get() > 0 {
            return Ok(());
        }
        let now = clock::coarse_nanoseconds();
        if tasks.sampled.get() == 0 || now.saturating_sub(tasks.last_end.get()) >= IDLE_NANOSECONDS {
            tasks.samples_from.set(tasks.sampled.get());
            tasks.add_sample(now, self.counters()?.done);
        }
        Ok(())
    }
}

pub(crate) fn now_microseconds() -> u64 {
    clock::unix_nanoseconds() / 1000
}
