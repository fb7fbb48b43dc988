//! Repair after an owner's death: finish the sealed transaction, forget the unsealed one.
//!
//! | sealed record's version | action                                                          |
//! |------------------------|-----------------------------------------------------------------|
//! | none, or = commit           | nothing: what lies behind it was never sealed and may be rewritten |
//! | commit + 1             | publish its records again, then its commit word                 |
//! | any other number       | the memory contradicts itself: integrity error                  |
//!
//! Publishing again is harmless: a slot that names the record already is set to the same. A repair that is killed leaves
//! the same states, so the next owner starts over.

use crate::error::Result;
use crate::log::batch::Claiming;
use crate::log::record::FRAME_BYTES;
use crate::log::scan;
use crate::segment::heap::Position;
use crate::store::core::shared::Shared;
use crate::store::write::publishing::By;
use crate::store::write::tail::Tail;
use crate::sys::atomic::Ordering;

impl Shared {
    /// Whether a sealed transaction is not yet committed.
    #[inline]
    pub(crate) fn is_unfinished(&self) -> bool {
        let at = Position(self.control.log.sealed.get());
        at != Position::NONE && self.sealed_record(at).map_or(true, |last| last.version() != self.control.commit.newest())
    }

    /// Puts the store in order. The caller holds the mutex or is alone.
    pub(crate) fn repair(&self) -> Result<()> {
        self.require_reach()?;
        self.growth().settle();
        let at = Position(self.control.log.sealed.get());
        if at == Position::NONE {
            return self.forget_unsealed(&self.tail()?);
        }
        let sealed = self.sealed_record(at)?.version();
        let mut counters = self.counters()?;
        if sealed == counters.sequence {
            self.repair_tasks()?;
            return self.forget_unsealed(&self.tail()?);
        }
        if sealed != counters.sequence + 1 {
            return Err(self.damaged(at, "the sealed transaction is not the one after the committed"));
        }
        let ready = self.control.ready.log.load(Ordering::Acquire);
        let start = Position(self.control.log.start.get());
        let records =
            scan::records_of(&self.heap, ready, start, at).ok_or_else(|| self.damaged(start, "a sealed transaction cannot be walked"))?;
        for (position, record) in records {
            self.publish(position, &record, By::Repair, Claiming::Keep)?;
            record.count(&mut counters);
        }
        self.control.commit.publish(&counters);
        self.repair_tasks()
    }

    /// A whole transaction may stand behind the tail that was never sealed. It is forgotten, also by a later rebuild.
    pub(crate) fn forget_unsealed(&self, tail: &Tail) -> Result<()> {
        if self.heap.map().is_writable() {
            let at = tail.cursor.at;
            if at.bytes() + FRAME_BYTES as u64 <= self.control.ready.log.load(Ordering::Acquire) {
                self.heap.write(at, &[0; FRAME_BYTES]);
            }
            self.forget_unsealed_segments(tail.cursor.segment)?;
        }
        Ok(())
    }
}
