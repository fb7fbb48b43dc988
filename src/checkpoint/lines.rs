//! A text file line by line: bounded memory, and what a manifest says of the text as it goes by.

use crate::checkpoint::manifest::Marks;
use crate::limits::LINE_BYTES_MAX;
use std::io::{self, Read};

const CHUNK_BYTES: usize = 256 * 1024;

/// Lines of what `R` gives.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
    marks: Marks,
    is_marked: bool,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R) -> Lines<R> {
        Lines { reader, buffer: vec![0; CHUNK_BYTES], start: 0, end: 0, at_end: false, marks: Marks::default(), is_marked: true }
    }

    /// The same without marks, for text that nobody compares with other text.
    pub(crate) fn without_marks(self) -> Lines<R> {
        Lines { is_marked: false, ..self }
    }

    /// The next line with its newline, if it has one; nothing at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let mut searched = self.start;
        loop {
            let newline = memchr::memchr(b'\n', &self.buffer[searched..self.end]).map(|at| searched + at + 1);
            if let Some(line_end) = newline.or((self.at_end && self.start < self.end).then_some(self.end)) {
                let line = self.start..line_end;
                self.start = line_end;
                if self.is_marked {
                    self.marks.add(&self.buffer[line.clone()]);
                }
                return Ok(Some(&self.buffer[line]));
            }
            if self.at_end {
                return Ok(None);
            }
            searched = self.end;
            searched -= self.fill()?;
        }
    }

    /// Reads more; returns by how much what is there was moved to the front.
    fn fill(&mut self) -> io::Result<usize> {
        let moved = self.start;
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.buffer.len() {
            if self.end > LINE_BYTES_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line of more than {LINE_BYTES_MAX} bytes")));
            }
            self.buffer.resize(self.end * 2, 0);
        }
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(count) => {
                    self.at_end = count == 0;
                    self.end += count;
                    return Ok(moved);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// What was read so far.
    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    pub(crate) fn reader(&self) -> &R {
        &self.reader
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Gives a few bytes at a time.
    struct Dripping<'a>(&'a [u8], usize);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len()).min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    proptest! {
        #[test]
        fn lines_are_those_of_the_text(text in "[ab\n]{0,80}", step in 1..9_usize) {
            let mut lines = Lines::new(Dripping(text.as_bytes(), step));
            let mut found = Vec::new();
            while let Some(line) = lines.next().unwrap() {
                found.push(String::from_utf8(line.to_vec()).unwrap());
            }
            let expected: Vec<&str> = text.split_inclusive('\n').collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(lines.marks().lines(), expected.iter().filter(|line| line.trim_end() != "").count() as u64);
        }
    }

    #[test]
    fn long_lines_grow_the_buffer() {
        let text = [vec![b'a'; 3 * CHUNK_BYTES], vec![b'\n'], vec![b'b'; CHUNK_BYTES]].concat();
        let mut lines = Lines::new(&text[..]);
        assert_eq!(lines.next().unwrap().unwrap().len(), 3 * CHUNK_BYTES + 1);
        assert_eq!(lines.next().unwrap().unwrap().len(), CHUNK_BYTES);
        assert_eq!(lines.next().unwrap(), None);
    }
}
