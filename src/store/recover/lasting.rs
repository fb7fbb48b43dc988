//! What of the control page lasts from the last process to leave to the next to come.

use crate::segment::control::Control;
use crate::sys::atomic::Word;

/// The words of a control page that must not change between a close in good order and the next open.
pub(crate) fn lasting_words(control: &Control) -> Vec<&Word> {
    let counters = control.commit.words();
    let (log, table, ready, order) = (&control.log, &control.table, &control.ready, &control.order);
    let flush = &control.flush;
    let mut words = vec![
        &log.sealed,
        &log.start,
        &log.settings,
        &log.segments,
        &log.next,
        &log.free,
        &log.victim,
        &log.victim_at,
        &log.noted,
        &log.drops,
        &log.marks,
        &log.marks_kept,
        &log.limit,
        &log.holes,
        &log.saved,
        &log.saved_order,
        &log.saving_order,
        &log.saving,
        &log.dirty,
        &log.dirty_next,
        &log.saved_ordinals,
        &log.saving_ordinals,
        &flush.asked,
        &flush.horizon,
        &flush.order,
        &flush.failed,
        &flush.mended,
        &table.current,
        &table.next,
        &table.old,
        &table.punching,
        &table.puncher,
        &table.migrated,
        &table.copying,
        &table.zeroed,
        &table.occupied,
        &table.next_occupied,
    ];
    words.extend([&table.floor, &table.dropped, &ready.log, &ready.index, &ready.order, &ready.segments]);
    words.extend([&order.low, &order.punched, &order.first, &order.since, &order.before, &order.fill, &order.cut, &order.start]);
    words.extend(counters);
    words.extend(control.tasks.lasting_words());
    words
}
