//! Shard files, read one by one without opening the store.

use crate::checkpoint::gzip::Expanded;
use crate::checkpoint::line;
use crate::checkpoint::lines::Lines;
use crate::checkpoint::manifest::{Digest, Manifest, Marks, Saved};
use crate::checkpoint::names::MANIFEST;
use crate::checkpoint::place::refused;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::store::core::settings::KeyDialect;
use crate::sys::file;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::Xxh3;

/// A file, and the digest of what was read of it.
#[derive(Clone)]
struct Digesting<R> {
    reader: R,
    hasher: Box<Xxh3>,
    bytes: u64,
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

enum Text {
    Plain(Digesting<File>),
    Gzipped(Box<Expanded<Digesting<File>>>),
}

impl Read for Text {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Text::Plain(reader) => reader.read(buffer),
            Text::Gzipped(reader) => reader.read(buffer),
        }
    }
}

/// A shard file whose lines are read.
pub(crate) struct Reader {
    path: PathBuf,
    lines: Lines<Text>,
    blank: Option<u64>,
    number: u64,
}

impl Reader {
    /// Opens a file, compressed if its name ends in `.gz`. `saved`: what a manifest says of it.
    pub(crate) fn open(path: &Path, saved: Option<&Saved>) -> Result<Reader> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => missing(path),
            _ => refused(path, error),
        };
        let file = file::open_only_file(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let digesting = Digesting { reader: file, hasher: Box::new(Xxh3::new()), bytes: 0 };
        let is_gzipped = path.extension().is_some_and(|extension| extension == "gz");
        let text = if is_gzipped {
            Text::Gzipped(Box::new(Expanded::new(digesting, metadata.len(), saved.map_or(0, Saved::text_bytes))))
        } else {
            Text::Plain(digesting)
        };
        Ok(Reader { path: path.to_owned(), lines: Lines::new(text), blank: None, number: 0 })
    }

    /// The same for text that nobody compares with other text.
    pub(crate) fn without_marks(self) -> Reader {
        Reader { lines: self.lines.without_marks(), ..self }
    }

    /// Gives the next line that is not blank to `parse`, whose error says what is wrong with it.
    pub(crate) fn next<T>(&mut self, parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Result<Option<T>> {
        loop {
            let number = self.number + 1;
            let line = self.lines.next().map_err(|error| match error.kind() {
                io::ErrorKind::InvalidData => line::wrong(&self.path, number, &error.to_string()),
                _ => Error::io("read", &self.path, error),
            })?;
            let Some(line) = line else { return Ok(None) };
            self.number = number;
            if line.trim_ascii().is_empty() {
                self.blank.get_or_insert(number);
                continue;
            }
            if let Some(blank) = self.blank {
                return Err(line::wrong(&self.path, blank, "a blank line between entries"));
            }
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            return parse(line).map(Some).map_err(|what| line::wrong(&self.path, number, &what));
        }
    }

    /// The number of the line that was read last, from 1.
    pub(crate) fn line(&self) -> u64 {
        self.number
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What was read, at the end.
    pub(crate) fn marks(&self) -> &Marks {
        self.lines.marks()
    }

    pub(crate) fn digest(&self) -> Digest {
        let digesting = match self.lines.reader() {
            Text::Plain(digesting) => Some(digesting),
            Text::Gzipped(expanded) => expanded.inner(),
        };
        // Behind an error there is nothing to compare.
        digesting.map_or(Digest { bytes: 0, hash: 0 }, |digesting| Digest { bytes: digesting.bytes, hash: digesting.hasher.digest() })
    }
}

#[cold]
pub(crate) fn missing(path: &Path) -> Error {
    line::wrong(path, 0, "the file is missing")
}

/// The digest of a whole file; nothing where there is none.
pub(crate) fn digest(path: &Path) -> Result<Option<Digest>> {
    let file = match file::open_only_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(path, error)),
    };
    let mut digesting = Digesting { reader: file, hasher: Box::new(Xxh3::new()), bytes: 0 };
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match digesting.read(&mut buffer) {
            Ok(0) => break,
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(Error::io("read", path, error)),
            _ => {}
        }
    }
    Ok(Some(Digest { bytes: digesting.bytes, hash: digesting.hasher.digest() }))
}

/// The entries of one shard file, in their order. Made by [`read`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("0.json");
/// std::fs::write(&path, "\"a\"\t123456789012345678901234567890\n")?;
/// // The digits of large numbers are kept in the text.
/// let entries = tastypod::shard::read(&path)?.raw().collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(entries, [("a".into(), "123456789012345678901234567890".to_owned())]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Entries {
    reader: Reader,
    dialect: KeyDialect,
    is_over: bool,
}

/// As [`Entries`], with values as JSON text. Made by [`Entries::raw`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("0.json");
/// std::fs::write(&path, "1\t[1.50]\n")?;
/// let (key, json) = tastypod::shard::read(&path)?.raw().next().unwrap()?;
/// assert_eq!((key.as_i64(), json.as_str()), (Some(1), "[1.50]"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RawEntries(Entries);

/// Reads one shard file, compressed or not, without opening the store that it belongs to. Keys are read in the dialect that the
/// manifest beside the file names; without one the file is tastypy's.
///
/// # Errors
/// `Integrity`, which names file and line, for what is not an entry; `Io`. The iterator ends with the first error.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("0.json");
/// std::fs::write(&path, "\"apple\"\t{\"count\": 2}\n\"pear\"\tnull\n")?;
/// for entry in tastypod::shard::read(&path)? {
///     let (key, value) = entry?;
///     println!("{key}: {value}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read(path: impl AsRef<Path>) -> Result<Entries> {
    let path = path.as_ref();
    let manifest_path = path.with_file_name(MANIFEST);
    let dialect = match file::open(&manifest_path, false) {
        Ok(mut manifest) => {
            let mut bytes = Vec::new();
            manifest.read_to_end(&mut bytes).map_err(|error| Error::io("read", &manifest_path, error))?;
            Manifest::decode(&bytes, &manifest_path)?.settings.key_dialect
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => KeyDialect::Tastypy,
        Err(error) => return Err(Error::io("open", &manifest_path, error)),
    };
    read_in(path, dialect)
}

