//! Random calls on one map, each compared with the same call on a model in plain memory: values, order, errors, what
//! transactions see and leave, snapshots, iteration, closing and opening again with and without the files that can be
//! rebuilt. The calls and the model are those of the fuzz target `operations`; here proptest draws the calls and shrinks
//! what it finds.

use crate::fuzz::operations::{Call, Edit, End, Operation, Step, key, leaf, part_name, run};
use crate::support::{Role, directory};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Number, Value};
use std::ops::Bound;
use tastypod::Key;

pub const CHILDREN: &[Role] = &[];

fn keys() -> impl Strategy<Value = Key> {
    any::<u8>().prop_map(key)
}

fn names() -> impl Strategy<Value = String> {
    any::<u8>().prop_map(|index| part_name(index).to_owned())
}

fn values() -> impl Strategy<Value = Value> {
    any::<u8>().prop_map(leaf).prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            vec((names(), inner), 0..5).prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    })
}

fn entries() -> impl Strategy<Value = Vec<(Key, Value)>> {
    vec((keys(), values()), 0..6)
}

fn indices() -> impl Strategy<Value = i64> {
    prop_oneof![20 => -4..5_i64, 1 => Just(i64::MIN), 1 => Just(i64::MAX)]
}

fn bounds() -> impl Strategy<Value = Bound<i64>> {
    prop_oneof![Just(Bound::Unbounded), indices().prop_map(Bound::Included), indices().prop_map(Bound::Excluded)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![names().prop_map(Step::Key), indices().prop_map(Step::Index), names().prop_map(Step::Token)];
    vec(step, 0..4)
}

fn numbers() -> impl Strategy<Value = Number> {
    let of = |value: Value| value.as_number().cloned();
    (3..11_u8).prop_filter_map("leaves that are numbers", move |index| of(leaf(index)))
}

fn edits() -> impl Strategy<Value = Edit> {
    prop_oneof![
        Just(Edit::Get),
        Just(Edit::Contains),
        Just(Edit::Len),
        values().prop_map(Edit::Set),
        values().prop_map(Edit::SetIfAbsent),
        Just(Edit::Remove),
        numbers().prop_map(Edit::Add),
        values().prop_map(Edit::Push),
        vec(values(), 0..4).prop_map(Edit::Extend),
        (indices(), values()).prop_map(|(index, value)| Edit::Insert(index, value)),
        Just(Edit::Pop),
        values().prop_map(Edit::Merge),
        (bounds(), bounds(), vec(values(), 0..4)).prop_map(|(start, end, values)| Edit::Splice(start, end, values)),
        values().prop_map(Edit::Update),
    ]
}

fn calls() -> impl Strategy<Value = Call> {
    prop_oneof![
        1 => keys().prop_map(Call::Get),
        1 => keys().prop_map(Call::RawJson),
        1 => keys().prop_map(Call::ContainsKey),
        4 => (keys(), values()).prop_map(|(key, value)| Call::Set(key, value)),
        1 => (keys(), values()).prop_map(|(key, value)| Call::SetRawJson(key, value)),
        1 => (keys(), values()).prop_map(|(key, value)| Call::Insert(key, value)),
        1 => (keys(), values()).prop_map(|(key, value)| Call::SetIfAbsent(key, value)),
        2 => keys().prop_map(Call::Remove),
        1 => (keys(), proptest::option::of(values())).prop_map(|(key, value)| Call::Update(key, value)),
        1 => (keys(), values()).prop_map(|(key, value)| Call::UpdateOrInsert(key, value)),
        1 => (keys(), any::<bool>(), proptest::option::of(values())).prop_map(|(key, right, new)| Call::CompareExchange(key, right, new)),
        8 => (keys(), steps(), edits()).prop_map(|(key, steps, edit)| Call::At(key, steps, edit)),
        1 => entries().prop_map(Call::Extend),
        1 => Just(Call::Clear),
        1 => Just(Call::Entries),
    ]
}

fn ends() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Commit), Just(End::RollBack), Just(End::Drop)]
}

fn operations() -> impl Strategy<Value = Operation> {
    prop_oneof![
        16 => calls().prop_map(Operation::Call),
        1 => entries().prop_map(Operation::ExtendIfAbsent),
        3 => (vec(calls(), 0..6), ends()).prop_map(|(calls, end)| Operation::Transaction(calls, end)),
        3 => (vec(calls(), 0..6), ends()).prop_map(|(calls, end)| Operation::Guard(calls, end)),
        2 => Just(Operation::Snapshot),
        2 => (0..8_u8).prop_map(Operation::IterLive),
        1 => Just(Operation::Iterate),
        1 => (0..8_u8).prop_map(Operation::Reopen),
        1 => Just(Operation::ReadOnly),
        2 => Just(Operation::Compact),
        1 => Just(Operation::Verify),
    ]
}

/// `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    ProptestConfig { cases, failure_persistence: None, max_shrink_time: 60_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_call_does_what_the_model_does(operations in vec(operations(), 1..60)) {
        let dir = directory();
        run(&dir.path().join("a.pod"), &operations);
    }
}
