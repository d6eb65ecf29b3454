//! From a TCP connection to an open AMQP connection.

use amq_protocol::{
    frame::{AMQPFrame, ProtocolVersion, WriteContext, gen_frame},
    protocol::{AMQPClass, connection},
    types::{AMQPValue, FieldTable, LongString, ShortString, generation::gen_field_table},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::Duration,
};

use super::{
    LARGEST_BODY_BYTES,
    broker::{BrokerAddress, BrokerNode},
    frames::{Cutter, Frame, FrameError},
    outbox::Outbox,
    topology::short,
};

/// The whole handshake has to be over by then; kombu gives a connection as long.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Before a size is agreed (AMQP 0-9-1, `frame-min-size`). RabbitMQ's greeting is smaller.
pub(crate) const FRAME_MIN_BYTES: usize = 4096;
/// Asked for when the broker sets no limit; py-amqp's.
const FRAME_MAX_BYTES: u32 = 131_072;
/// Before a table its length is written.
const TABLE_LENGTH_BYTES: usize = 4;
/// A channel number has 16 bits.
const CHANNEL_MAX: u16 = u16::MAX;

/// What client and broker agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) frame_max_bytes: usize,
    pub(crate) channel_max: u16,
    /// Without a byte for twice as long, the connection is dead. `None`: heartbeats are off.
    pub(crate) heartbeat: Option<Duration>,
}

/// The broker is not there, does not speak AMQP, or said no.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("it sent {0}")]
    Frame(#[from] FrameError),
    #[error("{code} {text}")]
    Refused { code: u16, text: String },
    #[error("it closed the connection before the handshake was over; is it an AMQP 0-9-1 port?")]
    HungUp,
    #[error("it did not answer in time")]
    TimedOut,
}

/// Connects, authenticates and opens the virtual host. `name` shows in the broker's list of connections; a `heartbeat` of zero wants
/// none.
pub(crate) async fn connect(
    address: &BrokerAddress,
    node: &BrokerNode,
    name: &str,
    heartbeat: Duration,
) -> Result<(TcpStream, Terms), HandshakeError> {
    let handshake = async {
        let stream = TcpStream::connect((node.host.as_str(), node.port)).await?;
        stream.set_nodelay(true)?;
        greet(stream, address, name, heartbeat).await
    };
    tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.unwrap_or(Err(HandshakeError::TimedOut))
}

/// Authenticates and opens the virtual host on a stream that is connected.
pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    address: &BrokerAddress,
    name: &str,
    heartbeat: Duration,
) -> Result<(S, Terms), HandshakeError> {
    Handshake { stream, cutter: Cutter::default(), heartbeat }.run(address, name).await
}

