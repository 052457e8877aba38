//! The sockets: one for UDP and one for TCP at each address.

use crate::error::Error;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

/// Both sockets of one address, bound and not blocking.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) udp: UdpSocket,
    pub(crate) tcp: TcpListener,
}

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;
/// How often a port that the system picks for TCP is tried for UDP too.
const TRIES: u32 = 16;

/// Binds an address. With port 0 the system picks one that is free for both.
///
/// Errors say what to do: a port in use, a port below 1024 without the right to it, an address that is not
/// this machine's.
pub(crate) fn bind(address: SocketAddr) -> Result<Listener, Error> {
    let mut tries = if address.port() == 0 { TRIES } else { 1 };
    loop {
        tries -= 1;
        match bind_both(address) {
            Ok(listener) => return Ok(listener),
            Err(error) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(cannot(address, "--listen", error)),
        }
    }
}

/// Binds an address for TCP alone; `option` is where it was given.
pub(super) fn bind_tcp(address: SocketAddr, option: &str) -> Result<TcpListener, Error> {
    listen_tcp(address).map_err(|error| cannot(address, option, error))
}

/// Binds an address for UDP alone; `option` is where it was given.
pub(super) fn bind_udp(address: SocketAddr, option: &str) -> Result<UdpSocket, Error> {
    let bound = socket(address, Type::DGRAM, Protocol::UDP).and_then(|udp| udp.bind(&address.into()).map(|()| udp));
    bound.map(UdpSocket::from).map_err(|error| cannot(address, option, error))
}

fn bind_both(address: SocketAddr) -> io::Result<Listener> {
    let tcp = listen_tcp(address)?;
    let address = tcp.local_addr()?;
    let udp = socket(address, Type::DGRAM, Protocol::UDP)?;
    udp.bind(&address.into())?;
    Ok(Listener { address, udp: udp.into(), tcp })
}

fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let tcp = socket(address, Type::STREAM, Protocol::TCP)?;
    // A restart must not wait for the connections of the server before it to be forgotten.
    tcp.set_reuse_address(true)?;
    tcp.bind(&address.into())?;
    tcp.listen(BACKLOG)?;
    Ok(tcp.into())
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        // So that 0.0.0.0 and [::] can be listened on side by side.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn cannot(address: SocketAddr, option: &str, error: io::Error) -> Error {
    let remedy = match error.kind() {
        io::ErrorKind::PermissionDenied if address.port() < 1024 => {
            "grant CAP_NET_BIND_SERVICE or listen on a port above 1023".to_string()
        }
        io::ErrorKind::AddrInUse => {
            format!("another server has this port: end it, or choose another port with {option}")
        }
        _ => format!("choose an address of this machine with {option}"),
    };
    Error::usage(format!("cannot bind {address}")).because(error).remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_an_error_that_says_what_to_do() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(first.udp.local_addr().unwrap(), first.tcp.local_addr().unwrap());
        let error = bind(first.address).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "cannot bind {}: address already in use; another server has this port: end it, or choose another port \
                 with --listen",
                first.address
            )
        );
        let error = bind("192.0.2.1:5300".parse().unwrap()).unwrap_err().to_string();
        assert!(error.ends_with("choose an address of this machine with --listen"), "{error}");
    }
}
