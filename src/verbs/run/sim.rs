//! `--target sim`: in virtual time.

use std::{
    fs,
    io::IsTerminal,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use recording::Recorder;
use reports::Summary;
use scenarios::{Plan, Source, show_time};
use sim::{Calibration, Progress};

use super::{
    super::{exit, runtime},
    Args, Failure, edge, manifest, new_folder,
    replicate::replicate,
    show, words,
};

/// Time between lines when standard error is no terminal.
pub(super) const LINE_EVERY: Duration = Duration::from_secs(5);

pub(super) fn run(args: &Args, source: &Source, plan: &Plan) -> Result<u8, Failure> {
    if let Some(foreign) = &plan.cloud.bring_your_own {
        return Err(format!(
            "the scenario loads the cloud {:?}, which is a real one; say so with --target live --allow-foreign-cloud",
            foreign.cloud
        ));
    }
    if let Some(objection) = sim::objection(plan) {
        return Err(objection);
    }
    let calibration = calibration(args, plan)?;
    say!("{}: {}", plan.scenario, plan.description);
    let not_modelled = sim::not_modelled(plan);
    if !not_modelled.is_empty() {
        say!("not modelled, so without effect:");
    }
    for (option, value) in &not_modelled {
        say!("  {option} = {value}");
    }
    for correction in sim::corrections(plan) {
        say!("note: {correction}");
    }
    let stop = stop_on_signals()?;
    if let Some(edge) = &plan.edge {
        return edge::search(args, (source, plan), edge, |plan, folder| match sim::objection(plan) {
            Some(objection) => Err(objection),
            None => record(args, plan, &calibration, folder, &stop, &Screen::silent()),
        });
    }
    let out = new_folder(args, plan)?;
    if args.replications > 1 {
        return replicate(args, (source, plan), &calibration, &out, &stop);
    }
    let summary = record(args, plan, &calibration, &out, &stop, &Screen::new())?;
    show(args, &summary, &out);
    Ok(summary.outcome.exit_status())
}

fn calibration(args: &Args, plan: &Plan) -> Result<Calibration, Failure> {
    let Some(path) = &args.calibration else { return Calibration::shipped(&plan.release).map_err(words) };
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Calibration::parse(&path.display().to_string(), &text).map_err(words)
}

/// Carries the plan out, recording it, and reports.
pub(super) fn record(
    args: &Args,
    plan: &Plan,
    calibration: &Calibration,
    out: &Path,
    stop: &AtomicBool,
    screen: &Screen,
) -> Result<Summary, Failure> {
    let manifest = manifest::sim(args, plan, calibration);
    let plan_json = serde_json::to_string_pretty(plan).expect("a plan is JSON");
    let recorder = Recorder::create(out, &manifest, &plan_json).map_err(words)?;
    let begun = Instant::now();
    let report = sim::run(plan, calibration, Some(recorder.clone()), &mut |progress| {
        screen.progress(progress, begun.elapsed());
        !stop.load(Ordering::Relaxed)
    });
    let finished = recorder.finish(&report.outcome);
    screen.finish();
    if let Some(reason) = report.outcome.failure() {
        screen.line(&format!("error: {reason}"));
    }
    let took = begun.elapsed();
    screen.line(&format!(
        "{} simulated in {:.1} s: {} events, {} requests of hypervisors",
        show_time(Duration::from_secs((report.outcome.duration_ms / 1e3) as u64)),
        took.as_secs_f64(),
        many(report.events),
        many(report.requests),
    ));
    let summary = reports::write(out).map_err(words)?;
    finished.map_err(words)?;
    Ok(summary)
}

/// `38.6 million`, `41 thousand`.
fn many(number: u64) -> String {
    match number {
        1_000_000.. => format!("{:.1} million", number as f64 / 1e6),
        10_000.. => format!("{:.0} thousand", number as f64 / 1e3),
        few => few.to_string(),
    }
}

/// Turns the first SIGINT or SIGTERM into the wish to stop, and the second into the end.
fn stop_on_signals() -> Result<Arc<AtomicBool>, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = Arc::new(AtomicBool::new(false));
    let wish = Arc::clone(&stop);
    let runtime = runtime().map_err(words)?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt()).map_err(words)?, signal(SignalKind::terminate()).map_err(words)?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            for first in [true, false] {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if first {
                    wish.store(true, Ordering::Relaxed);
                } else {
                    std::process::exit(exit::COULD_NOT_RUN.into());
                }
            }
        });
    });
    Ok(stop)
}

pub(super) fn bar(template: &str) -> Option<ProgressBar> {
    std::io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    })
}

/// A run's progress: one line that changes, or, where nobody watches, a line every few seconds.
pub(super) struct Screen {
    bar: Option<ProgressBar>,
    silent: bool,
    last_line: std::sync::Mutex<Instant>,
}

impl Screen {
    fn new() -> Self {
        Self {
            bar: bar("{elapsed:>7} {spinner} {msg}"),
            silent: false,
            last_line: std::sync::Mutex::new(Instant::now()),
        }
    }

    /// One of several runs.
    pub(super) fn silent() -> Self {
        Self { bar: None, silent: true, last_line: std::sync::Mutex::new(Instant::now()) }
    }

    fn progress(&self, progress: Progress, elapsed: Duration) {
        if self.silent {
            return;
        }
        let (started, ended, failed) = progress.operations;
        let text = format!(
            "{} at {}: {} hypervisors up, {started} operations started, {} under way, {failed} failed, {:.0} times as fast as \
             the clock",
            progress.phase,
            show_time(Duration::from_secs(progress.now.as_secs())),
            progress.hosts_up,
            started - ended,
            progress.now.as_secs_f64() / elapsed.as_secs_f64().max(1e-3),
        );
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            return;
        }
        let mut last = self.last_line.lock().expect("no holder of this lock panics");
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            say!("  {text}");
        }
    }

    fn line(&self, text: &str) {
        if !self.silent {
            say!("{text}");
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
