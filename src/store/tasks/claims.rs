//! Claims: who works on which task.
//!
//! That a task is claimed stands in its record and in the order, and so commits; by whom, in a table of its own. A place in
//! the table is eight words:
//!
//! ```text
//! 0 epoch: the transaction that claimed   1 ordinal   2 pid   3 started_ticks   4 deadline   5 since   6 turn   7 next free place plus one
//! ```
//!
//! A place is held while the order says that the task with its ordinal is claimed, in this very place; all else in it
//! means nothing. It is filled before the claim is sealed, and given back when the end of the claim is published. A kill in
//! between leaves the chain of free places wrong: the repair makes it anew from who is held. The holder of a [`Held`] is the holder
//! of the claim as long as the place is held with his epoch: transactions have ever higher numbers, so nobody has an old one again.
//!
//! Words are written under the mutex, but for one: whoever cannot end his claim exchanges its epoch (`hand_over.rs`).
//!
//! A holder is a process: its pid and start. One that is dead, zombies included, holds nothing: whoever looks (at each claim that finds
//! nothing, and now and then) puts its tasks back. A claim past its deadline is offered: it goes into the queue without being ended, and
//! stays good until somebody takes it from there.

use crate::error::{Error, ErrorKind, Result};
use crate::index::bits::Set;
use crate::index::order::{self, MARKS, TaskWord};
use crate::index::queue::{Heap, Waiting, priority_key};
use crate::log::batch::{Batch, Claiming, Hint};
use crate::log::record::{HEADER_BYTES, Head, Kind, Record, Standing};
use crate::segment::heap::Position;
use crate::segment::words::Words;
use crate::store::core::files::{CLAIM_WORDS, TASK_NAMES};
use crate::store::core::shared::Shared;
use crate::store::tasks::held::{GIVEN_UP, Held};
use crate::store::tasks::standing::now_microseconds;
use crate::store::write::locked::Locked;
use crate::store::write::publishing::By;
use crate::sys::atomic::Ordering;
use crate::sys::process::{self, Identity};
use crate::sys::{clock, fork};
use crate::value::{self, Archive, Change, Task, field};
use smallvec::SmallVec;
use std::ops::Deref;

/// A deadline that passed: the task is offered.
const OFFERED: u64 = u64::MAX;
/// A deadline that passed: the task is still to be offered.
const LONG_AGO: u64 = 1;
/// How `_error` ends where the worker died: `Tracker::retry_died` knows it by that, since tasks have no field for it.
pub(crate) const DIED: &str = "died while it worked on the task";
/// Holders are looked at so often at least, while there is other work.
const LOOK_NANOSECONDS: u64 = 50_000_000;

/// A place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClaimRow {
    pub(crate) epoch: u64,
    pub(crate) ordinal: u64,
    pub(crate) holder: Identity,
    /// Coarse nanoseconds since boot; 0 for none.
    pub(crate) deadline: u64,
    /// Nanoseconds since 1970.
    pub(crate) since: u64,
    pub(crate) turn: u64,
}

impl ClaimRow {
    pub(crate) fn is_offered(&self) -> bool {
        self.deadline == OFFERED
    }

    fn is_given_up(&self) -> bool {
        self.epoch & GIVEN_UP != 0
    }
}

/// What an attempt to claim came to.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// The claim, the task's ordinal, and its record as it is now.
    Task(Held, u64, Vec<u8>),
    /// Nothing now: others hold claims, or a task waits for its time, which comes in so many microseconds.
    Later(Option<u64>),
    /// Nothing is left to do, and nobody holds anything.
    Finished,
}

/// The deadline of a lease that begins now. The longest one is not mistaken for one that passed.
fn after(lease: u64) -> u64 {
    clock::coarse_nanoseconds().saturating_add(lease).min(OFFERED - 1)
}

/// Appends a task as it is without its last try.
pub(crate) fn release(task: Archive<'_>, out: &mut Vec<u8>) -> Result<()> {
    let tries = Task::of(task.node()).map_or(0, |task| task.tries);
    value::change(task, &[Change::Tries(-i64::from(tries > 0))], out)
}

/// The next task.
struct Candidate {
    ordinal: u64,
    turn: u64,
}

