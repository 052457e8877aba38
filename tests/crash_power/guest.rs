//! A machine that runs the server, under qemu, whose power can be cut: Debian's kernel for clouds, and as its first
//! file system `init`, busybox, the server and its libraries.

use super::common::client::{SECRET, copy_zones};
use super::common::machine::{KERNEL, Machine, find};
use super::disk::Disk;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A running machine with a server.
pub(crate) struct Guest {
    machine: Machine,
    /// Where the server answers over UDP and over TCP: ports of this host, which lead into the machine.
    pub(crate) addresses: [SocketAddr; 2],
}

/// What a machine is made of.
pub(crate) struct Parts {
    files: PathBuf,
    monitor: PathBuf,
}

/// What the server in the machine finds in the place of fdatasync.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fdatasync {
    /// The real one.
    Real,
    /// One that does nothing.
    Nothing,
    /// One that writes the pages to the disk, and leaves the disk's own cache alone.
    WithoutFlush,
}

/// How long a machine may take for its next word: without KVM, on a host that does much else.
const DEADLINE: Duration = Duration::from_secs(300);

/// What the kernel needs for its devices, where it has it as a module.
const MODULES: [&str; 9] = [
    "kernel/drivers/virtio/virtio",
    "kernel/drivers/virtio/virtio_ring",
    "kernel/drivers/virtio/virtio_pci",
    "kernel/drivers/virtio/virtio_pci_legacy_dev",
    "kernel/drivers/virtio/virtio_pci_modern_dev",
    "kernel/drivers/block/virtio_blk",
    "kernel/net/core/failover",
    "kernel/drivers/net/net_failover",
    "kernel/drivers/net/virtio_net",
];

impl Parts {
    /// Puts them together in `place`. Panics where something for it is not installed: scripts/test leaves these tests out
    /// then, and says so.
    pub(crate) fn gather(place: &Path) -> Parts {
        for tool in ["qemu-system-x86_64", "busybox", "mkfs.ext4", "strip", "cc"] {
            let found = done(Command::new("sh").args(["-c", &format!("command -v {tool}")]));
            assert!(found, "{tool} is not installed; scripts/test installs it");
        }
        let modules = find(&Path::new(KERNEL).join("lib/modules"), "");
        let modules =
            modules.unwrap_or_else(|| panic!("no modules for a guest in {KERNEL}; scripts/test puts them there"));
        let root = place.join("root");
        for folder in ["bin", "dev", "modules", "proc", "state"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash_power/init"), root.join("init")).unwrap();
        for module in MODULES {
            // Debian's later releases compress them; busybox reads both.
            let (folder, name) = module.rsplit_once('/').unwrap();
            if let Some(module) = find(&modules.join(folder), &format!("{name}.")) {
                fs::copy(&module, root.join("modules").join(module.file_name().unwrap())).unwrap();
            }
        }
        // Without its debug information it is a tenth of the size.
        let server = root.join("bin/dyndns");
        assert!(done(Command::new("strip").arg("-o").args([&server, Path::new(env!("CARGO_BIN_EXE_dyndns"))])));
        copy_zones(&root);
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/crash_power/fdatasync.c");
        for lie in ["NOTHING", "WITHOUT_FLUSH"] {
            let library = root.join(format!("{lie}.so"));
            let mut cc = Command::new("cc");
            assert!(done(cc.args(["-shared", "-fPIC", &format!("-D{lie}"), "-o"]).args([&library, &source])));
        }
        let script = r#"
            set -e
            cp "$(command -v busybox)" bin/busybox
            for library in $(ldd bin/dyndns bin/busybox 2>/dev/null | grep -o '/[^ :]* (' | tr -d '( '); do
                mkdir -p ".$(dirname "$library")"
                cp -L "$library" ".$library"
            done
            find . | busybox cpio -o -H newc >../files"#;
        assert!(done(Command::new("sh").args(["-c", script]).current_dir(&root)));
        Parts { files: place.join("files"), monitor: place.join("monitor") }
    }
}

impl Guest {
    /// Switches a machine on and waits until its server answers; the error is what it said instead.
    pub(crate) fn start(parts: &Parts, disk: &mut Disk, fdatasync: Fdatasync) -> Result<Guest, String> {
        disk.plug_in();
        // What the kernel does not know, `init` gets as variables.
        let variables = match fdatasync {
            Fdatasync::Real => "",
            Fdatasync::Nothing => "PRELOAD=/NOTHING.so",
            Fdatasync::WithoutFlush => "PRELOAD=/WITHOUT_FLUSH.so",
        };
        let words = format!("SECRET=laptop:{SECRET} {variables}");
        let monitor = format!("unix:{},server,nowait", parts.monitor.display());
        let drive = format!("file=nbd+unix:///?socket={},format=raw,if=none,id=disk", disk.socket.display());
        let network = "user,id=net,restrict=on,hostfwd=udp:127.0.0.1:0-:53,hostfwd=tcp:127.0.0.1:0-:53";
        let devices = [
            ["-monitor", &monitor],
            ["-drive", &drive],
            ["-device", "virtio-blk-pci,drive=disk"],
            ["-device", "virtio-net-pci,netdev=net"],
            ["-netdev", network],
        ];
        let machine = Machine::start(&parts.files, 256, &words, devices.as_flattened());
        if !machine.says("dyndns answers on", DEADLINE) {
            return Err(machine.log());
        }
        Ok(Guest { machine, addresses: forwarded(&parts.monitor) })
    }

    /// What the machine said.
    pub(crate) fn log(&self) -> String {
        self.machine.log()
    }

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        self.machine.kill();
    }
}

/// An empty disk's image.
pub(crate) fn formatted(place: &Path) -> Vec<u8> {
    let image = place.join("image");
    fs::File::create(&image).unwrap().set_len(96 << 20).unwrap();
    assert!(done(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image)));
    fs::read(image).unwrap()
}

/// Asks qemu's monitor which ports the system picked.
fn forwarded(monitor: &Path) -> [SocketAddr; 2] {
    let mut monitor = UnixStream::connect(monitor).unwrap();
    monitor.set_read_timeout(Some(DEADLINE)).unwrap();
    monitor.write_all(b"info usernet\n").unwrap();
    let (mut said, mut buffer) = (String::new(), [0; 4096]);
    loop {
        let length = monitor.read(&mut buffer).unwrap();
        assert!(length > 0, "the monitor ended: {said}");
        said += &String::from_utf8_lossy(&buffer[..length]);
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let port = |protocol: &str| {
            let line = whole.lines().find(|line| line.contains(&format!("{protocol}[HOST_FORWARD]")))?;
            line.split_whitespace().nth(3)?.parse::<u16>().ok()
        };
        if let (Some(udp), Some(tcp)) = (port("UDP"), port("TCP")) {
            return [udp, tcp].map(|port| (Ipv4Addr::LOCALHOST, port).into());
        }
    }
}

fn done(command: &mut Command) -> bool {
    // mkfs.ext4 is not in everybody's path.
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = command.env("PATH", path).output().unwrap();
    if !output.stderr.is_empty() {
        eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    }
    output.status.success()
}
