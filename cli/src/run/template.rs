//! The command that is run for each task: arguments with placeholders, as users of GNU parallel know them.
//!
//! | placeholder | stands for |
//! |---|---|
//! | `{}` | the task's key |
//! | `{.}` | without its extension |
//! | `{/}` | without its directory |
//! | `{//}` | its directory, `.` where it has none |
//! | `{/.}` | without directory and extension |
//! | `{#}` | the number of the attempt in this run, from 1 |
//! | `{%}` | the number of the worker, from 1 |
//!
//! A command without any gets the key as its last argument.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

/// A part of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'a> {
    Text(&'a [u8]),
    Whole,
    NoExtension,
    Base,
    Directory,
    BaseNoExtension,
    Sequence,
    Worker,
}

const PLACEHOLDERS: [(&[u8], Part<'static>); 7] = [
    (b"{}", Part::Whole),
    (b"{.}", Part::NoExtension),
    (b"{/}", Part::Base),
    (b"{//}", Part::Directory),
    (b"{/.}", Part::BaseNoExtension),
    (b"{#}", Part::Sequence),
    (b"{%}", Part::Worker),
];

/// What is put into a command for one attempt.
#[derive(Debug, Clone, Copy)]
pub struct Fill<'a> {
    pub key: &'a str,
    pub sequence: u64,
    pub worker: usize,
}

/// A command with placeholders.
#[derive(Debug)]
pub struct Template {
    arguments: Vec<Vec<u8>>,
    is_shell: bool,
}

/// The next placeholder in an argument: where it begins, how long it is, and what it stands for.
fn next(text: &[u8]) -> Option<(usize, usize, Part<'static>)> {
    (0..text.len()).find_map(|start| {
        let found = PLACEHOLDERS.iter().find(|(name, _)| text[start..].starts_with(name))?;
        Some((start, found.0.len(), found.1))
    })
}

fn parts(mut text: &[u8]) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    while let Some((start, length, part)) = next(text) {
        if start > 0 {
            parts.push(Part::Text(&text[..start]));
        }
        parts.push(part);
        text = &text[start + length..];
    }
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    parts
}

/// The last component of a path, and what is before it.
fn split(key: &str) -> (Option<&str>, &str) {
    match key.trim_end_matches('/').rsplit_once('/') {
        Some(("", base)) => (Some("/"), base),
        Some((directory, base)) => (Some(directory), base),
        None => (None, key),
    }
}

/// A path without its extension. A name that begins with a dot has none from there.
fn without_extension(key: &str) -> &str {
    let (_, base) = split(key);
    match base.rfind('.') {
        Some(dot) if dot > 0 => &key[..key.len() - (base.len() - dot)],
        _ => key,
    }
}

impl Part<'_> {
    fn put(self, fill: &Fill<'_>, is_quoted: bool, out: &mut Vec<u8>) {
        let key = fill.key;
        let text = match self {
            Part::Text(text) => return out.extend_from_slice(text),
            Part::Sequence => return out.extend_from_slice(fill.sequence.to_string().as_bytes()),
            Part::Worker => return out.extend_from_slice(fill.worker.to_string().as_bytes()),
            Part::Whole => key,
            Part::NoExtension => without_extension(key),
            Part::Base => split(key).1,
            Part::Directory => split(key).0.unwrap_or("."),
            Part::BaseNoExtension => without_extension(split(key).1),
        };
        if is_quoted { quote(text.as_bytes(), out) } else { out.extend_from_slice(text.as_bytes()) }
    }
}

/// Appends text as one word of a shell.
pub fn quote(text: &[u8], out: &mut Vec<u8>) {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(byte);
    if !text.is_empty() && text.iter().all(is_plain) {
        return out.extend_from_slice(text);
    }
    out.push(b'\'');
    for byte in text {
        if *byte == b'\'' { out.extend_from_slice(b"'\\''") } else { out.push(*byte) }
    }
    out.push(b'\'');
}

