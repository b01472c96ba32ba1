//! Building the ring: the best flags this kernel knows, and one clear sentence when it knows none.

use std::io;

use io_uring::IoUring;
use nix::libc;

use crate::Misfit;
use crate::limits::{CQ_ENTRIES, SQ_ENTRIES};

/// Sets of flags, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flags {
    /// Kernel 6.1: completions are worked off only when the owner asks, on the owner's thread.
    DeferTaskrun,
    /// Kernel 6.0.
    SingleIssuer,
    /// Kernel 5.19.
    CoopTaskrun,
    /// No flags: any kernel with io_uring.
    Plain,
}

/// Every set, best first; a profile may begin at another one.
pub const FLAGS: [Flags; 4] = [
    Flags::DeferTaskrun,
    Flags::SingleIssuer,
    Flags::CoopTaskrun,
    Flags::Plain,
];

/// The first of `wanted` that the kernel accepts. Must run on the thread that will use the ring.
pub fn build(wanted: &[Flags]) -> Result<(IoUring, Flags), Misfit> {
    let mut refused = io::Error::from_raw_os_error(libc::EINVAL);
    for flags in wanted {
        match try_build(*flags) {
            Ok(ring) => return Ok((ring, *flags)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refused = error,
            Err(error) => return Err(explain(&error)),
        }
    }
    Err(explain(&refused))
}

/// Builds a ring and lets go of it: a check before anything else whether this process may have one at all.
pub fn check() -> Result<(), Misfit> {
    build(&FLAGS).map(drop)
}

/// EINVAL means that the kernel does not support these flags; every other error is final.
fn try_build(flags: Flags) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(CQ_ENTRIES).dontfork();
    match flags {
        Flags::DeferTaskrun => builder
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag(),
        Flags::SingleIssuer => builder
            .setup_submit_all()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_taskrun_flag(),
        Flags::CoopTaskrun => builder
            .setup_submit_all()
            .setup_coop_taskrun()
            .setup_taskrun_flag(),
        Flags::Plain => &mut builder,
    };
    builder.build(SQ_ENTRIES)
}

/// One sentence with the fix, from `refusal`.
fn explain(error: &io::Error) -> Misfit {
    Misfit(refusal(error))
}

/// For who runs the container.
const ALLOW: &str = "allow the system calls io_uring_setup, io_uring_enter and io_uring_register (docker: `--security-opt seccomp=FILE`, where FILE is the runtime's own profile with these three added)";

/// What is missing when the kernel refuses a ring with `error`, and how to allow it: one sentence.
pub fn refusal(error: &io::Error) -> String {
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let disabled = disabled
        .map(|text| text.trim().to_owned())
        .unwrap_or_default();
    match error.raw_os_error() {
        Some(libc::EPERM) if disabled == "1" || disabled == "2" => format!(
            "io_uring is switched off (kernel.io_uring_disabled = {disabled}); run `sysctl kernel.io_uring_disabled=0`"
        ),
        Some(libc::EPERM) => {
            format!("io_uring is forbidden to this process (a container's seccomp profile, usually): {ALLOW}")
        }
        Some(libc::ENOSYS) => format!(
            "this kernel has no io_uring (Linux 5.19 or newer is needed), or a container's seccomp profile hides it: {ALLOW}"
        ),
        Some(libc::ENOMEM) => {
            "the limit of locked memory is too small for io_uring: raise it to 8 MiB or more (`ulimit -l 8192`, memlock in /etc/security/limits.conf, LimitMEMLOCK= of a unit, `--ulimit memlock=-1` of a container)".to_owned()
        }
        Some(libc::EMFILE | libc::ENFILE) => "no file descriptor is left for io_uring; raise `ulimit -n`".to_owned(),
        _ => format!("io_uring cannot be set up: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_fix() {
        assert!(
            explain(&io::Error::from_raw_os_error(libc::ENOSYS))
                .0
                .contains("Linux 5.19")
        );
        assert!(
            explain(&io::Error::from_raw_os_error(libc::EPERM))
                .0
                .contains("io_uring")
        );
        assert!(
            explain(&io::Error::from_raw_os_error(libc::ENOMEM))
                .0
                .contains("LimitMEMLOCK")
        );
        // A filter may refuse or hide.
        for errno in [libc::EPERM, libc::ENOSYS] {
            let told = refusal(&io::Error::from_raw_os_error(errno));
            assert!(told.contains("io_uring_setup"), "{told}");
        }
    }
}
