//! Records in memory of the reader's own.

use crate::log::record::Record;
use crate::sys::atomic::{Ordering, Word};
use std::cell::RefCell;

/// Records longer than this are pinned rather than copied: a pin costs two system calls.
pub(crate) const COPIED_BYTES_MAX: u64 = 16 * 1024;

thread_local! {
    /// Memory of records that were copied before, for the next ones.
    static SPARE: RefCell<Vec<Vec<u64>>> = const { RefCell::new(Vec::new()) };
}

/// Copies that a thread keeps memory for.
const SPARE_MAX: usize = 8;

/// A record in memory of the reader's own.
#[derive(Debug)]
pub(crate) struct Copied {
    words: Vec<u64>,
}

impl Copied {
    #[inline]
    pub(super) fn of(words: &[Word]) -> Copied {
        // A thread that exits may have lost them already.
        let mut copy = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten().unwrap_or_default();
        copy.clear();
        copy.extend(words.iter().map(|word| word.load(Ordering::Relaxed)));
        Copied { words: copy }
    }

    /// Of one that stays where it is meanwhile.
    pub(crate) fn of_record(record: &Record<'_>) -> Copied {
        Copied { words: record.bytes().as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect() }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        bytemuck::cast_slice(&self.words)
    }

    #[inline]
    pub(crate) fn record(&self) -> Record<'_> {
        Record::of(self.bytes()).expect("checked when it was copied")
    }
}

impl Clone for Copied {
    fn clone(&self) -> Copied {
        Copied { words: self.words.clone() }
    }
}

impl Drop for Copied {
    #[inline]
    fn drop(&mut self) {
        let words = std::mem::take(&mut self.words);
        let _ = SPARE.try_with(|spare| {
            if let Ok(mut spare) = spare.try_borrow_mut()
                && spare.len() < SPARE_MAX
                && words.capacity() as u64 * 8 <= COPIED_BYTES_MAX
            {
                spare.push(words);
            }
        });
    }
}