impl Template {
    /// A command of arguments; with a shell they are joined by blanks, and what is put in is quoted for it. `needs_key` is false where the
    /// command gets the task in another way, so that it is not appended.
    pub fn new(command: &[OsString], is_shell: bool, needs_key: bool) -> Template {
        let mut arguments: Vec<Vec<u8>> = command.iter().map(|argument| argument.as_bytes().to_vec()).collect();
        if needs_key && arguments.iter().all(|argument| next(argument).is_none()) {
            arguments.push(b"{}".to_vec());
        }
        if is_shell {
            arguments = vec![b"/bin/sh".to_vec(), b"-c".to_vec(), arguments.join(&b' ')];
        }
        Template { arguments, is_shell }
    }

    /// The program, where it is the same for all tasks.
    pub fn program(&self) -> Option<&[u8]> {
        self.arguments.first().map(Vec::as_slice).filter(|program| next(program).is_none())
    }

    /// The arguments for one attempt, the program first. Fails for a key with a NUL, which no argument can have.
    pub fn fill(&self, fill: &Fill<'_>) -> Result<Vec<CString>, String> {
        let mut filled = Vec::with_capacity(self.arguments.len());
        for argument in &self.arguments {
            let mut text = Vec::with_capacity(argument.len() + fill.key.len() + 1);
            for part in parts(argument) {
                part.put(fill, self.is_shell, &mut text);
            }
            filled.push(CString::new(text).map_err(|_| "the key holds a NUL, and no argument can".to_owned())?);
        }
        Ok(filled)
    }

    /// The command as one could type it, with its placeholders.
    pub fn unfilled(&self) -> String {
        let mut text = Vec::new();
        for argument in &self.arguments {
            if !text.is_empty() {
                text.push(b' ');
            }
            // Placeholders are read more easily without quotes.
            if !argument.is_empty() && argument.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:=@%+,{}#".contains(byte)) {
                text.extend_from_slice(argument);
            } else {
                quote(argument, &mut text);
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// The command as one could type it.
    pub fn shown(&self, fill: &Fill<'_>) -> Result<String, String> {
        let mut text = Vec::new();
        for argument in self.fill(fill)? {
            if !text.is_empty() {
                text.push(b' ');
            }
            quote(argument.as_bytes(), &mut text);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(command: &[&str], key: &str, is_shell: bool) -> String {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let filled = Template::new(&command, is_shell, true).fill(&Fill { key, sequence: 7, worker: 2 }).unwrap();
        filled.iter().map(|argument| argument.to_str().unwrap().to_owned()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn placeholders_are_those_of_gnu_parallel() {
        for (key, expected) in [
            ("a/b/c.tar.gz", "a/b/c.tar.gz|a/b/c.tar|c.tar.gz|a/b|c.tar|7|2"),
            ("c.gz", "c.gz|c|c.gz|.|c|7|2"),
            ("/c", "/c|/c|c|/|c|7|2"),
            ("a.d/b", "a.d/b|a.d/b|b|a.d|b|7|2"),
            (".profile", ".profile|.profile|.profile|.|.profile|7|2"),
            ("a b{}", "a b{}|a b{}|a b{}|.|a b{}|7|2"),
        ] {
            assert_eq!(fill(&["{}", "{.}", "{/}", "{//}", "{/.}", "{#}", "{%}"], key, false), expected, "{key}");
        }
        assert_eq!(fill(&["cp", "{}", "x{/.}-{#}.out"], "d/a.in", false), "cp|d/a.in|xa-7.out");
    }

    #[test]
    fn without_a_placeholder_the_key_comes_last() {
        assert_eq!(fill(&["echo", "{x}"], "a", false), "echo|{x}|a");
        assert_eq!(fill(&["echo", "{x}"], "a b", true), "/bin/sh|-c|echo {x} 'a b'");
    }

    #[test]
    fn a_shell_gets_keys_as_single_words() {
        assert_eq!(
            fill(&["gzip -c {} > {.}.gz"], "it's; rm -rf.txt", true),
            "/bin/sh|-c|gzip -c 'it'\\''s; rm -rf.txt' > 'it'\\''s; rm -rf'.gz"
        );
    }

    #[test]
    fn a_key_with_nul_is_refused() {
        let template = Template::new(&["echo".into()], false, true);
        assert!(template.fill(&Fill { key: "a\0b", sequence: 1, worker: 1 }).is_err());
    }
}
