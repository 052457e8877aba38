//! The `dyndns` binary.

fn main() -> std::process::ExitCode {
    dyndns::cli::run()
}
