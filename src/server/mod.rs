//! The edge that moves octets: sockets, the writer, signals, shutdown.

mod exchange;
mod listen;
mod publish;
mod quiet;
mod run;
mod tcp;
mod udp;
mod writer;

pub use run::{Ready, run};