struct Handshake<S> {
    stream: S,
    cutter: Cutter,
    /// What is asked for.
    heartbeat: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Handshake<S> {
    async fn run(mut self, address: &BrokerAddress, name: &str) -> Result<(S, Terms), HandshakeError> {
        let header = AMQPFrame::ProtocolHeader(ProtocolVersion::amqp_0_9_1());
        let header = gen_frame(&header)(WriteContext::from(Vec::new())).expect("eight constant bytes");
        self.stream.write_all(&header.into_inner().0).await?;
        loop {
            match self.receive().await? {
                connection::AMQPMethod::Start(_) => self.send(start_ok(address, name)).await?,
                connection::AMQPMethod::Tune(tune) => {
                    let terms = agree(&tune, self.heartbeat);
                    self.send(tune_ok(terms)).await?;
                    let open = connection::Open { virtual_host: short(&*address.vhost) };
                    self.send(connection::AMQPMethod::Open(open)).await?;
                    self.receive_open_ok().await?;
                    return Ok((self.stream, terms));
                }
                other => tracing::debug!(?other, "the broker's handshake has a step that is not known here"),
            }
        }
    }

    async fn receive_open_ok(&mut self) -> Result<(), HandshakeError> {
        loop {
            if let connection::AMQPMethod::OpenOk(_) = self.receive().await? {
                return Ok(());
            }
        }
    }

    async fn send(&mut self, method: connection::AMQPMethod) -> Result<(), HandshakeError> {
        let mut outbox = Outbox::new(FRAME_MIN_BYTES);
        outbox.method(0, method);
        Ok(self.stream.write_all(&outbox.take()).await?)
    }

    /// The broker never sends two methods without an answer between them, so one at a time is enough.
    async fn receive(&mut self) -> Result<connection::AMQPMethod, HandshakeError> {
        loop {
            let mut bytes = [0; 1024];
            let read = match self.stream.read(&mut bytes).await? {
                0 => return Err(HandshakeError::HungUp),
                read => read,
            };
            let mut method = None;
            self.cutter.feed(&bytes[..read], FRAME_MIN_BYTES, |frame| {
                if let Frame::Method(0, AMQPClass::Connection(received)) = frame {
                    method = Some(received);
                }
                Ok::<_, FrameError>(())
            })?;
            match method {
                Some(connection::AMQPMethod::Close(close)) => {
                    return Err(HandshakeError::Refused { code: close.reply_code, text: close.reply_text.to_string() });
                }
                Some(method) => return Ok(method),
                None => {}
            }
        }
    }
}

fn start_ok(address: &BrokerAddress, name: &str) -> connection::AMQPMethod {
    let text = |text: &str| AMQPValue::LongString(LongString::from(text.as_bytes()));
    let mut capabilities = FieldTable::default();
    for capability in ["authentication_failure_close", "connection.blocked", "consumer_cancel_notify"] {
        capabilities.insert(short(capability), AMQPValue::Boolean(true));
    }
    let mut client_properties = FieldTable::default();
    client_properties
        .insert(short("product"), text("kagemusha"))
        .insert(short("product_version"), text(env!("CARGO_PKG_VERSION")))
        .insert(short("connection_name"), text(name))
        .insert(short("capabilities"), AMQPValue::FieldTable(capabilities));
    connection::AMQPMethod::StartOk(connection::StartOk {
        client_properties,
        // What py-amqp chooses of what RabbitMQ offers.
        mechanism: ShortString::from("AMQPLAIN"),
        response: LongString::from(login(address)),
        locale: ShortString::from("en_US"),
    })
}

/// `AMQPLAIN`: a table with user and password, without its length.
fn login(address: &BrokerAddress) -> Vec<u8> {
    let text = |text: &str| AMQPValue::LongString(LongString::from(text.as_bytes()));
    let mut table = FieldTable::default();
    table.insert(short("LOGIN"), text(&address.user)).insert(short("PASSWORD"), text(address.password.reveal()));
    let written = gen_field_table(&table)(WriteContext::from(Vec::new())).expect("a table fits into memory");
    written.into_inner().0.split_off(TABLE_LENGTH_BYTES)
}

/// As py-amqp: the broker's limits, and the shorter of the two heartbeats, or none if none is wanted here. A frame is kept until it is
/// whole, so that a limit beyond any message is not agreed to.
fn agree(tune: &connection::Tune, heartbeat: Duration) -> Terms {
    let frame_max = if tune.frame_max == 0 { FRAME_MAX_BYTES } else { tune.frame_max };
    let asked_s = u16::try_from(heartbeat.as_secs()).unwrap_or(u16::MAX);
    let heartbeat_s = if tune.heartbeat == 0 { asked_s } else { asked_s.min(tune.heartbeat) };
    Terms {
        frame_max_bytes: usize::try_from(frame_max)
            .unwrap_or(LARGEST_BODY_BYTES)
            .clamp(FRAME_MIN_BYTES, LARGEST_BODY_BYTES),
        channel_max: if tune.channel_max == 0 { CHANNEL_MAX } else { tune.channel_max },
        heartbeat: (heartbeat_s > 0).then(|| Duration::from_secs(heartbeat_s.into())),
    }
}

fn tune_ok(terms: Terms) -> connection::AMQPMethod {
    connection::AMQPMethod::TuneOk(connection::TuneOk {
        channel_max: terms.channel_max,
        frame_max: u32::try_from(terms.frame_max_bytes).expect("it came as 32 bits"),
        heartbeat: terms
            .heartbeat
            .map_or(0, |heartbeat| u16::try_from(heartbeat.as_secs()).expect("it came as 16 bits")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shorter_heartbeat_and_the_brokers_limits_are_agreed() {
        let agree = |channel_max, frame_max, heartbeat, asked_s| {
            agree(&connection::Tune { channel_max, frame_max, heartbeat }, Duration::from_secs(asked_s))
        };
        let minute = Some(Duration::from_secs(60));
        let terms = agree(2047, 131_072, 600, 60);
        assert_eq!(terms, Terms { frame_max_bytes: 131_072, channel_max: 2047, heartbeat: minute });
        let huge = agree(0, u32::MAX, 0, 60);
        assert_eq!(huge.frame_max_bytes, LARGEST_BODY_BYTES);
        let unlimited = agree(0, 0, 0, 60);
        assert_eq!((unlimited.channel_max, unlimited.heartbeat), (u16::MAX, minute));
        assert_eq!(agree(0, 0, 60, 600).heartbeat, minute);
        assert_eq!(agree(0, 0, 60, 0).heartbeat, None, "none is wanted here");
        assert_eq!(tune_ok_heartbeat_s(agree(0, 0, 60, 0)), 0);
        assert_eq!(tune_ok_heartbeat_s(agree(0, 0, 60, 15)), 15);
    }

    fn tune_ok_heartbeat_s(terms: Terms) -> u16 {
        match tune_ok(terms) {
            connection::AMQPMethod::TuneOk(tune_ok) => tune_ok.heartbeat,
            other => panic!("{other:?}"),
        }
    }
}
