//! `kagemusha conformance`

mod load;

use std::{fs, path::PathBuf, process::ExitCode};

use conformance::{
    Agents, Attempts, Kind, Lab, LabError, Operation, Recorded, Recordings, SKIPPED, START_UP, Stage, Take, Variation,
    Verdict, all_operations, choose, compare_agents, quiet_options, record, start_up,
};
use control_plane::{Cloud, Lock, StateDir};
use scenarios::nearest;
use serde_json::json;

use super::{exit, fail, runtime};

/// Compares simulated hypervisors with real ones, message by message.
///
/// Starts two unmodified nova-computes (fake driver) beside two simulated hypervisors on the cloud that is up, does the same
/// to both, records everything they say over AMQP and HTTP, and tells for each operation whether it was the same, or what was
/// not first.
///
/// An operation that differs is done again: when Neutron tells Nova of something is chance. It is identical when all that either kind
/// was seen to do, the other was seen to do, too, and differs when one kind did something alone after all --attempts.
///
/// With --load it measures instead whether they are the same load: two turns of each kind, idle and then with boots and
/// deletes, it counts conductor calls, messages, requests, the database's statements and the services' CPU.
///
/// Exit status 0 when all operations are identical (or no figure differs), 1 when some are not, 2 when they could not be carried out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kagemusha conformance\n  kagemusha conformance --operation stop --operation \
    live-migrate\n  kagemusha conformance --nics 2 --json conformance.json\n  kagemusha conformance --list\n  kagemusha \
    conformance --load --json load.json\n  kagemusha conformance --load --hosts 4 --idle 5m --boots 20")]
pub(crate) struct Args {
    /// State folder [default: $XDG_STATE_HOME/kagemusha, else ~/.local/state/kagemusha]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Release that the cloud must be of [default: whichever it is]
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    /// Only this operation; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with = "load")]
    operation: Vec<String>,
    /// NICs of each server
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "load", value_parser = clap::value_parser!(u8).range(0..=4))]
    nics: u8,
    /// How often an operation is done at most, while one kind does something that the other was not yet seen to do
    #[arg(long, value_name = "N", default_value_t = 5, conflicts_with = "load", value_parser = clap::value_parser!(u8).range(1..=10))]
    attempts: u8,
    /// Also write the result to this file: `{"operations": [{"name", "identical", "first_difference", "differences", "compared",
    /// "attempts", "by_chance"}], "skipped": [{"name", "reason"}]}`, where `compared` is a number of messages and requests, and
    /// `by_chance` are first differences that each kind showed in one attempt or another;
    /// or with --load `{"windows": [{"name", "rows": [{"group", "name", "real", "simulated", "ratio", "real_again",
    /// "simulated_again", "likeness"}]}]}`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Tell all differences, not just the first of each operation
    #[arg(long)]
    all_differences: bool,
    /// Keep what both kinds said in this folder, one file for each attempt of an operation
    #[arg(long, value_name = "DIR")]
    recordings: Option<PathBuf>,
    /// Compare L2 agents instead: a real neutron-openvswitch-agent, which needs Open vSwitch and root, and a simulated one
    #[arg(long, conflicts_with_all = ["operation", "list", "recordings", "attempts"])]
    agent: bool,
    /// List the operations
    #[arg(long, conflicts_with = "load")]
    list: bool,
    #[command(flatten)]
    load: load::Options,
}

/// Some operations are not identical.
const DIFFERS: u8 = 1;

pub(crate) fn run(args: &Args) -> ExitCode {
    if args.load.load {
        return load::run(args);
    }
    let chosen = match Chosen::new(&args.operation) {
        Ok(chosen) => chosen,
        Err(error) => return fail(&error),
    };
    if args.list {
        chosen.names().for_each(|name| tell!("{name}"));
        skipped(args).for_each(|(name, reason)| say!("not {name}: {reason}"));
        return ExitCode::from(exit::OK);
    }
    let compared = runtime().map_err(LabError::from).and_then(|runtime| {
        runtime.block_on(async {
            match args.agent {
                true => on_agents(args).await,
                false => carry_out(args, &chosen).await,
            }
        })
    });
    let finished = compared.and_then(|compared| finish(args, &compared.verdicts).map(|same| (same, compared.complete)));
    match finished {
        Ok((_, false)) => fail(&"interrupted: not all operations were done"),
        Ok((true, true)) => ExitCode::from(exit::OK),
        Ok((false, true)) => ExitCode::from(DIFFERS),
        Err(error) => fail(&error),
    }
}

