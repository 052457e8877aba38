//! The `dyndns` binary.

fn main() {}
