//! nexosim, in two ways: a model for each client, as its documentation has it, and one model for everything, which spares it
//! all messages between models.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use nexosim::{
    model::{Context, Model, schedulable},
    ports::Output,
    simulation::{EventKey, Mailbox, SimInit, Simulation},
    time::MonotonicTime,
};
use serde::{Deserialize, Serialize};

use crate::pattern::{Dice, INTERVAL, LINK, Pattern, SERVERS, TIMEOUT, Tally};

/// What has been counted, where the program that built the models can read it.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Shared {
    #[serde(skip)]
    tally: Arc<Mutex<Tally>>,
}

impl Shared {
    fn with(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().expect("one thread"));
    }

    fn get(&self) -> Tally {
        *self.tally.lock().expect("one thread")
    }
}

fn carry_out(bench: SimInit, pattern: &Pattern) {
    let mut simulation: Simulation = bench.init(MonotonicTime::EPOCH).expect("the models are sound");
    simulation.step_until(pattern.length).expect("nothing stops it");
}

#[derive(Serialize, Deserialize)]
struct Client {
    number: u32,
    phase: Duration,
    sent: Option<(MonotonicTime, EventKey)>,
    request: Output<u32>,
    tally: Shared,
}

#[Model]
impl Client {
    #[nexosim(init)]
    async fn init(&mut self, context: &Context<Self>) {
        context
            .schedule_periodic_event(self.phase, INTERVAL, schedulable!(Self::beat), ())
            .expect("the phase is to come");
    }

    #[nexosim(schedulable)]
    async fn beat(&mut self, (): (), context: &Context<Self>) {
        if self.sent.is_some() {
            return;
        }
        let key = context.schedule_keyed_event(TIMEOUT, schedulable!(Self::timeout), ()).expect("it is to come");
        self.sent = Some((context.time(), key));
        self.request.send(self.number).await;
    }

    async fn answer(&mut self, (): (), context: &Context<Self>) {
        if let Some((sent, key)) = self.sent.take() {
            key.cancel();
            self.tally.with(|tally| tally.answer(context.time().duration_since(sent)));
        }
    }

    #[nexosim(schedulable)]
    async fn timeout(&mut self) {
        self.sent = None;
        self.tally.with(|tally| tally.timeouts += 1);
    }
}

#[derive(Serialize, Deserialize)]
struct Server {
    busy: usize,
    waiting: VecDeque<(u32, Duration)>,
    dice: Dice,
    answers: Vec<Output<()>>,
}

#[Model]
impl Server {
    async fn request(&mut self, client: u32, context: &Context<Self>) {
        match self.dice.service() {
            Some(service) if self.busy < SERVERS => {
                self.busy += 1;
                context.schedule_event(service, schedulable!(Self::served), client).expect("it is to come");
            }
            Some(service) => self.waiting.push_back((client, service)),
            None => {}
        }
    }

    #[nexosim(schedulable)]
    async fn served(&mut self, client: u32, context: &Context<Self>) {
        context.schedule_event(LINK, schedulable!(Self::answer), client).expect("it is to come");
        match self.waiting.pop_front() {
            Some((next, service)) => {
                context.schedule_event(service, schedulable!(Self::served), next).expect("it is to come");
            }
            None => self.busy -= 1,
        }
    }

    #[nexosim(schedulable)]
    async fn answer(&mut self, client: u32) {
        self.answers[client as usize].send(()).await;
    }
}

/// A model for each client and one for the servers.
pub fn with_models(pattern: &Pattern) -> Tally {
    let mut dice = Dice::new(pattern);
    let tally = Shared::default();
    let mut bench = SimInit::with_num_threads(1);
    let server_mailbox = Mailbox::new();
    let mut answers = Vec::new();
    for number in 0..pattern.clients {
        let mailbox = Mailbox::new();
        let mut answer = Output::new();
        answer.connect(Client::answer, &mailbox);
        answers.push(answer);
        let mut request = Output::new();
        request.connect(Server::request, &server_mailbox);
        let client = Client { number, phase: dice.phase(), sent: None, request, tally: tally.clone() };
        bench = bench.add_model(client, mailbox, "client");
    }
    let server = Server { busy: 0, waiting: VecDeque::new(), dice, answers };
    carry_out(bench.add_model(server, server_mailbox, "server"), pattern);
    tally.get()
}

#[derive(Serialize, Deserialize)]
struct World {
    clients: Vec<Option<(MonotonicTime, EventKey)>>,
    busy: usize,
    waiting: VecDeque<(u32, Duration)>,
    dice: Dice,
    tally: Shared,
}

#[Model]
impl World {
    #[nexosim(init)]
    async fn init(&mut self, context: &Context<Self>) {
        for client in 0..self.clients.len() as u32 {
            let phase = self.dice.phase();
            context
                .schedule_periodic_event(phase, INTERVAL, schedulable!(Self::beat), client)
                .expect("the phase is to come");
        }
    }

    #[nexosim(schedulable)]
    async fn beat(&mut self, client: u32, context: &Context<Self>) {
        if self.clients[client as usize].is_some() {
            return;
        }
        let key = context.schedule_keyed_event(TIMEOUT, schedulable!(Self::timeout), client).expect("it is to come");
        self.clients[client as usize] = Some((context.time(), key));
        match self.dice.service() {
            Some(service) if self.busy < SERVERS => {
                self.busy += 1;
                context.schedule_event(service, schedulable!(Self::served), client).expect("it is to come");
            }
            Some(service) => self.waiting.push_back((client, service)),
            None => {}
        }
    }

    #[nexosim(schedulable)]
    async fn served(&mut self, client: u32, context: &Context<Self>) {
        context.schedule_event(LINK, schedulable!(Self::answer), client).expect("it is to come");
        match self.waiting.pop_front() {
            Some((next, service)) => {
                context.schedule_event(service, schedulable!(Self::served), next).expect("it is to come");
            }
            None => self.busy -= 1,
        }
    }

    #[nexosim(schedulable)]
    async fn answer(&mut self, client: u32, context: &Context<Self>) {
        if let Some((sent, key)) = self.clients[client as usize].take() {
            key.cancel();
            self.tally.with(|tally| tally.answer(context.time().duration_since(sent)));
        }
    }

    #[nexosim(schedulable)]
    async fn timeout(&mut self, client: u32) {
        self.clients[client as usize] = None;
        self.tally.with(|tally| tally.timeouts += 1);
    }
}

/// One model that is everything.
pub fn with_one_model(pattern: &Pattern) -> Tally {
    let tally = Shared::default();
    let clients = (0..pattern.clients).map(|_| None).collect();
    let world = World { clients, busy: 0, waiting: VecDeque::new(), dice: Dice::new(pattern), tally: tally.clone() };
    carry_out(SimInit::with_num_threads(1).add_model(world, Mailbox::new(), "world"), pattern);
    tally.get()
}
