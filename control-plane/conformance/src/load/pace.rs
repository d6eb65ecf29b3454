//! How fast the machine is. Where others work on it too, the same work takes more CPU at one time than at another: a piece of work
//! that never changes, done all along, tells how much more.

use std::{io, path::Path, process::Stdio};

use tokio::process::{Child, Command};

/// In the language of the services, so that what slows them down slows it down.
const WORK: &str = include_str!("pace.py");

/// Works until it is dropped, ten times a second for some milliseconds; it ends when its harness is killed, too.
pub(super) struct Pace(Child);

impl Pace {
    pub(super) fn start(python: &Path) -> io::Result<Self> {
        let mut command = Command::new(python);
        command.args(["-c", WORK]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        command.spawn().map(Self)
    }

    /// Stops it; gives the CPU that its work took each time, in seconds.
    pub(super) async fn finish(self) -> io::Result<f64> {
        // Which closes its input first.
        let output = self.0.wait_with_output().await?;
        let told = String::from_utf8_lossy(&output.stdout);
        read(&told).ok_or_else(|| io::Error::other(format!("the measure of the machine's pace told {told:?}")))
    }
}

fn read(told: &str) -> Option<f64> {
    let (times, cpu_s) = told.trim().split_once(' ')?;
    let (times, cpu_s): (f64, f64) = (times.parse().ok()?, cpu_s.parse().ok()?);
    (times > 0.0).then(|| cpu_s / times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_told() {
        assert_eq!(read("40 0.1\n"), Some(0.0025));
        assert_eq!([read("0 0.0\n"), read(""), read("x")], [None; 3]);
    }
}