/// What is to be done.
struct Chosen {
    /// Real and simulated ones start in any case; whether that is compared.
    start_up: bool,
    operations: Vec<&'static Operation>,
}

impl Chosen {
    /// The operations of these names, or all.
    fn new(asked: &[String]) -> Result<Self, String> {
        let (start_up, others): (Vec<String>, Vec<String>) = asked.iter().cloned().partition(|name| name == START_UP);
        let only_start_up = others.is_empty() && !start_up.is_empty();
        // No names at all stand for all operations.
        let operations =
            if only_start_up { Vec::new() } else { choose(&others).map_err(|name| unknown_operation(&name))? };
        Ok(Self { start_up: asked.is_empty() || !start_up.is_empty(), operations })
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.start_up.then_some(START_UP).into_iter().chain(self.operations.iter().map(|operation| operation.name))
    }
}

fn unknown_operation(name: &str) -> String {
    let known = [START_UP].into_iter().chain(all_operations().map(|operation| operation.name));
    format!("there is no operation `{name}`: {}--list shows all", nearest::hint(name, known))
}

/// What was compared, and whether it was not interrupted.
struct Compared {
    verdicts: Vec<Verdict>,
    complete: bool,
}

/// The cloud that is up, if it is of the release that was asked for.
fn cloud_of(args: &Args) -> Result<(StateDir, Cloud), LabError> {
    let state = StateDir::resolve(args.state.as_deref())?;
    let cloud = Cloud::open(&state)?;
    let is = &cloud.spec.release;
    match &args.release {
        Some(asked) if asked != is => {
            let why = format!(
                "the cloud in {} is {is}, not {asked}; `kagemusha up --release {asked} --state DIR` makes another",
                state.path().display()
            );
            Err(std::io::Error::other(why).into())
        }
        _ => Ok((state, cloud)),
    }
}

async fn carry_out(args: &Args, chosen: &Chosen) -> Result<Compared, LabError> {
    let (state, cloud) = cloud_of(args)?;
    let _mine = Lock::take(&state)?;
    let mut verdicts = Vec::new();
    for stage in [Stage::Plain, Stage::Reschedules, Stage::Aborts] {
        let operations = chosen.operations.iter().copied().filter(|operation| operation.stage == stage).collect();
        let on_stage = Chosen { start_up: chosen.start_up && stage == Stage::Plain, operations };
        if on_stage.names().next().is_none() {
            continue;
        }
        if !on_one_stage(args, &cloud, stage, &on_stage, &mut verdicts).await? {
            return Ok(Compared { verdicts, complete: false });
        }
    }
    Ok(Compared { verdicts, complete: true })
}

async fn on_agents(args: &Args) -> Result<Compared, LabError> {
    let (state, cloud) = cloud_of(args)?;
    let _mine = Lock::take(&state)?;
    let folder = tempfile::tempdir()?;
    match compare_agents(&cloud, &folder.path().join("agents"), |verdict| tell(args, verdict)).await? {
        Agents::Compared { verdicts, complete } => Ok(Compared { verdicts, complete }),
        Agents::Skipped(reason) => Err(std::io::Error::other(format!("L2 agents are not compared: {reason}")).into()),
    }
}

