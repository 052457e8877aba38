//! Tells systemd how the service is doing: sd_notify(3), without its library.

use crate::clock::Clock;
use std::ffi::OsString;
use std::fmt::Display;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The way to the service manager; leads nowhere where there is none.
///
/// What cannot be told is logged and otherwise left: a server serves on, whoever listens.
#[derive(Debug)]
pub struct Notify {
    /// A path, or an abstract socket, written with a leading `@`.
    socket: Option<OsString>,
    clock: Clock,
}

impl Notify {
    /// The way to the socket that `$NOTIFY_SOCKET` names.
    pub fn new(socket: Option<OsString>) -> Notify {
        Notify { socket: socket.filter(|socket| !socket.is_empty()), clock: Clock::System }
    }

    /// Everything is bound and loaded.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// A reload begins; [`Notify::ready`] ends it.
    pub fn reloading(&self) {
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", self.clock.monotonic_micros()));
    }

    /// The service is about to end.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// What `systemctl status` shows.
    pub fn status(&self, text: impl Display) {
        // One line each: a line break would start another assignment.
        self.tell(&format!("STATUS={}", text.to_string().replace('\n', " ")));
    }

    fn tell(&self, state: &str) {
        if let Err(error) = self.send(state) {
            tracing::warn!("cannot notify the service manager: {}", crate::error::io_text(&error));
        }
    }

    fn send(&self, state: &str) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let address = match socket.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(socket)?,
        };
        UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    fn hears_everything(manager: &UnixDatagram, socket: OsString) {
        let notify = Notify { clock: Clock::manual(12), ..Notify::new(Some(socket)) };
        notify.ready();
        assert_eq!(received(manager), "READY=1");
        notify.reloading();
        assert_eq!(received(manager), "RELOADING=1\nMONOTONIC_USEC=12000000");
        notify.status("two\nlines");
        assert_eq!(received(manager), "STATUS=two lines");
        notify.stopping();
        assert_eq!(received(manager), "STOPPING=1");
    }

    #[test]
    fn a_manager_at_a_path_hears_everything() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        hears_everything(&manager, path.into());
    }

    #[test]
    fn a_manager_at_an_abstract_socket_hears_everything() {
        let name = format!("dyndns-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        hears_everything(&manager, format!("@{name}").into());
    }

    #[test]
    fn without_a_manager_nothing_is_sent() {
        for socket in [None, Some(OsString::new())] {
            assert!(Notify::new(socket).send("READY=1").is_ok());
        }
        assert!(Notify::new(Some("/nowhere/at/all".into())).send("READY=1").is_err());
    }
}
