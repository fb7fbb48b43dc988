//! Which tasks or keys a command is about: named on the command line, or by a condition on their values.

use crate::outcome::{Result, Trouble};
use serde_json::Value;
use std::str::FromStr;
use tastypod::Key;

/// Keys in arguments.
#[derive(clap::Args, Debug)]
pub struct KeyForm {
    /// Keys are JSON: "a", 7 or ["a", 7]; without, each is a string as it stands
    #[arg(long)]
    json_keys: bool,
}

impl KeyForm {
    pub fn key(&self, text: &str) -> Result<Key> {
        if self.json_keys { Ok(Key::from_json(text)?) } else { Ok(Key::from(text)) }
    }

    pub fn keys(&self, texts: &[String]) -> Result<Vec<Key>> {
        texts.iter().map(|text| self.key(text)).collect()
    }
}

/// Tasks in arguments, or by conditions.
#[derive(clap::Args, Debug)]
pub struct Selection {
    /// Tasks
    tasks: Vec<String>,
    /// Only where a field is so: FIELD=VALUE, FIELD!=VALUE, or FIELD~TEXT for one that has TEXT in it; several: all of them. A FIELD
    /// that begins with / is a JSON pointer
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<Condition>,
    #[command(flatten)]
    form: KeyForm,
}

impl Selection {
    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.conditions.is_empty()
    }

    /// The keys that were named; nothing where none were.
    pub fn named(&self) -> Result<Option<Vec<Key>>> {
        if self.tasks.is_empty() { Ok(None) } else { self.form.keys(&self.tasks).map(Some) }
    }

    pub fn matches(&self, value: &Value) -> bool {
        self.conditions.iter().all(|condition| condition.holds(value))
    }
}

/// A condition on a field.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    field: String,
    test: Test,
}

#[derive(Debug, Clone, PartialEq)]
enum Test {
    Equal(Value),
    Different(Value),
    Contains(String),
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Condition, String> {
        let at = text.find(['=', '~', '!']).filter(|at| *at > 0);
        let (field, rest) = text.split_at(at.ok_or_else(|| format!("{text}: write FIELD=VALUE, FIELD!=VALUE or FIELD~TEXT"))?);
        // What is no JSON is a string.
        let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
        let test = if let Some(value_text) = rest.strip_prefix("!=") {
            Test::Different(value(value_text))
        } else if let Some(value_text) = rest.strip_prefix('=') {
            Test::Equal(value(value_text))
        } else if let Some(part) = rest.strip_prefix('~') {
            Test::Contains(part.to_owned())
        } else {
            return Err(format!("{text}: write FIELD=VALUE, FIELD!=VALUE or FIELD~TEXT"));
        };
        Ok(Condition { field: field.to_owned(), test })
    }
}

/// Whether two values are the same to a person: 1 is 1.0, and "7" was perhaps meant where 7 was read.
fn is_same(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (Value::Number(found), Value::Number(wanted)) => found.as_f64() == wanted.as_f64(),
        (Value::String(found), Value::Number(_) | Value::Bool(_)) => {
            serde_json::from_str::<Value>(found).is_ok_and(|found| is_same(&found, wanted))
        }
        _ => found == wanted,
    }
}

impl Condition {
    pub fn holds(&self, value: &Value) -> bool {
        let found = if self.field.starts_with('/') { value.pointer(&self.field) } else { value.get(&self.field) };
        let found = found.unwrap_or(&Value::Null);
        match &self.test {
            Test::Equal(wanted) => is_same(found, wanted),
            Test::Different(wanted) => !is_same(found, wanted),
            Test::Contains(part) => match found {
                Value::Null => false,
                Value::String(text) => text.contains(part),
                other => other.to_string().contains(part),
            },
        }
    }
}

/// Says that a key is absent, and how the one is written that may have been meant.
pub fn no_such_key(key: &Key, is_present: impl Fn(&Key) -> tastypod::Result<bool>) -> String {
    let spelled = key.as_str().and_then(|text| Key::from_json(text).ok());
    match spelled {
        Some(other) if is_present(&other).unwrap_or(false) => {
            let kind = if other.as_i64().is_some() { "the number" } else { "the list" };
            format!("{key}: no such key; {kind} {other} is one: use --json-keys")
        }
        _ => format!("{key}: no such key"),
    }
}

/// Says which keys are absent; whether none is.
pub fn all_present(keys: &[Key], is_present: impl Fn(&Key) -> tastypod::Result<bool>) -> std::result::Result<bool, Trouble> {
    let mut all = true;
    for key in keys {
        if !is_present(key)? {
            eprintln!("tastypod: {}", no_such_key(key, &is_present));
            all = false;
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn conditions_compare_fields() {
        let task = json!({"exit": 2, "_error": "exit code 2", "url": "7", "deep": {"a": [1.0]}, "none": null});
        for (condition, expected) in [
            ("exit=2", true),
            ("exit=2.0", true),
            ("exit!=2", false),
            ("_error=exit code 2", true),
            ("_error~code", true),
            ("_error~signal", false),
            ("url=7", true),
            ("/deep/a/0=1", true),
            ("absent=null", true),
            ("absent!=1", true),
            ("none~n", false),
            ("deep~[1.0]", true),
        ] {
            assert_eq!(condition.parse::<Condition>().unwrap().holds(&task), expected, "{condition}");
        }
        for text in ["", "exit", "=2", "exit!2"] {
            assert!(text.parse::<Condition>().is_err(), "{text}");
        }
    }
}
