//! Start processes, record them, find them again and stop them.
//!
//! A process is known by its id and its start time, since ids come round again. Each runs in a process group of its own
//! and carries the state folder in its environment (`MARK`), so that what left its group, or was started in the moment
//! before the harness was killed, is found too.

pub mod procfs;
mod records;
mod spawn;
mod stop;

pub(crate) use records::{Record, forget, load, save};
pub(crate) use spawn::{Launch, RunAs, launch, run_command};
pub(crate) use stop::{kill_all, reload_nginx, stop_all, stop_recorded};

/// Environment variable that every process of a cloud carries: the path of its state folder.
pub(crate) const MARK: &str = "KAGEMUSHA_PROCESS_OF";
