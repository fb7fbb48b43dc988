//! Compressed shards, read with a bound on what they may become.

use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, BufReader, Read};

/// What any shard may be long, whatever it was compressed to.
const PLAIN_BYTES: u64 = 64 * 1024 * 1024;
/// Text of JSON entries seldom shrinks to less than a fiftieth; a bomb's does to a thousandth.
const RATIO_MAX: u64 = 64;

/// Expands what `R` gives: members one after the other, and the zeros between and behind them that Python's reader passes by too.
#[derive(Debug)]
pub(crate) struct Expanded<R> {
    state: State<R>,
    left: u64,
}

#[derive(Debug)]
enum State<R> {
    Member(Box<GzDecoder<BufReader<R>>>),
    /// Behind a member, or between two states.
    Behind(Option<BufReader<R>>),
}

impl<R: Read> Expanded<R> {
    /// `compressed`: bytes of the file; `known`: how long the text is as far as anybody has written down.
    pub(crate) fn new(reader: R, compressed: u64, known: u64) -> Expanded<R> {
        let left = known.max(PLAIN_BYTES).max(compressed.saturating_mul(RATIO_MAX));
        Expanded { state: State::Member(Box::new(GzDecoder::new(BufReader::new(reader)))), left }
    }

    pub(crate) fn inner(&self) -> Option<&R> {
        match &self.state {
            State::Member(decoder) => Some(decoder.get_ref().get_ref()),
            State::Behind(reader) => reader.as_ref().map(BufReader::get_ref),
        }
    }

    fn read_members(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let State::Member(decoder) = &mut self.state {
            let count = decoder.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let is_last = !skip_zeros(decoder.get_mut())?;
            if let State::Member(decoder) = std::mem::replace(&mut self.state, State::Behind(None)) {
                let reader = (*decoder).into_inner();
                self.state = if is_last { State::Behind(Some(reader)) } else { State::Member(Box::new(GzDecoder::new(reader))) };
            }
        }
        Ok(0)
    }
}

/// Whether anything but zeros follows.
fn skip_zeros(reader: &mut impl BufRead) -> io::Result<bool> {
    loop {
        let ahead = reader.fill_buf()?;
        if ahead.is_empty() {
            return Ok(false);
        }
        let zeros = ahead.iter().take_while(|byte| **byte == 0).count();
        let is_other = zeros < ahead.len();
        reader.consume(zeros);
        if is_other {
            return Ok(true);
        }
    }
}

impl<R: Read> Read for Expanded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.read_members(buffer).map_err(|error| match error.kind() {
            // An error of the file itself.
            _ if error.raw_os_error().is_some() => error,
            io::ErrorKind::Interrupted => error,
            io::ErrorKind::UnexpectedEof => io::Error::new(io::ErrorKind::InvalidData, "broken gzip: the file is cut off"),
            _ => io::Error::new(io::ErrorKind::InvalidData, format!("broken gzip: {error}")),
        })?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "the compressed file expands to far more than a shard's text can be")
        })?;
        Ok(count)
    }
}

#[cfg(test)]
pub(crate) fn compress(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::copy(&mut &text[..], &mut encoder).unwrap();
    encoder.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expand(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        Expanded::new(bytes, bytes.len() as u64, 0).read_to_end(&mut text).map(|_| text)
    }

    #[test]
    fn a_bomb_is_refused_and_what_is_known_to_be_long_is_not() {
        let bomb = compress(&vec![b' '; 100 << 20]);
        assert!(bomb.len() < 1 << 20);
        let refused = expand(&bomb).map(|text| text.len());
        assert!(refused.unwrap_err().to_string().contains("expands to far more"));
        let mut length = 0;
        let mut reader = Expanded::new(&bomb[..], bomb.len() as u64, 100 << 20);
        let mut buffer = vec![0; 1 << 20];
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            length += count;
        }
        assert_eq!(length, 100 << 20);
    }

    #[test]
    fn broken_gzip_is_an_error_that_says_so() {
        let whole = compress(b"\"a\"\t1\n");
        for bytes in [&whole[..whole.len() - 1], &whole[..5], b"\"a\"\t1\n", &[&whole[..], b"junk"].concat()] {
            assert!(expand(bytes).unwrap_err().to_string().contains("broken gzip"), "{bytes:?}");
        }
        let mut flipped = whole.clone();
        flipped[whole.len() - 6] ^= 1;
        assert!(expand(&flipped).unwrap_err().to_string().contains("broken gzip"));
        assert_eq!(expand(&[&whole[..], &whole[..]].concat()).unwrap(), b"\"a\"\t1\n\"a\"\t1\n");
    }

    proptest! {
        #[test]
        fn text_survives_compression(text in prop::collection::vec(any::<u8>(), 0..2000)) {
            prop_assert_eq!(expand(&compress(&text)).unwrap(), text);
        }
    }
}
