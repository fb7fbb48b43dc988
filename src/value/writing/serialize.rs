//! Serde's way into an archive: any `Serialize` is written with the shape that `serde_json` would give it.

use std::marker::PhantomData;

use serde::Serialize;
use serde::ser::{self, Serializer};

use crate::value::archive::fault::Fault;
use crate::value::archive::number;
use crate::value::archive::text::{RAW_NUMBER, RAW_VALUE};
use crate::value::writing::array::{Array, Element};
use crate::value::writing::json;
use crate::value::writing::name::name_key;
use crate::value::writing::writer::{Begun, Cell, Writer};

/// A container on its way, and the object around it where it is an enum variant with data. `R` is what the serialiser that began it returns.
pub(in crate::value) struct Compound<'w, 'o, R> {
    writer: &'w mut Writer<'o>,
    shape: Shape,
    variant: Option<Begun>,
    result: PhantomData<R>,
}

enum Shape {
    Array(Array),
    Object(Begun),
    /// The one field is JSON text.
    Raw,
}

impl<'w, 'o, R: Default> Compound<'w, 'o, R> {
    fn array(writer: &'w mut Writer<'o>, variant: Option<&'static str>) -> Result<Self, Fault> {
        let variant = variant.map(|name| begin_variant(writer, name)).transpose()?;
        Ok(Compound { shape: Shape::Array(writer.begin_array()?), writer, variant, result: PhantomData })
    }

    fn object(writer: &'w mut Writer<'o>, variant: Option<&'static str>) -> Result<Self, Fault> {
        let variant = variant.map(|name| begin_variant(writer, name)).transpose()?;
        Ok(Compound { shape: Shape::Object(writer.begin()?), writer, variant, result: PhantomData })
    }

    #[inline]
    fn structure(writer: &'w mut Writer<'o>, name: &'static str) -> Result<Self, Fault> {
        if name.len() >= RAW_NUMBER.len() && (name == RAW_VALUE || name == RAW_NUMBER) {
            return Ok(Compound { writer, shape: Shape::Raw, variant: None, result: PhantomData });
        }
        Compound::object(writer, None)
    }

    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        let Shape::Array(array) = &mut self.shape else { return value.serialize(&mut *self.writer) };
        let element = value.serialize(InArray { writer: self.writer, array, pending: &[] })?;
        self.writer.put(array, element)
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
    fn finish(self) -> Result<R, Fault> {
        match self.shape {
            Shape::Array(array) => self.writer.end_array(array)?,
            Shape::Object(begun) => self.writer.end_object(begun)?,
            Shape::Raw => (),
        }
        self.variant.map_or(Ok(()), |begun| self.writer.end_object(begun))?;
        Ok(R::default())
    }
}

/// Writes an array whose elements come one after the other.
fn write_elements<I: IntoIterator<Item: Serialize>>(writer: &mut Writer<'_>, elements: I) -> Result<(), Fault> {
    let mut elements = elements.into_iter();
    let mut array = writer.begin_array()?;
    let expected = elements.size_hint().0;
    writer.put_all(&mut array, expected, |writer, array, pending| match elements.next() {
        Some(value) => value.serialize(InArray { writer, array, pending }).map(Some),
        None => Ok(None),
    })?;
    writer.end_array(array)
}

#[inline]
fn finite(value: f64) -> Result<f64, Fault> {
    if value.is_finite() { Ok(value) } else { Err(not_finite(value)) }
}

#[cold]
fn not_finite(value: f64) -> Fault {
    Fault::invalid(format!("{value} is not a JSON number; store null or a string instead"))
}

fn begin_variant(writer: &mut Writer<'_>, name: &'static str) -> Result<Begun, Fault> {
    let begun = writer.begin()?;
    writer.text(name)?;
    Ok(begun)
}

fn write_variant<T: Serialize + ?Sized>(writer: &mut Writer<'_>, name: &'static str, value: &T) -> Result<(), Fault> {
    let begun = begin_variant(writer, name)?;
    value.serialize(&mut *writer)?;
    writer.end_object(begun)
}

