//! The records of VMs that one hypervisor holds at the same time.

use std::collections::BTreeMap;

use hypervisor::{ConductorCall, LazyField, Milestone, Origin};
use uuid::Uuid;

use super::{Documents, InstanceDocument};
use crate::values::free_emptied;

/// A nova-compute's threads do not share the records of VMs. What was asked of it works on the record that came with that, and
/// goes on with it; what an event or a periodic task reads or changes is seen there only when it is read from the database
/// again. Hence what works on a record of its own is kept apart, until it is over.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Of what was asked for last, one for each VM.
    pub(crate) kept: Documents,
    apart: BTreeMap<Origin, Documents>,
}

impl Records {
    /// Those that something that is done for this reason works on.
    pub(crate) fn of(&mut self, origin: Origin) -> &mut Documents {
        self.apart.get_mut(&origin).unwrap_or(&mut self.kept)
    }

    /// Those that the answer to a call is put into.
    pub(crate) fn answered(&mut self, origin: Origin, call: &ConductorCall) -> &mut Documents {
        use ConductorCall as C;
        match call {
            C::GetInstanceToHeal(_) | C::LoadField(_, LazyField::InfoCache) | C::GetInstancesWithPower => {
                self.apart.entry(origin).or_default()
            }
            _ => self.of(origin),
        }
    }

    /// An event works on the records that came with it.
    pub(crate) fn keep_apart(&mut self, origin: Origin, documents: Documents) {
        self.apart.insert(origin, documents);
    }

    /// Nothing more is done for this reason.
    pub(crate) fn over(&mut self, origin: Origin) {
        self.apart.remove(&origin);
        free_emptied(&mut self.apart);
    }

    /// Lets go of a VM's record, or of what was kept for its build, when nothing more can come of it.
    pub(crate) fn forget(&mut self, milestone: Milestone) {
        match milestone {
            Milestone::Active(uuid) => {
                if let Some(document) = self.kept.get_mut(&uuid) {
                    document.build_request = None;
                    document.go_on();
                }
            }
            Milestone::Gone(uuid) => {
                let goes_on = self.kept.get_mut(&uuid).is_some_and(InstanceDocument::go_on);
                if !goes_on {
                    self.kept.remove(&uuid);
                    free_emptied(&mut self.kept);
                }
            }
            _ => {}
        }
    }

    /// Nothing is done to a VM: its record, tens of kilobytes, is kept only if something is in it that will not come again.
    pub(crate) fn rest(&mut self, vm: Uuid) {
        if self.kept.get(&vm).is_some_and(InstanceDocument::is_at_rest) {
            self.kept.remove(&vm);
            free_emptied(&mut self.kept);
        }
    }

    /// Likewise of all VMs, such as those that a start-up took over, but those that something is being done to.
    pub(crate) fn rest_but(&mut self, is_busy: impl Fn(Uuid) -> bool) {
        self.kept.retain(|vm, document| is_busy(*vm) || !document.is_at_rest());
        free_emptied(&mut self.kept);
    }

    /// How many there are.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn len(&self) -> usize {
        self.kept.len() + self.apart.values().map(Documents::len).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use hypervisor::Ticket;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_event_changes_stays_with_the_event() {
        let vm = Uuid::from_u128(1);
        let document = || InstanceDocument::new(json!({"nova_object.data": {"info_cache": {"nova_object.data": {}}}}));
        let mut records = Records { kept: Documents::from([(vm, document())]), ..Records::default() };
        let (event, operation) = (Origin::Rpc(Ticket(2)), Origin::Rpc(Ticket(1)));
        records.keep_apart(event, Documents::from([(vm, document())]));
        records.of(event).get_mut(&vm).expect("it came").set_network_info("[1]");
        assert_eq!(records.of(operation)[&vm].network_info(), "[]");
        records.over(event);
        assert_eq!(records.len(), 1);
    }

    #[test]
    fn the_record_of_a_vm_at_rest_is_kept_for_its_ports_alone() {
        let vm = Uuid::from_u128(1);
        let with_ports = |network_info: &str| {
            let cache = json!({"nova_object.data": {"network_info": network_info}});
            InstanceDocument::new(json!({"nova_object.data": {"info_cache": cache}}))
        };
        let kept_of = |document: InstanceDocument| {
            let mut records = Records { kept: Documents::from([(vm, document)]), ..Records::default() };
            records.forget(Milestone::Active(vm));
            records.rest(vm);
            records.len()
        };
        assert_eq!(kept_of(with_ports("[]")), 0);
        assert_eq!(kept_of(with_ports(&json!([{"id": vm}]).to_string())), 1);
        let deleted_meanwhile = InstanceDocument { next: Some(json!({})), ..with_ports("[]") };
        assert_eq!(kept_of(deleted_meanwhile), 1, "the delete goes on with it");
    }

    #[test]
    fn of_what_a_start_up_takes_over_nothing_is_kept_but_what_is_being_worked_on() {
        let (idle, busy) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let document = || InstanceDocument::new(json!({"nova_object.data": {}}));
        let kept = Documents::from([(idle, document()), (busy, document())]);
        let mut records = Records { kept, ..Records::default() };
        records.rest_but(|vm| vm == busy);
        assert!(records.kept.keys().eq([&busy]));
    }

    #[test]
    fn what_a_task_reads_is_its_own() {
        let (task, vm) = (Origin::Task(7), Uuid::from_u128(1));
        let mut records = Records::default();
        let read = records.answered(task, &ConductorCall::GetInstanceToHeal(vm));
        read.insert(vm, InstanceDocument::new(json!({})));
        assert!(records.kept.is_empty());
        assert!(records.of(task).contains_key(&vm));
    }
}
