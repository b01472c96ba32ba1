//! One operation between `start` and its completion, with the memory the kernel is using.

use std::ops::Range;
use std::sync::Arc;

use base::units::round_down;
use device::operation::Completer;
use device::{BLOCK_BYTES, Buffer, Completion, DeviceIndex, IoFault};
use io_uring::squeue::Entry;
use io_uring::{opcode, types};
use nix::libc;

use crate::fault;
use crate::limits::RETRIES_MAX;

/// What the kernel works on. Its memory is owned here and comes back only with the completion: the kernel may write into it until then.
pub struct Flight {
    pub device: DeviceIndex,
    /// What is to be done; it keeps the buffer.
    work: Work,
    /// Bytes transferred so far.
    done: usize,
    /// Entries after the first, for a short transfer or a transient errno; at most `RETRIES_MAX`.
    retries: u32,
    completer: Completer,
}

/// An operation on one device. Positions and lengths are multiples of `BLOCK_BYTES`.
pub enum Work {
    /// `range` of `data` goes to byte `at`. `durable`: the completion means that it is on the medium (RWF_DSYNC).
    Write {
        at: u64,
        data: Arc<Buffer>,
        range: Range<usize>,
        durable: bool,
    },
    /// `bytes` from byte `at` go to the front of `into`, which comes back with the completion.
    Read { at: u64, into: Buffer, bytes: usize },
    /// Everything that was completed before is on the medium.
    Flush,
}

/// What a completion means for its flight.
pub enum Verdict {
    /// Submit `Flight::entry` once more, for what is left.
    Again,
    /// Over; the waiter gets this.
    Done(Result<(), IoFault>),
}

impl Flight {
    /// Nothing is submitted yet: `entry` gives the first entry.
    pub fn new(device: DeviceIndex, work: Work, completer: Completer) -> Flight {
        Flight {
            device,
            work,
            done: 0,
            retries: 0,
            completer,
        }
    }

    /// The entry for what is left to do. Its pointers stay good as long as this flight lives.
    pub fn entry(&mut self) -> Entry {
        let file = types::Fixed(u32::from(self.device.0));
        let done = self.done;
        match &mut self.work {
            Work::Write {
                at,
                data,
                range,
                durable,
            } => {
                let bytes = &data[range.start + done..range.end];
                let (from, count, at) = (bytes.as_ptr(), bytes.len() as u32, *at + done as u64);
                let flags = if *durable { libc::RWF_DSYNC } else { 0 };
                match data.registered() {
                    Some(slot) => opcode::WriteFixed::new(file, from, count, slot)
                        .offset(at)
                        .rw_flags(flags)
                        .build(),
                    None => opcode::Write::new(file, from, count)
                        .offset(at)
                        .rw_flags(flags)
                        .build(),
                }
            }
            Work::Read { at, into, bytes } => {
                let slot = into.registered();
                let (count, at) = ((*bytes - done) as u32, *at + done as u64);
                let to = into[done..*bytes].as_mut_ptr();
                match slot {
                    Some(slot) => opcode::ReadFixed::new(file, to, count, slot)
                        .offset(at)
                        .build(),
                    None => opcode::Read::new(file, to, count).offset(at).build(),
                }
            }
            Work::Flush => opcode::Fsync::new(file)
                .flags(types::FsyncFlags::DATASYNC)
                .build(),
        }
    }

    /// `answer` is the kernel's: bytes moved, or an errno below zero.
    pub fn on_completion(&mut self, answer: i32) -> Verdict {
        if answer < 0 {
            let errno = -answer;
            return if fault::is_transient(errno) {
                self.again(errno)
            } else {
                Verdict::Done(Err(fault::of_errno(errno)))
            };
        }
        let total = match &self.work {
            Work::Flush => return Verdict::Done(Ok(())),
            Work::Write { range, .. } => range.len(),
            Work::Read { bytes, .. } => *bytes,
        };
        let moved = answer as usize;
        assert!(
            self.done + moved <= total,
            "the kernel moved more than it was asked to"
        );
        if self.done + moved == total {
            return Verdict::Done(Ok(()));
        }
        match &self.work {
            // Past the end of the file: it was cut short under us.
            Work::Read { .. } if moved == 0 => return Verdict::Done(Err(IoFault::Gone)),
            Work::Write { .. } if moved == 0 => return Verdict::Done(Err(IoFault::NoSpace)),
            _ => {}
        }
        // Direct I/O goes on at a whole block; the part of a block already moved is moved again.
        self.done = round_down(self.done + moved, BLOCK_BYTES);
        self.again(libc::EIO)
    }

