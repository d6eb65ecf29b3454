//! A request that did not do what it should, in words that can be grouped.

use serde_json::Value;

/// Why a request to an OpenStack API failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The service answered with a status that means failure.
    #[error("{request}: HTTP {status}: {message}")]
    Status {
        /// Method and URL.
        request: String,
        /// HTTP status.
        status: u16,
        /// What the service said, without what differs from one request to the next.
        message: String,
    },
    /// There was no answer.
    #[error("{request}: no answer: {reason}")]
    NoAnswer {
        /// Method and URL.
        request: String,
        /// What the network said.
        reason: String,
    },
    /// The answer is not what the API's documentation says.
    #[error("{request}: an answer without {expected}")]
    Unexpected {
        /// Method and URL.
        request: String,
        /// What was looked for in vain.
        expected: String,
    },
    /// The cloud does not have what the scenario names.
    #[error("the cloud has no {what}; it has: {has}")]
    Missing {
        /// Kind and name.
        what: String,
        /// What there is of the kind.
        has: String,
    },
}

/// The longest message that is kept of an error, in characters.
const MESSAGE_CHARS: usize = 160;

impl ApiError {
    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::NoAnswer { .. } | Self::Unexpected { .. } | Self::Missing { .. } => None,
        }
    }

    /// The error without its URL: the same text for the same cause, so that operations can be grouped by it.
    pub fn short(&self) -> String {
        match self {
            Self::Status { status, message, .. } => format!("HTTP {status}: {message}"),
            Self::NoAnswer { reason, .. } => format!("no answer: {reason}"),
            Self::Unexpected { expected, .. } => format!("an answer without {expected}"),
            Self::Missing { .. } => self.to_string(),
        }
    }
}

/// The message in an error document of any of the services (`{"forbidden": {"message": …}}`, `{"NeutronError": …}`,
/// `{"errors": [{"detail": …}]}`), else the text itself.
pub(crate) fn message_in(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(Value::Object(document)) => document.values().find_map(message_of).unwrap_or_default(),
        _ => without_tags(&String::from_utf8_lossy(body)),
    };
    groupable(&text)
}

fn message_of(value: &Value) -> Option<String> {
    match value {
        Value::Array(errors) => errors.iter().find_map(message_of),
        Value::Object(fields) => {
            let text = ["message", "detail", "title"].iter().find_map(|key| fields.get(*key)?.as_str());
            text.map(str::to_owned)
        }
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// The text of an HTML page, as nginx and Glance answer with.
fn without_tags(text: &str) -> String {
    let mut inside = false;
    let keep = |c: char| {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => return Some(c),
            _ => {}
        }
        (c == '>').then_some(' ')
    };
    text.chars().filter_map(keep).collect()
}

/// One line, with UUIDs and request ids replaced, of bounded length.
pub(crate) fn groupable(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(without_ids).collect();
    let line = words.join(" ");
    match line.char_indices().nth(MESSAGE_CHARS) {
        None => line,
        Some((end, _)) => format!("{}…", &line[..end]),
    }
}

/// Length of a UUID as text.
const UUID_CHARS: usize = 36;

fn without_ids(word: &str) -> String {
    let mut rest = word;
    let mut kept = String::with_capacity(word.len());
    while let Some(first) = rest.chars().next() {
        let is_uuid = rest.get(..UUID_CHARS).is_some_and(|head| uuid::Uuid::try_parse(head).is_ok());
        let step = if is_uuid { UUID_CHARS } else { first.len_utf8() };
        kept.push_str(if is_uuid { "<id>" } else { &rest[..step] });
        rest = &rest[step..];
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_has_its_own_way_to_say_no() {
        let said = |body: &str| message_in(body.as_bytes());
        assert_eq!(
            said(r#"{"forbidden": {"code": 403, "message": "Quota exceeded for instances"}}"#),
            "Quota exceeded for instances"
        );
        assert_eq!(
            said(r#"{"NeutronError": {"type": "X", "message": "No more IP addresses", "detail": ""}}"#),
            "No more IP addresses"
        );
        assert_eq!(said(r#"{"errors": [{"status": 409, "title": "Conflict", "detail": "no room"}]}"#), "no room");
        assert_eq!(said("<html><head><title>502 Bad Gateway</title></head></html>\r\n"), "502 Bad Gateway");
        assert_eq!(said(""), "");
    }

    #[test]
    fn messages_of_the_same_cause_are_the_same() {
        let message = |id| groupable(&format!("Instance ({id}) in  cell\n req-{id}"));
        let one = message("0b1c2d3e-0000-4000-8000-00000000000a");
        assert_eq!(one, message("ffffffff-0000-4000-8000-00000000000b"));
        assert_eq!(one, "Instance (<id>) in cell req-<id>");
        assert_eq!(groupable(&"é".repeat(500)).chars().count(), MESSAGE_CHARS + 1);
    }
}
