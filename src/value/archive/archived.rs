//! The archived form of a value, its validation, and the only unsafe code over it.
//!
//! The types here are rkyv archives: `rkyv` resolves their relative pointers and checks untrusted bytes. What
//! they look like in bytes is in the table at the head of [the module above](crate::value).

use rkyv::bytecheck::{CheckBytes, Verify};
use rkyv::rancor::{self, Fallible, Source, fail};
use rkyv::rend::unaligned::{f64_ule, i64_ule, u64_ule};
use rkyv::string::ArchivedString;
use rkyv::validation::ArchiveContext;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::vec::ArchivedVec;

use crate::limits::{VALUE_BYTES_MAX, VALUE_DEPTH_MAX};
use crate::value::archive::number;

/// Bytes of one archived node: a tag and a payload of eight bytes.
pub(in crate::value) const NODE_BYTES: usize = 9;
/// Bytes of one archived entry of an object: the text of the key, then the node.
pub(in crate::value) const ENTRY_BYTES: usize = 17;
/// Bytes of the payload of a node, and of the text of a key. Text of at most so many bytes stands in place.
pub(in crate::value) const PAYLOAD_BYTES: usize = 8;

const _: () = assert!(size_of::<ArchivedNode>() == NODE_BYTES && align_of::<ArchivedNode>() == 1);
const _: () = assert!(size_of::<ArchivedEntry>() == ENTRY_BYTES && align_of::<ArchivedEntry>() == 1);
const _: () = assert!(size_of::<ArchivedString>() == PAYLOAD_BYTES && size_of::<ArchivedVec<ArchivedNode>>() == PAYLOAD_BYTES);
// Text lengths are stored in 30 bits.
const _: () = assert!(VALUE_BYTES_MAX < 1 << 30);

/// The tags of nodes as they stand in the bytes.
pub(in crate::value) mod tag {
    pub(crate) const NULL: u8 = 0;
    pub(crate) const FALSE: u8 = 1;
    pub(crate) const TRUE: u8 = 2;
    pub(crate) const INT: u8 = 3;
    pub(crate) const UINT: u8 = 4;
    pub(crate) const FLOAT: u8 = 5;
    pub(crate) const NUMBER: u8 = 6;
    pub(crate) const TEXT: u8 = 7;
    pub(crate) const ARRAY: u8 = 8;
    pub(crate) const OBJECT: u8 = 9;
    pub(crate) const BYTES: u8 = 10;
    pub(crate) const INTS: u8 = 11;
    pub(crate) const FLOATS: u8 = 12;
}

