//! What Neutron has told the agents of a fleet of its resources. It tells every agent of every port, so each object is read
//! and kept once for all of them; which agent knows of it is a bit of that agent's.
//!
//! Agents hear of one change at different times, and one that is far behind brings what the others have long seen replaced. So
//! nothing older than what is kept takes its place, as in a real agent's cache (`neutron/agent/resource_cache.py`, `_is_stale`).

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    rc::Rc,
    sync::Arc,
};

use hypervisor::Response;
use serde_json::Value;
use uuid::Uuid;

use crate::{
    amqp::Incoming,
    values::{list, uuid, uuids},
};

/// Messages whose content is kept for the agents that get them next.
const RECENT: usize = 16;

/// Names an object within the fleet.
pub(crate) type Number = u32;

/// A port.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub(crate) network: Uuid,
    pub(crate) groups: Vec<Uuid>,
    pub(crate) admin_up: bool,
    /// Where it is bound, with a segment to be wired to.
    pub(crate) host: Option<Rc<str>>,
    revision: Revision,
}

/// `revision_number`: it grows with each change of an object.
pub(crate) type Revision = u64;

/// Which groups a rule names on the other side.
#[derive(Debug, Clone, Copy)]
struct Rule {
    remote: Option<Uuid>,
    addresses: Option<Uuid>,
    revision: Revision,
}

/// An object that was told of.
#[derive(Debug, Clone)]
pub(crate) enum News {
    Port { number: Number, id: Uuid, bound_to: Option<Rc<str>>, revision: Revision, content: u64 },
    Network { number: Number, id: Uuid },
    Group { number: Number, id: Uuid },
    Rule { group: Uuid },
    AddressGroup { number: Number, id: Uuid },
    Gone { number: Number, id: Uuid },
}

/// Everything that the agents of a fleet were told.
#[derive(Debug, Default)]
pub(crate) struct Cloud {
    numbers: BTreeMap<Uuid, Number>,
    ports: BTreeMap<Uuid, Port>,
    /// By security group, then by id.
    rules: BTreeMap<Uuid, BTreeMap<Uuid, Rule>>,
    /// Deleted for good.
    gone: BTreeSet<Uuid>,
    recent: VecDeque<(Arc<Incoming>, Rc<[News]>)>,
}

impl Cloud {
    pub(crate) fn number(&self, id: Uuid) -> Option<Number> {
        self.numbers.get(&id).copied()
    }

    pub(crate) fn is_gone(&self, id: Uuid) -> bool {
        self.gone.contains(&id)
    }

    pub(crate) fn port(&self, id: Uuid) -> Option<&Port> {
        self.ports.get(&id)
    }

    /// The groups that the rules of a security group name.
    pub(crate) fn remotes(&self, group: Uuid) -> Response {
        let rules = || self.rules.get(&group).into_iter().flat_map(BTreeMap::values);
        let distinct = |ids: BTreeSet<Uuid>| ids.into_iter().collect();
        Response::Remotes {
            groups: distinct(rules().filter_map(|rule| rule.remote).collect()),
            address_groups: distinct(rules().filter_map(|rule| rule.addresses).collect()),
        }
    }

    /// The security groups whose rules name an address group.
    pub(crate) fn groups_with_addresses(&self, addresses: Uuid) -> Response {
        let names = |rules: &BTreeMap<Uuid, Rule>| rules.values().any(|rule| rule.addresses == Some(addresses));
        Response::Groups(self.rules.iter().filter(|(_, rules)| names(rules)).map(|(group, _)| *group).collect())
    }

    /// Reads a push, unless another agent has had it.
    pub(crate) fn hear(&mut self, push: &Arc<Incoming>) -> Rc<[News]> {
        if let Some((_, known)) = self.recent.iter().find(|(known, _)| Arc::ptr_eq(known, push)) {
            return Rc::clone(known);
        }
        let deleted = push.args["event_type"] == "deleted";
        let objects = list(&push.args["resource_list"]);
        let read = |object| if deleted { self.remove(object) } else { self.learn(object) };
        let news: Rc<[News]> = objects.iter().filter_map(read).collect();
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((Arc::clone(push), Rc::clone(&news)));
        news
    }

