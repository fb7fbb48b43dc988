//! Parts of stored values, in place.

use crate::error::Result;
use crate::value::{self, Archive, Node};
use serde_json::Value;
use std::fmt;

/// A part of a stored value, borrowed in place: nothing is parsed or copied.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set("k", serde_json::json!({"tags": ["x", "y"], "n": 3}))?;
/// let view = pod.view("k")?.unwrap();
/// let tags: Vec<_> = view.get("tags").unwrap().iter().filter_map(|tag| tag.as_str()).collect();
/// assert_eq!(tags, ["x", "y"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Part<'a> {
    node: Node<'a>,
}

impl<'a> Part<'a> {
    #[inline]
    pub(crate) fn new(archive: Archive<'a>) -> Part<'a> {
        Part { node: archive.node() }
    }

    /// The value of a key of an object. `None` if the key is absent or this is not an object.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"a": {"b": 1}}))?;
    /// assert_eq!(pod.view("k")?.unwrap().get("a").and_then(|a| a.get("b")).and_then(|b| b.as_i64()), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn get(self, key: &str) -> Option<Part<'a>> {
        self.node.get(key).map(|node| Part { node })
    }

    /// An element of an array. Negative indices count from the end.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 2])?;
    /// assert_eq!(pod.view("k")?.unwrap().part().index(0).and_then(|part| part.as_i64()), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn index(self, index: i64) -> Option<Part<'a>> {
        self.node.index(index).map(|node| Part { node })
    }

    /// The elements of an array. Other values have none.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 2])?;
    /// assert_eq!(pod.view("k")?.unwrap().part().iter().filter_map(|part| part.as_i64()).sum::<i64>(), 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Part<'a>> + ExactSizeIterator {
        self.node.iter().map(|node| Part { node })
    }

    /// The entries of an object in order. Other values have none.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"z": 1, "a": 2}))?;
    /// let view = pod.view("k")?.unwrap();
    /// assert_eq!(view.part().entries().map(|(key, _)| key).collect::<Vec<_>>(), ["z", "a"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn entries(self) -> impl DoubleEndedIterator<Item = (&'a str, Part<'a>)> + ExactSizeIterator {
        self.node.entries().map(|(key, node)| (key, Part { node }))
    }

    /// The number of elements of an array, of entries of an object, or of bytes of a text. 0 for other values.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 2])?;
    /// assert_eq!(pod.view("k")?.unwrap().part().len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn len(self) -> usize {
        self.node.len()
    }

    /// Whether [`len`](Part::len) is 0.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", "")?;
    /// assert!(pod.view("k")?.unwrap().part().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether it is null.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", ())?;
    /// assert!(pod.view("k")?.unwrap().part().is_null());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_null(self) -> bool {
        self.node.is_null()
    }

    /// The text, if it is a string.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", "text")?;
    /// assert_eq!(pod.view("k")?.unwrap().part().as_str(), Some("text"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn as_str(self) -> Option<&'a str> {
        self.node.as_str()
    }

    /// The number, if it is an integer that fits an `i64`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", 5)?;
    /// assert_eq!(pod.view("k")?.unwrap().part().as_i64(), Some(5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn as_i64(self) -> Option<i64> {
        self.node.as_i64()
    }

    /// The number as the nearest `f64`, if it is a number in its range.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", 0.5)?;
    /// assert_eq!(pod.view("k")?.unwrap().part().as_f64(), Some(0.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn as_f64(self) -> Option<f64> {
        self.node.as_f64()
    }

    /// The boolean, if it is one.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", false)?;
    /// assert_eq!(pod.view("k")?.unwrap().part().as_bool(), Some(false));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn as_bool(self) -> Option<bool> {
        self.node.as_bool()
    }

    /// The number, if it is an integer that fits a `u64`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", u64::MAX)?;
    /// assert_eq!(pod.view("k")?.unwrap().part().as_u64(), Some(u64::MAX));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn as_u64(self) -> Option<u64> {
        self.node.as_u64()
    }

    /// Whether it is an array.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1])?;
    /// assert!(pod.view("k")?.unwrap().part().is_array());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_array(self) -> bool {
        self.node.is_array()
    }

    /// Whether it is an object.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1])?;
    /// assert!(!pod.view("k")?.unwrap().part().is_object());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_object(self) -> bool {
        self.node.is_object()
    }

    /// The part at a JSON pointer (RFC 6901) such as `/a/0`. `None` if there is none, or the pointer is malformed.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"a": [5]}))?;
    /// assert_eq!(pod.view("k")?.unwrap().part().pointer("/a/0").unwrap().as_i64(), Some(5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pointer(self, pointer: &str) -> Option<Part<'a>> {
        let steps = value::parse_pointer(pointer).ok()?;
        value::resolve(self.node, &steps).ok()?.map(|node| Part { node })
    }

    /// The value in a type of your own, which may borrow text from it.
    ///
    /// # Errors
    /// `InvalidValue` or `TypeMismatch` if the value is not of that type.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", "borrowed")?;
    /// let view = pod.view("k")?.unwrap();
    /// assert_eq!(view.part().read::<&str>()?, "borrowed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn read<T: serde::Deserialize<'a>>(self) -> Result<T> {
        self.node.read()
    }

    /// The value as a [`Value`].
    ///
    /// # Errors
    /// `InvalidValue` for a number that `Value` would round.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [true])?;
    /// assert_eq!(pod.view("k")?.unwrap().part().to_value()?, serde_json::json!([true]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn to_value(self) -> Result<Value> {
        self.node.to_value()
    }
}

/// The same JSON value: 1 and 1.0 are different, and the order of an object's keys does not matter.
impl PartialEq for Part<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.node == other.node
    }
}

impl PartialEq<Value> for Part<'_> {
    fn eq(&self, other: &Value) -> bool {
        self.node.eq_value(other)
    }
}

impl fmt::Display for Part<'_> {
    /// Compact JSON, the digits of numbers untouched.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.node.write_json(&mut text);
        f.write_str(&text)
    }
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
