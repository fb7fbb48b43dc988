//! Numbers as text: which of them an `i64`, `u64` or `f64` holds exactly. Pure, and never rounds silently.

use std::fmt::Write;

/// What the digits of a number denote.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::value) enum Literal {
    Int(i64),
    /// Greater than `i64::MAX`.
    Uint(u64),
    /// A number with a fraction or an exponent, spelled as this float's shortest form.
    Float(f64),
    /// No type holds it, or it is spelled otherwise than it would be written again (`1.10`, `1e-05`, `-0`): its digits are kept.
    Verbatim,
}

/// Classifies the text of one JSON number; `None` if it is none. Integers too long for 64 bits stay digits even where a
/// float would hold them, because as a float they would be written back as one.
pub(in crate::value) fn classify(text: &str) -> Option<Literal> {
    let (end, integral) = scan(text.as_bytes(), 0)?;
    (end == text.len()).then(|| classify_scanned(text, integral))
}

/// As [`classify`] for text that [`scan`] has accepted whole.
pub(in crate::value) fn classify_scanned(text: &str, integral: bool) -> Literal {
    if integral && text != "-0" {
        return match (text.parse::<i64>(), text.parse::<u64>()) {
            (Ok(value), _) => Literal::Int(value),
            (_, Ok(value)) => Literal::Uint(value),
            _ => Literal::Verbatim,
        };
    }
    match exact_float(text) {
        Some(value) if is_shortest(text, value) => Literal::Float(value),
        _ => Literal::Verbatim,
    }
}

/// Where the JSON number at `start` ends, and whether it is an integer literal; `None` if none stands there.
pub(in crate::value) fn scan(text: &[u8], start: usize) -> Option<(usize, bool)> {
    let digits = |from: usize| from + text[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut end = start + usize::from(text.get(start) == Some(&b'-'));
    match text.get(end)? {
        b'0' => end += 1,
        b'1'..=b'9' => end = digits(end),
        _ => return None,
    }
    let integer_end = end;
    if text.get(end) == Some(&b'.') {
        let fraction = end + 1;
        end = digits(fraction);
        if end == fraction {
            return None;
        }
    }
    if let Some(b'e' | b'E') = text.get(end) {
        let exponent = end + 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        end = digits(exponent);
        if end == exponent {
            return None;
        }
    }
    Some((end, end == integer_end))
}

/// The float that reads as an `f32` does, `0.1` and not `0.10000000149011612`, as serde_json writes them.
pub(crate) fn widened(value: f32) -> f64 {
    // Where two decimals are equally short and near, `to_string` may choose the other one.
    let spelled = serde_json::to_string(&value).ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| f64::from(value));
    if spelled as f32 == value { spelled } else { f64::from(value) }
}

/// The float whose shortest form denotes the same decimal number as the JSON number `text`.
pub(in crate::value) fn exact_float(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    if !value.is_finite() {
        return None;
    }
    let wanted = Decimal::of(text);
    // Fifteen digits survive the way through a float and back as long as it is a normal one.
    if wanted.length <= 15 && wanted.exponent.unsigned_abs() < 300 {
        return Some(value);
    }
    // The form that the value would be written in again: where two decimals are equally short and near, it is one of them.
    let mut shortest = ShortText::default();
    shortest.write_float(value).ok()?;
    (Decimal::of(shortest.as_str()) == wanted).then_some(value)
}

/// Whether `text`, which denotes `value`, is the form that the value would be written in again.
fn is_shortest(text: &str, value: f64) -> bool {
    let decimal = Decimal::of(text);
    // Numbers of this size are written without an exponent, and so few digits are the shortest; most are such.
    if decimal.length <= 15 && (-4..=15).contains(&decimal.exponent) {
        return match text.split_once('.') {
            Some((_, fraction)) => {
                fraction == "0" || fraction.ends_with(|digit| matches!(digit, '1'..='9')) && !fraction.contains(['e', 'E'])
            }
            None => false,
        };
    }
    let mut shortest = ShortText::default();
    shortest.write_float(value).is_ok() && shortest.as_str() == text
}

/// A decimal number as its significant digits, times ten to the exponent, the point standing before the first digit.
struct Decimal<'t> {
    /// From the first to the last significant digit; a point may stand among them.
    digits: &'t [u8],
    /// How many of `digits` are digits.
    length: usize,
    exponent: i64,
    negative: bool,
}

impl PartialEq for Decimal<'_> {
    fn eq(&self, other: &Self) -> bool {
        fn significant<'t>(decimal: &Decimal<'t>) -> impl Iterator<Item = &'t u8> {
            decimal.digits.iter().filter(|byte| **byte != b'.')
        }
        self.negative == other.negative
            && self.length == other.length
            && self.exponent == other.exponent
            && significant(self).eq(significant(other))
    }
}

impl<'t> Decimal<'t> {
    /// Takes apart a well-formed number. Zero has no digits and the exponent 0.
    fn of(text: &'t str) -> Decimal<'t> {
        let negative = text.starts_with('-');
        let unsigned = text.as_bytes().strip_prefix(b"-").unwrap_or(text.as_bytes());
        let mantissa_length = unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(unsigned.len());
        let (mantissa, exponent) = unsigned.split_at(mantissa_length);
        let is_significant = |byte: &u8| matches!(byte, b'1'..=b'9');
        let (Some(first), Some(last)) = (mantissa.iter().position(is_significant), mantissa.iter().rposition(is_significant)) else {
            return Decimal { digits: &[], length: 0, exponent: 0, negative };
        };
        let digits = &mantissa[first..=last];
        let point = mantissa.iter().position(|byte| *byte == b'.').unwrap_or(mantissa.len());
        let length = digits.len() - usize::from((first..=last).contains(&point));
        let shift = if first < point { (point - first) as i64 } else { -((first - point - 1) as i64) };
        Decimal { digits, length, exponent: exponent_of(exponent).saturating_add(shift), negative }
    }
}

/// The value of an exponent with its letter, or 0 without one. One beyond 64 bits, which no float comes near, saturates.
fn exponent_of(text: &[u8]) -> i64 {
    let Some(text) = text.get(1..) else { return 0 };
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let magnitude = digits.iter().fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    if negative { -magnitude } else { magnitude }
}

/// Text of a few bytes on the stack: longer than any float in its shortest form with an exponent.
pub(in crate::value) struct ShortText {
    bytes: [u8; 40],
    length: usize,
}

impl Default for ShortText {
    fn default() -> ShortText {
        ShortText { bytes: [0; 40], length: 0 }
    }
}

impl ShortText {
    pub(in crate::value) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }

    /// The shortest form that reads back as the same float, as `serde_json` writes it.
    pub(in crate::value) fn write_float(&mut self, value: f64) -> std::fmt::Result {
        match serde_json::Number::from_f64(value) {
            Some(number) => write!(self, "{number}"),
            None => Err(std::fmt::Error),
        }
    }
}

impl Write for ShortText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}
