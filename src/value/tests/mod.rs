//! Tests of the whole module; `support` has what they share.

mod edits;
mod hostile;
mod json_text;
mod layout;
mod packed;
mod types;

use proptest::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::*;
use crate::error::Result;

/// Any JSON value that `Value` can hold, with keys that collide now and then.
pub(super) fn values() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-3..3_i64).prop_map(Value::from),
        any::<f64>().prop_filter("JSON has finite floats only", |value| value.is_finite()).prop_map(Value::from),
    ];
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), number, text().prop_map(Value::from)];
    prop_oneof![leaf.clone(), number_arrays().prop_map(Value::from)].prop_recursive(5, 60, 6, |inner| {
        let object = prop::collection::vec((text(), inner.clone()), 0..7).prop_map(|entries| entries.into_iter().collect());
        prop_oneof![prop::collection::vec(inner, 0..7).prop_map(Value::Array), object]
    })
}

/// Arrays of numbers, most of which can be packed, and some in more than one form or in none.
pub(super) fn number_arrays() -> impl Strategy<Value = Vec<Value>> {
    let byte = || any::<u8>().prop_map(Value::from);
    let int = || prop_oneof![any::<i64>(), -1..257_i64].prop_map(Value::from);
    let float = || prop_oneof![any::<f64>(), Just(-0.0), Just(1.0)].prop_filter("finite", |value| value.is_finite()).prop_map(Value::from);
    let any_number = prop_oneof![byte(), int(), float(), any::<u64>().prop_map(Value::from)];
    let length = 0..9;
    prop_oneof![
        prop::collection::vec(byte(), length.clone()),
        prop::collection::vec(prop_oneof![byte(), int()], length.clone()),
        prop::collection::vec(float(), length.clone()),
        prop::collection::vec(any_number, length),
    ]
}

/// Text on both sides of the length that still stands in place.
pub(super) fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-c]{0,2}", "[a-z_]{6,10}", "[a-c]{9,9}", any::<String>(), "[\\x00-\\x7f]{0,30}"]
}

pub(super) fn encoded<T: Serialize + ?Sized>(value: &T) -> Encoded {
    Encoded::new(value).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn json(node: Node<'_>) -> String {
    let mut text = String::new();
    node.write_json(&mut text);
    text
}

/// Calls everything that reads, on every node.
pub(super) fn walk_everything(node: Node<'_>) {
    let text = json(node);
    assert!(serde_json::from_str::<Value>(&text).is_ok() || text.contains(['e', 'E']) || text.len() > 300, "{text}");
    if let Ok(value) = node.to_value() {
        assert!(node.eq_value(&value));
        assert_eq!(node.read::<Value>().unwrap(), value);
    }
    assert!(node.eq_node(node));
    assert!(node.depth() <= crate::limits::VALUE_DEPTH_MAX);
    assert_eq!(node.iter().len() + node.entries().len(), if node.as_str().is_some() { 0 } else { node.len() });
    for (index, element) in node.iter().enumerate() {
        assert!(node.index(index as i64).unwrap().eq_node(element));
        assert!(node.index(index as i64 - node.len() as i64).unwrap().eq_node(element));
    }
    for (key, value) in node.entries() {
        assert!(node.get(key).unwrap().eq_node(value));
    }
    let copy = encoded(&node);
    validate(copy.archive().as_bytes()).unwrap();
    assert_eq!(json(copy.archive().node()), text);
    let _ = (node.kind_name(), node.is_null(), node.as_bool(), node.as_i64(), node.as_u64(), node.as_f64());
}
