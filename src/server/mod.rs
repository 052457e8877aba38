//! The edge that moves octets: sockets, the writer, signals, shutdown.
