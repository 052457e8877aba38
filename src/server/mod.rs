//! The edge that moves octets: sockets, the writer, signals, shutdown.

mod control;
mod control_socket;
mod exchange;
pub(crate) mod http;
mod listen;
mod mesh;
mod publish;
mod quiet;
mod run;
mod secure;
mod tcp;
mod udp;
mod writer;
mod zone_files;

pub use control::Command;
pub use control_socket::{backup, call, repair, restore, verify};
pub use run::{Ready, run};
pub use secure::check_certificate;
