//! Keys, and their durable form.
//!
//! | byte 0 | what follows, to the end |
//! |---|---|
//! | 1 string | the UTF-8 bytes |
//! | 2 integer | `i64`, 8 bytes little-endian |
//! | 3 tuple | for each element its length, 4 bytes little-endian, then its encoding |
//!
//! Valid is what is at most [`KEY_BYTES_MAX`] bytes long and nests tuples at most [`KEY_DEPTH_MAX`] deep, every element
//! filling its length exactly. One key has one encoding, so encoded keys are compared and hashed as bytes.

/// Calls a macro with the elements of each tuple that may be a key: a name for the type, and the index.
macro_rules! for_each_tuple {
    ($make:ident) => {
        $make!(A 0);
        $make!(A 0, B 1);
        $make!(A 0, B 1, C 2);
        $make!(A 0, B 1, C 2, D 3);
        $make!(A 0, B 1, C 2, D 3, E 4);
        $make!(A 0, B 1, C 2, D 3, E 4, F 5);
        $make!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);
        $make!(A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7);
    };
}

mod convert;
mod encode;
mod serialize;

use std::fmt;

use crate::error::Result;
use crate::limits::{KEY_BYTES_MAX, KEY_DEPTH_MAX};
use crate::value::write_string;

pub use encode::AsKey;
#[cfg(any(test, tastypod_fuzzing))]
pub(crate) use encode::encode_key;
pub(crate) use encode::{KeyBuf, encode_into, integer_of, is_tuple, text_of};

const STRING: u8 = 1;
const INTEGER: u8 = 2;
const TUPLE: u8 = 3;

/// A key of a store: a string, an integer or a tuple of keys. `1`, `"1"` and `(1,)` are three keys.
///
/// ```
/// use tastypod::Key;
/// let key = Key::from(("page", 7));
/// assert_eq!(key.to_string(), r#"["page",7]"#);
/// assert_eq!(key, Key::Tuple(vec![Key::from("page"), Key::from(7)]));
/// assert_ne!(Key::from(1), Key::from("1"));
/// ```
///
/// A byte string is a tuple of integers. It takes 13 bytes for each byte; text takes one.
///
/// ```
/// use tastypod::Key;
/// let dir = tempfile::tempdir()?;
/// let pod = tastypod::Pod::open(dir.path().join("a.pod"))?;
/// pod.set(b"ab", 1)?;
/// assert_eq!(pod.keys().next().unwrap()?, Key::from((97, 98)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// An integer.
    Integer(i64),
    /// Text.
    String(String),
    /// A tuple, which JSON writes as an array.
    Tuple(Vec<Key>),
}

impl Key {
    /// The text of a key that is a string.
    ///
    /// ```
    /// use tastypod::Key;
    /// assert_eq!(Key::from("a").as_str(), Some("a"));
    /// assert_eq!(Key::from(1).as_str(), None);
    /// ```
    pub fn as_str(&self) -> Option<&str> {
        if let Key::String(text) = self { Some(text) } else { None }
    }

    /// The number of a key that is an integer.
    ///
    /// ```
    /// use tastypod::Key;
    /// assert_eq!(Key::from(-1).as_i64(), Some(-1));
    /// assert_eq!(Key::from("1").as_i64(), None);
    /// ```
    pub fn as_i64(&self) -> Option<i64> {
        if let Key::Integer(value) = self { Some(*value) } else { None }
    }

    /// The elements of a key that is a tuple.
    ///
    /// ```
    /// use tastypod::Key;
    /// assert_eq!(Key::from(("a", 1)).as_tuple(), Some(&[Key::from("a"), Key::from(1)][..]));
    /// assert_eq!(Key::from("a").as_tuple(), None);
    /// ```
    pub fn as_tuple(&self) -> Option<&[Key]> {
        if let Key::Tuple(elements) = self { Some(elements) } else { None }
    }

    /// Whether a text begins with the text `prefix`, or a tuple with the elements of the tuple `prefix`. An integer is a prefix of itself only.
    ///
    /// ```
    /// use tastypod::Key;
    /// assert!(Key::from("page/7").starts_with(&Key::from("page/")));
    /// assert!(Key::from(("page", 7)).starts_with(&Key::from(("page",))));
    /// assert!(!Key::from(("page", 7)).starts_with(&Key::from("page")));
    /// ```
    pub fn starts_with(&self, prefix: &Key) -> bool {
        match (self, prefix) {
            (Key::String(text), Key::String(prefix)) => text.starts_with(&**prefix),
            (Key::Tuple(elements), Key::Tuple(prefix)) => elements.starts_with(prefix),
            _ => self == prefix,
        }
    }

