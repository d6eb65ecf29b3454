//! A host that ran before, and what a scenario does to one.

use std::{
    rc::Rc,
    time::{Duration, SystemTime},
};

use hypervisor::{Hypervisor, Sessions, Time};

use super::{Common, Host};
use crate::{
    KnownHost, KnownToken, Secret,
    amqp::Link,
    http::Accounts,
    nova::{self, Identity, Rows},
};

impl Host {
    /// One that ran before, as the cloud's records have it. It goes on with its first input; [`Host::rejoin`] is to come before.
    pub(crate) fn known(
        common: &Common,
        identity: Identity,
        (seed, now): (u64, Time),
        (link, beside): (Link, Option<Link>),
        known: KnownHost,
    ) -> Self {
        let KnownHost { service, node, provider_generation, since_beat, vms, tokens } = known;
        let vms = vms.into_iter().map(nova::known_instance).collect();
        let now_s = unix_s();
        let until = |token: KnownToken| now + Duration::from_secs(token.until_unix_s.saturating_sub(now_s));
        let sessions = tokens.clone().map(until);
        let tokens = tokens.map(|token| token.token.reveal().into());
        let machine = Hypervisor::go_on(Rc::clone(&common.config), seed, vms, since_beat, sessions);
        Self {
            rows: Rows::known(service, node),
            accounts: Accounts::known(provider_generation, tokens),
            ..Self::with(common, identity, machine, link, beside)
        }
    }

    /// Connects to the broker, and has there the connections, queues and consumers that a nova-compute has that runs.
    pub(crate) fn rejoin(&self, common: &Common) {
        self.link.prepare_calls();
        self.link.serve(&common.release.rpc_topics);
    }

    /// Its tokens, for a next time.
    pub(crate) fn tokens(&self, now: Time) -> Sessions<KnownToken> {
        let now_s = unix_s();
        self.accounts.tokens.clone().zip_with(self.machine.sessions(), |token, until| KnownToken {
            token: Secret::new(token),
            until_unix_s: now_s + (until - now).as_secs(),
        })
    }

    /// All connections of the host are lost.
    pub(crate) fn cut(&self) {
        self.link.cut();
        if let Some(agent) = &self.agent {
            agent.cut();
        }
    }
}

/// Seconds since the epoch, by the clock of this machine.
fn unix_s() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()
}
