//! What the target's commands do: those that connect, those of the administrator, and reads and writes.

use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use super::answer::*;
use super::queue::{Incoming, Queue, READY_TO_TRANSFER, le16, le32, le64, wrong};
use super::{
    CAPSULE_DATA_BYTES, DATA_BYTES_MAX, HOST, LBA_SHIFT, NQN, QUEUE_ENTRIES, QUEUES_MAX, UUID,
};

/// A command as it lies in the submission queue (base 3.3.3.1).
pub(super) struct Command<'a>(&'a [u8]);

impl<S: Read + Write> Queue<S> {
    pub(super) fn command(&mut self, bytes: &[u8], data: Vec<u8>) -> io::Result<()> {
        let command = Command(bytes);
        let id = command.id();
        // Fabrics commands come on both kinds of queue: the first one of a connection says which kind it is.
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
    pub(super) fn fabrics(&mut self, command: &Command<'_>, data: &[u8]) -> Answer {
        let bytes = command.0;
        match bytes[4] {
            // Connect (base 6.3).
            0x01 if data.len() == 1024 => {
                let name = |at: usize| {
                    let text = data[at..at + 256].split(|byte| *byte == 0).next();
                    String::from_utf8_lossy(text.unwrap_or_default()).into_owned()
                };
                // Refused by name and not by address, as an array does.
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

    pub(super) fn admin(&mut self, command: &Command<'_>) -> Admin {
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
    pub(super) fn identify_controller(&self) -> Vec<u8> {
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
    pub(super) fn identify_namespace(&self) -> Vec<u8> {
        let mut page = vec![0; 4096];
        let blocks = (self.bytes >> LBA_SHIFT).to_le_bytes();
        for at in [0, 8, 16] {
            page[at..at + 8].copy_from_slice(&blocks);
        }
        page[30] = 1; // reached by several controllers
        page[128..132].copy_from_slice(&(LBA_SHIFT << 16).to_le_bytes());
        page
    }

    pub(super) fn io(&mut self, command: &Command<'_>, data: Vec<u8>) -> io::Result<()> {
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

    pub(super) fn read(&mut self, id: u16, at: u64, size: usize) -> io::Result<()> {
        let mut data = vec![0; size];
        match self.disk.read_exact_at(&mut data, at) {
            Ok(()) => self.answer_with(id, &data),
            Err(_) => self.answer(id, &refused(INTERNAL)),
        }
    }

    pub(super) fn write(&mut self, id: u16, at: u64, data: &[u8]) -> io::Result<()> {
        let answer = match self.disk.write_all_at(data, at) {
            Ok(()) => GOOD,
            Err(_) => refused(INTERNAL),
        };
        self.answer(id, &answer)
    }

    /// Ready to transfer, the whole of it at once (tcp 3.3.2.2).
    pub(super) fn ask_for(&mut self, id: u16, at: u64, size: usize) -> io::Result<()> {
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

    pub(super) fn take_in(&mut self, header: &[u8], data: Vec<u8>) -> io::Result<()> {
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
                "data that was not requested, of command {id}"
            ))),
            Some(0) => {
                let whole = self.writes.remove(&id).expect("it was just found");
                self.write(id, whole.at, &whole.data)
            }
            Some(_) => Ok(()),
        }
    }
}

pub(super) enum Admin {
    Answer(Answer),
    /// Cut or filled up with zeros to what the host has room for.
    Data(Vec<u8>),
    Never,
}

impl Command<'_> {
    pub(super) fn opcode(&self) -> u8 {
        self.0[0]
    }

    pub(super) fn id(&self) -> u16 {
        le16(self.0, 2)
    }

    /// Of the data, as its descriptor says (base 4.1.2).
    pub(super) fn length(&self) -> usize {
        le32(self.0, 32) as usize
    }
}

/// 1.3: the first whose namespaces say their UUID.
pub(super) const VERSION: u32 = 0x0001_0300;
