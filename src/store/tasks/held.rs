//! A claim in hand.

use crate::error::{Error, ErrorKind, Result};
use crate::store::core::files::CLAIM_WORDS;
use crate::store::core::shared::Shared;
use crate::store::write::transaction::Transaction;
use crate::sys::fork;
use std::ops::Deref;

/// Beside the epoch of a claim that nobody has in hand, though its holder lives.
pub(crate) const GIVEN_UP: u64 = 1 << 63;

/// A claim in hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) place: u64,
    pub(crate) epoch: u64,
    /// The fork generation that claimed.
    pub(crate) generation: u64,
}

impl Held {
    /// The word of the table with the epoch.
    pub(crate) fn epoch_word(&self) -> u64 {
        self.place * CLAIM_WORDS
    }

    pub(crate) fn epoch_given_up(&self) -> u64 {
        self.epoch | GIVEN_UP
    }

    /// Fails in a child made by a fork since: the claim is the parent's.
    pub(crate) fn require_same_process(&self) -> Result<()> {
        if self.generation == fork::generation() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Closed,
            "this claim was made before the fork and belongs to the parent process; claim a task of your own",
        ))
    }
}

impl<S: Deref<Target = Shared>> Transaction<S> {
    /// Fails where a claim is not the caller's any more.
    pub(crate) fn require_held(&self, held: &Held) -> Result<()> {
        self.locked().require_held(held).map(|_| ())
    }
}
