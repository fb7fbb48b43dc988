//! What serves as a key, and how it becomes the durable form without a copy in between.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::error::{Error, ErrorKind, Result};
use crate::key::{INTEGER, Key, STRING, TUPLE};
use crate::limits::{KEY_BYTES_MAX, KEY_DEPTH_MAX};

/// The durable form of a key; on the stack unless it is long.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct KeyBuf {
    pub(super) bytes: SmallVec<[u8; 64]>,
}

impl std::ops::Deref for KeyBuf {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl KeyBuf {
    /// A key that was encoded before.
    pub(crate) fn of_encoded(key: &[u8]) -> KeyBuf {
        KeyBuf { bytes: SmallVec::from_slice(key) }
    }

    /// Makes it empty, for the next key.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
    }

    #[inline]
    fn put_string(&mut self, text: &str) -> Result<()> {
        if text.len() >= KEY_BYTES_MAX {
            return Err(too_long(text));
        }
        self.bytes.reserve(1 + text.len());
        self.bytes.push(STRING);
        self.bytes.extend_from_slice(text.as_bytes());
        Ok(())
    }

    #[inline]
    fn put_integer(&mut self, value: i64) {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        self.bytes.extend_from_slice(&[INTEGER, a, b, c, d, e, f, g, h]);
    }

    /// Begins a tuple; its elements follow by [`put_element`](Self::put_element).
    fn put_tuple(&mut self, depth_left: usize) -> Result<usize> {
        self.bytes.push(TUPLE);
        depth_left.checked_sub(1).ok_or_else(|| invalid("a tuple", &format!("it nests tuples more than {KEY_DEPTH_MAX} deep")))
    }

    fn put_element(&mut self, element: &(impl AsKey + ?Sized), depth_left: usize) -> Result<()> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        element.put(self, depth_left)?;
        let length = self.bytes.len() - start - 4;
        // What is too long for its length field is too long for a key. Checked here, so that memory stays bounded.
        if self.bytes.len() > KEY_BYTES_MAX {
            return Err(too_long("a tuple"));
        }
        self.bytes[start..start + 4].copy_from_slice(&(length as u32).to_le_bytes());
        Ok(())
    }
}

/// The text of an encoded key that is a string.
pub(crate) fn text_of(bytes: &[u8]) -> Option<&str> {
    let (tag, text) = bytes.split_first()?;
    if *tag == STRING { std::str::from_utf8(text).ok() } else { None }
}

/// The number of an encoded key that is an integer.
pub(crate) fn integer_of(bytes: &[u8]) -> Option<i64> {
    let (tag, value) = bytes.split_first()?;
    if *tag == INTEGER { Some(i64::from_le_bytes(value.try_into().ok()?)) } else { None }
}

/// Whether an encoded key is a tuple.
#[inline]
pub(crate) fn is_tuple(key: &[u8]) -> bool {
    key.first() == Some(&TUPLE)
}

/// Encodes an argument that serves as a key, without allocating unless it is long.
#[inline]
pub(crate) fn encode_key(key: &(impl AsKey + ?Sized)) -> Result<KeyBuf> {
    let mut buffer = KeyBuf::default();
    encode_into(key, &mut buffer)?;
    Ok(buffer)
}

/// The same into an empty buffer.
#[inline]
pub(crate) fn encode_into(key: &(impl AsKey + ?Sized), buffer: &mut KeyBuf) -> Result<()> {
    key.put(buffer, KEY_DEPTH_MAX)
}

/// What serves as a key in the calls of a store, without being copied first: [`Key`], text, integers that fit an `i64`, and
/// tuples, vectors and slices of these. This trait cannot be implemented outside of the crate.
///
/// ```
/// use tastypod::{AsKey, Key};
/// fn same(a: impl AsKey, b: impl AsKey) -> bool {
///     a.to_key().unwrap() == b.to_key().unwrap()
/// }
/// assert!(same("a", String::from("a")));
/// assert!(same(("a", 1_u8), &Key::from(("a", 1))));
/// assert!(!same("1", 1));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a key",
    note = "keys are strings, integers that fit an i64, and tuples of keys; for a float, bool or other type use its text"
)]
pub trait AsKey {
    #[doc(hidden)]
    fn put(&self, buffer: &mut KeyBuf, depth_left: usize) -> Result<()>;

