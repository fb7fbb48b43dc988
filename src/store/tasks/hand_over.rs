//! Claims on their way to whoever asked: with the mutex taken, and what becomes of one that cannot be handed over.
//!
//! A claim is committed before its maker has it in hand. Where he does not get it, since it could not be flushed or a later one of several
//! failed, it is *withdrawn*: ended by another commit, the try given back. Where an end fails too (the mutex could not be had), it is
//! *given up*: its epoch is exchanged for one that says so, without the mutex. Then nobody has it in hand, and whoever looks at the holders
//! next puts the task back, as if the holder had died. The exchange fails, and does nothing, where the place is another claim's by now.
//!
//! | a kill after | leaves |
//! |---|---|
//! | the claim's commit | a claim of a dead process |
//! | the exchange | one that was given up |
//! | the end's commit | a task that waits |

use crate::error::{ErrorKind, Result};
use crate::log::batch::{Batch, Claiming};
use crate::store::core::how::Writing;
use crate::store::core::shared::Shared;
use crate::store::tasks::claims::{Claimed, release};
use crate::store::tasks::held::Held;
use crate::store::write::locked::Locked;
use crate::store::write::transaction::Buffers;

/// Claims made before others have their turn with the mutex.
const AT_ONCE: usize = 256;

impl Shared {
    /// Runs something under the mutex, with a batch to work in, and wakes who waits for commits.
    pub(crate) fn with_claims<R>(&self, writing: Writing, work: impl FnOnce(&Locked<&Shared>, &mut Batch) -> Result<R>) -> Result<R> {
        let (result, finished) = self.with_claims_apart(writing, work);
        finished.and(result)
    }

    /// The same; beside the result, whether what was committed is as durable as it is to be.
    fn with_claims_apart<R>(
        &self,
        writing: Writing,
        work: impl FnOnce(&Locked<&Shared>, &mut Batch) -> Result<R>,
    ) -> (Result<R>, Result<()>) {
        Buffers::with_batch(|batch| {
            let locked = match Locked::for_writing(self, writing) {
                Ok(locked) => locked,
                Err(error) => return (Err(error), Ok(())),
            };
            let before = self.control.commit.newest();
            let result = work(&locked, batch);
            let newest = self.control.commit.newest();
            (result, if newest > before { locked.finish(newest) } else { Ok(()) })
        })
    }

    /// Claims the next task.
    pub(crate) fn claim_next(&self, writing: Writing) -> Result<Claimed> {
        let (claimed, finished) = self.with_claims_apart(writing, |locked, batch| locked.claim(batch));
        if finished.is_err()
            && let Ok(Claimed::Task(held, ..)) = &claimed
        {
            self.withdraw(writing, held);
        }
        finished.and(claimed)
    }

    /// Claims up to so many tasks, each with its record as it is then; on an error none.
    pub(crate) fn claim_several(&self, writing: Writing, count: usize) -> Result<Vec<(Held, Vec<u8>)>> {
        let mut claims = Vec::new();
        let mut is_over = false;
        while claims.len() < count && !is_over {
            let wanted = count.min(claims.len() + AT_ONCE);
            let outcome = self.with_claims(writing, |locked, batch| {
                while claims.len() < wanted
                    && let Claimed::Task(held, _, bytes) = locked.claim(batch)?
                {
                    claims.push((held, bytes));
                }
                Ok(())
            });
            if let Err(error) = outcome {
                claims.iter().for_each(|(held, _)| self.withdraw(writing, held));
                return Err(error);
            }
            is_over = claims.len() < wanted;
        }
        Ok(claims)
    }

    /// Ends a claim that its maker never got: the task waits as before. Not flushed: it may be a failing flush that brought this
    /// about, and after a power cut nobody holds anything.
    #[cold]
    fn withdraw(&self, writing: Writing, held: &Held) {
        let outcome = self.with_claims(Writing { is_durable: false, ..writing }, |locked, batch| {
            let row = locked.require_held(held)?;
            locked.replace_task(row.ordinal, Claiming::End, batch, release)
        });
        if outcome.is_err_and(|error| error.kind() != ErrorKind::LeaseLost) {
            self.give_up(held);
        }
    }

    /// Lets whoever looks at the holders next put a task back whose claim could not be ended.
    #[cold]
    pub(crate) fn give_up(&self, held: &Held) {
        if held.require_same_process().is_ok()
            && let Ok(files) = self.task_files()
        {
            files.claims.exchange_if(held.epoch_word(), held.epoch, held.epoch_given_up());
        }
    }
}
