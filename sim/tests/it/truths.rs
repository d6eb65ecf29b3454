//! The stations that the model is made of, against what queueing theory says of them.
//!
//! Each truth is tried with twenty seeds; the closed form has to lie in the 99.9 % confidence interval of their mean. Seeds are
//! fixed, so what passes once passes always. The interval must be narrow, or the test would say nothing.

use std::time::Duration;

use hypervisor::{Time, exponential};
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;
use sim::engine::{Calendar, Permits, Processor, Servers, Wake};

const SEEDS: u64 = 20;
/// Student's t for 19 degrees of freedom, two-sided 99.9 %.
const T: f64 = 3.883;
/// Customers of a run, and how many of the first are left out.
const CUSTOMERS: u64 = 60_000;
const WARM_UP: u64 = 5_000;

/// Holds the mean of many runs against a closed form.
fn agrees(what: &str, expected: f64, run: impl Fn(&mut Pcg64Mcg) -> f64) {
    let values: Vec<f64> = (0..SEEDS).map(|seed| run(&mut Pcg64Mcg::seed_from_u64(seed))).collect();
    let mean = values.iter().sum::<f64>() / SEEDS as f64;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (SEEDS - 1) as f64;
    let half = T * (variance / SEEDS as f64).sqrt();
    assert!(half < 0.05 * expected, "{what}: ± {half:.4} around {mean:.4} says nothing of {expected:.4}");
    assert!((mean - expected).abs() <= half, "{what}: {expected:.4} is not within {mean:.4} ± {half:.4}");
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Mean time in a station of `servers`, first come first served, with Poisson arrivals and exponential service of 1 s.
fn fifo(rng: &mut Pcg64Mcg, servers: u32, arrivals_per_s: f64) -> f64 {
    let mut station = Servers::new(servers);
    let (mut now, mut total_s, mut counted) = (Time::ZERO, 0.0, 0_u32);
    for customer in 0..CUSTOMERS {
        now = now + seconds(exponential(rng) / arrivals_per_s);
        let through = station.serve(now, seconds(exponential(rng)));
        if customer >= WARM_UP {
            total_s += (through - now).as_secs_f64();
            counted += 1;
        }
    }
    total_s / f64::from(counted)
}

/// Erlang's C: the probability of waiting with `servers` and this offered load.
fn erlang_c(servers: u32, load: f64) -> f64 {
    let b = erlang_b(servers, load);
    let utilisation = load / f64::from(servers);
    b / (1.0 - utilisation * (1.0 - b))
}

/// Erlang's B: the probability of being turned away.
fn erlang_b(servers: u32, load: f64) -> f64 {
    (1..=servers).fold(1.0, |b, n| load * b / (f64::from(n) + load * b))
}

#[test]
fn one_server() {
    for utilisation in [0.3, 0.7] {
        agrees("M/M/1", 1.0 / (1.0 - utilisation), |rng| fifo(rng, 1, utilisation));
    }
}

#[test]
fn several_servers() {
    for (servers, load) in [(4, 3.0), (16, 13.0)] {
        let expected = 1.0 + erlang_c(servers, load) / (f64::from(servers) - load);
        agrees("M/M/c", expected, |rng| fifo(rng, servers, load));
    }
}

#[derive(Clone, Copy)]
enum Event {
    Arrival,
    Wake(Wake),
    Back(u32),
}

/// Mean time on a processor that is shared, with Poisson arrivals of jobs whose work `work` draws.
fn shared(rng: &mut Pcg64Mcg, cores: u32, arrivals_per_s: f64, work: impl Fn(&mut Pcg64Mcg) -> f64) -> f64 {
    let mut processor: Processor<u32> = Processor::new(cores);
    let mut calendar = Calendar::default();
    let mut came: Vec<Time> = Vec::new();
    let (mut total_s, mut counted) = (0.0, 0_u32);
    calendar.enter(Time::ZERO, Event::Arrival);
    while let Some((now, event)) = calendar.take_next() {
        match event {
            Event::Arrival => {
                let job = u32::try_from(came.len()).unwrap();
                came.push(now);
                let mut enter = |at, wake| calendar.enter(at, Event::Wake(wake));
                processor.start(now, seconds(work(rng)), job, &mut enter);
                if u64::from(job) < CUSTOMERS {
                    calendar.enter(now + seconds(exponential(rng) / arrivals_per_s), Event::Arrival);
                }
            }
            Event::Wake(wake) => loop {
                let mut enter = |at, wake| calendar.enter(at, Event::Wake(wake));
                let Some(job) = processor.wake(now, wake, &mut enter) else { break };
                if u64::from(job) >= WARM_UP {
                    total_s += (now - came[job as usize]).as_secs_f64();
                    counted += 1;
                }
            },
            Event::Back(_) => unreachable!("nobody comes back"),
        }
    }
    total_s / f64::from(counted)
}

/// M/G/1-PS is insensitive: only the mean of the work counts.
#[test]
fn a_shared_processor() {
    let utilisation = 0.6;
    let expected = 1.0 / (1.0 - utilisation);
    agrees("M/M/1-PS", expected, |rng| shared(rng, 1, utilisation, exponential));
    agrees("M/D/1-PS", expected, |rng| shared(rng, 1, utilisation, |_| 1.0));
    // One job in ten is ten times as long as the others are on average.
    let uneven = |rng: &mut Pcg64Mcg| {
        let long = exponential(rng) > std::f64::consts::LN_10;
        exponential(rng) * if long { 5.5 } else { 0.5 }
    };
    agrees("M/G/1-PS", expected, |rng| shared(rng, 1, utilisation, uneven));
}

/// With exponential work sharing and standing in line take the same time on average: M/M/c.
#[test]
fn a_shared_processor_with_several_cores() {
    let (cores, load) = (4, 3.0);
    let expected = 1.0 + erlang_c(cores, load) / (f64::from(cores) - load);
    agrees("M/M/c-PS", expected, |rng| shared(rng, cores, load, exponential));
}

/// Throughput of a closed network: clients that think for a time and then want a shared processor.
fn closed(rng: &mut Pcg64Mcg, clients: u32, think_s: f64) -> f64 {
    let mut processor: Processor<u32> = Processor::new(1);
    let mut calendar = Calendar::default();
    for client in 0..clients {
        calendar.enter(Time::ZERO + seconds(exponential(rng) * think_s), Event::Back(client));
    }
    let (mut ended, mut warm) = (0_u64, Time::ZERO);
    while let Some((now, event)) = calendar.take_next() {
        match event {
            Event::Back(client) => {
                let mut enter = |at, wake| calendar.enter(at, Event::Wake(wake));
                processor.start(now, seconds(exponential(rng)), client, &mut enter);
            }
            Event::Wake(wake) => loop {
                let mut enter = |at, wake| calendar.enter(at, Event::Wake(wake));
                let Some(client) = processor.wake(now, wake, &mut enter) else { break };
                ended += 1;
                if ended == WARM_UP {
                    warm = now;
                }
                if ended == CUSTOMERS {
                    return (CUSTOMERS - WARM_UP) as f64 / (now - warm).as_secs_f64();
                }
                calendar.enter(now + seconds(exponential(rng) * think_s), Event::Back(client));
            },
            Event::Arrival => unreachable!("the network is closed"),
        }
    }
    unreachable!("a closed network goes on")
}

/// Mean value analysis of a station and a delay.
#[test]
fn a_closed_network() {
    let (clients, think_s) = (8, 6.0);
    let mut queue = 0.0;
    let mut throughput = 0.0;
    for n in 1..=clients {
        let residence = 1.0 + queue;
        throughput = f64::from(n) / (think_s + residence);
        queue = throughput * residence;
    }
    agrees("closed network", throughput, |rng| closed(rng, clients, think_s));
}

/// Share of customers that find no permit free, and who leave then.
fn loss(rng: &mut Pcg64Mcg, permits: u32, load: f64) -> f64 {
    let mut pool: Permits<()> = Permits::new(permits.into());
    let mut calendar = Calendar::default();
    calendar.enter(Time::ZERO, Event::Arrival);
    let (mut came, mut refused) = (0_u64, 0_u64);
    while let Some((now, event)) = calendar.take_next() {
        match event {
            Event::Arrival => {
                came += 1;
                let counts = came > WARM_UP;
                if pool.free() > 0 {
                    assert!(pool.ask(()).is_some());
                    calendar.enter(now + seconds(exponential(rng)), Event::Back(0));
                } else {
                    refused += u64::from(counts);
                }
                if came < CUSTOMERS {
                    calendar.enter(now + seconds(exponential(rng) / load), Event::Arrival);
                }
            }
            Event::Back(_) => assert!(pool.give_back().is_none()),
            Event::Wake(_) => unreachable!("nothing is shared"),
        }
    }
    refused as f64 / (CUSTOMERS - WARM_UP) as f64
}

#[test]
fn permits_that_are_not_waited_for() {
    agrees("Erlang B", erlang_b(10, 8.0), |rng| loss(rng, 10, 8.0));
}
