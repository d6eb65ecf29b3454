//! What was run, in plain words, with which options, and where its raw files are.

use std::{collections::BTreeMap, time::Duration};

use recording::{CalibrationFacts, Manifest, millis};
use scenarios::plan::{Arrivals, ConnectionMode, Incident, LoadPlan, Operation, Start, Until};

use super::{Esc, Run, Section};
use crate::words;

pub(super) fn section(run: &Run<'_>) -> Section {
    let manifest = &run.recording.manifest;
    let plan = &run.analysis.plan;
    let load: Vec<String> = plan.load.iter().map(|load| Esc(&load_words(load)).to_string()).collect();
    let load = if load.is_empty() { "none: the fleet was left to idle".to_owned() } else { load.join("<br>") };
    let modelled = manifest.target == "sim";
    let service_times = manifest.calibration.as_ref().map(|calibration| {
        let CalibrationFacts { source, date, machine } = calibration;
        Esc(&format!("of {date}, on {machine}: {source}")).to_string()
    });
    let facts = [
        ("Cloud", Esc(&cloud(run)).to_string()),
        ("Hypervisors", Esc(&hypervisors(run)).to_string()),
        ("Load", load),
        ("Incidents", Esc(&plan.incidents.iter().map(incident_words).collect::<Vec<_>>().join("; ")).to_string()),
        (
            "Tenants",
            format!(
                "{}, {}",
                words::noun(plan.tenants.projects.into(), "project"),
                words::noun(plan.tenants.users.into(), "user")
            ),
        ),
        ("Overrides", Esc(&overrides(manifest).join(", ")).to_string()),
        (if modelled { "Deployment" } else { "Machine" }, Esc(&words::machine(&manifest.machine)).to_string()),
        ("Service times", service_times.unwrap_or_default()),
        ("Began", if modelled { String::new() } else { Esc(&to_the_second(&manifest.started_at)).to_string() }),
        ("Lasted", words::duration_ms(run.analysis.summary.duration_s * 1e3)),
        ("Seed", plan.seed.to_string()),
        ("To repeat it", format!("<code>{}</code>", Esc(&command(manifest)))),
    ];
    let known = facts.iter().filter(|(_, value)| !value.is_empty());
    let facts: String = known.map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>\n")).collect();
    let packages: Vec<String> = manifest.packages.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut body = format!("<dl class=\"facts\">\n{facts}</dl>\n");
    if !packages.is_empty() {
        let list = Esc(&packages.join(", ")).to_string();
        body.push_str(&format!(
            "<details><summary>{} packages</summary><p class=\"note\">{list}</p></details>\n",
            packages.len()
        ));
    }
    let text = Esc(&plan.scenario_text).to_string();
    body.push_str(&format!("<details><summary>The scenario as it was written</summary><pre>{text}</pre></details>\n"));
    Section { anchor: "setup".into(), title: "What was run".into(), body }
}

/// `2026-11-23T17:24:57.906428687Z` as people write it.
fn to_the_second(time: &str) -> String {
    let seconds = time.split(['.', 'Z']).next().unwrap_or(time);
    format!("{} UTC", seconds.replacen('T', " ", 1))
}

fn cloud(run: &Run<'_>) -> String {
    let plan = &run.analysis.plan;
    let whose = match (&plan.cloud.bring_your_own, run.recording.manifest.target.as_str()) {
        (Some(foreign), _) => format!("the cloud “{}”, which the harness did not start", foreign.cloud),
        (None, "sim") => "a model of it in virtual time".to_owned(),
        (None, _) => "unmodified, brought up on this machine".to_owned(),
    };
    let wsgi: Vec<String> = plan
        .cloud
        .wsgi
        .iter()
        .map(|(service, wsgi)| format!("{service} {} × {} threads", wsgi.processes, wsgi.threads))
        .collect();
    let wsgi = if wsgi.is_empty() { String::new() } else { format!("; {}", wsgi.join(", ")) };
    format!("OpenStack {}, {whose}{wsgi}", plan.release)
}

