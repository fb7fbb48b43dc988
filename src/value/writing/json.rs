//! Strict JSON text straight into an archive.

use crate::value::archive::fault::Fault;
use crate::value::archive::number::{self, Literal};
use crate::value::archive::text::plain_length;
use crate::value::writing::array::Element;
use crate::value::writing::writer::{Cell, Writer};

/// Writes the one value that `text` denotes.
pub(in crate::value) fn write_text(text: &str, writer: &mut Writer<'_>) -> Result<(), Fault> {
    let mut parser = Parser { text, bytes: text.as_bytes(), position: 0, unescaped: String::new() };
    parser.skip_space();
    parser.value(writer)?;
    parser.skip_space();
    if parser.position < text.len() { Err(parser.fault("something after the value")) } else { Ok(()) }
}

struct Parser<'t> {
    text: &'t str,
    bytes: &'t [u8],
    position: usize,
    /// Where text with escapes is put together.
    unescaped: String,
}

impl<'t> Parser<'t> {
    /// A fault at the current position.
    #[cold]
    fn fault(&self, what: &str) -> Fault {
        let at = self.position.min(self.text.len());
        let before = &self.bytes[..at];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
        let found = match self.text.get(at..).map(|rest| rest.chars().next()) {
            Some(Some(next)) => format!("{next:?}"),
            _ => "the end".to_owned(),
        };
        // Of several lines in the text; in a file of one value a line, that is said elsewhere.
        let place = if line == 1 { String::new() } else { format!(" (line {line}, column {})", at - line_start + 1) };
        Fault::invalid(format!("not JSON: {what} at byte {at}{place}, before {found}"))
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.position += 1;
        }
    }

    /// Recursion is bounded: `begin` refuses more than the greatest depth.
    fn value(&mut self, writer: &mut Writer<'_>) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => {
                let text = self.string()?;
                writer.text(text.unwrap_or(&self.unescaped))
            }
            Some(b'{') => self.object(writer),
            Some(b'[') => self.array(writer),
            Some(b'-' | b'0'..=b'9') => self.number(writer),
            Some(b't') => self.word("true").and_then(|()| writer.bool(true)),
            Some(b'f') => self.word("false").and_then(|()| writer.bool(false)),
            Some(b'n') => self.word("null").and_then(|()| writer.null()),
            Some(b'N' | b'I') => Err(self.fault("NaN and Infinity are not JSON; use null or a string")),
            _ => Err(self.fault("expected a value")),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        if !self.bytes[self.position..].starts_with(word.as_bytes()) {
            return Err(self.fault("expected a value"));
        }
        self.position += word.len();
        Ok(())
    }

    fn array(&mut self, writer: &mut Writer<'_>) -> Result<(), Fault> {
        let mut array = writer.begin_array().map_err(|_| self.too_deep())?;
        self.position += 1;
        self.skip_space();
        if self.peek() == Some(b']') {
            self.position += 1;
            return writer.end_array(array);
        }
        loop {
            match self.element()? {
                Element::Written => {
                    writer.spill(&mut array)?;
                    self.value(writer)?;
                }
                number => writer.put(&mut array, number)?,
            }
            if self.is_last(b']', "expected , or ]")? {
                return writer.end_array(array);
            }
        }
    }

    fn object(&mut self, writer: &mut Writer<'_>) -> Result<(), Fault> {
        let begun = writer.begin().map_err(|_| self.too_deep())?;
        self.position += 1;
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.position += 1;
            return writer.end_object(begun);
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.fault("expected a key in quotes"));
            }
            let key = self.string()?;
            writer.text(key.unwrap_or(&self.unescaped))?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.fault("expected a colon"));
            }
            self.position += 1;
            self.skip_space();
            self.value(writer)?;
            if self.is_last(b'}', "expected , or }")? {
                return writer.end_object(begun);
            }
        }
    }

    /// After a part of a container: whether its end follows, else steps to the next part.
    #[inline]
    fn is_last(&mut self, end: u8, expected: &str) -> Result<bool, Fault> {
        self.skip_space();
        match self.peek() {
            Some(b',') => {
                self.position += 1;
                self.skip_space();
                Ok(false)
            }
            Some(byte) if byte == end => {
                self.position += 1;
                Ok(true)
            }
            _ => Err(self.fault(expected)),
        }
    }

    #[cold]
    fn too_deep(&self) -> Fault {
        self.fault(&format!("arrays and objects nested more than {} deep", crate::limits::VALUE_DEPTH_MAX))
    }

    fn number(&mut self, writer: &mut Writer<'_>) -> Result<(), Fault> {
        let (digits, integral) = self.digits()?;
        match number::classify_scanned(digits, integral) {
            Literal::Int(value) => writer.push(Cell::int(value)),
            Literal::Uint(value) => writer.push(Cell::uint(value)),
            Literal::Float(value) => writer.push(Cell::float(value)),
            Literal::Verbatim => writer.number(digits),
        }
    }

    /// The element of an array at the current position, if it can be packed; else steps over nothing.
    fn element(&mut self) -> Result<Element, Fault> {
        if !matches!(self.peek(), Some(b'-' | b'0'..=b'9')) {
            return Ok(Element::Written);
        }
        let start = self.position;
        let (digits, integral) = self.digits()?;
        match number::classify_scanned(digits, integral) {
            Literal::Int(value) => Ok(Element::Int(value)),
            Literal::Float(value) => Ok(Element::Float(value)),
            Literal::Uint(_) | Literal::Verbatim => {
                self.position = start;
                Ok(Element::Written)
            }
        }
    }

    /// Steps over the number at the current position: its text, and whether it is an integer.
    fn digits(&mut self) -> Result<(&'t str, bool), Fault> {
        let start = self.position;
        let Some((end, integral)) = number::scan(self.bytes, start) else {
            return Err(self.fault("a malformed number"));
        };
        // Reported here, because what follows would be: 01, 1.e5.
        if let Some(b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-') = self.bytes.get(end) {
            return Err(self.fault("a malformed number"));
        }
        self.position = end;
        Ok((&self.text[start..end], integral))
    }

    /// The string at the current position, without its quotes: `None` if it had escapes and is in `unescaped`.
    fn string(&mut self) -> Result<Option<&'t str>, Fault> {
        self.position += 1;
        let start = self.position;
        self.position += plain_length(&self.bytes[start..]);
        if self.peek() == Some(b'"') {
            let end = self.position;
            self.position += 1;
            return Ok(Some(&self.text[start..end]));
        }
        self.unescaped.clear();
        let mut plain_start = start;
        loop {
            self.unescaped.push_str(&self.text[plain_start..self.position]);
            match self.peek() {
                Some(b'"') => {
                    self.position += 1;
                    return Ok(None);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.fault("a control character in a string; write it as an escape")),
                None => return Err(self.fault("a string that does not end")),
            }
            plain_start = self.position;
            self.position += plain_length(&self.bytes[plain_start..]);
        }
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let escaped = match self.bytes.get(self.position + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.fault("an unknown escape")),
        };
        self.unescaped.push(escaped);
        self.position += 2;
        Ok(())
    }

    fn unicode_escape(&mut self) -> Result<(), Fault> {
        let units = [self.code_unit(self.position), self.code_unit(self.position + 6)];
        let (escaped, length) = match units {
            [None, _] => return Err(self.fault("a malformed \\u escape")),
            [Some(unit @ 0xd800..0xdc00), Some(low @ 0xdc00..0xe000)] => (0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00), 12),
            [Some(unit), _] => (unit, 6),
        };
        let Some(escaped) = char::from_u32(escaped) else {
            return Err(self.fault("half of a surrogate pair, which is no character"));
        };
        self.unescaped.push(escaped);
        self.position += length;
        Ok(())
    }

    /// The code unit that the escape of four hexadecimal digits at `position` denotes.
    fn code_unit(&self, position: usize) -> Option<u32> {
        let digits = self.bytes.get(position..position + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    }
}
