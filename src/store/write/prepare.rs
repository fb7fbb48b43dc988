//! What the next commits will need is got ready ahead, outside the mutex.

use crate::index::table::Descriptor;
use crate::segment::words::MappedWords;
use crate::store::core::shared::Shared;
use crate::store::write::growing::{CHUNK_BYTES_MAX, chunk};
use crate::store::write::room::kept_at_most;
use crate::sys::atomic::Ordering;

/// Chunks that are ready behind the tail of a large log, and what is kept (`room.rs`).
const CHUNKS_AHEAD: u64 = 3;

/// How near the end of what is ready the log's tail may come before more is made ready. In a large log several chunks: beside
/// a bulk load the tail runs through one while the next is allocated, and then all wait for that under the mutex. What is kept comes on top.
fn ahead(ready: u64) -> u64 {
    let chunks = if ready < CHUNKS_AHEAD * CHUNK_BYTES_MAX { chunk(ready) } else { CHUNKS_AHEAD * CHUNK_BYTES_MAX };
    chunks + kept_at_most(ready)
}

impl Shared {
    /// Gets ready ahead what the next commits will need: the log's next chunk, when the tail comes near the end of what is
    /// ready, and the next table. Outside the mutex.
    #[inline]
    pub(crate) fn prepare(&self) {
        let control = self.control;
        let ready = control.ready.log.load(Ordering::Relaxed);
        let tail = control.log.sealed.load(Ordering::Relaxed) * 8;
        if tail + ahead(ready) > ready {
            self.prepare_log(ready);
        }
        if control.log.chores.load(Ordering::Relaxed) != 0 {
            self.do_chores();
        }
        if control.table.next.load(Ordering::Relaxed) != 0 || self.is_nearly_due() {
            self.prepare_index();
        }
    }

    /// The byte of the log where its last record stands.
    pub(crate) fn log_end(&self) -> u64 {
        self.control.log.sealed.load(Ordering::Relaxed) * 8
    }

    /// For whoever keeps a snapshot for long, as a checkpoint does: writers then enter new segments all the time. Gets the log ready further
    /// ahead than they do, so that it is not they who wait for it. `seen`: where the log ended before; where it ends now.
    pub(crate) fn prepare_for_others(&self, seen: u64) -> u64 {
        let tail = self.log_end();
        for _ in 0..CHUNKS_AHEAD {
            let ready = self.control.ready.log.load(Ordering::Relaxed);
            if tail / CHUNK_BYTES_MAX == seen / CHUNK_BYTES_MAX || tail + 2 * ahead(ready) <= ready {
                break;
            }
            self.prepare_log(ready);
        }
        tail
    }

    /// Whether a next table will be begun soon: at nine sixteenths, one before it is.
    #[inline]
    fn is_nearly_due(&self) -> bool {
        let (state, table) = (&self.control.table, Descriptor::decode(self.control.table.current.load(Ordering::Relaxed)));
        table.is_some_and(|table| state.occupied.load(Ordering::Relaxed) * 16 > table.slots() * 9)
    }

    /// Brings the part of the next table into memory that is filled next, as huge pages where the system has them: written
    /// to without, it would get small ones.
    #[cold]
    fn prepare_index(&self) {
        let (state, ahead) = (&self.control.table, &self.control.ready.index_ahead);
        let Some(current) = Descriptor::decode(state.current.load(Ordering::Relaxed)) else { return };
        let next = Descriptor::decode(state.next.load(Ordering::Relaxed));
        let Some(place) = next.or_else(|| self.growth().plan(current, state.occupied.get())) else { return };
        if place.end_byte() - place.first_byte() < CHUNK_BYTES_MAX || next.is_none() && self.allocate_index(place).is_err() {
            return;
        }
        let zeroed = if next.is_some() { state.zeroed.load(Ordering::Relaxed) * 8 } else { 0 };
        let wanted = (place.first_byte() + zeroed + CHUNK_BYTES_MAX).min(place.end_byte());
        let done = ahead.load(Ordering::Relaxed);
        let done_here = if (place.first_byte()..=place.end_byte()).contains(&done) { done } else { place.first_byte() };
        if done_here < wanted && ahead.exchange_if(done, done_here + CHUNK_BYTES_MAX) {
            MappedWords::map(&self.index).populate(done_here, CHUNK_BYTES_MAX.min(place.end_byte() - done_here));
        }
    }

    #[cold]
    fn prepare_log(&self, ready: u64) {
        let claim = &self.control.ready.log_claim;
        let claimed = claim.load(Ordering::Relaxed);
        if claimed != ready && claim.exchange_if(claimed, ready) {
            // Whoever needs the space meets the error himself.
            let _ = self.growing_log().extend(self, ready + 1, chunk(ready), true);
        }
    }
}
