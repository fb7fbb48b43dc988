//! Keys from and to other types.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, Result};
use crate::key::{AsKey, Key};

macro_rules! parts_of_keys {
    ($($type:ty: $kind:literal |$key:ident| $part:expr;)*) => {
        $(
            #[doc = concat!("`TypeMismatch` for a key that is not ", $kind, ".")]
            impl TryFrom<Key> for $type {
                type Error = Error;

                fn try_from($key: Key) -> Result<$type> {
                    let mismatch = |key: &Key| {
                        let (path, expected, found) = (String::new(), $kind, key.kind_name());
                        Error::new(ErrorKind::TypeMismatch { path, expected, found }, format!("the key {} is {found}, not {expected}", key.to_json()))
                    };
                    $part.ok_or_else(|| mismatch(&$key))
                }
            }
        )*
    };
}
parts_of_keys! {
    String: "a string" |key| key.as_str().map(str::to_owned);
    i64: "an integer of 64 bits with a sign" |key| key.as_i64();
    u64: "an integer of 64 bits without a sign" |key| key.as_i64().and_then(|value| u64::try_from(value).ok());
    Vec<Key>: "a tuple" |key| key.as_tuple().map(<[Key]>::to_vec);
}

impl PartialEq<str> for Key {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Key {
    fn eq(&self, other: &&str) -> bool {
        self == *other
    }
}

impl PartialEq<i64> for Key {
    fn eq(&self, other: &i64) -> bool {
        self.as_i64() == Some(*other)
    }
}

impl From<()> for Key {
    fn from((): ()) -> Key {
        Key::Tuple(Vec::new())
    }
}

macro_rules! from_tuples {
    ($($name:ident $index:tt),*) => {
        impl<$($name: Into<Key>),*> From<($($name,)*)> for Key {
            fn from(elements: ($($name,)*)) -> Key {
                Key::Tuple(vec![$(elements.$index.into()),*])
            }
        }
    };
}
for_each_tuple!(from_tuples);

macro_rules! from_integers {
    ($($type:ty),*) => {
        $(impl From<$type> for Key {
            fn from(value: $type) -> Key {
                Key::Integer(i64::from(value))
            }
        })*
    };
}
from_integers!(i8, i16, i32, i64, u8, u16, u32);

macro_rules! try_from_integers {
    ($($type:ty),*) => {
        $(
            /// `InvalidKey` if the number does not fit an `i64`.
            impl TryFrom<$type> for Key {
                type Error = Error;

                fn try_from(value: $type) -> Result<Key> {
                    value.to_key()
                }
            }
        )*
    };
}
try_from_integers!(i128, isize, u64, u128, usize);

impl From<&str> for Key {
    fn from(text: &str) -> Key {
        Key::String(text.to_owned())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Key {
        Key::String(text)
    }
}

impl From<&String> for Key {
    fn from(text: &String) -> Key {
        Key::String(text.clone())
    }
}

impl From<Box<str>> for Key {
    fn from(text: Box<str>) -> Key {
        Key::String(text.into())
    }
}

impl From<Cow<'_, str>> for Key {
    fn from(text: Cow<'_, str>) -> Key {
        Key::String(text.into_owned())
    }
}

impl From<Vec<Key>> for Key {
    fn from(elements: Vec<Key>) -> Key {
        Key::Tuple(elements)
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Key {
        key.clone()
    }
}
