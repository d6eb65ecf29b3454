//! Cuts a stream of bytes into AMQP frames. The codec is amq-protocol's; the cutting is ours, because a connection that
//! keeps no buffer must parse where the bytes are.

use amq_protocol::{
    frame::{AMQPContentHeader, parsing::parse_content_header},
    protocol::{AMQPClass, constants, parse_class},
};

/// Type, channel and size before the payload; the end mark after it.
const HEADER_BYTES: usize = 7;
const FRAME_OVERHEAD_BYTES: usize = HEADER_BYTES + 1;

/// A frame; the number is its channel.
#[derive(Debug, PartialEq)]
pub enum Frame<'a> {
    /// A method of any class.
    Method(u16, AMQPClass),
    /// Size and properties of a message.
    Header(u16, Box<AMQPContentHeader>),
    /// A part of a message.
    Body(u16, &'a [u8]),
    /// Nothing but a sign of life.
    Heartbeat,
}

/// What came is not AMQP; the connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Larger than the two sides agreed.
    #[error("a frame of {bytes} bytes where {allowed} were agreed")]
    TooLarge {
        /// Of the whole frame.
        bytes: usize,
        /// `frame_max`.
        allowed: usize,
    },
    /// Neither method, header, body nor heartbeat.
    #[error("a frame of type {0} that AMQP 0-9-1 does not know")]
    UnknownType(u8),
    /// Its payload or its end mark is not what its type says.
    #[error("a frame of type {0} that cannot be read")]
    Malformed(u8),
}

/// Reads the first frame of `bytes` and says how many bytes it took; `None`: it is not all there yet.
fn first(bytes: &[u8], frame_max_bytes: usize) -> Result<Option<(Frame<'_>, usize)>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let [kind, channel_high, channel_low, size @ ..] = *header;
    let channel = u16::from_be_bytes([channel_high, channel_low]);
    let size = usize::try_from(u32::from_be_bytes(size)).unwrap_or(usize::MAX);
    let total = size.saturating_add(FRAME_OVERHEAD_BYTES);
    if total > frame_max_bytes {
        return Err(FrameError::TooLarge { bytes: total, allowed: frame_max_bytes });
    }
    let Some((payload, end)) = rest.split_at_checked(size) else { return Ok(None) };
    let Some(end) = end.first() else { return Ok(None) };
    if *end != constants::FRAME_END {
        return Err(FrameError::Malformed(kind));
    }
    Ok(Some((parse(kind, channel, payload)?, total)))
}

fn parse(kind: u8, channel: u16, payload: &[u8]) -> Result<Frame<'_>, FrameError> {
    match kind {
        constants::FRAME_METHOD => match parse_class(payload) {
            Ok(([], method)) => Ok(Frame::Method(channel, method)),
            _ => Err(FrameError::Malformed(kind)),
        },
        constants::FRAME_HEADER => match parse_content_header(payload) {
            Ok(([], header)) => Ok(Frame::Header(channel, Box::new(header))),
            _ => Err(FrameError::Malformed(kind)),
        },
        constants::FRAME_BODY => Ok(Frame::Body(channel, payload)),
        constants::FRAME_HEARTBEAT => Ok(Frame::Heartbeat),
        _ => Err(FrameError::UnknownType(kind)),
    }
}

/// Keeps the beginning of a frame until the rest comes, and nothing otherwise.
#[derive(Debug, Default)]
pub struct Cutter {
    partial: Vec<u8>,
}

impl Cutter {
    /// Hands every frame that `bytes` completes to `take`.
    ///
    /// # Errors
    /// What `take` says, or that the bytes are no frames.
    pub fn feed<E: From<FrameError>>(
        &mut self,
        bytes: &[u8],
        frame_max_bytes: usize,
        mut take: impl FnMut(Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut gathered = std::mem::take(&mut self.partial);
        let mut rest = if gathered.is_empty() {
            bytes
        } else {
            gathered.extend_from_slice(bytes);
            &gathered
        };
        while let Some((frame, taken)) = first(rest, frame_max_bytes)? {
            take(frame)?;
            rest = &rest[taken..];
        }
        // A large frame comes in many pieces: what is there is not copied for each.
        self.partial = if rest.len() == gathered.len() { gathered } else { rest.to_vec() };
        Ok(())
    }

    /// Bytes of a frame whose rest has not come.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn kept_bytes(&self) -> usize {
        self.partial.len()
    }
}

#[cfg(test)]
mod tests {
    use amq_protocol::{
        frame::{AMQPFrame, WriteContext, gen_frame},
        protocol::{basic, channel},
    };
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 4096;

    fn bytes_of(frame: &AMQPFrame) -> Vec<u8> {
        gen_frame(frame)(WriteContext::from(Vec::new())).expect("it can be written").into_inner().0
    }

    fn delivery() -> Vec<u8> {
        let ack = basic::Ack { delivery_tag: 7, multiple: false };
        let mut bytes = bytes_of(&AMQPFrame::Method(1, AMQPClass::Basic(basic::AMQPMethod::Ack(ack))));
        let header = AMQPContentHeader { class_id: 60, body_size: 3, properties: Default::default() };
        bytes.extend(bytes_of(&AMQPFrame::Header(1, header)));
        bytes.extend(bytes_of(&AMQPFrame::Body(1, b"abc".to_vec())));
        bytes.extend(bytes_of(&AMQPFrame::Heartbeat));
        bytes.extend(bytes_of(&AMQPFrame::Method(
            2,
            AMQPClass::Channel(channel::AMQPMethod::OpenOk(channel::OpenOk {})),
        )));
        bytes
    }

    fn names(cutter: &mut Cutter, bytes: &[u8]) -> Result<Vec<String>, FrameError> {
        let mut names = Vec::new();
        cutter.feed(bytes, MAX, |frame| {
            names.push(format!("{frame:?}"));
            Ok::<_, FrameError>(())
        })?;
        Ok(names)
    }

    #[test]
    fn a_frame_larger_than_agreed_ends_the_connection() {
        let frame = bytes_of(&AMQPFrame::Body(1, vec![0; MAX]));
        assert_eq!(names(&mut Cutter::default(), &frame), Err(FrameError::TooLarge { bytes: MAX + 8, allowed: MAX }));
    }

    #[test]
    fn nothing_is_kept_between_whole_frames() {
        let mut cutter = Cutter::default();
        assert_eq!(names(&mut cutter, &delivery()).expect("it is AMQP").len(), 5);
        assert_eq!(cutter.partial.capacity(), 0);
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(at in prop::collection::vec(0usize..80, 0..6)) {
            let bytes = delivery();
            let whole = names(&mut Cutter::default(), &bytes).expect("it is AMQP");
            let mut at: Vec<usize> = at.into_iter().filter(|at| *at <= bytes.len()).collect();
            at.sort_unstable();
            at.push(bytes.len());
            let (mut cutter, mut seen, mut from) = (Cutter::default(), Vec::new(), 0);
            for to in at {
                seen.extend(names(&mut cutter, &bytes[from..to]).expect("it is AMQP"));
                from = to;
            }
            prop_assert_eq!(seen, whole);
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes: Vec<u8>) {
            let _read = names(&mut Cutter::default(), &bytes);
        }

        #[test]
        fn an_arbitrary_payload_does_not_panic(kind in 1u8..9, payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = vec![kind, 0, 1];
            bytes.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
            bytes.extend(payload);
            bytes.push(constants::FRAME_END);
            let _read = names(&mut Cutter::default(), &bytes);
        }
    }
}
