//! JSON text: accepted exactly where `serde_json` accepts it, and with the same meaning.

use serde_json::Value;
use tastypod::fuzzing;

pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let ours = fuzzing::encode_json(text);
    // `serde_json` reads an object with this key as something else, when it may read raw values; to us it is a key.
    if let Ok(archive) = &ours
        && fuzzing::walk_value(archive).expect("what was encoded is valid").0.contains("$serde_json::private::RawValue")
    {
        return;
    }
    match (&ours, serde_json::from_str::<Value>(text)) {
        (Ok(archive), Ok(theirs)) => {
            let (written, value) = fuzzing::walk_value(archive).expect("what was encoded is valid");
            // Digits beyond those of a float are kept in the text, and refused as a value.
            assert_eq!(serde_json::from_str::<Value>(&written).expect("what is written is JSON"), theirs);
            assert!(value.is_none_or(|value| value == theirs));
            let again = fuzzing::encode_json(&written).expect("what is written is JSON");
            assert!(again == *archive, "what is written and read again is the same");
        }
        (Ok(_), Err(error)) => {
            // They have no number as large; the text must be JSON all the same.
            assert!(error.to_string().contains("number out of range"), "accepted, but {error}");
            serde_json::from_str::<&serde_json::value::RawValue>(text).expect("what is accepted is JSON");
        }
        (Err(error), Ok(_)) => panic!("refused, but it is JSON: {error}"),
        (Err(_), Err(_)) => {}
    }
}
