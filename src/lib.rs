//! Dynamic DNS in one binary.

pub mod cli;
pub mod clock;
pub mod config;
pub mod error;
pub mod metrics;
pub mod query;
pub mod server;
pub mod store;
pub mod sys;
pub mod transfer;
pub mod tsig;
pub mod update;
pub mod wire;
pub mod zone;
