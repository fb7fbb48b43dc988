//! Tasks whose turn does not come by their place in the order: two heaps, side by side in a file.
//!
//! An entry is three words: a key (lower ones come first), a turn (which decides between equal keys), an ordinal. Entries are
//! never looked for and taken out: whoever finds one at the top looks whether it is still true, and drops it if not. So a push
//! may be repeated, an entry may stand there twice, and a kill leaves:
//!
//! - within a push: a heap with one entry twice, and without the new one, which the repair pushes again;
//! - within a pop: a heap, and the entry that was on its way from the end noted in `moving`, which the repair pushes again.

use crate::segment::control::Tasks;
use crate::segment::words::Words;

/// Words that hold `entries` entries in each heap.
pub(crate) fn words_for(entries: u64) -> u64 {
    entries * 6
}

/// Which heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heap {
    /// Tasks that may be claimed now, by priority and turn.
    Ready,
    /// Tasks that may not be claimed before a moment, by that.
    Delayed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Waiting {
    pub(crate) key: u64,
    pub(crate) turn: u64,
    pub(crate) ordinal: u64,
}

/// The heaps. For the holder of the mutex.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue<'a, W> {
    pub(crate) words: &'a W,
    pub(crate) state: &'a Tasks,
}

impl<W: Words> Queue<'_, W> {
    pub(crate) fn len(&self, heap: Heap) -> u64 {
        self.state.waiting[heap as usize].get()
    }

    fn load(&self, heap: Heap, index: u64) -> Waiting {
        let at = words_for(index) + heap as u64 * 3;
        Waiting { key: self.words.load(at), turn: self.words.load(at + 1), ordinal: self.words.load(at + 2) }
    }

    fn store(&self, heap: Heap, index: u64, entry: Waiting) {
        let at = words_for(index) + heap as u64 * 3;
        // Three stores: within them the entry is neither. The repair begins the heap anew where one was cut off.
        self.state.storing.set(1);
        self.words.store(at, entry.key);
        self.words.store(at + 1, entry.turn);
        self.words.store(at + 2, entry.ordinal);
        self.state.storing.set(0);
    }

    pub(crate) fn peek(&self, heap: Heap) -> Option<Waiting> {
        (self.len(heap) > 0).then(|| self.load(heap, 0))
    }

    /// All entries, in no order.
    pub(crate) fn entries(&self, heap: Heap) -> impl Iterator<Item = Waiting> {
        (0..self.len(heap)).map(move |index| self.load(heap, index))
    }

    /// There is room for it.
    pub(crate) fn push(&self, heap: Heap, entry: Waiting) {
        let mut index = self.len(heap);
        let parent = |index: u64| (index - 1) / 2;
        if index == 0 {
            self.store(heap, 0, entry);
            self.state.waiting[heap as usize].set(1);
            return;
        }
        let above = self.load(heap, parent(index));
        if above <= entry {
            self.store(heap, index, entry);
            self.state.waiting[heap as usize].set(index + 1);
            return;
        }
        self.store(heap, index, above);
        self.state.waiting[heap as usize].set(index + 1);
        index = parent(index);
        while index > 0 {
            let above = self.load(heap, parent(index));
            if above <= entry {
                break;
            }
            self.store(heap, index, above);
            index = parent(index);
        }
        self.store(heap, index, entry);
    }

    /// Drops the first entry.
    pub(crate) fn pop(&self, heap: Heap) {
        let Some(last) = self.len(heap).checked_sub(1) else { return };
        if last == 0 {
            self.state.waiting[heap as usize].set(0);
            return;
        }
        let entry = self.load(heap, last);
        for (word, value) in self.state.moving.iter().zip([entry.key, entry.turn, entry.ordinal]) {
            word.set(value);
        }
        self.state.moving_to.set(heap as u64 + 1);
        self.state.waiting[heap as usize].set(last);
        let mut index = 0;
        loop {
            let child = 2 * index + 1;
            if child >= last {
                break;
            }
            let right = (child + 1 < last).then(|| self.load(heap, child + 1));
            let left = self.load(heap, child);
            let (child, least) = match right {
                Some(right) if right < left => (child + 1, right),
                _ => (child, left),
            };
            if entry <= least {
                break;
            }
            self.store(heap, index, least);
            index = child;
        }
        self.store(heap, index, entry);
        self.state.moving_to.set(0);
    }

    /// Puts the heaps in order after a kill. False where they have to be made anew.
    pub(crate) fn repair(&self) -> bool {
        if self.state.storing.get() != 0 {
            return false;
        }
        let heap = match self.state.moving_to.get() {
            0 => return true,
            1 => Heap::Ready,
            _ => Heap::Delayed,
        };
        let [key, turn, ordinal] = &self.state.moving;
        // The place that it came from is free, or was not given up yet.
        self.push(heap, Waiting { key: key.get(), turn: turn.get(), ordinal: ordinal.get() });
        self.state.moving_to.set(0);
        true
    }

    /// Empties both.
    pub(crate) fn clear(&self) {
        for word in self.state.waiting.iter().chain([&self.state.moving_to, &self.state.storing]) {
            word.set(0);
        }
    }
}

/// The key of a priority: higher ones come first.
#[inline]
pub(crate) fn priority_key(priority: f64) -> u64 {
    // Plus 0.0: there is one zero.
    let bits = (priority + 0.0).to_bits();
    // Ascending as the numbers are, then turned round.
    !(if bits >> 63 == 1 { !bits } else { bits | 1 << 63 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::atomic::Word;
    use proptest::prelude::*;

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

    proptest! {
        #[test]
        fn what_comes_out_is_in_order(steps in prop::collection::vec((any::<bool>(), 0..50u64, 0..4u64), 1..200)) {
            let words = Plain((0..words_for(200)).map(|_| Word::default()).collect());
            let state = Tasks::default();
            let queue = Queue { words: &words, state: &state };
            let mut model = std::collections::BinaryHeap::new();
            for (ordinal, (pushes, key, turn)) in steps.into_iter().enumerate() {
                if pushes {
                    let entry = Waiting { key, turn, ordinal: ordinal as u64 };
                    queue.push(Heap::Delayed, entry);
                    model.push(std::cmp::Reverse(entry));
                } else {
                    prop_assert_eq!(queue.peek(Heap::Delayed), model.pop().map(|entry| entry.0));
                    queue.pop(Heap::Delayed);
                }
                prop_assert_eq!(queue.len(Heap::Delayed), model.len() as u64);
            }
            prop_assert_eq!(queue.len(Heap::Ready), 0);
        }
    }

    #[test]
    fn higher_priorities_have_lower_keys() {
        let priorities = [f64::MAX, 10.0, 1.5, 0.0, -0.5, -3.0, f64::MIN];
        assert!(priorities.windows(2).all(|pair| priority_key(pair[0]) < priority_key(pair[1])));
        assert_eq!(priority_key(0.0), priority_key(-0.0));
    }
}
