//! Reading one node of an archive in place.

use std::collections::HashMap;
use std::fmt::Write;

use serde::Serialize;
use serde::ser::{SerializeMap, SerializeStruct, Serializer};
use serde_json::Value;

use crate::error::Result;
use crate::value::archive::archived::{self, Archive, ArchivedEntry, ArchivedNode, find_entry, text_of};
pub(crate) use crate::value::archive::elements::Node;
use crate::value::archive::elements::{Elements, Nodes};
use crate::value::archive::fault::Fault;
use crate::value::archive::number::{self, ShortText};
use crate::value::archive::text::{RAW_VALUE, write_string};

/// What a node is, with its contents in native form.
pub(in crate::value) enum Shape<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Number(&'a str),
    Text(&'a str),
    Array(Elements<'a>),
    Object(&'a [ArchivedEntry]),
}

impl<'a> Archive<'a> {
    /// The whole value.
    #[inline]
    pub(crate) fn node(self) -> Node<'a> {
        Node::Whole(self.root())
    }
}

impl<'a> Node<'a> {
    #[inline]
    pub(in crate::value) fn shape(self) -> Shape<'a> {
        let node = match self {
            Node::Whole(node) => node,
            Node::Byte(value) => return Shape::Int(i64::from(*value)),
            Node::Int(value) => return Shape::Int(value.to_native()),
            Node::Float(value) => return Shape::Float(value.to_native()),
        };
        match node {
            ArchivedNode::Null => Shape::Null,
            ArchivedNode::False => Shape::Bool(false),
            ArchivedNode::True => Shape::Bool(true),
            ArchivedNode::Int(value) => Shape::Int(value.to_native()),
            ArchivedNode::Uint(value) => Shape::Uint(value.to_native()),
            ArchivedNode::Float(value) => Shape::Float(value.to_native()),
            ArchivedNode::Number(digits) => Shape::Number(text_of(digits)),
            ArchivedNode::Text(text) => Shape::Text(text_of(text)),
            ArchivedNode::Object(entries) => Shape::Object(entries.as_slice()),
            ArchivedNode::Array(elements) => Shape::Array(Elements::Nodes(elements.as_slice())),
            ArchivedNode::Bytes(elements) => Shape::Array(Elements::Bytes(elements.as_slice())),
            ArchivedNode::Ints(elements) => Shape::Array(Elements::Ints(elements.as_slice())),
            ArchivedNode::Floats(elements) => Shape::Array(Elements::Floats(elements.as_slice())),
        }
    }

    /// What the node is, for messages and `TypeMismatch`.
    pub(crate) fn kind_name(self) -> &'static str {
        match self.shape() {
            Shape::Null => "null",
            Shape::Bool(_) => "a boolean",
            Shape::Int(_) | Shape::Uint(_) => "an integer",
            Shape::Float(_) => "a float",
            Shape::Number(digits) if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') => "an integer",
            Shape::Number(_) => "a float",
            Shape::Text(_) => "a string",
            Shape::Array(_) => "an array",
            Shape::Object(_) => "an object",
        }
    }

    pub(crate) fn is_null(self) -> bool {
        matches!(self, Node::Whole(ArchivedNode::Null))
    }

    pub(crate) fn is_array(self) -> bool {
        self.elements().is_some()
    }

    pub(crate) fn is_object(self) -> bool {
        matches!(self, Node::Whole(ArchivedNode::Object(_)))
    }

    pub(crate) fn as_bool(self) -> Option<bool> {
        match self {
            Node::Whole(ArchivedNode::True) => Some(true),
            Node::Whole(ArchivedNode::False) => Some(false),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn as_i64(self) -> Option<i64> {
        if let Shape::Int(value) = self.shape() { Some(value) } else { None }
    }

    pub(crate) fn as_u64(self) -> Option<u64> {
        match self.shape() {
            Shape::Int(value) => u64::try_from(value).ok(),
            Shape::Uint(value) => Some(value),
            _ => None,
        }
    }

    /// Any number as the float nearest to it, as `serde_json` does; `None` if it is out of range.
    pub(crate) fn as_f64(self) -> Option<f64> {
        match self.shape() {
            Shape::Int(value) => Some(value as f64),
            Shape::Uint(value) => Some(value as f64),
            Shape::Float(value) => Some(value),
            Shape::Number(digits) => digits.parse().ok().filter(|value: &f64| value.is_finite()),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn as_str(self) -> Option<&'a str> {
        if let Node::Whole(ArchivedNode::Text(text)) = self { Some(text_of(text)) } else { None }
    }

    /// How many elements, entries, or bytes of text; 0 for anything else.
    pub(crate) fn len(self) -> usize {
        match self.shape() {
            Shape::Text(text) => text.len(),
            Shape::Array(elements) => elements.len(),
            Shape::Object(entries) => entries.len(),
            _ => 0,
        }
    }

    /// The value of `key` in an object.
    #[inline]
    pub(crate) fn get(self, key: &str) -> Option<Node<'a>> {
        let Node::Whole(ArchivedNode::Object(entries)) = self else { return None };
        let entries = entries.as_slice();
        find_entry(entries, key).map(|index| Node::Whole(&entries[index].value))
    }

    /// An element of an array; a negative index counts from the end.
    pub(crate) fn index(self, index: i64) -> Option<Node<'a>> {
        let elements = self.elements()?;
        elements.get(array_index(index, elements.len())?)
    }

    /// The elements of an array; nothing for anything else.
    pub(crate) fn iter(self) -> Nodes<'a> {
        self.elements().map(Elements::iter).unwrap_or_default()
    }

    /// The elements of an array; `None` for anything else.
    #[inline]
    pub(in crate::value) fn elements(self) -> Option<Elements<'a>> {
        if let Node::Whole(node) = self { Elements::of(node) } else { None }
    }

    /// The entries of an object in their order; nothing for anything else.
    pub(crate) fn entries(self) -> impl ExactSizeIterator<Item = (&'a str, Node<'a>)> + DoubleEndedIterator + Clone + use<'a> {
        let entries = if let Node::Whole(ArchivedNode::Object(entries)) = self { entries.as_slice() } else { &[] };
        entries.iter().map(|entry| (entry.key(), Node::Whole(&entry.value)))
    }

    /// How many arrays and objects are nested, this one included.
    #[cfg(any(test, tastypod_fuzzing))]
    pub(crate) fn depth(self) -> usize {
        if let Node::Whole(node) = self { archived::depth(node) } else { 0 }
    }

    /// The value as a `serde_json::Value`; `InvalidValue` if that would round a number.
    pub(crate) fn to_value(self) -> Result<Value> {
        Ok(self.value(|digits| number::exact_float(digits).map(Value::from).ok_or_else(|| rounded(digits)))?)
    }

    /// The value of what is gone: as serde_json reads its text, numbers beyond 64 bits as the nearest float.
    pub(crate) fn to_nearest_value(self) -> Result<Value> {
        let nearest = |digits: &str| digits.parse::<f64>().map(|value| Value::from(value.clamp(f64::MIN, f64::MAX)));
        Ok(self.value(|digits| nearest(digits).map_err(|_| rounded(digits)))?)
    }

    fn value(self, number: impl Fn(&str) -> std::result::Result<Value, Fault> + Copy) -> std::result::Result<Value, Fault> {
        match self.shape() {
            Shape::Array(elements) => {
                let mut values = Vec::with_capacity(elements.len());
                for (index, element) in elements.iter().enumerate() {
                    values.push(element.value(number).map_err(|fault| fault.below(index))?);
                }
                Ok(Value::Array(values))
            }
            Shape::Object(entries) => {
                let mut map = serde_json::Map::with_capacity(entries.len());
                for entry in entries {
                    let key = entry.key().to_owned();
                    // Most are scalars: made in place, a `Value` is not copied once more.
                    let node = Node::Whole(&entry.value);
                    match node.scalar() {
                        Some(value) => map.insert(key, value),
                        None => map.insert(key, node.value(number).map_err(|fault| fault.below(entry.key()))?),
                    };
                }
                Ok(Value::Object(map))
            }
            Shape::Number(digits) => number(digits),
            _ => Ok(self.scalar().unwrap_or_default()),
        }
    }

    #[inline(always)]
    fn scalar(self) -> Option<Value> {
        match self.shape() {
            Shape::Null => Some(Value::Null),
            Shape::Bool(value) => Some(Value::Bool(value)),
            Shape::Int(value) => Some(Value::from(value)),
            Shape::Uint(value) => Some(Value::from(value)),
            Shape::Float(value) => Some(Value::from(value)),
            Shape::Text(text) => Some(Value::from(text)),
            Shape::Number(_) | Shape::Array(_) | Shape::Object(_) => None,
        }
    }

    /// Reads any deserialisable type straight from the archive.
    pub(crate) fn read<T: serde::Deserialize<'a>>(self) -> Result<T> {
        Ok(T::deserialize(self)?)
    }

    /// Appends compact JSON text, the digits of every number untouched.
    pub(crate) fn write_json(self, out: &mut String) {
        // Writing to a `String` cannot fail.
        let _ = self.try_write_json(out);
    }

    fn try_write_json(self, out: &mut String) -> std::fmt::Result {
        match self.shape() {
            Shape::Null => out.push_str("null"),
            Shape::Bool(value) => out.push_str(if value { "true" } else { "false" }),
            Shape::Int(value) => write!(out, "{value}")?,
            Shape::Uint(value) => write!(out, "{value}")?,
            Shape::Float(value) => {
                let mut text = ShortText::default();
                text.write_float(value)?;
                out.push_str(text.as_str());
            }
            Shape::Number(digits) => out.push_str(digits),
            Shape::Text(text) => write_string(out, text)?,
            Shape::Array(elements) => {
                out.push('[');
                for (index, element) in elements.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    element.try_write_json(out)?;
                }
                out.push(']');
            }
            Shape::Object(entries) => {
                out.push('{');
                for (index, entry) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_string(out, entry.key())?;
                    out.push(':');
                    Node::Whole(&entry.value).try_write_json(out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }

    /// Whether both are the same JSON value: 1 is not 1.0, floats compare as floats (0.0 is -0.0), the order of keys does
    /// not matter, and digits that no float holds equal nothing but the same digits.
    pub(crate) fn eq_node(self, other: Node<'_>) -> bool {
        match (self.shape(), other.shape()) {
            (Shape::Null, Shape::Null) => true,
            (Shape::Bool(a), Shape::Bool(b)) => a == b,
            (Shape::Int(a), Shape::Int(b)) => a == b,
            (Shape::Uint(a), Shape::Uint(b)) => a == b,
            (Shape::Float(a), Shape::Float(b)) => a == b,
            (Shape::Text(a), Shape::Text(b)) => a == b,
            (Shape::Number(a), Shape::Number(b)) => a == b || number::exact_float(a).is_some_and(|a| number::exact_float(b) == Some(a)),
            (Shape::Number(a), Shape::Float(b)) | (Shape::Float(b), Shape::Number(a)) => number::exact_float(a) == Some(b),
            (Shape::Array(a), Shape::Array(b)) => eq_elements(a, b),
            (Shape::Object(a), Shape::Object(b)) => a.len() == b.len() && eq_entries(a, b),
            _ => false,
        }
    }

    /// Whether `value` is what [`to_value`](Node::to_value) gives, or would give in another order of keys.
    pub(crate) fn eq_value(self, value: &Value) -> bool {
        match (self.shape(), value) {
            (Shape::Null, Value::Null) => true,
            (Shape::Bool(a), Value::Bool(b)) => a == *b,
            (Shape::Int(a), Value::Number(b)) => b.as_i64() == Some(a),
            (Shape::Uint(a), Value::Number(b)) => b.as_u64() == Some(a),
            (Shape::Float(a), Value::Number(b)) => b.is_f64() && b.as_f64() == Some(a),
            (Shape::Number(a), Value::Number(b)) => b.is_f64() && b.as_f64() == number::exact_float(a),
            (Shape::Text(a), Value::String(b)) => a == b,
            (Shape::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.eq_value(b)),
            (Shape::Object(a), Value::Object(b)) => {
                let is_same = |entry: &ArchivedEntry| b.get(entry.key()).is_some_and(|b| Node::Whole(&entry.value).eq_value(b));
                a.len() == b.len() && a.iter().all(is_same)
            }
            _ => false,
        }
    }
}

fn eq_elements(a: Elements<'_>, b: Elements<'_>) -> bool {
    match (a, b) {
        (Elements::Bytes(a), Elements::Bytes(b)) => a == b,
        (Elements::Ints(a), Elements::Ints(b)) => a == b,
        (a, b) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.eq_node(b)),
    }
}