    /// One more try, unless there were `RETRIES_MAX`; then the fault of `errno`.
    fn again(&mut self, errno: i32) -> Verdict {
        self.retries += 1;
        if self.retries > RETRIES_MAX {
            return Verdict::Done(Err(fault::of_errno(errno)));
        }
        Verdict::Again
    }

    /// What the waiter gets.
    pub fn finish(self, result: Result<(), IoFault>) -> (Completer, Completion) {
        let buffer = match self.work {
            Work::Read { into, .. } => Some(into),
            Work::Write { .. } | Work::Flush => None,
        };
        (self.completer, Completion { result, buffer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use device::operation::pending;

    fn read_of(bytes: usize) -> Flight {
        let work = Work::Read {
            at: 0,
            into: Buffer::zeroed(bytes),
            bytes,
        };
        Flight::new(DeviceIndex(0), work, pending().0)
    }

    #[test]
    fn a_short_transfer_goes_on_at_a_whole_block() {
        let mut flight = read_of(5 * BLOCK_BYTES);
        assert!(matches!(
            flight.on_completion(2 * BLOCK_BYTES as i32 + 512),
            Verdict::Again
        ));
        assert_eq!(flight.done, 2 * BLOCK_BYTES);
        assert!(matches!(
            flight.on_completion(3 * BLOCK_BYTES as i32),
            Verdict::Done(Ok(()))
        ));
    }

    /// The flags of a read or write as the kernel gets them: the 32 bits at byte 28 of a submission queue entry (io_uring_enter(2)).
    #[expect(unsafe_code, reason = "the crate has no way to look into an entry")]
    fn rw_flags(entry: Entry) -> libc::c_int {
        assert_eq!(size_of::<Entry>(), 64);
        // NEEDED: an entry shows neither its flags nor its length to safe code.
        // SOUND: an entry is 64 plain bytes for the kernel (asserted above), and any bytes are a valid array of bytes.
        let bytes: [u8; 64] = unsafe { std::mem::transmute(entry) };
        libc::c_int::from_ne_bytes(bytes[28..32].try_into().unwrap())
    }

    fn write_of(durable: bool, registered: Option<u16>) -> Flight {
        let mut data = Buffer::zeroed(4 * BLOCK_BYTES);
        data.set_registered(registered);
        let work = Work::Write {
            at: 8192,
            range: 0..data.len(),
            data: Arc::new(data),
            durable,
        };
        Flight::new(DeviceIndex(0), work, pending().0)
    }

    #[test]
    fn a_durable_write_carries_dsync_also_when_it_goes_on() {
        for registered in [None, Some(3)] {
            let mut flight = write_of(true, registered);
            assert_eq!(rw_flags(flight.entry()), libc::RWF_DSYNC);
            // What is left after a short write, and after an interruption, has to be as durable as the beginning.
            let short = flight.on_completion(BLOCK_BYTES as i32);
            assert!(matches!(short, Verdict::Again));
            assert_eq!(rw_flags(flight.entry()), libc::RWF_DSYNC);
            let interrupted = flight.on_completion(-libc::EINTR);
            assert!(matches!(interrupted, Verdict::Again));
            assert_eq!(rw_flags(flight.entry()), libc::RWF_DSYNC);
        }
    }

    #[test]
    fn a_plain_write_and_a_read_carry_no_flags() {
        for registered in [None, Some(3)] {
            assert_eq!(rw_flags(write_of(false, registered).entry()), 0);
        }
        assert_eq!(rw_flags(read_of(BLOCK_BYTES).entry()), 0);
    }

    #[test]
    fn a_read_past_the_end_is_a_device_gone() {
        let mut flight = read_of(BLOCK_BYTES);
        assert!(matches!(
            flight.on_completion(0),
            Verdict::Done(Err(IoFault::Gone))
        ));
    }

    #[test]
    fn interruptions_are_not_faults_until_they_never_end() {
        let mut flight = read_of(BLOCK_BYTES);
        for _ in 0..RETRIES_MAX {
            assert!(matches!(flight.on_completion(-libc::EINTR), Verdict::Again));
        }
        assert!(matches!(
            flight.on_completion(-libc::EINTR),
            Verdict::Done(Err(_))
        ));
    }
}
