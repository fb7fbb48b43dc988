//! The calls on one key, each one atomic step.

use crate::error::{Error, ErrorKind, Result};
use crate::key::AsKey;
use crate::pod::target::{Hashed, Target};
use crate::pod::{At, Pod, Txn, View};
use crate::store::write::transaction::Change;
use crate::value::{self, Archive, Arena};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Of a key that is named by who looks for it.
#[cold]
pub(crate) fn absent() -> Error {
    Error::new(ErrorKind::KeyNotFound, "it is absent; set or update_or_insert makes it")
}

fn owned(archive: Option<Archive<'_>>) -> Result<Option<Value>> {
    archive.map(|archive| archive.node().to_value()).transpose()
}

/// What stood there and is gone.
fn gone(archive: Option<Archive<'_>>) -> Result<Option<Value>> {
    archive.map(|archive| archive.node().to_nearest_value()).transpose()
}

impl Target<'_> {
    pub(crate) fn call_insert<T: Serialize + ?Sized>(&self, key: &(impl AsKey + ?Sized), value: &T) -> Result<Option<Value>> {
        let key = self.hashed(key)?;
        let (arena, span) = key.encode(value)?;
        self.change(&key, |before, out| {
            out.extend_from_slice(arena.get(span).as_bytes());
            Ok((Change::Set, gone(before)?))
        })
    }

    pub(crate) fn call_set_if_absent<T: Serialize + ?Sized>(&self, key: &(impl AsKey + ?Sized), value: &T) -> Result<bool> {
        let key = self.hashed(key)?;
        let (arena, span) = key.encode(value)?;
        self.change(&key, |before, out| {
            if before.is_some() {
                return Ok((Change::Keep, false));
            }
            out.extend_from_slice(arena.get(span).as_bytes());
            Ok((Change::Set, true))
        })
    }

    pub(crate) fn call_remove(&self, key: &(impl AsKey + ?Sized)) -> Result<Option<Value>> {
        self.change(&self.hashed(key)?, |before, _| Ok((Change::Remove, gone(before)?)))
    }

    pub(crate) fn call_update<R, E: From<Error>>(
        &self,
        key: &(impl AsKey + ?Sized),
        default: Option<Value>,
        update: impl FnOnce(&mut Value) -> std::result::Result<R, E>,
    ) -> std::result::Result<R, E> {
        let key = self.hashed(key)?;
        let mut failed = None;
        let outcome = self.change(&key, |before, out| {
            let mut value = match (owned(before)?, default) {
                (Some(value), _) | (None, Some(value)) => value,
                (None, None) => return Err(absent()),
            };
            match update(&mut value) {
                Ok(result) => {
                    value::encode(&value, out)?;
                    Ok((Change::Set, Some(result)))
                }
                Err(error) => {
                    failed = Some(error);
                    Ok((Change::Keep, None))
                }
            }
        })?;
        match (outcome, failed) {
            (Some(result), _) => Ok(result),
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::other("the update had no outcome").into()),
        }
    }

    fn view_in_hand(&self, key: &Hashed) -> Result<Option<View>> {
        self.read(key, |archive| Ok(archive.map(|archive| View::of_written(key, archive))))
    }

    pub(crate) fn call_compare_exchange<T: Serialize + ?Sized>(
        &self,
        key: &(impl AsKey + ?Sized),
        expected: Option<&T>,
        new: Option<&T>,
    ) -> Result<bool> {
        let mut arena = Arena::default();
        let key = self.hashed(key)?;
        let mut encoded = |value: Option<&T>| value.map(|value| arena.encode(value)).transpose().map_err(|error| key.name(error));
        let (expected, span) = (encoded(expected)?, encoded(new)?);
        self.change(&key, |before, out| {
            let matches = match (before, expected.clone()) {
                (None, None) => true,
                (Some(before), Some(expected)) => before.node() == arena.get(expected).node(),
                _ => false,
            };
            match span {
                _ if !matches => Ok((Change::Keep, false)),
                Some(span) => {
                    out.extend_from_slice(arena.get(span).as_bytes());
                    Ok((Change::Set, true))
                }
                None => Ok((Change::Remove, true)),
            }
        })
    }
}

