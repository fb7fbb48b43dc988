//! Packed arrays read as a `Vec` of numbers: converted in one go, where serde would ask for one element after the other.

use castaway::{LifetimeFree, cast};
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;
use std::any::TypeId;
use std::fmt;

use rkyv::rend::unaligned::f64_ule;

use crate::value::archive::elements::Elements;

/// What `V` would make of `elements`, if `V` is the visitor with which serde reads a `Vec` of numbers. `None` for all other visitors,
/// and if an element is no such number: then the visitor has to say what it makes of it.
#[inline]
pub(super) fn read_whole<'a, V: Visitor<'a>>(elements: Elements<'a>) -> Option<V::Value> {
    let mut value = None;
    // One of them at most does anything; which one is known when this is compiled.
    fill::<V, u8>(elements, &mut value);
    fill::<V, u16>(elements, &mut value);
    fill::<V, u32>(elements, &mut value);
    fill::<V, u64>(elements, &mut value);
    fill::<V, usize>(elements, &mut value);
    fill::<V, i16>(elements, &mut value);
    fill::<V, i32>(elements, &mut value);
    fill::<V, i64>(elements, &mut value);
    fill::<V, f32>(elements, &mut value);
    fill::<V, f64>(elements, &mut value);
    value
}

#[inline]
fn fill<'a, V: Visitor<'a>, T: Packed>(elements: Elements<'a>, value: &mut Option<V::Value>) {
    if let Ok(vector) = cast!(value, &mut Option<Vec<T>>)
        && visitor_of_vec::<T>() == Some(typeid::of::<V>())
    {
        *vector = T::all(elements);
    }
}

/// The type of the visitor with which serde reads a `Vec<T>`. Others that make a `Vec<T>` may do so in any way: that of a
/// `deserialize_with` may turn it round.
#[inline]
fn visitor_of_vec<'a, T: Deserialize<'a>>() -> Option<TypeId> {
    Vec::<T>::deserialize(Asked).err().and_then(|Answer(visitor)| visitor)
}

/// A deserializer without a value, which answers with the type of the visitor that it is given for a sequence.
struct Asked;

#[derive(Debug)]
struct Answer(Option<TypeId>);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no value")
    }
}

impl std::error::Error for Answer {}

impl serde::de::Error for Answer {
    fn custom<M: fmt::Display>(_message: M) -> Answer {
        Answer(None)
    }
}

impl<'de> Deserializer<'de> for Asked {
    type Error = Answer;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Answer> {
        Err(Answer(None))
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Answer> {
        Err(Answer(Some(typeid::of::<V>())))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

/// A number that packed arrays are read as.
trait Packed: LifetimeFree + for<'a> Deserialize<'a> {
    /// All of the elements, as serde would read them one by one; `None` if they are not packed or one of them does not fit.
    fn all(elements: Elements<'_>) -> Option<Vec<Self>>;
}

/// Each loop is one that the compiler turns into instructions for many elements at once.
fn convert<S, T>(elements: &[S], fits: impl Fn(&S) -> bool, convert: impl Fn(&S) -> T) -> Option<Vec<T>> {
    elements.iter().fold(true, |all, element| all & fits(element)).then(|| elements.iter().map(convert).collect())
}

macro_rules! integers {
    ($($type:ty),*) => {
        $(impl Packed for $type {
            fn all(elements: Elements<'_>) -> Option<Vec<$type>> {
                match elements {
                    Elements::Bytes(bytes) => Some(bytes.iter().map(|byte| <$type>::from(*byte)).collect()),
                    Elements::Ints(integers) => {
                        convert(integers, |integer| <$type>::try_from(integer.to_native()).is_ok(), |integer| integer.to_native() as $type)
                    }
                    Elements::Floats(_) | Elements::Nodes(_) => None,
                }
            }
        })*
    };
}

integers!(u8, u16, u32, u64, usize, i16, i32, i64);

macro_rules! floats {
    ($($type:ty: $fits:expr),*) => {
        $(impl Packed for $type {
            fn all(elements: Elements<'_>) -> Option<Vec<$type>> {
                match elements {
                    Elements::Bytes(bytes) => Some(bytes.iter().map(|byte| <$type>::from(*byte)).collect()),
                    // The few larger ones that it holds exactly are left to who reads one by one.
                    Elements::Ints(integers) => convert(
                        integers,
                        |integer| integer.to_native().unsigned_abs() <= 1 << <$type>::MANTISSA_DIGITS,
                        |integer| integer.to_native() as $type,
                    ),
                    Elements::Floats(floats) => convert(floats, $fits, |float| float.to_native() as $type),
                    Elements::Nodes(_) => None,
                }
            }
        })*
    };
}

floats!(f32: is_finite_as_f32, f64: |_| true);

fn is_finite_as_f32(float: &f64_ule) -> bool {
    (float.to_native() as f32).is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A deserializer that reads sequences whole, or not at all.
    struct OnlyWhole<'a>(Elements<'a>);

    impl<'a> Deserializer<'a> for OnlyWhole<'a> {
        type Error = Answer;

        fn deserialize_any<V: Visitor<'a>>(self, _visitor: V) -> Result<V::Value, Answer> {
            Err(Answer(None))
        }

        fn deserialize_seq<V: Visitor<'a>>(self, _visitor: V) -> Result<V::Value, Answer> {
            read_whole::<V>(self.0).ok_or(Answer(None))
        }

        forward_to_deserialize_any! {
            <V: Visitor<'a>>
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
            tuple tuple_struct map struct enum identifier ignored_any
        }
    }

    #[test]
    fn vectors_of_numbers_are_read_whole_and_nothing_else_is() {
        macro_rules! read {
            ($($type:ty)*) => {$(assert_eq!(Vec::<$type>::deserialize(OnlyWhole(Elements::Bytes(&[1, 255]))).unwrap(), [1 as $type, 255 as $type]);)*};
        }
        read!(u8 u16 u32 u64 usize i16 i32 i64 f32 f64);
        let integers = [256.into(), (-1).into()];
        assert_eq!(Vec::<i64>::deserialize(OnlyWhole(Elements::Ints(&integers))).unwrap(), [256, -1]);
        assert_eq!(Box::<[f64]>::deserialize(OnlyWhole(Elements::Floats(&[0.5.into()]))).unwrap()[..], [0.5]);
        // The visitor says what is wrong with these.
        assert!(Vec::<u8>::deserialize(OnlyWhole(Elements::Ints(&integers))).is_err());
        assert!(Vec::<f32>::deserialize(OnlyWhole(Elements::Floats(&[1e300.into()]))).is_err());
        assert!(VecDeque::<u8>::deserialize(OnlyWhole(Elements::Bytes(&[1]))).is_err());
        assert!(Vec::<Option<u8>>::deserialize(OnlyWhole(Elements::Bytes(&[1]))).is_err());
    }
}