/// Whether it went on to its end.
async fn on_one_stage(
    args: &Args,
    cloud: &Cloud,
    stage: Stage,
    chosen: &Chosen,
    verdicts: &mut Vec<Verdict>,
) -> Result<bool, LabError> {
    let folder = tempfile::tempdir()?;
    say!("Starting two real nova-computes and two simulated ones ...");
    let kinds = [Kind::Real, Kind::Simulated];
    let lab = Lab::open(cloud, &kinds, stage, &quiet_options(false), &folder.path().join("run")).await?;
    let done = tokio::select! {
        done = do_all(&lab, args, chosen, verdicts) => done.map(|()| true),
        _ = tokio::signal::ctrl_c() => {
            say!("Interrupted; cleaning up ...");
            Ok(false)
        }
    };
    let left = lab.close().await?;
    if left != "nothing" {
        say!("left in the cloud: {left}");
    }
    done
}

async fn do_all(lab: &Lab, args: &Args, chosen: &Chosen, verdicts: &mut Vec<Verdict>) -> Result<(), LabError> {
    let variation = Variation { nics: args.nics.into(), swapped: false };
    let recordings = args.recordings.as_deref().map(Recordings::open).transpose()?;
    let mut attempt = |attempts: &mut Attempts, number: usize, recorded: Vec<Recorded>| -> Result<bool, LabError> {
        let take = Take { release: lab.release().to_owned(), variation, recorded };
        let name = take.recorded[0].operation.clone();
        if let Some(recordings) = &recordings {
            recordings.save(&name, number, &take)?;
        }
        let [real, simulated] = <[Recorded; 2]>::try_from(take.recorded).expect("each kind is recorded once");
        tell(args, attempts.add(real, simulated));
        // What was found out stays when the next attempt is interrupted.
        verdicts.retain(|verdict| verdict.name != name);
        verdicts.push(attempts.verdict());
        Ok(verdicts.last().is_some_and(|verdict| verdict.identical))
    };
    if chosen.start_up {
        attempt(&mut Attempts::new(variation), 1, start_up(lab))?;
    }
    for operation in &chosen.operations {
        let mut attempts = Attempts::new(variation);
        for number in 1..=args.attempts.into() {
            let recorded = record(lab, operation, &[variation; 2]).await?;
            if attempt(&mut attempts, number, recorded)? {
                break;
            }
        }
    }
    Ok(())
}

/// What came of one attempt.
fn tell(args: &Args, verdict: &Verdict) {
    let Verdict { name, first_difference, differences, compared, .. } = verdict;
    match first_difference {
        None => tell!("{name:26} identical ({compared} messages and requests)"),
        Some(first) if !args.all_differences => tell!("{name:26} differs: {first}"),
        Some(_) => {
            tell!("{name:26} differs in {}:", differences.len());
            differences.iter().for_each(|difference| tell!("    {difference}"));
        }
    }
}

/// What was asked for, as everything is unless a few are, and cannot be done.
fn skipped(args: &Args) -> impl Iterator<Item = (&'static str, &'static str)> {
    let all = args.operation.is_empty() && !args.agent;
    SKIPPED.into_iter().filter(move |_| all)
}

/// Sums up, and writes the file; whether all were identical.
fn finish(args: &Args, verdicts: &[Verdict]) -> Result<bool, LabError> {
    let identical = verdicts.iter().filter(|verdict| verdict.identical).count();
    skipped(args).for_each(|(name, reason)| tell!("{name:26} skipped: {reason}"));
    for Verdict { name, identical, attempts, .. } in verdicts.iter().filter(|verdict| verdict.attempts > 1) {
        match identical {
            true => tell!(
                "{name:26} identical over {attempts} attempts: what differed in one, the other kind did in another"
            ),
            false => {
                tell!("{name:26} differs over {attempts} attempts: one kind did something that the other never did")
            }
        }
    }
    let at_once = verdicts.iter().filter(|verdict| verdict.identical && verdict.attempts == 1).count();
    tell!("{identical} of {} operations identical, {at_once} of them at the first attempt", verdicts.len());
    if let Some(path) = &args.json {
        let skipped = skipped(args).map(|(name, reason)| json!({"name": name, "reason": reason}));
        let result = json!({"operations": verdicts, "skipped": skipped.collect::<Vec<_>>()});
        let text = serde_json::to_string_pretty(&result).expect("verdicts have text keys only");
        fs::write(path, text + "\n")?;
    }
    Ok(identical == verdicts.len() && !verdicts.is_empty())
}
