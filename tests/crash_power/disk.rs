//! A disk with a volatile write cache, as an NBD server on a unix socket, for a machine whose power is cut.
//!
//! What was written lies in the cache until a flush is asked for, as in a real disk. When the power is cut, each sector
//! of the cache is on the disk or lost, by chance.

use super::common::load::Dice;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// The disk. It outlives the machines that it is plugged into, one after the other.
pub(crate) struct Disk {
    /// Where its server listens.
    pub(crate) socket: PathBuf,
    listener: UnixListener,
    platter: Arc<Mutex<Platter>>,
    serving: Option<JoinHandle<()>>,
}

struct Platter {
    durable: Vec<u8>,
    /// Written and not flushed, by sector.
    cache: BTreeMap<usize, [u8; SECTOR]>,
    dice: Dice,
    flushes: u32,
}

const SECTOR: usize = 512;

impl Disk {
    /// A disk that holds `image`.
    pub(crate) fn new(image: Vec<u8>, socket: &Path) -> Disk {
        let platter = Platter { durable: image, cache: BTreeMap::new(), dice: Dice(2136), flushes: 0 };
        Disk {
            socket: socket.to_path_buf(),
            listener: UnixListener::bind(socket).unwrap(),
            platter: Arc::new(Mutex::new(platter)),
            serving: None,
        }
    }

    /// Waits for a machine, and serves it until it is gone.
    pub(crate) fn plug_in(&mut self) {
        let (listener, platter) = (self.listener.try_clone().unwrap(), Arc::clone(&self.platter));
        self.serving = Some(thread::spawn(move || {
            let (machine, _) = listener.accept().unwrap();
            // The machine is killed at any moment: in the midst of a request, too.
            let _ = serve(machine, &platter);
        }));
    }

    /// Loses by chance what is in the cache; the machine must be gone. Tells how many sectors were in it, and how
    /// many flushes the disk has had.
    pub(crate) fn cut(&mut self) -> (usize, u32) {
        self.serving.take().unwrap().join().unwrap();
        let mut platter = self.platter.lock().unwrap();
        let cache = std::mem::take(&mut platter.cache);
        let lots = cache.len();
        for (sector, octets) in cache {
            if platter.dice.below(2) == 0 {
                platter.durable[sector * SECTOR..][..SECTOR].copy_from_slice(&octets);
            }
        }
        (lots, platter.flushes)
    }
}

impl Platter {
    fn read(&self, at: usize, length: usize) -> Vec<u8> {
        let mut octets = self.durable[at..at + length].to_vec();
        for (sector, cached) in self.cache.range(at / SECTOR..(at + length) / SECTOR) {
            octets[sector * SECTOR - at..][..SECTOR].copy_from_slice(cached);
        }
        octets
    }

    fn write(&mut self, at: usize, octets: &[u8]) {
        for (sector, part) in (at / SECTOR..).zip(octets.chunks_exact(SECTOR)) {
            self.cache.insert(sector, part.try_into().unwrap());
        }
    }

    fn flush(&mut self) {
        self.flushes += 1;
        for (sector, octets) in std::mem::take(&mut self.cache) {
            self.durable[sector * SECTOR..][..SECTOR].copy_from_slice(&octets);
        }
    }
}

/// The NBD protocol, as far as qemu speaks it: the export without a name, one request after the other, no FUA, so that
/// whatever is to last comes with a flush.
fn serve(mut machine: UnixStream, platter: &Mutex<Platter>) -> io::Result<()> {
    const OPTION: &[u8; 8] = b"IHAVEOPT";
    const GO: u32 = 7;
    machine.write_all(&[b"NBDMAGIC", &OPTION[..], &[0, 3]].concat())?;
    machine.read_exact(&mut [0; 4])?;
    loop {
        machine.read_exact(&mut [0; OPTION.len()])?;
        let (option, length) = (u32_from(&mut machine)?, u32_from(&mut machine)?);
        machine.read_exact(&mut vec![0; length as usize])?;
        let mut reply = |kind: u32, octets: &[u8]| {
            let header = [&0x0003_e889_0455_65a9_u64.to_be_bytes()[..], &option.to_be_bytes(), &kind.to_be_bytes()];
            let length = u32::try_from(octets.len()).unwrap().to_be_bytes();
            machine.write_all(&[&header.concat()[..], &length, octets].concat())
        };
        if option == GO {
            let size = platter.lock().unwrap().durable.len() as u64;
            // What the export is: its size, and that it has flags and takes flushes; then the end of the options.
            reply(3, &[&[0, 0][..], &size.to_be_bytes(), &[0, 1 | 4]].concat())?;
            reply(1, &[])?;
            break;
        }
        reply(0x8000_0001, &[])?;
    }
    loop {
        let mut request = [0; 28];
        machine.read_exact(&mut request)?;
        assert_eq!(&request[..4], [0x25, 0x60, 0x95, 0x13], "no NBD request");
        let at = usize::try_from(u64::from_be_bytes(request[16..24].try_into().unwrap())).unwrap();
        let length = u32::from_be_bytes(request[24..].try_into().unwrap()) as usize;
        let mut answer = [&[0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0], &request[8..16]].concat();
        match request[7] {
            0 => answer.extend(platter.lock().unwrap().read(at, length)),
            1 => {
                let mut octets = vec![0; length];
                machine.read_exact(&mut octets)?;
                platter.lock().unwrap().write(at, &octets);
            }
            2 => return Ok(()),
            3 => platter.lock().unwrap().flush(),
            other => panic!("request {other} was not offered"),
        }
        machine.write_all(&answer)?;
    }
}

fn u32_from(machine: &mut UnixStream) -> io::Result<u32> {
    let mut octets = [0; 4];
    machine.read_exact(&mut octets)?;
    Ok(u32::from_be_bytes(octets))
}