    fn numbered(&mut self, id: Uuid) -> Number {
        let next = Number::try_from(self.numbers.len()).expect("fewer objects than 32 bits count");
        *self.numbers.entry(id).or_insert(next)
    }

    /// Takes an object over; `None`: none that an agent does anything with.
    pub(crate) fn learn(&mut self, object: &Value) -> Option<News> {
        let data = &object["versioned_object.data"];
        let id = uuid(&data["id"]).filter(|id| !self.gone.contains(id))?;
        match object["versioned_object.name"].as_str()? {
            "Port" => Some(self.learn_port(id, data)),
            "Network" => Some(News::Network { number: self.numbered(id), id }),
            "SecurityGroup" => {
                for rule in list(&data["rules"]) {
                    self.learn_rule(&rule["versioned_object.data"]);
                }
                Some(News::Group { number: self.numbered(id), id })
            }
            "SecurityGroupRule" => self.learn_rule(data).map(|group| News::Rule { group }),
            "AddressGroup" => Some(News::AddressGroup { number: self.numbered(id), id }),
            _ => None,
        }
    }

    fn learn_port(&mut self, id: Uuid, data: &Value) -> News {
        let bindings = list(&data["bindings"]).iter().map(|binding| &binding["versioned_object.data"]);
        let active =
            bindings.filter(|binding| binding["status"] == "ACTIVE").find_map(|binding| binding["host"].as_str());
        let segment = !list(&data["binding_levels"]).is_empty();
        let host: Option<Rc<str>> = active.filter(|host| segment && !host.is_empty()).map(Rc::from);
        let revision = revision(data);
        if self.ports.get(&id).is_none_or(|kept| kept.revision <= revision) {
            let port = Port {
                network: uuid(&data["network_id"]).unwrap_or_default(),
                groups: uuids(&data["security_group_ids"]),
                admin_up: data["admin_state_up"] == true,
                host: host.clone(),
                revision,
            };
            self.ports.insert(id, port);
        }
        News::Port { number: self.numbered(id), id, bound_to: host, revision, content: content(data) }
    }

    fn learn_rule(&mut self, data: &Value) -> Option<Uuid> {
        let id = uuid(&data["id"]).filter(|id| !self.gone.contains(id))?;
        let group = uuid(&data["security_group_id"])?;
        let (remote, addresses) = (uuid(&data["remote_group_id"]), uuid(&data["remote_address_group_id"]));
        let rule = Rule { remote, addresses, revision: revision(data) };
        let rules = self.rules.entry(group).or_default();
        if rules.get(&id).is_none_or(|kept| kept.revision <= rule.revision) {
            rules.insert(id, rule);
        }
        Some(group)
    }

    /// What is deleted does not come back; only its id is told.
    fn remove(&mut self, object: &Value) -> Option<News> {
        let id = uuid(&object["versioned_object.data"]["id"])?;
        self.gone.insert(id);
        match object["versioned_object.name"].as_str()? {
            "Port" => {
                self.ports.remove(&id);
            }
            "SecurityGroup" => {
                self.rules.remove(&id);
            }
            "SecurityGroupRule" => {
                let (group, rules) = self.rules.iter_mut().find(|(_, rules)| rules.contains_key(&id))?;
                rules.remove(&id);
                return Some(News::Rule { group: *group });
            }
            "AddressGroup" => return Some(News::AddressGroup { number: self.numbered(id), id }),
            _ => {}
        }
        Some(News::Gone { number: self.numbered(id), id })
    }
}

/// Objects without one are as old as any.
fn revision(data: &Value) -> Revision {
    data["revision_number"].as_u64().unwrap_or(0)
}

/// A change of these two alone is none (`resource_cache.py`, `_get_changed_fields`).
const NO_CHANGES: [&str; 2] = ["revision_number", "updated_at"];

