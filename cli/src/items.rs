//! Items on standard input or in arguments: one a line, or separated by NUL. Names of files may be any bytes; keys are text.

use crate::outcome::{Result, Trouble};
use std::io::BufRead;
use tastypod::{AsKey, Key};

/// Calls a body with each item that is not empty, in order, its number counted from 1.
pub fn each(input: &mut dyn BufRead, separator: u8, mut body: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
    let mut item = Vec::new();
    let mut number = 0;
    loop {
        item.clear();
        if input.read_until(separator, &mut item).map_err(|error| Trouble::io("standard input", &error))? == 0 {
            return Ok(());
        }
        number += 1;
        if item.last() == Some(&separator) {
            item.pop();
        }
        if !item.is_empty() {
            body(number, &item)?;
        }
    }
}

/// The text of an item; why it has none names it, with the bytes that are no text escaped.
pub fn text(item: &[u8]) -> std::result::Result<&str, String> {
    std::str::from_utf8(item)
        .map_err(|_| format!("{} is not UTF-8, and keys are text; rename it, or pass it in an encoding of your own", item.escape_ascii()))
}

/// A key that can be stored; why it cannot, otherwise.
pub fn key(key: impl AsKey) -> std::result::Result<Key, String> {
    key.to_key().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #[test]
    fn items_end_at_the_separator_and_empty_ones_are_left_out() {
        let items = |text: &[u8], separator: u8| {
            let mut items = Vec::new();
            super::each(&mut &*text, separator, |number, item| {
                items.push((number, item.to_vec()));
                Ok(())
            })
            .unwrap();
            items
        };
        assert_eq!(items(b"a\n\nb", b'\n'), [(1, b"a".to_vec()), (3, b"b".to_vec())]);
        assert_eq!(items(b"a\nb\0c\0", 0), [(1, b"a\nb".to_vec()), (2, b"c".to_vec())]);
    }

    #[test]
    fn what_is_no_text_is_named() {
        assert!(super::text(b"a\xff").unwrap_err().starts_with("a\\xff is not UTF-8"));
        assert_eq!(super::text("ä".as_bytes()).unwrap(), "ä");
    }
}
