//! The receiving side of a channel: contents put together from their frames, duplicates dropped.

use std::collections::VecDeque;

use amq_protocol::{frame::AMQPContentHeader, protocol::basic};
use uuid::Uuid;

use crate::amqp::LARGEST_BODY_BYTES;

/// `_unique_id`s remembered by each listener (`amqp.py`, `_MsgIdCache`).
const DUPLICATES_REMEMBERED: usize = 16;

/// What announced the content that is being received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Announced {
    /// A delivery to the consumer of this tag; zero is none of ours.
    Delivery { consumer: u16, delivery_tag: u64 },
    /// A message of ours that came back.
    Return { routing_key: Box<str> },
}

/// Content that is whole. The body is empty when nobody will look at it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) announced: Announced,
    pub(crate) body: Vec<u8>,
}

struct Arriving {
    content: Content,
    /// Bytes to come; `None` until the header has said how many.
    missing_bytes: Option<u64>,
    keep: bool,
}

/// The content that is being received on a channel: at most one, as AMQP has it.
#[derive(Default)]
pub(crate) struct Arrivals(Option<Box<Arriving>>);

impl Arrivals {
    pub(crate) fn announce(&mut self, announced: Announced) {
        let keep = matches!(announced, Announced::Delivery { .. });
        let content = Content { announced, body: Vec::new() };
        self.0 = Some(Box::new(Arriving { content, missing_bytes: None, keep }));
    }

    pub(crate) fn deliver(&mut self, deliver: &basic::Deliver) {
        let consumer = deliver.consumer_tag.as_str().parse().unwrap_or_default();
        self.announce(Announced::Delivery { consumer, delivery_tag: deliver.delivery_tag });
    }

    pub(crate) fn header(&mut self, header: &AMQPContentHeader) -> Option<Content> {
        let arriving = self.0.as_mut()?;
        arriving.missing_bytes = Some(header.body_size);
        match usize::try_from(header.body_size) {
            Ok(bytes) if bytes <= LARGEST_BODY_BYTES => {
                if arriving.keep {
                    arriving.content.body = Vec::with_capacity(bytes);
                }
            }
            _ => {
                tracing::warn!(bytes = header.body_size, "a message is larger than any of Nova's; it is dropped");
                arriving.keep = false;
            }
        }
        self.take_whole()
    }

    pub(crate) fn body(&mut self, bytes: &[u8]) -> Option<Content> {
        let arriving = self.0.as_mut()?;
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        arriving.missing_bytes = Some(arriving.missing_bytes?.saturating_sub(size));
        if arriving.keep {
            arriving.content.body.extend_from_slice(bytes);
        }
        self.take_whole()
    }

    fn take_whole(&mut self) -> Option<Content> {
        let whole = self.0.take_if(|arriving| arriving.missing_bytes == Some(0))?;
        Some(whole.content)
    }
}

/// Tells messages that were delivered twice. A unique id is a UUID; anything else counts as new.
#[derive(Default)]
pub(crate) struct Seen(VecDeque<Uuid>);

impl Seen {
    /// With its room at once, for what comes to every channel: of thousands that take it in the course of their first heartbeats the
    /// process seems to leak.
    pub(crate) fn with_room() -> Self {
        Self(VecDeque::with_capacity(DUPLICATES_REMEMBERED))
    }

    /// Remembers the id; whether it was known already.
    pub(crate) fn is_duplicate(&mut self, unique_id: Option<&str>) -> bool {
        let Some(id) = unique_id.and_then(|id| Uuid::try_parse(id).ok()) else { return false };
        if self.0.contains(&id) {
            return true;
        }
        if self.0.len() == DUPLICATES_REMEMBERED {
            self.0.pop_front();
        }
        // Not in steps, each of which would be a growth.
        self.0.reserve_exact(DUPLICATES_REMEMBERED - self.0.len());
        self.0.push_back(id);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(body_size: u64) -> AMQPContentHeader {
        AMQPContentHeader { class_id: 60, body_size, properties: Default::default() }
    }

    fn delivery() -> Announced {
        Announced::Delivery { consumer: 1, delivery_tag: 1 }
    }

    #[test]
    fn a_body_is_put_together() {
        let mut arrivals = Arrivals::default();
        arrivals.announce(delivery());
        assert_eq!(arrivals.header(&header(3)), None);
        assert_eq!(arrivals.body(b"ab"), None);
        assert_eq!(arrivals.body(b"c"), Some(Content { announced: delivery(), body: b"abc".to_vec() }));
        assert_eq!(arrivals.body(b"c"), None, "nothing announced it");
    }

    #[test]
    fn an_empty_body_is_whole_at_once() {
        let mut arrivals = Arrivals::default();
        arrivals.announce(delivery());
        assert_eq!(arrivals.header(&header(0)), Some(Content { announced: delivery(), body: Vec::new() }));
    }

    #[test]
    fn of_a_body_beyond_the_bound_nothing_is_kept() {
        let mut arrivals = Arrivals::default();
        arrivals.announce(delivery());
        let size = LARGEST_BODY_BYTES + 1;
        assert_eq!(arrivals.header(&header(u64::try_from(size).expect("it fits"))), None);
        let content = arrivals.body(&vec![b'x'; size]).expect("it is whole, and can be acknowledged");
        assert_eq!(content.body.capacity(), 0);
    }

    #[test]
    fn the_last_sixteen_ids_are_remembered() {
        let ids: Vec<String> = (0..=16).map(|n| Uuid::from_u128(n).simple().to_string()).collect();
        let mut seen = Seen::default();
        assert!(!ids.iter().any(|id| seen.is_duplicate(Some(id))));
        assert!(seen.is_duplicate(Some(&ids[1])));
        assert!(!seen.is_duplicate(Some(&ids[0])), "it is the seventeenth from the end");
        assert!(!seen.is_duplicate(None) && !seen.is_duplicate(Some("no id")) && !seen.is_duplicate(Some("no id")));
    }
}
