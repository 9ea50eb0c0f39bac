//! Durations and sizes as people write them.

use std::time::Duration;

use super::Invalid;

/// Units of time in seconds, largest first.
const TIME: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Units of size in bytes, largest first.
const SIZE: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a duration, such as `90s`, `15m`, `1h` or `2d`; only nought needs no unit.
pub(super) fn duration(text: &str) -> Result<Duration, Invalid> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let seconds = scaled(text, &TIME).ok_or("a duration is a whole number with a unit: 90s, 15m, 1h, 2d")?;
    Ok(Duration::from_secs(seconds))
}

/// Reads a size in bytes, such as `8MiB`, `64KiB` or `4096`.
pub(super) fn size(text: &str) -> Result<usize, Invalid> {
    let bytes = text.parse().ok().or_else(|| scaled(text, &SIZE));
    let bytes = bytes.and_then(|bytes: u64| usize::try_from(bytes).ok());
    bytes.ok_or_else(|| "a size is a whole number, in bytes or with a unit: 4096, 64KiB, 8MiB, 1GiB".into())
}

/// Shows a duration as [`duration`] reads it; parts of a second are left out.
pub(super) fn show_duration(duration: Duration) -> String {
    show(duration.as_secs(), &TIME)
}

/// Shows a size as [`size`] reads it.
pub(super) fn show_size(bytes: usize) -> String {
    show(bytes as u64, &SIZE)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    digits.parse::<u64>().ok()?.checked_mul(*scale)
}

fn show(value: u64, units: &[(&str, u64)]) -> String {
    let unit = units
        .iter()
        .find(|(_, scale)| value != 0 && value.is_multiple_of(*scale));
    unit.map_or_else(|| "0".into(), |(name, scale)| format!("{}{name}", value / scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_back_as_they_are_shown() {
        for (text, seconds, shown) in [
            ("0", 0, "0"),
            ("0h", 0, "0"),
            ("90s", 90, "90s"),
            ("15m", 900, "15m"),
            ("1 h", 3_600, "1h"),
            ("48h", 172_800, "2d"),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
            assert_eq!(show_duration(Duration::from_secs(seconds)), shown);
        }
        for text in [
            "",
            "1",
            "h",
            "-1s",
            "1.5h",
            "1h30m",
            "1H",
            "1ms",
            "99999999999999999d",
            "99999999999999999999s",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_back_as_they_are_shown() {
        for (text, bytes, shown) in [
            ("4096", 4_096, "4KiB"),
            ("1000B", 1_000, "1000B"),
            ("64KiB", 65_536, "64KiB"),
            ("8 MiB", 8 << 20, "8MiB"),
            ("1GiB", 1 << 30, "1GiB"),
        ] {
            assert_eq!(size(text).unwrap(), bytes, "{text}");
            assert_eq!(show_size(bytes), shown);
        }
        for text in ["", "KiB", "8MB", "8mib", "-1", "+-1", "1.5MiB", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
