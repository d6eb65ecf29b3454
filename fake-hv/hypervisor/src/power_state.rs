//! Power states, as Nova numbers them (`nova/compute/power_state.py`).

/// The driver does not know the guest.
pub const NO_STATE: u8 = 0;
/// It runs.
pub const RUNNING: u8 = 1;
/// It is there and does not run.
pub const SHUTDOWN: u8 = 4;
