//! JSON as Python writes it: a space after each comma and colon, nothing but ASCII. A message then has the very size that
//! nova-compute's would have, and size is load.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

struct Python;

impl Formatter for Python {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain_from = 0;
        for (at, letter) in fragment.char_indices().filter(|(_, letter)| !letter.is_ascii()) {
            writer.write_all(&fragment.as_bytes()[plain_from..at])?;
            for unit in letter.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain_from = at + letter.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain_from..])
    }
}

/// Serialises as `json.dumps` does.
pub(crate) fn dumps(value: &impl Serialize) -> String {
    let mut text = Vec::with_capacity(1024);
    value
        .serialize(&mut Serializer::with_formatter(&mut text, Python))
        .expect("memory takes it, and all keys are strings");
    String::from_utf8(text).expect("JSON is UTF-8")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn separators_and_escapes_are_those_of_python() {
        let value = json!({"a": [1, "é𝄞\"\n"], "b": {}});
        assert_eq!(dumps(&value), r#"{"a": [1, "\u00e9\ud834\udd1e\"\n"], "b": {}}"#);
    }

    proptest::proptest! {
        #[test]
        fn any_text_reads_back(text: String) {
            let written = dumps(&text);
            proptest::prop_assert!(written.is_ascii());
            proptest::prop_assert_eq!(serde_json::from_str::<Value>(&written).expect("it is JSON"), Value::from(text));
        }
    }
}
