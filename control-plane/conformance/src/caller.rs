//! Requests to a compute service that Nova itself would not make.

use std::time::Duration;

use control_plane::live::Target as CloudTarget;
use fake_hv::{
    Broker,
    amqp::{Farewell, HostIndex, Link, LinkEvent, Message, ReplyError, Target},
};
use hypervisor::{RabbitOptions, RequestId};
use scenarios::plan::ConnectionMode;
use serde_json::{Value, json};
use tokio::{runtime::Handle, sync::mpsc};
use uuid::Uuid;

use crate::lab::{Lab, LabError};

/// How long an answer may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// What no method of a compute service takes.
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) version: &'static str,
    pub(crate) args: Value,
}

/// A client of one compute service, straight to the broker.
pub(crate) struct Caller {
    link: Link,
    events: mpsc::UnboundedReceiver<(HostIndex, LinkEvent)>,
    host: String,
    calls: u32,
}

impl Caller {
    pub(crate) fn of(lab: &Lab, host: &str) -> Self {
        let address = CloudTarget::own(&lab.cloud).broker();
        let broker = Broker::new(address, ConnectionMode::Single, RabbitOptions::default(), Handle::current());
        let (sender, events) = mpsc::unbounded_channel();
        let link = Link::open(broker, 0, "caller", sender);
        Self { link, events, host: host.to_owned(), calls: 0 }
    }

    fn target(&self) -> Target {
        Target::nova(format!("compute.{}", self.host))
    }

    /// Asks for all of these in vain, and then whether it still serves.
    pub(crate) async fn all_refused(&mut self, requests: &[Request]) -> Result<(), LabError> {
        for request in requests {
            self.refused(request).await?;
        }
        let ping = Message::new("ping", Some("baseapi"), "1.0", json!({"arg": "there?"}), context());
        match self.answer(ping).await? {
            Ok(_) => Ok(()),
            Err(error) => Err(LabError::Otherwise { what: "an answer to a ping".to_owned(), was: error.message }),
        }
    }

    /// Both a cast, of which nobody hears, and a call, which has to be refused.
    async fn refused(&mut self, request: &Request) -> Result<(), LabError> {
        let Request { method, version, args } = request;
        let message = || Message::new(method, None, version, args.clone(), context());
        self.link.cast(self.target(), message());
        match self.answer(message()).await? {
            Err(_) => Ok(()),
            Ok(answer) => {
                Err(LabError::Otherwise { what: format!("a refusal of {method} {version}"), was: answer.to_string() })
            }
        }
    }

    async fn answer(&mut self, message: Message) -> Result<Result<Value, ReplyError>, LabError> {
        self.calls += 1;
        let id = RequestId(self.calls);
        self.link.call(id, self.target(), message, ANSWERED_WITHIN);
        let answered = async {
            while let Some((_, event)) = self.events.recv().await {
                if let LinkEvent::Reply(to, result) = event
                    && to == id
                {
                    return Some(result);
                }
            }
            None
        };
        let answered = tokio::time::timeout(ANSWERED_WITHIN, answered).await.ok().flatten();
        answered.ok_or_else(|| LabError::Late {
            what: format!("an answer of {}", self.host),
            within: ANSWERED_WITHIN,
            last: "silence".to_owned(),
        })
    }

    /// Removes what it has on the broker.
    pub(crate) async fn close(self) {
        self.link.close(Farewell::TidyUp).await;
    }
}

/// That of an administrator, of a request of its own.
fn context() -> Value {
    json!({
        "_context_request_id": format!("req-{}", Uuid::new_v4()), "_context_is_admin": true, "_context_user_id": null,
        "_context_project_id": null, "_context_read_deleted": "no", "_context_roles": ["admin"],
    })
}
