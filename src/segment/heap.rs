//! The mapped log as memory: records are borrowed or copied in place, new ones are written behind the last sealed one.
//!
//! **Two ways to read.** Bytes of a segment stay as they are while nobody may take the segment back into use:
//! [`Heap::sealed`] borrows them, for the holder of the mutex (who alone takes segments), for a pinned snapshot whose
//! records no segment may lose, and for whoever is alone. Everybody else reads [words](Heap::word), which are atomic, into
//! memory of his own, and then looks whether the segment still has the number that it had before (`segment/slots.rs`):
//! what was read of a segment that was taken meanwhile is thrown away.
//!
//! **One way to write.** Bytes behind the seal belong to the holder of the mutex, who writes them through [`Heap::write`],
//! word by word, so that a late reader of the segment's old content meets words and no data race.

use crate::limits::SEGMENT_BYTES;
use crate::segment::words::prefetch_address;
use crate::sys::atomic::Word;
use crate::sys::crash;
use crate::sys::map::FileMap;

/// Bytes of the log file's own head.
pub(crate) const LOG_HEADER_BYTES: u64 = 4096;
/// Bytes of a segment's head.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 128;

/// Cache lines of a record that are asked for ahead: head, key and a value of some hundred bytes.
const PREFETCHED_LINES: usize = 4;

/// A place in the log, counted in units of 8 bytes so that 40 bits name all of it. 0 names nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Position(pub(crate) u64);

impl Position {
    pub(crate) const NONE: Position = Position(0);

    pub(crate) fn from_bytes(bytes: u64) -> Position {
        debug_assert_eq!(bytes % 8, 0);
        Position(bytes / 8)
    }

    #[inline(always)]
    pub(crate) fn bytes(self) -> u64 {
        self.0.wrapping_mul(8)
    }

    pub(crate) fn plus(self, bytes: u64) -> Position {
        Position::from_bytes(self.bytes() + bytes)
    }

    /// The segment that it lies in.
    #[inline(always)]
    pub(crate) fn segment(self) -> Segment {
        Segment(self.bytes() / SEGMENT_BYTES)
    }
}

/// A segment of the log by its place in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Segment(pub(crate) u64);

impl Segment {
    /// Where its head stands; the first segment's stands behind that of the file.
    #[inline(always)]
    pub(crate) fn head(self) -> Position {
        Position(self.0 * (SEGMENT_BYTES / 8) + if self.0 == 0 { LOG_HEADER_BYTES / 8 } else { 0 })
    }

    /// Where its first frame stands.
    pub(crate) fn first(self) -> Position {
        self.head().plus(SEGMENT_HEADER_BYTES as u64)
    }

    /// The end of a run of `span` segments that starts here.
    pub(crate) fn end(self, span: u64) -> Position {
        Segment(self.0 + span).start()
    }

    /// Where it starts in the file.
    pub(crate) fn start(self) -> Position {
        Position(self.0 * (SEGMENT_BYTES / 8))
    }
}

#[derive(Debug)]
pub(crate) struct Heap {
    map: FileMap,
}

impl Heap {
    pub(crate) fn new(map: FileMap) -> Heap {
        Heap { map }
    }

    pub(crate) fn map(&self) -> &FileMap {
        &self.map
    }

    /// Whether `length` bytes from `position` lie in the log's first `ready` bytes.
    #[inline(always)]
    pub(crate) fn holds(&self, position: Position, length: u64, ready: u64) -> bool {
        let (start, ready) = (position.bytes(), ready.min(self.map.capacity()));
        start < ready && length <= ready - start
    }

    /// Borrows `length` bytes, or nothing where that would leave the first `ready` bytes of the log. The caller is one of
    /// those for whom they stay as they are (see above).
    #[inline(always)]
    pub(crate) fn sealed(&self, position: Position, length: u64, ready: u64) -> Option<&[u8]> {
        if !self.holds(position, length, ready) {
            return None;
        }
        // SAFETY: inside the mapping and inside the file's allocated part by the check above. The caller keeps the
        // segment from being taken (the module's rule), so nobody writes the bytes while the borrow lives, which ends
        // before the mapping does.
        Some(unsafe { std::slice::from_raw_parts(self.map.address().add(position.bytes() as usize), length as usize) })
    }

    /// The words from `position` on, for a reader who does not keep their segment from being taken.
    #[inline(always)]
    pub(crate) fn words(&self, position: Position, count: u64, ready: u64) -> Option<&[Word]> {
        if count > u64::MAX / 8 || !self.holds(position, count * 8, ready) {
            return None;
        }
        // SAFETY: inside the mapping and the file's allocated part by the check above, and aligned, since the mapping
        // starts at a page and positions count words. Whoever may write them meanwhile does so as `Word`s (`write`).
        Some(unsafe { std::slice::from_raw_parts(self.map.address().cast::<Word>().add(position.0 as usize), count as usize) })
    }

    /// Writes `bytes`, filled up with zeros to whole words, to a place behind the last sealed transaction. The caller
    /// holds the mutex, or is alone.
    #[inline]
    pub(crate) fn write(&self, position: Position, bytes: &[u8]) {
        assert!(
            self.map.is_writable() && self.holds(position, bytes.len().next_multiple_of(8) as u64, self.map.capacity()),
            "the writer reserved the space"
        );
        let words = self.words(position, bytes.len().div_ceil(8) as u64, self.map.capacity()).expect("checked above");
        if cfg!(tastypod_crash_points) {
            // A kill comes in the middle of a record too.
            let half = words.len() / 2;
            fill(&words[..half], &bytes[..half * 8]);
            crash::point("log half written");
        }
        fill(words, bytes);
        crash::point("log written");
    }

    /// Asks for the cache lines from `position` on, where the next records will be written: a store to a line that is not
    /// there holds up the next atomic instruction, which is under the mutex, until it is.
    #[inline(always)]
    pub(crate) fn prefetch_tail(&self, position: Position, bytes: u64) {
        let address = self.map.address().wrapping_add(position.bytes() as usize);
        for offset in (0..bytes as usize).step_by(64) {
            prefetch_address(address.wrapping_add(offset));
        }
    }

    /// Asks for the first cache lines of a record ahead of its use.
    #[inline(always)]
    pub(crate) fn prefetch(&self, position: Position) {
        let address = self.map.address().wrapping_add(position.bytes() as usize);
        for line in 0..PREFETCHED_LINES {
            prefetch_address(address.wrapping_add(line * 64));
        }
    }
}

impl Heap {
    /// Where bytes borrowed by [`Heap::sealed`] begin.
    pub(crate) fn position_of(&self, bytes: &[u8]) -> Position {
        let offset = (bytes.as_ptr() as usize).wrapping_sub(self.map.address() as usize);
        assert!((offset as u64) < self.map.capacity(), "the bytes were borrowed from this heap");
        Position::from_bytes(offset as u64)
    }
}

/// Stores bytes as words, the last one filled up with zeros.
#[inline(always)]
fn fill(words: &[Word], bytes: &[u8]) {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let (block_words, rest_words) = words.split_at(blocks.len() * 8);
    for (block, words) in blocks.iter().zip(block_words.as_chunks::<8>().0) {
        for (word, piece) in words.iter().zip(block.as_chunks::<8>().0) {
            word.fill(u64::from_ne_bytes(*piece));
        }
    }
    for (word, piece) in rest_words.iter().zip(rest.chunks(8)) {
        let mut filled = [0; 8];
        filled[..piece.len()].copy_from_slice(piece);
        word.fill(u64::from_ne_bytes(filled));
    }
}
