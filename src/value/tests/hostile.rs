//! Bytes that nobody vouches for: whatever passes the check can be walked.

use super::*;
use crate::limits::VALUE_DEPTH_MAX;

fn check_and_walk(bytes: &[u8]) -> bool {
    Archive::checked(bytes).map(|archive| walk_everything(archive.node())).is_ok()
}

proptest! {
    #[test]
    fn flipped_bytes_are_refused_or_harmless(
        value in values(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), 0..14_u8]), 1..4),
    ) {
        let mut bytes = encoded(&value).archive().as_bytes().to_vec();
        for (index, byte) in flips {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        check_and_walk(&bytes);
    }

    #[test]
    fn what_passes_can_be_edited(
        value in values(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), prop_oneof![any::<u8>(), 0..14_u8]), 1..4),
        at in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(&Value::from(vec![value.clone(), value])).archive().as_bytes().to_vec();
        for (index, byte) in flips {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Ok(archive) = Archive::checked(&bytes) && archive.node().is_array() && archive.node().len() > 0 {
            let index = at.index(archive.node().len()) as i64;
            let mut out = Vec::new();
            let new = encoded("a new text in the middle");
            apply(archive, &[Step::Index(index)], Edit::Set(new.archive()), &mut out).unwrap();
            prop_assert!(check_and_walk(&out));
        }
    }

    #[test]
    fn noise_is_refused_or_harmless(bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..14_u8, Just(0xff)], 0..60)) {
        check_and_walk(&bytes);
    }

    #[test]
    fn truncated_archives_are_refused_or_harmless(value in values(), cut in any::<prop::sample::Index>()) {
        let archive = encoded(&value);
        let bytes = archive.archive().as_bytes();
        let cut = cut.index(bytes.len());
        check_and_walk(&bytes[cut..]);
        check_and_walk(&bytes[..cut]);
    }
}

/// A node of this tag whose payload is two 32-bit words.
fn node(tag: u8, low: i32, high: i32) -> Vec<u8> {
    [&[tag][..], &low.to_le_bytes(), &high.to_le_bytes()].concat()
}

#[test]
fn hand_made_attacks_are_refused() {
    assert!(!check_and_walk(&[]));
    assert!(!check_and_walk(&[0; 8]));
    assert!(!check_and_walk(&[13, 0, 0, 0, 0, 0, 0, 0, 0]), "an unknown tag");
    assert!(check_and_walk(&[&[7, 8][..], &node(10, -3, 2)].concat()));
    for tag in 10..=12 {
        assert!(!check_and_walk(&node(tag, -1, 0)), "packed nothing");
        assert!(!check_and_walk(&node(tag, -1, 1)), "an array that contains itself");
        assert!(!check_and_walk(&[&[0; 80][..], &node(tag, -82, 10)].concat()), "it begins before the archive");
        assert!(!check_and_walk(&[&[0; 80][..], &node(tag, -81, 81)].concat()), "it reaches into its own node");
        assert!(!check_and_walk(&[&[0; 80][..], &node(tag, -81, -1)].concat()), "four thousand million elements");
        assert!(!check_and_walk(&[&[0; 80][..], &node(tag, i32::MIN, 1)].concat()), "out of bounds");
        let shared = [&[1; 8][..], &node(tag, -9, 1), &node(tag, -18, 1), &node(8, -19, 2)].concat();
        assert!(!check_and_walk(&shared), "elements of two arrays");
    }
    let floats = |value: f64| [&1.0_f64.to_le_bytes()[..], &value.to_le_bytes(), &node(12, -17, 2)].concat();
    assert!(check_and_walk(&floats(-0.0)));
    assert!(!check_and_walk(&floats(f64::NAN)) && !check_and_walk(&floats(f64::INFINITY)), "packed and not finite");
    assert!(!check_and_walk(&node(8, -1, 1)), "an array that contains itself");
    assert!(!check_and_walk(&node(8, i32::MIN, 1)), "out of bounds");
    assert!(!check_and_walk(&node(8, -10, -1)), "four thousand million elements");
    assert!(!check_and_walk(&[node(0, 0, 0), node(8, -10, 1), node(8, -19, 1), node(8, -19, 2)].concat()), "a shared child");
    assert!(!check_and_walk(&node(4, 1, 0)), "an unsigned integer that fits a signed one");
    assert!(!check_and_walk(&[&[5][..], &f64::NAN.to_le_bytes()].concat()), "not a number");
    assert!(!check_and_walk(b"\x061\xff\xff\xff\xff\xff\xff\xff"), "digits that an integer holds");
    assert!(!check_and_walk(b"\x061e999x\xff\xff"), "digits with something after");
    assert!(!check_and_walk(b"\x07a\xffb\xff\xff\xff\xff\xff"), "padding with something after");
    assert!(!check_and_walk(b"\x07\xc3\xff\xff\xff\xff\xff\xff\xff"), "half a character");
    assert!(!check_and_walk(&[&b"ab"[..], &node(7, 2 | 0x80, -3)].concat()), "short text that is not in place");
    let entry = [&b"a\xff\xff\xff\xff\xff\xff\xff"[..], &node(0, 0, 0)].concat();
    assert!(check_and_walk(&[&entry[..], &node(9, -18, 1)].concat()));
    assert!(!check_and_walk(&[&entry[..], &entry, &node(9, -35, 2)].concat()), "the same key twice");
}

#[test]
fn a_ladder_of_shared_children_does_not_explode() {
    // Every array has the one before it as both of its elements.
    let mut bytes = [node(0, 0, 0), node(0, 0, 0)].concat();
    for _ in 0..60 {
        bytes = [bytes, node(8, -19, 2), node(8, -28, 2)].concat();
    }
    assert!(!check_and_walk(&[bytes, node(8, -19, 2)].concat()));
}

#[test]
fn hostile_depth_is_refused_exactly() {
    let nested = |depth: usize| {
        let mut bytes = node(0, 0, 0);
        for _ in 0..depth {
            bytes.extend(node(8, -10, 1));
        }
        bytes
    };
    assert!(check_and_walk(&nested(VALUE_DEPTH_MAX)));
    assert!(!check_and_walk(&nested(VALUE_DEPTH_MAX + 1)));
    assert!(!check_and_walk(&nested(VALUE_DEPTH_MAX + 2)));
    assert!(!check_and_walk(&nested(100_000)));
}