impl Shared {
    /// A place of the table.
    pub(crate) fn claim_at(&self, place: u64) -> Result<ClaimRow> {
        let files = self.task_files()?;
        let ready = self.control.tasks.claims_ready.get().min(files.claims.map().capacity());
        if (place + 1) * CLAIM_WORDS * 8 > ready {
            return Err(self.unusable(TASK_NAMES[2], "it ends before a claim that is held"));
        }
        let word = |index: u64| files.claims.load(place * CLAIM_WORDS + index);
        Ok(ClaimRow {
            epoch: word(0),
            ordinal: word(1),
            holder: Identity { pid: word(2) as u32, started_ticks: word(3) },
            deadline: word(4),
            since: word(5),
            turn: word(6),
        })
    }

    fn set_claim(&self, place: u64, row: &ClaimRow) -> Result<()> {
        let claims = &self.task_files()?.claims;
        let words = [row.epoch, row.ordinal, u64::from(row.holder.pid), row.holder.started_ticks, row.deadline, row.since, row.turn];
        for (index, word) in words.into_iter().enumerate() {
            claims.store(place * CLAIM_WORDS + index as u64, word);
        }
        Ok(())
    }

    fn set_word(&self, place: u64, index: u64, value: u64) -> Result<()> {
        self.task_files()?.claims.store(place * CLAIM_WORDS + index, value);
        Ok(())
    }

    /// Whether a place is held, and by which task.
    fn is_held(&self, place: u64, row: &ClaimRow) -> bool {
        let word = order::task(&self.order, row.ordinal);
        row.epoch != 0 && word.standing.has(Standing::CLAIMED) && word.mark == place
    }

    /// The claims that are held.
    pub(crate) fn held_claims(&self) -> Result<Vec<(u64, ClaimRow)>> {
        let mut held = Vec::new();
        for place in 0..self.control.tasks.claims_used.get() {
            let row = self.claim_at(place)?;
            if row.ordinal < self.order_bytes_ready() / order::bytes_for(1) && self.is_held(place, &row) {
                held.push((place, row));
            }
        }
        Ok(held)
    }

    /// The places that are free.
    pub(crate) fn free_places(&self) -> Result<hashbrown::HashSet<u64>> {
        let mut free = hashbrown::HashSet::new();
        let mut next = self.control.tasks.claims_free.get();
        while let Some(place) = next.checked_sub(1)
            && free.insert(place)
        {
            self.claim_at(place)?;
            next = self.task_files()?.claims.load(place * CLAIM_WORDS + 7);
        }
        Ok(free)
    }

    /// A free place, which the publication of a claim takes.
    fn free_place(&self) -> Result<u64> {
        let tasks = &self.control.tasks;
        let place = tasks.claims_free.get().checked_sub(1).unwrap_or_else(|| tasks.claims_used.get());
        if place >= MARKS {
            return Err(Error::new(
                ErrorKind::Full,
                format!("{}: {MARKS} tasks are claimed at once; finish some, or claim fewer", self.directory.display()),
            ));
        }
        self.reserve_tasks(0, 0, place + 1)?;
        Ok(place)
    }

    /// The place of a claim that is published, taken out of the free ones where it is new.
    pub(crate) fn place_of_claim(&self, record: &Record<'_>, before: TaskWord, claiming: Claiming, by: By) -> Result<u64> {
        let tasks = &self.control.tasks;
        if let (By::Writer(_), Claiming::Take(place)) = (by, claiming) {
            if tasks.claims_free.get() == place + 1 {
                tasks.claims_free.set(self.task_files()?.claims.load(place * CLAIM_WORDS + 7));
            } else {
                tasks.claims_used.set(place + 1);
            }
            self.sample_start()?;
            tasks.claims.set(tasks.claims.get() + 1);
            return Ok(place);
        }
        if !matches!(by, By::Writer(_)) {
            // The places are put in order afterwards. One behind those that were used may be the one.
            for place in 0..=tasks.claims_used.get() {
                if let Ok(row) = self.claim_at(place)
                    && (row.epoch, row.ordinal) == (record.version(), record.ordinal())
                {
                    tasks.claims_used.raise_to(place + 1);
                    return Ok(place);
                }
            }
        }
        if before.standing.has(Standing::CLAIMED) { Ok(before.mark) } else { self.orphan(record.ordinal()) }
    }

    /// A place for a claim whose holder is not known any more, and dead.
    pub(crate) fn orphan(&self, ordinal: u64) -> Result<u64> {
        let tasks = &self.control.tasks;
        let place = tasks.claims_used.get();
        let holder = Identity { pid: 0, started_ticks: 0 };
        self.set_claim(place, &ClaimRow { epoch: 1, ordinal, holder, deadline: 0, since: clock::unix_nanoseconds(), turn: ordinal })?;
        tasks.claims_used.set(place + 1);
        tasks.claims.set(tasks.claims.get() + 1);
        Ok(place)
    }

