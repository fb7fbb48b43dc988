//! A path into one value, and atomic edits at its end.

use crate::error::{Error, ErrorKind, Result};
use crate::key::AsKey;
use crate::pod::Pod;
use crate::pod::addend::Addend;
use crate::pod::place::{Readable, Writable};
use crate::pod::target::Hashed;
use crate::store::core::settings::shown;
use crate::store::write::transaction::Change;
use crate::value::{self, Archive, Arena, Edit, Node, Number, Outcome, Span, Step};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use smallvec::SmallVec;
use std::fmt;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// A path into the value of one key. It holds no lock and reads nothing by itself. The last call, such as [`get`](At::get) or
/// [`set`](At::set), is one atomic step.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set("k", serde_json::json!({"visits": 1, "tags": []}))?;
/// assert_eq!(pod.at("k").key("visits").add(2)?, serde_json::json!(3));
/// pod.at("k").pointer("/tags").push("new")?;
/// assert_eq!(pod.raw_json("k")?.unwrap(), r#"{"visits":3,"tags":["new"]}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A path of a [`Txn`](crate::Txn) works inside its transaction, one of a [`Snapshot`](crate::Snapshot) only reads.
pub struct At<'a, In = Pod> {
    place: &'a In,
    /// The first thing that went wrong on the way here.
    wrong: Option<Arc<Error>>,
    hashed: Hashed,
    steps: SmallVec<[Step; 2]>,
    /// What an absent key is made with.
    default: Option<Arc<(Arena, Span)>>,
}

impl<In> Clone for At<'_, In> {
    fn clone(&self) -> Self {
        let At { place, wrong, hashed, steps, default } = self;
        At { place, wrong: wrong.clone(), hashed: hashed.clone(), steps: steps.clone(), default: default.clone() }
    }
}

impl<In> fmt::Debug for At<'_, In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("At").field("key", &shown(&self.hashed.key)).field("steps", &self.steps).finish_non_exhaustive()
    }
}

/// The error of a place that was wrong when it was named, given again at each ending.
fn again(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}

impl<'a, In: Readable> At<'a, In> {
    #[inline]
    pub(crate) fn new(place: &'a In, key: &(impl AsKey + ?Sized)) -> At<'a, In> {
        // Filled in place: what is moved right after it was written is waited for.
        let mut at = At { place, wrong: None, hashed: Hashed::default(), steps: SmallVec::new(), default: None };
        if let Err(error) = at.hashed.fill(key, place.seed()) {
            at.fail(error);
        }
        at
    }

    /// Goes to the value of a key of an object.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"a": 1}))?;
    /// assert_eq!(pod.at("k").key("a").get()?, Some(serde_json::json!(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn key(mut self, key: &str) -> At<'a, In> {
        self.steps.push(Step::Key(key.into()));
        self
    }

