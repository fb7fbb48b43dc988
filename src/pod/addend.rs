//! Numbers that are added at a path.

use crate::value::{self, Number};

/// A number that can be added at a path: an integer that fits 64 bits, or a float.
///
/// ```
/// use tastypod::Addend;
/// let _ = [Addend::from(1i64), Addend::from(2u64), Addend::from(0.5)];
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Addend(pub(super) Number);

macro_rules! addends {
    ($($signed:ty)*; $($unsigned:ty)*) => {
        $(impl From<$signed> for Addend { fn from(value: $signed) -> Addend { Addend(Number::Int(i64::from(value))) } })*
        $(impl From<$unsigned> for Addend {
            fn from(value: $unsigned) -> Addend {
                let value = value as u64;
                Addend(i64::try_from(value).map_or(Number::Uint(value), Number::Int))
            }
        })*
    };
}
addends!(i8 i16 i32 i64; u8 u16 u32 u64 usize);

impl From<isize> for Addend {
    fn from(value: isize) -> Addend {
        Addend(Number::Int(value as i64))
    }
}

impl From<f64> for Addend {
    fn from(value: f64) -> Addend {
        Addend(Number::Float(value))
    }
}

impl From<f32> for Addend {
    fn from(value: f32) -> Addend {
        Addend(Number::Float(value::widened(value)))
    }
}
