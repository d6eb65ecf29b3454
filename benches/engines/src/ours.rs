//! Our engine, in two ways.

use std::{collections::VecDeque, time::Duration};

use hypervisor::Time;
use sim::engine::{Alarm, Calendar, Ring, Servers};

use crate::pattern::{Dice, INTERVAL, LINK, Pattern, SERVERS, TIMEOUT, Tally};

enum Event {
    Beat(u32),
    /// A server is through with this client.
    Served(u32),
    Answer(u32),
    Alarm(u32),
}

#[derive(Default)]
struct Client {
    sent: Option<Time>,
    timeout: Alarm,
}

/// The servers: by the entries in the calendar, as every engine has it, or by [`Servers`], as the model has it.
enum Line {
    Entries { busy: usize, waiting: VecDeque<(u32, Duration)> },
    Station(Servers),
}

struct World {
    calendar: Calendar<Event>,
    dice: Dice,
    clients: Vec<Client>,
    line: Line,
    tally: Tally,
}

/// Calendar and alarms; the end of each service is an entry.
pub fn with_entries(pattern: &Pattern) -> Tally {
    run(pattern, Line::Entries { busy: 0, waiting: VecDeque::new() })
}

/// Calendar, alarms and the station.
pub fn with_stations(pattern: &Pattern) -> Tally {
    run(pattern, Line::Station(Servers::new(SERVERS as u32)))
}

fn run(pattern: &Pattern, line: Line) -> Tally {
    let clients = (0..pattern.clients).map(|_| Client::default()).collect();
    let (calendar, dice) = (Calendar::default(), Dice::new(pattern));
    let mut world = World { calendar, dice, clients, line, tally: Tally::default() };
    for client in 0..pattern.clients {
        let at = Time::from_origin(world.dice.phase());
        world.calendar.enter(at, Event::Beat(client));
    }
    let end = Time::from_origin(pattern.length);
    while let Some((now, event)) = world.calendar.take_next()
        && now <= end
    {
        world.happens(now, event);
    }
    world.tally
}

impl World {
    fn happens(&mut self, now: Time, event: Event) {
        match event {
            Event::Beat(client) => self.beat(now, client),
            Event::Served(client) => self.served(now, client),
            Event::Answer(client) => {
                let Client { sent, timeout } = &mut self.clients[client as usize];
                if let Some(sent) = sent.take() {
                    let _none = timeout.set(None);
                    self.tally.answer(now - sent);
                }
            }
            Event::Alarm(client) => {
                let Client { sent, timeout } = &mut self.clients[client as usize];
                match timeout.ring(now) {
                    Ring::Later(at) => self.calendar.enter(at, Event::Alarm(client)),
                    Ring::Now => {
                        *sent = None;
                        self.tally.timeouts += 1;
                    }
                    Ring::Stale => {}
                }
            }
        }
    }

    fn beat(&mut self, now: Time, client: u32) {
        self.calendar.enter(now + INTERVAL, Event::Beat(client));
        let Client { sent, timeout } = &mut self.clients[client as usize];
        if sent.is_some() {
            return;
        }
        *sent = Some(now);
        if let Some(at) = timeout.set(Some(now + TIMEOUT)) {
            self.calendar.enter(at, Event::Alarm(client));
        }
        let Some(service) = self.dice.service() else { return };
        match &mut self.line {
            Line::Station(servers) => {
                let end = servers.serve(now, service);
                self.calendar.enter(end + LINK, Event::Answer(client));
            }
            Line::Entries { busy, .. } if *busy < SERVERS => {
                *busy += 1;
                self.calendar.enter(now + service, Event::Served(client));
            }
            Line::Entries { waiting, .. } => waiting.push_back((client, service)),
        }
    }

    fn served(&mut self, now: Time, client: u32) {
        self.calendar.enter(now + LINK, Event::Answer(client));
        let Line::Entries { busy, waiting } = &mut self.line else { return };
        match waiting.pop_front() {
            Some((next, service)) => self.calendar.enter(now + service, Event::Served(next)),
            None => *busy -= 1,
        }
    }
}