    /// The key as compact JSON text, in which strings have quotes.
    ///
    /// ```
    /// use tastypod::Key;
    /// assert_eq!(Key::from("a").to_json(), "\"a\"");
    /// assert_eq!(Key::from(("a", (), 1)).to_json(), r#"["a",[],1]"#);
    /// ```
    pub fn to_json(&self) -> String {
        let mut text = String::new();
        // Writing to a `String` cannot fail.
        let _ = self.write_json(&mut text);
        text
    }

    /// The key that compact or spaced JSON text denotes.
    ///
    /// ```
    /// use tastypod::{ErrorKind, Key};
    /// assert_eq!(Key::from_json(r#"["a", 1]"#)?, Key::from(("a", 1)));
    /// assert_eq!(Key::from_json("1.5").unwrap_err().kind(), ErrorKind::InvalidKey);
    /// # Ok::<(), tastypod::Error>(())
    /// ```
    pub fn from_json(text: &str) -> Result<Key> {
        serde_json::from_str(text).map_err(|error| encode::invalid(text, &error.to_string()))
    }

    fn kind_name(&self) -> &'static str {
        match self {
            Key::Integer(_) => "an integer",
            Key::String(_) => "a string",
            Key::Tuple(_) => "a tuple",
        }
    }

    fn write_json(&self, out: &mut (impl fmt::Write + ?Sized)) -> fmt::Result {
        match self {
            Key::Integer(value) => write!(out, "{value}"),
            Key::String(text) => write_string(out, text),
            Key::Tuple(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    out.write_char(if index == 0 { '[' } else { ',' })?;
                    element.write_json(out)?;
                }
                out.write_str(if elements.is_empty() { "[]" } else { "]" })
            }
        }
    }

    /// The durable form of the key.
    #[cfg(test)]
    pub(crate) fn encode(&self) -> Result<KeyBuf> {
        encode_key(self)
    }

    /// Reads the durable form. The bytes may be anything: the error says what is wrong with them.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Key, &'static str> {
        if bytes.len() > KEY_BYTES_MAX {
            return Err("a key that is too long");
        }
        Key::decode_nested(bytes, KEY_DEPTH_MAX)
    }

    fn decode_nested(bytes: &[u8], depth_left: usize) -> Result<Key, &'static str> {
        match bytes {
            [STRING, text @ ..] => match std::str::from_utf8(text) {
                Ok(text) => Ok(Key::String(text.to_owned())),
                Err(_) => Err("a key that is not UTF-8"),
            },
            [INTEGER, value @ ..] => match value.try_into() {
                Ok(value) => Ok(Key::Integer(i64::from_le_bytes(value))),
                Err(_) => Err("an integer key that is not 8 bytes long"),
            },
            [TUPLE, rest @ ..] => {
                let depth_left = depth_left.checked_sub(1).ok_or("a key whose tuples are nested too deep")?;
                let mut rest = rest;
                let mut elements = Vec::new();
                while !rest.is_empty() {
                    let (length, after) = rest.split_first_chunk().ok_or("a tuple key that is cut off")?;
                    let (element, after) =
                        after.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or("an element of a tuple key that is cut off")?;
                    elements.push(Key::decode_nested(element, depth_left)?);
                    rest = after;
                }
                Ok(Key::Tuple(elements))
            }
            _ => Err("a key of an unknown type"),
        }
    }
}

