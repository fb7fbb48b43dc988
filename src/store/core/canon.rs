//! What the store asks of its canonical form, which is files beside the log that it knows nothing else of.

use crate::error::Result;
use crate::store::core::how::How;
use crate::store::core::shared::Shared;
use std::ffi::OsStr;
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

/// What a log holds beyond the files: keys, and their archived values if they are not gone; marks of gone keys first.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    pub(crate) removed: Vec<Vec<u8>>,
    pub(crate) set: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Rest {
    pub(crate) fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.set.is_empty()
    }
}

/// The canonical form.
pub(crate) trait Canon: Debug + Sync {
    /// Whether a name in the store's directory belongs to it.
    fn is_name(&self, name: &OsStr) -> bool;

    /// Finds out what is there, and ends what a killed checkpoint began; takes over what another program made. The caller is alone,
    /// and a reader changes nothing.
    fn survey(&self, directory: &Path, how: &How) -> Result<Box<dyn Surveyed>>;

    /// Brings it up to date.
    fn save(&self, shared: &Shared, timeout: Duration) -> Result<()>;

    /// Whether it is to be brought up to date by whoever leaves last.
    fn is_behind(&self, shared: &Shared) -> bool;
}

/// What is there.
pub(crate) trait Surveyed {
    /// Whether there is nothing.
    fn is_empty(&self) -> bool;

    /// Whether somebody edited it since it was saved, and a log with this head was not loaded from it since.
    fn is_edited(&self, loaded: [u64; 2]) -> bool;

    /// The number of the checkpoint.
    fn checkpoint(&self) -> u64;

    /// The transaction of a log that it stands for, if it does for one of this log: given its identity, and what it was loaded from.
    fn saved_in(&self, store: [u64; 2], loaded: [u64; 2]) -> Option<u64>;

    /// Puts it all into an empty store, then what an older log held beyond it. Returns the last transaction that it stands for.
    fn fill(&self, shared: &Shared, rest: &Rest) -> Result<u64>;
}
