//! Archived values: whatever bytes pass validation can be walked and edited, and what comes out passes it too.

use super::bytes::Bytes;
use super::operations::{leaf, part_name};
use serde_json::Value;
use tastypod::fuzzing;

/// The bytes are an archive as they are, or a sound one with some bytes changed; then edits.
pub fn run(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let archive = match bytes.byte() % 4 {
        0 => bytes.take(usize::MAX).to_vec(),
        1 => sound(&mut bytes),
        _ => {
            let mut archive = sound(&mut bytes);
            for _ in 0..bytes.byte() % 6 {
                // Nodes stand at the end of what they point to: changes there matter most.
                let from_end = (bytes.byte() as usize + 256 * usize::from(bytes.byte() % 2)) % archive.len();
                let place = archive.len() - 1 - from_end;
                archive[place] = bytes.byte();
            }
            archive
        }
    };
    let Ok((text, value)) = fuzzing::walk_value(&archive) else { return };
    let meaning = serde_json::from_str::<Value>(&text);
    if let Some(value) = value {
        assert_eq!(meaning.expect("what is written is JSON"), value);
    }
    for _ in 0..8 {
        let mut pointer = String::new();
        for _ in 0..bytes.byte() % 4 {
            let name = part_name(bytes.byte()).replace('~', "~0").replace('/', "~1");
            pointer.push('/');
            pointer.push_str(&name);
        }
        let (edit, index, new) = (bytes.byte(), i64::from(bytes.byte() as i8), json_text(&mut bytes, 2));
        if let Ok(Some(edited)) = fuzzing::edit_value(&archive, &pointer, edit, index, &new) {
            let walked = fuzzing::walk_value(&edited);
            let (text, _) = walked.unwrap_or_else(|why| panic!("edit {edit} at {pointer:?} of {text} by {new} made no archive: {why}"));
            let canonical = fuzzing::encode_json(&text).expect("what is written is JSON");
            assert!(fuzzing::walk_value(&canonical).expect("what was encoded is valid").0 == text);
        }
    }
}

fn sound(bytes: &mut Bytes<'_>) -> Vec<u8> {
    let text = json_text(bytes, 4);
    fuzzing::encode_json(&text).unwrap_or_else(|error| panic!("{text} is JSON: {error}"))
}

fn json_text(bytes: &mut Bytes<'_>, depth: u32) -> String {
    let byte = bytes.byte();
    let parts = |bytes: &mut Bytes<'_>, open, part: &mut dyn FnMut(&mut Bytes<'_>) -> String, close| {
        let parts: Vec<String> = (0..byte % 5).map(|_| part(bytes)).collect();
        format!("{open}{}{close}", parts.join(","))
    };
    match byte {
        0..=63 if depth > 0 => parts(bytes, '[', &mut |bytes| json_text(bytes, depth - 1), ']'),
        64..=127 if depth > 0 => {
            parts(bytes, '{', &mut |bytes| format!("{}:{}", Value::from(part_name(bytes.byte())), json_text(bytes, depth - 1)), '}')
        }
        128..=139 => "123456789012345678901234567890".to_owned(),
        140..=149 => "-0.10000000000000000000001".to_owned(),
        150..=155 => "1e999".to_owned(),
        _ => leaf(byte).to_string(),
    }
}
