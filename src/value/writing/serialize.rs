//! Serde's way into an archive: any `Serialize` is written with the shape that `serde_json` would give it.

use serde::Serialize;
use serde::ser::{self, Serializer};

use crate::value::archive::fault::Fault;
use crate::value::archive::number::{self, ShortText};
use crate::value::archive::text::{RAW_NUMBER, RAW_VALUE};
use crate::value::writing::json;
use crate::value::writing::writer::{Begun, Cell, Writer};

/// A container on its way, and the object around it where it is an enum variant with data.
pub(in crate::value) struct Compound<'w, 'o> {
    writer: &'w mut Writer<'o>,
    shape: Shape,
    variant: Option<Begun>,
}

enum Shape {
    Array(Begun),
    Object(Begun),
    /// The one field is JSON text.
    Raw,
}

impl<'w, 'o> Compound<'w, 'o> {
    fn array(writer: &'w mut Writer<'o>, variant: Option<&'static str>) -> Result<Self, Fault> {
        let variant = variant.map(|name| begin_variant(writer, name)).transpose()?;
        Ok(Compound { shape: Shape::Array(writer.begin()?), writer, variant })
    }

    fn object(writer: &'w mut Writer<'o>, variant: Option<&'static str>) -> Result<Self, Fault> {
        let variant = variant.map(|name| begin_variant(writer, name)).transpose()?;
        Ok(Compound { shape: Shape::Object(writer.begin()?), writer, variant })
    }

    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        value.serialize(&mut *self.writer)
    }

    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Fault> {
        if let Shape::Raw = self.shape {
            return raw(self.writer, value);
        }
        self.writer.text(name)?;
        value.serialize(&mut *self.writer)
    }

    #[inline]
    fn finish(self) -> Result<(), Fault> {
        match self.shape {
            Shape::Array(begun) => self.writer.end_array(begun)?,
            Shape::Object(begun) => self.writer.end_object(begun)?,
            Shape::Raw => (),
        }
        self.variant.map_or(Ok(()), |begun| self.writer.end_object(begun))
    }
}

fn begin_variant(writer: &mut Writer<'_>, name: &'static str) -> Result<Begun, Fault> {
    let begun = writer.begin()?;
    writer.text(name)?;
    Ok(begun)
}

/// Writes a value that serialises as JSON text as what the text denotes.
#[cold]
fn raw<T: Serialize + ?Sized>(writer: &mut Writer<'_>, value: &T) -> Result<(), Fault> {
    value.serialize(&mut *writer)?;
    let text = writer.take_text()?;
    json::write_text(&text, writer)
}

/// Turns the key that was written last into text, as JSON wants keys.
fn name_key(writer: &mut Writer<'_>) -> Result<(), Fault> {
    use crate::value::archive::archived::tag;
    use std::fmt::Write;
    match writer.last().map(Cell::parts) {
        Some((tag::TEXT, _)) => Ok(()),
        Some((tag::NUMBER, _)) => {
            let digits = writer.take_text()?;
            writer.text(&digits)
        }
        Some((kind @ (tag::INT | tag::UINT | tag::FLOAT | tag::FALSE | tag::TRUE), payload)) => {
            let mut text = ShortText::default();
            let written = match kind {
                tag::INT => write!(text, "{}", payload as i64),
                tag::UINT => write!(text, "{payload}"),
                tag::FLOAT => text.write_float(f64::from_bits(payload)),
                kind => write!(text, "{}", kind == tag::TRUE),
            };
            written.map_err(|_| Fault::invalid("a number that is too long for a key"))?;
            writer.pop();
            writer.text(text.as_str())
        }
        _ => Err(Fault::invalid("a key of an object must be a string, a number or a boolean")),
    }
}

macro_rules! integers {
    ($($method:ident: $type:ty),*) => {
        $(#[inline]
        fn $method(self, value: $type) -> Result<(), Fault> {
            self.push(Cell::int(i64::from(value)))
        })*
    };
}

