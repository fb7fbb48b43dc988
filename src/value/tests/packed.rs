//! Packed arrays: one form for each value, and the same value by every way out.

use serde::Deserialize;
use serde_bytes::{ByteBuf, Bytes};

use super::*;
use crate::value::editing::edit::Outcome;

fn bytes_of(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    encoded(value).archive().as_bytes().to_vec()
}

/// The archive of an array in which every element has a node, as nobody writes it.
fn unpacked(elements: &[Value]) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for element in elements {
        let archive = encoded(element);
        assert_eq!(archive.archive().as_bytes().len(), 9, "a number stands in its node");
        bytes.extend(archive.archive().as_bytes());
    }
    let (position, count) = (-(bytes.len() as i32) - 1, elements.len() as u32);
    bytes.push(8);
    bytes.extend(position.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes
}

fn is_byte(value: &Value) -> bool {
    value.as_u64().is_some_and(|value| value < 256)
}

proptest! {
    #[test]
    fn an_array_of_numbers_comes_back_the_same_by_every_way(numbers in number_arrays()) {
        let value = Value::from(numbers.clone());
        let archive = encoded(&value);
        let node = archive.archive().node();
        validate(archive.archive().as_bytes()).unwrap();
        walk_everything(node);
        let text = value.to_string();
        prop_assert_eq!(json(node), &text[..]);
        // Also that of -0.0, which equals 0.0.
        prop_assert_eq!(node.to_value().unwrap().to_string(), &text[..]);
        prop_assert_eq!(node.read::<Value>().unwrap().to_string(), &text[..]);
        prop_assert_eq!(serde_json::to_string(&node).unwrap(), &text[..]);
        prop_assert_eq!(node.iter().map(|node| json(node)).collect::<Vec<_>>(), numbers.iter().map(Value::to_string).collect::<Vec<_>>());
        prop_assert_eq!(node.iter().rev().map(|node| json(node)).collect::<Vec<_>>(), numbers.iter().rev().map(Value::to_string).collect::<Vec<_>>());
        for (index, number) in numbers.iter().enumerate() {
            let part = resolve(node, &[Step::Index(index as i64)]).unwrap().unwrap();
            prop_assert_eq!(part.as_i64(), number.as_i64());
            prop_assert_eq!(part.as_f64(), number.as_f64());
            prop_assert_eq!(part.kind_name(), if number.is_f64() { "a float" } else { "an integer" });
        }
        prop_assert!(resolve(node, &[Step::Index(numbers.len() as i64)]).unwrap().is_none());
        fn agree<T: serde::de::DeserializeOwned + PartialEq + std::fmt::Debug>(node: Node<'_>, value: &Value) {
            match (node.read::<T>(), serde_json::from_value::<T>(value.clone())) {
                (Ok(ours), Ok(theirs)) => assert_eq!(ours, theirs),
                // Serde's own visitors would round, or make a large number infinite.
                (Err(error), Ok(_)) => assert!(["rounded", "does not fit"].iter().any(|why| error.to_string().contains(why)), "{value}: {error}"),
                (Ok(ours), Err(error)) => panic!("{value}: {ours:?}, theirs {error}"),
                (Err(_), Err(_)) => (),
            }
        }
        agree::<Vec<u8>>(node, &value);
        agree::<Vec<i8>>(node, &value);
        agree::<Vec<i16>>(node, &value);
        agree::<Vec<i32>>(node, &value);
        agree::<Vec<i64>>(node, &value);
        agree::<Vec<isize>>(node, &value);
        agree::<Vec<u16>>(node, &value);
        agree::<Vec<u32>>(node, &value);
        agree::<Vec<u64>>(node, &value);
        agree::<Vec<usize>>(node, &value);
        agree::<Option<Box<[i64]>>>(node, &value);
        agree::<Vec<f32>>(node, &value);
        agree::<Vec<f64>>(node, &value);
        agree::<Vec<Option<i64>>>(node, &value);
        agree::<Vec<i128>>(node, &value);
        agree::<Vec<String>>(node, &value);
        agree::<ByteBuf>(node, &value);
        agree::<(i64, f64)>(node, &value);
        agree::<std::collections::VecDeque<i64>>(node, &value);
        agree::<std::collections::BTreeMap<String, i64>>(node, &value);
    }

    #[test]
    fn every_way_in_gives_the_same_bytes(numbers in number_arrays()) {
        let value = Value::from(numbers.clone());
        let expected = bytes_of(&value);
        let from_json = Encoded::from_json(&value.to_string()).unwrap();
        prop_assert_eq!(from_json.archive().as_bytes(), &expected[..]);
        // One element at a time.
        struct Slowly<'a>(&'a [Value]);
        impl Serialize for Slowly<'_> {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                use serde::ser::SerializeSeq;
                let mut sequence = serializer.serialize_seq(None)?;
                self.0.iter().try_for_each(|number| sequence.serialize_element(number))?;
                sequence.end()
            }
        }
        prop_assert_eq!(&bytes_of(&Slowly(&numbers)), &expected);
        prop_assert_eq!(&bytes_of(&encoded(&value).archive().node()), &expected);
        if let Some(bytes) = numbers.iter().map(|number| number.as_u64().and_then(|number| u8::try_from(number).ok())).collect::<Option<Vec<_>>>() {
            prop_assert_eq!(&bytes_of(&bytes), &expected);
            prop_assert_eq!(&bytes_of(&ByteBuf::from(bytes)), &expected);
        }
        if let Some(integers) = numbers.iter().map(Value::as_i64).collect::<Option<Vec<_>>>() {
            prop_assert_eq!(&bytes_of(&integers), &expected);
        }
        let form = match &numbers[..] {
            [] => 8,
            numbers if numbers.iter().all(is_byte) => 10,
            numbers if numbers.iter().all(Value::is_i64) => 11,
            numbers if numbers.iter().all(Value::is_f64) => 12,
            _ => 8,
        };
        prop_assert_eq!(expected[expected.len() - 9], form);
    }

    #[test]
    fn arrays_of_nodes_are_equal_to_packed_ones_and_edited_alike(numbers in number_arrays(), new in number_arrays(), at in any::<prop::sample::Index>()) {
        let (packed, general) = (encoded(&numbers), unpacked(&numbers));
        let (packed, general) = (packed.archive(), Archive::checked(&general).unwrap());
        prop_assert!(packed.node().eq_node(general.node()) && general.node().eq_node(packed.node()));
        walk_everything(general.node());
        let new = encoded(&new);
        let index = at.index(numbers.len() + 1) as i64;
        let edited = |archive: Archive<'_>| {
            let mut out = Vec::new();
            let Outcome { changed, .. } = apply(archive, &[], Edit::Splice((std::ops::Bound::Included(index), std::ops::Bound::Unbounded), new.archive()), &mut out).unwrap();
            changed.then_some(out)
        };
        prop_assert_eq!(edited(packed), edited(general));
    }
}

