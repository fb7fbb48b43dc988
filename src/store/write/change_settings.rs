//! Writing other options.

use crate::error::Result;
use crate::log::batch::Batch;
use crate::log::record::Kind;
use crate::segment::heap::Position;
use crate::store::core::settings::Settings;
use crate::store::core::shared::Shared;
use crate::store::write::locked::Locked;
use crate::value;
use std::time::Duration;

impl Shared {
    /// Puts the settings as they are into a batch, with the ordinal from which places in order count: what a transaction ends with that
    /// changes nothing. False where there are none.
    pub(crate) fn push_settings(&self, batch: &mut Batch, first: u64) -> Result<bool> {
        let settings = Position(self.control.log.settings.get());
        if settings == Position::NONE {
            return Ok(false);
        }
        batch.push_renumbered(&self.record(settings)?, first);
        Ok(true)
    }

    /// Writes other options, where `change` makes others of those that are stored.
    pub(crate) fn change_settings(&self, timeout: Duration, change: impl FnOnce(Option<Settings>) -> Settings) -> Result<()> {
        let locked = Locked::new(self, timeout)?;
        let stored = self.settings()?;
        let changed = change(stored.clone());
        if stored.as_ref() == Some(&changed) {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.push(Kind::Settings, 0, &[], false, |out| value::encode(&changed, out))?;
        let sequence = locked.commit(&mut batch)?;
        locked.finish(sequence)
    }
}