fn content(data: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (name, value) in data.as_object().into_iter().flatten() {
        if !NO_CHANGES.contains(&name.as_str()) {
            (name, value.to_string()).hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::amqp::read_request;

    fn port(host: &str, status: &str, revision: u32) -> Value {
        let levels = if host.is_empty() { json!([]) } else { json!([{}]) };
        json!({"versioned_object.name": "Port", "versioned_object.data": {
            "id": Uuid::from_u128(1), "network_id": Uuid::from_u128(2), "admin_state_up": true, "status": status,
            "bindings": [{"versioned_object.data": {"host": host, "status": "ACTIVE"}}], "binding_levels": levels,
            "security_group_ids": [Uuid::from_u128(3)], "revision_number": revision,
        }})
    }

    fn content_of(news: Option<News>) -> u64 {
        match news {
            Some(News::Port { content, .. }) => content,
            other => panic!("a port was expected, not {other:?}"),
        }
    }

    #[test]
    fn another_revision_is_no_change_another_status_is() {
        let mut cloud = Cloud::default();
        let first = content_of(cloud.learn(&port("a", "DOWN", 1)));
        assert_eq!(first, content_of(cloud.learn(&port("a", "DOWN", 2))));
        assert_ne!(first, content_of(cloud.learn(&port("a", "ACTIVE", 3))));
    }

    #[test]
    fn a_port_is_bound_where_its_active_binding_is_and_until_it_is_deleted() {
        let mut cloud = Cloud::default();
        let id = Uuid::from_u128(1);
        cloud.learn(&port("", "DOWN", 1));
        assert!(cloud.port(id).expect("it is known").host.is_none());
        cloud.learn(&port("a", "DOWN", 2));
        assert_eq!(cloud.port(id).expect("it is known").host.as_deref(), Some("a"));
        cloud.remove(&port("a", "DOWN", 3));
        assert!(cloud.port(id).is_none() && cloud.is_gone(id));
        assert!(cloud.learn(&port("a", "DOWN", 2)).is_none() && cloud.port(id).is_none(), "a deletion is final");
    }

    #[test]
    fn an_agent_that_is_behind_takes_nothing_back() {
        let mut cloud = Cloud::default();
        // The same message is another one when it comes after many: it has been forgotten, and is read anew.
        let mut hear = |object| {
            let push = json!({"method": "push", "args": {"event_type": "updated", "resource_list": [object]}});
            let body = json!({"oslo.version": "2.0", "oslo.message": push.to_string()}).to_string();
            let _news = cloud.hear(&Arc::new(read_request(body.as_bytes()).expect("it is a request")));
        };
        hear(port("", "DOWN", 1));
        hear(port("a", "DOWN", 2));
        hear(port("", "DOWN", 1));
        assert_eq!(cloud.port(Uuid::from_u128(1)).expect("it is known").host.as_deref(), Some("a"));
    }

    #[test]
    fn a_rule_that_is_gone_or_newer_stays_so() {
        let mut cloud = Cloud::default();
        let [group, first, second] = [1, 2, 3].map(Uuid::from_u128);
        let rule = |remote: Uuid, revision: u32| {
            json!({"versioned_object.name": "SecurityGroupRule", "versioned_object.data": {"id": Uuid::from_u128(10),
                "security_group_id": group, "remote_group_id": remote, "revision_number": revision}})
        };
        cloud.learn(&rule(second, 2));
        cloud.learn(&rule(first, 1));
        assert_eq!(cloud.remotes(group), Response::Remotes { groups: vec![second], address_groups: vec![] });
        cloud.remove(&rule(second, 2));
        cloud.learn(&rule(second, 2));
        assert_eq!(cloud.remotes(group), Response::Remotes { groups: vec![], address_groups: vec![] });
    }

    #[test]
    fn rules_name_groups_on_the_other_side() {
        let mut cloud = Cloud::default();
        let [group, remote, addresses] = [1, 2, 3].map(Uuid::from_u128);
        let rule = |id: u128, name: &str, other: Uuid| {
            json!({"versioned_object.name": "SecurityGroupRule", "versioned_object.data": {
                "id": Uuid::from_u128(id), "security_group_id": group, name: other}})
        };
        cloud.learn(&rule(10, "remote_group_id", remote));
        cloud.learn(&rule(11, "remote_address_group_id", addresses));
        assert_eq!(cloud.remotes(group), Response::Remotes { groups: vec![remote], address_groups: vec![addresses] });
        assert_eq!(cloud.groups_with_addresses(addresses), Response::Groups(vec![group]));
        cloud.remove(&rule(10, "remote_group_id", remote));
        assert_eq!(cloud.remotes(group), Response::Remotes { groups: vec![], address_groups: vec![addresses] });
    }
}
