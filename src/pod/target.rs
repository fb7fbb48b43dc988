//! What a call works on: the store itself, or a transaction in hand. Every call on one key is written once, against this.

use crate::error::{Error, ErrorKind, Result};
use crate::key::{self, AsKey, KeyBuf};
use crate::log::record::{self, Standing};
use crate::pod::Pod;
use crate::store::core::settings::shown;
use crate::store::core::shared::Shared;
use crate::store::tasks::held::Held;
use crate::store::write::locked::HeldBy;
use crate::store::write::transaction::{Change, Seen, Transaction};
use crate::value::{Archive, Arena, Span};
use serde::Serialize;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// A transaction in hand, until it is committed or rolled back.
pub(crate) type InHand = Rc<RefCell<Option<Transaction<Arc<Shared>>>>>;

thread_local! {
    /// The transactions of this thread, by their stores: calls find the one that they are made under.
    static OPEN: RefCell<Vec<(usize, InHand, HeldBy)>> = const { RefCell::new(Vec::new()) };
}

/// A transaction that calls of this thread on its store find. Dropping it rolls back.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) in_hand: InHand,
    shared: Arc<Shared>,
}

impl Open {
    /// Takes the store's lock.
    pub(crate) fn begin(pod: &Pod, by: HeldBy) -> Result<Open> {
        pod.require_writable()?;
        let transaction = Transaction::begin(Arc::clone(&pod.shared), pod.options.writing())?;
        if by == HeldBy::Guard {
            pod.shared.note_guard();
        }
        let in_hand = Rc::new(RefCell::new(Some(transaction)));
        OPEN.with_borrow_mut(|open| open.push((Arc::as_ptr(&pod.shared) as usize, Rc::clone(&in_hand), by)));
        Ok(Open { in_hand, shared: Arc::clone(&pod.shared) })
    }

    pub(crate) fn commit(self) -> Result<()> {
        let transaction = self.in_hand.try_borrow_mut().map_err(|_| self.shared.is_reentrant(HeldBy::Closure))?.take();
        transaction.map_or(Ok(()), |transaction| transaction.commit().map(|_| ()))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // A thread that exits may have lost the list already.
        let _ = OPEN.try_with(|open| open.borrow_mut().retain(|(_, other, _)| !Rc::ptr_eq(other, &self.in_hand)));
        // Inside a closure of a call that works on it, it ends with the call.
        if let Ok(mut transaction) = self.in_hand.try_borrow_mut() {
            drop(transaction.take());
        }
    }
}

/// Whether a transaction was begun in this process, and not inherited by a fork. One that is in use now was.
fn is_own(in_hand: &InHand) -> bool {
    in_hand
        .try_borrow()
        .map_or(true, |transaction| transaction.as_ref().is_none_or(|transaction| transaction.require_same_process().is_ok()))
}

/// Where a call goes.
#[derive(Clone, Debug)]
pub(crate) enum Target<'a> {
    Pod(&'a Pod),
    InHand(InHand, u64),
}

/// An encoded key and its hash.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hashed {
    pub(crate) key: KeyBuf,
    pub(crate) hash: u64,
}

impl Hashed {
    #[inline]
    pub(crate) fn new(key: &(impl AsKey + ?Sized), seed: u64) -> Result<Hashed> {
        let mut hashed = Hashed::default();
        hashed.fill(key, seed)?;
        Ok(hashed)
    }

    /// The key in the message of an error about it.
    #[cold]
    pub(crate) fn name(&self, error: Error) -> Error {
        error.about(format_args!("key {}", shown(&self.key)))
    }

    /// The archive of a value that it is to have.
    pub(crate) fn encode<T: Serialize + ?Sized>(&self, value: &T) -> Result<(Arena, Span)> {
        let mut arena = Arena::default();
        let span = arena.encode(value).map_err(|error| self.name(error))?;
        Ok((arena, span))
    }

    /// One that was encoded before.
    pub(crate) fn of_encoded(key: &[u8], hash: u64) -> Hashed {
        Hashed { key: KeyBuf::of_encoded(key), hash }
    }

