//! Whether two L2 agents said the same.

use serde_json::{Value, json};

use crate::{
    compare::{Difference, Lane, Names, connections, differences},
    trace::{Event, Trace},
    verdict::Verdict,
};

/// What the agent says of the machine it runs on.
const OF_THE_MACHINE: [&str; 3] = ["datapath_type", "ovs_capabilities", "resource_provider_hypervisors"];

/// Everything but reports.
pub(super) fn compare(name: &str, traces: &[Trace; 2]) -> Verdict {
    judge(name, traces, |event| !is_report(event), usize::MAX, Vec::new())
}

/// The start: connections, too, and the first report.
pub(super) fn compare_start(name: &str, traces: &[Trace; 2]) -> Verdict {
    let [real, simulated] = traces.each_ref().map(|trace| {
        let mut trace = trace.clone();
        trace.events.iter_mut().for_each(|event| event.what.fields = plain(&event.what.fields));
        connections(&trace, &names(&trace))
    });
    let formalities: usize = real.iter().map(|connection| connection.said.len()).sum();
    let verdict = judge(name, traces, |_| true, 2, differences("agent", &real, &simulated));
    Verdict { compared: verdict.compared + formalities, ..verdict }
}

/// The first so many reports.
pub(super) fn compare_reports(name: &str, traces: &[Trace; 2], reports: usize) -> Verdict {
    judge(name, traces, is_report, reports, Vec::new())
}

/// When something other than a report, or the answer to one, was last said or heard.
pub(super) fn last_us(trace: &Trace) -> Option<u64> {
    let counts = |event: &&Event| match event.what.name.as_str() {
        "basic.publish" => !is_report(event),
        "basic.deliver" => event.is_request_to_it(),
        "basic.consume" | "queue.declare" => true,
        _ => false,
    };
    trace.events.iter().filter(counts).map(|event| event.at_us).max()
}

fn judge(
    name: &str,
    traces: &[Trace; 2],
    keep: impl Fn(&Event) -> bool,
    most: usize,
    mut found: Vec<Difference>,
) -> Verdict {
    let [real, simulated] = traces.each_ref().map(|trace| {
        let mut names = names(trace);
        let said = trace.events.iter().filter(|event| event.is_utterance() && keep(event)).take(most);
        let said: Vec<_> = said.map(|event| (method(event).to_owned(), names.normal(&normal(event)))).collect();
        Lane { name: "the agent".to_owned(), said }
    });
    let compared = real.said.len();
    found.extend(differences("agent", &[real], &[simulated]));
    Verdict::new(name, found, compared)
}

fn names(trace: &Trace) -> Names {
    Names::new(vec![(trace.host.clone(), "<host>".to_owned())])
}

fn method(event: &Event) -> &str {
    event.what.fields["message"]["method"].as_str().unwrap_or("reply")
}

fn is_report(event: &Event) -> bool {
    method(event) == "report_state"
}

/// Everything about a message that should be the same.
fn normal(event: &Event) -> Value {
    let fields = &event.what.fields;
    let mut message = fields["message"].clone();
    // Unique in each message, and when its context was made.
    for name in ["_msg_id", "_unique_id", "_reply_q", "_context_timestamp"] {
        if let Some(value) = message.get_mut(name) {
            *value = "<its own>".into();
        }
    }
    if let Some(state) = message.pointer_mut("/args/agent_state/agent_state") {
        state["uuid"] = "<its own>".into();
        for name in OF_THE_MACHINE {
            if let Some(value) = state["configurations"].get_mut(name) {
                *value = "<the machine's>".into();
            }
        }
    }
    json!({
        "exchange": fields["exchange"], "routing_key": fields["routing_key"], "mandatory": fields["mandatory"],
        "properties": fields["properties"], "message": message,
    })
}

/// Names of queues on fanout exchanges without what makes them unique.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), plain(value))).collect(),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::String(text) => match text.rsplit_once("_fanout_") {
            Some((topic, id)) if uuid::Uuid::try_parse(id).is_ok() => format!("{topic}_fanout_<id>").into(),
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Direction, What};

    fn trace(host: &str, said: &[(&str, Value)]) -> Trace {
        let event = |(method, args): &(&str, Value)| {
            let fields = json!({"exchange": "neutron", "message": {"method": method, "args": args, "_msg_id": host}});
            let what = What { name: "basic.publish".to_owned(), channel: 1, fields };
            Event { at_us: 1, connection: 1, direction: Direction::Sent, what }
        };
        Trace { host: host.to_owned(), events: said.iter().map(event).collect() }
    }

    #[test]
    fn hosts_differ_and_what_they_say_does_not() {
        let said = |host: &str, up: bool| trace(host, &[("update_device_list", json!({"host": host, "up": up}))]);
        assert!(compare("same", &[said("first", true), said("second", true)]).identical);
        let other = compare("other", &[said("first", true), said("second", false)]);
        assert!(!other.identical && other.compared == 1);
        assert!(!compare("silent", &[said("first", true), trace("second", &[])]).identical);
    }

    #[test]
    fn reports_are_compared_on_their_own() {
        let report = |host: &str, devices: u32| {
            let state = json!({"uuid": host, "configurations": {"devices": devices, "datapath_type": host}});
            trace(host, &[("report_state", json!({"agent_state": {"agent_state": state}}))])
        };
        let traces = [report("first", 1), report("second", 2)];
        assert!(compare("port", &traces).identical);
        assert!(!compare_reports("idle", &traces, 1).identical);
        assert!(compare_reports("idle", &[report("first", 1), report("second", 1)], 1).identical);
    }

    #[test]
    fn fanout_queues_are_named_by_their_topic() {
        let queue = "neutron-vo-Port-1.11_fanout_e4daa7d60ec04ce89e1eb66e14f55858";
        assert_eq!(plain(&json!({"queue": queue}))["queue"], "neutron-vo-Port-1.11_fanout_<id>");
        assert_eq!(plain(&json!("a_fanout_b")), "a_fanout_b");
    }
}