    /// Notes that a claimed task has another ordinal.
    pub(crate) fn renumber_claim(&self, place: u64, ordinal: u64) -> Result<()> {
        self.set_word(place, 1, ordinal)?;
        self.offer_again(place)
    }

    /// Has a claim past its lease offered anew by the next look at the holders: its entry in the queue may be gone, or of no use.
    pub(crate) fn offer_again(&self, place: u64) -> Result<()> {
        if self.claim_at(place)?.is_offered() { self.set_word(place, 4, LONG_AGO) } else { Ok(()) }
    }

    /// Gives a place back.
    pub(crate) fn note_free(&self, place: u64, by: By) -> Result<()> {
        if matches!(by, By::Writer(_)) {
            let tasks = &self.control.tasks;
            self.set_word(place, 0, 0)?;
            self.set_word(place, 7, tasks.claims_free.get())?;
            tasks.claims_free.set(place + 1);
            tasks.claims.set(tasks.claims.get().saturating_sub(1));
            tasks.last_end.set(clock::coarse_nanoseconds());
        }
        Ok(())
    }

    /// Makes the chain of free places anew.
    pub(crate) fn repair_claims(&self) -> Result<()> {
        let tasks = &self.control.tasks;
        let (mut free, mut held) = (0, 0);
        for place in (0..tasks.claims_used.get()).rev() {
            let row = self.claim_at(place)?;
            if row.ordinal < self.order_bytes_ready() / order::bytes_for(1) && self.is_held(place, &row) {
                held += 1;
            } else {
                self.set_word(place, 0, 0)?;
                self.set_word(place, 7, free)?;
                free = place + 1;
            }
        }
        tasks.claims_free.set(free);
        tasks.claims.set(held);
        Ok(())
    }

    /// The next task: the one with the highest priority, of those the one whose turn it is.
    fn candidate(&self, now: u64) -> Result<Option<Candidate>> {
        let queue = self.queue()?;
        while let Some(entry) = queue.peek(Heap::Delayed) {
            if self.is_waiting(&entry)? {
                if entry.key > now {
                    break;
                }
                let record = self.record_of(entry.ordinal)?;
                let task = Task::of(Archive::of(&record).node()).unwrap_or_default();
                queue.push(Heap::Ready, Waiting { key: priority_key(task.priority), ..entry });
            }
            queue.pop(Heap::Delayed);
        }
        let plain = self.bits()?.next(Set::Ready, 0);
        let is_first = |entry: &Waiting| plain.is_none_or(|ordinal| (entry.key, entry.turn) < (priority_key(0.0), ordinal));
        let queued = loop {
            match queue.peek(Heap::Ready) {
                Some(entry) if !self.is_waiting(&entry)? || is_first(&entry) && !self.is_due(&entry, now)? => queue.pop(Heap::Ready),
                queued => break queued.filter(is_first),
            }
        };
        let queued = queued.map(|entry| Candidate { ordinal: entry.ordinal, turn: entry.turn });
        Ok(queued.or(plain.map(|ordinal| Candidate { ordinal, turn: ordinal })))
    }

    /// Whether the task of an entry that is ready still has the priority by which it stands there, and need not wait. One that was never
    /// tried keeps its turn when these are changed, so that the turn does not tell an old entry from a new one.
    fn is_due(&self, entry: &Waiting, now: u64) -> Result<bool> {
        if order::task(&self.order, entry.ordinal).standing.has(Standing::CLAIMED) {
            return Ok(true);
        }
        let task = Task::of(Archive::of(&self.record_of(entry.ordinal)?).node()).unwrap_or_default();
        let is_now = task.not_before <= now || task.not_before <= now_microseconds();
        if !is_now {
            // Also where the clock was set back: then this is the only entry.
            self.queue()?.push(Heap::Delayed, Waiting { key: task.not_before, ..*entry });
        }
        Ok(is_now && priority_key(task.priority) == entry.key)
    }

