//! Changing the form of the JSON files.

use crate::checkpoint::save::{self, Saving};
use crate::error::Result;
use crate::pod::Pod;
use crate::store::core::settings::{KeyDialect, Settings, require_file_size};

/// Another form of a store's JSON files, for [`Pod::convert`]. What is not set stays as it is.
///
/// ```
/// let conversion = tastypod::Conversion::new().file_size(1000).gzipped(true);
/// # let _ = conversion;
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "it is an argument of Pod::convert"]
pub struct Conversion {
    file_size: Option<u64>,
    gzipped: Option<bool>,
    key_dialect: Option<KeyDialect>,
}

impl Conversion {
    /// Nothing is changed.
    ///
    /// ```
    /// let conversion = tastypod::Conversion::new();
    /// # let _ = conversion;
    /// ```
    pub fn new() -> Conversion {
        Conversion::default()
    }

    /// Entries in a file; 0 is `InvalidValue`, and nothing is converted.
    ///
    /// ```
    /// let conversion = tastypod::Conversion::new().file_size(1000);
    /// # let _ = conversion;
    /// ```
    pub fn file_size(mut self, entries: u64) -> Conversion {
        self.file_size = Some(entries);
        self
    }

    /// Whether files are compressed.
    ///
    /// ```
    /// let conversion = tastypod::Conversion::new().gzipped(false);
    /// # let _ = conversion;
    /// ```
    pub fn gzipped(mut self, gzipped: bool) -> Conversion {
        self.gzipped = Some(gzipped);
        self
    }

    /// How keys are written.
    ///
    /// ```
    /// let conversion = tastypod::Conversion::new().key_dialect(tastypod::KeyDialect::Json);
    /// # let _ = conversion;
    /// ```
    pub fn key_dialect(mut self, dialect: KeyDialect) -> Conversion {
        self.key_dialect = Some(dialect);
        self
    }

    fn over(&self, settings: Settings) -> Settings {
        Settings {
            file_size: self.file_size.unwrap_or(settings.file_size),
            gzipped: self.gzipped.unwrap_or(settings.gzipped),
            key_dialect: self.key_dialect.unwrap_or(settings.key_dialect),
            ..settings
        }
    }
}

impl Pod {
    /// Changes the form of the JSON files and saves. A kill leaves the old form or the new one; readers and writers go on.
    ///
    /// # Errors
    /// `ChangedOnDisk`, `Full`, `Io`, `LockTimeout`, `ReadOnly`, `Reentrant`, `StoreRemoved`: the next `sync` tries again. `Conflict` through an
    /// isolated handle.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let path = dir.path().join("a.pod");
    /// let pod = tastypod::Pod::open(&path)?;
    /// pod.set("a", 1)?;
    /// pod.sync()?;
    /// pod.convert(tastypod::Conversion::new().gzipped(true))?;
    /// assert!(path.join("0.json.gz").exists() && !path.join("0.json").exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[allow(clippy::needless_pass_by_value)]
    pub fn convert(&self, conversion: Conversion) -> Result<()> {
        self.require_writable()?;
        require_file_size(conversion.file_size)?;
        self.require_shared("change the form of the files")?;
        self.shared.enter()?;
        self.shared.change_settings(self.options.lock_timeout, |stored| conversion.over(stored.unwrap_or_default()))?;
        save::save(&self.shared, &Saving::patient(self.options.lock_timeout))
    }
}
