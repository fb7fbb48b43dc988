//! The store's view of its shards.

use crate::checkpoint::names::{MANIFEST, ShardName};
use crate::checkpoint::save::{self, Saving};
use crate::checkpoint::survey;
use crate::error::Result;
use crate::store::core::canon::{Canon, Surveyed};
use crate::store::core::how::How;
use crate::store::core::shared::Shared;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// Shards of JSON beside the log.
#[derive(Debug)]
pub(crate) struct Shards;

impl Canon for Shards {
    fn is_name(&self, name: &OsStr) -> bool {
        name.to_str().is_some_and(|name| name == MANIFEST || ShardName::parse(name).is_some())
    }

    fn survey(&self, directory: &Path, how: &How) -> Result<Box<dyn Surveyed>> {
        Ok(Box::new(survey::survey(directory, how)?))
    }

    fn save(&self, shared: &Shared, timeout: Duration) -> Result<()> {
        save::save(shared, &Saving::patient(timeout))
    }

    fn is_behind(&self, shared: &Shared) -> bool {
        save::is_behind(shared)
    }
}
