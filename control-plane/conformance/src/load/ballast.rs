//! A program that is only there. Real nova-computes take CPU of the machine that their cloud runs on, and what serves them takes
//! longer for the same work beside them. Simulated ones have this beside them, which takes as much.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// It works at the beginning of each slice, and sleeps for the rest.
const SLICE: Duration = Duration::from_millis(20);
/// What it walks through, in words of eight bytes: more than a core's second-level cache has, as an interpreter's heap is.
const HEAP_WORDS: usize = 1 << 19;
/// Words of one step of its work, each in a cache line of its own.
const STEP_WORDS: usize = 512;
const LINE_WORDS: usize = 8;
/// Steps that are timed, and how often: the fastest time is that of an undisturbed core.
const TIMED_STEPS: u32 = 2000;
const TIMED: usize = 5;

/// Works until it is dropped.
pub(super) struct Ballast {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Ballast {
    /// Takes this many cores on average, in as many threads as that needs.
    pub(super) fn start(cores: f64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = cores.ceil() as usize;
        let steps = (SLICE.as_secs_f64() * cores / cores.ceil().max(1.0) / step_s()) as u32;
        let work = |_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || work(&stop, steps))
        };
        Self { threads: (0..threads).map(work).collect(), stop }
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

/// The same work in each slice, however long it takes.
fn work(stop: &AtomicBool, steps: u32) {
    let mut heap = Heap::new();
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        heap.walk(steps);
        next += SLICE;
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

struct Heap {
    words: Vec<u64>,
    at: usize,
}

impl Heap {
    fn new() -> Self {
        Self { words: vec![1; HEAP_WORDS], at: 0 }
    }

    fn walk(&mut self, steps: u32) {
        for _ in 0..steps {
            for _ in 0..STEP_WORDS / LINE_WORDS {
                self.at = (self.at + LINE_WORDS) % HEAP_WORDS;
                self.words[self.at] = black_box(self.words[self.at].wrapping_mul(3));
            }
        }
    }
}

/// How long a step takes here.
fn step_s() -> f64 {
    let mut heap = Heap::new();
    heap.walk(TIMED_STEPS);
    let timed = (0..TIMED).map(|_| {
        let begun = Instant::now();
        heap.walk(TIMED_STEPS);
        begun.elapsed().as_secs_f64() / f64::from(TIMED_STEPS)
    });
    timed.fold(f64::INFINITY, f64::min).max(1e-9)
}