/// Keys are unique, so objects of one length are equal if each entry of the first is in the second.
fn eq_entries(a: &[ArchivedEntry], b: &[ArchivedEntry]) -> bool {
    let is_same = |a: &ArchivedEntry, b: &ArchivedEntry| Node::Whole(&a.value).eq_node(Node::Whole(&b.value));
    // Mostly the order is the same as well.
    let aligned = a.iter().zip(b).take_while(|(a, b)| a.key() == b.key()).count();
    if !a[..aligned].iter().zip(b).all(|(a, b)| is_same(a, b)) {
        return false;
    }
    let (a, b) = (&a[aligned..], &b[aligned..]);
    if a.len() <= archived::SMALL_OBJECT {
        return a.iter().all(|entry| find_entry(b, entry.key()).is_some_and(|index| is_same(entry, &b[index])));
    }
    let by_key: HashMap<&str, &ArchivedEntry> = b.iter().map(|entry| (entry.key(), entry)).collect();
    a.iter().all(|entry| by_key.get(entry.key()).is_some_and(|b| is_same(entry, b)))
}

/// A number that the wanted type cannot hold.
#[cold]
pub(in crate::value) fn rounded(digits: &str) -> Fault {
    let shown: String = digits.chars().take(60).collect();
    let more = if shown.len() < digits.len() { "…" } else { "" };
    let why = match digits.parse::<f64>() {
        Ok(nearest) if nearest.is_finite() => "would be rounded; as_f64 of a view gives the nearest float",
        _ => "is beyond all floats",
    };
    Fault::invalid(format!("the number {shown}{more} {why}; raw_json and serde_json::value::RawValue keep its digits"))
}

impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.eq_node(*other)
    }
}

impl std::fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = String::new();
        self.write_json(&mut text);
        f.write_str(&text)
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self.shape() {
            Shape::Null => serializer.serialize_unit(),
            Shape::Bool(value) => serializer.serialize_bool(value),
            Shape::Int(value) => serializer.serialize_i64(value),
            Shape::Uint(value) => serializer.serialize_u64(value),
            Shape::Float(value) => serializer.serialize_f64(value),
            Shape::Number(digits) => {
                // As `RawValue` does: our own serialiser and that of `serde_json` keep the digits.
                let mut raw = serializer.serialize_struct(RAW_VALUE, 1)?;
                raw.serialize_field(RAW_VALUE, digits)?;
                raw.end()
            }
            Shape::Text(text) => serializer.serialize_str(text),
            Shape::Array(elements) => serializer.collect_seq(elements.iter()),
            Shape::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for entry in entries {
                    map.serialize_entry(entry.key(), &Node::Whole(&entry.value))?;
                }
                map.end()
            }
        }
    }
}

/// The element that `index` means in an array of `length` elements; negative ones count from the end.
pub(in crate::value) fn array_index(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { length.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)? } else { usize::try_from(index).ok()? };
    (index < length).then_some(index)
}