macro_rules! calls {
    ($type:ty, $target:ident) => {
        impl $type {
            /// Inserts or replaces a value. A new key goes last in order. An existing key keeps its place.
            ///
            /// # Errors
            /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// pod.set("k", [1, 2])?;
            /// pod.transaction(|txn| txn.set("k", [3]))?;
            /// assert_eq!(pod.get_as::<Vec<u8>>("k")?, Some(vec![3]));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[inline]
            pub fn set(&self, key: impl AsKey, value: impl Serialize) -> Result<()> {
                let target = self.$target()?;
                let key = target.hashed(&key)?;
                target.set(&key, |out| value::encode(&value, out).map_err(|error| key.name(error)))
            }

            /// Inserts or replaces a value, and returns the old one. In the old value, a number beyond 64 bits is the nearest float, as
            /// serde_json reads it. Call `raw_json` first if you need its digits.
            ///
            /// # Errors
            /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// assert_eq!(pod.insert("k", 1)?, None);
            /// assert_eq!(pod.insert("k", 2)?, Some(serde_json::json!(1)));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn insert(&self, key: impl AsKey, value: impl Serialize) -> Result<Option<Value>> {
                self.$target()?.call_insert(&key, &value)
            }

            /// Sets a key only if it is absent. Returns whether it was.
            ///
            /// # Errors
            /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// assert!(pod.set_if_absent("k", &1)?);
            /// assert!(!pod.set_if_absent("k", &2)?);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn set_if_absent(&self, key: impl AsKey, value: impl Serialize) -> Result<bool> {
                self.$target()?.call_set_if_absent(&key, &value)
            }

            /// Inserts or replaces a value given as JSON text. Numbers keep all their digits.
            ///
            /// # Errors
            /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
            /// `InvalidValue` also if the text is not one JSON value.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// pod.set_raw_json("k", "[123456789012345678901234567890]")?;
            /// assert_eq!(pod.raw_json("k")?.unwrap(), "[123456789012345678901234567890]");
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn set_raw_json(&self, key: impl AsKey, json: &str) -> Result<()> {
                let target = self.$target()?;
                let key = target.hashed(&key)?;
                target.set(&key, |out| value::encode_json(json, out).map_err(|error| key.name(error)))
            }

            /// The value of a key.
            ///
            /// # Errors
            /// `InvalidKey`; `InvalidValue` for a number that `Value` would round (read it with `raw_json`); `Reentrant`; `Integrity`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// pod.set("k", 1)?;
            /// assert_eq!(pod.get("k")?, Some(serde_json::json!(1)));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn get(&self, key: impl AsKey) -> Result<Option<Value>> {
                let target = self.$target()?;
                target.read(&target.hashed(&key)?, owned)
            }

            /// The value of a key in a type of your own. It is read from the stored bytes, without a `Value` in between.
            ///
            /// # Errors
            /// `InvalidValue` or `TypeMismatch` if the value is not of that type; `InvalidKey`; `Reentrant`; `Integrity`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
            /// struct Page { status: u16 }
            /// pod.set("k", Page { status: 200 })?;
            /// assert_eq!(pod.get_as::<Page>("k")?, Some(Page { status: 200 }));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[inline]
            pub fn get_as<T: DeserializeOwned>(&self, key: impl AsKey) -> Result<Option<T>> {
                let target = self.$target()?;
                target.read(&target.hashed(&key)?, |archive| archive.map(|archive| archive.node().read()).transpose())
            }

            /// The value of a key as JSON text. Numbers have all their digits.
            ///
            /// # Errors
            /// `InvalidKey`; `Reentrant`; `Integrity`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// pod.set("k", [0.5])?;
            /// assert_eq!(pod.raw_json("k")?.as_deref(), Some("[0.5]"));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn raw_json(&self, key: impl AsKey) -> Result<Option<String>> {
                let target = self.$target()?;
                target.read(&target.hashed(&key)?, |archive| {
                    Ok(archive.map(|archive| {
                        let mut text = String::new();
                        archive.node().write_json(&mut text);
                        text
                    }))
                })
            }

            /// Whether a key exists.
            ///
            /// # Errors
            /// `InvalidKey`; `Reentrant`; `Integrity`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// assert!(!pod.contains_key("k")?);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn contains_key(&self, key: impl AsKey) -> Result<bool> {
                let target = self.$target()?;
                target.contains(&target.hashed(&key)?)
            }

            /// Removes a key and returns its value. Numbers in it are as `insert` returns them. If the key is set again, it goes last.
            ///
            /// # Errors
            /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// pod.set("k", 1)?;
            /// assert_eq!(pod.remove("k")?, Some(serde_json::json!(1)));
            /// assert_eq!(pod.remove("k")?, None);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn remove(&self, key: impl AsKey) -> Result<Option<Value>> {
                self.$target()?.call_remove(&key)
            }

            /// Removes a key if the closure says yes to its value, in one atomic step. Returns the value if it was removed. The closure
            /// runs under the store's lock, and sees numbers as `insert` returns them.
            ///
            /// # Errors
            /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// pod.set("k", 1)?;
            /// assert_eq!(pod.remove_if("k", |value| value == 2)?, None);
            /// assert_eq!(pod.remove_if("k", |value| value == 1)?, Some(1.into()));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn remove_if(&self, key: impl AsKey, is_meant: impl FnOnce(&Value) -> bool) -> Result<Option<Value>> {
                let target = self.$target()?;
                target.change(&target.hashed(&key)?, |before, _| {
                    let removed = gone(before)?.filter(|value| is_meant(value));
                    Ok((if removed.is_some() { Change::Remove } else { Change::Keep }, removed))
                })
            }

            /// The value of a key. If the key is absent, the closure makes the value and it is set, in one atomic step. The closure runs
            /// only then, under the store's lock: other writers wait for it.
            ///
            /// # Errors
            /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`, `Integrity`. `InvalidValue` also for a stored number
            /// that `Value` would round.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// assert_eq!(pod.get_or_insert_with("k", || [1, 2])?, serde_json::json!([1, 2]));
            /// assert_eq!(pod.get_or_insert_with("k", || 3)?, serde_json::json!([1, 2]));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn get_or_insert_with<V: Serialize>(&self, key: impl AsKey, make: impl FnOnce() -> V) -> Result<Value> {
                let target = self.$target()?;
                target.change(&target.hashed(&key)?, |before, out| {
                    if let Some(value) = owned(before)? {
                        return Ok((Change::Keep, value));
                    }
                    let mut arena = Arena::default();
                    let span = arena.encode(&make())?;
                    out.extend_from_slice(arena.get(span.clone()).as_bytes());
                    Ok((Change::Set, arena.get(span).node().to_value()?))
                })
            }

            /// Changes a value with a closure. The closure runs exactly once, under the store's lock: other writers wait for it.
            ///
            /// # Errors
            /// `KeyNotFound` if the key is absent; `InvalidValue` for a number that `Value` would round, since the rounded number would be
            /// written back (`at` changes other parts and keeps all digits); `InvalidKey`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// pod.set("k", 1)?;
            /// pod.update("k", |value| *value = serde_json::json!([value.clone(), 2]))?;
            /// assert_eq!(pod.get("k")?, Some(serde_json::json!([1, 2])));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn update<R>(&self, key: impl AsKey, update: impl FnOnce(&mut Value) -> R) -> Result<R> {
                self.$target()?.call_update(&key, None, |value| Ok::<R, Error>(update(value)))
            }

            /// Like `update`, but the closure may fail. Then nothing changes, and its error is returned.
            ///
            /// # Errors
            /// The closure's; `KeyNotFound` if the key is absent; `InvalidValue` for a number that `Value` would round; `InvalidKey`, `Full`,
            /// `LockTimeout`, `Reentrant`, `ReadOnly`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// pod.set("k", 1)?;
            /// let outcome = pod.try_update("k", |value| { *value = 2.into(); Err::<(), _>(tastypod::Error::other("no")) });
            /// assert!(outcome.is_err());
            /// assert_eq!(pod.get("k")?, Some(serde_json::json!(1)));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn try_update<R, E: From<Error>>(
                &self,
                key: impl AsKey,
                update: impl FnOnce(&mut Value) -> std::result::Result<R, E>,
            ) -> std::result::Result<R, E> {
                self.$target()?.call_update(&key, None, update)
            }

            /// Like `update`, but the closure gets `default` if the key is absent.
            ///
            /// # Errors
            /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`. `InvalidValue` also for a number that `Value`
            /// would round.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// pod.update_or_insert("k", 0, |value| *value = (value.as_i64().unwrap() + 1).into())?;
            /// assert_eq!(pod.get("k")?, Some(serde_json::json!(1)));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn update_or_insert<R>(&self, key: impl AsKey, default: impl Serialize, update: impl FnOnce(&mut Value) -> R) -> Result<R> {
                let target = self.$target()?;
                let hashed = target.hashed(&key)?;
                let (arena, span) = hashed.encode(&default)?;
                let default = arena.get(span).node().to_value().map_err(|error| hashed.name(error))?;
                target.call_update(&key, Some(default), |value| Ok::<R, Error>(update(value)))
            }

            /// Like `insert`, and returns the old value in a type of your own.
            ///
            /// # Errors
            /// `InvalidValue` or `TypeMismatch` if the old value is not of that type: then nothing is changed.
            /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// assert_eq!(pod.insert_as::<i64>("k", 1)?, None);
            /// assert_eq!(pod.insert_as::<i64>("k", 2)?, Some(1));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn insert_as<T: DeserializeOwned>(&self, key: impl AsKey, value: impl Serialize) -> Result<Option<T>> {
                let target = self.$target()?;
                let key = target.hashed(&key)?;
                let (arena, span) = key.encode(&value)?;
                target.change(&key, |before, out| {
                    let before = before.map(|archive| archive.node().read()).transpose()?;
                    out.extend_from_slice(arena.get(span).as_bytes());
                    Ok((Change::Set, before))
                })
            }

            /// Like `remove`, and returns the value in a type of your own.
            ///
            /// # Errors
            /// `InvalidValue` or `TypeMismatch` if the value is not of that type: then it stays. `InvalidKey`, `Full`, `LockTimeout`,
            /// `Reentrant`, `ReadOnly`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// pod.set("k", 1)?;
            /// assert!(pod.remove_as::<String>("k").is_err());
            /// assert_eq!(pod.remove_as::<i64>("k")?, Some(1));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn remove_as<T: DeserializeOwned>(&self, key: impl AsKey) -> Result<Option<T>> {
                let target = self.$target()?;
                target.change(&target.hashed(&key)?, |before, _| {
                    Ok((Change::Remove, before.map(|archive| archive.node().read()).transpose()?))
                })
            }

            /// Like `update`, with the value in a type of your own.
            ///
            /// # Errors
            /// `KeyNotFound` if the key is absent; `InvalidValue` or `TypeMismatch` if the value is not of that type; `InvalidKey`, `Full`,
            /// `LockTimeout`, `Reentrant`, `ReadOnly`. Then nothing is changed.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// pod.set("k", [1])?;
            /// pod.update_as("k", |list: &mut Vec<i64>| list.push(2))?;
            /// assert_eq!(pod.get_as::<Vec<i64>>("k")?, Some(vec![1, 2]));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn update_as<T: Serialize + DeserializeOwned, R>(&self, key: impl AsKey, update: impl FnOnce(&mut T) -> R) -> Result<R> {
                let target = self.$target()?;
                let key = target.hashed(&key)?;
                target.change(&key, |before, out| {
                    let mut value: T = before.ok_or_else(absent)?.node().read()?;
                    let result = update(&mut value);
                    value::encode(&value, out)?;
                    Ok((Change::Set, result))
                })
            }

            /// Replaces the value with `new` if it is `expected`, and returns whether it was. `None` means absent. 1 and 1.0 are different.
            /// The order of an object's keys does not matter.
            ///
            /// # Errors
            /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// use serde_json::json;
            /// assert!(pod.compare_exchange("k", None, Some(&json!(1)))?);
            /// assert!(!pod.compare_exchange("k", Some(&json!(2)), None)?);
            /// assert!(pod.compare_exchange("k", Some(&json!(1)), None)?);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn compare_exchange(&self, key: impl AsKey, expected: Option<&Value>, new: Option<&Value>) -> Result<bool> {
                self.$target()?.call_compare_exchange(&key, expected, new)
            }

            /// As [`compare_exchange`](Self::compare_exchange), with values in a type of your own.
            /// Where both are `None` the compiler asks for the type: `None::<&str>`.
            ///
            /// # Errors
            /// `InvalidKey`, `InvalidValue`, `Full`, `LockTimeout`, `Reentrant`, `ReadOnly`.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// assert!(pod.compare_exchange_as("owner", None, Some("me"))?);
            /// assert!(!pod.compare_exchange_as("owner", Some("you"), None)?);
            /// assert!(pod.compare_exchange_as("owner", Some("me"), Some("you"))?);
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            pub fn compare_exchange_as<T: Serialize + ?Sized>(
                &self,
                key: impl AsKey,
                expected: Option<&T>,
                new: Option<&T>,
            ) -> Result<bool> {
                self.$target()?.call_compare_exchange(&key, expected, new)
            }

            /// A path into the value of a key. It reads and changes one part of the value, atomically.
            ///
            /// ```
            /// let dir = tempfile::tempdir()?;
            /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
            /// pod.set("k", serde_json::json!({"n": 1}))?;
            /// pod.at("k").key("n").add(1)?;
            /// assert_eq!(pod.at("k").key("n").get_as::<u8>()?, Some(2));
            /// # Ok::<(), Box<dyn std::error::Error>>(())
            /// ```
            #[inline]
            pub fn at(&self, key: impl AsKey) -> At<'_, $type> {
                At::new(self, &key)
            }
        }
    };
}

