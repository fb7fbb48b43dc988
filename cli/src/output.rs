//! Standard output, which may be closed at any time by who reads it, and what goes to a terminal.

use crate::outcome::{Result, Trouble};
use std::io::{self, IsTerminal, Write};

/// The version of all JSON that commands print, as the entry `schema`. Entries may be added within a version.
pub const SCHEMA: u64 = 1;

/// A table for people, without lines, as wide as the terminal at most.
pub fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_header(header);
    if let Some(column) = table.column_mut(0) {
        column.set_padding((0, 1));
    }
    table
}

/// Whether the reader of standard output went away, as `| head` does: the command is to end quietly then.
pub fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// Runs a body that prints data, buffered. A reader that goes away ends it without an error.
pub fn print(body: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let mut out = Out { inner: io::BufWriter::with_capacity(1 << 16, io::stdout().lock()), failed: None };
    let outcome = body(&mut out).and_then(|()| out.flush().map_err(|error| Trouble::io("standard output", &error)));
    match out.failed {
        Some(error) if is_closed(&error) => Ok(()),
        Some(error) => Err(Trouble::io("standard output", &error)),
        None => outcome,
    }
}

/// Remembers why writing failed, so that a body may use `?` on it without caring.
struct Out<W: Write> {
    inner: W,
    failed: Option<io::Error>,
}

impl<W: Write> Out<W> {
    fn note<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        outcome.inspect_err(|error| {
            self.failed.get_or_insert_with(|| error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error));
        })
    }
}

impl<W: Write> Write for Out<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.inner.write(bytes);
        self.note(outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.inner.flush();
        self.note(outcome)
    }
}

/// A line of data.
pub fn line(out: &mut dyn Write, text: impl std::fmt::Display) -> Result<()> {
    writeln!(out, "{text}").map_err(|error| Trouble::io("standard output", &error))
}

/// Whether a stream may be coloured: a terminal, and nobody asked for none.
pub fn may_colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A count as people read it: `12,345`.
pub fn grouped(count: impl TryInto<u128>) -> String {
    let digits = count.try_into().unwrap_or(u128::MAX).to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn counts_are_grouped_by_thousands() {
        let texts: Vec<String> = [0_u64, 999, 1000, 1_234_567].into_iter().map(super::grouped).collect();
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
