//! Sets of ordinals in which the next member is found without a look at the stretches between: bits, and bits that say in
//! which words there are bits.
//!
//! Several sets lie side by side in blocks of 4096 ordinals. A word of level 0 holds 64 ordinals; a bit of a word of level
//! n says whether the word below it is not 0. Each block has room for one word of each level above the first; the word stands in the block
//! of the first ordinal that it speaks of:
//!
//! ```text
//! block: for each set   64 words of level 0   1 word each of levels 1 to 5
//! ```
//!
//! Written by the holder of the mutex alone, from below: a reader who loaded the commit word first finds every member
//! that was committed.

use crate::segment::words::Words;

/// Ordinals of a block.
pub(crate) const BLOCK: u64 = 4096;
const LEVELS: u32 = 6;
const SET_WORDS: u64 = 64 + LEVELS as u64 - 1;
/// Words of a block.
pub(crate) const BLOCK_WORDS: u64 = SET_WORDS * Set::COUNT;

/// Which set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    /// Tasks that are not done, not aborted and may be tried.
    Todo,
    /// Tasks that are aborted.
    Aborted,
    /// Tasks to do that nobody has a claim on, and whose turn comes by their place in the order.
    Ready,
}

impl Set {
    const COUNT: u64 = 3;
}

/// The sets over the words of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bits<'a, W> {
    pub(crate) words: &'a W,
    /// Ordinals that the file has blocks for.
    pub(crate) limit: u64,
}

/// Words that sets of ordinals below `ordinals` take.
pub(crate) fn words_for(ordinals: u64) -> u64 {
    ordinals.div_ceil(BLOCK) * BLOCK_WORDS
}

impl<W: Words> Bits<'_, W> {
    /// Where the word of a level stands in which `number`, counted in ordinals divided by 64 to the level, has its bit.
    fn place(set: Set, level: u32, number: u64) -> u64 {
        let first_ordinal = (number / 64) << (6 * (level + 1));
        let within = if level == 0 { (number / 64) % 64 } else { 63 + u64::from(level) };
        first_ordinal / BLOCK * BLOCK_WORDS + set as u64 * SET_WORDS + within
    }

    pub(crate) fn contains(&self, set: Set, ordinal: u64) -> bool {
        ordinal < self.limit && self.words.load(Self::place(set, 0, ordinal)) >> (ordinal % 64) & 1 == 1
    }

    /// Puts an ordinal into a set or takes it out. May be repeated.
    #[inline]
    pub(crate) fn put(&self, set: Set, ordinal: u64, is_member: bool) {
        let mut number = ordinal;
        for level in 0..LEVELS {
            let place = Self::place(set, level, number);
            let before = self.words.load(place);
            let bit = 1 << (number % 64);
            let after = if is_member { before | bit } else { before & !bit };
            if before != after {
                self.words.store(place, after);
            }
            // Above, only a word that was empty or became so is news; what a kill left undone above is done when it is repeated.
            if !is_member && after != 0 {
                return;
            }
            if is_member && level > 0 && before == after {
                return;
            }
            number /= 64;
        }
    }

    /// The first member that is not below `from`.
    #[inline]
    pub(crate) fn next(&self, set: Set, from: u64) -> Option<u64> {
        let mut from = from;
        'again: while from < self.limit {
            // Up, until a word has a bit at or behind the place.
            let mut number = from;
            let mut level = 0;
            let mut found = loop {
                if number << (6 * level) >= self.limit {
                    return None;
                }
                let bits = self.words.load(Self::place(set, level, number)) >> (number % 64);
                if bits != 0 {
                    break number + u64::from(bits.trailing_zeros());
                }
                number = number / 64 + 1;
                level += 1;
                if level == LEVELS {
                    return None;
                }
            };
            // Down again, to the first bit below it.
            while level > 0 {
                if found << (6 * level) >= self.limit {
                    return None;
                }
                level -= 1;
                let bits = self.words.load(Self::place(set, level, found * 64));
                if bits == 0 {
                    // Emptied in this moment, or by a writer who was killed before he said so above.
                    from = (found + 1) << (6 * (level + 1));
                    continue 'again;
                }
                found = found * 64 + u64::from(bits.trailing_zeros());
            }
            return (found < self.limit).then_some(found);
        }
        None
    }

    /// Makes the sets of a block empty.
    pub(crate) fn clear(&self, block: u64) {
        for word in block * BLOCK_WORDS..(block + 1) * BLOCK_WORDS {
            if self.words.load(word) != 0 {
                self.words.store(word, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::atomic::Word;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[derive(Debug)]
    struct Plain(Vec<Word>);

    impl Words for Plain {
        fn load(&self, at: u64) -> u64 {
            self.0[at as usize].get()
        }

        fn store(&self, at: u64, value: u64) {
            self.0[at as usize].set(value);
        }
    }

    fn plain(ordinals: u64) -> Plain {
        Plain((0..words_for(ordinals)).map(|_| Word::default()).collect())
    }

    fn members(bits: &Bits<'_, Plain>, set: Set) -> Vec<u64> {
        let mut from = 0;
        std::iter::from_fn(|| {
            let next = bits.next(set, from)?;
            from = next + 1;
            Some(next)
        })
        .collect()
    }

    #[test]
    fn members_far_apart_are_found_in_order() {
        let limit = 1 << 19;
        let words = plain(limit);
        let bits = Bits { words: &words, limit };
        let ordinals = [0, 63, 64, 4095, 4096, 262_143, 262_144, 300_000, limit - 1];
        for ordinal in ordinals {
            bits.put(Set::Ready, ordinal, true);
        }
        assert_eq!(members(&bits, Set::Ready), ordinals);
        assert_eq!(members(&bits, Set::Todo), [0; 0]);
        assert_eq!(bits.next(Set::Ready, 300_001), Some(limit - 1));
        bits.put(Set::Ready, limit - 1, false);
        assert_eq!(bits.next(Set::Ready, 300_001), None);
    }

    proptest! {
        #[test]
        fn the_sets_are_sets(steps in prop::collection::vec((0..3u8, 0..20_000u64, any::<bool>()), 1..300), from in 0..20_000u64) {
            let words = plain(20_000);
            let bits = Bits { words: &words, limit: 20_000 };
            let sets = [Set::Todo, Set::Aborted, Set::Ready];
            let mut model = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
            for (set, ordinal, is_member) in steps {
                let ordinal = if ordinal % 3 == 0 { ordinal % 130 } else { ordinal };
                bits.put(sets[set as usize], ordinal, is_member);
                if is_member { model[set as usize].insert(ordinal); } else { model[set as usize].remove(&ordinal); }
            }
            for (set, model) in sets.into_iter().zip(&model) {
                prop_assert_eq!(bits.next(set, from), model.range(from..).next().copied());
                prop_assert_eq!(members(&bits, set), model.iter().copied().collect::<Vec<_>>());
            }
        }
    }
}
