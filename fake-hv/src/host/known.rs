//! A host that ran before, and what a scenario does to one.

use std::rc::Rc;

use hypervisor::Hypervisor;

use super::{Common, Host};
use crate::{
    KnownHost,
    amqp::Link,
    http::Sessions,
    nova::{self, Identity, Rows},
};

impl Host {
    /// One that ran before, as the cloud's records have it.
    pub(crate) fn known(
        common: &Common,
        identity: Identity,
        seed: u64,
        (link, beside): (Link, Option<Link>),
        known: KnownHost,
    ) -> Self {
        let KnownHost { service, node, provider_generation, since_beat, vms } = known;
        let vms = vms.into_iter().map(nova::known_instance).collect();
        let machine = Hypervisor::go_on(Rc::clone(&common.config), seed, vms, since_beat);
        Self {
            rows: Rows::known(service, node),
            sessions: Sessions::known(provider_generation),
            ..Self::with(common, identity, machine, link, beside)
        }
    }

    /// All connections of the host are lost.
    pub(crate) fn cut(&self) {
        self.link.cut();
        if let Some(agent) = &self.agent {
            agent.cut();
        }
    }
}
