//! Values as they are stored: JSON in an archive that is read in place.
//!
//! Writing and reading stand beside each other over what is archived, and neither knows the other; `editing` knows both.
//!
//! # Layout
//!
//! An archive is a run of bytes that may stand at any address. It is made of *nodes* of 9 bytes; the node of the whole value is
//! at its very end. All numbers are little-endian, and positions are relative to the first byte of the payload (of the
//! text, for keys) that holds them, as 32-bit signed numbers.
//!
//! | node, byte 0 | bytes 1 to 8, the payload |
//! |---|---|
//! | 0 null, 1 false, 2 true | zero |
//! | 3 integer | `i64` |
//! | 4 integer greater than `i64::MAX` | `u64` |
//! | 5 float | `f64`, finite |
//! | 6 number that none of these holds | text: its digits, as in JSON |
//! | 7 string | text |
//! | 8 array | position of its nodes, which are adjacent (4 bytes), and their count (4 bytes) |
//! | 9 object | position of its entries, which are adjacent (4 bytes), and their count (4 bytes) |
//! | 10 array of integers from 0 to 255 | position of its elements, which are adjacent (4 bytes), and their count (4 bytes). An element is a byte |
//! | 11 array of integers | the same. An element is an `i64` |
//! | 12 array of floats | the same. An element is an `f64`, finite |
//!
//! An entry of an object is 17 bytes: the text of its key (8), then its node (9). Keys are unique and keep their order.
//!
//! | text | 8 bytes |
//! |---|---|
//! | of at most 8 bytes | the text, padded with ff |
//! | longer | its length (4 bytes: the low 6 bits, then binary 10, then the rest), its position (4 bytes) |
//!
//! The last three are *packed*. The writer packs every array that has elements and can be packed, in the narrowest form that holds it, so one value
//! has one form; no reader relies on that, and an array of nodes may hold anything.
//!
//! What nodes point to is written in the order of the nodes, each before the array or the entries it belongs to, and nothing
//! is shared. So all that is below a node, or below neighbouring nodes, is one run of bytes, and an edit copies it whole.
//!
//! # Validity
//!
//! [`validate`] accepts exactly: every position leads to bytes of the archive that nothing else has led to, in the said order; text
//! is UTF-8; numbers and short texts have the one form given above; packed arrays have elements; keys are unique; arrays and objects are nested at
//! most [`VALUE_DEPTH_MAX`](crate::limits::VALUE_DEPTH_MAX) deep. These are rkyv's archives, and its checks.

mod archive;
mod editing;
mod reading;
#[cfg(test)]
mod tests;
mod writing;

pub(crate) use archive::archived::{Archive, validate};
pub(crate) use archive::number::widened;
pub(crate) use archive::text::write_string;
pub(crate) use editing::edit::{Edit, Outcome, apply};
pub(crate) use editing::sum::Number;
pub(crate) use editing::task::{Change, Task, change, field};
pub(crate) use reading::node::Node;
pub(crate) use reading::path::{Step, parse_pointer, place_of, pointer_of, resolve};
pub(crate) use writing::encode::{encode, encode_json};
#[cfg(any(test, tastypod_fuzzing))]
pub(crate) use writing::stored::Encoded;
pub(crate) use writing::stored::{Arena, Span};
