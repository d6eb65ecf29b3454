//! Times as OpenStack writes them.

use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

const SECONDS: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const MICROSECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");

fn write(format: &[BorrowedFormatItem<'_>]) -> String {
    OffsetDateTime::now_utc().format(format).expect("a time of day can be written")
}

/// Now, to the second, as object fields carry it: `2026-11-23T05:57:35Z`.
pub(crate) fn now() -> String {
    write(SECONDS)
}

/// Now, to the microsecond, as request contexts carry it: `2026-11-23T05:57:34.665541`.
pub(crate) fn now_micros() -> String {
    write(MICROSECONDS)
}
