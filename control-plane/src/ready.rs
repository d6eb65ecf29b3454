//! Checks of readiness: each asks the process for what it is there for.

use std::{io, time::Duration};

use reqwest::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::{config::Settings, error::Unanswered, identity::Session, queue_page, service::Ready};

/// How long one check may take; a server that accepts and says nothing is not ready. Nova's list of 7,000 services took 3.5 s, and the
/// page of their queues 1.5 s, on two cores that were busy with the end of a run.
const CHECK_WITHIN: Duration = Duration::from_secs(30);

/// Why a check failed, in words; `Ok` when the process is ready.
pub(crate) async fn check(ready: &Ready, settings: &Settings<'_>, session: &Session) -> Result<(), String> {
    match timeout(CHECK_WITHIN, ask(ready, settings, session)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", CHECK_WITHIN.as_secs())),
    }
}

async fn ask(ready: &Ready, settings: &Settings<'_>, session: &Session) -> Result<(), String> {
    match ready {
        Ready::Running => Ok(()),
        Ready::Tcp(port) => connect(*port).await.map(drop).map_err(|error| on_port(*port, &error)),
        Ready::MariaDb(port) => mariadb(*port).await.map_err(|error| on_port(*port, &error)),
        Ready::Amqp(port) => {
            // connection.start: frame type 1, channel 0, class 10, method 10 (AMQP 0-9-1 section 1.4).
            exchange(*port, b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00").await.map_err(|error| on_port(*port, &error))
        }
        Ready::Memcached(port) => {
            exchange(*port, b"version\r\n", b"VERSION ").await.map_err(|error| on_port(*port, &error))
        }
        Ready::Http(ports) => {
            for port in ports {
                http(session, *port).await?;
            }
            Ok(())
        }
        Ready::Consumer(queue) => consumer(settings, session, queue).await,
        Ready::NovaService { binary, queue } => {
            // The list shows a service up for a minute after its end; the broker knows its consumers at once.
            consumer(settings, session, queue).await?;
            nova_service(session, binary).await
        }
    }
}

fn on_port(port: u16, error: &io::Error) -> String {
    format!("port {port}: {error}")
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    TcpStream::connect(("127.0.0.1", port)).await
}

/// The server speaks first: a packet whose payload begins with protocol version 10. 255 is an error, such as too many
/// connections.
async fn mariadb(port: u16) -> io::Result<()> {
    let mut greeting = [0; 5];
    connect(port).await?.read_exact(&mut greeting).await?;
    match greeting[4] {
        10 => Ok(()),
        other => Err(io::Error::other(format!("greeted with {other} instead of protocol 10"))),
    }
}

async fn exchange(port: u16, request: &[u8], beginning: &[u8]) -> io::Result<()> {
    let mut stream = connect(port).await?;
    stream.write_all(request).await?;
    let mut answer = vec![0; beginning.len()];
    stream.read_exact(&mut answer).await?;
    match answer == beginning {
        true => Ok(()),
        false => Err(io::Error::other(format!("answered {:?}", String::from_utf8_lossy(&answer)))),
    }
}

async fn http(session: &Session, port: u16) -> Result<(), String> {
    let url = format!("http://127.0.0.1:{port}/");
    let status = session.http().get(&url).send().await.map_err(|error| Unanswered::from(error).to_string())?.status();
    match status {
        StatusCode::OK | StatusCode::MULTIPLE_CHOICES => Ok(()),
        other => Err(format!("{url}: {other}")),
    }
}

async fn consumer(settings: &Settings<'_>, session: &Session, queue: &str) -> Result<(), String> {
    let queues = queue_page::queues(session.http(), &settings.broker_metrics_urls(), queue_page::CONSUMERS).await;
    let queues = queues.map_err(|error| error.to_string())?;
    match queues.iter().any(|(name, _)| name == queue) {
        true => Ok(()),
        false => Err(format!("nobody consumes from the queue {queue}")),
    }
}

async fn nova_service(session: &Session, binary: &str) -> Result<(), String> {
    let answer = session.get("nova", &format!("/v2.1/os-services?binary={binary}")).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let up = answer["services"].as_array().is_some_and(|rows| rows.iter().any(|row| row["state"] == "up"));
    match up {
        true => Ok(()),
        false => Err(format!("Nova's service list does not show {binary} up")),
    }
}
