//! An NVMe over TCP target on the host, for guests whose kernel connects to it: one subsystem, one namespace, a file below it.
//!
//! Debian packages no such target that runs without the kernel's own (nvmet), so this is one: as much of NVM Express base
//! specification 2.0 ("base"), NVM command set 1.0 ("nvm") and TCP transport 1.0 ("tcp") as Linux asks for. No authentication, no
//! reservations. What must hold: a write is answered when it is in the file; killed, nothing answers any more; back again at the
//! same port, it has every byte that it had answered for.
//!
//! Bytes come from a guest that a story may harm: what makes no sense ends the connection with an error and never with a panic.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use crate::failure::{Doing, Told};
use crate::keep;

pub const NQN: &str = "nqn.2026-11.org.example:leg-b";
pub const HOST: &str = "nqn.2026-11.org.example:box";
/// What udev calls the namespace.
pub const LEG: &str = "/dev/disk/by-id/nvme-uuid.52696e67-706f-8374-8000-00000000000b";
/// The same as the namespace tells it.
const UUID: [u8; 16] = *b"Ring\x70\x6f\x83\x74\x80\0\0\0\0\0\0\x0b";

/// Sectors, as a power of two.
const LBA_SHIFT: u32 = 9;
/// The largest command and in-capsule data (what Linux sends in the capsule of a write).
const DATA_BYTES_MAX: usize = 128 << 10;
const CAPSULE_DATA_BYTES: usize = 8 << 10;
const QUEUE_ENTRIES: u16 = 128;
const QUEUES_MAX: u32 = 8;
/// A header with its digest; nothing of a PDU's header is longer (tcp 3.6).
const HEADER_BYTES_MAX: usize = 132;

pub struct NvmeTarget {
    file: PathBuf,
    address: SocketAddr,
    running: Option<Running>,
}