fn hypervisors(run: &Run<'_>) -> String {
    let fleet = &run.analysis.plan.fleet;
    let number = words::count(fleet.hypervisors.into());
    let connections = match fleet.connections {
        ConnectionMode::Faithful => "connections as nova-compute opens them (faithful)".to_owned(),
        ConnectionMode::Single => "one AMQP connection each (single)".to_owned(),
        ConnectionMode::Shared { connections } => format!("{connections} AMQP connections for all (shared)"),
    };
    let start = match fleet.start {
        Start::Pace { per_s } => format!("{} started a second", words::number(per_s)),
        Start::AtOnce => "all started at once".to_owned(),
        Start::Stagger { over } => format!("started at random within {}", time(over)),
        Start::UnderWay { hypervisors } => {
            format!("started as fast as the cloud took them, {hypervisors} at any time")
        }
    };
    let agent = if fleet.l2_agent { "" } else { "; no L2 agents" };
    let resources = &fleet.resources;
    let (vcpus, local_gb) = (resources.vcpus, resources.local_gb);
    let memory_gib = words::number((resources.memory_mb as f64 / 1024.0 * 10.0).round() / 10.0);
    format!(
        "{number} simulated, each {vcpus} CPUs, {memory_gib} GiB of memory, {local_gb} GiB of disk; {connections}{agent}; {start}"
    )
}

fn incident_words(incident: &Incident) -> String {
    format!("{} after the load begins {}", time(incident.at), incident.kind.words())
}

/// Values of the scenario that the command replaced.
fn overrides(manifest: &Manifest) -> Vec<String> {
    let words = &manifest.command;
    let after = words.windows(2).filter(|pair| pair[0] == "--set").map(|pair| pair[1].clone());
    let joined = words.iter().filter_map(|word| word.strip_prefix("--set=").map(str::to_owned));
    after.chain(joined).collect()
}

fn load_words(load: &LoadPlan) -> String {
    let what = match &load.operation {
        Operation::Boot { nics, batch } => {
            let batch = if *batch > 1 { format!(", {batch} a request") } else { String::new() };
            format!("boot a server with {nics} NIC{}{batch}", if *nics == 1 { "" } else { "s" })
        }
        Operation::Delete => "delete the oldest server".to_owned(),
        Operation::List => "list servers".to_owned(),
        Operation::Show => "show a server".to_owned(),
        Operation::Token => "issue a token".to_owned(),
        Operation::StopStart => "stop a server and start it again".to_owned(),
        Operation::Resize => "resize a server and confirm".to_owned(),
    };
    let when = match (&load.after, load.start) {
        (Some(stream), Duration::ZERO) => format!(", after {stream}"),
        (Some(stream), start) => format!(", {} after {stream}", time(start)),
        (None, Duration::ZERO) => String::new(),
        (None, start) => format!(", from {} on", time(start)),
    };
    format!("{}: {what}, {}{when}", load.name, arrivals_words(&load.arrivals))
}

fn arrivals_words(arrivals: &Arrivals) -> String {
    let end = |until: &Until| match until {
        Until::Count(count) => format!("{} times", words::count(*count)),
        Until::Elapsed(time_limit) => format!("for {}", time(*time_limit)),
    };
    let rate = |rate: f64| format!("{} a second", words::number(rate));
    match arrivals {
        Arrivals::Constant { rate_per_s, until } => format!("{}, evenly spaced, {}", end(until), rate(*rate_per_s)),
        Arrivals::Poisson { rate_per_s, until } => {
            format!("{}, at random (Poisson), {} on average", end(until), rate(*rate_per_s))
        }
        Arrivals::Ramp { from_per_s, to_per_s, duration } => {
            format!("from {} to {}, over {}", rate(*from_per_s), rate(*to_per_s), time(*duration))
        }
        Arrivals::Burst { size, every, times } => match times {
            1 => format!("{} at once", words::count(*size)),
            _ => format!("{} at once, {times} times, every {}", words::count(*size), time(*every)),
        },
        Arrivals::Closed { users, until, .. } => {
            format!("{} by {} clients, each waiting for its last to end", end(until), words::count((*users).into()))
        }
    }
}

fn time(time: Duration) -> String {
    words::round_ms(millis(time))
}

/// The command as it was given, or one that has the same effect but for overrides, which older recordings do not have.
fn command(manifest: &Manifest) -> String {
    if manifest.command.is_empty() {
        let Manifest { scenario, target, seed, .. } = manifest;
        return format!("kagemusha run {} --target {} --seed {seed}", quote(scenario), quote(target));
    }
    let mut words: Vec<String> = manifest.command.iter().map(|word| quote(word)).collect();
    // A run without a given seed drew one; to repeat it takes that one.
    if !manifest.command.iter().any(|word| word == "--seed" || word.starts_with("--seed=")) {
        words.push(format!("--seed {}", manifest.seed));
    }
    words.join(" ")
}

