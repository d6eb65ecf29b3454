//! `--replications`: the same scenario with as many seeds, side by side.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use indicatif::ProgressBar;
use rayon::prelude::*;
use reports::{Replications, Summary, Verdict};
use scenarios::{Plan, Source};
use sim::Calibration;

use super::{
    super::conclude,
    Args, Failure,
    sim::{LINE_EVERY, Screen, bar, record},
    words,
};

/// Carries out all of them, and puts what they came to together.
pub(super) fn replicate(
    args: &Args,
    (source, plan): (&Source, &Plan),
    calibration: &Calibration,
    out: &Path,
    stop: &AtomicBool,
) -> Result<u8, Failure> {
    let plans: Result<Vec<Plan>, Failure> = (0..u64::from(args.replications))
        .map(|index| scenarios::resolve(source, &args.sets, Some(plan.seed.wrapping_add(index))).map_err(words))
        .collect();
    let plans = plans?;
    let width = args.replications.to_string().len().max(2);
    let folders: Vec<PathBuf> =
        (1..=args.replications).map(|number| out.join(format!("replication-{number:0width$}"))).collect();
    let done = Done::of(folders.len());
    let runs: Result<Vec<Option<Summary>>, Failure> = plans
        .par_iter()
        .zip(&folders)
        .map(|(plan, folder)| {
            // What has not begun when the user wants to stop does not begin.
            if stop.load(Ordering::Relaxed) {
                return Ok(None);
            }
            let summary = record(args, plan, calibration, folder, stop, &Screen::silent())?;
            done.one_more(&summary);
            Ok(Some(summary))
        })
        .collect();
    done.finish();
    let runs: Vec<Summary> = runs?.into_iter().flatten().collect();
    let replications = reports::replications(&runs, args.replications);
    tell(&replications, out, args.json)
}

/// Writes `replications.json` and shows it.
pub(crate) fn tell(replications: &Replications, out: &Path, json: bool) -> Result<u8, Failure> {
    let file = out.join(reports::REPLICATIONS);
    fs::create_dir_all(out)
        .and_then(|()| fs::write(&file, reports::replications_json(replications)))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    conclude(json.then(|| reports::replications_json(replications)), &reports::replications_terminal(replications));
    say!("each run: {}/replication-…, all together: {}", out.display(), file.display());
    Ok(replications.exit_status())
}

/// How far all of them are: one line that changes, or, where nobody watches, a line every few seconds.
struct Done {
    bar: Option<ProgressBar>,
    of: usize,
    /// How many have ended, how many of these passed, and when that was last told.
    so_far: Mutex<(usize, usize, Instant)>,
}

impl Done {
    fn of(of: usize) -> Self {
        Self { bar: bar("{elapsed:>7} {spinner} {msg}"), of, so_far: Mutex::new((0, 0, Instant::now())) }
    }

    fn one_more(&self, summary: &Summary) {
        let mut so_far = self.so_far.lock().expect("no holder of this lock panics");
        so_far.0 += 1;
        so_far.1 += usize::from(summary.outcome == Verdict::Passed);
        let text = format!("{} of {} replications have ended, {} passed", so_far.0, self.of, so_far.1);
        if let Some(bar) = &self.bar {
            bar.set_message(text);
        } else if so_far.2.elapsed() >= LINE_EVERY {
            so_far.2 = Instant::now();
            say!("  {text}");
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
