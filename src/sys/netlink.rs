//! The machine's own addresses and their changes, as the kernel tells them by rtnetlink(7).
//!
//! All that is read comes from the kernel in the machine's byte order; what is cut off or unknown is passed over.

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, netdevice, recv, send, socket_with,
};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

/// An address of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Whether it is the interface's own for as long as the network has its prefix.
    pub kind: Kind,
    /// When it was made, in hundredths of a second since the start of the machine; `None` where it is for ever. Routers
    /// renew an address every few minutes, which does not change it.
    pub made: Option<u32>,
}

/// Whether others can find a machine by an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They can.
    Lasting,
    /// Made for a day or so, that the machine be not known by it (RFC 8981).
    Temporary,
}

/// Hears that addresses have changed.
#[derive(Debug)]
pub struct AddressChanges {
    socket: OwnedFd,
}

/// Of linux/netlink.h and linux/rtnetlink.h.
const DONE: u16 = 3;
const ERROR: u16 = 2;
const NEW_ADDRESS: u16 = 20;
const GET_ADDRESS: u16 = 22;
const REQUEST_DUMP: u16 = 0x301;
const GROUPS: u32 = 0x10 | 0x100;
/// Attributes of an address, of linux/if_addr.h.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;
const CACHE: u16 = 6;
const FLAGS: u16 = 8;
/// Failed, deprecated, or not yet known to be unique: not an address to be found by.
const UNFIT: u32 = 0x08 | 0x20 | 0x40;
/// In IPv4: a second one of its network.
const TEMPORARY: u32 = 0x01;
/// Valid beyond the link.
const UNIVERSE: u8 = 0;
/// What the kernel fills at most in one go.
const ROOM: usize = 32 << 10;

