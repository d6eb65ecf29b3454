//! What one writes in an hour: a binary heap of all events, timeouts that are cancelled by a number that no longer fits.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use crate::pattern::{Dice, INTERVAL, LINK, Pattern, SERVERS, TIMEOUT, Tally};

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Beat(u32),
    Served(u32),
    Answer(u32),
    /// Of this client, for the request of this number.
    Timeout(u32, u32),
}

#[derive(Default)]
struct Client {
    sent_ns: Option<u64>,
    requests: u32,
}

#[derive(Default)]
struct Heap {
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    entered: u64,
}

impl Heap {
    fn enter(&mut self, at_ns: u64, event: Event) {
        self.entered += 1;
        self.events.push(Reverse((at_ns, self.entered, event)));
    }
}

fn ns(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

pub fn run(pattern: &Pattern) -> Tally {
    let mut heap = Heap::default();
    let mut dice = Dice::new(pattern);
    let mut clients: Vec<Client> = (0..pattern.clients).map(|_| Client::default()).collect();
    let (mut busy, mut waiting) = (0, VecDeque::new());
    let mut tally = Tally::default();
    for client in 0..pattern.clients {
        heap.enter(ns(dice.phase()), Event::Beat(client));
    }
    let end_ns = ns(pattern.length);
    while let Some(Reverse((now_ns, _, event))) = heap.events.pop()
        && now_ns <= end_ns
    {
        match event {
            Event::Beat(number) => {
                heap.enter(now_ns + ns(INTERVAL), Event::Beat(number));
                let client = &mut clients[number as usize];
                if client.sent_ns.is_some() {
                    continue;
                }
                client.sent_ns = Some(now_ns);
                client.requests += 1;
                heap.enter(now_ns + ns(TIMEOUT), Event::Timeout(number, client.requests));
                match dice.service() {
                    Some(service) if busy < SERVERS => {
                        busy += 1;
                        heap.enter(now_ns + ns(service), Event::Served(number));
                    }
                    Some(service) => waiting.push_back((number, service)),
                    None => {}
                }
            }
            Event::Served(number) => {
                heap.enter(now_ns + ns(LINK), Event::Answer(number));
                match waiting.pop_front() {
                    Some((next, service)) => heap.enter(now_ns + ns(service), Event::Served(next)),
                    None => busy -= 1,
                }
            }
            Event::Answer(number) => {
                if let Some(sent_ns) = clients[number as usize].sent_ns.take() {
                    tally.answer(Duration::from_nanos(now_ns - sent_ns));
                }
            }
            Event::Timeout(number, request) => {
                let client = &mut clients[number as usize];
                if client.requests == request && client.sent_ns.take().is_some() {
                    tally.timeouts += 1;
                }
            }
        }
    }
    tally
}
