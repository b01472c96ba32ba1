//! errno to blame: what the kernel says about a device, sorted by what the volume does next (DESIGN.md B3).

use device::IoFault;
use nix::errno::Errno;

/// The fault that an errno stands for. `Other` keeps the number.
pub fn of_errno(errno: i32) -> IoFault {
    match Errno::from_raw(errno) {
        // The block layer's names: EIO in general, ENODATA a medium error, EILSEQ failed protection information.
        Errno::EIO | Errno::ENODATA | Errno::EILSEQ => IoFault::Medium,
        Errno::ENODEV
        | Errno::ENXIO
        | Errno::EREMOTEIO
        | Errno::ENOLINK
        | Errno::ESHUTDOWN
        | Errno::EBADF => IoFault::Gone,
        Errno::EBADE => IoFault::Conflict,
        Errno::ENOSPC | Errno::EDQUOT => IoFault::NoSpace,
        _ => IoFault::Other(errno),
    }
}

/// The kernel asks to try again; nothing is wrong.
pub fn is_transient(errno: i32) -> bool {
    matches!(
        Errno::from_raw(errno),
        Errno::EINTR | Errno::EAGAIN | Errno::EBUSY
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_conflict_is_not_a_dead_disk() {
        assert_eq!(of_errno(Errno::EBADE as i32), IoFault::Conflict);
        assert_eq!(of_errno(Errno::EREMOTEIO as i32), IoFault::Gone);
        assert_eq!(of_errno(Errno::EIO as i32), IoFault::Medium);
        assert_eq!(of_errno(Errno::ENOSPC as i32), IoFault::NoSpace);
        assert_eq!(of_errno(Errno::EINVAL as i32), IoFault::Other(22));
    }
}