struct Running {
    alive: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    thread: std::thread::JoinHandle<()>,
}

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
        for stream in running.streams.lock().expect("no holder panics").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Here again, with what it had.
    pub fn back(&mut self) -> Told<()> {
        assert!(self.running.is_none(), "one target at a time");
        let listener = TcpListener::bind(self.address).doing("the NVMe target's port")?;
        self.serve(listener)
    }

    fn serve(&mut self, listener: TcpListener) -> Told<()> {
        let disk = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.file)
            .doing(self.file.display())?;
        let bytes = disk.metadata().doing(self.file.display())?.len();
        let alive = Arc::new(AtomicBool::new(true));
        let streams = Arc::new(Mutex::new(Vec::new()));
        let (is_alive, all) = (alive.clone(), streams.clone());
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
                all.lock().expect("no holder panics").push(copy);
                let _ = stream.set_nodelay(true);
                let mut queue = Queue::new(stream, disk.clone(), bytes, controllers.clone());
                std::thread::spawn(move || {
                    // Whoever hung up has done so for a reason of its own.
                    if let Err(error) = queue.run()
                        && error.kind() == ErrorKind::InvalidData
                    {
                        eprintln!("NVMe target: {error}");
                    }
                });
            }
        });
        self.running = Some(Running {
            alive,
            streams,
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

/// One connection: the admin queue of a controller, or one of its I/O queues.
struct Queue<S> {
    stream: S,
    disk: Arc<File>,
    bytes: u64,
    controllers: Arc<AtomicU16>,
    /// Which of the two digests were agreed on.
    header_digest: bool,
    data_digest: bool,
    is_io: bool,
    controller: u16,
    /// The controller's configuration register (base 3.1.4.5).
    configuration: u32,
    head: u16,
    /// Writes whose data are on their way, by command.
    writes: BTreeMap<u16, Incoming>,
}

struct Incoming {
    at: u64,
    data: Vec<u8>,
    missing: usize,
}

/// A command as it lies in the submission queue (base 3.3.3.1).
struct Command<'a>(&'a [u8]);

/// What is answered: eight bytes of result, and a status (base 3.3.3.2.1).
struct Answer {
    result: u64,
    status: u16,
}

const GOOD: Answer = Answer {
    result: 0,
    status: 0,
};
/// Status codes, with "do not retry" (base 3.3.3.2.1, figure 101).
const DNR: u16 = 0x4000;
const INVALID_OPCODE: u16 = 0x01 | DNR;
const INVALID_FIELD: u16 = 0x02 | DNR;
const INTERNAL: u16 = 0x06;
const OUT_OF_RANGE: u16 = 0x80 | DNR;
/// Connect: no such subsystem or controller (base 6.3, figure 545).
const CONNECT_INVALID: u16 = 0x182 | DNR;

fn refused(status: u16) -> Answer {
    Answer { result: 0, status }
}

// PDU types and flags (tcp 3.6.1).
const IC_REQ: u8 = 0x00;
const IC_RESP: u8 = 0x01;
const TERMINATED: u8 = 0x02;
const COMMAND: u8 = 0x04;
const RESPONSE: u8 = 0x05;
const FROM_HOST: u8 = 0x06;
const TO_HOST: u8 = 0x07;
const READY_TO_TRANSFER: u8 = 0x09;
const HAS_HEADER_DIGEST: u8 = 1;
const HAS_DATA_DIGEST: u8 = 2;
const LAST_DATA: u8 = 4;

impl<S: Read + Write> Queue<S> {
    fn new(stream: S, disk: Arc<File>, bytes: u64, controllers: Arc<AtomicU16>) -> Queue<S> {
        Queue {
            stream,
            disk,
            bytes,
            controllers,
            header_digest: false,
            data_digest: false,
            is_io: false,
            controller: 0,
            configuration: 0,
            head: 0,
            writes: BTreeMap::new(),
        }
    }

    fn run(&mut self) -> io::Result<()> {
        self.agree()?;
        loop {
            // until the host hangs up
            let (header, data) = self.receive()?;
            match header[0] {
                COMMAND => self.command(&header[8..72], data)?,
                FROM_HOST => self.take_in(&header, data)?,
                TERMINATED => return Ok(()),
                other => return Err(wrong(format!("a PDU of type {other:#x}"))),
            }
        }
    }

    /// tcp 3.6.2.1: the first PDU each way, without digests.
    fn agree(&mut self) -> io::Result<()> {
        let mut request = [0; 128];
        self.stream.read_exact(&mut request)?;
        if request[0] != IC_REQ {
            return Err(wrong("no ICReq".into()));
        }
        self.header_digest = request[11] & 1 != 0;
        self.data_digest = request[11] & 2 != 0;
        let mut response = [0; 128];
        response[0] = IC_RESP;
        response[2] = 128;
        response[4] = 128;
        response[11] = request[11] & 3;
        response[12..16].copy_from_slice(&(DATA_BYTES_MAX as u32).to_le_bytes());
        self.stream.write_all(&response)
    }

    /// A whole PDU: its header without digest, and its data, both checked.
    fn receive(&mut self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let mut header = vec![0; 8];
        self.stream.read_exact(&mut header)?;
        let (length, total) = (usize::from(header[2]), le32(&header, 4) as usize);
        if !(24..HEADER_BYTES_MAX).contains(&length) || (header[0] == COMMAND && length != 72) {
            return Err(wrong(format!("a header of {length} bytes")));
        }
        header.resize(length, 0);
        self.stream.read_exact(&mut header[8..])?;
        let mut at = length;
        if self.header_digest {
            self.check(&header, "header")?;
            at += 4;
        }
        let begin = match header[3] {
            0 => at,
            begin => usize::from(begin),
        };
        let trailer = if self.data_digest { 4 } else { 0 };
        if total <= at {
            return Ok((header, Vec::new()));
        }
        let size = total.checked_sub(begin.max(at) + trailer);
        let size = size.filter(|size| *size <= DATA_BYTES_MAX);
        let size = size.ok_or_else(|| wrong(format!("a PDU of {total} bytes")))?;
        let mut padding = vec![0; begin.saturating_sub(at)];
        self.stream.read_exact(&mut padding)?;
        let mut data = vec![0; size];
        self.stream.read_exact(&mut data)?;
        if self.data_digest {
            self.check(&data, "data")?;
        }
        Ok((header, data))
    }

    fn check(&mut self, bytes: &[u8], what: &str) -> io::Result<()> {
        let mut digest = [0; 4];
        self.stream.read_exact(&mut digest)?;
        match u32::from_le_bytes(digest) == crc32c(bytes) {
            true => Ok(()),
            false => Err(wrong(format!("the {what} digest differs"))),
        }
    }

    fn send(&mut self, kind: u8, flags: u8, rest: &[u8], data: &[u8]) -> io::Result<()> {
        let header = 8 + rest.len();
        let with_digest = header + if self.header_digest { 4 } else { 0 };
        let trailer = if self.data_digest && !data.is_empty() {
            4
        } else {
            0
        };
        let mut pdu = vec![kind, flags, header as u8, 0];
        if self.header_digest {
            pdu[1] |= HAS_HEADER_DIGEST;
        }
        if !data.is_empty() {
            pdu[3] = with_digest as u8;
        }
        if trailer > 0 {
            pdu[1] |= HAS_DATA_DIGEST;
        }
        let total = with_digest + data.len() + trailer;
        pdu.extend((total as u32).to_le_bytes());
        pdu.extend(rest);
        if self.header_digest {
            pdu.extend(crc32c(&pdu).to_le_bytes());
        }
        pdu.extend(data);
        if trailer > 0 {
            pdu.extend(crc32c(data).to_le_bytes());
        }
        self.stream.write_all(&pdu)
    }

    fn answer(&mut self, id: u16, answer: &Answer) -> io::Result<()> {
        self.head = (self.head + 1) % QUEUE_ENTRIES;
        let mut entry = [0; 16];
        entry[..8].copy_from_slice(&answer.result.to_le_bytes());
        entry[8..10].copy_from_slice(&self.head.to_le_bytes());
        entry[12..14].copy_from_slice(&id.to_le_bytes());
        entry[14..].copy_from_slice(&(answer.status << 1).to_le_bytes());
        self.send(RESPONSE, 0, &entry, &[])
    }

    /// Data for the host, then the answer (tcp 3.3.2.1).
    fn answer_with(&mut self, id: u16, data: &[u8]) -> io::Result<()> {
        let mut rest = [0; 16];
        rest[..2].copy_from_slice(&id.to_le_bytes());
        rest[8..12].copy_from_slice(&(data.len() as u32).to_le_bytes());
        self.send(TO_HOST, LAST_DATA, &rest, data)?;
        self.answer(id, &GOOD)
    }

    fn command(&mut self, bytes: &[u8], data: Vec<u8>) -> io::Result<()> {
        let command = Command(bytes);
        let id = command.id();
        if command.opcode() == 0x7f {
            let answer = self.fabrics(&command, &data);
            return self.answer(id, &answer);
        }
        if self.is_io {
            return self.io(&command, data);
        }
        match self.admin(&command) {
            Admin::Answer(answer) => self.answer(id, &answer),
            Admin::Data(mut page) => {
                page.resize(command.length().min(DATA_BYTES_MAX), 0);
                self.answer_with(id, &page)
            }
            Admin::Never => Ok(()),
        }
    }

    /// base 6: what sets a connection up.
    fn fabrics(&mut self, command: &Command<'_>, data: &[u8]) -> Answer {
        let bytes = command.0;
        match bytes[4] {
            // Connect (base 6.3).
            0x01 if data.len() == 1024 => {
                let name = |at: usize| {
                    let text = data[at..at + 256].split(|byte| *byte == 0).next();
                    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
                };
                if name(256) != NQN || name(512) != HOST {
                    eprintln!("NVMe target: {} asks for {}", name(512), name(256));
                    return refused(CONNECT_INVALID);
                }
                self.is_io = le16(bytes, 42) != 0;
                self.controller = match self.is_io {
                    true => le16(data, 16),
                    false => self.controllers.fetch_add(1, Ordering::SeqCst),
                };
                Answer {
                    result: u64::from(self.controller),
                    status: 0,
                }
            }
            // Property Set (base 6.6): the configuration register alone is written.
            0x00 if le32(bytes, 44) == 0x14 => {
                self.configuration = le32(bytes, 48);
                GOOD
            }
            // Property Get (base 6.5).
            0x04 => match le32(bytes, 44) {
                0x00 => Answer {
                    // Entries less one, contiguous, ten seconds, the NVM command set (base 3.1.4.1).
                    result: u64::from(QUEUE_ENTRIES - 1) | 1 << 16 | 20 << 24 | 1 << 37,
                    status: 0,
                },
                0x08 => Answer {
                    result: u64::from(VERSION),
                    status: 0,
                },
                0x14 => Answer {
                    result: u64::from(self.configuration),
                    status: 0,
                },
                0x1c => {
                    let ready = self.configuration & 1;
                    let ended = if self.configuration >> 14 & 3 != 0 {
                        2 << 2
                    } else {
                        0
                    };
                    Answer {
                        result: u64::from(ready | ended),
                        status: 0,
                    }
                }
                _ => refused(INVALID_FIELD),
            },
            _ => refused(INVALID_FIELD),
        }
    }

    fn admin(&mut self, command: &Command<'_>) -> Admin {
        let word = le32(command.0, 40);
        match command.opcode() {
            0x06 => match (word & 0xff, le32(command.0, 4)) {
                (0x01, _) => Admin::Data(self.identify_controller()),
                (0x00, 1) => Admin::Data(self.identify_namespace()),
                (0x00, _) => Admin::Data(vec![0; 4096]),
                (0x02, after) => Admin::Data(if after < 1 { vec![1] } else { vec![0] }),
                (0x03, 1) => Admin::Data([&[3, 16, 0, 0], &UUID[..]].concat()),
                _ => Admin::Answer(refused(INVALID_FIELD)),
            },
            // Get Log Page: nothing to report.
            0x02 => Admin::Data(Vec::new()),
            // Set Features: the number of queues is answered, everything else is taken.
            0x09 if word & 0xff == 0x07 => {
                let wanted = (le32(command.0, 44) & 0xffff).min(QUEUES_MAX - 1);
                Admin::Answer(Answer {
                    result: u64::from(wanted | wanted << 16),
                    status: 0,
                })
            }
            0x09 | 0x0a | 0x18 => Admin::Answer(GOOD),
            // Abort: it was not.
            0x08 => Admin::Answer(Answer {
                result: 1,
                status: 0,
            }),
            // Asynchronous Event Request: there never is one.
            0x0c => Admin::Never,
            _ => Admin::Answer(refused(INVALID_OPCODE)),
        }
    }

    /// base 5.17.2.1, figure 276.
    fn identify_controller(&self) -> Vec<u8> {
        let mut page = vec![0; 4096];
        let text = |page: &mut [u8], at: usize, bytes: usize, text: &str| {
            page[at..at + bytes].fill(b' ');
            page[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        text(&mut page, 4, 20, "leg-b");
        text(&mut page, 24, 40, "Ringpost story");
        text(&mut page, 64, 8, "1");
        page[76] = 2; // several controllers may be there: paths are joined
        page[77] = 5; // 32 pages of 4 KiB: DATA_BYTES_MAX
        page[78..80].copy_from_slice(&self.controller.to_le_bytes());
        page[80..84].copy_from_slice(&VERSION.to_le_bytes());
        page[259] = 3;
        page[320..322].copy_from_slice(&10u16.to_le_bytes()); // keep-alive in steps of a second
        page[512] = 0x66;
        page[513] = 0x44;
        page[514..516].copy_from_slice(&QUEUE_ENTRIES.to_le_bytes());
        page[516..520].copy_from_slice(&1u32.to_le_bytes());
        page[525] = 1; // a volatile cache: flushes are sent
        page[536..540].copy_from_slice(&(1u32 | 1 << 20).to_le_bytes());
        page[768..768 + NQN.len()].copy_from_slice(NQN.as_bytes());
        let capsule = (64 + CAPSULE_DATA_BYTES as u32) / 16;
        page[1792..1796].copy_from_slice(&capsule.to_le_bytes());
        page[1796..1800].copy_from_slice(&1u32.to_le_bytes());
        page[1803] = 1;
        page
    }

    /// nvm 4.1.5.1, figure 97.
    fn identify_namespace(&self) -> Vec<u8> {
        let mut page = vec![0; 4096];
        let blocks = (self.bytes >> LBA_SHIFT).to_le_bytes();
        for at in [0, 8, 16] {
            page[at..at + 8].copy_from_slice(&blocks);
        }
        page[30] = 1; // reached by several controllers
        page[128..132].copy_from_slice(&(LBA_SHIFT << 16).to_le_bytes());
        page
    }

    fn io(&mut self, command: &Command<'_>, data: Vec<u8>) -> io::Result<()> {
        let id = command.id();
        match command.opcode() {
            0x00 => {
                let answer = match self.disk.sync_data() {
                    Ok(()) => GOOD,
                    Err(_) => refused(INTERNAL),
                };
                self.answer(id, &answer)
            }
            opcode @ (0x01 | 0x02) => {
                let size = (usize::from(le16(command.0, 48)) + 1) << LBA_SHIFT;
                let at = le64(command.0, 40).checked_mul(1 << LBA_SHIFT);
                let fits = |at: &u64| {
                    size <= DATA_BYTES_MAX
                        && at
                            .checked_add(size as u64)
                            .is_some_and(|end| end <= self.bytes)
                };
                let Some(at) = at.filter(fits) else {
                    return self.answer(id, &refused(OUT_OF_RANGE));
                };
                match opcode {
                    0x02 => self.read(id, at, size),
                    _ if data.len() == size => self.write(id, at, &data),
                    _ if data.is_empty() => self.ask_for(id, at, size),
                    _ => self.answer(id, &refused(INVALID_FIELD)),
                }
            }
            _ => self.answer(id, &refused(INVALID_OPCODE)),
        }
    }

    fn read(&mut self, id: u16, at: u64, size: usize) -> io::Result<()> {
        let mut data = vec![0; size];
        match self.disk.read_exact_at(&mut data, at) {
            Ok(()) => self.answer_with(id, &data),
            Err(_) => self.answer(id, &refused(INTERNAL)),
        }
    }

    fn write(&mut self, id: u16, at: u64, data: &[u8]) -> io::Result<()> {
        let answer = match self.disk.write_all_at(data, at) {
            Ok(()) => GOOD,
            Err(_) => refused(INTERNAL),
        };
        self.answer(id, &answer)
    }

    /// Ready to transfer, the whole of it at once (tcp 3.3.2.2).
    fn ask_for(&mut self, id: u16, at: u64, size: usize) -> io::Result<()> {
        let incoming = Incoming {
            at,
            data: vec![0; size],
            missing: size,
        };
        if self.writes.insert(id, incoming).is_some() {
            return Err(wrong(format!("command {id} is under way already")));
        }
        let mut rest = [0; 16];
        rest[..2].copy_from_slice(&id.to_le_bytes());
        rest[2..4].copy_from_slice(&id.to_le_bytes());
        rest[8..12].copy_from_slice(&(size as u32).to_le_bytes());
        self.send(READY_TO_TRANSFER, 0, &rest, &[])
    }

    fn take_in(&mut self, header: &[u8], data: Vec<u8>) -> io::Result<()> {
        let id = le16(header, 10);
        let at = le32(header, 12) as usize;
        let incoming = self.writes.get_mut(&id);
        let place = incoming.and_then(|incoming| {
            let place = incoming.data.get_mut(at..at.checked_add(data.len())?)?;
            place.copy_from_slice(&data);
            incoming.missing = incoming.missing.checked_sub(data.len())?;
            Some(incoming.missing)
        });
        match place {
            None => Err(wrong(format!(
                "data that nobody asked for, of command {id}"
            ))),
            Some(0) => {
                let whole = self.writes.remove(&id).expect("it was just found");
                self.write(id, whole.at, &whole.data)
            }
            Some(_) => Ok(()),
        }
    }
}

enum Admin {
    Answer(Answer),
    /// Cut or filled up with zeros to what the host has room for.
    Data(Vec<u8>),
    Never,
}

impl Command<'_> {
    fn opcode(&self) -> u8 {
        self.0[0]
    }

    fn id(&self) -> u16 {
        le16(self.0, 2)
    }

    /// Of the data, as its descriptor says (base 4.1.2).
    fn length(&self) -> usize {
        le32(self.0, 32) as usize
    }
}

/// 1.3: the first whose namespaces say their UUID.
const VERSION: u32 = 0x0001_0300;

fn wrong(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|index| bytes[at + index]))
}

/// Castagnoli's CRC-32, of both digests.
fn crc32c(bytes: &[u8]) -> u32 {
    static TABLE: std::sync::LazyLock<[u32; 256]> = std::sync::LazyLock::new(|| {
        std::array::from_fn(|index| {
            (0..8).fold(index as u32, |crc, _| {
                crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 }
            })
        })
    });
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7143 §A.4: 32 bytes of zeros, and 0 to 31.
    #[test]
    fn digests_are_castagnolis() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&rising), 0x46dd_794e);
    }

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
        assert_eq!((answer[0], answer[11]), (IC_RESP, 3));
        target.kill();
        assert!(hello(port).is_err());
        target.back().expect("again");
        assert!(hello(port).is_ok());
    }
}
