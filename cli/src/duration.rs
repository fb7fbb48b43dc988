//! Durations as people write them: `90`, `1.5s`, `200ms`, `5m`, `2h`, `1d`.

use std::time::Duration;

/// Reads one; a number without a unit is of seconds.
pub fn parse(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        unit => return Err(format!("{unit} is no unit of time; there are ms, s, m, h and d")),
    };
    let number: f64 = digits.parse().map_err(|_| format!("{text} is no duration; write 200ms, 1.5s, 5m, 2h or 1d"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("{text} is no duration that can be waited for"))
}

/// Something, or what `none` stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrNone<T>(pub Option<T>);

/// The same, or `none`.
pub fn parse_or_none(text: &str) -> Result<OrNone<Duration>, String> {
    if text == "none" { Ok(OrNone(None)) } else { parse(text).map(|duration| OrNone(Some(duration))) }
}

/// How long a task waits after its first failure, the factor for each further one, and the longest wait.
pub type Backoff = (Duration, f64, Duration);

/// `FIRST[,FACTOR[,LONGEST]]`, or `none`.
pub fn parse_backoff(text: &str) -> Result<OrNone<Backoff>, String> {
    if text == "none" {
        return Ok(OrNone(None));
    }
    let mut parts = text.split(',');
    let first = parse(parts.next().unwrap_or_default())?;
    let factor = parts.next().map_or(Ok(2.0), str::parse).map_err(|_| format!("{text}: the factor is no number"))?;
    let longest = parts.next().map_or(Ok(Duration::from_secs(3600)), parse)?;
    if parts.next().is_some() || first.is_zero() || !(1.0..=1e6).contains(&factor) {
        return Err(format!("{text} is no backoff; write FIRST[,FACTOR[,LONGEST]], such as 1s,2,1h"));
    }
    Ok(OrNone(Some((first, factor, longest.max(first)))))
}

/// As people read it: `340 ms`, `12.3 s`, `0:05:03`.
pub fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match duration.as_secs_f64() {
        short if short < 1.0 => format!("{} ms", duration.as_millis()),
        short if short < 60.0 => format!("{short:.1} s"),
        _ if seconds >= 86400 => format!("{} d {}:{:02}:{:02}", seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_and_without_units() {
        for (text, milliseconds) in
            [("90", 90_000), ("1.5s", 1_500), ("200ms", 200), ("5m", 300_000), ("2h", 7_200_000), ("1d", 86_400_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "-1", "1w", "1e400", "NaN", "1 s"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse_or_none("none"), Ok(OrNone(None)));
    }

    #[test]
    fn a_backoff_has_defaults() {
        let hour = Duration::from_secs(3600);
        assert_eq!(parse_backoff("1s"), Ok(OrNone(Some((Duration::from_secs(1), 2.0, hour)))));
        assert_eq!(parse_backoff("100ms,1.5,10s"), Ok(OrNone(Some((Duration::from_millis(100), 1.5, Duration::from_secs(10))))));
        assert_eq!(parse_backoff("none"), Ok(OrNone(None)));
        for text in ["", "0s", "1s,0.5", "1s,x", "1s,2,3s,4"] {
            assert!(parse_backoff(text).is_err(), "{text}");
        }
    }
}