/// Every address that packets may be sent from, of all interfaces in their order.
pub fn addresses() -> io::Result<Vec<InterfaceAddress>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, 0))?;
    send(&socket, &request(), SendFlags::empty())?;
    let names = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    let mut found = Vec::new();
    let mut buffer = vec![0; ROOM];
    loop {
        let (len, _) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        for message in Parts::messages(buffer.get(..len).unwrap_or_default()) {
            match message.kind {
                DONE => return Ok(found),
                ERROR => return Err(io::Error::other("the kernel does not tell its addresses")),
                NEW_ADDRESS => {
                    if let Some(Entry { index, address, kind, made }) = Entry::read(message.content) {
                        // One that has just gone has no name any more.
                        if let Ok(interface) = netdevice::index_to_name(&names, index) {
                            found.push(InterfaceAddress { interface, address, kind, made });
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

impl AddressChanges {
    /// Listens from now on.
    pub fn new() -> io::Result<AddressChanges> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(AddressChanges { socket })
    }

    /// Waits for a message of the kernel; what it says is best asked anew.
    pub fn wait(&self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match recv(&self.socket, &mut buffer, RecvFlags::empty()) {
            // More has changed than there was room for, or a signal came between.
            Err(rustix::io::Errno::NOBUFS | rustix::io::Errno::INTR) | Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Asks for all addresses of both families.
fn request() -> [u8; 24] {
    let mut message = [0; 24];
    let parts: [&[u8]; 4] =
        [&24_u32.to_ne_bytes(), &GET_ADDRESS.to_ne_bytes(), &REQUEST_DUMP.to_ne_bytes(), &1_u32.to_ne_bytes()];
    for (place, octet) in message.iter_mut().zip(parts.concat()) {
        *place = octet;
    }
    message
}

/// An address as a message tells it.
struct Entry {
    index: u32,
    address: IpAddr,
    kind: Kind,
    made: Option<u32>,
}

impl Entry {
    /// `None` where it is not one to send from.
    fn read(content: &[u8]) -> Option<Entry> {
        let ([_family, _prefix, flags, scope], rest) = content.split_first_chunk()?;
        let (index, attributes) = rest.split_first_chunk()?;
        let mut flags = u32::from(*flags);
        let (mut address, mut local, mut made) = (None, None, None);
        for part in Parts::attributes(attributes) {
            match part.kind {
                ADDRESS => address = ip(part.content),
                LOCAL => local = ip(part.content),
                FLAGS => flags = u32::from_ne_bytes(*part.content.first_chunk()?),
                CACHE => made = made_at(part.content),
                _ => {}
            }
        }
        // Where there is a peer, it is the other one.
        let address = local.or(address)?;
        (flags & UNFIT == 0 && *scope == UNIVERSE).then_some(Entry {
            index: u32::from_ne_bytes(*index),
            address,
            kind: if flags & TEMPORARY == 0 { Kind::Lasting } else { Kind::Temporary },
            made,
        })
    }
}

/// Of struct ifa_cacheinfo: for how long it is preferred and valid, when it was made and renewed.
fn made_at(cache: &[u8]) -> Option<u32> {
    let (preferred, rest) = cache.split_first_chunk()?;
    let (_valid, rest) = rest.split_first_chunk::<4>()?;
    (u32::from_ne_bytes(*preferred) != u32::MAX).then_some(u32::from_ne_bytes(*rest.first_chunk()?))
}

fn ip(octets: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(octets).ok().map(|octets| Ipv4Addr::from(octets).into());
    v4().or_else(|| <[u8; 16]>::try_from(octets).ok().map(|octets| Ipv6Addr::from(octets).into()))
}

/// One message or attribute.
struct Part<'a> {
    kind: u16,
    content: &'a [u8],
}

/// Messages or attributes one after the other, each from a multiple of four octets.
struct Parts<'a> {
    rest: &'a [u8],
    header: Header,
}

#[derive(Clone, Copy)]
enum Header {
    /// Length of four octets, kind of two, ten others.
    Message,
    /// Length and kind, of two octets each.
    Attribute,
}

impl<'a> Parts<'a> {
    fn messages(rest: &'a [u8]) -> Parts<'a> {
        Parts { rest, header: Header::Message }
    }

    fn attributes(rest: &'a [u8]) -> Parts<'a> {
        Parts { rest, header: Header::Attribute }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        let (len, kind, begin) = match self.header {
            Header::Message => {
                let (len, rest) = self.rest.split_first_chunk()?;
                (usize::try_from(u32::from_ne_bytes(*len)).ok()?, u16::from_ne_bytes(*rest.first_chunk()?), 16)
            }
            Header::Attribute => {
                let (len, rest) = self.rest.split_first_chunk()?;
                (usize::from(u16::from_ne_bytes(*len)), u16::from_ne_bytes(*rest.first_chunk()?), 4)
            }
        };
        let content = self.rest.get(begin..len)?;
        self.rest = self.rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Part { kind, content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
        let len = u16::try_from(4 + content.len()).unwrap();
        let mut part = [&len.to_ne_bytes()[..], &kind.to_ne_bytes(), content].concat();
        part.resize(part.len().next_multiple_of(4), 0);
        part
    }

    fn entry(scope: u8, flags: u32, attributes: &[Vec<u8>]) -> Option<IpAddr> {
        let head = [&[2, 24, 0, scope][..], &7_u32.to_ne_bytes(), &attribute(FLAGS, &flags.to_ne_bytes())].concat();
        Entry::read(&[head, attributes.concat()].concat()).map(|entry| {
            assert_eq!(entry.index, 7);
            entry.address
        })
    }

    #[test]
    fn an_address_that_others_may_use_is_read() {
        let v4 = Ipv4Addr::new(192, 0, 2, 1);
        assert_eq!(entry(0, 0x80, &[attribute(ADDRESS, &v4.octets())]), Some(v4.into()));
        let peer = attribute(ADDRESS, &[192, 0, 2, 9]);
        assert_eq!(entry(0, 0x80, &[peer, attribute(LOCAL, &v4.octets())]), Some(v4.into()), "a point-to-point link");
        let v6 = attribute(ADDRESS, &Ipv6Addr::LOCALHOST.octets());
        for unfit in [0x08, 0x20, 0x40] {
            assert_eq!(entry(0, 0x80 | unfit, std::slice::from_ref(&v6)), None, "{unfit:#x}");
        }
        assert_eq!(entry(253, 0x80, &[v6]), None, "of the link alone");
    }

    #[test]
    fn a_temporary_address_is_told_as_one_and_when_each_was_made() {
        let read = |flags: u32, cache: [u32; 4]| {
            let cache = cache.map(u32::to_ne_bytes).concat();
            let attributes = [attribute(ADDRESS, &Ipv6Addr::LOCALHOST.octets()), attribute(CACHE, &cache)];
            let head = [&[10, 64, 0, 0][..], &7_u32.to_ne_bytes(), &attribute(FLAGS, &flags.to_ne_bytes())].concat();
            let entry = Entry::read(&[head, attributes.concat()].concat()).unwrap();
            (entry.kind, entry.made)
        };
        assert_eq!(read(0x01, [900, 1800, 4711, 5000]), (Kind::Temporary, Some(4711)));
        assert_eq!(read(0, [u32::MAX, u32::MAX, 4711, 5000]), (Kind::Lasting, None));
    }

    #[test]
    fn the_machine_tells_its_addresses() {
        // That of the loopback is of scope host; whatever else there is has the name of its interface.
        for found in addresses().unwrap() {
            assert!(!found.interface.is_empty() && !found.address.is_loopback(), "{found:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
            for message in Parts::messages(&bytes) {
                let _ = Entry::read(message.content);
            }
            let _ = Entry::read(&bytes);
        }
    }
}
