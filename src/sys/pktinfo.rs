//! Which of this machine's addresses was asked, so that the answer comes from it: IP_PKTINFO of ip(7) and
//! IPV6_PKTINFO of RFC 3542 section 6.
//!
//! A socket that listens on all addresses would else answer from whichever the route back prefers, and who asked
//! another drops the answer.

#![allow(unsafe_code, reason = "control messages are structures of C")]

use super::datagrams::{Asked, Way};
use libc::{c_int, cmsghdr, in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use socket2::SockAddr;
use std::io;
use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

/// One control message as it stands in memory, CMSG_SPACE octets for either kind. The same form tells which address
/// was asked and which one is to answer.
#[repr(C)]
pub(super) struct Control {
    header: cmsghdr,
    info: Info,
}

#[repr(C)]
union Info {
    v4: in_pktinfo,
    v6: in6_pktinfo,
}

// CMSG_DATA is what follows the header.
const _: () = assert!(offset_of!(Control, info) == size_of::<cmsghdr>());

/// Has the system tell the address that each datagram was sent to.
pub(super) fn enable(socket: &UdpSocket, v6: bool) -> io::Result<()> {
    let (level, option) =
        if v6 { (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO) } else { (libc::IPPROTO_IP, libc::IP_PKTINFO) };
    let on: c_int = 1;
    // SAFETY: the descriptor is open while `socket` lives, and the option's value is the c_int at that pointer.
    let done = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const on).cast(), SIZE_OF_INT) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const SIZE_OF_INT: libc::socklen_t = 4;

impl Control {
    /// The message that has an answer come from this address.
    pub(super) fn new(asked: Asked) -> Control {
        let (level, kind, size, info) = match asked.address {
            IpAddr::V4(v4) => {
                let address = in_addr { s_addr: u32::from_ne_bytes(v4.octets()) };
                // The interface is left to the route: an answer need not leave where the question came in.
                let v4 = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: in_addr { s_addr: 0 } };
                (libc::IPPROTO_IP, libc::IP_PKTINFO, size_of::<in_pktinfo>(), Info { v4 })
            }
            IpAddr::V6(v6) => {
                let ipi6_addr = in6_addr { s6_addr: v6.octets() };
                let v6 = in6_pktinfo { ipi6_addr, ipi6_ifindex: asked.interface as _ };
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, size_of::<in6_pktinfo>(), Info { v6 })
            }
        };
        // SAFETY: a header of zeros is a valid one; on some systems it has padding that cannot be named.
        let mut header: cmsghdr = unsafe { std::mem::zeroed() };
        // CMSG_LEN: the header and the data, without the padding after them.
        header.cmsg_len = (size_of::<cmsghdr>() + size) as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        Control { header, info }
    }

    /// The address that was asked, as the system tells it.
    pub(super) fn asked(&self) -> Option<Asked> {
        match (self.header.cmsg_level, self.header.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: the header says which of the two it is; either is plain integers.
                let info = unsafe { self.info.v4 };
                // Not where the packet was sent to, which may be a broadcast address, but this machine's own address.
                let address = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                Some(Asked { address: address.into(), interface: 0 })
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: as above.
                let info = unsafe { self.info.v6 };
                let address = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                // A group of hosts was asked; an answer comes from one of them.
                if address.is_multicast() {
                    return None;
                }
                let interface = if address.is_unicast_link_local() { info.ipi6_ifindex as _ } else { 0 };
                Some(Asked { address: address.into(), interface })
            }
            _ => None,
        }
    }
}

/// Sends one answer, from the address that was asked.
pub(super) fn send(socket: &UdpSocket, answer: &[u8], way: Way) -> io::Result<()> {
    let Some(asked) = way.asked else { return socket.send_to(answer, way.peer).map(drop) };
    let peer = SockAddr::from(way.peer);
    let mut control = Control::new(asked);
    let mut part = libc::iovec { iov_base: answer.as_ptr().cast_mut().cast(), iov_len: answer.len() };
    // SAFETY: a message of zeros is a valid, empty one; on some systems it has padding that cannot be named.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = peer.as_ptr().cast_mut().cast();
    message.msg_namelen = peer.len();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    loop {
        // SAFETY: the descriptor is open while `socket` lives; the message points at `peer`, `part`, `answer` and
        // `control`, which outlive the call, with their lengths, and sendmsg only reads them.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, 0) };
        if sent >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Reads an address that the system wrote, `len` octets of it.
///
/// # Safety
///
/// `from` points at a whole `sockaddr_storage`.
pub(super) unsafe fn address(
    from: *const libc::sockaddr_storage,
    len: libc::socklen_t,
) -> Option<std::net::SocketAddr> {
    use std::net::{SocketAddrV4, SocketAddrV6};
    // None at all where a receiver was only woken.
    if len == 0 {
        return None;
    }
    // SAFETY: the storage is whole, aligned for every kind of address, and as large as each; its family says which
    // one it holds.
    unsafe {
        match c_int::from((*from).ss_family) {
            libc::AF_INET => {
                let v4 = ptr::read(from.cast::<libc::sockaddr_in>());
                let address = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddrV4::new(address, u16::from_be(v4.sin_port)).into())
            }
            libc::AF_INET6 => {
                let v6 = ptr::read(from.cast::<libc::sockaddr_in6>());
                let address = Ipv6Addr::from(v6.sin6_addr.s6_addr);
                Some(SocketAddrV6::new(address, u16::from_be(v6.sin6_port), v6.sin6_flowinfo, v6.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}