    /// The newest record with an ordinal, for the holder of the mutex.
    pub(crate) fn record_of(&self, ordinal: u64) -> Result<Record<'_>> {
        let at = order::load(&self.order, ordinal).ok_or_else(|| self.damaged(Position::NONE, "a task has no record"))?;
        self.record(at)
    }

    /// Brings what the next claims will need into the cache, a step further with each claim. Outside of the mutex: all of it
    /// is only a guess.
    pub(crate) fn warm_next_tasks(&self, after: u64) {
        let Ok(bits) = self.bits() else { return };
        let mut next = after;
        for distance in 0..3 {
            let Some(ordinal) = bits.next(Set::Ready, next + 1) else { return };
            next = ordinal;
            match distance {
                2 => self.order.prefetch(ordinal),
                1 => drop(order::load(&self.order, ordinal).inspect(|at| self.heap.prefetch(*at))),
                _ => {
                    let head = order::load(&self.order, ordinal).and_then(|at| {
                        Head::copy(self.heap.words(at, HEADER_BYTES as u64 / 8, self.control.ready.log.load(Ordering::Relaxed))?)
                    });
                    if let (Some(head), Ok((_, table))) = (head, self.table()) {
                        table.prefetch(head.hash());
                    }
                }
            }
        }
    }

    /// Where the index names a record, found without a look at the key.
    fn hint_of(&self, ordinal: u64, hash: u64) -> Result<Option<Hint>> {
        let Some(at) = order::load(&self.order, ordinal) else { return Ok(None) };
        let (word, table) = self.table()?;
        let mut hint = None;
        table.find_entry(hash, table.place.words(), |slot, entry| {
            if entry.position() == at {
                hint = Some(Hint { table: word, slot, entry: entry.0 });
            }
            Ok::<bool, Error>(entry.position() == at)
        })?;
        Ok(hint)
    }

    /// This process, as others know it.
    fn this_process(&self) -> Identity {
        let known = self.membership.identity_in(self.control, self.membership.slot());
        known.unwrap_or_else(process::current)
    }

    fn holder_name(&self, holder: Identity) -> String {
        if holder.pid == 0 {
            return "the process that worked on it".to_owned();
        }
        self.membership.owner_of_thread(self.control, holder.pid).to_string()
    }
}