    /// Goes to an element of an array. Negative indices count from the end.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 2])?;
    /// assert_eq!(pod.at("k").index(-1).get()?, Some(serde_json::json!(2)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn index(mut self, index: i64) -> At<'a, In> {
        self.steps.push(Step::Index(index));
        self
    }

    /// Follows a JSON pointer (RFC 6901) such as `/a/0`. If it is malformed, the last call fails.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"a": [5]}))?;
    /// assert_eq!(pod.at("k").pointer("/a/0").get()?, Some(serde_json::json!(5)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn pointer(mut self, pointer: &str) -> At<'a, In> {
        match value::parse_pointer(pointer) {
            Ok(steps) => self.steps.extend(steps),
            Err(error) => self.fail(error),
        }
        self
    }

    /// If the key is absent, it is made with this value, in the same atomic step as the change. Calls that only read see this value, and
    /// make nothing.
    ///
    /// It is the value of the whole key, so it must come before [`key`](At::key), [`index`](At::index) and [`pointer`](At::pointer). After
    /// them the last call fails with `InvalidValue`, as it does for a value that cannot be stored.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// use serde_json::json;
    /// let hits = pod.at("page").or_insert(json!({})).key("hits");
    /// assert_eq!(hits.get()?, None);
    /// assert_eq!(hits.add(1)?, json!(1));
    /// assert_eq!(hits.add(1)?, json!(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn or_insert(mut self, default: impl Serialize) -> At<'a, In> {
        match self.hashed.encode(&default) {
            _ if !self.steps.is_empty() => self.fail(Error::new(
                ErrorKind::InvalidValue,
                format!("or_insert gives the value of the whole key, and comes before the steps to {:?}", value::pointer_of(&self.steps)),
            )),
            Ok(encoded) => self.default = Some(Arc::new(encoded)),
            Err(error) => self.fail(error),
        }
        self
    }

    /// The first thing that goes wrong counts.
    fn fail(&mut self, error: Error) {
        if self.wrong.is_none() {
            self.wrong = Some(Arc::new(error));
        }
    }

    fn default(&self) -> Option<Archive<'_>> {
        self.default.as_deref().map(|(arena, span)| arena.get(span.clone()))
    }

    #[inline]
    fn parts(&self) -> Result<(&Hashed, &[Step])> {
        match &self.wrong {
            Some(error) => Err(again(error)),
            None => Ok((&self.hashed, &self.steps)),
        }
    }

    /// Reads what stands there; nothing where the key or a step is absent.
    fn look<R>(&self, look: impl FnOnce(Option<Node<'_>>) -> Result<R>) -> Result<R> {
        let (hashed, steps) = self.parts()?;
        self.place.reads()?.read(hashed, |archive| match archive.or(self.default()) {
            None => look(None),
            Some(archive) => look(value::resolve(archive.node(), steps)?),
        })
    }

    /// The value there. `None` if the key or a step is absent.
    ///
    /// # Errors
    /// `TypeMismatch` if a step meets neither an object nor an array; `InvalidValue` for a number that `Value` would round.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// assert_eq!(pod.at("absent").key("a").get()?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get(&self) -> Result<Option<Value>> {
        self.look(|node| node.map(Node::to_value).transpose())
    }

    /// The value there in a type of your own.
    ///
    /// # Errors
    /// `TypeMismatch` if a step meets neither an object nor an array; `InvalidValue` or `TypeMismatch` if the value is not of that type.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"a": [1, 2]}))?;
    /// assert_eq!(pod.at("k").key("a").get_as::<Vec<u8>>()?, Some(vec![1, 2]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn get_as<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        self.look(|node| node.map(|node| node.read()).transpose())
    }

    /// Whether there is a value.
    ///
    /// # Errors
    /// `TypeMismatch` if a step meets neither an object nor an array.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"a": null}))?;
    /// assert!(pod.at("k").key("a").contains()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn contains(&self) -> Result<bool> {
        self.look(|node| Ok(node.is_some()))
    }

    /// The number of elements of an array, of entries of an object, or of bytes of a text.
    ///
    /// # Errors
    /// `KeyNotFound` if there is no value; `TypeMismatch` for other values.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 2, 3])?;
    /// assert_eq!(pod.at("k").len()?, 3);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> Result<usize> {
        let place = || value::place_of(&self.steps);
        self.look(|node| match node {
            None if self.steps.is_empty() => Err(Error::new(ErrorKind::KeyNotFound, "it is absent, and so it has no length")),
            None => Err(Error::new(ErrorKind::KeyNotFound, format!("there is nothing at {}, and so no length", place()))),
            Some(node) if node.is_array() || node.is_object() || node.as_str().is_some() => Ok(node.len()),
            Some(node) => {
                let (path, expected, found) = (value::pointer_of(&self.steps), "array, object or string", node.kind_name());
                let message = format!("{} is {found}, which has no length; an {expected} has one", place());
                Err(Error::new(ErrorKind::TypeMismatch { path, expected, found }, message))
            }
        })
    }
}

