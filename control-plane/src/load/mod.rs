//! Load on the public APIs of an OpenStack: Keystone v3, Nova 2.1, Neutron v2, Glance v2, Placement.
//!
//! Nothing here knows how the cloud was made. [`Apis`] says where it is, [`Session`] logs in and sends, [`Tenants`] is what a
//! run makes before it loads, [`clean_up`] removes it again, [`Loader`] carries out the streams of a plan.

mod apis;
mod clean_up;
mod error;
mod http;
mod loader;
mod names;
mod operations;
mod phases;
mod poller;
mod scheduling_log;
mod servers;
mod session;
mod stream;
mod tenants;

pub(crate) use apis::DEFAULT_DOMAIN;
pub use apis::{Apis, Login};
pub use clean_up::{Ours, Remains, clean_up, delete_servers, remains};
pub use error::ApiError;
pub use http::{Answer, Call, Http, Service};
pub use loader::{Loader, LoaderSpec, Tally};
pub use names::RunName;
pub use operations::TimelineOf;
pub use scheduling_log::SchedulingLog;
pub use servers::{Server, Servers};
pub use session::Session;
pub use tenants::{Tenants, TenantsMade, TenantsSpec, User};
