//! Serde's way out of an archive: a `Deserializer` over a node, with the rules of `serde_json`, that lends text in place.

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::value::archive::archived::{ArchivedEntry, ArchivedNode, text_of};
use crate::value::archive::elements::Elements;
use crate::value::archive::fault::Fault;
use crate::value::archive::number;
use crate::value::archive::text::RAW_VALUE;
use crate::value::reading::node::{Node, Shape, rounded};
use crate::value::reading::vectors;

impl<'a> Node<'a> {
    #[inline]
    fn integer<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.shape() {
            Shape::Int(value) => visit_signed(value, visitor),
            Shape::Uint(value) => visitor.visit_u64(value),
            _ => self.deserialize_any(visitor),
        }
    }

    /// An integer of 64 bits, with a sign or without.
    fn whole(self) -> Option<i128> {
        match self.shape() {
            Shape::Int(value) => Some(value.into()),
            Shape::Uint(value) => Some(value.into()),
            _ => None,
        }
    }

    fn float<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.whole() {
            // Serde's own visitor would round it silently.
            Some(value) if value as f64 as i128 != value => Err(rounded(&value.to_string())),
            _ => self.deserialize_any(visitor),
        }
    }

    #[cold]
    fn mismatch<V: Visitor<'a>>(self, visitor: &V) -> Fault {
        Fault::mismatch((visitor as &dyn serde::de::Expected).to_string(), self.kind_name())
    }
}

fn visit_signed<'a, V: Visitor<'a>>(value: i64, visitor: V) -> Result<V::Value, Fault> {
    // As `serde_json` does: what is not negative arrives unsigned.
    match u64::try_from(value) {
        Ok(value) => visitor.visit_u64(value),
        Err(_) => visitor.visit_i64(value),
    }
}

fn visit_array<'a, V: Visitor<'a>>(elements: Elements<'a>, visitor: V) -> Result<V::Value, Fault> {
    // Each with code of its own, so that no element is asked for its kind.
    match elements {
        Elements::Nodes(elements) => visit_elements(elements.iter().map(Node::Whole), visitor),
        Elements::Bytes(elements) => visit_elements(elements.iter().map(Node::Byte), visitor),
        Elements::Ints(elements) => visit_elements(elements.iter().map(Node::Int), visitor),
        Elements::Floats(elements) => visit_elements(elements.iter().map(Node::Float), visitor),
    }
}

#[inline]
fn visit_elements<'a, V: Visitor<'a>>(rest: impl ExactSizeIterator<Item = Node<'a>>, visitor: V) -> Result<V::Value, Fault> {
    let length = rest.len();
    let mut access = ElementAccess { rest, length };
    let value = visitor.visit_seq(&mut access)?;
    if access.rest.len() > 0 {
        let read = length - access.rest.len();
        return Err(Fault::invalid(format!("an array of {length} elements, of which only {read} are wanted")));
    }
    Ok(value)
}

fn visit_object<'a, V: Visitor<'a>>(entries: &'a [ArchivedEntry], visitor: V) -> Result<V::Value, Fault> {
    let mut access = Entries { rest: entries.iter(), current: None };
    let value = visitor.visit_map(&mut access)?;
    if access.rest.len() > 0 {
        return Err(Fault::invalid(format!("an object of {} entries, of which {} are not wanted", entries.len(), access.rest.len())));
    }
    Ok(value)
}

macro_rules! numbers {
    ($($method:ident),*) => {
        $(#[inline]
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self {
                // Told apart here, so that nothing is left to be asked where many are read.
                Node::Byte(value) => visitor.visit_u64(u64::from(*value)),
                Node::Int(value) => visit_signed(value.to_native(), visitor),
                node => node.integer(visitor),
            }
            .map_err(|fault| fault.wanted("an integer"))
        })*
    };
}

macro_rules! texts {
    ($($method:ident $wanted:literal),*) => {
        $(#[inline]
        fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self {
                Node::Whole(ArchivedNode::Text(text)) => visitor.visit_borrowed_str(text_of(text)),
                _ => self.deserialize_any(visitor),
            }
            .map_err(|fault| fault.wanted($wanted))
        })*
    };
}

macro_rules! big_integers {
    ($($method:ident: $type:ty => $visit:ident),*) => {
        $(fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
            if let Shape::Number(digits) = self.shape()
                && let Ok(value) = digits.parse::<$type>()
            {
                return visitor.$visit(value);
            }
            self.deserialize_i64(visitor)
        })*
    };
}

