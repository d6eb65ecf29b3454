//! What arrives: requests, answers, and the end of a channel.

use std::{collections::VecDeque, sync::Arc};

use amqprs::{
    Ack, BasicProperties, Cancel, CloseChannel, Deliver, Nack, Return,
    callbacks::ChannelCallback,
    channel::{BasicAckArguments, Channel},
    consumer::AsyncConsumer,
    error::Error,
};
use async_trait::async_trait;
use tokio::sync::Notify;

use super::{EventSender, HostIndex, LinkEvent, envelope};

/// `_unique_id`s remembered by each listener (`amqp.py`).
const DUPLICATES_REMEMBERED: usize = 16;

async fn acknowledge(channel: &Channel, deliver: &Deliver) {
    // Fails only when the channel is gone, and then the broker delivers again.
    let _gone = channel.basic_ack(BasicAckArguments::new(deliver.delivery_tag(), false)).await;
}

/// Consumes from the queues of an RPC server: acknowledges first, then passes on.
pub(crate) struct Requests {
    host: HostIndex,
    events: EventSender,
    seen: VecDeque<Box<str>>,
}

impl Requests {
    pub(crate) fn new(host: HostIndex, events: EventSender) -> Self {
        Self { host, events, seen: VecDeque::new() }
    }

    fn is_duplicate(&mut self, unique_id: Option<&str>) -> bool {
        let Some(unique_id) = unique_id else { return false };
        if self.seen.iter().any(|seen| seen.as_ref() == unique_id) {
            return true;
        }
        if self.seen.len() == DUPLICATES_REMEMBERED {
            self.seen.pop_front();
        }
        self.seen.push_back(unique_id.into());
        false
    }
}

#[async_trait]
impl AsyncConsumer for Requests {
    async fn consume(&mut self, channel: &Channel, deliver: Deliver, _: BasicProperties, content: Vec<u8>) {
        acknowledge(channel, &deliver).await;
        let Some(request) = envelope::read_request(&content) else {
            tracing::warn!(bytes = content.len(), "a message to a compute service is not an RPC request; dropped");
            return;
        };
        if !self.is_duplicate(request.unique_id.as_deref()) {
            let _stopped = self.events.send((self.host, LinkEvent::Request(Box::new(request))));
        }
    }
}

/// Consumes from the reply queue.
pub(crate) struct Replies {
    host: HostIndex,
    events: EventSender,
}

impl Replies {
    pub(crate) fn new(host: HostIndex, events: EventSender) -> Self {
        Self { host, events }
    }
}

#[async_trait]
impl AsyncConsumer for Replies {
    async fn consume(&mut self, channel: &Channel, deliver: Deliver, _: BasicProperties, content: Vec<u8>) {
        acknowledge(channel, &deliver).await;
        if let Some((id, result)) = envelope::read_reply(&content) {
            let _stopped = self.events.send((self.host, LinkEvent::Reply(id, result)));
        }
    }
}

/// Notifies when the broker ends a channel or a consumer.
#[derive(Clone)]
pub(crate) struct CloseNotice(pub(crate) Arc<Notify>);

#[async_trait]
impl ChannelCallback for CloseNotice {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        tracing::warn!(%close, "the broker closed a channel");
        self.0.notify_one();
        Ok(())
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        self.0.notify_one(); // a queue went away: declare and consume again
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, _: Ack) {}

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {
        tracing::warn!("the broker could not take a message");
    }

    async fn publish_return(&mut self, _: &Channel, returned: Return, _: BasicProperties, _: Vec<u8>) {
        tracing::debug!(%returned, "an answer found no reply queue; its caller is gone");
    }
}
