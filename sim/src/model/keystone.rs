//! Keystone: tokens.
//!
//! A token lasts for `[token] expiration`. An API that is shown one asks Keystone whether it is valid, unless it has asked within
//! `[keystone_authtoken] token_cache_time`: the services share that knowledge in memcached, as the harness's own clouds do.
//! Hashing a password takes twice as long with each round, and does not hold the interpreter.
//!
//! Left out: memcached itself, the services' own tokens, federation, the catalogue's size, fernet key rotation.

use std::time::Duration;

use hypervisor::{Fault, Session, Time};

use super::{
    ServiceId, World,
    ops::Ops,
    recipes::plain,
    task::{Asker, Flow, NONE, OpId, Recipe, Subject, TaskId},
};
use crate::calibration::{Calibration, Work};

pub(crate) const SERVICE: &str = "keystone";

/// Rounds that the calibration's hash was measured with.
const CALIBRATED_ROUNDS: i32 = 4;

/// The operations of Keystone.
#[derive(Debug)]
pub(crate) struct KeystoneOps {
    pub(crate) issue: OpId,
    validate: OpId,
    version: OpId,
}

impl KeystoneOps {
    pub(crate) fn new(ops: &mut Ops, calibration: &Calibration, rounds: u32) -> Self {
        let work = calibration.work(SERVICE, "POST /v3/auth/tokens");
        let doublings = i32::try_from(rounds).unwrap_or(i32::MAX).saturating_sub(CALIBRATED_ROUNDS);
        let hashed = Work { native_ms: work.native_ms * 2_f64.powi(doublings), ..work };
        let issue = plain(hashed, Some(issue), None);
        let issue = ops.add(Recipe { name: "keystone POST /v3/auth/tokens".to_owned(), steps: issue });
        let steps = plain(calibration.work(SERVICE, "GET /v3/auth/tokens"), None, None);
        let validate = ops.add(Recipe { name: "keystone GET /v3/auth/tokens".to_owned(), steps });
        let steps = plain(calibration.work(SERVICE, "GET /v3"), None, None);
        let version = ops.add(Recipe { name: "keystone GET /v3".to_owned(), steps });
        Self { issue, validate, version }
    }
}

/// For its sessions with Placement and with Neutron, and to go beside a user's.
const TOKENS_OF_A_HOST: u32 = 3;

/// A token as Keystone and the services know it.
#[derive(Debug, Clone, Copy)]
struct Token {
    expires: Time,
    /// Until when services do not ask again.
    trusted_until: Time,
}

/// All tokens that services are shown as the caller's: three for each hypervisor, one for each user.
#[derive(Debug)]
pub(crate) struct Tokens {
    tokens: Vec<Token>,
    hosts: u32,
    expiration: Duration,
}

impl Tokens {
    pub(crate) fn new(hosts: u32, users: u32, expiration: Duration) -> Self {
        let none = Token { expires: Time::ZERO, trusted_until: Time::ZERO };
        Self { tokens: vec![none; (hosts * TOKENS_OF_A_HOST + users) as usize], hosts, expiration }
    }

    /// The token of a hypervisor's session with Placement.
    pub(crate) fn placement_of(&self, host: u32) -> u32 {
        host * TOKENS_OF_A_HOST
    }

    /// The token of a hypervisor's session with Neutron.
    pub(crate) fn network_of(&self, host: u32) -> u32 {
        host * TOKENS_OF_A_HOST + 1
    }

    /// The token that a hypervisor shows beside a user's; it stands for both.
    pub(crate) fn service_of(&self, host: u32) -> u32 {
        host * TOKENS_OF_A_HOST + 2
    }

    /// The token of a user.
    pub(crate) fn of_user(&self, user: u32) -> u32 {
        self.hosts * TOKENS_OF_A_HOST + user
    }

    /// Whether it is worth showing: not about to expire.
    pub(crate) fn is_fresh(&self, token: u32, now: Time) -> bool {
        const MARGIN: Duration = Duration::from_secs(30);
        self.tokens[token as usize].expires > now + MARGIN
    }

    fn issue(&mut self, token: u32, now: Time) {
        self.tokens[token as usize] = Token { expires: now + self.expiration, trusted_until: Time::ZERO };
    }
}

fn issue(world: &mut World, task: TaskId) -> Flow {
    let (token, now) = (world.tasks[task].subject.token, world.now);
    if token != NONE {
        world.tokens.issue(token, now);
    }
    Flow::Next
}

impl World {
    /// Which version Keystone speaks.
    pub(crate) fn tell_version(&mut self, host: u32, asker: Asker) -> TaskId {
        let task = self.tasks.add(self.ops.keystone.version, asker, Subject::host(host));
        self.send_http(ServiceId::Keystone, task);
        task
    }

    /// A token for a hypervisor's session.
    pub(crate) fn issue_token(&mut self, host: u32, asker: Asker, session: Session) -> TaskId {
        let token = match session {
            Session::Placement => self.tokens.placement_of(host),
            Session::Network => self.tokens.network_of(host),
            Session::ServiceUser => self.tokens.service_of(host),
        };
        let subject = Subject { token, ..Subject::host(host) };
        let task = self.tasks.add(self.ops.keystone.issue, asker, subject);
        self.send_http(ServiceId::Keystone, task);
        task
    }

    /// The token that came with a request.
    pub(crate) fn validate(&mut self, task: TaskId) -> Flow {
        let token = self.tasks[task].subject.token;
        if token == NONE {
            return Flow::Next;
        }
        let known = self.tokens.tokens[token as usize];
        if self.now >= known.expires {
            return Flow::Fail(Fault::Http(401));
        }
        if self.now < known.trusted_until {
            return Flow::Next;
        }
        let service = self.processes[usize::from(self.tasks[task].process)].service;
        let trusted = self.settings.token_cache_time.get(service as usize).copied().unwrap_or_default();
        self.tokens.tokens[token as usize].trusted_until = self.now + trusted;
        let child = self.tasks.add(self.ops.keystone.validate, Asker::Task(task), Subject::NOTHING);
        self.send_http(ServiceId::Keystone, child);
        Flow::Wait
    }
}
