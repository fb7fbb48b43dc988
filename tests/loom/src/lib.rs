//! The lock-free steps of shared memory, under every order of threads and every reordering that the memory model allows.
//!
//! The files under test are the library's own, included by path; only the atomics are loom's. Threads stand for processes.
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release`.
#![cfg(loom)]

#[path = "../../../src/sys/atomic.rs"]
mod atomic;

mod crash {
    pub fn point(_name: &'static str) {}
}

mod sys {
    pub(crate) use crate::atomic;
}

#[path = "../../../src/segment/counters.rs"]
#[allow(dead_code)]
mod counters;

#[cfg(test)]
mod tests {
    use crate::atomic::{HalfWord, Ordering, Word, fence};
    use crate::counters::{CommitState, Counters};
    use loom::sync::Arc;
    use loom::thread;

    fn counters(sequence: u64) -> Counters {
        Counters { sequence, length: sequence * 10, next_ordinal: sequence * 100, chain: sequence * 7, ..Counters::default() }
    }

    fn is_whole(counters: &Counters) -> bool {
        counters.length == counters.sequence * 10 && counters.next_ordinal == counters.sequence * 100 && counters.chain == counters.sequence * 7
    }

    #[test]
    fn counters_are_of_one_instant_and_never_go_back() {
        loom::model(|| {
            let state = Arc::new(CommitState::default());
            state.publish(&counters(1));
            let writer = {
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    state.publish(&counters(2));
                    state.publish(&counters(3));
                })
            };
            let seen = state.newest();
            let read = state.read().unwrap();
            assert!(is_whole(&read) && seen <= read.sequence);
            writer.join().unwrap();
            assert_eq!(state.read().unwrap().sequence, 3);
        });
    }

    #[test]
    fn the_counters_of_an_empty_store_are_never_torn() {
        loom::model(|| {
            let state = Arc::new(CommitState::default());
            let writer = {
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    state.publish(&counters(1));
                    state.publish(&counters(2));
                })
            };
            assert!(is_whole(&state.read().unwrap()));
            writer.join().unwrap();
        });
    }

    /// What `CommitState` would be with one slot and no marks in it: the check must see that it is wrong.
    #[test]
    #[should_panic]
    fn one_slot_without_marks_is_torn() {
        loom::model(|| {
            let state = Arc::new([Word::new(1), Word::new(10), Word::new(100)]);
            let writer = {
                let state = Arc::clone(&state);
                thread::spawn(move || {
                    state[1].store(20, Ordering::Relaxed);
                    state[2].store(200, Ordering::Relaxed);
                    state[0].store(2, Ordering::Release);
                })
            };
            let sequence = state[0].load(Ordering::Acquire);
            assert_eq!((state[1].load(Ordering::Relaxed), state[2].load(Ordering::Relaxed)), (sequence * 10, sequence * 100));
            writer.join().unwrap();
        });
    }

    /// The two halves of `store/read/wait.rs`; whether the sleeper would sleep for ever.
    fn handshake(fenced: bool) {
        loom::model(move || {
            let words = Arc::new((Word::new(0), HalfWord::new(0), HalfWord::new(0)));
            let committer = {
                let words = Arc::clone(&words);
                thread::spawn(move || {
                    words.0.store(1, Ordering::Release);
                    if fenced {
                        fence(Ordering::SeqCst);
                    }
                    if words.1.load(Ordering::Relaxed) != 0 {
                        words.1.store(0, Ordering::Relaxed);
                        words.2.increment(Ordering::Release);
                    }
                })
            };
            let notice = words.2.load(Ordering::Acquire);
            words.1.store(1, Ordering::Relaxed);
            if fenced {
                fence(Ordering::SeqCst);
            }
            let sees_commit = words.0.load(Ordering::Acquire) == 1;
            committer.join().unwrap();
            let is_woken = words.2.load(Ordering::Acquire) != notice;
            assert!(sees_commit || is_woken, "the sleeper sleeps on though there was a commit");
        });
    }

    #[test]
    fn a_sleeper_sees_the_commit_or_is_woken() {
        handshake(true);
    }

    #[test]
    #[should_panic(expected = "sleeps on")]
    fn without_the_fences_a_sleeper_is_forgotten() {
        handshake(false);
    }

    /// A worker who is about to sleep, beside two committers, one after the other as under the mutex, who each bring a task and look after
    /// their commit, the first without the mutex; whether the worker would sleep for ever.
    fn work(fenced: bool) {
        loom::model(move || {
            // brought, woken; idle, work.
            let words = Arc::new((Word::new(0), Word::new(0), HalfWord::new(0), HalfWord::new(0)));
            let wake = move |words: &(Word, Word, HalfWord, HalfWord)| {
                if fenced {
                    fence(Ordering::SeqCst);
                }
                if words.2.load(Ordering::Relaxed) != 0 && words.1.get() != words.0.get() {
                    let brought = words.0.get();
                    if fenced {
                        fence(Ordering::SeqCst);
                    }
                    words.2.store(0, Ordering::Relaxed);
                    words.1.set(brought);
                    words.3.increment(Ordering::Release);
                }
            };
            let committer = |turn: u64| {
                let words = Arc::clone(&words);
                thread::spawn(move || {
                    // The mutex lets them bring one after the other.
                    while words.0.get() != turn - 1 {
                        thread::yield_now();
                    }
                    words.0.set(turn);
                    wake(&words);
                })
            };
            let committers = [committer(1), committer(2)];
            let work = words.3.load(Ordering::Acquire);
            words.2.store(1, Ordering::Relaxed);
            if fenced {
                fence(Ordering::SeqCst);
            }
            let sees = words.0.load(Ordering::Acquire) != 0;
            for committer in committers {
                committer.join().unwrap();
            }
            let is_woken = words.3.load(Ordering::Acquire) != work;
            assert!(sees || is_woken, "the worker sleeps on though there is a task");
        });
    }

    #[test]
    fn a_worker_sees_what_was_brought_or_is_woken() {
        work(true);
    }

    #[test]
    #[should_panic(expected = "sleeps on")]
    fn without_the_fences_a_worker_is_forgotten() {
        work(false);
    }

    /// A segment that is taken back into use beside a reader of a record in it: `store/write/segments.rs` and `store/read/get.rs`.
    /// The words are the segment's order, the index's entry, and the record's two.
    fn reuse(fenced: bool, looks_again: bool) {
        loom::model(move || {
            let words = Arc::new([Word::new(1), Word::new(1), Word::new(1), Word::new(1)]);
            let writer = {
                let words = Arc::clone(&words);
                thread::spawn(move || {
                    // The record is replaced by one elsewhere; the segment is freed, then entered, then written.
                    words[1].store(2, Ordering::Release);
                    words[0].set(0);
                    words[0].set(3);
                    if fenced {
                        fence(Ordering::Release);
                    }
                    words[2].fill(9);
                    words[3].fill(9);
                })
            };
            let entry = words[1].load(Ordering::Acquire);
            let order = words[0].load(Ordering::Acquire);
            if entry == 1 && (!looks_again || words[1].load(Ordering::Acquire) == entry) {
                let record = (words[2].load(Ordering::Relaxed), words[3].load(Ordering::Relaxed));
                fence(Ordering::Acquire);
                if words[0].load(Ordering::Relaxed) == order {
                    assert_eq!(record, (1, 1), "a record of another time");
                }
            }
            writer.join().unwrap();
        });
    }

    #[test]
    fn a_record_that_was_read_whole_is_the_one_that_was_named() {
        reuse(true, true);
    }

    #[test]
    #[should_panic(expected = "another time")]
    fn without_the_fence_a_late_reader_takes_new_bytes_for_old_ones() {
        reuse(false, true);
    }

    #[test]
    #[should_panic(expected = "another time")]
    fn without_a_second_look_at_the_index_a_reader_trusts_a_segment_that_was_taken() {
        reuse(true, false);
    }
}
