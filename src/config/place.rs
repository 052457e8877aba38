//! Where a node of the mesh that is a process of its own keeps its state, and whom it tells how it is.

use std::ffi::OsString;
use std::path::PathBuf;

/// The state directory of dyndns-mesh.service, as seen from outside the service.
const OF_THE_SERVICE: &str = "/var/lib/dyndns-mesh";

/// Where a node keeps its state: where a flag says, else `$STATE_DIRECTORY`, else `here`; where that is not there but
/// the service has been installed, the service's.
pub fn mesh_state_directory(flag: Option<PathBuf>, here: &str) -> PathBuf {
    // systemd separates several by colons; the unit asks for one.
    let given = std::env::var_os("STATE_DIRECTORY");
    let given = given.as_ref().and_then(|list| std::env::split_paths(list).next());
    let (here, service) = (PathBuf::from(here), PathBuf::from(OF_THE_SERVICE));
    let fallback = if here.exists() || !service.exists() { here } else { service };
    flag.or(given).unwrap_or(fallback)
}

/// The service manager's socket, where there is one.
pub fn notify_socket() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET")
}
