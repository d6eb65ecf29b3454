//! Quantities with their units: `"60s"`, `"5/s"`, `"64GiB"`. How they are read, and how they are shown again.

use std::time::Duration;

use crate::problem::Complaint;

/// Longest time a scenario may speak of. Far below what overflows, far above what anybody waits for.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// Highest rate a scenario may ask for: more than any control plane serves, less than what a `Duration` cannot space.
const HIGHEST_PER_S: f64 = 1e6;
/// Largest size: an exbibyte.
const LARGEST_BYTES: f64 = 1_152_921_504_606_846_976.0;

pub(crate) const TIME_UNITS: &str =
    "a time is text with a unit: us, ms, s, m, h or d, as in \"500ms\", \"60s\", \"1h30m\"";
pub(crate) const RATE_UNITS: &str = "a rate is text with a unit: /s, /m or /h, as in \"5/s\", \"0.5/s\", \"30/m\"";
pub(crate) const SIZE_UNITS: &str = "a size is text with a binary unit: B, KiB, MiB, GiB or TiB, as in \"64GiB\"";

/// Reads a time of a command line, such as `500ms` or `1h30m`.
///
/// # Errors
/// What is wrong with it, and how times are written.
pub fn read_time(text: &str) -> Result<Duration, String> {
    time(text).map_err(|complaint| {
        [Some(complaint.message), complaint.help].into_iter().flatten().collect::<Vec<_>>().join("; ")
    })
}

/// Reads a time, such as `500ms` or `1h30m`.
pub(crate) fn time(text: &str) -> Result<Duration, Complaint> {
    let complain = |what: String| Complaint::new(what, TIME_UNITS);
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(complain("the time is empty".to_owned()));
    }
    if rest.starts_with('-') {
        return Err(complain(format!("{text:?} is negative; times begin at \"0s\"")));
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, after) = number(rest).ok_or_else(|| complain(format!("{text:?} is not a time")))?;
        let after = after.trim_start();
        let unit_end = after.find(|c: char| !c.is_alphabetic() && c != 'µ').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let scale = match unit {
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            "" => return Err(complain(format!("{text:?} has no unit"))),
            _ => return Err(complain(format!("{text:?}: {unit:?} is no unit of time"))),
        };
        seconds += number * scale;
        rest = after.trim_start();
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if time <= LONGEST => Ok(time),
        _ => Err(Complaint::new(format!("{text:?} is longer than a year"), "give a time that a run can last")),
    }
}

/// Reads a rate, such as `5/s`, in operations a second; never negative.
pub(crate) fn rate_per_s(text: &str) -> Result<f64, Complaint> {
    let complain = |what: String| Complaint::new(what, RATE_UNITS);
    let text_trimmed = text.trim();
    if text_trimmed.starts_with('-') {
        return Err(complain(format!("{text:?} is negative; nothing happens less often than never")));
    }
    let (number, unit) = number(text_trimmed).ok_or_else(|| complain(format!("{text:?} is not a rate")))?;
    let scale = match unit.trim() {
        "/s" => 1.0,
        "/m" | "/min" => 1.0 / 60.0,
        "/h" => 1.0 / 3600.0,
        "" => return Err(complain(format!("{text:?} has no unit"))),
        other => return Err(complain(format!("{text:?}: {other:?} is no unit of a rate"))),
    };
    let rate = number * scale;
    if rate > HIGHEST_PER_S {
        return Err(Complaint::new(
            format!("{text:?} is more than a million a second"),
            "give a rate that can be kept",
        ));
    }
    Ok(rate)
}