/// Claims under the mutex.
impl<S: Deref<Target = Shared>> Locked<S> {
    /// Replaces the value of a task, and says what becomes of the claim on it.
    pub(crate) fn replace_task(
        &self,
        ordinal: u64,
        claiming: Claiming,
        batch: &mut Batch,
        edit: impl FnOnce(Archive<'_>, &mut Vec<u8>) -> Result<()>,
    ) -> Result<u64> {
        let shared = self.shared();
        let record = shared.record_of(ordinal)?;
        batch.clear();
        batch.push(Kind::Set, record.hash(), record.key(), false, |out| edit(Archive::of(&record), out))?;
        batch.records[0].hint = shared.hint_of(ordinal, record.hash())?;
        batch.records[0].claiming = claiming;
        self.commit(batch)
    }

    /// Claims the next task.
    pub(crate) fn claim(&self, batch: &mut Batch) -> Result<Claimed> {
        let shared = self.shared();
        self.require_same_process()?;
        if !shared.is_tracker() {
            return Err(shared.no_tracker());
        }
        if shared.control.tasks.claims.get() > 0 {
            self.look_at_holders(LOOK_NANOSECONDS, batch)?;
        }
        // Only tasks that wait for their time have to know it.
        let now = if shared.queue()?.len(Heap::Delayed) > 0 { now_microseconds() } else { 0 };
        let mut candidate = shared.candidate(now)?;
        if candidate.is_none() && shared.control.tasks.claims.get() > 0 {
            self.look_at_holders(0, batch)?;
            candidate = shared.candidate(now)?;
        }
        match candidate {
            Some(candidate) => self.take(&candidate, batch),
            None => {
                let until = shared.queue()?.peek(Heap::Delayed).map(|entry| entry.key.saturating_sub(now));
                if until.is_none() && shared.is_nobody_at_work()? { Ok(Claimed::Finished) } else { Ok(Claimed::Later(until)) }
            }
        }
    }

    fn take(&self, candidate: &Candidate, batch: &mut Batch) -> Result<Claimed> {
        let shared = self.shared();
        let place = shared.free_place()?;
        let tasks = &shared.control.tasks;
        let before = order::task(&shared.order, candidate.ordinal);
        let late = if before.standing.has(Standing::CLAIMED) { Some(shared.claim_at(before.mark)?) } else { None };
        let lease = tasks.lease_nanoseconds.get();
        let deadline = if lease == 0 { 0 } else { after(lease) };
        let epoch = shared.counters()?.sequence + 1;
        let turn = late.map_or(candidate.turn, |late| late.turn);
        let (holder, since) = (shared.this_process(), clock::coarse_unix_nanoseconds());
        shared.set_claim(place, &ClaimRow { epoch, ordinal: candidate.ordinal, holder, deadline, since, turn })?;
        self.replace_task(candidate.ordinal, Claiming::Take(place), batch, |task, out| match late {
            None => value::change(task, &[Change::Tries(1)], out),
            Some(late) => {
                let why = format!("{} had it for longer than its lease", shared.holder_name(late.holder));
                value::change(task, &[Change::Set(field::ERROR, &why), Change::Tries(1)], out)
            }
        })?;
        let held = Held { place, epoch, generation: fork::generation() };
        let bytes = batch.records.last().map(|pending| batch.bytes[pending.offset..pending.offset + pending.length].to_vec());
        Ok(Claimed::Task(held, candidate.ordinal, bytes.unwrap_or_default()))
    }

    /// Puts back the tasks of dead holders, and offers those whose lease is over, unless somebody looked a moment ago.
    pub(crate) fn look_at_holders(&self, pause: u64, batch: &mut Batch) -> Result<()> {
        let shared = self.shared();
        let tasks = &shared.control.tasks;
        let now = clock::coarse_nanoseconds();
        if now.wrapping_sub(tasks.looked.get()) < pause {
            return Ok(());
        }
        tasks.looked.set(now);
        let mut known: SmallVec<[(Identity, bool); 8]> = SmallVec::new();
        known.push((shared.this_process(), false));
        for (place, row) in shared.held_claims()? {
            let is_dead = match known.iter().find(|(identity, _)| *identity == row.holder) {
                Some((_, is_dead)) => *is_dead,
                None => {
                    let is_dead = row.holder.pid == 0 || process::is_dead(row.holder);
                    known.push((row.holder, is_dead));
                    is_dead
                }
            };
            if is_dead || row.is_given_up() {
                let how = if row.is_given_up() { "gave up while it worked on the task" } else { DIED };
                let why = format!("{} {how}", shared.holder_name(row.holder));
                self.replace_task(row.ordinal, Claiming::End, batch, |task, out| {
                    value::change(task, &[Change::Set(field::ERROR, &why)], out)
                })?;
            } else if row.deadline != 0 && row.deadline < now {
                let word = order::task(&shared.order, row.ordinal);
                if word.standing.is_todo() {
                    let task = Task::of(Archive::of(&shared.record_of(row.ordinal)?).node()).unwrap_or_default();
                    let queued = tasks.waiting[0].get() + tasks.waiting[1].get();
                    shared.reserve_tasks(0, queued + 2, 0)?;
                    let key = priority_key(task.priority);
                    shared.queue()?.push(Heap::Ready, Waiting { key, turn: row.turn, ordinal: row.ordinal });
                    // Last: a kill before this leaves a claim that the next look offers again.
                    shared.set_word(place, 4, OFFERED)?;
                }
            }
        }
        Ok(())
    }

    /// Fails where a claim is not the caller's any more.
    pub(crate) fn require_held(&self, held: &Held) -> Result<ClaimRow> {
        held.require_same_process()?;
        let shared = self.shared();
        let row = shared.claim_at(held.place)?;
        if row.epoch == held.epoch && shared.is_held(held.place, &row) {
            return Ok(row);
        }
        Err(Error::new(
            ErrorKind::LeaseLost,
            "the claim was lost: its lease ran out and another worker took the task, or the task was removed; what was done for it was not noted",
        ))
    }

    /// Lets a claim hold for another lease from now on.
    pub(crate) fn heartbeat(&self, held: &Held) -> Result<()> {
        self.require_held(held)?;
        let lease = self.shared().control.tasks.lease_nanoseconds.get();
        if lease > 0 {
            self.shared().set_word(held.place, 4, after(lease))?;
        }
        Ok(())
    }
}

impl Shared {
    #[cold]
    pub(crate) fn no_tracker(&self) -> Error {
        Error::new(
            ErrorKind::WrongKind,
            format!("{} is a pod, and the call needs a tracker; see Pod::convert_to_tracker", self.directory.display()),
        )
    }

    /// Whether nobody holds a claim that may still lead to something: claims past their lease on tasks that may not be tried again
    /// are waited for by nobody. A lease may have ended since the holders were looked at: a task that others may try will be offered.
    fn is_nobody_at_work(&self) -> Result<bool> {
        if self.control.tasks.claims.get() == 0 {
            return Ok(true);
        }
        let now = clock::coarse_nanoseconds();
        Ok(self.held_claims()?.iter().all(|(_, row)| {
            let is_over = row.is_offered() || row.deadline != 0 && row.deadline < now;
            is_over && !order::task(&self.order, row.ordinal).standing.is_todo()
        }))
    }
}
