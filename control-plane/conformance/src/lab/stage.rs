//! What the first hypervisor of each kind does with builds.

use control_plane::real_compute;
use hypervisor::Driver;

/// What the first hypervisor of each kind does with builds. The second is always one that builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It builds.
    Plain,
    /// It lets the first start of each VM fail, so that another host may try (`FakeRescheduleDriver`).
    Reschedules,
    /// It lets each start fail for good (`FakeBuildAbortDriver`).
    Aborts,
}

impl Stage {
    /// `compute_driver` of the real one, and what it does in a simulated one.
    pub(super) fn drivers(self) -> (&'static str, Driver) {
        match self {
            Self::Plain => (real_compute::KEEPS_ITS_NODE, Driver::Fake),
            Self::Reschedules => ("fake.FakeRescheduleDriver", Driver::FakeReschedule),
            Self::Aborts => ("fake.FakeBuildAbortDriver", Driver::FakeBuildAbort),
        }
    }
}
