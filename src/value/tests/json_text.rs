//! JSON text in and out, against `serde_json`.

use super::*;
use crate::error::ErrorKind;
use crate::limits::VALUE_DEPTH_MAX;

fn through(text: &str) -> String {
    let archive = Encoded::from_json(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    validate(archive.archive().as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    json(archive.archive().node())
}

proptest! {
    #[test]
    fn values_and_their_text_survive(value in values()) {
        let text = serde_json::to_string(&value).unwrap();
        let (direct, parsed) = (encoded(&value), Encoded::from_json(&text).unwrap());
        prop_assert_eq!(direct.archive().as_bytes(), parsed.archive().as_bytes());
        validate(direct.archive().as_bytes()).unwrap();
        let node = direct.archive().node();
        prop_assert_eq!(&node.to_value().unwrap(), &value);
        prop_assert_eq!(&json(node), &text);
        walk_everything(node);
        let spaced = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(through(&spaced), text);
    }

    #[test]
    fn the_parser_accepts_what_serde_json_does(text in r#"([\[\]{},:"\\ntfu0-9.eE+-]|"a":|true|\\u[0-9a-dD]{4}| ){0,12}"#) {
        let theirs = serde_json::from_str::<Value>(&text);
        let ours = Encoded::from_json(&text);
        match (&theirs, &ours) {
            (Ok(value), Ok(archive)) => match archive.archive().node().to_value() {
                Ok(ours) => prop_assert_eq!(&ours, value),
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::InvalidValue),
            },
            // Numbers beyond any float are the one thing that only we hold.
            (Err(error), Ok(_)) => prop_assert!(error.to_string().contains("out of range"), "{text:?}: {error}"),
            (Ok(_), Err(error)) => prop_assert!(false, "{text:?}: {error}"),
            (Err(_), Err(_)) => (),
        }
    }

    #[test]
    fn broken_text_is_refused_like_serde_json(value in values(), at in any::<prop::sample::Index>(), with in prop::option::of("[\\[\\]{},:\"\\\\ntfu0-9.eE+ -]")) {
        let mut text = serde_json::to_string(&value).unwrap();
        let at = at.index(text.len());
        if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
            text.replace_range(at..=at, with.as_deref().unwrap_or(""));
        }
        let theirs = serde_json::from_str::<Value>(&text);
        let ours = Encoded::from_json(&text);
        let is_out_of_range = theirs.as_ref().is_err_and(|error| error.to_string().contains("out of range"));
        prop_assert!(is_out_of_range || theirs.is_ok() == ours.is_ok(), "{text:?}");
    }

    #[test]
    fn every_number_keeps_what_it_denotes(text in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?") {
        let archive = Encoded::from_json(&text).unwrap();
        let node = archive.archive().node();
        validate(archive.archive().as_bytes()).unwrap();
        let written = json(node);
        // The same digits, or digits that denote the same: then a float or an integer says so.
        prop_assert_eq!(through(&written), written.clone());
        let wide = |text: &str| -> (Vec<u8>, i64) {
            let (mantissa, exponent) = text.trim_start_matches('-').split_once(['e', 'E']).unwrap_or((text.trim_start_matches('-'), "0"));
            let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
            let digits = format!("{whole}{fraction}");
            let kept = digits.trim_end_matches('0');
            let exponent = exponent.parse::<i64>().unwrap() - fraction.len() as i64 + (digits.len() - kept.len()) as i64;
            let kept = kept.trim_start_matches('0');
            (kept.bytes().collect(), if kept.is_empty() { 0 } else { exponent })
        };
        prop_assert_eq!(wide(&written), wide(&text), "{} {}", text, written);
        prop_assert_eq!(written.starts_with('-'), text.starts_with('-'));
        if let Ok(value) = node.to_value() {
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }
}

#[test]
fn numbers_that_no_type_holds_keep_their_digits() {
    for digits in [
        "123456789012345678901234567890",
        "-9223372036854775809",
        "18446744073709551616",
        "100000000000000000000",
        "0.1000000000000000055511151231257827",
        "3.14159265358979323846264338327950288",
        "1e400",
        "-1e-400",
        "1E999999999999999999999999",
    ] {
        let text = format!("[{digits}]");
        assert_eq!(through(&text), text);
    }
    let archive = Encoded::from_json(r#"{"a":[0,123456789012345678901234567890]}"#).unwrap();
    let error = archive.archive().node().to_value().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidValue);
    assert!(error.to_string().contains("123456789012345678901234567890") && error.to_string().contains("/a/1"), "{error}");
    assert!(error.to_string().contains("raw_json"), "{error}");
    // A whole number that a float holds exactly is not rounded by `Value`, and stays what it was in the text.
    let archive = Encoded::from_json("100000000000000000000").unwrap();
    let value = archive.archive().node().to_value().unwrap();
    assert_eq!(value, Value::from(1e20));
    assert!(archive.archive().node().eq_value(&value));
}

#[test]
fn numbers_are_written_as_they_were_spelled() {
    for text in [
        "-0",
        "-0.0",
        "0",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "1.0",
        "1.10",
        "1.00",
        "0.5",
        "-120.25",
        "1e2",
        "1E+2",
        "1e-05",
        "0.00001",
        "0.000001",
        "1e-6",
        "1e16",
        "1e+16",
        "10000000000000000.0",
        "1000000000000000.0",
        "0.30000000000000004",
        "0.3000000000000000",
        "5e-324",
        "1.7976931348623157e308",
        "1.7976931348623157e+308",
        "0e9999999999999999999999",
    ] {
        assert_eq!(through(text), text);
        let value = Encoded::from_json(text).unwrap();
        let other: Value = serde_json::from_str(text).unwrap();
        assert_eq!(value.archive().node().to_value().unwrap(), other, "{text}");
        assert!(value.archive().node().eq_node(Encoded::new(&other).unwrap().archive().node()), "{text}");
    }
}

#[test]
fn malformed_numbers_are_refused() {
    for (bad, hint) in [
        ("01", "number"),
        ("1.", "number"),
        (".5", "value"),
        ("+1", "value"),
        ("1e", "number"),
        ("NaN", "NaN"),
        ("-Infinity", "number"),
        ("0x1", "after"),
    ] {
        let error = Encoded::from_json(bad).err().unwrap();
        assert!(error.to_string().contains(hint), "{bad}: {error}");
    }
}

#[test]
fn of_a_key_that_comes_twice_the_last_value_counts_at_the_first_place() {
    for (text, expected) in [
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
        (
            r#"{"a":"a long text, the first","b":["another long text"],"a":["a long text, the last",{}],"c":"one more long text"}"#,
            r#"{"a":["a long text, the last",{}],"b":["another long text"],"c":"one more long text"}"#,
        ),
        (r#"{"a long enough key":1,"a long enough kez":2,"a long enough key":3}"#, r#"{"a long enough key":3,"a long enough kez":2}"#),
        (r#"[{"":[],"":[[]],"":[[],[]]},"a long text after it"]"#, r#"[{"":[[],[]]},"a long text after it"]"#),
    ] {
        assert_eq!(through(text), expected);
    }
    let many: Vec<String> = (0..100).map(|i| format!("\"a long key {}\":[\"a long value {i}\"]", i % 60)).collect();
    let text = format!("{{{}}}", many.join(","));
    assert_eq!(serde_json::from_str::<Value>(&through(&text)).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
}

#[test]
fn depth_is_limited_exactly() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(through(&nested(VALUE_DEPTH_MAX)), nested(VALUE_DEPTH_MAX));
    let error = Encoded::from_json(&nested(VALUE_DEPTH_MAX + 1)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidValue);
    assert!(error.to_string().contains("deep") && error.to_string().contains("byte 127"), "{error}");
    assert!(Encoded::from_json(&"[".repeat(1_000_000)).is_err());
    let text = format!("{}\"a long text\"{}", "[".repeat(VALUE_DEPTH_MAX), "]".repeat(VALUE_DEPTH_MAX));
    assert_eq!(through(&text), text);
}

#[test]
fn an_error_says_where() {
    let error = Encoded::from_json("{\"a\": 1,\n \"é\" 2}").err().unwrap();
    assert!(error.to_string().contains("a colon at byte 15 (line 2, column 7), before '2'"), "{error}");
    let error = Encoded::from_json(r#""\ud800""#).err().unwrap();
    assert!(error.to_string().contains("surrogate"), "{error}");
    let error = Encoded::from_json("[1] x").err().unwrap();
    assert!(error.to_string().contains("after the value at byte 4"), "{error}");
}
