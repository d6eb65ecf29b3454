//! Tests of the whole state machine through its public contract.

mod agent;
mod driver;
mod lifecycle;
mod periodic;
mod timing;
