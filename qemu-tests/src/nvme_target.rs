//! An NVMe over TCP target on the host, for guests whose kernel connects to it: one subsystem, one namespace, a file below it.
//!
//! Debian packages no such target that runs without the kernel's own (nvmet), so this is one: as much of NVM Express base
//! specification 2.0 ("base"), NVM command set 1.0 ("nvm") and TCP transport 1.0 ("tcp") as Linux asks for. No authentication, no
//! reservations. What must hold: a write is answered when it is in the file; killed, nothing answers any more; back again at the
//! same port, it has every byte that it had answered for.
//!
//! Bytes come from a guest that a story may harm: what makes no sense ends the connection with an error and never with a panic.

mod answer;
mod command;
mod queue;

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crate::failure::{Doing, Told};
use crate::keep;
use queue::Queue;

/// The subsystem's name.
pub const NQN: &str = "nqn.2026-11.org.example:leg-b";
/// The name of the host that may connect.
pub const HOST: &str = "nqn.2026-11.org.example:box";
/// What udev calls the namespace.
pub const LEG: &str = "/dev/disk/by-id/nvme-uuid.52696e67-706f-8374-8000-00000000000b";
/// The same as the namespace tells it.
const UUID: [u8; 16] = *b"Ring\x70\x6f\x83\x74\x80\0\0\0\0\0\0\x0b";

/// Sectors, as a power of two.
const LBA_SHIFT: u32 = 9;
/// The largest command and in-capsule data (what Linux sends in the capsule of a write).
const DATA_BYTES_MAX: usize = 128 << 10;
/// Data that a write may have in its capsule.
const CAPSULE_DATA_BYTES: usize = 8 << 10;
/// Commands on their way in one queue.
const QUEUE_ENTRIES: u16 = 128;
/// I/O queues of one controller.
const QUEUES_MAX: u32 = 8;
/// A header with its digest; nothing of a PDU's header is longer (tcp 3.6).
const HEADER_BYTES_MAX: usize = 132;

/// The target, and the file that outlives it.
pub struct NvmeTarget {
    /// What the namespace is stored in.
    file: PathBuf,
    /// Where it listens; the same after `back`.
    address: SocketAddr,
    /// `None`: it was killed.
    running: Option<Running>,
}

/// The threads of a target that answers.
struct Running {
    /// `false`: it takes no more connections.
    alive: Arc<AtomicBool>,
    /// Every connection that was taken.
    connections: Arc<Mutex<Vec<Connection>>>,
    /// The one that takes them.
    thread: JoinHandle<()>,
}

/// To be shut, and waited for.
type Connection = (TcpStream, JoinHandle<()>);

impl NvmeTarget {
    /// A blank namespace of `bytes` in `directory`, on a free port of loopback.
    pub fn start(directory: &Path, bytes: u64) -> Told<NvmeTarget> {
        let file = directory.join("namespace.raw");
        keep::blank(&file, bytes)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("an NVMe target")?;
        let mut target = NvmeTarget {
            file,
            address: listener.local_addr().doing("an NVMe target")?,
            running: None,
        };
        target.serve(listener)?;
        Ok(target)
    }

    /// The port that guests connect to.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Gone in the middle of whatever it was doing.
    pub fn kill(&mut self) {
        let Some(running) = self.running.take() else {
            return;
        };
        running.alive.store(false, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        let _ = running.thread.join();
        let connections =
            std::mem::take(&mut *running.connections.lock().expect("no holder panics"));
        for (stream, _) in &connections {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Until each has let go: what it still wrote later would lie over what is written once we are back.
        for (_, thread) in connections {
            let _ = thread.join();
        }
    }

    /// Here again, with what it had.
    pub fn back(&mut self) -> Told<()> {
        assert!(self.running.is_none(), "one target at a time");
        let listener = TcpListener::bind(self.address).doing("the NVMe target's port")?;
        self.serve(listener)
    }

    /// Takes connections from now on, each in a thread.
    fn serve(&mut self, listener: TcpListener) -> Told<()> {
        let disk = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.file)
            .doing(self.file.display())?;
        let bytes = disk.metadata().doing(self.file.display())?.len();
        let alive = Arc::new(AtomicBool::new(true));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (is_alive, all) = (alive.clone(), connections.clone());
        let thread = std::thread::spawn(move || {
            let controllers = Arc::new(AtomicU16::new(1));
            let disk = Arc::new(disk);
            for stream in listener.incoming() {
                if !is_alive.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let Ok(copy) = stream.try_clone() else {
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let mut queue = Queue::new(stream, disk.clone(), bytes, controllers.clone());
                let thread = std::thread::spawn(move || {
                    // Whoever hung up has done so for a reason of its own.
                    if let Err(error) = queue.run()
                        && error.kind() == ErrorKind::InvalidData
                    {
                        eprintln!("NVMe target: {error}");
                    }
                });
                all.lock().expect("no holder panics").push((copy, thread));
            }
        });
        self.running = Some(Running {
            alive,
            connections,
            thread,
        });
        Ok(())
    }
}

impl Drop for NvmeTarget {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};

    use super::*;

    #[test]
    fn the_namespace_is_called_what_it_says() {
        let hex: String = UUID.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            LEG.rsplit('.').next().map(|uuid| uuid.replace('-', "")),
            Some(hex)
        );
    }

    #[test]
    fn a_target_that_was_killed_answers_nobody_until_it_is_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut target = NvmeTarget::start(directory.path(), 1 << 20).expect("a target");
        let hello = |port: u16| -> io::Result<[u8; 128]> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
            let mut request = [0; 128];
            request[2] = 128;
            request[4] = 128;
            request[11] = 3;
            stream.write_all(&request)?;
            stream.read_exact(&mut request)?;
            Ok(request)
        };
        let port = target.port();
        let answer = hello(port).expect("it answers");
        assert_eq!((answer[0], answer[11]), (queue::IC_RESP, 3));
        target.kill();
        assert!(hello(port).is_err());
        target.back().expect("again");
        assert!(hello(port).is_ok());
    }
}
