//! Keys as serde has them: a string, an integer, or an array of keys.

use super::Key;
use crate::limits::KEY_DEPTH_MAX;
use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use std::fmt;

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Key::Integer(value) => serializer.serialize_i64(*value),
            Key::String(text) => serializer.serialize_str(text),
            Key::Tuple(elements) => serializer.collect_seq(elements),
        }
    }
}

impl<'de> de::Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Key, D::Error> {
        Nested { depth_left: KEY_DEPTH_MAX }.deserialize(deserializer)
    }
}

/// Reads a key inside so many tuples less than the greatest depth.
#[derive(Clone, Copy)]
struct Nested {
    depth_left: usize,
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key: a string, an integer that fits an i64, or an array of keys")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Key, E> {
        Ok(Key::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Key, E> {
        i64::try_from(value).map(Key::Integer).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Key, E> {
        Ok(Key::String(text.to_owned()))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Key, E> {
        Ok(Key::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Key, A::Error> {
        let Some(depth_left) = self.depth_left.checked_sub(1) else {
            return Err(de::Error::custom(format_args!("a key nests tuples at most {KEY_DEPTH_MAX} deep")));
        };
        let mut elements = Vec::new();
        while let Some(element) = sequence.next_element_seed(Nested { depth_left })? {
            elements.push(element);
        }
        Ok(Key::Tuple(elements))
    }
}
