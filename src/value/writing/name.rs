//! Keys of objects: text, whatever they were serialised as.

use std::fmt::Write;

use crate::value::archive::archived::tag;
use crate::value::archive::fault::Fault;
use crate::value::archive::number::ShortText;
use crate::value::writing::writer::{Cell, Writer};

/// Turns the key that was written last into text, as JSON wants keys.
pub(super) fn name_key(writer: &mut Writer<'_>) -> Result<(), Fault> {
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