calls!(Pod, target);
calls!(Txn, target);

impl Pod {
    /// The value of a key, to be read in place: nothing is parsed until you ask for it.
    ///
    /// # Errors
    /// `InvalidKey`; `Integrity`; `Reentrant`.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.set("k", serde_json::json!({"url": "https://example.org"}))?;
    /// let view = pod.view("k")?.unwrap();
    /// assert_eq!(view.get("url").unwrap().as_str(), Some("https://example.org"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn view(&self, key: impl AsKey) -> Result<Option<View>> {
        let target = self.target()?;
        let key = target.hashed(&key)?;
        match target {
            Target::Pod(pod) => {
                pod.shared.enter()?;
                View::of(&pod.shared, key.hash, &key.key)
            }
            Target::InHand(..) => target.view_in_hand(&key),
        }
    }
}

impl Txn {
    /// The value of a key, with the transaction's own writes, to be read in place: nothing is parsed until you ask for it.
    ///
    /// # Errors
    /// `InvalidKey`; `Integrity`; `Closed` in a child made by a fork since.
    ///
    /// ```
    /// let dir = tempfile::tempdir()?;
    /// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
    /// pod.transaction(|txn| {
    ///     txn.set("k", tastypod::json!({"n": 3}))?;
    ///     assert_eq!(txn.view("k")?.unwrap().get("n").and_then(|n| n.as_i64()), Some(3));
    ///     Ok(())
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn view(&self, key: impl AsKey) -> Result<Option<View>> {
        let target = self.target()?;
        target.view_in_hand(&target.hashed(&key)?)
    }
}
