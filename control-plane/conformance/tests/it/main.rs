//! Learning and comparing, on what real nova-computes said.

use std::fs;

use conformance::{Attempts, Recorded, Take, compare, learn};
use fake_hv::procedure::Procedures;

/// The same operation, done to two pairs of real nova-computes with the roles of the hosts swapped; only the tokens are not those
/// that were recorded.
fn stop() -> [Take; 2] {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/stop.json")).expect("it ships");
    serde_json::from_str(&text).expect("two recordings")
}

#[test]
fn what_is_learned_from_recordings_is_what_ships() {
    let [once, again] = stop();
    let pairs = [(once.recorded[0].clone(), again.recorded[0].clone())];
    let lesson = learn("2026.2", &pairs);
    assert!(lesson.left.is_empty(), "{:?}", lesson.left);
    let ships = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fake-hv/releases/2026.2/procedures.json");
    let ships: Procedures = serde_json::from_str(&fs::read_to_string(ships).expect("it ships")).expect("procedures");
    // Whoever asks, the API or the hypervisor itself, is told apart by what else was recorded.
    let of_stop = |all: &Procedures| {
        let found = all.procedures.iter().filter(|procedure| procedure.method == "stop_instance");
        found.map(|procedure| procedure.steps.clone()).collect::<Vec<_>>()
    };
    let learned = of_stop(&lesson.procedures);
    assert_eq!(learned.len(), 1);
    assert!(of_stop(&ships).contains(&learned[0]));
}

#[test]
fn two_real_ones_are_identical() {
    let [once, mut again] = stop();
    // The roles are swapped with the hosts; as seen from the operation, the first host is the first again.
    again.recorded[0].traces.reverse();
    let verdict = compare(once.variation, &once.recorded[0], &again.recorded[0]);
    // What the flavor is called is the one thing that swapping the flavors changes.
    let others: Vec<String> = verdict.differences.iter().map(ToString::to_string).collect();
    assert!(verdict.compared > 0);
    assert!(others.iter().all(|difference| difference.contains("flavor")), "{others:#?}");
}

/// Without the message that saves the VM.
fn without_save(recorded: &Recorded) -> Recorded {
    let mut shorter = recorded.clone();
    let events = &mut shorter.traces[0].events;
    let at = events
        .iter()
        .position(|event| event.what.fields["message"]["args"]["objmethod"] == "save")
        .expect("a stopped VM is saved");
    events.remove(at);
    shorter
}

#[test]
fn a_message_that_is_left_out_is_found() {
    let [once, _] = stop();
    let verdict = compare(once.variation, &once.recorded[0], &without_save(&once.recorded[0]));
    assert!(!verdict.identical);
    let first = verdict.first_difference.expect("there is one").to_string();
    assert!(first.contains("Instance.save is missing"), "{first}");
}

/// What comes of attempts, each told by whether the real one and the simulated one save.
fn attempted(saves: &[(bool, bool)]) -> (bool, usize, bool) {
    let [once, _] = stop();
    let whole = &once.recorded[0];
    let done = |saves: bool| if saves { whole.clone() } else { without_save(whole) };
    let mut attempts = Attempts::new(once.variation);
    for (real, simulated) in saves {
        attempts.add(done(*real), done(*simulated));
    }
    let verdict = attempts.verdict();
    assert_eq!(verdict.attempts, saves.len());
    assert_eq!(verdict.identical, verdict.first_difference.is_none());
    (verdict.identical, verdict.by_chance.len(), verdict.compared > 0)
}

#[test]
fn what_either_kind_does_at_times_is_chance_and_what_one_does_alone_is_not() {
    assert_eq!(attempted(&[(true, true)]), (true, 0, true));
    assert_eq!(attempted(&[(true, false), (false, true)]), (true, 2, true));
    assert_eq!(attempted(&[(true, false), (true, true), (false, true)]), (true, 2, true));
    // No real one was seen to leave it out.
    assert!(!attempted(&[(true, false), (true, true)]).0);
    // No simulated one was.
    assert!(!attempted(&[(false, true), (true, true)]).0);
    assert!(!attempted(&[(true, false), (true, false), (true, false)]).0);
}
