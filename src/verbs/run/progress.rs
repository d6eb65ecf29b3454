//! A run's progress on the terminal: one line that changes, or, where nobody watches, a line every few seconds.

use std::{
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};

use control_plane::live::{Phase, Status, Tell};
use indicatif::{ProgressBar, ProgressStyle};
use scenarios::{Plan, Schedule, show_time};

use super::pace::Pace;

/// Time between lines when standard error is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Progress on standard error.
pub(super) struct RunTerminal {
    begun: Instant,
    bar: Option<ProgressBar>,
    last_line: Mutex<Option<Instant>>,
    pace: Mutex<Pace>,
}

impl RunTerminal {
    /// Says what is to come.
    pub(super) fn new(plan: &Plan) -> Self {
        say!("{}: {}", plan.scenario, plan.description);
        if let Some(takes) = Schedule::of(plan).map(|schedule| schedule.takes()) {
            say!("the load alone takes {} if the cloud keeps up", whole_seconds(takes));
        }
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(
                ProgressStyle::with_template("{elapsed:>7} {spinner} {msg}").expect("the template is well-formed"),
            );
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Self { begun: Instant::now(), bar, last_line: Mutex::default(), pace: Mutex::default() }
    }

    /// No more progress comes.
    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        let line = format!("{:>6.1}s {text}", self.begun.elapsed().as_secs_f64());
        match &self.bar {
            Some(bar) => bar.println(line),
            None => say!("{line}"),
        }
    }
}

impl Tell for RunTerminal {
    fn phase(&self, phase: Phase, text: &str) {
        let words = in_words(phase);
        self.line(&if text.is_empty() { words.to_owned() } else { format!("{words}: {text}") });
    }

    fn status(&self, status: &Status) {
        let left = self.pace.lock().expect("no holder of this lock panics").left(status).filter(|left| !left.is_zero());
        let left = left.map(|left| format!(", about {} left", whole_seconds(left)));
        let text = format!("{}{}", status.text, left.unwrap_or_default());
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            return;
        }
        let mut last = self.last_line.lock().expect("no holder of this lock panics");
        if last.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            *last = Some(Instant::now());
            self.line(&format!("  {text}"));
        }
    }

    fn note(&self, text: &str) {
        self.line(&format!("· {text}"));
    }
}

/// An estimate for people: fractions of a second would claim what nobody knows.
fn whole_seconds(time: Duration) -> String {
    show_time(Duration::from_secs(time.as_secs_f64().ceil() as u64))
}

fn in_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Tenants => "makes projects, users, network, image and flavor",
        Phase::Register => "registers the fleet",
        Phase::Load => "loads",
        Phase::Drain => "waits for what is under way",
        Phase::CleanUp => "leaves the cloud",
        Phase::End => "done",
    }
}
