//! One entry of a shard: `KEY<tab>VALUE<newline>`, both as JSON.
//!
//! A key is a string, an integer that fits an `i64`, or an array of keys. JSON escapes control characters, so that neither the tab
//! nor the newline occurs inside of either part. A carriage return before the newline is white space.
//!
//! In tastypy's dialect every backslash of the key's JSON text stands doubled, and all text is ASCII, as Python's `json` writes it.

use crate::error::{Error, Result};
use crate::key::{self, Key, KeyBuf};
use crate::store::core::settings::KeyDialect;
use crate::value::{self, Archive, write_string};

/// The two parts of a line that is not blank.
pub(crate) fn parts(line: &[u8]) -> Result<(&str, &str), String> {
    let text = std::str::from_utf8(line).map_err(|error| format!("not UTF-8 at byte {} of the line", error.valid_up_to()))?;
    text.split_once('\t').ok_or_else(|| "no tab between a key and a value".to_owned())
}

/// Reads a line without its newline: the encoded key replaces what is in `key`, the archived value is appended to `value`. The error
/// says what is wrong with the line.
pub(crate) fn parse(line: &[u8], dialect: KeyDialect, key: &mut KeyBuf, value: &mut Vec<u8>) -> Result<(), String> {
    let (key_text, value_text) = parts(line)?;
    parse_key(key_text, dialect, key)?;
    value::encode_json(value_text, value).map_err(|error| error.to_string())
}

/// The same, as the key and the JSON text of the value.
pub(crate) fn parse_text(line: &[u8], dialect: KeyDialect) -> Result<(Key, String), String> {
    let (mut key, mut value) = (KeyBuf::default(), Vec::new());
    parse(line, dialect, &mut key, &mut value)?;
    let (_, value_text) = parts(line)?;
    Ok((Key::decode(&key)?, value_text.trim_matches([' ', '\t', '\r']).to_owned()))
}

pub(crate) fn parse_key(text: &str, dialect: KeyDialect, key: &mut KeyBuf) -> Result<(), String> {
    key.clear();
    let undoubled;
    let text = match dialect {
        KeyDialect::Tastypy if text.contains('\\') => {
            undoubled = text.replace("\\\\", "\\");
            &undoubled
        }
        _ => text,
    };
    // Most keys are plain text or digits, and are encoded as they stand.
    let outcome = match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(plain) if !plain.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)) => key::encode_into(plain, key),
        _ => Key::from_json(text).and_then(|parsed| key::encode_into(&parsed, key)),
    };
    outcome.map_err(|error| error.to_string())
}

