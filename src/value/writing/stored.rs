//! Where trusted archives come from: records of the log, and arenas that hold what was just encoded.

use crate::log::record::Record;
use crate::value::archive::archived::Archive;
#[cfg(any(test, tastypod_fuzzing))]
use crate::value::archive::fault::Fault;
use crate::value::writing::encode::encode;
#[cfg(any(test, tastypod_fuzzing))]
use crate::value::writing::json;
#[cfg(any(test, tastypod_fuzzing))]
use crate::value::writing::writer::{self, Writer};
use std::cell::Cell;

impl<'a> Archive<'a> {
    /// The value of a record of the log that holds one.
    #[inline]
    pub(crate) fn of(record: &Record<'a>) -> Archive<'a> {
        debug_assert!(record.is_set() || record.kind() == crate::log::record::Kind::Settings);
        // SAFETY: a record is reached through a position that was published. Either a process of this boot appended its
        // value with `encode` or `edit::apply` before it sealed the record (or is about to seal it, and looks at its own copy), or the rebuild that published the record
        // validated the value. Sealed bytes do not change while they are borrowed (`segment/heap.rs`).
        unsafe { Archive::trusted(record.value()) }
    }
}

/// The archive of a truth value.
pub(crate) fn truth(value: bool) -> Archive<'static> {
    // SAFETY: what the writer makes of them, by the table at the head of the module: a tag, and eight bytes of zero.
    unsafe { Archive::trusted(if value { &[2, 0, 0, 0, 0, 0, 0, 0, 0] } else { &[1, 0, 0, 0, 0, 0, 0, 0, 0] }) }
}

/// Archives one after the other.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    bytes: Vec<u8>,
}

/// Where an archive lies in the arena that gave the span out.
#[derive(Debug, Clone)]
pub(crate) struct Span(std::ops::Range<usize>);

/// Memory longer than this is given back to the allocator.
const KEPT_BYTES_MAX: usize = 1 << 20;

thread_local! {
    /// Memory of the last arena that was lent.
    static KEPT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Arena {
    /// Runs something with an empty arena, whose memory this thread keeps.
    pub(crate) fn with_kept<R>(work: impl FnOnce(&mut Arena) -> R) -> R {
        // A thread that exits may have lost it already; who is inside of another such call gets a new one.
        let mut arena = Arena { bytes: KEPT.try_with(Cell::take).unwrap_or_default() };
        arena.bytes.clear();
        let result = work(&mut arena);
        if arena.bytes.capacity() <= KEPT_BYTES_MAX {
            let _ = KEPT.try_with(|kept| kept.set(arena.bytes));
        }
        result
    }

    pub(crate) fn push(&mut self, archive: Archive<'_>) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(archive.as_bytes());
        Span(start..self.bytes.len())
    }

    /// Appends what `encode` makes.
    pub(crate) fn encode<T: serde::Serialize + ?Sized>(&mut self, value: &T) -> crate::Result<Span> {
        let start = self.bytes.len();
        encode(value, &mut self.bytes)?;
        Ok(Span(start..self.bytes.len()))
    }

    /// Appends what `decide` appends: one archive that `encode` or `apply` makes, or nothing.
    pub(crate) fn append<C, R>(&mut self, decide: impl FnOnce(&mut Vec<u8>) -> crate::Result<(C, R)>) -> crate::Result<(C, R, Span)> {
        let start = self.bytes.len();
        let (change, result) = decide(&mut self.bytes)?;
        Ok((change, result, Span(start..self.bytes.len())))
    }

    /// The archive of a span that this arena gave out and that is not empty.
    pub(crate) fn get(&self, span: Span) -> Archive<'_> {
        // SAFETY: spans are made only by the functions above, around the bytes of one whole archive each, and the arena
        // only grows.
        unsafe { Archive::trusted(&self.bytes[span.0]) }
    }
}

/// An archive in memory of its own.
#[cfg(any(test, tastypod_fuzzing))]
pub(crate) struct Encoded {
    /// One archive, as the writer wrote it.
    bytes: Vec<u8>,
}

#[cfg(any(test, tastypod_fuzzing))]
impl Encoded {
    pub(in crate::value) fn of(body: impl FnOnce(&mut Writer<'_>) -> Result<(), Fault>) -> Result<Encoded, Fault> {
        let mut bytes = Vec::new();
        writer::write(&mut bytes, body)?;
        Ok(Encoded { bytes })
    }

    pub(crate) fn archive(&self) -> Archive<'_> {
        // SAFETY: the field is private to this file, and `of`, which alone makes one, had it filled by the writer; it stays
        // borrowed, hence unchanged, for as long as the result lives.
        unsafe { Archive::trusted(&self.bytes) }
    }

    /// The archive of any serialisable value.
    #[cfg(test)]
    pub(crate) fn new<T: serde::Serialize + ?Sized>(value: &T) -> crate::Result<Encoded> {
        Ok(Encoded::of(|writer| value.serialize(writer))?)
    }

    /// The archive of one strict JSON text.
    pub(crate) fn from_json(text: &str) -> crate::Result<Encoded> {
        Ok(Encoded::of(|writer| json::write_text(text, writer))?)
    }
}