/// The value after an edit at an index of an array in an object, and whether its bytes are what the writer makes of it.
fn at_index(text: &str, index: i64, edit: Edit<'_>) -> String {
    let archive = Encoded::from_json(text).unwrap();
    let mut out = Vec::new();
    apply(archive.archive(), &[Step::Key("list".into()), Step::Index(index)], edit, &mut out).unwrap();
    let text = json(Archive::checked(&out).unwrap().node());
    assert_eq!(Encoded::from_json(&text).unwrap().archive().as_bytes(), out, "{text}");
    text
}

#[test]
fn an_edit_of_an_element_leaves_the_narrowest_form() {
    let set = |text: &str, index: i64, new: &str| at_index(text, index, Edit::Set(Encoded::from_json(new).unwrap().archive()));
    assert_eq!(set(r#"{"list":[1,2,3],"b":"a long enough text"}"#, 1, "7"), r#"{"list":[1,7,3],"b":"a long enough text"}"#);
    for list in [
        "[1,2,3]",
        "[1000,2,3]",
        "[1000,2000,3]",
        "[1.5,2.0,3.25]",
        "[1,\"x\",3]",
        "[1.5,2,3.5]",
        "[18446744073709551615,1,2]",
        "[null,\"a long enough text\"]",
    ] {
        for new in ["0", "255", "256", "-1", "1.0", "18446744073709551615", "\"x\"", "\"a long enough text\"", "[1,2]", "null"] {
            for index in [0, 1, -1] {
                set(&format!("{{\"list\":{list}}}"), index, new);
                set(&format!("{{\"list\":{list},\"more\":[1,2,\"another long enough text\"]}}"), index, new);
            }
        }
    }
    let add = |text: &str, number: i64| at_index(text, 0, Edit::Add(Number::Int(number)));
    assert_eq!(add(r#"{"list":[255,1]}"#, 1), r#"{"list":[256,1]}"#);
    assert_eq!(add(r#"{"list":[256,1]}"#, -1), r#"{"list":[255,1]}"#);
    assert_eq!(add(r#"{"list":[9223372036854775807,1]}"#, 1), r#"{"list":[9223372036854775808,1]}"#);
    assert_eq!(at_index(r#"{"list":[1,2]}"#, 0, Edit::Add(Number::Float(0.5))), r#"{"list":[1.5,2]}"#);
    assert_eq!(at_index(r#"{"list":[1,2.5,3.5]}"#, 0, Edit::Remove), r#"{"list":[2.5,3.5]}"#);
    assert_eq!(at_index(r#"{"list":[1,"x",3]}"#, 1, Edit::Remove), r#"{"list":[1,3]}"#);
    let mut float = |value: &mut Value| {
        *value = Value::from(0.5);
        Ok(())
    };
    assert_eq!(at_index(r#"{"list":[1,2.5,3.5]}"#, 0, Edit::Update(&mut float)), r#"{"list":[0.5,2.5,3.5]}"#);
}

#[test]
fn a_change_of_one_number_is_patched_in_place() {
    for list in ["[1,2,3]", "[1000,2000,3000]"] {
        let archive = Encoded::from_json(list).unwrap();
        let mut out = Vec::new();
        apply(archive.archive(), &[Step::Index(1)], Edit::Add(Number::Int(5)), &mut out).unwrap();
        assert_eq!(archive.archive().as_bytes().iter().zip(&out).filter(|(a, b)| a != b).count(), 1);
        assert_eq!(archive.archive().as_bytes().len(), out.len());
    }
}

#[test]
fn packed_arrays_take_little_more_than_their_numbers() {
    let bytes: Vec<u8> = (0..1 << 20).map(|index: u32| index as u8).collect();
    let integers: Vec<i64> = (0..1 << 17).map(|index| index * 77_777 - 5).collect();
    let floats: Vec<f64> = integers.iter().map(|value| *value as f64 / 8.0).collect();
    assert_eq!(bytes_of(&bytes).len(), bytes.len() + 9);
    assert_eq!(bytes_of(&Bytes::new(&bytes)), bytes_of(&bytes));
    assert_eq!(bytes_of(&integers).len(), 8 * integers.len() + 9);
    assert_eq!(bytes_of(&floats).len(), 8 * floats.len() + 9);
    // Late changes of the form.
    let late = bytes.iter().map(|byte| i64::from(*byte)).chain([-1]).collect::<Vec<_>>();
    assert_eq!(bytes_of(&late).len(), 8 * late.len() + 9);
    assert_eq!(encoded(&late).archive().node().read::<Vec<i64>>().unwrap(), late);
    let later = late.iter().map(|value| Value::from(*value)).chain([Value::Null]).collect::<Vec<_>>();
    assert_eq!(bytes_of(&later).len(), 9 * later.len() + 9);
    assert_eq!(encoded(&later).archive().node().to_value().unwrap(), Value::from(later));
}

#[test]
fn bytes_are_lent_in_place() {
    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Holder<'a> {
        #[serde(borrow, with = "serde_bytes")]
        bytes: &'a [u8],
        #[serde(with = "serde_bytes")]
        owned: Vec<u8>,
        #[serde(borrow)]
        none: &'a Bytes,
        array: [u8; 3],
    }
    let holder = Holder { bytes: &[0, 1, 255], owned: b"more".to_vec(), none: Bytes::new(&[]), array: [1, 2, 3] };
    let archive = encoded(&holder);
    let range = archive.archive().as_bytes().as_ptr_range();
    let read: Holder<'_> = archive.archive().node().read().unwrap();
    assert_eq!(read, holder);
    assert!(range.contains(&read.bytes.as_ptr()));
    assert_eq!(json(archive.archive().node()), r#"{"bytes":[0,1,255],"owned":[109,111,114,101],"none":[],"array":[1,2,3]}"#);
    let again = Encoded::from_json(&json(archive.archive().node())).unwrap();
    assert_eq!(again.archive().node().read::<Holder<'_>>().unwrap(), holder);
    // Text counts as bytes, as with serde_json, and what is neither says what it is.
    assert_eq!(encoded("text").archive().node().read::<ByteBuf>().unwrap(), b"text");
    let error = encoded(&[1, 256]).archive().node().read::<ByteBuf>().unwrap_err();
    assert!(error.to_string().contains("256"), "{error}");
    let error = encoded(&1).archive().node().read::<ByteBuf>().unwrap_err();
    assert!(error.to_string().contains("expected byte array, found an integer"), "{error}");
}

#[test]
fn an_element_is_serialised_only_once() {
    use std::cell::Cell;
    struct Once(Cell<Option<std::vec::IntoIter<i64>>>);
    impl Serialize for Once {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            serializer.collect_seq(self.0.take().expect("asked once"))
        }
    }
    let once = |numbers: Vec<i64>| Once(Cell::new(Some(numbers.into_iter())));
    assert_eq!(json(encoded(&[once(vec![1, 2]), once(vec![-3])]).archive().node()), "[[1,2],[-3]]");
}

#[test]
fn a_mixed_array_keeps_all_its_elements_in_order() {
    // Around the length at which bytes are put together.
    for length in [0, 1, 63, 64, 65, 127, 128, 129, 1000] {
        for odd in [Value::Null, Value::from(-1), Value::from(0.5), Value::from("a long enough text"), serde_json::json!([1, [2.5], "x"])] {
            let numbers: Vec<Value> = (0..length).map(|index| Value::from(index % 256)).collect();
            let mut value = numbers.clone();
            value.push(odd.clone());
            value.extend(numbers);
            value.push(odd.clone());
            let archive = encoded(&value);
            validate(archive.archive().as_bytes()).unwrap();
            assert_eq!(archive.archive().node().to_value().unwrap(), Value::from(value.clone()), "{length} {odd}");
            assert_eq!(Encoded::from_json(&Value::from(value).to_string()).unwrap().archive().as_bytes(), archive.archive().as_bytes());
        }
    }
}

#[test]
fn serialisers_that_misbehave_among_numbers_cannot_make_a_bad_archive() {
    use serde::ser::{SerializeSeq, Serializer};
    struct Swallows;
    impl Serialize for Swallows {
        fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
            let mut sequence = serializer.serialize_seq(None)?;
            sequence.serialize_element(&1)?;
            let _ = sequence.serialize_element(&f64::NAN);
            sequence.serialize_element(&300)?;
            let _ = sequence.serialize_element(&vec![1.0, f64::NAN]);
            let _ = sequence.serialize_element(&vec![vec![1, 2], vec![3; 100]]);
            let _ = sequence.serialize_element(&(1, 2, "a long enough text", f64::NAN));
            sequence.serialize_element(&2)?;
            sequence.end()
        }
    }
    let archive = encoded(&Swallows);
    validate(archive.archive().as_bytes()).unwrap();
    walk_everything(archive.archive().node());
    let pair = encoded(&(7, Swallows, 8));
    validate(pair.archive().as_bytes()).unwrap();
    walk_everything(pair.archive().node());
}

#[test]
fn a_visitor_of_someone_elses_is_asked_for_each_element() {
    fn backwards<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Vec<i64>, D::Error> {
        struct Backwards;
        impl<'de> serde::de::Visitor<'de> for Backwards {
            type Value = Vec<i64>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("integers")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut access: A) -> std::result::Result<Vec<i64>, A::Error> {
                let mut elements = std::collections::VecDeque::new();
                while let Some(element) = access.next_element()? {
                    elements.push_front(element);
                }
                Ok(elements.into())
            }
        }
        deserializer.deserialize_seq(Backwards)
    }
    #[derive(Deserialize, Debug, PartialEq)]
    struct Both {
        #[serde(deserialize_with = "backwards")]
        backwards: Vec<i64>,
        forwards: Vec<i64>,
    }
    let archive = encoded(&serde_json::json!({"backwards": [1000, 2000, 3000], "forwards": [1000, 2000, 3000]}));
    let both: Both = archive.archive().node().read().unwrap();
    assert_eq!(both, Both { backwards: vec![3000, 2000, 1000], forwards: vec![1000, 2000, 3000] });
}
