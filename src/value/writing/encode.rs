//! The ways into an archive: any serialisable value, and JSON text.

use crate::error::Result;
use crate::value::writing::{json, writer};
use serde::Serialize;

/// Appends the archive of any serialisable value to `out`; on an error `out` is as before. Values get the shape that
/// `serde_json` gives them, except that floats which are not finite are an error.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<()> {
    Ok(writer::write(out, |writer| value.serialize(writer))?)
}

/// Appends the archive of one strict JSON text to `out`, no number rounded; on an error, which says where, `out` is as
/// before. Of a key that comes twice the last value counts, at the place of the first.
pub(crate) fn encode_json(text: &str, out: &mut Vec<u8>) -> Result<()> {
    Ok(writer::write(out, |writer| json::write_text(text, writer))?)
}
