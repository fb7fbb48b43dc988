//! What a log that nobody had sealed in this boot may have lost.
//!
//! | control page beside the log                               | then                | later transactions behind a place that cannot be read |
//! |-----------------------------------------------------------|---------------------|------------------------------------------|
//! | of this store and this very file, of another boot         | the power failed    | put aside, unless they were power-safe   |
//! | the same, of this boot, which found another boot's        | likewise            | likewise                                 |
//! | anything else: none, damaged, that of what this is a copy of | nothing explains it | damage: whoever opens must say that they may go |

use crate::error::{Error, Result};
use crate::segment::control;
use crate::store::core::files::{CONTROL, LIVE};
use crate::store::core::how::How;
use crate::store::core::shared::{Loss, Shared};
use crate::sys::{file, process};

impl Loss {
    /// To be asked before the control page is written to.
    pub(crate) fn of(shared: &Shared, how: &How) -> Result<Loss> {
        if how.salvage {
            return Ok(Loss::Anything);
        }
        let path = shared.directory.join(LIVE).join(CONTROL);
        let Ok(page) = file::open_only_file(&path) else { return Ok(Loss::Nothing) };
        let bytes = file::read_at(&page, 0, 4096).map_err(|error| Error::io("read", &path, error))?;
        let boot = process::boot_id().map_err(|error| Error::io("read the boot id for", &path, error))?;
        let log = file::stamp(&shared.files.log).map_err(|error| Error::io("look at", &shared.log_path(), error))?;
        let is_explained = control::author(&bytes).is_some_and(|author| {
            (author.inode, author.store) == (log.inode, shared.header.store[0]) && (author.boot != boot || author.is_recovering)
        });
        Ok(if is_explained { Loss::Unflushed } else { Loss::Nothing })
    }
}
