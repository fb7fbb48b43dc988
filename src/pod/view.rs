//! Stored values as they were at a call.

use crate::error::Result;
use crate::log::record::{self, Kind, Record};
use crate::pod::part::Part;
use crate::pod::target::Hashed;
use crate::store::core::shared::Shared;
use crate::store::read::copied::Copied;
use crate::store::read::get::Fetched;
use crate::value::Archive;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

/// A stored value as it was at the call, whatever happens to its key later. It is a copy of the stored bytes, which are read in place. To
/// read many or long values without a copy, use [`Snapshot::entries`](crate::Snapshot::entries).
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set("k", serde_json::json!({"n": 3}))?;
/// let view = pod.view("k")?.unwrap();
/// pod.remove("k")?;
/// assert_eq!(view.get("n").and_then(|n| n.as_i64()), Some(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct View {
    /// A copy costs less than keeping the record's place in the log from being used again, and all that was written since with it.
    copied: Copied,
}

impl View {
    #[inline]
    pub(crate) fn of(shared: &Arc<Shared>, hash: u64, key: &[u8]) -> Result<Option<View>> {
        let copied = match shared.fetch(hash, key)? {
            Fetched::Nothing => None,
            Fetched::Copied(copied) => Some(copied),
            Fetched::Long => shared.copy_of(hash, key)?,
        };
        Ok(copied.map(|copied| View { copied }))
    }

    /// Of a value that has no place in the log yet.
    pub(crate) fn of_written(key: &Hashed, value: Archive<'_>) -> View {
        let mut record = Vec::new();
        let appended = record::append(&mut record, Kind::Set, key.hash, &key.key, |out| {
            out.extend_from_slice(value.as_bytes());
            Ok::<(), Infallible>(())
        });
        let Ok(()) = appended;
        View { copied: Copied::of_record(&Record::of(&record).expect("it was just appended")) }
    }

    #[inline]
    fn record(&self) -> Record<'_> {
        self.copied.record()
    }

    /// The whole value.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", 7)?;
    /// assert_eq!(pod.view("k")?.unwrap().part().as_i64(), Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn part(&self) -> Part<'_> {
        Part::new(Archive::of(&self.record()))
    }

    /// How many bytes the value takes as it is stored.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", 7)?;
    /// assert!(pod.view("k")?.unwrap().byte_len() < 64);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn byte_len(&self) -> usize {
        self.record().value().len()
    }
}

macro_rules! both {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        impl View {
            $($(#[$doc])* #[inline] pub fn $name(&self, $($argument: $kind),*) -> $result { self.part().$name($($argument),*) })*
        }
    };
}

both! {
    /// The value of a key of an object. See [`Part::get`].
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"n": 3}))?;
    /// assert_eq!(pod.view("k")?.unwrap().get("n").unwrap().as_i64(), Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn get(key: &str) -> Option<Part<'_>>;
    /// An element of an array. Negative indices count from the end. See [`Part::index`].
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 2, 3])?;
    /// assert_eq!(pod.view("k")?.unwrap().index(-1).unwrap().as_i64(), Some(3));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn index(index: i64) -> Option<Part<'_>>;
    /// The text, if it is a string.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", "text")?;
    /// assert_eq!(pod.view("k")?.unwrap().as_str(), Some("text"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn as_str() -> Option<&str>;
    /// The number, if it is an integer that fits an `i64`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", -1)?;
    /// assert_eq!(pod.view("k")?.unwrap().as_i64(), Some(-1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn as_i64() -> Option<i64>;
    /// The number as the nearest `f64`, if it is a number in its range.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", 1.5)?;
    /// assert_eq!(pod.view("k")?.unwrap().as_f64(), Some(1.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn as_f64() -> Option<f64>;
    /// The boolean, if it is one.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", true)?;
    /// assert_eq!(pod.view("k")?.unwrap().as_bool(), Some(true));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn as_bool() -> Option<bool>;
    /// The number, if it is an integer that fits a `u64`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", u64::MAX)?;
    /// assert_eq!(pod.view("k")?.unwrap().as_u64(), Some(u64::MAX));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn as_u64() -> Option<u64>;
    /// The number of elements of an array, of entries of an object, or of bytes of a text. 0 for other values.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 2])?;
    /// assert_eq!(pod.view("k")?.unwrap().len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn len() -> usize;
    /// Whether [`len`](View::len) is 0.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", "")?;
    /// assert!(pod.view("k")?.unwrap().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn is_empty() -> bool;
    /// Whether it is null.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", ())?;
    /// assert!(pod.view("k")?.unwrap().is_null());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn is_null() -> bool;
    /// Whether it is an array.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1])?;
    /// assert!(pod.view("k")?.unwrap().is_array());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn is_array() -> bool;
    /// Whether it is an object.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1])?;
    /// assert!(!pod.view("k")?.unwrap().is_object());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn is_object() -> bool;
    /// The part at a JSON pointer (RFC 6901) such as `/a/0`. `None` if there is none, or the pointer is malformed.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"a": [5]}))?;
    /// assert_eq!(pod.view("k")?.unwrap().pointer("/a/0").unwrap().as_i64(), Some(5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn pointer(pointer: &str) -> Option<Part<'_>>;
    /// The value as a [`Value`].
    ///
    /// # Errors
    /// `InvalidValue` for a number that `Value` would round.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 2])?;
    /// assert_eq!(pod.view("k")?.unwrap().to_value()?, serde_json::json!([1, 2]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn to_value() -> Result<Value>;
}

impl View {
    /// The value in a type of your own. A type that borrows, such as `&str`, is read by [`part`](View::part)`().read()`.
    ///
    /// # Errors
    /// `InvalidValue` or `TypeMismatch` if the value is not of that type.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 2])?;
    /// assert_eq!(pod.view("k")?.unwrap().read::<Vec<u8>>()?, [1, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        self.part().read()
    }

    /// The elements of an array. Other values have none.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 2])?;
    /// assert_eq!(pod.view("k")?.unwrap().iter().count(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Part<'_>> + ExactSizeIterator {
        self.part().iter()
    }

    /// The entries of an object in order. Other values have none.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"z": 1, "a": 2}))?;
    /// let view = pod.view("k")?.unwrap();
    /// assert_eq!(view.entries().map(|(key, _)| key).collect::<Vec<_>>(), ["z", "a"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = (&str, Part<'_>)> + ExactSizeIterator {
        self.part().entries()
    }
}

impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        self.part() == other.part()
    }
}

impl PartialEq<Value> for View {
    fn eq(&self, other: &Value) -> bool {
        self.part() == *other
    }
}

impl fmt::Display for View {
    /// Compact JSON, the digits of numbers untouched.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.part(), f)
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