/// One archived value. All fields have alignment 1, so it may stand at any address.
#[derive(CheckBytes)]
#[bytecheck(crate = rkyv::bytecheck, verify, bounds(__C: ArchiveContext, __C::Error: Source))]
#[repr(u8)]
// Nodes are made of bytes by the writer, and only looked at as this type.
#[allow(dead_code)]
pub(crate) enum ArchivedNode {
    Null = tag::NULL,
    False = tag::FALSE,
    True = tag::TRUE,
    Int(i64_ule) = tag::INT,
    /// Only what is greater than `i64::MAX`, so that every number has one form.
    Uint(u64_ule) = tag::UINT,
    /// Always finite.
    Float(f64_ule) = tag::FLOAT,
    /// The digits of a number that no `i64`, `u64` or `f64` holds, verbatim.
    Number(ArchivedString) = tag::NUMBER,
    Text(ArchivedString) = tag::TEXT,
    Array(#[bytecheck(omit_bounds)] ArchivedVec<ArchivedNode>) = tag::ARRAY,
    Object(#[bytecheck(omit_bounds)] ArchivedVec<ArchivedEntry>) = tag::OBJECT,
    /// An array of integers from 0 to 255; like the next two never empty.
    Bytes(ArchivedVec<u8>) = tag::BYTES,
    /// An array of integers.
    Ints(ArchivedVec<i64_ule>) = tag::INTS,
    /// An array of floats, all finite.
    Floats(ArchivedVec<f64_ule>) = tag::FLOATS,
}

/// One key of an object and its value.
#[derive(CheckBytes)]
#[bytecheck(crate = rkyv::bytecheck, bounds(__C: ArchiveContext, __C::Error: Source))]
#[repr(C)]
pub(crate) struct ArchivedEntry {
    key: ArchivedString,
    #[bytecheck(omit_bounds)]
    pub(in crate::value) value: ArchivedNode,
}

impl ArchivedEntry {
    #[inline]
    pub(in crate::value) fn key(&self) -> &str {
        text_of(&self.key)
    }
}

// SAFETY: `repr(u8)` with fields that are themselves `Portable`: little-endian numbers, `ArchivedString`, and
// `ArchivedVec`, whose relative pointer is portable whatever it points to, here to these same two types, bytes and numbers. No field
// has padding or interior mutability, so layout and meaning are the same on every target. (The derive cannot say so
// because its bounds would refer to themselves.)
unsafe impl rkyv::Portable for ArchivedNode {}
// SAFETY: `repr(C)` of two `Portable` fields of alignment 1; see above.
unsafe impl rkyv::Portable for ArchivedEntry {}

/// What an archive claims that is in bounds but not canonical.
#[derive(Debug, thiserror::Error)]
enum NotCanonical {
    #[error("an unsigned integer that fits a signed one")]
    SmallUnsigned,
    #[error("a float that is not finite")]
    NotFinite,
    #[error("malformed digits of a number")]
    Digits,
    #[error("text of at most eight bytes that is padded wrongly")]
    Padding,
    #[error("an object with the same key twice")]
    DuplicateKey,
    #[error("a packed array without elements")]
    PackedNothing,
}

// SAFETY: `verify` only adds conditions: memory safety rests on the checks of the fields, which the derive makes first.
unsafe impl<C> Verify<C> for ArchivedNode
where
    C: Fallible + ArchiveContext + ?Sized,
    C::Error: Source,
{
    fn verify(&self, _context: &mut C) -> Result<(), C::Error> {
        match self {
            Self::Uint(value) if i64::try_from(value.to_native()).is_ok() => fail!(NotCanonical::SmallUnsigned),
            Self::Float(value) if !value.to_native().is_finite() => fail!(NotCanonical::NotFinite),
            Self::Bytes(elements) if elements.is_empty() => fail!(NotCanonical::PackedNothing),
            Self::Ints(elements) if elements.is_empty() => fail!(NotCanonical::PackedNothing),
            Self::Floats(elements) if elements.is_empty() => fail!(NotCanonical::PackedNothing),
            Self::Floats(elements) if !elements.iter().all(|value| value.to_native().is_finite()) => fail!(NotCanonical::NotFinite),
            Self::Number(text) if number::classify(text.as_str()) != Some(number::Literal::Verbatim) => fail!(NotCanonical::Digits),
            Self::Number(text) | Self::Text(text) if !is_canonical(text) => fail!(NotCanonical::Padding),
            Self::Object(entries) => {
                let entries = entries.as_slice();
                if !entries.iter().all(|entry| is_canonical(&entry.key)) {
                    fail!(NotCanonical::Padding);
                }
                if has_duplicate_keys(entries) {
                    fail!(NotCanonical::DuplicateKey);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Look-ups compare short keys as one word, so what follows short text must be the padding that rkyv writes.
fn is_canonical(text: &ArchivedString) -> bool {
    text.len() > PAYLOAD_BYTES || payload_word(text) == short_word(text.as_bytes())
}

/// Objects of so many entries are searched pair by pair; in larger ones an index pays.
pub(in crate::value) const SMALL_OBJECT: usize = 16;

fn has_duplicate_keys(entries: &[ArchivedEntry]) -> bool {
    if entries.len() <= SMALL_OBJECT {
        return entries.iter().enumerate().any(|(i, entry)| find_entry(&entries[..i], entry.key()).is_some());
    }
    let mut seen = hashbrown::HashSet::with_capacity(entries.len());
    !entries.iter().all(|entry| seen.insert(entry.key()))
}

/// The eight bytes of an archived text as one word.
#[inline]
pub(in crate::value) fn payload_word(text: &ArchivedString) -> u64 {
    let pointer = std::ptr::from_ref(text).cast::<[u8; PAYLOAD_BYTES]>();
    // SAFETY: an `ArchivedString` is eight bytes of alignment 1 (const-asserted above), a union without padding that
    // is never uninitialised: it is only reached through an archive, that is, a slice of initialised bytes.
    u64::from_le_bytes(unsafe { *pointer })
}

/// The text of a valid archive. `ArchivedString` finds the end of short text byte by byte; this is what makes reading
/// objects fast.
#[inline]
pub(in crate::value) fn text_of(text: &ArchivedString) -> &str {
    let word = payload_word(text);
    if word & 0xc0 == 0x80 {
        return text.as_str();
    }
    // No byte of UTF-8 is 0xff, and the padding is at the end.
    let length = PAYLOAD_BYTES - word.leading_ones() as usize / 8;
    // SAFETY: `length` is at most eight, the size of the type, so the slice lies within `text` and lives as long. The bytes
    // are UTF-8: the writer copied them from a `str`, or the check of untrusted bytes found them to be, up to the first
    // 0xff, which `is_canonical` found to be the first of the padding.
    unsafe { std::str::from_utf8_unchecked(std::slice::from_raw_parts(std::ptr::from_ref(text).cast::<u8>(), length)) }
}

/// The eight bytes of an archived text that stands in place: the text, then 0xff.
#[inline]
pub(in crate::value) fn short_word(text: &[u8]) -> u64 {
    let length = text.len();
    debug_assert!(length <= PAYLOAD_BYTES);
    // Two overlapping loads instead of a copy of variable length, which would be a call.
    if let Some(all) = text.first_chunk::<8>() {
        return u64::from_le_bytes(*all);
    }
    let padding = u64::MAX << (length * 8);
    if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        return padding | u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << ((length - 4) * 8);
    }
    match text {
        [] => padding,
        [first, .., last] => {
            padding | u64::from(*first) | u64::from(text[length / 2]) << (length / 2 * 8) | u64::from(*last) << ((length - 1) * 8)
        }
        [only] => padding | u64::from(*only),
    }
}

/// The position of `key` among `entries`, by linear search.
#[inline]
pub(in crate::value) fn find_entry(entries: &[ArchivedEntry], key: &str) -> Option<usize> {
    if key.len() <= PAYLOAD_BYTES {
        // Short text stands in place and has one form, so one comparison of words decides.
        let wanted = short_word(key.as_bytes());
        entries.iter().position(|entry| payload_word(&entry.key) == wanted)
    } else {
        entries.iter().position(|entry| entry.key() == key)
    }
}

/// The bytes of one whole archive that may be walked without checks. The root node stands at their end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Archive<'a> {
    bytes: &'a [u8],
}

impl<'a> Archive<'a> {
    /// Takes `bytes` for an archive without looking at them.
    ///
    /// # Safety
    ///
    /// `bytes` is exactly what one call of `encode`, `encode_json` or `edit::apply` appended, or passed `validate`
    /// (a copy of such bytes at another address serves as well), and does not change for `'a`.
    pub(crate) unsafe fn trusted(bytes: &'a [u8]) -> Archive<'a> {
        debug_assert!(bytes.len() >= NODE_BYTES);
        Archive { bytes }
    }

    /// Checks untrusted bytes in full; the error says what is wrong with them.
    #[cfg(any(test, tastypod_fuzzing))]
    pub(crate) fn checked(bytes: &'a [u8]) -> Result<Archive<'a>, String> {
        validate(bytes)?;
        Ok(Archive { bytes })
    }

    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub(in crate::value) fn root(self) -> &'a ArchivedNode {
        // SAFETY: whoever made this `Archive` vouched that the bytes end in a valid root node (`trusted`), or checked it
        // (`checked`), so the position is in bounds and the node and everything it points to lies inside the bytes,
        // which stay unchanged for `'a`.
        unsafe { rkyv::api::access_pos_unchecked::<ArchivedNode>(self.bytes, self.bytes.len() - NODE_BYTES) }
    }

    /// Where `slice`, a part of this archive, begins in its bytes.
    pub(in crate::value) fn position_of<T>(self, slice: &[T]) -> usize {
        let position = (slice.as_ptr() as usize).wrapping_sub(self.bytes.as_ptr() as usize);
        assert!(position <= self.bytes.len(), "a part of another archive");
        position
    }
}

/// Checks untrusted bytes: every pointer in bounds, text UTF-8, nothing reached twice, numbers well-formed, keys unique,
/// depth limited. What passes can be walked without checks; the time taken is bounded by the length.
pub(crate) fn validate(bytes: &[u8]) -> Result<(), String> {
    if bytes.len() < NODE_BYTES || bytes.len() > VALUE_BYTES_MAX {
        return Err(format!("an archived value of {} bytes; it has at least {NODE_BYTES} and at most {VALUE_BYTES_MAX}", bytes.len()));
    }
    // A subtree each for the root, the containers and the text in the innermost; the count stops short of zero.
    const SUBTREES: std::num::NonZeroUsize = std::num::NonZeroUsize::new(VALUE_DEPTH_MAX + 3).unwrap();
    let mut validator = ArchiveValidator::with_max_depth(bytes, Some(SUBTREES));
    let position = bytes.len() - NODE_BYTES;
    let root = rkyv::api::access_pos_with_context::<ArchivedNode, _, rancor::Error>(bytes, position, &mut validator);
    let root = root.map_err(|error| error.to_string())?;
    // The count above admits one container more when it holds no text. Short archives cannot be that deep.
    if bytes.len() / NODE_BYTES > VALUE_DEPTH_MAX && depth(root) > VALUE_DEPTH_MAX {
        return Err(format!("arrays and objects nested more than {VALUE_DEPTH_MAX} deep"));
    }
    Ok(())
}

/// How many arrays and objects are nested in `node`, itself included.
pub(in crate::value) fn depth(node: &ArchivedNode) -> usize {
    match node {
        ArchivedNode::Array(elements) => 1 + elements.as_slice().iter().map(depth).max().unwrap_or(0),
        ArchivedNode::Object(entries) => 1 + entries.as_slice().iter().map(|entry| depth(&entry.value)).max().unwrap_or(0),
        ArchivedNode::Bytes(_) | ArchivedNode::Ints(_) | ArchivedNode::Floats(_) => 1,
        _ => 0,
    }
}
