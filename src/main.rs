//! The `kagemusha` command: one file per verb, each thin.

// A line on standard output is `tell!`, which does not mind that its reader has gone.
#![warn(clippy::print_stdout)]

mod verbs;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tikv_jemallocator::Jemalloc;

/// Messages that are taken apart leave holes between what lives long, which glibc's allocator keeps: 7,000 hypervisors under
/// load had 126 MB with it, and have 110 with this one, of which 86 are in use. `_RJEM_MALLOC_CONF=stats_print:true` tells by
/// which sizes.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Load testing and scale simulation for OpenStack control planes.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Up(verbs::up::Args),
    Status(verbs::status::Args),
    Down(verbs::down::Args),
    Doctor(verbs::doctor::Args),
    Scenarios(verbs::scenarios::Args),
    Check(verbs::check::Args),
    Run(verbs::run::Args),
    Snapshot(verbs::snapshot::Args),
    Report(verbs::report::Args),
    Conformance(verbs::conformance::Args),
    Learn(verbs::learn::Args),
    /// A part of a fleet, in a process of its own; `run` starts it.
    #[command(hide = true, name = verbs::fleet_process::NAME)]
    FleetProcess,
}

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Up(args) => verbs::up::run(&args),
        Verb::Status(args) => verbs::status::run(&args),
        Verb::Down(args) => verbs::down::run(&args),
        Verb::Doctor(args) => verbs::doctor::run(&args),
        Verb::Scenarios(args) => verbs::scenarios::run(&args),
        Verb::Check(args) => verbs::check::run(&args),
        Verb::Run(args) => verbs::run::run(&args),
        Verb::Snapshot(args) => verbs::snapshot::run(&args),
        Verb::Report(args) => verbs::report::run(&args),
        Verb::Conformance(args) => verbs::conformance::run(&args),
        Verb::Learn(args) => verbs::learn::run(&args),
        Verb::FleetProcess => verbs::fleet_process::run(),
    }
}
