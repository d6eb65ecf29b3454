//! Tests of the whole state machine through its public contract.

mod agent;
mod at_rest;
mod driver;
mod lifecycle;
mod periodic;
mod timing;
