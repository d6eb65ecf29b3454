//! A program that is only there. Real nova-computes take CPU of the machine that their cloud runs on, and what serves them takes
//! longer for the same work beside them, above all while they work themselves. Simulated ones have this beside them, which takes as
//! much, when they would.

use std::{
    fs,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::equivalence::Measured;

/// It looks what there is to do at the beginning of each slice, and sleeps when that is done.
const SLICE: Duration = Duration::from_millis(20);
/// What it walks through, in words of eight bytes: more than a core's second-level cache has, as an interpreter's heap is.
const HEAP_WORDS: usize = 1 << 19;
/// Words of one step of its work, each in a cache line of its own: some tens of microseconds.
const STEP_WORDS: usize = 1 << 15;
const LINE_WORDS: usize = 8;

/// What hypervisors take of the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Appetite {
    /// All the time.
    cores: f64,
    /// For each of their requests, in seconds of CPU.
    request_cpu_s: f64,
}

impl Appetite {
    /// What fits two windows, an idle and a busy one: neither part is less than nothing.
    pub(super) fn of(idle: &Measured, busy: &Measured) -> Self {
        let [(idle_s, idle_requests, idle_cpu_s), (busy_s, busy_requests, busy_cpu_s)] =
            [idle, busy].map(|window| (window.took.as_secs_f64(), window.requests(), window.own_cpu_s));
        let determinant = idle_s * busy_requests - busy_s * idle_requests;
        let cores = (idle_cpu_s * busy_requests - busy_cpu_s * idle_requests) / determinant;
        let request_cpu_s = (idle_s * busy_cpu_s - busy_s * idle_cpu_s) / determinant;
        match () {
            () if cores >= 0.0 && request_cpu_s >= 0.0 => Self { cores, request_cpu_s },
            () if request_cpu_s >= 0.0 && busy_requests > 0.0 => {
                Self { cores: 0.0, request_cpu_s: (idle_cpu_s + busy_cpu_s) / (idle_requests + busy_requests) }
            }
            () => Self { cores: (idle_cpu_s + busy_cpu_s) / (idle_s + busy_s), request_cpu_s: 0.0 },
        }
    }

    /// What that is for some time with so many requests.
    pub(super) fn cpu_s(self, time: Duration, requests: f64) -> f64 {
        self.cores * time.as_secs_f64() + self.request_cpu_s * requests
    }
}

/// Works until it is dropped.
pub(super) struct Ballast {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<f64>>,
}

impl Ballast {
    /// Takes what hypervisors would that have made this many requests so far, in this many threads.
    pub(super) fn start(
        appetite: Appetite,
        threads: usize,
        requests: impl Fn() -> u64 + Send + Clone + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        // Each thread takes its share of everything.
        let share = 1.0 / threads as f64;
        let work = |_| {
            let (stop, requests) = (Arc::clone(&stop), requests.clone());
            thread::spawn(move || work(&stop, appetite, share, &requests))
        };
        Self { threads: (0..threads).map(work).collect(), stop }
    }

    /// Stops it; gives the CPU that it took, in seconds.
    pub(super) fn finish(mut self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).map(|thread| thread.join().unwrap_or_default()).sum()
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Takes a share of what is due, on a fast machine and on a slow one; gives the CPU that it took, in seconds.
fn work(stop: &AtomicBool, appetite: Appetite, share: f64, requests: &impl Fn() -> u64) -> f64 {
    let mut heap = Heap::new();
    let (mut next, mut known, mut due_s) = (Instant::now(), requests(), 0.0);
    while !stop.load(Ordering::Relaxed) {
        let now = requests();
        due_s += appetite.cpu_s(SLICE, now.saturating_sub(known) as f64) * share;
        known = now;
        while own_cpu_s() < due_s && !stop.load(Ordering::Relaxed) {
            heap.step();
        }
        next += SLICE;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    own_cpu_s()
}

/// CPU of this thread so far, in seconds; without end where the kernel does not tell, so that nothing is due.
fn own_cpu_s() -> f64 {
    let told = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let on_cpu_ns = told.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
    on_cpu_ns.map_or(f64::INFINITY, |ns| Duration::from_nanos(ns).as_secs_f64())
}

struct Heap {
    words: Vec<u64>,
    at: usize,
}

impl Heap {
    fn new() -> Self {
        Self { words: vec![1; HEAP_WORDS], at: 0 }
    }

    fn step(&mut self) {
        for _ in 0..STEP_WORDS / LINE_WORDS {
            self.at = (self.at + LINE_WORDS) % HEAP_WORDS;
            self.words[self.at] = black_box(self.words[self.at].wrapping_mul(3));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Figures, Group, Key};

    fn window(seconds: u64, requests: f64, own_cpu_s: f64) -> Measured {
        let figures = Figures::from([(Key::new(Group::Http, "GET /x"), requests)]);
        Measured { figures, own_cpu_s, ..Measured::empty("w", Duration::from_secs(seconds)) }
    }

    #[test]
    fn it_takes_what_two_windows_have_in_common() {
        // A twentieth of a core all the time, and two milliseconds for each request.
        let appetite = Appetite::of(&window(100, 500.0, 6.0), &window(200, 10_000.0, 30.0));
        assert!((appetite.cores - 0.05).abs() < 1e-9, "{appetite:?}");
        assert!((appetite.request_cpu_s - 0.002).abs() < 1e-9, "{appetite:?}");
        assert!((appetite.cpu_s(Duration::from_secs(100), 500.0) - 6.0).abs() < 1e-9);
    }

    #[test]
    fn it_tells_what_it_took() {
        let appetite = Appetite { cores: 0.5, request_cpu_s: 0.0 };
        let ballast = Ballast::start(appetite, 2, || 0);
        thread::sleep(10 * SLICE);
        let took_s = ballast.finish();
        assert!(took_s > 0.0 && took_s.is_finite());
    }

    #[test]
    fn neither_part_is_less_than_nothing() {
        let by_requests = Appetite::of(&window(100, 500.0, 0.1), &window(100, 1000.0, 2.9));
        assert_eq!((by_requests.cores, by_requests.request_cpu_s), (0.0, 0.002));
        let by_time = Appetite::of(&window(100, 500.0, 6.0), &window(100, 1000.0, 4.0));
        assert_eq!((by_time.cores, by_time.request_cpu_s), (0.05, 0.0));
        let without_requests = Appetite::of(&window(100, 0.0, 6.0), &window(100, 0.0, 4.0));
        assert_eq!(without_requests, by_time);
    }
}
