//! Adding numbers without rounding integers. Pure.

use serde_json::Value;

use crate::value::writing::writer::Cell;

/// A number that is added, or a sum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    Int(i64),
    /// Greater than `i64::MAX`, when it is a sum.
    Uint(u64),
    Float(f64),
}

impl From<Number> for Value {
    fn from(number: Number) -> Value {
        match number {
            Number::Int(value) => Value::from(value),
            Number::Uint(value) => Value::from(value),
            Number::Float(value) => Value::from(value),
        }
    }
}

/// A number in the form that it is added in.
pub(in crate::value) enum Exact {
    Whole(i128),
    Float(f64),
}

impl From<Number> for Exact {
    fn from(number: Number) -> Exact {
        match number {
            Number::Int(value) => Exact::Whole(value.into()),
            Number::Uint(value) => Exact::Whole(value.into()),
            Number::Float(value) => Exact::Float(value),
        }
    }
}

/// Integers stay exact; with a float the sum is one.
pub(in crate::value) fn add(a: Exact, b: Exact) -> Result<Number, String> {
    let float = |value: Exact| match value {
        Exact::Whole(value) => value as f64,
        Exact::Float(value) => value,
    };
    if let (Exact::Whole(a), Exact::Whole(b)) = (&a, &b) {
        let sum = a.checked_add(*b).ok_or_else(|| format!("the sum of {a} and {b} does not fit 128 bits"))?;
        return match (i64::try_from(sum), u64::try_from(sum)) {
            (Ok(sum), _) => Ok(Number::Int(sum)),
            (_, Ok(sum)) => Ok(Number::Uint(sum)),
            _ => Err(format!("the sum {sum} does not fit an integer of 64 bits; an f64 can be added, and makes it a float")),
        };
    }
    let sum = float(a) + float(b);
    if sum.is_finite() { Ok(Number::Float(sum)) } else { Err("the sum is not a finite number".to_owned()) }
}

pub(in crate::value) fn cell_of(number: Number) -> Cell {
    match number {
        Number::Int(value) => Cell::int(value),
        Number::Uint(value) => Cell::uint(value),
        Number::Float(value) => Cell::float(value),
    }
}
