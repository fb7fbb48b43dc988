//! Repair after an owner's death: finish the sealed transaction, forget the unsealed one.
//!
//! | sealed footer          | action                                                          |
//! |------------------------|-----------------------------------------------------------------|
//! | none, or number = commit     | nothing: what lies behind it was never sealed and may be rewritten |
//! | number = commit + 1    | publish its records again, then its commit word                 |
//! | any other number       | the memory contradicts itself: integrity error                  |
//!
//! Publishing again is harmless: a slot that names the record already is set to the same. A repair that is killed leaves
//! the same states, so the next owner starts over.

use crate::error::Result;
use crate::log::scan;
use crate::segment::heap::Position;
use crate::store::shared::Shared;
use crate::sys::atomic::Ordering;

impl Shared {
    /// Puts the store in order. The caller holds the mutex or is alone.
    pub(crate) fn repair(&self) -> Result<()> {
        self.growth().settle();
        let at = Position(self.control.log.sealed.get());
        if at == Position::NONE {
            return Ok(());
        }
        let footer = self.footer(at)?;
        let committed = self.control.commit.newest();
        if footer.counters.sequence == committed {
            return Ok(());
        }
        if footer.counters.sequence != committed + 1 {
            return Err(self.damaged(at, "the sealed transaction is not the one after the committed"));
        }
        let ready = self.control.ready.log.load(Ordering::Acquire);
        let records = scan::records_of(&self.heap, ready, &footer)
            .ok_or_else(|| self.damaged(footer.start, "a sealed transaction cannot be walked"))?;
        for (position, record) in records {
            self.publish(position, record.kind(), record.hash(), record.ordinal(), record.key(), None)?;
        }
        self.control.commit.publish(&footer.counters);
        Ok(())
    }
}
