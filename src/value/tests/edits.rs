//! Edits, against a naive model on `serde_json::Value`.

use std::ops::Bound;

use super::*;
use crate::error::ErrorKind;

/// An edit with its values still to be encoded.
#[derive(Debug, Clone)]
enum Model {
    Set(Value),
    SetIfAbsent(Value),
    Remove,
    Add(i64),
    AddFloat(f64),
    Push(Value),
    Extend(Vec<Value>),
    Insert(i64, Value),
    Pop,
    Merge(serde_json::Map<String, Value>),
    Splice(Bound<i64>, Bound<i64>, Vec<Value>),
    Update(Value),
}

fn models() -> impl Strategy<Value = Model> {
    let bound = || prop_oneof![Just(Bound::Unbounded), (-4..5_i64).prop_map(Bound::Included), (-4..5_i64).prop_map(Bound::Excluded)];
    prop_oneof![
        values().prop_map(Model::Set),
        values().prop_map(Model::SetIfAbsent),
        Just(Model::Remove),
        prop_oneof![any::<i64>(), -5..5_i64].prop_map(Model::Add),
        (-1e300..1e300_f64).prop_map(Model::AddFloat),
        values().prop_map(Model::Push),
        prop::collection::vec(values(), 0..3).prop_map(Model::Extend),
        (-4..5_i64, values()).prop_map(|(index, value)| Model::Insert(index, value)),
        Just(Model::Pop),
        prop::collection::vec((text(), values()), 0..4).prop_map(|entries| Model::Merge(entries.into_iter().collect())),
        (bound(), bound(), prop::collection::vec(values(), 0..3)).prop_map(|(start, end, values)| Model::Splice(start, end, values)),
        values().prop_map(Model::Update),
    ]
}

/// All paths into a value, the last step now and then leading nowhere.
fn paths(value: &Value) -> Vec<Vec<Step>> {
    let mut paths = vec![Vec::new()];
    let mut below = |step: Step, inner: &Value| {
        for mut path in self::paths(inner) {
            path.insert(0, step.clone());
            paths.push(path);
        }
    };
    match value {
        Value::Array(elements) => {
            elements.iter().enumerate().for_each(|(index, element)| below(Step::Index(index as i64 - elements.len() as i64), element));
            paths.push(vec![Step::Index(elements.len() as i64)]);
            paths.push(vec![Step::Token("-".into())]);
        }
        Value::Object(entries) => {
            entries.iter().for_each(|(key, value)| below(Step::Key(key.clone().into()), value));
            paths.push(vec![Step::Token("a new key".into())]);
        }
        _ => paths.push(vec![Step::Token("0".into())]),
    }
    paths
}

/// What the model says: the new value, or `None` for an error.
fn expected(root: &Value, steps: &[Step], edit: &Model) -> Option<Value> {
    let mut root = root.clone();
    let (last, parents) = match steps.split_last() {
        None => {
            if matches!(edit, Model::Remove) {
                return None;
            }
            let mut slot = Some(root);
            change(&mut slot, edit)?;
            return slot;
        }
        Some(split) => split,
    };
    let parent = parents.iter().try_fold(&mut root, |value, step| match (value, step) {
        (Value::Array(elements), Step::Index(index)) => {
            let index = elements.len() as i64 + index;
            elements.get_mut(index as usize)
        }
        (Value::Object(entries), Step::Key(key)) => entries.get_mut(&**key),
        _ => None,
    })?;
    match (parent, last) {
        (Value::Array(elements), step) => {
            let length = elements.len();
            let index = match step {
                Step::Index(index) if *index < 0 => (length as i64 + index) as usize,
                Step::Index(_) => return None,
                _ => length,
            };
            let mut slot = (index < length).then(|| elements[index].clone());
            change(&mut slot, edit)?;
            match slot {
                Some(value) if index < length => elements[index] = value,
                Some(value) => elements.push(value),
                None if index < length => drop(elements.remove(index)),
                None => (),
            }
        }
        (Value::Object(entries), step) => {
            let key = match step {
                Step::Key(key) => key.to_string(),
                Step::Token(token) => token.to_string(),
                Step::Index(_) => return None,
            };
            let mut slot = entries.get(&key).cloned();
            change(&mut slot, edit)?;
            match slot {
                Some(value) => drop(entries.insert(key, value)),
                None => drop(entries.shift_remove(&key)),
            }
        }
        _ => return None,
    }
    Some(root)
}