impl<'a> Deserializer<'a> for Node<'a> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.shape() {
            Shape::Null => visitor.visit_unit(),
            Shape::Bool(value) => visitor.visit_bool(value),
            Shape::Int(value) => visit_signed(value, visitor),
            Shape::Uint(value) => visitor.visit_u64(value),
            Shape::Float(value) => visitor.visit_f64(value),
            Shape::Number(digits) => match number::exact_float(digits) {
                Some(value) => visitor.visit_f64(value),
                None => Err(rounded(digits)),
            },
            Shape::Text(text) => visitor.visit_borrowed_str(text),
            Shape::Array(elements) => visit_array(elements, visitor),
            Shape::Object(entries) => visit_object(entries, visitor),
        }
    }

    numbers!(deserialize_i8, deserialize_i16, deserialize_i32, deserialize_i64);
    numbers!(deserialize_u8, deserialize_u16, deserialize_u32, deserialize_u64);
    texts!(deserialize_str "a string", deserialize_string "a string", deserialize_char "a string of one character");
    texts!(deserialize_identifier "a string");
    big_integers!(deserialize_i128: i128 => visit_i128, deserialize_u128: u128 => visit_u128);

    #[inline]
    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.as_bool() {
            Some(value) => visitor.visit_bool(value),
            None => self.deserialize_any(visitor),
        }
        .map_err(|fault| fault.wanted("a boolean"))
    }

    fn deserialize_f32<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        // Serde's own visitor would round these integers silently, and make these floats infinite.
        let float = match self.shape() {
            Shape::Float(value) => Some(value),
            Shape::Number(digits) => number::exact_float(digits),
            _ => None,
        };
        match (self.whole(), float) {
            (Some(value), _) if value as f32 as i128 != value => Err(rounded(&value.to_string())),
            (_, Some(value)) if (value as f32).is_infinite() => {
                Err(Fault::invalid(format!("the number {value:e} does not fit an f32; read it as an f64")))
            }
            _ => self.deserialize_f64(visitor),
        }
    }

    #[inline]
    fn deserialize_f64<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Node::Float(value) => visitor.visit_f64(value.to_native()),
            node => node.float(visitor),
        }
        .map_err(|fault| fault.wanted("a number"))
    }

    #[inline]
    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_any(visitor).map_err(|fault| fault.wanted("null"))
    }

    fn deserialize_unit_struct<V: Visitor<'a>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        if name == RAW_VALUE {
            let mut text = String::new();
            self.write_json(&mut text);
            return visitor.visit_map(RawText(Some(text)));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_bytes<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.elements() {
            Some(Elements::Bytes(bytes)) => visitor.visit_borrowed_bytes(bytes),
            Some(elements) if elements.is_empty() => visitor.visit_borrowed_bytes(&[]),
            _ => self.deserialize_any(visitor),
        }
        .map_err(|fault| fault.wanted("an array of bytes or a string"))
    }

    fn deserialize_byte_buf<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_seq<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.elements() {
            Some(elements) => match vectors::read_whole::<V>(elements) {
                Some(value) => Ok(value),
                None => visit_array(elements, visitor),
            },
            None => Err(self.mismatch(&visitor)),
        }
        .map_err(|fault| fault.wanted("an array"))
    }

    fn deserialize_tuple<V: Visitor<'a>>(self, _length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'a>>(self, _name: &'static str, _length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.shape() {
            Shape::Object(entries) => visit_object(entries, visitor),
            _ => Err(self.mismatch(&visitor)),
        }
        .map_err(|fault| fault.wanted("an object"))
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'a>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.shape() {
            Shape::Object(entries) => visit_object(entries, visitor),
            Shape::Array(elements) => visit_array(elements, visitor),
            _ => Err(self.mismatch(&visitor)),
        }
        .map_err(|fault| fault.wanted("an object"))
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.shape() {
            Shape::Text(name) => visitor.visit_enum(Variant { name, data: None }),
            Shape::Object([entry]) => visitor.visit_enum(Variant { name: entry.key(), data: Some(Node::Whole(&entry.value)) }),
            Shape::Object(entries) => Err(Fault::invalid(format!("an object of {} entries; a variant of an enum has one", entries.len()))),
            _ => Err(Fault::mismatch("a string or an object of one entry", self.kind_name())),
        }
        .map_err(|fault| fault.wanted("a string or an object of one entry"))
    }

    #[inline]
    fn deserialize_ignored_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }
}