    /// Becomes the encoding and the hash of a key. It was empty before.
    #[inline]
    pub(crate) fn fill(&mut self, key: &(impl AsKey + ?Sized), seed: u64) -> Result<()> {
        key::encode_into(key, &mut self.key)?;
        self.hash = record::hash_of(&self.key, seed);
        Ok(())
    }
}

#[cold]
fn ended() -> Error {
    Error::new(ErrorKind::Closed, "the transaction has ended; begin a new one")
}

/// What was decided about a value; the archive to set it to, if it is to be set, was appended.
pub(crate) type Decision<R> = (Change, R);

impl Target<'_> {
    /// The seed of the store's key hashes.
    #[inline]
    pub(crate) fn seed(&self) -> u64 {
        match self {
            Target::Pod(pod) => pod.shared.header.seed,
            Target::InHand(_, seed) => *seed,
        }
    }

    #[inline]
    pub(crate) fn hashed(&self, key: &(impl AsKey + ?Sized)) -> Result<Hashed> {
        Hashed::new(key, self.seed())
    }

    /// Looks at the newest value. What is wrong with it names its key.
    #[inline]
    pub(crate) fn read<R>(&self, key: &Hashed, look: impl FnOnce(Option<Archive<'_>>) -> Result<R>) -> Result<R> {
        match self {
            Target::Pod(pod) => {
                pod.shared.enter()?;
                pod.shared.read(key.hash, &key.key, |record| look(record.as_ref().map(Archive::of))).map_err(|error| key.name(error))
            }
            Target::InHand(transaction, _) => {
                let transaction = transaction.borrow();
                let transaction = transaction.as_ref().ok_or_else(ended)?;
                let seen = transaction.get(key.hash, &key.key);
                seen.and_then(|seen| look(seen.as_ref().map(Seen::archive))).map_err(|error| key.name(error))
            }
        }
    }

    /// Whether a key is there.
    pub(crate) fn contains(&self, key: &Hashed) -> Result<bool> {
        match self {
            Target::Pod(pod) => {
                pod.shared.enter()?;
                pod.shared.contains(key.hash, &key.key)
            }
            Target::InHand(..) => self.read(key, |archive| Ok(archive.is_some())),
        }
    }

    /// Reads, decides and writes as one step. `decide` appends a whole archive to its argument if it decides to set. What is wrong for it
    /// names the key.
    #[inline]
    pub(crate) fn change<R>(
        &self,
        key: &Hashed,
        decide: impl FnOnce(Option<Archive<'_>>, &mut Vec<u8>) -> Result<Decision<R>>,
    ) -> Result<R> {
        self.change_unnamed(key, |archive, out| decide(archive, out).map_err(|error| key.name(error)))
    }

    #[inline]
    fn change_unnamed<R>(&self, key: &Hashed, decide: impl FnOnce(Option<Archive<'_>>, &mut Vec<u8>) -> Result<Decision<R>>) -> Result<R> {
        match self {
            Target::Pod(pod) => {
                pod.require_writable()?;
                let changed = pod
                    .shared
                    .change_one(pod.options.writing(), key.hash, &key.key, |record, out| decide(record.as_ref().map(Archive::of), out))?;
                pod.after_write();
                Ok(changed)
            }
            Target::InHand(transaction, _) => {
                let mut arena = Arena::default();
                let (change, result, span) = {
                    let transaction = transaction.borrow();
                    let transaction = transaction.as_ref().ok_or_else(ended)?;
                    let before = transaction.get(key.hash, &key.key)?;
                    arena.append(|out| decide(before.as_ref().map(Seen::archive), out))?
                };
                let mut transaction = transaction.borrow_mut();
                let transaction = transaction.as_mut().ok_or_else(ended)?;
                match change {
                    Change::Keep => {}
                    Change::Set => transaction.set(key.hash, &key.key, arena.get(span))?,
                    Change::Remove => {
                        if transaction.get(key.hash, &key.key)?.is_some() {
                            transaction.remove(key.hash, &key.key)?;
                        }
                    }
                }
                Ok(result)
            }
        }
    }

    /// As [`change`](Target::change), for tasks: `decide` is told how the task stands too, and names it itself.
    pub(crate) fn change_task<R>(
        &self,
        key: &Hashed,
        decide: impl FnOnce(Option<Archive<'_>>, Standing, &mut Vec<u8>) -> Result<Decision<R>>,
    ) -> Result<R> {
        match self {
            Target::Pod(pod) => {
                pod.require_writable()?;
                pod.shared.change_one(pod.options.writing(), key.hash, &key.key, |record, out| {
                    let standing = record.map_or_else(Standing::default, |record| record.standing());
                    decide(record.as_ref().map(Archive::of), standing, out)
                })
            }
            Target::InHand(transaction, _) => {
                let standing = transaction.borrow().as_ref().ok_or_else(ended)?.standing(key.hash, &key.key)?;
                self.change_unnamed(key, |archive, out| decide(archive, standing, out))
            }
        }
    }

    /// Sets a value that was serialised before anything is locked.
    #[inline]
    pub(crate) fn set(&self, key: &Hashed, write_value: impl FnOnce(&mut Vec<u8>) -> Result<()>) -> Result<()> {
        match self {
            Target::Pod(pod) => {
                pod.require_writable()?;
                pod.shared.commit_one::<Error>(pod.options.writing(), key.hash, &key.key, write_value)?;
                pod.after_write();
                Ok(())
            }
            Target::InHand(..) => self.change_unnamed(key, |_, out| write_value(out).map(|()| (Change::Set, ()))),
        }
    }

    /// Fails where a claim is not the caller's any more. Of a transaction only.
    pub(crate) fn require_held(&self, held: &Held) -> Result<()> {
        self.in_hand(|transaction| transaction.require_held(held)).unwrap_or(Ok(()))
    }

    /// Ends the claim on a task that the transaction set.
    pub(crate) fn end_claim(&self, key: &Hashed) -> Result<()> {
        if let Target::InHand(transaction, _) = self {
            transaction.borrow_mut().as_mut().ok_or_else(ended)?.end_claim(key.hash, &key.key);
        }
        Ok(())
    }

    /// The transaction in hand, where there is one.
    pub(crate) fn in_hand<R>(&self, look: impl FnOnce(&Transaction<Arc<Shared>>) -> Result<R>) -> Option<Result<R>> {
        match self {
            Target::Pod(_) => None,
            Target::InHand(transaction, _) => Some(transaction.borrow().as_ref().ok_or_else(ended).and_then(look)),
        }
    }
}

impl Pod {
    /// The seed of the store's key hashes.
    #[inline]
    pub(crate) fn seed(&self) -> u64 {
        self.shared.header.seed
    }

    /// Where a call of this thread on this pod goes: to the store, to the thread's guard on it, or nowhere from inside a
    /// closure that runs under the store's lock.
    #[inline]
    pub(crate) fn target(&self) -> Result<Target<'_>> {
        if self.shared.is_held_here() { self.guarded() } else { Ok(Target::Pod(self)) }
    }

    #[cold]
    fn guarded(&self) -> Result<Target<'_>> {
        match self.in_hand() {
            Some((in_hand, HeldBy::Guard)) if in_hand.try_borrow_mut().is_ok() => Ok(Target::InHand(in_hand, self.shared.header.seed)),
            _ => Err(self.shared.is_reentrant(HeldBy::Closure)),
        }
    }

    /// The transaction that calls of this thread on this pod are made under.
    fn in_hand(&self) -> Option<(InHand, HeldBy)> {
        let id = Arc::as_ptr(&self.shared) as usize;
        let is_this = |(shared, in_hand, _): &&(usize, InHand, HeldBy)| *shared == id && is_own(in_hand);
        OPEN.with_borrow(|open| open.iter().find(is_this).map(|(_, in_hand, by)| (Rc::clone(in_hand), *by)))
    }

    /// Looks at the transaction that this thread has in hand, for calls that see its writes and cannot fail.
    #[inline]
    pub(crate) fn look_in_hand<R>(&self, look: impl FnOnce(&Transaction<Arc<Shared>>) -> Result<R>) -> Option<R> {
        if !self.shared.is_held_here() {
            return None;
        }
        let (in_hand, _) = self.in_hand()?;
        let transaction = in_hand.try_borrow().ok()?;
        look(transaction.as_ref()?).ok()
    }
}