/// Appends the line of an entry, newline included. The error says what is wrong with the encoded key.
pub(crate) fn write(key: &[u8], value: Archive<'_>, dialect: KeyDialect, out: &mut String) -> Result<(), &'static str> {
    let start = out.len();
    match key::text_of(key) {
        // Writing to a `String` cannot fail.
        Some(text) => drop(write_string(out, text)),
        None => out.push_str(&Key::decode(key)?.to_json()),
    }
    if dialect == KeyDialect::Tastypy {
        make_ascii(out, start);
        if out[start..].contains('\\') {
            let doubled = out[start..].replace('\\', "\\\\");
            out.truncate(start);
            out.push_str(&doubled);
        }
    }
    out.push('\t');
    let value_start = out.len();
    value.node().write_json(out);
    if dialect == KeyDialect::Tastypy {
        make_ascii(out, value_start);
    }
    out.push('\n');
    Ok(())
}

/// Writes escapes for what is not ASCII: in JSON text that is only inside of strings.
fn make_ascii(out: &mut String, start: usize) {
    if out[start..].is_ascii() {
        return;
    }
    let text = out.split_off(start);
    for letter in text.chars() {
        if letter.is_ascii() {
            out.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

/// An entry that cannot be read, for the message.
#[cold]
pub(crate) fn wrong(path: &std::path::Path, line: u64, what: &str) -> Error {
    let message = format!("{}, line {line}: {what}; mend the line, or restore the file from a copy; nothing was changed", path.display());
    Error::new(crate::error::ErrorKind::Integrity { path: path.to_owned(), line, what: what.to_owned() }, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Arena;
    use proptest::prelude::*;

    fn read(line: &str, dialect: KeyDialect) -> Result<(Key, String), String> {
        let (mut key, mut value) = (KeyBuf::default(), Vec::new());
        parse(line.as_bytes(), dialect, &mut key, &mut value)?;
        let mut arena = Arena::default();
        let (_, (), span) = arena
            .append(|out| {
                out.extend_from_slice(&value);
                Ok(((), ()))
            })
            .unwrap();
        let mut text = String::new();
        arena.get(span).node().write_json(&mut text);
        Ok((Key::decode(&key)?, text))
    }

    fn written(key: &Key, json: &str, dialect: KeyDialect) -> String {
        let mut arena = Arena::default();
        let (_, (), span) = arena.append(|out| value::encode_json(json, out).map(|()| ((), ()))).unwrap();
        let mut line = String::new();
        write(&key::encode_key(key).unwrap(), arena.get(span), dialect, &mut line).unwrap();
        line
    }

    #[test]
    fn an_entry_is_a_line_with_a_tab() {
        assert_eq!(written(&Key::from("a"), "[1,2.50]", KeyDialect::Json), "\"a\"\t[1,2.50]\n");
        assert_eq!(written(&Key::from(("é", 1)), "\"\\u00e9\"", KeyDialect::Json), "[\"é\",1]\t\"é\"\n");
        assert_eq!(
            written(&Key::from("é\t\u{1f980}\\"), "\"é\\n\"", KeyDialect::Tastypy),
            "\"\\\\u00e9\\\\t\\\\ud83e\\\\udd80\\\\\\\\\"\t\"\\u00e9\\n\"\n"
        );
    }

    #[test]
    fn what_people_and_python_write_is_read() {
        let same = |line: &str, key: Key, json: &str| assert_eq!(read(line, KeyDialect::Json), Ok((key, json.to_owned())), "{line}");
        same("\"a\"\t1\r", Key::from("a"), "1");
        same("\"a\" \t { \"b\" : [ 1 ,\t2 ] } ", Key::from("a"), r#"{"b":[1,2]}"#);
        same("\"\\u0061\"\t\"\\ud83e\\udd80\"", Key::from("a"), "\"🦀\"");
        same("[\"a\", 1]\tnull", Key::from(("a", 1)), "null");
        same("-7\t123456789012345678901234567890", Key::from(-7), "123456789012345678901234567890");
        same("\"\"\t{\"z\":1,\"a\":2}", Key::from(""), r#"{"z":1,"a":2}"#);
        // A lone backslash in tastypy's dialect is one: its reader only halves pairs.
        assert_eq!(read("\"a\\tb\"\t1", KeyDialect::Tastypy), Ok((Key::from("a\tb"), "1".to_owned())));
    }

    #[test]
    fn what_is_wrong_with_a_line_is_said() {
        for (line, what) in [
            ("\"a\" 1", "no tab"),
            ("\"a\"\tNaN", "NaN and Infinity are not JSON"),
            ("\"a\"\t[Infinity]", "NaN and Infinity are not JSON"),
            ("\"a\"\t-Infinity", "number"),
            ("\"a\"\t\"\\ud800\"", "half of a surrogate pair"),
            ("\"\\udc00\"\t1", "surrogate"),
            ("\"a\"\t", "expected a value"),
            ("\"a\"\t1 2", "something after the value"),
            ("1.5\t1", "cannot be a key"),
            ("true\t1", "cannot be a key"),
            ("9223372036854775808\t1", "cannot be a key"),
            ("\"a\t1", "cannot be a key"),
            ("\u{feff}\"a\"\t1", "cannot be a key"),
        ] {
            let error = read(line, KeyDialect::Json).unwrap_err();
            assert!(error.contains(what), "{line}: {error}");
        }
        let mut key = KeyBuf::default();
        assert!(parse(b"\"\xff\"\t1", KeyDialect::Json, &mut key, &mut Vec::new()).unwrap_err().contains("not UTF-8 at byte 1"));
        let deep = format!("1\t{}1{}", "[".repeat(128), "]".repeat(128));
        assert!(read(&deep, KeyDialect::Json).unwrap_err().contains("127 deep"));
    }

    proptest! {
        #[test]
        fn every_entry_survives_its_line_in_both_dialects(text in any::<String>(), number in any::<i64>(), value in any::<String>()) {
            let json = serde_json::to_string(&serde_json::json!({ &value: [value, number] })).unwrap();
            for key in [Key::from(&text), Key::from(number), Key::from((text.as_str(), number))] {
                for dialect in [KeyDialect::Json, KeyDialect::Tastypy] {
                    let line = written(&key, &json, dialect);
                    prop_assert!(line.ends_with('\n') && line.matches(['\n', '\t']).count() == 2);
                    prop_assert!(dialect == KeyDialect::Json || line.is_ascii());
                    prop_assert_eq!(read(line.trim_end_matches('\n'), dialect), Ok((key.clone(), json.clone())));
                }
            }
        }

        #[test]
        fn no_line_is_a_panic(line in prop::collection::vec(any::<u8>(), 0..60)) {
            for dialect in [KeyDialect::Json, KeyDialect::Tastypy] {
                let _ = parse(&line, dialect, &mut KeyBuf::default(), &mut Vec::new());
            }
        }
    }
}