impl<'a> IntoDeserializer<'a, Fault> for Node<'a> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

struct ElementAccess<I> {
    rest: I,
    length: usize,
}

impl<'a, I: ExactSizeIterator<Item = Node<'a>>> SeqAccess<'a> for ElementAccess<I> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(element) = self.rest.next() else { return Ok(None) };
        seed.deserialize(element).map(Some).map_err(|fault| fault.below(self.length - self.rest.len() - 1))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Entries<'a> {
    rest: std::slice::Iter<'a, ArchivedEntry>,
    current: Option<&'a ArchivedEntry>,
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        self.current = self.rest.next();
        self.current.map(|entry| seed.deserialize(Name(entry.key())).map_err(|fault| fault.of_key(entry.key()))).transpose()
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some(entry) = self.current.take() else {
            return Err(Fault::invalid("a value was read before its key"));
        };
        seed.deserialize(Node::Whole(&entry.value)).map_err(|fault| fault.below(entry.key()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

/// The key of an entry: text, that also reads as the number or boolean it spells.
struct Name<'a>(&'a str);

macro_rules! named_numbers {
    ($($method:ident: $type:ty => $visit:ident),*) => {
        $(fn $method<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
            // `parse` takes more than JSON does: a plus sign, inf, nan.
            match number::classify(self.0).and_then(|_| self.0.parse::<$type>().ok()) {
                Some(value) => visitor.$visit(value),
                None => visitor.visit_borrowed_str(self.0),
            }
        })*
    };
}

impl<'a> Deserializer<'a> for Name<'a> {
    type Error = Fault;

    #[inline]
    fn deserialize_any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_borrowed_str(self.0)
    }

    named_numbers!(deserialize_i8: i8 => visit_i8, deserialize_i16: i16 => visit_i16, deserialize_i32: i32 => visit_i32);
    named_numbers!(deserialize_i64: i64 => visit_i64, deserialize_i128: i128 => visit_i128, deserialize_u8: u8 => visit_u8);
    named_numbers!(deserialize_u16: u16 => visit_u16, deserialize_u32: u32 => visit_u32, deserialize_u64: u64 => visit_u64);
    named_numbers!(deserialize_u128: u128 => visit_u128, deserialize_f32: f32 => visit_f32, deserialize_f64: f64 => visit_f64);

    fn deserialize_bool<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            text => Err(Fault::invalid_type(Unexpected::Str(text), &visitor)),
        }
    }

    fn deserialize_option<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'a>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'a>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_enum(Variant { name: self.0, data: None })
    }

    forward_to_deserialize_any! {
        <V: Visitor<'a>>
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// A variant of an enum: text, or the one entry of an object.
struct Variant<'a> {
    name: &'a str,
    data: Option<Node<'a>>,
}

impl<'a> EnumAccess<'a> for Variant<'a> {
    type Error = Fault;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'a>>(self, seed: V) -> Result<(V::Value, Self), Fault> {
        Ok((seed.deserialize(Name(self.name))?, self))
    }
}

impl<'a> Variant<'a> {
    fn data(&self, wanted: &'static str) -> Result<Node<'a>, Fault> {
        self.data.ok_or_else(|| Fault::mismatch(format!("the variant {} with {wanted}", self.name), "a string"))
    }
}

impl<'a> VariantAccess<'a> for Variant<'a> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.data {
            None => Ok(()),
            Some(data) => <() as serde::Deserialize>::deserialize(data).map_err(|fault| fault.below(self.name)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.data("a value")?).map_err(|fault| fault.below(self.name))
    }

    fn tuple_variant<V: Visitor<'a>>(self, _length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.data("an array")?.deserialize_seq(visitor).map_err(|fault| fault.below(self.name))
    }

    fn struct_variant<V: Visitor<'a>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Fault> {
        self.data("an object")?.deserialize_struct("", fields, visitor).map_err(|fault| fault.below(self.name))
    }
}

/// The JSON text of a node, as `serde_json::value::RawValue` wants it.
struct RawText(Option<String>);

impl<'a> MapAccess<'a> for RawText {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        if self.0.is_none() {
            return Ok(None);
        }
        seed.deserialize(BorrowedStrDeserializer::new(RAW_VALUE)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        seed.deserialize(self.0.take().unwrap_or_default().into_deserializer())
    }
}
