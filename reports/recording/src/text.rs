//! Names in files: percent-encoding that keeps every name reversible, and moments as milliseconds.

use std::time::Duration;

/// A moment or a length of time in milliseconds, to the microsecond, as all records carry it.
pub fn millis(time: Duration) -> f64 {
    // Division by a power of ten gives the nearest double, which prints short; multiplication of seconds does not.
    time.as_micros() as f64 / 1000.0
}

/// The moment that a record's milliseconds stand for; moments before `t = 0`, and what is not a number, are `t = 0`.
pub(crate) fn moment(ms: f64) -> Duration {
    Duration::try_from_secs_f64(ms / 1000.0).unwrap_or_default()
}

/// Percent-encodes the characters for which `keep` is false, and `%` itself.
fn encode(text: &str, keep: impl Fn(char) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c != '%' && keep(c) {
            encoded.push(c);
        } else {
            let mut utf8 = [0; 4];
            for byte in c.encode_utf8(&mut utf8).bytes() {
                encoded.push('%');
                encoded.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
                encoded.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
            }
        }
    }
    encoded
}

/// Undoes [`encode`]; `None` where the text is not something that it makes.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits fit a byte"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// A field of `series.csv`: no comma, quote or control character survives, so a line is a record and a comma a border.
pub(crate) fn csv_field(text: &str) -> String {
    encode(text, |c| c != ',' && c != '"' && !c.is_control())
}

/// The file of a latency stream, below `latency/`: every `/` is a folder, whatever else a file system could trip over
/// is percent-encoded.
pub(crate) fn stream_file(stream: &str) -> String {
    let segments: Vec<String> = stream.split('/').map(stream_segment).collect();
    format!("{}.hlog", segments.join("/"))
}

fn stream_segment(segment: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "._-@+=: ".contains(c);
    // `.`, `..` and hidden files: a leading dot is no part of a file's name here. An empty segment is `%`.
    match segment.strip_prefix('.') {
        Some(rest) => format!("%2E{}", encode(rest, harmless)),
        None if segment.is_empty() => "%".to_owned(),
        None => encode(segment, harmless),
    }
}

/// The stream whose file, below `latency/`, this is; `None` for other files.
pub(crate) fn stream_of_file(file: &str) -> Option<String> {
    let segments: Option<Vec<String>> = file
        .strip_suffix(".hlog")?
        .split('/')
        .map(|segment| if segment == "%" { Some(String::new()) } else { decode(segment) })
        .collect();
    Some(segments?.join("/"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn streams_have_readable_files_and_never_leave_the_folder() {
        assert_eq!(stream_file("operations/boot@scheduler"), "operations/boot@scheduler.hlog");
        assert_eq!(stream_file("rpc/Service.save"), "rpc/Service.save.hlog");
        assert_eq!(stream_file("../../etc/passwd"), "%2E./%2E./etc/passwd.hlog");
        assert_eq!(stream_file("/a//b"), "%/a/%/b.hlog");
    }

    #[test]
    fn milliseconds_print_short() {
        assert_eq!(millis(Duration::from_micros(1_234_567)).to_string(), "1234.567");
        assert_eq!(moment(f64::NAN), Duration::ZERO);
        assert_eq!(moment(-5.0), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn names_survive_the_way_there_and_back(name in ".*") {
            prop_assert_eq!(stream_of_file(&stream_file(&name)), Some(name.clone()));
            prop_assert_eq!(decode(&csv_field(&name)), Some(name.clone()));
            prop_assert!(!csv_field(&name).contains([',', '\n', '\r', '"']));
        }
    }
}