impl<'w, 'o> Serializer for &'w mut Writer<'o> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Compound<'w, 'o>;
    type SerializeTuple = Compound<'w, 'o>;
    type SerializeTupleStruct = Compound<'w, 'o>;
    type SerializeTupleVariant = Compound<'w, 'o>;
    type SerializeMap = Compound<'w, 'o>;
    type SerializeStruct = Compound<'w, 'o>;
    type SerializeStructVariant = Compound<'w, 'o>;

    integers!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64);
    integers!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32);

    #[inline]
    fn serialize_bool(self, value: bool) -> Result<(), Fault> {
        self.bool(value)
    }

    #[inline]
    fn serialize_u64(self, value: u64) -> Result<(), Fault> {
        self.push(Cell::uint(value))
    }

    fn serialize_i128(self, value: i128) -> Result<(), Fault> {
        match (i64::try_from(value), u64::try_from(value)) {
            (Ok(value), _) => self.serialize_i64(value),
            (_, Ok(value)) => self.serialize_u64(value),
            _ => self.number(&value.to_string()),
        }
    }

    fn serialize_u128(self, value: u128) -> Result<(), Fault> {
        match u64::try_from(value) {
            Ok(value) => self.serialize_u64(value),
            _ => self.number(&value.to_string()),
        }
    }

    fn serialize_f32(self, value: f32) -> Result<(), Fault> {
        self.serialize_f64(number::widened(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), Fault> {
        if !value.is_finite() {
            return Err(Fault::invalid(format!("{value} is not a JSON number; store null or a string instead")));
        }
        self.push(Cell::float(value))
    }

    fn serialize_char(self, value: char) -> Result<(), Fault> {
        self.text(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Fault> {
        self.text(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Fault> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<(), Fault> {
        self.null()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Fault> {
        self.null()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Fault> {
        self.null()
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<(), Fault> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<(), Fault> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        let begun = begin_variant(self, variant)?;
        value.serialize(&mut *self)?;
        self.end_object(begun)
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Self::SerializeSeq, Fault> {
        Compound::array(self, None)
    }

    fn serialize_tuple(self, _length: usize) -> Result<Self::SerializeTuple, Fault> {
        Compound::array(self, None)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Self::SerializeTupleStruct, Fault> {
        Compound::array(self, None)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleVariant, Fault> {
        Compound::array(self, Some(variant))
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Self::SerializeMap, Fault> {
        Compound::object(self, None)
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, _length: usize) -> Result<Self::SerializeStruct, Fault> {
        if name.len() >= RAW_NUMBER.len() && (name == RAW_VALUE || name == RAW_NUMBER) {
            return Ok(Compound { writer: self, shape: Shape::Raw, variant: None });
        }
        Compound::object(self, None)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeStructVariant, Fault> {
        Compound::object(self, Some(variant))
    }
}

impl ser::SerializeSeq for Compound<'_, '_> {
    type Ok = ();
    type Error = Fault;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.element(value)
    }

    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

impl ser::SerializeTuple for Compound<'_, '_> {
    type Ok = ();
    type Error = Fault;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.element(value)
    }

    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Compound<'_, '_> {
    type Ok = ();
    type Error = Fault;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.element(value)
    }

    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

impl ser::SerializeTupleVariant for Compound<'_, '_> {
    type Ok = ();
    type Error = Fault;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.element(value)
    }

    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

impl ser::SerializeMap for Compound<'_, '_> {
    type Ok = ();
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        key.serialize(&mut *self.writer)?;
        name_key(self.writer)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.element(value)
    }

    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

impl ser::SerializeStruct for Compound<'_, '_> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Fault> {
        self.field(name, value)
    }

    #[inline]
    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

impl ser::SerializeStructVariant for Compound<'_, '_> {
    type Ok = ();
    type Error = Fault;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Fault> {
        self.field(name, value)
    }

    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}