/// Reads one file as [`read`] does, in a dialect of keys that you name.
///
/// # Errors
/// `Integrity`, which names file and line, for what is not an entry; `Io`. The iterator ends with the first error.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("0.json");
/// use tastypod::{KeyDialect, shard};
/// std::fs::write(&path, "\"a\\\\nb\"\t1\n")?;
/// let (key, _) = shard::read_in(&path, KeyDialect::Json)?.next().unwrap()?;
/// assert_eq!(key.as_str(), Some("a\\nb"));
/// let (key, _) = shard::read_in(&path, KeyDialect::Tastypy)?.next().unwrap()?;
/// assert_eq!(key.as_str(), Some("a\nb"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn read_in(path: impl AsRef<Path>, dialect: KeyDialect) -> Result<Entries> {
    Ok(Entries { reader: Reader::open(path.as_ref(), None)?, dialect, is_over: false })
}

impl Entries {
    /// The same entries with their values as JSON text, digits untouched.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("0.json");
    /// std::fs::write(&path, "1\t2\n")?;
    /// assert_eq!(tastypod::shard::read(&path)?.raw().count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn raw(self) -> RawEntries {
        RawEntries(self)
    }

    /// The number of the line that was read last, from 1.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("0.json");
    /// std::fs::write(&path, "1\t2\n")?;
    /// let mut entries = tastypod::shard::read(&path)?;
    /// entries.next();
    /// assert_eq!(entries.line(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn line(&self) -> u64 {
        self.reader.line()
    }

    fn next_raw(&mut self) -> Option<Result<(Key, String)>> {
        if self.is_over {
            return None;
        }
        let dialect = self.dialect;
        let next = self.reader.next(|line| line::parse_text(line, dialect)).transpose();
        self.is_over = !matches!(next, Some(Ok(_)));
        next
    }
}

impl Iterator for RawEntries {
    type Item = Result<(Key, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next_raw()
    }
}

impl Iterator for Entries {
    type Item = Result<(Key, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        let (key, text) = match self.next_raw()? {
            Ok(entry) => entry,
            Err(error) => return Some(Err(error)),
        };
        let mut arena = crate::value::Arena::default();
        let encoded = arena.append(|out| crate::value::encode_json(&text, out).map(|()| ((), ())));
        let value = encoded.and_then(|(_, (), span)| arena.get(span).node().to_value());
        let named = |error: Error| {
            let message = format!("{}, line {}: {error}", self.reader.path().display(), self.reader.line());
            Error::new(ErrorKind::InvalidValue, message)
        };
        Some(value.map(|value| (key, value)).map_err(named))
    }
}

impl std::fmt::Debug for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entries").field("path", &self.reader.path).field("line", &self.line()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RawEntries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RawEntries").field(&self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &[u8], name: &str) -> Result<Vec<(Key, String)>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        read_in(&path, KeyDialect::Json)?.raw().collect()
    }

    #[test]
    fn line_ends_blank_last_lines_and_a_missing_newline_do_not_matter() {
        let expected = [(Key::from(1), "1".to_owned()), (Key::from(2), "[2]".to_owned())];
        for text in ["1\t1\n2\t[2]\n", "1\t1\n2\t[2]", "1\t1\r\n2\t[2]\r\n", "1\t1\n2\t[2]\n\n", "1\t1\n2\t[2]\n \r\n\n"] {
            assert_eq!(read_text(text.as_bytes(), "0.json").unwrap(), expected, "{text:?}");
            assert_eq!(read_text(&crate::checkpoint::gzip::compress(text.as_bytes()), "0.json.gz").unwrap(), expected, "{text:?}");
        }
        assert_eq!(read_text(b"", "0.json").unwrap(), []);
        assert_eq!(read_text(b"\n", "0.json").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_names_file_and_line() {
        for (text, line) in [("1\t1\n\n2\t2\n", 2), ("1\t1\n2\t\n", 2), ("1\t1\n2", 2), ("NaN\t1", 1)] {
            let error = read_text(text.as_bytes(), "0.json").unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Integrity { path, line: at, .. } if at == line && path.ends_with("0.json")),
                "{error}"
            );
            assert!(error.to_string().contains(&format!("0.json, line {line}: ")), "{error}");
        }
        let whole = crate::checkpoint::gzip::compress(b"1\t1\n2\t2\n");
        let error = read_text(&whole[..whole.len() - 3], "0.json.gz").unwrap_err();
        assert!(error.to_string().contains("broken gzip"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let directory = dir.path().join("0.json");
        std::fs::create_dir(&directory).unwrap();
        assert!(matches!(read(&directory).unwrap_err().kind(), ErrorKind::Integrity { .. }));
        assert!(read(dir.path().join("1.json")).unwrap_err().to_string().contains("the file is missing"));
    }

    #[test]
    fn an_iterator_ends_with_its_first_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.json");
        std::fs::write(&path, "1\t1\nwrong\n2\t2\n").unwrap();
        let entries: Vec<_> = read(&path).unwrap().collect();
        assert!(matches!(&entries[..], [Ok(_), Err(_)]));
    }
}