fn change(slot: &mut Option<Value>, edit: &Model) -> Option<()> {
    match edit {
        Model::Set(value) => *slot = Some(value.clone()),
        Model::SetIfAbsent(value) => _ = slot.get_or_insert_with(|| value.clone()),
        Model::Remove => *slot = None,
        Model::Add(number) => {
            let Value::Number(old) = slot.clone().unwrap_or(Value::from(0)) else { return None };
            *slot = Some(match (old.as_i128(), old.as_f64()) {
                (Some(old), _) => {
                    let sum = old + i128::from(*number);
                    i64::try_from(sum).map(Value::from).or_else(|_| u64::try_from(sum).map(Value::from)).ok()?
                }
                (None, Some(old)) => Value::from(old + *number as f64),
                _ => return None,
            });
        }
        Model::AddFloat(number) => {
            let Value::Number(old) = slot.clone().unwrap_or(Value::from(0)) else { return None };
            let sum = old.as_f64()? + number;
            *slot = Some(sum.is_finite().then(|| Value::from(sum))?);
        }
        Model::Push(value) => slot.get_or_insert_with(|| Value::Array(Vec::new())).as_array_mut()?.push(value.clone()),
        Model::Extend(values) => slot.get_or_insert_with(|| Value::Array(Vec::new())).as_array_mut()?.extend(values.iter().cloned()),
        Model::Insert(index, value) => {
            let array = slot.as_mut()?.as_array_mut()?;
            let index = place(*index, array.len())?;
            array.insert(index, value.clone());
        }
        Model::Pop => drop(slot.as_mut()?.as_array_mut()?.pop()),
        Model::Merge(fields) => {
            let object = slot.as_mut()?.as_object_mut()?;
            for (key, value) in fields {
                object.insert(key.clone(), value.clone());
            }
        }
        Model::Splice(start, end, values) => {
            let array = slot.as_mut()?.as_array_mut()?;
            let after = |index: i64| if index == -1 { Some(array.len()) } else { place(index + 1, array.len()) };
            let start = match *start {
                Bound::Unbounded => 0,
                Bound::Included(index) => place(index, array.len())?,
                Bound::Excluded(index) => after(index)?,
            };
            let end = match *end {
                Bound::Unbounded => array.len(),
                Bound::Included(index) => after(index)?,
                Bound::Excluded(index) => place(index, array.len())?,
            };
            array.splice(start..end.max(start), values.iter().cloned());
        }
        Model::Update(value) => *slot.as_mut()? = value.clone(),
    }
    Some(())
}

fn place(index: i64, length: usize) -> Option<usize> {
    let index = if index < 0 { index + length as i64 } else { index };
    usize::try_from(index).ok().filter(|index| *index <= length)
}

/// Makes the edit; the new text, or `None` where nothing was to change.
fn edited(root: &Encoded, steps: &[Step], edit: &Model) -> Result<Option<String>> {
    let value = match edit {
        Model::Set(value) | Model::SetIfAbsent(value) | Model::Push(value) | Model::Insert(_, value) => encoded(value),
        Model::Extend(values) | Model::Splice(_, _, values) => encoded(values),
        Model::Merge(fields) => encoded(fields),
        _ => encoded(&()),
    };
    let mut replace = |value: &mut Value| {
        if let Model::Update(new) = edit {
            *value = new.clone();
        }
        Ok(())
    };
    let edit = match edit {
        Model::Set(_) => Edit::Set(value.archive()),
        Model::SetIfAbsent(_) => Edit::SetIfAbsent(value.archive()),
        Model::Remove => Edit::Remove,
        Model::Add(number) => Edit::Add(Number::Int(*number)),
        Model::AddFloat(number) => Edit::Add(Number::Float(*number)),
        Model::Push(_) => Edit::Push(value.archive()),
        Model::Extend(_) => Edit::Extend(value.archive()),
        Model::Insert(index, _) => Edit::Insert(*index, value.archive()),
        Model::Pop => Edit::Pop,
        Model::Merge(_) => Edit::Merge(value.archive()),
        Model::Splice(start, end, _) => Edit::Splice((*start, *end), value.archive()),
        Model::Update(_) => Edit::Update(&mut replace),
    };
    let mut out = b"before".to_vec();
    let outcome = apply(root.archive(), steps, edit, &mut out);
    assert_eq!(out.len() > 6, outcome.as_ref().is_ok_and(|outcome| outcome.changed));
    if !outcome?.changed {
        return Ok(None);
    }
    let archive = Archive::checked(&out[6..]).unwrap_or_else(|error| panic!("{error}"));
    // What is written from scratch is the same: an edit leaves no garbage, and arrays packed as they can be.
    assert_eq!(encoded(&archive.node()).archive().as_bytes(), &out[6..]);
    Ok(Some(json(archive.node())))
}