/// Reads a size, such as `64GiB`, in bytes.
pub(crate) fn size_bytes(text: &str) -> Result<u64, Complaint> {
    let complain = |what: String| Complaint::new(what, SIZE_UNITS);
    let text_trimmed = text.trim();
    if text_trimmed.starts_with('-') {
        return Err(complain(format!("{text:?} is negative")));
    }
    let (number, unit) = number(text_trimmed).ok_or_else(|| complain(format!("{text:?} is not a size")))?;
    let scale = match unit.trim() {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        "TiB" => 1024.0 * 1024.0 * 1024.0 * 1024.0,
        "" => return Err(complain(format!("{text:?} has no unit"))),
        other => return Err(complain(format!("{text:?}: {other:?} is no unit of a size"))),
    };
    let bytes = number * scale;
    if bytes > LARGEST_BYTES {
        return Err(Complaint::new(format!("{text:?} is more than an exbibyte"), "give a size that a host can have"));
    }
    // Checked just above: positive and below 2^60, so nothing is cut off but a fraction of a byte.
    Ok(bytes as u64)
}

/// Splits a decimal number off the front.
fn number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let value: f64 = text[..end].parse().ok()?;
    value.is_finite().then_some((value, &text[end..]))
}

/// Shows a time as a scenario would have it: `1.5s`, `2m`, `1h30m`.
pub fn show_time(time: Duration) -> String {
    let ns = time.as_nanos();
    let whole_s = time.as_secs();
    if ns == 0 {
        return "0s".to_owned();
    }
    if time < Duration::from_secs(1) {
        return if ns < 1_000_000 { format!("{}us", ns as f64 / 1e3) } else { format!("{}ms", ns as f64 / 1e6) };
    }
    if time.subsec_nanos() > 0 || whole_s < 60 {
        return format!("{}s", time.as_secs_f64());
    }
    let parts = [(whole_s / 86_400, "d"), (whole_s / 3600 % 24, "h"), (whole_s / 60 % 60, "m"), (whole_s % 60, "s")];
    parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect()
}

/// Shows a rate as a scenario would have it: `0.5/s`; `20/m` rather than a third with sixteen digits.
pub fn show_rate(per_s: f64) -> String {
    let by_second = format!("{per_s}/s");
    let per_minute = (per_s * 60.0).round();
    let is_whole = (per_s * 60.0 - per_minute).abs() < 1e-9;
    if is_whole && by_second.len() > "0.123/s".len() { format!("{per_minute}/m") } else { by_second }
}

/// Shows a size as a scenario would have it: `64GiB`.
pub fn show_size(bytes: u64) -> String {
    let units = [(1u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.iter().find(|(scale, _)| bytes >= *scale && bytes.is_multiple_of(*scale));
    unit.map_or_else(|| format!("{bytes}B"), |(scale, name)| format!("{}{name}", bytes / scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(time("0.5 s"), Ok(Duration::from_millis(500)));
        for bad in ["", "60", "-1s", "s", "1x", "1s2", "nan", "1e9d", "inf s", "1.2.3s", "400d"] {
            assert!(time(bad).is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn rates_and_sizes_have_units() {
        assert_eq!(rate_per_s("30/m"), Ok(0.5));
        assert_eq!(size_bytes("2TiB"), Ok(2 << 40));
        for bad in ["5", "-1/s", "5/d", "5 per second", "2000000/s", "/s"] {
            assert!(rate_per_s(bad).is_err(), "{bad:?} passed");
        }
        for bad in ["64", "64GB", "64G", "-1GiB", "1e9TiB", "9999999TiB"] {
            assert!(size_bytes(bad).is_err(), "{bad:?} passed");
        }
    }

    #[test]
    fn what_is_shown_can_be_read_again() {
        for text in ["0s", "250us", "1.5ms", "500ms", "1.5s", "59s", "1m", "1m30s", "2h", "1h30m", "3d"] {
            assert_eq!(show_time(time(text).expect("valid")), text);
        }
        for text in ["5/s", "0.5/s", "20/m", "1/s", "1000/s", "0.123/s"] {
            assert_eq!(show_rate(rate_per_s(text).expect("valid")), text);
        }
        for text in ["1B", "3KiB", "512MiB", "64GiB", "2TiB"] {
            assert_eq!(show_size(size_bytes(text).expect("valid")), text);
        }
    }
}
