//! Who publishes a record, and what he knows of it.

use crate::error::Result;
use crate::index::order;
use crate::index::table::Entry;
use crate::log::batch::Claiming;
use crate::log::record::Record;
use crate::store::core::shared::Shared;

/// Who publishes a record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    /// Who has just sealed it; with the key's slot, or the one that is free for it, where that was found before.
    Writer(Option<(u64, bool)>),
    /// The next owner of the mutex.
    Repair,
    /// Who builds the index anew: nobody else has the store open.
    Rebuild,
}

/// What is known of a record whose task is noted.
pub(crate) struct Noted<'a> {
    /// The record that it replaces.
    pub(crate) before: Option<Record<'a>>,
    /// The ordinal that the key had until now.
    pub(crate) from: u64,
    pub(crate) claiming: Claiming,
    pub(crate) by: By,
}

impl Shared {
    /// Where in order the key stands that an entry names, if that is elsewhere than where `newest` puts it.
    pub(crate) fn elsewhere(&self, entry: Entry, newest: &Record<'_>) -> Result<Option<u64>> {
        let known = self.record(entry.position())?;
        let is_elsewhere =
            known.is_set() && known.ordinal() != newest.ordinal() && order::load(&self.order, known.ordinal()) == Some(entry.position());
        Ok(is_elsewhere.then_some(known.ordinal()))
    }
}
