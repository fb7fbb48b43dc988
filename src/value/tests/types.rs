//! User types, against `serde_json`.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::*;
use crate::error::ErrorKind;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Newtype(i16);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Pair(u8, String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Choice {
    Nothing,
    One(Option<f64>),
    Two(u64, char),
    Named { a: bool, b: Vec<Choice> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Tagged {
    Small { size: u32 },
    Large { label: String },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    unit: Unit,
    newtype: Newtype,
    pair: Pair,
    choices: Vec<Choice>,
    by_number: BTreeMap<i64, String>,
    by_flag: BTreeMap<bool, u8>,
    by_char: BTreeMap<char, ()>,
    optional: Option<Box<Everything>>,
    bytes: (u8, i8, f32),
    tagged: Tagged,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

fn choices() -> impl Strategy<Value = Choice> {
    let float = any::<f64>().prop_filter("finite", |value| value.is_finite());
    let leaf = prop_oneof![
        Just(Choice::Nothing),
        prop::option::of(float).prop_map(Choice::One),
        (any::<u64>(), any::<char>()).prop_map(|(a, b)| Choice::Two(a, b)),
    ];
    leaf.prop_recursive(3, 10, 3, |inner| (any::<bool>(), prop::collection::vec(inner, 0..3)).prop_map(|(a, b)| Choice::Named { a, b }))
}

prop_compose! {
    fn everything()(
        newtype in any::<i16>(),
        pair in (any::<u8>(), text()),
        choices in prop::collection::vec(choices(), 0..4),
        by_number in prop::collection::btree_map(any::<i64>(), text(), 0..4),
        by_flag in prop::collection::btree_map(any::<bool>(), any::<u8>(), 0..2),
        by_char in prop::collection::btree_map(any::<char>(), Just(()), 0..3),
        bytes in (any::<u8>(), any::<i8>(), (-1e9..1e9_f32)),
        size in any::<u32>(),
        rest in prop::collection::btree_map("x[a-z]{0,12}", values(), 0..3),
    ) -> Everything {
        let (newtype, pair) = (Newtype(newtype), Pair(pair.0, pair.1));
        let tagged = if size % 2 == 0 { Tagged::Small { size } } else { Tagged::Large { label: pair.1.clone() } };
        let inner = Everything { unit: Unit, newtype, pair, choices, by_number, by_flag, by_char, optional: None, bytes, tagged, rest };
        Everything { optional: Some(Box::new(inner.clone())), ..inner }
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    Encoded::from_json(text)?.archive().node().read()
}

proptest! {
    #[test]
    fn types_have_the_shape_that_serde_json_gives_them(value in everything()) {
        let archive = encoded(&value);
        validate(archive.archive().as_bytes()).unwrap();
        let node = archive.archive().node();
        // Its text, in which an `f32` is spelled as one.
        let theirs = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(node.to_value().unwrap(), serde_json::from_str::<Value>(&theirs).unwrap());
        prop_assert_eq!(node.read::<Everything>().unwrap(), value);
    }

    #[test]
    fn other_types_read_or_fail_as_with_serde_json(value in values()) {
        fn agree<T: DeserializeOwned + PartialEq + std::fmt::Debug>(value: &Value) {
            let theirs = serde_json::from_value::<T>(value.clone());
            match (encoded(value).archive().node().read::<T>(), theirs) {
                (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
                (Err(error), Ok(theirs)) => assert!(error.to_string().contains("rounded"), "{value}: {error}, theirs {theirs:?}"),
                (Ok(ours), Err(error)) => panic!("{value}: {ours:?}, theirs {error}"),
                (Err(_), Err(_)) => (),
            }
        }
        agree::<u8>(&value);
        agree::<i64>(&value);
        agree::<u64>(&value);
        agree::<i128>(&value);
        agree::<f64>(&value);
        agree::<String>(&value);
        agree::<char>(&value);
        agree::<()>(&value);
        agree::<Option<bool>>(&value);
        agree::<Vec<Value>>(&value);
        agree::<(Value, Value)>(&value);
        agree::<HashMap<String, Value>>(&value);
        agree::<BTreeMap<i64, Value>>(&value);
        agree::<Choice>(&value);
        agree::<Pair>(&value);
        agree::<Unit>(&value);
        agree::<serde_json::Map<String, Value>>(&value);
    }
}

#[test]
fn numbers_and_keys_that_a_type_cannot_hold_are_told_as_that() {
    let error = |text: &str, read: fn(Node<'_>) -> Result<()>| {
        let error = read(Encoded::from_json(text).unwrap().archive().node()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidValue);
        error.to_string()
    };
    let (single, singles, double) = (
        |node: Node<'_>| node.read::<f32>().map(drop),
        |node: Node<'_>| node.read::<Vec<f32>>().map(drop),
        |node: Node<'_>| node.read::<f64>().map(drop),
    );
    assert!(error("16777217", single).contains("16777217 would be rounded"));
    assert!(error("[1, 16777217]", singles).contains("16777217 would be rounded") && error("[1000, 16777217]", singles).contains("at /1"));
    assert!(error("1e300", single).contains("read it as an f64"));
    assert!(error("340282366920938463463374607431768211455", single).contains("would be rounded"));
    assert!(error("0.1000000000000000055511151231257827", double).contains("as_f64 of a view gives the nearest"));
    assert!(error("1e400", double).contains("beyond all floats"));
    let bytes = |node: Node<'_>| node.read::<HashMap<String, BTreeMap<u8, u8>>>().map(drop);
    assert_eq!(error(r#"{"a": {"300": 1}}"#, bytes), "the key \"300\" of an object: expected u8, at /a in the value");
    // 2^24 and what is a float anyway.
    assert_eq!(Encoded::from_json("[16777216, 33554432]").unwrap().archive().node().read::<Vec<f32>>().unwrap(), [16777216.0, 33554432.0]);
    assert_eq!(Encoded::from_json("[0.1]").unwrap().archive().node().read::<Vec<f32>>().unwrap(), [0.1]);
}

#[test]
fn text_is_lent_in_place() {
    #[derive(Deserialize)]
    struct Borrowed<'a> {
        url: &'a str,
    }
    let archive = encoded(&serde_json::json!({"ignored": [[{}]], "url": "https://example.com"}));
    let bytes = archive.archive().as_bytes().as_ptr_range();
    let read: Borrowed<'_> = archive.archive().node().read().unwrap();
    assert_eq!(read.url, "https://example.com");
    assert!(bytes.contains(&read.url.as_ptr()));
}

#[test]
fn a_wrong_type_says_where_what_and_what_else() {
    let kind = |path: &str, expected, found| ErrorKind::TypeMismatch { path: path.to_owned(), expected, found };
    let error = read::<u64>("\"a\"").unwrap_err();
    assert_eq!(error.kind(), kind("", "an integer", "a string"));
    let error = read::<HashMap<String, Vec<bool>>>(r#"{"a/b":[true,[]]}"#).unwrap_err();
    assert_eq!(error.kind(), kind("/a~1b/1", "a boolean", "an array"));
    assert!(error.to_string().contains("expected a boolean, found an array, at /a~1b/1"), "{error}");
    let error = read::<Pair>("3").unwrap_err();
    assert_eq!(error.kind(), kind("", "an array", "an integer"));
    assert_eq!(read::<u8>("300").unwrap_err().kind(), ErrorKind::InvalidValue);
    assert_eq!(read::<u8>("-1").unwrap_err().kind(), ErrorKind::InvalidValue);
}

#[test]
fn numbers_are_read_without_loss_or_not_at_all() {
    assert_eq!(read::<i128>("-170141183460469231731687303715884105728").unwrap(), i128::MIN);
    assert_eq!(read::<u128>("340282366920938463463374607431768211455").unwrap(), u128::MAX);
    assert_eq!(read::<u128>("7").unwrap(), 7);
    assert_eq!(read::<f64>("7").unwrap(), 7.0);
    assert_eq!(read::<f64>("1e23").unwrap(), 1e23);
    for rounded in ["9007199254740993", "18446744073709551615", "1e400", "0.1000000000000000055511151231257827"] {
        assert_eq!(read::<f64>(rounded).unwrap_err().kind(), ErrorKind::InvalidValue, "{rounded}");
    }
    for (value, text) in
        [(i128::MIN, "-170141183460469231731687303715884105728"), (-1, "-1"), (i128::from(u64::MAX), "18446744073709551615")]
    {
        assert_eq!(json(encoded(&value).archive().node()), text);
    }
    assert_eq!(encoded(&0.1_f32).archive().node().read::<f32>().unwrap(), 0.1_f32);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(Encoded::new(&vec![value]).err().unwrap().kind(), ErrorKind::InvalidValue);
    }
}

#[test]
fn raw_values_keep_their_digits_both_ways() {
    #[derive(Serialize, Deserialize)]
    struct Holder {
        raw: Box<RawValue>,
    }
    let holder = Holder { raw: RawValue::from_string(r#"{"big": [123456789012345678901234567890, 1e400]}"#.to_owned()).unwrap() };
    let archive = encoded(&holder);
    validate(archive.archive().as_bytes()).unwrap();
    let node = archive.archive().node();
    assert_eq!(json(node), r#"{"raw":{"big":[123456789012345678901234567890,1e400]}}"#);
    let back: Holder = node.read().unwrap();
    assert_eq!(back.raw.get(), r#"{"big":[123456789012345678901234567890,1e400]}"#);
    assert_eq!(serde_json::to_string(&node).unwrap(), json(node));
    assert!(encoded(&node).archive().node().eq_node(node));
}

#[test]
fn keys_become_text() {
    #[derive(Serialize, PartialEq, Eq, Hash)]
    enum Named {
        A,
    }
    assert_eq!(json(encoded(&HashMap::from([(Named::A, 1)])).archive().node()), r#"{"A":1}"#);
    assert_eq!(json(encoded(&HashMap::from([(Newtype(-3).0, 1)])).archive().node()), r#"{"-3":1}"#);
    assert_eq!(json(encoded(&HashMap::from([(i128::MIN, 1)])).archive().node()), format!("{{\"{}\":1}}", i128::MIN));
    assert_eq!(json(encoded(&HashMap::from([(u64::MAX, 1)])).archive().node()), format!("{{\"{}\":1}}", u64::MAX));
    assert_eq!(Encoded::new(&HashMap::from([((1, 2), 1)])).err().unwrap().kind(), ErrorKind::InvalidValue);
    assert_eq!(Encoded::new(&HashMap::from([((), 1)])).err().unwrap().kind(), ErrorKind::InvalidValue);
}

#[test]
fn serialisers_that_misbehave_cannot_make_a_bad_archive() {
    use serde::ser::{SerializeMap, SerializeSeq, Serializer};

    /// Swallows the error of an element that failed half-way.
    struct Swallows;
    impl Serialize for Swallows {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            let mut sequence = serializer.serialize_seq(None)?;
            let _ = sequence.serialize_element(&("a long enough text", [1, 2], f64::NAN));
            let _ = sequence.serialize_element(&HashMap::from([(1, f64::NAN)]));
            sequence.serialize_element("another long enough text")?;
            sequence.end()
        }
    }
    let archive = encoded(&Swallows);
    validate(archive.archive().as_bytes()).unwrap();
    walk_everything(archive.archive().node());

    /// Gives a key without a value.
    struct Half(usize);
    impl Serialize for Half {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            for _ in 0..self.0 {
                map.serialize_key("a")?;
            }
            map.serialize_value(&1)?;
            map.serialize_value(&1)?;
            map.end()
        }
    }
    for keys in 0..4 {
        if let Ok(archive) = Encoded::new(&Half(keys)) {
            validate(archive.archive().as_bytes()).unwrap();
        }
    }

    /// Stores another value while it is itself being stored.
    struct Nests;
    impl Serialize for Nests {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            serializer.serialize_str(&json(encoded(&["a long enough text", "b"]).archive().node()))
        }
    }
    assert_eq!(json(encoded(&(1, Nests, 2)).archive().node()), r#"[1,"[\"a long enough text\",\"b\"]",2]"#);
}

#[test]
fn endless_values_are_refused() {
    struct Endless;
    impl Serialize for Endless {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            serializer.collect_seq(std::iter::repeat_n("x".repeat(1 << 20), 300))
        }
    }
    let error = Encoded::new(&Endless).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidValue);
    assert!(error.to_string().contains("bytes"), "{error}");
}

#[test]
fn equality_tells_numbers_apart_and_not_the_order_of_keys() {
    let equal = |a: &str, b: &str| {
        let (a, b) = (Encoded::from_json(a).unwrap(), Encoded::from_json(b).unwrap());
        let (a, b) = (a.archive().node(), b.archive().node());
        assert_eq!(a.eq_node(b), b.eq_node(a));
        assert_eq!(a.eq_node(b), a.eq_value(&b.to_value().unwrap()));
        a.eq_node(b)
    };
    assert!(equal("1", "1") && equal("1.0", "1e0") && equal("0.0", "-0"));
    assert!(!equal("1", "1.0") && !equal("1", "\"1\"") && !equal("null", "false"));
    assert!(equal(r#"{"a":1,"b":[2]}"#, r#"{"b":[2],"a":1}"#));
    assert!(!equal(r#"{"a":1,"b":2}"#, r#"{"a":1,"c":2}"#) && !equal(r#"{"a":1}"#, r#"{"a":1,"b":2}"#));
    let many =
        |order: &mut dyn Iterator<Item = u32>| format!("{{{}}}", order.map(|i| format!("\"{i}\":{i}")).collect::<Vec<_>>().join(","));
    assert!(equal(&many(&mut (0..100)), &many(&mut (0..100).rev())));
}
