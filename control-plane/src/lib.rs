//! A real OpenStack on one machine: installed, configured, started, watched, loaded and stopped by the harness.
//!
//! Everything listens on 127.0.0.1, on ports of one range, and lies in one folder, [`StateDir`]. [`bring_up`] may be called
//! again at any time: what is done is skipped, what is dead is started, what differs is started anew.
//!
//! | what | does |
//! |---|---|
//! | [`StateDir`], [`Lock`], [`Secret`], [`CloudSpec`] | the folder, the right to it, its passwords, what is asked for |
//! | `install` | system packages, the Python environment |
//! | `config` | every configuration file, tuning and all |
//! | [`process`] | start, record, find again and stop processes |
//! | `service`, `ready` | which processes there are, and how to tell that each is ready |
//! | `database`, `identity` | schemas and cells; users, roles and endpoints |
//! | [`bring_up`], [`down`], [`status`], [`doctor`] | the verbs |
//! | [`load`] | operations on the public APIs, at their intended times |
//! | [`watch`] | what the cloud, its hosts and the harness itself do meanwhile |
//! | [`live`] | a plan, carried out on a real cloud |
//! | [`real_compute`] | an unmodified nova-compute beside the simulated ones |

mod cloud;
mod config;
mod database;
mod doctor;
mod down;
mod error;
mod identity;
mod install;
mod kept;
pub mod live;
pub mod load;
mod lock;
mod ports;
pub mod process;
mod progress;
mod queue_page;
mod ready;
pub mod real_compute;
mod secret;
mod service;
mod snapshot;
mod spec;
mod state_dir;
mod status;
mod up;
pub mod watch;

pub use cloud::{Amqp, Cloud, Credentials, Database, ManagedProcess};
pub use database::release_of;
pub use doctor::{Finding, Verdict, doctor};
pub use down::down;
pub use error::UpError;
pub use install::RELEASES;
pub use kept::{Kept, KeptUser};
pub use lock::Lock;
pub use progress::{Progress, Silent};
pub use scenarios::DEFAULT_RELEASE;
pub use secret::Secret;
pub use snapshot::{Snapshot, StandingStill, remove_snapshot, restore_snapshot, save_snapshot, snapshots};
pub use spec::{CloudSpec, WSGI_SERVICES};
pub use state_dir::StateDir;
pub use status::{Health, ProcessStatus, status};
pub use up::{Up, bring_up};

/// First port of the cloud's range unless another is asked for: below the ephemeral ports, and of no known service.
pub const DEFAULT_BASE_PORT: u16 = 21_000;