impl<In: Writable> At<'_, In> {
    fn absent() -> Error {
        Error::new(ErrorKind::KeyNotFound, "it is absent; at(key).or_insert(value) makes it in the same call")
    }

    /// Makes one edit; `result` sees what it did.
    #[inline]
    fn edit<R>(&self, edit: Edit<'_>, result: impl FnOnce(Outcome<'_>) -> Result<R>) -> Result<R> {
        let (hashed, steps) = self.parts()?;
        self.place.writes()?.0.change(hashed, |archive, out| {
            let Some(value) = archive.or(self.default()) else {
                let nothing = matches!(edit, Edit::Remove).then(Outcome::default).ok_or_else(Self::absent)?;
                return Ok((Change::Keep, result(nothing)?));
            };
            let outcome = value::apply(value, steps, edit, out)?;
            let is_new = archive.is_none();
            if is_new && !outcome.changed {
                out.extend_from_slice(value.as_bytes());
            }
            let change = if is_new || outcome.changed { Change::Set } else { Change::Keep };
            Ok((change, result(outcome)?))
        })
    }

    /// Sets the value there. With an empty path this is the whole value. If only the last step is absent, it is added to its parent. The key
    /// itself must exist, as for all calls that change something, unless [`or_insert`](At::or_insert) makes it.
    ///
    /// # Errors
    /// `KeyNotFound` if the key or a parent is absent; `TypeMismatch` if a parent is neither an object nor an array; `InvalidValue` if the
    /// value cannot be stored; `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`, as for all calls here that change something.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({}))?;
    /// pod.at("k").key("a").set(1)?;
    /// assert_eq!(pod.raw_json("k")?.unwrap(), r#"{"a":1}"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set(&self, value: impl Serialize) -> Result<()> {
        let (arena, span) = self.hashed.encode(&value)?;
        self.edit(Edit::Set(arena.get(span)), |_| Ok(()))
    }

    /// Sets the value only if there is none. Returns whether there was none.
    ///
    /// # Errors
    /// `KeyNotFound` if the key or a parent is absent; `TypeMismatch` if a parent is neither an object nor an array.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"a": 1}))?;
    /// assert!(!pod.at("k").key("a").set_if_absent(2)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_if_absent(&self, value: impl Serialize) -> Result<bool> {
        let (arena, span) = self.hashed.encode(&value)?;
        self.edit(Edit::SetIfAbsent(arena.get(span)), |outcome| Ok(outcome.changed))
    }

    /// Removes the value and returns it. `None` if it is absent. With an empty path the key is removed. In the returned value, a number beyond
    /// 64 bits is the nearest float, as serde_json reads it.
    ///
    /// # Errors
    /// `TypeMismatch` if a step meets neither an object nor an array.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 2])?;
    /// assert_eq!(pod.at("k").index(0).remove()?, Some(serde_json::json!(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn remove(&self) -> Result<Option<Value>> {
        let (hashed, steps) = self.parts()?;
        if steps.is_empty() {
            return self.place.writes()?.0.change(hashed, |archive, _| {
                Ok((Change::Remove, archive.or(self.default()).map(|archive| archive.node().to_nearest_value()).transpose()?))
            });
        }
        self.edit(Edit::Remove, first_taken)
    }

    /// Adds to the number there and returns the sum, like `+=`. If only the last step is absent, it counts as 0.
    ///
    /// # Errors
    /// `KeyNotFound` if the key or a parent is absent; `TypeMismatch` if it is not a number; `InvalidValue` if the sum of integers does not
    /// fit 64 bits.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({}))?;
    /// pod.at("k").key("n").add(1)?;
    /// assert_eq!(pod.at("k").key("n").add(0.5)?, serde_json::json!(1.5));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn add(&self, number: impl Into<Addend>) -> Result<Value> {
        self.edit(Edit::Add(number.into().0), |outcome| Ok(outcome.sum.map_or(Value::Null, Value::from)))
    }

    /// Like [`add`](At::add), for counters: the sum is an `i64`.
    ///
    /// # Errors
    /// `KeyNotFound` if the key or a parent is absent; `TypeMismatch` if there is no number; `InvalidValue` if the sum is not such an
    /// integer. Nothing is changed then.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("hits", 0)?;
    /// let hits: i64 = pod.at("hits").add_i64(1)?;
    /// assert_eq!(hits, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn add_i64(&self, number: i64) -> Result<i64> {
        self.edit(Edit::Add(Number::Int(number)), |outcome| match outcome.sum {
            Some(Number::Int(sum)) => Ok(sum),
            sum => Err(Error::new(
                ErrorKind::InvalidValue,
                format!("the sum {} is no integer of 64 bits with a sign; use add", sum.map_or(Value::Null, Value::from)),
            )),
        })
    }

    /// Appends an element to the array. If only the last step is absent, it counts as an empty array. The whole value is written again, so this
    /// costs as much as the list is long.
    ///
    /// # Errors
    /// `KeyNotFound` if the key or a parent is absent; `TypeMismatch` if it is not an array.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1])?;
    /// pod.at("k").push(2)?;
    /// assert_eq!(pod.raw_json("k")?.unwrap(), "[1,2]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn push(&self, value: impl Serialize) -> Result<()> {
        let (arena, span) = self.hashed.encode(&value)?;
        self.edit(Edit::Push(arena.get(span)), |_| Ok(()))
    }

    /// Appends all elements to the array. If only the last step is absent, it counts as an empty array. The iterator is read to its end
    /// before anything is locked.
    ///
    /// # Errors
    /// `KeyNotFound` if the key or a parent is absent; `TypeMismatch` if it is not an array.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1])?;
    /// pod.at("k").extend([2, 3])?;
    /// assert_eq!(pod.raw_json("k")?.unwrap(), "[1,2,3]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn extend<T: Serialize>(&self, values: impl IntoIterator<Item = T>) -> Result<()> {
        let (arena, span) = self.hashed.encode(&values.into_iter().collect::<Vec<T>>())?;
        self.edit(Edit::Extend(arena.get(span)), |_| Ok(()))
    }

    /// Inserts an element before the one with this index. Negative indices count from the end.
    ///
    /// # Errors
    /// `KeyNotFound` if the key or a step is absent, or the index is out of range; `TypeMismatch` if it is not an array.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 3])?;
    /// pod.at("k").insert(1, 2)?;
    /// assert_eq!(pod.raw_json("k")?.unwrap(), "[1,2,3]");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn insert(&self, index: i64, value: impl Serialize) -> Result<()> {
        let (arena, span) = self.hashed.encode(&value)?;
        self.edit(Edit::Insert(index, arena.get(span)), |_| Ok(()))
    }

    /// Removes and returns the last element of the array. `None` if it is empty. Numbers are as [`remove`](At::remove) returns them.
    ///
    /// # Errors
    /// `KeyNotFound` if the key or a step is absent; `TypeMismatch` if it is not an array.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 2])?;
    /// assert_eq!(pod.at("k").pop()?, Some(serde_json::json!(2)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pop(&self) -> Result<Option<Value>> {
        self.edit(Edit::Pop, first_taken)
    }

    /// Copies all entries of `object` into the object there.
    ///
    /// # Errors
    /// `KeyNotFound` if the key or a step is absent; `TypeMismatch` if one of the two is not an object.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"a": 1}))?;
    /// pod.at("k").merge(serde_json::json!({"b": 2}))?;
    /// assert_eq!(pod.raw_json("k")?.unwrap(), r#"{"a":1,"b":2}"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn merge(&self, object: impl Serialize) -> Result<()> {
        let (arena, span) = self.hashed.encode(&object)?;
        self.edit(Edit::Merge(arena.get(span)), |_| Ok(()))
    }

    /// Replaces a range of the array with other elements, and returns the old ones. Numbers are as [`remove`](At::remove) returns them.
    /// Negative bounds count from the end.
    ///
    /// # Errors
    /// `KeyNotFound` if the key or a step is absent, or the range is out of bounds; `TypeMismatch` if it is not an array.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", [1, 2, 3])?;
    /// assert_eq!(pod.at("k").splice(0..2, ["x"])?, [serde_json::json!(1), serde_json::json!(2)]);
    /// assert_eq!(pod.raw_json("k")?.unwrap(), r#"["x",3]"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn splice<T: Serialize>(&self, range: impl RangeBounds<i64>, values: impl IntoIterator<Item = T>) -> Result<Vec<Value>> {
        let own = |bound: Bound<&i64>| bound.cloned();
        let (arena, span) = self.hashed.encode(&values.into_iter().collect::<Vec<T>>())?;
        self.edit(Edit::Splice((own(range.start_bound()), own(range.end_bound())), arena.get(span)), |outcome| {
            outcome.taken.map(Node::to_nearest_value).collect()
        })
    }

    /// Changes the value there with a closure. The closure runs exactly once, under the store's lock.
    ///
    /// # Errors
    /// `KeyNotFound` if the key or a step is absent; `InvalidValue` for a number that `Value` would round.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"a": "x"}))?;
    /// pod.at("k").key("a").update(|value| *value = serde_json::json!(value.as_str().unwrap().repeat(2)))?;
    /// assert_eq!(pod.raw_json("k")?.unwrap(), r#"{"a":"xx"}"#);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update<R>(&self, change: impl FnOnce(&mut Value) -> R) -> Result<R> {
        let mut change = Some(change);
        let mut result = None;
        self.edit(
            Edit::Update(&mut |value| {
                result = change.take().map(|change| change(value));
                Ok(())
            }),
            |_| Ok(()),
        )?;
        result.ok_or_else(|| {
            Error::new(ErrorKind::KeyNotFound, format!("there is nothing at {} to be updated; set makes it", value::place_of(&self.steps)))
        })
    }
}

fn first_taken(outcome: Outcome<'_>) -> Result<Option<Value>> {
    let mut taken = outcome.taken;
    taken.next().map(Node::to_nearest_value).transpose()
}
