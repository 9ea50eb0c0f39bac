//! Durations and sizes as they are written.

use std::time::Duration;

/// `500ms`, `90s`, `15m`, `1h`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let number: u64 = number.parse().map_err(|_| "is not a duration like 90s, 15m or 1h")?;
    let millis = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("has none of the units ms, s, m, h".into()),
    };
    number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .ok_or_else(|| "is too long".into())
}

/// `64KiB`, `8MiB`, `1GiB`; a bare number is bytes.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text);
    let number: usize = number.parse().map_err(|_| "is not a size like 65536, 64KiB or 8MiB")?;
    let bytes = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("has none of the units B, KiB, MiB, GiB".into()),
    };
    number.checked_mul(bytes).ok_or_else(|| "is too large".into())
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(duration("90").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("15m").unwrap(), Duration::from_secs(900));
        assert_eq!(duration("1h").unwrap(), Duration::from_secs(3600));
        assert_eq!(size("8MiB").unwrap(), 8 << 20);
        assert_eq!(size("64 KiB").unwrap(), 64 << 10);
        for text in ["", "-1s", "1d", "s", "1.5h", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "1MB", "-1", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
