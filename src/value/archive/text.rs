//! JSON text on the way out: escapes, and the names by which `serde_json` hands over text that is JSON.

use std::fmt;

/// How `serde_json::value::RawValue` names itself to serialisers: its text is JSON.
pub(in crate::value) const RAW_VALUE: &str = "$serde_json::private::RawValue";
/// How `serde_json::Number` names itself where a dependent has switched on `arbitrary_precision`.
pub(in crate::value) const RAW_NUMBER: &str = "$serde_json::private::Number";

/// How many bytes at the start of `text` stand for themselves in a JSON string: no quote, backslash or control character.
#[inline]
pub(in crate::value) fn plain_length(text: &[u8]) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Marks bytes that are zero, or, harmlessly, the byte after one.
    let zero = |word: u64| word.wrapping_sub(EACH) & !word & HIGH;
    let (words, rest) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let control = word.wrapping_sub(EACH * 0x20) & !word & HIGH;
        let special = zero(word ^ (EACH * b'"' as u64)) | zero(word ^ (EACH * b'\\' as u64)) | control;
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let special = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
    words.len() * 8 + special.unwrap_or(rest.len())
}

/// Writes `text` as a JSON string, with the escapes of `serde_json`.
pub(crate) fn write_string(out: &mut (impl fmt::Write + ?Sized), text: &str) -> fmt::Result {
    out.write_char('"')?;
    let mut rest = text;
    loop {
        let plain = plain_length(rest.as_bytes());
        out.write_str(&rest[..plain])?;
        let Some(special) = rest.as_bytes().get(plain) else { break };
        match special {
            b'"' => out.write_str("\\\"")?,
            b'\\' => out.write_str("\\\\")?,
            0x08 => out.write_str("\\b")?,
            0x0c => out.write_str("\\f")?,
            b'\n' => out.write_str("\\n")?,
            b'\r' => out.write_str("\\r")?,
            b'\t' => out.write_str("\\t")?,
            control => write!(out, "\\u{control:04x}")?,
        }
        rest = &rest[plain + 1..];
    }
    out.write_char('"')
}
