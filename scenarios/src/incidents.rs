//! `[[incidents]]`: what happens to the cloud while it is loaded.

use std::time::Duration;

use crate::{
    document::Table,
    nearest,
    plan::{Incident, IncidentKind, Start},
    problem::{Complaint, Desk, Place},
    read::{FromNode, Section},
    start,
    units::show_time,
};

const BROKER_RESTART: &str = "broker_restart";
const CONNECTIONS_LOST: &str = "connections_lost";
const COMPUTES_RESTART: &str = "computes_restart";

/// The kinds of incidents.
const KINDS: &str = "\"broker_restart\" (lasts = \"30s\"), \"connections_lost\" (share = 0.5) and \"computes_restart\" \
                     (share = 0.5, start = \"at_once\")";

/// Part of the hypervisors.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Share(f64);

impl FromNode for Share {
    fn from_node(node: &crate::document::Node, raw: &str) -> Result<Self, Complaint> {
        let share = match node.value {
            crate::document::Value::Float(share) => Some(share),
            crate::document::Value::Integer(share) => Some(share as f64),
            _ => None,
        };
        let of_all = share.filter(|share| *share > 0.0 && *share <= 1.0);
        of_all.map(Self).ok_or_else(|| {
            Complaint::new(format!("{raw} is no part of the hypervisors"), "give 0.5 for half of them, at most 1")
        })
    }
}

/// Reads one.
pub(crate) fn read(table: &Table, place: Place, desk: &mut Desk<'_>) -> Option<Incident> {
    let mut section = Section::new("incidents", table, place);
    let kind = section.require::<String>(desk, "kind", KINDS);
    let at = section.require::<Duration>(desk, "at", "when it happens after the load has begun, such as \"5m\"");
    let kind = kind?;
    let what = match kind.value.as_str() {
        BROKER_RESTART => broker_restart(&mut section, desk),
        CONNECTIONS_LOST => Some(IncidentKind::ConnectionsLost { share: share(&mut section, desk) }),
        COMPUTES_RESTART => {
            let share = share(&mut section, desk);
            let start = start::get(&mut section, desk).map_or(Start::AtOnce, |start| start.value);
            Some(IncidentKind::ComputesRestart { share, start })
        }
        other => {
            let near = nearest::hint(other, [BROKER_RESTART, CONNECTIONS_LOST, COMPUTES_RESTART]);
            kind.complain(desk, format!("there is no incident {other:?}"), format!("{near}known: {KINDS}"));
            return None;
        }
    };
    section.finish(desk);
    Some(Incident { at: at?.value, kind: what? })
}

fn broker_restart(section: &mut Section<'_>, desk: &mut Desk<'_>) -> Option<IncidentKind> {
    let lasts = section.require::<Duration>(desk, "lasts", "how long it lasts, such as \"30s\"")?;
    if lasts.value.is_zero() {
        lasts.complain(desk, "that is no restart", "give a time such as \"30s\"");
    }
    Some(IncidentKind::BrokerRestart { lasts: lasts.value })
}

fn share(section: &mut Section<'_>, desk: &mut Desk<'_>) -> f64 {
    section.get::<Share>(desk, "share").map_or(1.0, |share| share.value.0)
}

impl IncidentKind {
    /// What a scenario calls it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::BrokerRestart { .. } => BROKER_RESTART,
            Self::ConnectionsLost { .. } => CONNECTIONS_LOST,
            Self::ComputesRestart { .. } => COMPUTES_RESTART,
        }
    }

    /// Whether it happens in virtual time; the others happen to real clouds.
    pub fn is_modelled(&self) -> bool {
        matches!(self, Self::BrokerRestart { .. })
    }

    /// What happens, in words.
    pub fn words(&self) -> String {
        let of = |share: f64| match share {
            1.0 => "all hypervisors".to_owned(),
            part => format!("{} % of the hypervisors", (part * 1e3).round() / 10.0),
        };
        match self {
            Self::BrokerRestart { lasts } => format!("all brokers stop for {}", show_time(*lasts)),
            Self::ConnectionsLost { share } => format!("{} lose their connections to the broker at once", of(*share)),
            Self::ComputesRestart { share, start } => {
                format!("nova-compute restarts on {}, {}", of(*share), crate::show_start(*start))
            }
        }
    }
}
