//! Where the files of a store are, and reading and writing them whole.

use crate::checkpoint::line;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::names::{MANIFEST, ShardName};
use crate::checkpoint::stamps::{self, Stamps};
use crate::error::{Error, Result};
use crate::store::core::files::{LIVE, cannot};
use crate::sys::{clock, file};
use std::io;
use std::path::{Path, PathBuf};

/// A store's directory, and the rights of files that are made in it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) file_mode: u32,
}

impl Place {
    pub(crate) fn live(&self) -> PathBuf {
        self.directory.join(LIVE)
    }

    /// The directory of files that are not yet in their place.
    pub(crate) fn aside(&self) -> PathBuf {
        self.live().join("tmp")
    }

    pub(crate) fn manifest(&self) -> PathBuf {
        self.directory.join(MANIFEST)
    }

    pub(crate) fn intent(&self) -> PathBuf {
        self.live().join("intent")
    }

    fn stamps(&self) -> PathBuf {
        self.live().join("stamps")
    }

    pub(crate) fn read_manifest(&self) -> Result<Option<Manifest>> {
        read_manifest(&self.manifest())
    }

    pub(crate) fn read_intent(&self) -> Result<Option<Manifest>> {
        read_manifest(&self.intent())
    }

    /// Makes a file aside that is power-safe, and renames it.
    pub(crate) fn write_whole(&self, bytes: &[u8], to: &Path) -> Result<()> {
        let name = to.file_name().unwrap_or_default();
        let aside = self.aside().join(name);
        let made = self.make_aside(&aside).and_then(|file| {
            file::write_at(&file, bytes, 0)?;
            file::sync_data(&file)
        });
        made.and_then(|()| file::rename(&aside, to)).map_err(|error| {
            let _ = file::remove(&aside);
            cannot("write", to, error)
        })
    }

    /// An empty file aside.
    pub(crate) fn make_aside(&self, aside: &Path) -> io::Result<std::fs::File> {
        file::create_directories(&self.aside(), self.file_mode)?;
        match file::remove(aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        file::open_or_create(aside, self.file_mode)
    }

    /// Takes away the shards aside that no intent names.
    pub(crate) fn forget_drafts(&self) {
        for entry in std::fs::read_dir(self.aside()).into_iter().flatten().flatten() {
            if entry.file_name().to_str().and_then(ShardName::parse).is_some() {
                let _ = file::remove(&entry.path());
            }
        }
    }

    pub(crate) fn sync(&self, directory: &Path) -> Result<()> {
        file::sync_directory(directory).map_err(|error| Error::io("make power-safe the names in", directory, error))
    }

    pub(crate) fn read_stamps(&self) -> Option<Stamps> {
        let file = file::open(&self.stamps(), false).ok()?;
        let length = file.metadata().ok()?.len();
        Stamps::decode(&file::read_at(&file, 0, usize::try_from(length).ok()?).ok()?)
    }

    /// Notes that the files are now what the manifest says. What comes of it does not matter.
    pub(crate) fn note_stamps(&self, manifest: &Manifest) {
        let _ = self.try_note_stamps(manifest);
    }

    fn try_note_stamps(&self, manifest: &Manifest) -> io::Result<()> {
        let looked_nanoseconds = clock::unix_nanoseconds();
        let stamp = |path: &Path| file::stamp_at(path).map(|stamp| stamps::of(&stamp));
        let gzipped = manifest.settings.gzipped;
        let shards = (0..manifest.shards.len() as u64).map(|number| stamp(&ShardName { number, gzipped }.path(&self.directory)));
        let stamps = Stamps {
            checkpoint: manifest.checkpoint.0,
            log: manifest.log.map_or([0; 2], |(one, other)| [one.0, other.0]),
            sequence: manifest.sequence,
            is_edited: manifest.is_edited,
            gzipped,
            looked_nanoseconds,
            manifest: stamp(&self.manifest())?,
            shards: shards.collect::<io::Result<_>>()?,
        };
        let aside = self.aside().join("stamps");
        let file = self.make_aside(&aside)?;
        file::write_at(&file, &stamps.encode(), 0)?;
        file::rename(&aside, &self.stamps())
    }
}

fn read_manifest(path: &Path) -> Result<Option<Manifest>> {
    match file::open_only_file(path) {
        Ok(file) => {
            let failed = |error| Error::io("read", path, error);
            let length = file.metadata().map_err(failed)?.len();
            let bytes = file::read_at(&file, 0, usize::try_from(length).unwrap_or(usize::MAX).min(1 << 32)).map_err(failed)?;
            Manifest::decode(&bytes, path).map(Some)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(path, error)),
    }
}

/// A file of the store that cannot be opened.
#[cold]
pub(crate) fn refused(path: &Path, error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::InvalidInput { line::wrong(path, 0, "not a file") } else { cannot("open", path, error) }
}