    /// The key as a value of its own; `InvalidKey` if it cannot be stored.
    ///
    /// ```
    /// use tastypod::{AsKey, ErrorKind, Key};
    /// assert_eq!(7_u64.to_key()?, Key::Integer(7));
    /// assert_eq!(u64::MAX.to_key().unwrap_err().kind(), ErrorKind::InvalidKey);
    /// # Ok::<(), tastypod::Error>(())
    /// ```
    fn to_key(&self) -> Result<Key> {
        let encoded = encode_key(self)?;
        Key::decode(&encoded).map_err(|what| invalid("the key", what))
    }
}

#[cold]
pub(super) fn invalid(shown: &str, why: &str) -> Error {
    let short: String = shown.chars().take(80).collect();
    let more = if short.len() < shown.len() { "…" } else { "" };
    Error::new(
        ErrorKind::InvalidKey,
        format!("{short}{more} cannot be a key: {why}; keys are strings, integers that fit an i64, and tuples of keys"),
    )
}

#[cold]
fn too_long(shown: &str) -> Error {
    invalid(shown, &format!("it is longer than {KEY_BYTES_MAX} bytes"))
}

impl AsKey for str {
    #[inline]
    fn put(&self, buffer: &mut KeyBuf, _depth_left: usize) -> Result<()> {
        buffer.put_string(self)
    }
}

impl AsKey for Key {
    fn put(&self, buffer: &mut KeyBuf, depth_left: usize) -> Result<()> {
        match self {
            Key::Integer(value) => value.put(buffer, depth_left),
            Key::String(text) => buffer.put_string(text),
            Key::Tuple(elements) => elements.put(buffer, depth_left),
        }
    }
}

macro_rules! integer_keys {
    ($($type:ty),*) => {
        $(impl AsKey for $type {
            #[inline]
            fn put(&self, buffer: &mut KeyBuf, _depth_left: usize) -> Result<()> {
                buffer.put_integer(i64::try_from(*self).map_err(|_| invalid(&self.to_string(), "it does not fit an i64"))?);
                Ok(())
            }
        })*
    };
}
integer_keys!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize);

impl<K: AsKey> AsKey for [K] {
    fn put(&self, buffer: &mut KeyBuf, depth_left: usize) -> Result<()> {
        let depth_left = buffer.put_tuple(depth_left)?;
        self.iter().try_for_each(|element| buffer.put_element(element, depth_left))
    }
}

macro_rules! forwarded_keys {
    ($([$($generics:tt)*] $type:ty),*) => {
        $(impl<$($generics)*> AsKey for $type {
            #[inline]
            fn put(&self, buffer: &mut KeyBuf, depth_left: usize) -> Result<()> {
                (**self).put(buffer, depth_left)
            }
        })*
    };
}
forwarded_keys!([] String, [K: AsKey + ?Sized] &K, [K: AsKey + ?Sized] &mut K, [K: AsKey + ?Sized] Box<K>);
forwarded_keys!([K: AsKey] Vec<K>, [K: AsKey + ToOwned + ?Sized] Cow<'_, K>, [K: AsKey + ?Sized] std::rc::Rc<K>);
forwarded_keys!([K: AsKey + ?Sized] std::sync::Arc<K>);

impl<K: AsKey, const N: usize> AsKey for [K; N] {
    fn put(&self, buffer: &mut KeyBuf, depth_left: usize) -> Result<()> {
        self.as_slice().put(buffer, depth_left)
    }
}

impl AsKey for () {
    fn put(&self, buffer: &mut KeyBuf, depth_left: usize) -> Result<()> {
        buffer.put_tuple(depth_left).map(|_| ())
    }
}

macro_rules! tuple_keys {
    ($($name:ident $index:tt),*) => {
        impl<$($name: AsKey),*> AsKey for ($($name,)*) {
            fn put(&self, buffer: &mut KeyBuf, depth_left: usize) -> Result<()> {
                let depth_left = buffer.put_tuple(depth_left)?;
                $(buffer.put_element(&self.$index, depth_left)?;)*
                Ok(())
            }
        }
    };
}
for_each_tuple!(tuple_keys);