proptest! {
    #[test]
    fn edits_do_what_the_model_does(root in values(), edit in models(), at in any::<prop::sample::Index>()) {
        let paths = paths(&root);
        let steps = at.get(&paths[..]);
        let archive = encoded(&root);
        match (edited(&archive, steps, &edit), expected(&root, steps, &edit)) {
            (Ok(text), Some(value)) => {
                let before = json(archive.archive().node());
                prop_assert_eq!(text.unwrap_or(before), value.to_string());
            }
            (Err(_), None) => (),
            (Ok(text), None) => prop_assert!(false, "{root} {steps:?} {edit:?}: no error but {text:?}"),
            (Err(error), Some(value)) => prop_assert!(false, "{root} {steps:?} {edit:?}: {error} instead of {value}"),
        }
    }

    #[test]
    fn pointers_and_steps_lead_to_the_same(root in values(), at in any::<prop::sample::Index>()) {
        let paths = paths(&root);
        let archive = encoded(&root);
        let node = archive.archive().node();
        let steps = at.get(&paths[..]);
        let by_steps = resolve(node, steps);
        // A pointer has no negative indices.
        let pointer = pointer_of(steps);
        let by_pointer = resolve(node, &parse_pointer(&pointer).unwrap());
        match root.pointer(&pointer) {
            Some(value) => prop_assert!(by_pointer.unwrap().unwrap().eq_value(value)),
            None => prop_assert!(!by_pointer.is_ok_and(|found| found.is_some())),
        }
        if let Err(error) = by_steps {
            let is_mismatch = matches!(error.kind(), ErrorKind::TypeMismatch { .. });
            prop_assert!(is_mismatch);
        }
    }
}

fn key(key: &'static str) -> Step {
    Step::Key(key.into())
}

#[test]
fn digits_that_no_type_holds_survive_edits_around_them() {
    let text = r#"{"big":123456789012345678901234567890,"list":[1e400,2],"n":1}"#;
    let archive = Encoded::from_json(text).unwrap();
    let long = Model::Set(Value::from("a long enough text"));
    assert_eq!(
        edited(&archive, &[key("n")], &long).unwrap().unwrap(),
        r#"{"big":123456789012345678901234567890,"list":[1e400,2],"n":"a long enough text"}"#
    );
    assert_eq!(
        edited(&archive, &[key("list")], &Model::Insert(0, Value::from("a long enough text"))).unwrap().unwrap(),
        r#"{"big":123456789012345678901234567890,"list":["a long enough text",1e400,2],"n":1}"#
    );
    assert_eq!(
        edited(&archive, &[key("list"), Step::Index(-1)], &Model::Update(Value::Null)).unwrap().unwrap(),
        r#"{"big":123456789012345678901234567890,"list":[1e400,null],"n":1}"#
    );
    assert_eq!(edited(&archive, &[key("list")], &Model::Update(Value::Null)).unwrap_err().kind(), ErrorKind::InvalidValue);
}

#[test]
fn sums_are_exact_or_refused() {
    let sum = |text: &str, number: Number| {
        let archive = Encoded::from_json(text).unwrap();
        apply(archive.archive(), &[], Edit::Add(number), &mut Vec::new()).map(|outcome| outcome.sum.unwrap()).map_err(|error| error.kind())
    };
    assert_eq!(sum("9223372036854775807", Number::Int(1)), Ok(Number::Uint(1 << 63)));
    assert_eq!(sum("18446744073709551615", Number::Int(-1)), Ok(Number::Uint(u64::MAX - 1)));
    assert_eq!(sum("1", Number::Uint(u64::MAX - 1)), Ok(Number::Uint(u64::MAX)));
    assert_eq!(sum("9223372036854775808", Number::Int(-1)), Ok(Number::Int(i64::MAX)));
    assert_eq!(sum("18446744073709551616", Number::Int(-1)), Ok(Number::Uint(u64::MAX)));
    assert_eq!(sum("1", Number::Float(0.5)), Ok(Number::Float(1.5)));
    assert_eq!(sum("1.5", Number::Int(1)), Ok(Number::Float(2.5)));
    assert_eq!(sum("18446744073709551615", Number::Int(1)), Err(ErrorKind::InvalidValue));
    assert_eq!(sum("-9223372036854775808", Number::Int(-1)), Err(ErrorKind::InvalidValue));
    assert_eq!(sum("1e400", Number::Int(1)), Err(ErrorKind::InvalidValue));
    assert_eq!(sum("1e308", Number::Float(1e308 * 1.5)), Err(ErrorKind::InvalidValue));
    assert_eq!(sum("1", Number::Float(f64::NAN)), Err(ErrorKind::InvalidValue));
    assert!(matches!(sum("true", Number::Int(1)), Err(ErrorKind::TypeMismatch { expected: "a number", .. })));
}

