//! Whether the store is where it was, and its files are still this process's.

use crate::error::{Error, ErrorKind, Result};
use crate::store::core::files::removed;
use crate::store::core::shared::{Mode, Shared};
use crate::sys::file::{self, Kept};

impl Shared {
    /// Whether the program has left the descriptors alone.
    pub(crate) fn has_its_files(&self) -> bool {
        self.files.all().into_iter().all(Kept::is_there) && self.directory_handle.is_there()
    }

    /// Fails where the program has closed descriptors that it does not know.
    pub(crate) fn require_files(&self) -> Result<()> {
        if self.has_its_files() { Ok(()) } else { Err(self.closed_descriptors()) }
    }

    #[cold]
    fn closed_descriptors(&self) -> Error {
        Error::new(
            ErrorKind::Closed,
            format!(
                "{}: descriptors of the store were closed by this program, which must leave those alone that it has not opened; open the store again",
                self.directory.display()
            ),
        )
    }

    /// Fails where the log has no name any more: cheaper than [`require_in_place`](Shared::require_in_place), which also finds another
    /// store at the path.
    pub(crate) fn require_linked(&self) -> Result<()> {
        if self.mode == Mode::Private || self.own_control.is_some() || self.origin.is_some() {
            return Ok(());
        }
        match file::stamp(&self.files.log) {
            Ok(stamp) if stamp.links > 0 => Ok(()),
            Ok(_) => Err(removed(&self.directory)),
            Err(_) => Err(self.closed_descriptors()),
        }
    }

    /// Fails where another store, or none, stands at the path by now.
    pub(crate) fn require_in_place(&self) -> Result<()> {
        if self.origin.is_some() {
            return Ok(());
        }
        self.require_files()?;
        let (Ok(ours), Ok(theirs)) = (file::stamp(&self.files.log), file::stamp_at(&self.log_path())) else {
            return Err(removed(&self.directory));
        };
        if (ours.device, ours.inode) == (theirs.device, theirs.inode) && ours.links > 0 { Ok(()) } else { Err(removed(&self.directory)) }
    }
}