/// A word as a shell takes it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

pub(super) fn tuning(run: &Run<'_>) -> Section {
    let manifest = &run.recording.manifest;
    let mut body = if manifest.tuning.is_empty() {
        "<p>The run asked for none: every option that is not listed below had the default of its release.</p>\n"
            .to_owned()
    } else {
        configuration(&manifest.tuning)
    };
    if !manifest.not_modelled.is_empty() {
        body.push_str(&not_modelled(&manifest.not_modelled));
    }
    if !manifest.deviations.is_empty() {
        body.push_str(&own_settings(&manifest.deviations));
    }
    Section { anchor: "tuning".into(), title: "Options that differed from the defaults".into(), body }
}

/// The options that were asked for, file by file.
fn configuration(tuning: &BTreeMap<String, String>) -> String {
    /// Options of one service by section, as the file has them.
    type Sections<'a> = BTreeMap<&'a str, Vec<(&'a str, &'a str)>>;
    let mut files: BTreeMap<&str, Sections<'_>> = BTreeMap::new();
    for (path, value) in tuning {
        let (service, option) =
            path.split_once(':').map_or(("", path.as_str()), |(service, option)| (service, option.trim()));
        let (section, name) = option.rsplit_once('.').unwrap_or(("DEFAULT", option));
        files.entry(service.trim()).or_default().entry(section).or_default().push((name, value));
    }
    let mut body =
        "<p class=\"note\">What the run asked for, ready to be pasted into a real configuration.</p>\n".to_owned();
    for (service, sections) in files {
        let sections: Vec<String> = sections
            .iter()
            .map(|(section, options)| {
                let options: String = options.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
                format!("[{section}]\n{options}")
            })
            .collect();
        let file = if service.is_empty() { "configuration".to_owned() } else { format!("{service}.conf") };
        body.push_str(&format!("<h3>{}</h3>\n<pre>{}</pre>\n", Esc(&file), Esc(&sections.join("\n"))));
    }
    body
}

/// What was asked for and had no effect.
fn not_modelled(options: &BTreeMap<String, String>) -> String {
    let row = |(option, value): (&String, &String)| {
        format!("<td class=\"wide\"><code>{}</code></td><td class=\"wide\">{}</td>", Esc(option), Esc(value))
    };
    let rows: Vec<String> = options.iter().map(row).collect();
    let table = super::table(&["Option", "Value"], &rows);
    format!("<h3>Not modelled, so without effect on this run</h3>\n<div class=\"own\">{table}</div>\n")
}

/// What the harness sets for itself, which no real configuration needs.
fn own_settings(deviations: &BTreeMap<String, String>) -> String {
    let row = |(option, reason): (&String, &String)| {
        format!("<td class=\"wide\"><code>{}</code></td><td class=\"wide\">{}</td>", Esc(option), Esc(reason))
    };
    let rows: Vec<String> = deviations.iter().map(row).collect();
    let table = super::table(&["Option", "Why"], &rows);
    format!("<h3>Set by the harness for the cloud it brings up</h3>\n<div class=\"own\">{table}</div>\n")
}

pub(super) fn files(raw_files: &[String]) -> Section {
    let item = |file: &String| {
        let href: String = file.replace('%', "%25").replace('#', "%23").replace('?', "%3F");
        format!("<li><a href=\"./{}\">{}</a></li>", Esc(&href), Esc(file))
    };
    let items: String = raw_files.iter().map(item).collect();
    let body = format!(
        "<p class=\"note\">Everything above is made from these files of the run folder. <code>kagemusha report</code> makes it \
         anew; <code>latency/</code> holds HdrHistogram interval logs, which other tools read too.</p>\n\
         <ul class=\"files\">{items}</ul>\n"
    );
    let body = if raw_files.is_empty() { super::empty("This page was made without its run folder.") } else { body };
    Section { anchor: "files".into(), title: "Raw files".into(), body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_to_the_second() {
        assert_eq!(to_the_second("2026-11-23T17:24:57.906428687Z"), "2026-11-23 17:24:57 UTC");
        assert_eq!(to_the_second("2026-11-23T17:24:57Z"), "2026-11-23 17:24:57 UTC");
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(
            ["run", "fleet.hypervisors=7", "my scenario", "it's", ""].map(quote),
            ["run", "fleet.hypervisors=7", "'my scenario'", "'it'\\''s'", "''"]
        );
    }
}
