//! How long the conductor waited for the scheduler, from the conductor's own log.
//!
//! With the logger `nova.conductor.manager` at DEBUG, and nothing else, the conductor writes for each boot, on behalf of the
//! request that the API answered with `X-OpenStack-Request-Id`:
//! ```text
//! 2026-11-23 08:14:03.117 1234 DEBUG nova.conductor.manager [None req-… …] Took 0.35 seconds to select destinations for 1 instance(s). …
//! ```
//! (`nova/conductor/manager.py`, `_schedule_instances`). It does so before it casts to the host, so the line is there when
//! the server is ACTIVE.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Reads the conductor's log as it grows.
#[derive(Debug)]
pub struct SchedulingLog {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How far the log has been read.
    position: u64,
    /// The beginning of a line whose end is not written yet.
    torn: String,
    /// By request id.
    took: HashMap<String, Duration>,
}

impl SchedulingLog {
    /// Begins at the end that the log has now.
    pub fn new(path: &Path) -> Self {
        let position = path.metadata().map_or(0, |file| file.len());
        Self { path: path.to_owned(), state: Mutex::new(State { position, ..State::default() }) }
    }

    /// How long the request waited for the scheduler, in all its attempts. `None` when the log does not say.
    pub fn look(&self, request_id: &str) -> Option<Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = state.read_on(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "no scheduling times");
        }
        state.took.get(request_id).copied()
    }
}

impl State {
    fn read_on(&mut self, path: &Path) -> io::Result<()> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        if length < self.position {
            // The log was begun anew.
            self.position = 0;
        }
        file.seek(SeekFrom::Start(self.position))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        self.position += bytes.len() as u64;
        self.take_lines(&String::from_utf8_lossy(&bytes));
        Ok(())
    }

    fn take_lines(&mut self, text: &str) {
        self.torn.push_str(text);
        let end = self.torn.rfind('\n').map_or(0, |end| end + 1);
        let lines: String = self.torn.drain(..end).collect();
        for (request, took) in lines.lines().filter_map(scheduling_of) {
            *self.took.entry(request).or_default() += took;
        }
    }
}

/// Request id and time of a line that has them.
fn scheduling_of(line: &str) -> Option<(String, Duration)> {
    let (head, rest) = line.split_once("] Took ").or_else(|| line.split_once(" Took "))?;
    let seconds = rest.split_once(" seconds to select destinations")?.0.parse().ok()?;
    // `[<global request id> <request id> <user> …]`; the request's own id is the last that begins with `req-`.
    let request = head.split(['[', ' ']).rfind(|word| word.starts_with("req-"))?;
    Some((request.to_owned(), Duration::try_from_secs_f64(seconds).ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const LINE: &str = "2026-11-23 08:14:03.117 1234 DEBUG nova.conductor.manager [None req-aa-1 0f 1e - - default default] \
                        Took 0.35 seconds to select destinations for 1 instance(s). _schedule_instances /x/manager.py:974\n";

    #[test]
    fn a_log_is_read_as_it_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("nova-conductor.log");
        std::fs::write(&path, LINE.replace("aa-1", "before")).unwrap();
        let log = SchedulingLog::new(&path);
        let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        write!(file, "noise\n{}", &LINE[..LINE.len() / 2]).unwrap();
        assert_eq!(log.look("req-aa-1"), None);
        write!(file, "{}", &LINE[LINE.len() / 2..]).unwrap();
        assert_eq!(log.look("req-before"), None);
        // A request for many servers is asked for by each of them.
        for _server in 0..2 {
            assert_eq!(log.look("req-aa-1"), Some(Duration::from_millis(350)));
        }
    }

    #[test]
    fn attempts_of_one_request_add_up() {
        let mut state = State::default();
        state.take_lines(&format!("{LINE}{LINE}"));
        assert_eq!(state.took["req-aa-1"], Duration::from_millis(700));
    }

    #[test]
    fn a_log_that_is_not_there_has_no_times() {
        assert_eq!(SchedulingLog::new(Path::new("/nonexistent/log")).look("req-1"), None);
    }
}
