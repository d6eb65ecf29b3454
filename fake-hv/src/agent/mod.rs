//! The L2 agent of a hypervisor on the wire: a process beside nova-compute, with a link, a context and a cache of its own.

mod cloud;
mod messages;
mod release;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use hypervisor::{AgentCall, AgentPort, Lookup, Push, RequestId, Response, Servers};
use serde_json::Value;
use uuid::Uuid;

pub(crate) use self::{cloud::Cloud, release::AgentRelease};
use self::{
    cloud::{News, Number, Port, Revision},
    messages::AgentContext,
};
use crate::{
    amqp::{Incoming, Link, Message, Target},
    nova::unsupported_version,
    timestamp,
    values::list,
};

/// The L2 agent of one hypervisor.
pub(crate) struct Agent {
    host: Box<str>,
    release: Rc<AgentRelease>,
    link: Link,
    /// Of everything but what it pulls.
    context: AgentContext,
    cloud: Rc<RefCell<Cloud>>,
    /// What it has of the cloud's objects, by their number: in the original a copy of each.
    known: Bits,
    /// What it asked for: asked once, it relies on being told.
    asked: BTreeSet<Lookup>,
    /// Revision and content of the ports that are bound here, to tell whether news of them is any.
    contents: BTreeMap<Uuid, (Revision, u64)>,
}

impl Agent {
    pub(crate) fn new(host: &str, release: &Rc<AgentRelease>, link: Link, cloud: &Rc<RefCell<Cloud>>) -> Self {
        Self {
            host: host.into(),
            release: Rc::clone(release),
            link,
            context: AgentContext::new(),
            cloud: Rc::clone(cloud),
            known: Bits::default(),
            asked: BTreeSet::new(),
            contents: BTreeMap::new(),
        }
    }

    /// Starts the RPC servers of one kind.
    pub(crate) fn serve(&self, servers: Servers) {
        match servers {
            Servers::Compute => {}
            Servers::Resources => self.link.serve(&self.release.resource_topics),
            Servers::Notifications => self.link.serve(&self.release.notification_topics),
        }
    }

    /// Its connections are lost.
    pub(crate) fn cut(&self) {
        self.link.cut();
    }

    /// Ends the agent.
    pub(crate) fn close(self) -> Link {
        self.link
    }

    /// Calls neutron-server.
    pub(crate) fn call(&self, id: RequestId, call: &AgentCall, timeout: std::time::Duration) {
        let body = messages::call(&self.release, &self.host, call, &timestamp::now_micros());
        let fresh;
        let context = match call {
            AgentCall::LookUp(_) => {
                fresh = AgentContext::new();
                &fresh
            }
            _ => &self.context,
        };
        let (version, context) = (self.release.version_of(body.method), context.write(&self.release));
        let message = Message::new(body.method, None, version, body.args, context);
        self.link.call(id, Target::neutron(body.topic), message, timeout);
    }

    /// What the cache has of something; `None`: Neutron has to be asked.
    pub(crate) fn look_up(&self, lookup: &Lookup) -> Option<Response> {
        let cloud = self.cloud.borrow();
        let (id, found) = match lookup {
            Lookup::Port(id) if cloud.is_gone(*id) => return Some(Response::AgentPort(None)),
            Lookup::Port(id) => (id, cloud.port(*id).map_or(Response::AgentPort(None), |port| self.port(port, false))),
            Lookup::Network(id) => (id, Response::Found(false)),
            Lookup::Group(id) | Lookup::AddressGroup(id) => (id, Response::Done),
            Lookup::Rules(group) => return self.asked.contains(lookup).then(|| cloud.remotes(*group)),
            Lookup::GroupsWithAddresses(group) => {
                return self.asked.contains(lookup).then(|| cloud.groups_with_addresses(*group));
            }
            Lookup::Members(groups) => {
                let known = |group: &Uuid| self.asked.contains(&Lookup::Members(vec![*group]));
                return groups.iter().all(known).then_some(Response::Done);
            }
        };
        let known = cloud.number(*id).is_some_and(|number| self.known.has(number)) || self.asked.contains(lookup);
        known.then_some(found)
    }

    fn port(&self, port: &Port, asked: bool) -> Response {
        Response::AgentPort(Some(AgentPort {
            network: port.network,
            groups: port.groups.clone(),
            admin_up: port.admin_up,
            bound: port.host.as_deref() == Some(&*self.host),
            asked,
        }))
    }