/// A string bare, an integer in digits, a tuple as a JSON array.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::String(text) => f.pad(text),
            key => key.write_json(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::prelude::*;
    use std::borrow::Cow;

    fn keys() -> impl Strategy<Value = Key> {
        let leaf = prop_oneof![any::<i64>().prop_map(Key::Integer), any::<String>().prop_map(Key::String)];
        leaf.prop_recursive(4, 20, 5, |inner| prop::collection::vec(inner, 0..5).prop_map(Key::Tuple))
    }

    fn nested(depth: usize) -> Key {
        (0..depth).fold(Key::from(1), |inner, _| Key::Tuple(vec![inner]))
    }

    proptest! {
        #[test]
        fn every_key_survives_its_encoding_and_its_json(key in keys()) {
            let encoded = key.encode().unwrap();
            prop_assert_eq!(&Key::decode(&encoded).unwrap(), &key);
            prop_assert_eq!(&Key::from_json(&key.to_json()).unwrap(), &key);
            prop_assert_eq!(key.to_json(), serde_json::to_string(&key).unwrap());
        }

        #[test]
        fn any_bytes_that_decode_are_the_encoding_of_what_they_decode_to(
            mut bytes in keys().prop_map(|key| key.encode().unwrap().to_vec()),
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            for (index, byte) in flips {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            if let Ok(key) = Key::decode(&bytes) {
                prop_assert_eq!(&key.encode().unwrap()[..], &bytes[..]);
            }
        }
    }

    #[test]
    fn the_encoding_is_as_documented() {
        assert_eq!(encode_key("é").unwrap()[..], [1, 0xc3, 0xa9]);
        assert_eq!(encode_key(&-2).unwrap()[..], [2, 0xfe, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!(encode_key(&("a", (), 1)).unwrap()[..], [3, 2, 0, 0, 0, 1, b'a', 1, 0, 0, 0, 3, 9, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn all_ways_to_name_a_key_encode_alike() {
        let expected = Key::from("ab").encode().unwrap();
        let owned = String::from("ab");
        for encoded in [
            encode_key("ab"),
            encode_key(&owned),
            encode_key(&&owned),
            encode_key(&Cow::Borrowed("ab")),
            encode_key(&Box::<str>::from("ab")),
            encode_key(&std::sync::Arc::<str>::from("ab")),
        ] {
            assert_eq!(encoded.unwrap()[..], expected[..]);
        }
        let tuple = encode_key(&(1, 2)).unwrap();
        assert_eq!(encode_key(&[1, 2]).unwrap()[..], tuple[..]);
        assert_eq!(encode_key(&vec![Key::from(1), Key::from(2)]).unwrap()[..], tuple[..]);
        assert_eq!(encode_key(&Key::from((1_u8, 2_i64))).unwrap()[..], tuple[..]);
    }

    #[test]
    fn what_cannot_be_a_key_is_refused() {
        for text in ["1.5", "1.0", "true", "null", "{}", "[1.5]", "9223372036854775808", "", "1 2", "[\"a\""] {
            assert_eq!(Key::from_json(text).unwrap_err().kind(), ErrorKind::InvalidKey, "{text}");
        }
        assert!(u64::MAX.to_key().unwrap_err().to_string().contains("18446744073709551615"));
        assert_eq!(Key::try_from(usize::MAX).unwrap_err().kind(), ErrorKind::InvalidKey);
        let error = encode_key(&"long".repeat(20_000)).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidKey);
        assert!(error.to_string().contains("longlong") && error.to_string().len() < 300);
        assert!(encode_key(&"x".repeat(KEY_BYTES_MAX - 1)).is_ok());
        assert!(encode_key(&"x".repeat(KEY_BYTES_MAX)).is_err());
        assert!(encode_key(&["x".repeat(40_000), "y".repeat(40_000)]).is_err());
    }

    #[test]
    fn nesting_is_limited_everywhere() {
        let deepest = nested(KEY_DEPTH_MAX);
        assert_eq!(Key::decode(&deepest.encode().unwrap()), Ok(deepest.clone()));
        assert_eq!(Key::from_json(&deepest.to_json()).unwrap(), deepest);
        let deeper = nested(KEY_DEPTH_MAX + 1);
        assert_eq!(deeper.encode().err().unwrap().kind(), ErrorKind::InvalidKey);
        assert!(Key::from_json(&deeper.to_json()).is_err());
        let mut bytes = vec![2; 9];
        for _ in 0..5_000 {
            bytes = [&[TUPLE][..], &(bytes.len() as u32).to_le_bytes(), &bytes].concat();
        }
        assert!(Key::decode(&bytes).is_err());
    }

    #[test]
    fn short_keys_stay_on_the_stack() {
        assert!(!encode_key("a url of about fifty bytes, as a crawler has them").unwrap().bytes.spilled());
        assert!(!encode_key(&("a", 1, "c")).unwrap().bytes.spilled());
    }
}
