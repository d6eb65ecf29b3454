//! The cloud's range of ports.

use std::{io, net::TcpListener};

use crate::{UpError, WSGI_SERVICES, spec::MAX_COUNT};

/// Offset of the first broker node's ports, among which is the port mapper's, and of those of the nodes after it.
const FIRST_BROKER_OFFSET: u16 = 7;
const BROKERS_OFFSET: u16 = 10;
/// Ports that are set aside for a node.
const BROKER_PORTS: u16 = 5;
/// Offset of the first uWSGI process's port.
const WSGI_OFFSET: u16 = 100;
/// Ports of the whole range.
pub(crate) const RANGE: u16 = WSGI_OFFSET + WSGI_SERVICES.len() as u16 * MAX_COUNT as u16;

/// Which port is whose, from the first port of the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ports {
    base: u16,
}

impl Ports {
    /// The range that begins at `base`.
    pub(crate) fn new(base: u16) -> Result<Self, UpError> {
        if !(1024..=u16::MAX - RANGE).contains(&base) {
            let last = u16::MAX - RANGE;
            return Err(UpError::invalid(format!(
                "--base-port {base}: must be from 1024 to {last} ({RANGE} ports follow)"
            )));
        }
        Ok(Self { base })
    }

    /// The first port of the range.
    pub(crate) fn base(self) -> u16 {
        self.base
    }

    /// nginx's port for an API.
    pub(crate) fn api(self, service: &str) -> u16 {
        self.base + service_index(service)
    }

    /// Port of one uWSGI process of an API; `index` from 0.
    pub(crate) fn wsgi(self, service: &str, index: u32) -> u16 {
        let index = u16::try_from(index).expect("counts are at most MAX_COUNT");
        self.base + WSGI_OFFSET + service_index(service) * MAX_COUNT as u16 + index
    }

    pub(crate) fn mariadb(self) -> u16 {
        self.base + 5
    }

    pub(crate) fn memcached(self) -> u16 {
        self.base + 6
    }

    /// Ports of a node of the broker; `number` from 0.
    pub(crate) fn broker(self, number: u32) -> BrokerPorts {
        let number = u16::try_from(number).expect("nodes are at most MOST_BROKERS");
        let first = self.base + if number == 0 { FIRST_BROKER_OFFSET } else { BROKERS_OFFSET + number * BROKER_PORTS };
        BrokerPorts { amqp: first, management: first + 1, metrics: first + 2, erlang: first + 4 }
    }

    pub(crate) fn epmd(self) -> u16 {
        self.base + 10
    }

    /// Every port of a cloud that has one broker node which is not a uWSGI process's.
    pub(crate) fn single(self) -> impl Iterator<Item = u16> {
        self.base..=self.broker(0).erlang
    }

    /// The ports that a cloud with so many broker nodes, and this many processes of each API, cannot do without and that are taken.
    pub(crate) fn taken(self, brokers: u32, processes: impl Fn(&str) -> u32) -> Vec<u16> {
        let wsgi = WSGI_SERVICES.iter().flat_map(|s| (0..processes(s)).map(move |index| self.wsgi(s, index)));
        let nodes = (1..brokers).flat_map(|number| self.broker(number).all());
        self.single().chain(nodes).chain(wsgi).filter(|&port| !is_free(port)).collect()
    }
}

/// Ports of a node of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BrokerPorts {
    pub(crate) amqp: u16,
    pub(crate) management: u16,
    pub(crate) metrics: u16,
    /// Where Erlang nodes reach this one: those of its cluster, and the command line tools of RabbitMQ.
    pub(crate) erlang: u16,
}

impl BrokerPorts {
    fn all(self) -> [u16; 4] {
        [self.amqp, self.management, self.metrics, self.erlang]
    }
}

fn service_index(service: &str) -> u16 {
    let index = WSGI_SERVICES.iter().position(|&name| name == service);
    index.expect("only names of WSGI_SERVICES are asked for") as u16
}

/// Whether a process could listen on this port of 127.0.0.1 now.
pub(crate) fn is_free(port: u16) -> bool {
    !matches!(TcpListener::bind(("127.0.0.1", port)), Err(error) if error.kind() == io::ErrorKind::AddrInUse)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use scenarios::plan::MOST_BROKERS;

    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let ports = Ports::new(20_000).unwrap();
        let others = [ports.mariadb(), ports.memcached(), ports.epmd()].into_iter().chain(ports.broker(0).all());
        let mut named: Vec<u16> = WSGI_SERVICES.iter().map(|s| ports.api(s)).chain(others).collect();
        named.sort_unstable();
        assert_eq!(ports.single().collect::<Vec<_>>(), named);
        named.extend((1..MOST_BROKERS).flat_map(|number| ports.broker(number).all()));
        let wsgi = WSGI_SERVICES.iter().flat_map(|service| (0..MAX_COUNT).map(move |index| ports.wsgi(service, index)));
        let all: Vec<u16> = named.into_iter().chain(wsgi).collect();
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
        assert!(all.iter().all(|port| (20_000..20_000 + RANGE).contains(port)));
    }

    #[test]
    fn a_range_that_does_not_fit_is_refused() {
        assert!(Ports::new(80).is_err() && Ports::new(65_400).is_err());
    }

    #[test]
    fn a_listening_port_is_not_free() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_free(listener.local_addr().unwrap().port()));
    }
}