    /// Takes an answer of neutron-server over.
    pub(crate) fn answered(&mut self, call: &AgentCall, answer: &Value) -> Response {
        match call {
            AgentCall::FindServer => Response::Found(answer == true),
            AgentCall::ReportState { .. } if answer == "revived" => Response::Revived,
            AgentCall::LookUp(lookup) => self.pulled(lookup, answer),
            AgentCall::DevicesDown(ports) => {
                ports.iter().for_each(|port| self.forget(*port));
                Response::Done
            }
            _ => Response::Done,
        }
    }

    fn pulled(&mut self, lookup: &Lookup, answer: &Value) -> Response {
        let news: Vec<News> = {
            let mut cloud = self.cloud.borrow_mut();
            list(answer).iter().filter_map(|object| cloud.learn(object)).collect()
        };
        for it in &news {
            self.note(it);
        }
        match lookup {
            Lookup::Members(groups) => {
                self.asked.extend(groups.iter().map(|group| Lookup::Members(vec![*group])));
            }
            other => {
                self.asked.insert(other.clone());
            }
        }
        match lookup {
            Lookup::Port(id) => {
                let found = self.cloud.borrow();
                let found = found.port(*id).filter(|_| !news.is_empty());
                found.map_or(Response::AgentPort(None), |port| self.port(port, true))
            }
            Lookup::Network(_) => Response::Found(!news.is_empty()),
            other => self.look_up(other).unwrap_or(Response::Done),
        }
    }

    /// A port that is not on the bridge any more is not kept: if it comes again, it is asked for again.
    fn forget(&mut self, port: Uuid) {
        if let Some(number) = self.cloud.borrow().number(port) {
            self.known.set(number, false);
        }
        self.asked.remove(&Lookup::Port(port));
        self.contents.remove(&port);
    }

    /// What a request to the agent comes to; most of those to all agents come to nothing.
    pub(crate) fn heard(&mut self, request: &Arc<Incoming>) -> Vec<Push> {
        if let Some(reply_to) = &request.reply_to {
            self.link.reply(reply_to.clone(), Err(unsupported_version(&request.version, &request.method)));
            return Vec::new();
        }
        if request.method != "push" {
            return Vec::new();
        }
        let news = self.cloud.borrow_mut().hear(request);
        news.iter().filter_map(|it| self.note(it)).collect()
    }

    /// Takes one object over; whether the agent has to do something.
    fn note(&mut self, news: &News) -> Option<Push> {
        match news {
            News::Port { number, id, bound_to, revision, content } => {
                self.known.set(*number, true);
                let kept = self.contents.get(id).copied();
                let is_here = bound_to.as_deref() == Some(&*self.host) || kept.is_some();
                if !is_here || kept.is_some_and(|(kept, _)| kept > *revision) {
                    return None;
                }
                self.contents.insert(*id, (*revision, *content));
                kept.is_none_or(|(_, kept)| kept != *content).then_some(Push::Port(*id))
            }
            News::Network { number, id } => {
                self.known.set(*number, true);
                Some(Push::Network(*id))
            }
            News::Group { number, id } => {
                self.known.set(*number, true);
                Some(Push::Group(*id))
            }
            News::Rule { group } => Some(Push::Group(*group)),
            News::AddressGroup { number, id } => {
                self.known.set(*number, true);
                Some(Push::AddressGroup(*id))
            }
            News::Gone { number, id } => {
                self.known.set(*number, false);
                self.contents.remove(id);
                None
            }
        }
    }
}

/// A set of numbers, one bit each: every agent hears of every port of the cloud.
#[derive(Debug, Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn place(number: Number) -> (usize, u64) {
        let word = usize::try_from(number / u64::BITS).expect("32 bits fit");
        (word, 1 << (number % u64::BITS))
    }

    fn has(&self, number: Number) -> bool {
        let (word, bit) = Self::place(number);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, number: Number, on: bool) {
        let (word, bit) = Self::place(number);
        if word >= self.0.len() {
            if !on {
                return;
            }
            self.0.resize(word + 1, 0);
        }
        if on {
            self.0[word] |= bit;
        } else {
            self.0[word] &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_set_and_cleared_one_by_one() {
        let mut bits = Bits::default();
        for number in [0, 63, 64, 1000] {
            bits.set(number, true);
        }
        bits.set(63, false);
        bits.set(5000, false);
        let set: Vec<Number> = (0..2000).filter(|number| bits.has(*number)).collect();
        assert_eq!(set, [0, 64, 1000]);
    }
}
