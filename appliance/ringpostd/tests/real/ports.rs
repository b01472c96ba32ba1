//! Ports on loopback that a test keeps for as long as it runs, also while the server that listens there is stopped.
//!
//! Tests run beside each other in processes of their own, and a port that is free now may be another test's a moment later. Each port is therefore
//! a byte of one file, and who uses the port holds the lock on that byte. The kernel gives the lock back when the file is closed, also after SIGKILL.
//! The range lies between the ports that a daemon chooses by itself (10,000 to 20,000) and those that the kernel gives to outgoing connections.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::Range;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

const RANGE: Range<u16> = 20_000..32_000;
const TRIES: usize = 1_000;

/// The ports `base + offset`, ours until this is dropped.
pub struct Ports {
    pub base: u16,
    _locks: File,
}

impl Ports {
    /// Ports at `offsets` (in ascending order) from one base.
    pub fn at(offsets: &[u16]) -> Ports {
        let last = offsets.last().copied().unwrap_or(0);
        (0..TRIES)
            .find_map(|_| Ports::try_at(fastrand::u16(RANGE.start..RANGE.end - last), offsets))
            .expect("free ports on loopback")
    }

    /// One port.
    pub fn one() -> Ports {
        Ports::at(&[0])
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.base))
    }

    fn try_at(base: u16, offsets: &[u16]) -> Option<Ports> {
        let locks = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(std::env::temp_dir().join("ringpost-test-ports"))
            .expect("a file in the temporary directory");
        let ours = offsets.iter().all(|offset| {
            let port = base + offset;
            lock(&locks, port) && is_free(port)
        });
        ours.then_some(Ports {
            base,
            _locks: locks,
        })
    }
}

/// False where another test has it.
fn lock(file: &File, port: u16) -> bool {
    let byte = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: port.into(),
        l_len: 1,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&byte)).is_ok()
}

/// For TCP and for UDP.
fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

#[test]
fn a_port_that_a_test_keeps_is_given_to_no_other() {
    let kept = Ports::at(&[0, 7]);
    assert!(Ports::try_at(kept.base, &[0]).is_none());
    assert!(Ports::try_at(kept.base + 7, &[0]).is_none());
    let base = kept.base;
    drop(kept);
    // Another test may be quicker with one of them: then the kernel has them, or it has the lock.
    let again = Ports::try_at(base, &[0, 7]);
    assert!(again.is_none_or(|again| again.base == base));
}
