//! The check of a tracker: what is kept of tasks against their values.

use super::Report;
use crate::error::Result;
use crate::index::bits::Set;
use crate::index::order::{self, MARKS};
use crate::index::queue::Heap;
use crate::log::record::Standing;
use crate::store::core::shared::Shared;
use crate::value::{Archive, Task};
use hashbrown::HashSet;

pub(super) fn compare_tasks(shared: &Shared, report: &mut Report) -> Result<()> {
    if !shared.is_tracker() {
        return Ok(());
    }
    let tasks = &shared.control.tasks;
    let (kept, counted) = (shared.counters()?, shared.count_tasks(tasks.max_tries.get())?);
    report.expect("the number of tasks done", kept.done, counted.done);
    report.expect("the number of tasks tried", kept.tried, counted.tried);
    report.expect("the number of tasks aborted", kept.aborted, counted.aborted);
    report.expect("the number of tasks failed", kept.failed, counted.failed);
    let (bits, queue) = (shared.bits()?, shared.queue()?);
    let queued: HashSet<(u64, u64)> = [Heap::Ready, Heap::Delayed]
        .into_iter()
        .flat_map(|heap| queue.entries(heap))
        .map(|entry| (entry.ordinal, entry.turn % MARKS))
        .collect();
    let mut places = HashSet::new();
    for ordinal in shared.control.order.low.get()..kept.next_ordinal {
        let word = order::task(&shared.order, ordinal);
        let record = order::load(&shared.order, ordinal).map(|at| shared.record(at)).transpose()?.filter(|record| record.is_set());
        let (task, standing) = match &record {
            None => (Task::default(), Standing(Standing::DONE)),
            Some(record) => {
                let task = Task::of(Archive::of(record).node()).unwrap_or_else(|what| {
                    report.find(format!("the value with ordinal {ordinal} is no task: {what}"));
                    Task::default()
                });
                if word.standing.has(Standing::CLAIMED) != record.standing().has(Standing::CLAIMED) {
                    report.find(format!("order and record of the task with ordinal {ordinal} disagree whether it is claimed"));
                }
                let standing = shared.standing_of(&task, word.standing.has(Standing::CLAIMED));
                if standing != word.standing {
                    report.find(format!("the task with ordinal {ordinal} stands as {standing:?}, the order says {:?}", word.standing));
                }
                (task, standing)
            }
        };
        let is_claimed = record.is_some() && standing.has(Standing::CLAIMED);
        let is_waiting = standing.is_todo() && !is_claimed;
        let expected = [
            (Set::Todo, standing.is_todo()),
            (Set::Aborted, record.is_some() && standing.has(Standing::ABORTED)),
            (Set::Ready, is_waiting && task.is_plain()),
        ];
        for (set, is_member) in expected {
            if bits.contains(set, ordinal) != is_member || is_member && bits.next(set, ordinal) != Some(ordinal) {
                report.find(format!("the task with ordinal {ordinal} is wrongly in or out of the set {set:?}"));
            }
        }
        if is_waiting && !task.is_plain() && !queued.contains(&(ordinal, word.mark)) {
            report.find(format!("the task with ordinal {ordinal} waits, and is not in the queue"));
        }
        if is_claimed && (!places.insert(word.mark) || shared.claim_at(word.mark)?.ordinal != ordinal) {
            report.find(format!("the claim on the task with ordinal {ordinal} is not in the table"));
        }
    }
    report.expect("the number of claims", tasks.claims.get(), places.len() as u64);
    let free = shared.free_places()?;
    if free.len() as u64 + places.len() as u64 != tasks.claims_used.get() || !free.is_disjoint(&places) {
        let (free, held, used) = (free.len(), places.len(), tasks.claims_used.get());
        report.find(format!("of {used} places for claims {held} are held and {free} free"));
    }
    Ok(())
}