#[test]
fn what_points_nowhere_is_patched_in_place() {
    let text = r#"{"_tries":0,"_done":false,"url":"https://example.com/a/page","extra":[1,2]}"#;
    let archive = Encoded::from_json(text).unwrap();
    let old = archive.archive().as_bytes();
    let mut out = Vec::new();
    apply(archive.archive(), &[key("_tries")], Edit::Add(Number::Int(3)), &mut out).unwrap();
    assert_eq!(old.iter().zip(&out).filter(|(a, b)| a != b).count(), 1);
    let fields = Encoded::from_json(r#"{"_done":true,"_tries":"short"}"#).unwrap();
    out.clear();
    apply(archive.archive(), &[], Edit::Merge(fields.archive()), &mut out).unwrap();
    assert_eq!(out.len(), old.len());
    let merged = json(Archive::checked(&out).unwrap().node());
    assert_eq!(merged, r#"{"_tries":"short","_done":true,"url":"https://example.com/a/page","extra":[1,2]}"#);
}

#[test]
fn absent_parts_are_created_only_at_the_end_of_a_path() {
    let archive = Encoded::from_json(r#"{"a":{},"b":[]}"#).unwrap();
    let edit = |pointer: &str, edit: Model| edited(&archive, &parse_pointer(pointer).unwrap(), &edit).map_err(|error| error.kind());
    assert_eq!(edit("/a/n", Model::Add(2)).unwrap().unwrap(), r#"{"a":{"n":2},"b":[]}"#);
    assert_eq!(edit("/a/list", Model::Push(Value::Null)).unwrap().unwrap(), r#"{"a":{"list":[null]},"b":[]}"#);
    assert_eq!(edit("/b/-", Model::Set(Value::Null)).unwrap().unwrap(), r#"{"a":{},"b":[null]}"#);
    assert_eq!(edit("/c/d", Model::Set(Value::Null)).unwrap_err(), ErrorKind::KeyNotFound);
    assert_eq!(edit("/b/0", Model::Set(Value::Null)).unwrap_err(), ErrorKind::KeyNotFound);
    assert_eq!(edit("/a/n", Model::Update(Value::Null)).unwrap_err(), ErrorKind::KeyNotFound);
    assert_eq!(
        edit("/b/x", Model::Set(Value::Null)).unwrap_err(),
        ErrorKind::TypeMismatch { path: "/b".into(), expected: "an object", found: "an array" }
    );
    assert_eq!(edit("/a/x", Model::Remove).unwrap(), None);
}

#[test]
fn what_an_edit_takes_out_is_returned() {
    let archive = Encoded::from_json(r#"[1,"a long enough text",[3],4]"#).unwrap();
    let nothing = Encoded::from_json("[]").unwrap();
    let bounds = (Bound::Included(1), Bound::Excluded(-1));
    let outcome = apply(archive.archive(), &[], Edit::Splice(bounds, nothing.archive()), &mut Vec::new()).unwrap();
    assert_eq!(outcome.taken.map(json).collect::<Vec<_>>(), ["\"a long enough text\"", "[3]"]);
    let outcome = apply(archive.archive(), &[], Edit::Pop, &mut Vec::new()).unwrap();
    assert_eq!(outcome.taken.map(json).collect::<Vec<_>>(), ["4"]);
}

#[test]
fn an_edit_cannot_exceed_the_depth() {
    let nested = |depth: usize| Encoded::from_json(&format!("{}{}", "[".repeat(depth), "]".repeat(depth))).unwrap();
    let (outer, steps) = (nested(100), vec![Step::Index(0); 99]);
    let push = |depth: usize| apply(outer.archive(), &steps, Edit::Push(nested(depth).archive()), &mut Vec::new()).map(|_| ());
    push(27).unwrap();
    assert_eq!(push(28).unwrap_err().kind(), ErrorKind::InvalidValue);
    let extend = |depth: usize| apply(outer.archive(), &steps, Edit::Extend(nested(depth).archive()), &mut Vec::new()).map(|_| ());
    extend(28).unwrap();
    assert_eq!(extend(29).unwrap_err().kind(), ErrorKind::InvalidValue);
}

#[test]
fn an_update_that_fails_changes_nothing() {
    let archive = Encoded::from_json("{\"a\":1}").unwrap();
    let mut out = Vec::new();
    let mut fail = |_: &mut Value| Err(crate::Error::other("my reason"));
    let error = apply(archive.archive(), &[key("a")], Edit::Update(&mut fail), &mut out).err().unwrap();
    assert_eq!((error.to_string().as_str(), out.len()), ("my reason", 0));
}

#[test]
fn malformed_pointers_are_refused() {
    for bad in ["a", "/~", "/a~2", "#/a"] {
        assert_eq!(parse_pointer(bad).unwrap_err().kind(), ErrorKind::InvalidValue, "{bad}");
    }
    assert_eq!(parse_pointer("/~01/~1").unwrap(), [Step::Token("~1".into()), Step::Token("/".into())]);
}