/// Writes a value that serialises as JSON text as what the text denotes.
#[cold]
fn raw<T: Serialize + ?Sized>(writer: &mut Writer<'_>, value: &T) -> Result<(), Fault> {
    value.serialize(&mut *writer)?;
    let text = writer.take_text()?;
    json::write_text(&text, writer)
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
    type SerializeSeq = Compound<'w, 'o, ()>;
    type SerializeTuple = Compound<'w, 'o, ()>;
    type SerializeTupleStruct = Compound<'w, 'o, ()>;
    type SerializeTupleVariant = Compound<'w, 'o, ()>;
    type SerializeMap = Compound<'w, 'o, ()>;
    type SerializeStruct = Compound<'w, 'o, ()>;
    type SerializeStructVariant = Compound<'w, 'o, ()>;

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
        self.push(Cell::float(finite(value)?))
    }

    fn serialize_char(self, value: char) -> Result<(), Fault> {
        self.text(value.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Fault> {
        self.text(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Fault> {
        self.bytes(value)
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
        write_variant(self, variant, value)
    }

    fn collect_seq<I: IntoIterator<Item: Serialize>>(self, elements: I) -> Result<(), Fault> {
        write_elements(self, elements)
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
        Compound::structure(self, name)
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

macro_rules! arrays {
    ($($name:ident $method:ident),*) => {
        $(impl<R: Default> ser::$name for Compound<'_, '_, R> {
            type Ok = R;
            type Error = Fault;

            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
                self.element(value)
            }

            fn end(self) -> Result<R, Fault> {
                self.finish()
            }
        })*
    };
}

arrays!(SerializeSeq serialize_element, SerializeTuple serialize_element);
arrays!(SerializeTupleStruct serialize_field, SerializeTupleVariant serialize_field);

impl<R: Default> ser::SerializeMap for Compound<'_, '_, R> {
    type Ok = R;
    type Error = Fault;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        key.serialize(&mut *self.writer)?;
        name_key(self.writer)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        self.element(value)
    }

    fn end(self) -> Result<R, Fault> {
        self.finish()
    }
}

macro_rules! structs {
    ($($name:ident),*) => {
        $(impl<R: Default> ser::$name for Compound<'_, '_, R> {
            type Ok = R;
            type Error = Fault;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Fault> {
                self.field(name, value)
            }

            #[inline]
            fn end(self) -> Result<R, Fault> {
                self.finish()
            }
        })*
    };
}

structs!(SerializeStruct, SerializeStructVariant);

/// Serialises the elements of an array: numbers are returned, to be packed; all else is written as a cell, and what was packed before it
/// becomes cells first.
struct InArray<'w, 'o, 'p> {
    writer: &'w mut Writer<'o>,
    array: &'w mut Array,
    /// The last of the packed elements, which were not put into the array yet.
    pending: &'p [u8],
}

impl<'w, 'o> InArray<'w, 'o, '_> {
    #[inline]
    fn spilled(self) -> Result<&'w mut Writer<'o>, Fault> {
        self.writer.append(self.pending)?;
        self.writer.spill(self.array)?;
        Ok(self.writer)
    }

    #[inline]
    fn written(self, write: impl FnOnce(&mut Writer<'o>) -> Result<(), Fault>) -> Result<Element, Fault> {
        write(self.spilled()?).map(|()| Element::Written)
    }
}

macro_rules! packed {
    ($($method:ident: $type:ty),*) => {
        $(#[inline]
        fn $method(self, value: $type) -> Result<Element, Fault> {
            Ok(Element::Int(i64::from(value)))
        })*
    };
}

macro_rules! large {
    ($($method:ident: $type:ty),*) => {
        $(#[inline]
        fn $method(self, value: $type) -> Result<Element, Fault> {
            match i64::try_from(value) {
                Ok(value) => Ok(Element::Int(value)),
                Err(_) => self.written(|writer| writer.$method(value)),
            }
        })*
    };
}

macro_rules! written {
    ($($method:ident($($argument:ident: $type:ty),*)),*) => {
        $(fn $method(self, $($argument: $type),*) -> Result<Element, Fault> {
            self.written(|writer| writer.$method($($argument),*))
        })*
    };
}

impl<'w, 'o> Serializer for InArray<'w, 'o, '_> {
    type Ok = Element;
    type Error = Fault;
    type SerializeSeq = Compound<'w, 'o, Element>;
    type SerializeTuple = Compound<'w, 'o, Element>;
    type SerializeTupleStruct = Compound<'w, 'o, Element>;
    type SerializeTupleVariant = Compound<'w, 'o, Element>;
    type SerializeMap = Compound<'w, 'o, Element>;
    type SerializeStruct = Compound<'w, 'o, Element>;
    type SerializeStructVariant = Compound<'w, 'o, Element>;

    packed!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64);
    packed!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32);
    large!(serialize_u64: u64, serialize_i128: i128, serialize_u128: u128);
    written!(serialize_bool(value: bool), serialize_char(value: char), serialize_str(value: &str), serialize_bytes(value: &[u8]));
    written!(serialize_none(), serialize_unit(), serialize_unit_struct(name: &'static str));
    written!(serialize_unit_variant(name: &'static str, index: u32, variant: &'static str));

    fn serialize_f32(self, value: f32) -> Result<Element, Fault> {
        self.serialize_f64(number::widened(value))
    }

    #[inline]
    fn serialize_f64(self, value: f64) -> Result<Element, Fault> {
        finite(value).map(Element::Float)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Element, Fault> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<Element, Fault> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Element, Fault> {
        self.written(|writer| write_variant(writer, variant, value))
    }

    fn collect_seq<I: IntoIterator<Item: Serialize>>(self, elements: I) -> Result<Element, Fault> {
        self.written(|writer| write_elements(writer, elements))
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Self::SerializeSeq, Fault> {
        Compound::array(self.spilled()?, None)
    }

    fn serialize_tuple(self, _length: usize) -> Result<Self::SerializeTuple, Fault> {
        Compound::array(self.spilled()?, None)
    }

    fn serialize_tuple_struct(self, _name: &'static str, _length: usize) -> Result<Self::SerializeTupleStruct, Fault> {
        Compound::array(self.spilled()?, None)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeTupleVariant, Fault> {
        Compound::array(self.spilled()?, Some(variant))
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Self::SerializeMap, Fault> {
        Compound::object(self.spilled()?, None)
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, _length: usize) -> Result<Self::SerializeStruct, Fault> {
        Compound::structure(self.spilled()?, name)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Self::SerializeStructVariant, Fault> {
        Compound::object(self.spilled()?, Some(variant))
    }
}
