//! The hash table: open addressing over 64-bit words, read without a lock while one process writes.
//!
//! ```text
//! entry       bit 63: the key was removed   bits 40..63: tag   bits 0..40: position of the newest record   0: empty
//! descriptor  bits 28..64: first page of 4096 bytes in the index file   bits 20..28: log2 of the slots
//!             bits 0..20: generation, not 0
//! ```
//!
//! An entry's home is the slot that the hash's top bits name; it stands there or in the next free slot behind. Behind
//! the slots lie [`SLACK`] more, so that a probe never wraps. The tag is the hash's low 23 bits: a wrong record is
//! looked at once in eight million probes.
//!
//! A slot goes from empty to an entry for one key, and from then on only ever to newer entries for that key, or to [`VOID`] when
//! no reader needs to know any more that the key was removed: a reader may look at any moment. Tables grow in `grow.rs`, into a new place; a reader that misses looks whether the table is
//! still the current one, and otherwise starts again.

use crate::segment::heap::Position;
use crate::segment::words::Words;

/// Slots behind the last home.
pub(crate) const SLACK: u64 = 512;
/// Slots of a fresh store's table.
pub(crate) const SLOTS_LOG2_MIN: u32 = 12;
/// Slots of the largest table.
pub(crate) const SLOTS_LOG2_MAX: u32 = 31;
const PAGE_WORDS: u64 = 512;
/// Pages in a huge page.
const HUGE_PAGES: u64 = 512;

const POSITION_BITS: u32 = 40;
const TAG_BITS: u32 = 23;
const DEAD: u64 = 1 << 63;

/// An entry that names nothing: its key was removed, and what said so is not needed any more. The slot is used up.
pub(crate) const VOID: Entry = Entry(DEAD);

/// A slot's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry(pub(crate) u64);

impl Entry {
    #[inline]
    pub(crate) fn new(position: Position, hash: u64, dead: bool) -> Entry {
        debug_assert!(position.0 >> POSITION_BITS == 0 && position != Position::NONE);
        Entry(position.0 | (hash & ((1 << TAG_BITS) - 1)) << POSITION_BITS | if dead { DEAD } else { 0 })
    }

    #[inline(always)]
    pub(crate) fn position(self) -> Position {
        Position(self.0 & ((1 << POSITION_BITS) - 1))
    }

    /// Whether the newest record says that the key is gone.
    pub(crate) fn is_dead(self) -> bool {
        self.0 & DEAD != 0
    }

    #[inline(always)]
    fn may_be(self, hash: u64) -> bool {
        ((self.0 >> POSITION_BITS) ^ hash) & ((1 << TAG_BITS) - 1) == 0
    }
}

/// Where a table lies. Read from shared memory, so it is bounded here and against the file by [`Descriptor::fits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) first_page: u64,
    pub(crate) slots_log2: u32,
    pub(crate) generation: u64,
}

impl Descriptor {
    #[inline]
    pub(crate) fn decode(word: u64) -> Option<Descriptor> {
        let descriptor = Descriptor { first_page: word >> 28, slots_log2: (word >> 20 & 0xff) as u32, generation: word & 0xf_ffff };
        (word != 0 && (SLOTS_LOG2_MIN..=SLOTS_LOG2_MAX).contains(&descriptor.slots_log2)).then_some(descriptor)
    }

    pub(crate) fn encode(self) -> u64 {
        self.first_page << 28 | u64::from(self.slots_log2) << 20 | self.generation
    }

    /// The table of a fresh index.
    pub(crate) fn first(slots_log2: u32) -> Descriptor {
        Descriptor { first_page: 0, slots_log2, generation: 1 }
    }

    /// A table of the given size beside this one: at the file's start if that is free, else behind it. The pages below `taken`
    /// are in the hands of others.
    pub(crate) fn successor(self, slots_log2: u32, taken: u64) -> Descriptor {
        let mut next = Descriptor { first_page: 0, slots_log2, generation: self.generation % 0xf_ffff + 1 };
        if next.pages() > self.first_page || taken > 0 {
            // Large tables lie in whole huge pages.
            let behind = (self.first_page + self.pages()).max(taken);
            next.first_page = if next.pages() > HUGE_PAGES { behind.next_multiple_of(HUGE_PAGES) } else { behind };
        }
        next
    }

    #[inline(always)]
    pub(crate) fn slots(self) -> u64 {
        1 << self.slots_log2
    }

    /// Words of the table, the slack included.
    #[inline(always)]
    pub(crate) fn words(self) -> u64 {
        self.slots() + SLACK
    }

    fn pages(self) -> u64 {
        self.words().div_ceil(PAGE_WORDS)
    }

    #[inline(always)]
    fn first_word(self) -> u64 {
        self.first_page * PAGE_WORDS
    }

    /// Where it starts in the index file.
    #[inline(always)]
    pub(crate) fn first_byte(self) -> u64 {
        self.first_word() * 8
    }

    /// Bytes that the index file needs for it.
    #[inline(always)]
    pub(crate) fn end_byte(self) -> u64 {
        (self.first_word() + self.words()) * 8
    }

    /// Bytes that are its alone.
    pub(crate) fn bytes(self) -> u64 {
        self.pages() * PAGE_WORDS * 8
    }

    /// Whether it lies within the first `ready` bytes of the file.
    #[inline(always)]
    pub(crate) fn fits(self, ready: u64) -> bool {
        self.end_byte() <= ready
    }

    #[inline(always)]
    pub(crate) fn home(self, hash: u64) -> u64 {
        hash >> (64 - self.slots_log2)
    }
}

/// What a probe ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The key's slot.
    At { slot: u64, entry: Entry },
    /// The key has no slot; this one is free for it.
    Vacant { slot: u64 },
    /// The key is in none of the slots below the limit.
    Limit,
}

/// One table of an index.
#[derive(Debug)]
pub(crate) struct Table<'a, W> {
    pub(crate) words: &'a W,
    pub(crate) place: Descriptor,
}

impl<W: Words> Table<'_, W> {
    #[inline(always)]
    pub(crate) fn entry(&self, slot: u64) -> Entry {
        Entry(self.words.load(self.place.first_word() + slot))
    }

    #[inline(always)]
    pub(crate) fn set(&self, slot: u64, entry: Entry) {
        self.words.store(self.place.first_word() + slot, entry.0);
    }

    /// Asks for the cache line where a probe for `hash` starts.
    #[inline(always)]
    pub(crate) fn prefetch(&self, hash: u64) {
        self.words.prefetch(self.place.first_word() + self.place.home(hash));
    }

    /// Looks for the slot of a key with this hash, in slots below `limit`. `is_key` looks at a record that may be it.
    #[inline]
    pub(crate) fn find<E>(&self, hash: u64, limit: u64, mut is_key: impl FnMut(Position) -> Result<bool, E>) -> Result<Found, E> {
        self.find_entry(hash, limit, |_, entry| is_key(entry.position()))
    }

    /// The same; `is_key` is told the slot too.
    #[inline(always)]
    pub(crate) fn find_entry<E>(&self, hash: u64, limit: u64, mut is_key: impl FnMut(u64, Entry) -> Result<bool, E>) -> Result<Found, E> {
        let mut slot = self.place.home(hash);
        while slot < limit {
            let entry = self.entry(slot);
            if entry.0 == 0 {
                return Ok(Found::Vacant { slot });
            }
            if entry.may_be(hash) && entry != VOID && is_key(slot, entry)? {
                return Ok(Found::At { slot, entry });
            }
            slot += 1;
        }
        Ok(Found::Limit)
    }
}
