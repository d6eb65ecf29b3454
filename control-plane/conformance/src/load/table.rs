//! The report as text.

use std::fmt;

use super::{Group, LoadReport, Period, Row, Window, equivalence::Likeness};

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { release, hosts, boots, boots_per_s, periods, windows } = self;
        writeln!(
            f,
            "Release {release}, {hosts} hosts of each kind, two turns each; in each turn {boots} boots and deletes at {boots_per_s}/s"
        )?;
        writeln!(f, "real and simulated: both turns together; again: the second turn over the first")?;
        writeln!(
            f,
            "\nPeriods in an idle window; one that does not fit a whole number of times is cut by chance, or is in none:"
        )?;
        periods.iter().try_for_each(|period| write_period(f, period))?;
        windows.iter().try_for_each(|window| write_window(f, window))
    }
}

fn write_period(f: &mut fmt::Formatter<'_>, Period { task, every_s, in_idle }: &Period) -> fmt::Result {
    writeln!(f, "  {in_idle:7.2} x {every_s:5.0} s  {task}")
}

fn write_window(f: &mut fmt::Formatter<'_>, window: &Window) -> fmt::Result {
    let Window { name, real_s, simulated_s, rows, .. } = window;
    // The titles of groups stand in the column of names, two further out.
    let names = rows.iter().flat_map(|row| [row.name.len(), title(row.group).len()]);
    let width = names.max().unwrap_or_default();
    writeln!(f, "\n{name} ({real_s:.1} s with real ones, {simulated_s:.1} s with simulated ones)")?;
    write_machine(f, window)?;
    let mut group = None;
    for row in rows {
        if group.replace(row.group) != Some(row.group) {
            let title = title(row.group);
            writeln!(
                f,
                "  {title:width$}   {:>12} {:>12} {:>8} {:>10} {:>15}",
                "real", "simulated", "ratio", "real again", "simulated again"
            )?;
        }
        write_row(f, row, width)?;
    }
    Ok(())
}

/// What else took the machine's CPU, and how fast it was.
fn write_machine(f: &mut fmt::Formatter<'_>, window: &Window) -> fmt::Result {
    let Window { real_own_cpu_s, ballast_planned_cpu_s, ballast_cpu_s, real_pace_ms, simulated_pace_ms, .. } = window;
    writeln!(
        f,
        "  the real ones themselves took {real_own_cpu_s:.1} s of CPU; beside the simulated ones a ballast took {ballast_cpu_s:.1} s of \
         {ballast_planned_cpu_s:.1} s planned"
    )?;
    let mean_ms = window.pace_ms();
    let [real, simulated] =
        [real_pace_ms, simulated_pace_ms].map(|[first, second]| format!("{first:.2} and {second:.2} ms"));
    writeln!(
        f,
        "  pace of the machine: a fixed piece of work took {real} of CPU in the turns of real ones, {simulated} in those of simulated ones; CPU \
         below is scaled to {mean_ms:.2} ms"
    )
}

fn write_row(f: &mut fmt::Formatter<'_>, row: &Row, width: usize) -> fmt::Result {
    let Row { group, name, real, simulated, ratio, real_again, simulated_again, likeness } = row;
    let decimals = if *group == Group::Cpu { 2 } else { 0 };
    let [ratio, real_again, simulated_again] =
        [ratio, real_again, simulated_again].map(|it| it.map_or("-".to_owned(), |ratio| format!("{ratio:.3}")));
    let word = match likeness {
        Likeness::Same => "same",
        Likeness::Chance => "chance",
        Likeness::Differs => "DIFFERS",
    };
    write!(f, "    {name:width$} {real:>12.decimals$} {simulated:>12.decimals$} {ratio:>8}")?;
    writeln!(f, " {real_again:>10} {simulated_again:>15}  {word}")
}

fn title(group: Group) -> &'static str {
    match group {
        Group::Servers => "servers",
        Group::Conductor => "calls to the conductor",
        Group::Rpc => "other RPC",
        Group::Amqp => "AMQP",
        Group::Http => "HTTP requests",
        Group::Agent => "L2 agent",
        Group::Database => "statements, whole cloud",
        Group::Cpu => "CPU seconds",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_one_another() {
        let row = |group, name: &str, real, simulated, ratio, likeness| Row {
            group,
            name: name.to_owned(),
            real,
            simulated,
            ratio,
            real_again: Some(1.0),
            simulated_again: Some(0.5),
            likeness,
        };
        let rows = vec![
            row(Group::Conductor, "Service.save", 2400.0, 2401.0, Some(1.0004), Likeness::Same),
            row(Group::Conductor, "A.b", 0.0, 40.0, None, Likeness::Differs),
            row(Group::Cpu, "nova-conductor", 12.5, 12.25, Some(0.98), Likeness::Same),
        ];
        let window = Window {
            name: "idle".to_owned(),
            real_s: 60.0,
            simulated_s: 60.04,
            real_own_cpu_s: 8.0,
            ballast_planned_cpu_s: 8.1,
            ballast_cpu_s: 8.2,
            real_pace_ms: [2.0, 2.5],
            simulated_pace_ms: [2.25, 2.25],
            rows,
        };
        let period = Period { task: "heartbeat".to_owned(), every_s: 10.0, in_idle: 6.0 };
        let report = LoadReport {
            release: "2026.2".to_owned(),
            hosts: 20,
            boots: 200,
            boots_per_s: 0.5,
            periods: vec![period],
            windows: vec![window],
        };
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 14, "{text}");
        assert!(
            lines[11].contains("A.b") && lines[11].ends_with("40        -      1.000           0.500  DIFFERS"),
            "{text}"
        );
        let end_of = |line: usize, word: &str| lines[line].find(word).map(|at| at + word.len());
        assert_eq!(end_of(9, "simulated"), end_of(10, "2401"), "{text}");
        assert_eq!(end_of(10, "2401"), end_of(11, "40"), "{text}");
        assert_eq!(end_of(10, "1.000"), end_of(13, "0.980"), "{text}");
    }
}
