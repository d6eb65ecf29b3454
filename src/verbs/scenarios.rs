//! `kagemusha scenarios`, and where every verb that takes a scenario finds it.

use std::{fs, io, path::Path, process::ExitCode};

use scenarios::{Plan, Source, library};
use serde_json::json;

use super::{exit, fail};

/// Lists the scenarios that ship with the harness.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Show one scenario: its README as comments, then its text, ready to be saved and changed
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  kagemusha scenarios
  kagemusha scenarios quickstart
  kagemusha scenarios --json

To make one of your own, save one that is near to what you want, give it its own name, change it, check it, run it:
  mkdir my && kagemusha scenarios quickstart > my/scenario.toml
  kagemusha check my
  kagemusha run my";

pub(crate) fn run(args: &Args) -> ExitCode {
    match &args.name {
        None => list(args.json),
        Some(name) => match library::find(name) {
            Some(shipped) => show(shipped, args.json),
            None => return fail(&unknown(name)),
        },
    }
    ExitCode::from(exit::OK)
}

fn list(as_json: bool) {
    let plans: Vec<(&str, Plan)> = library::all().iter().map(|shipped| (shipped.name, plan(shipped))).collect();
    if as_json {
        let row = |(name, plan): &(&str, Plan)| json!({"name": name, "description": plan.description, "hypervisors": plan.fleet.hypervisors});
        tell!("{:#}", json!(plans.iter().map(row).collect::<Vec<_>>()));
        return;
    }
    let width = plans.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, plan) in plans {
        tell!("{name:<width$}{:>6} hypervisors  {}", plan.fleet.hypervisors, plan.description);
    }
}

fn show(shipped: &library::Shipped, as_json: bool) {
    if as_json {
        let whole = json!({
            "name": shipped.name,
            "description": plan(shipped).description,
            "readme": shipped.readme,
            "scenario": shipped.text,
        });
        tell!("{whole:#}");
    } else {
        tell!("{}", text(shipped));
    }
}

fn text(shipped: &library::Shipped) -> String {
    format!("{}\n{}", commented(shipped.readme.trim_end()), shipped.text.trim_end())
}

/// As comments of TOML, so that all that is shown is a scenario.
fn commented(text: &str) -> String {
    text.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect()
}

fn plan(shipped: &library::Shipped) -> Plan {
    let plan = scenarios::resolve(&shipped.source(), &[], None);
    plan.expect("every scenario of the library resolves; a test keeps it so")
}

/// Finds a scenario: `-` is the standard input; a name of the library is that scenario; anything else is a path, of a
/// folder with a `scenario.toml` or of a file. A folder that is called like a scenario of the library is `./NAME`.
///
/// # Errors
/// In words, when there is no such scenario or it cannot be read.
pub(crate) fn load(scenario: &str) -> Result<Source, String> {
    if scenario == "-" {
        let text = io::read_to_string(io::stdin()).map_err(|error| format!("cannot read the scenario: {error}"))?;
        return Ok(Source { name: "standard input".to_owned(), text });
    }
    if let Some(shipped) = library::find(scenario) {
        return Ok(shipped.source());
    }
    let path = Path::new(scenario);
    if !path.exists() {
        return Err(unknown(scenario));
    }
    let file = if path.is_dir() { path.join("scenario.toml") } else { path.to_owned() };
    let text = fs::read_to_string(&file).map_err(|error| {
        format!("cannot read {}: {error}; give a scenario.toml, or a folder with one", file.display())
    })?;
    Ok(Source { name: file.display().to_string(), text })
}

fn unknown(name: &str) -> String {
    let names = library::all().iter().map(|shipped| shipped.name).collect::<Vec<_>>().join(", ");
    match library::nearest(name) {
        Some(near) => {
            format!("there is no scenario {name:?}, did you mean {near:?}? Shipped are {names}; or give a path")
        }
        None => format!("there is no scenario {name:?}: it is neither shipped ({names}) nor a path that exists"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_a_scenario() {
        for shipped in library::all() {
            let saved = Source { name: "my/scenario.toml".to_owned(), text: text(shipped) };
            let again = scenarios::resolve(&saved, &[], None).expect("it was saved as it was shown");
            assert_eq!(again.load, plan(shipped).load);
        }
    }
}
