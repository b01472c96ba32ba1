//! What this process may use, asked for and looked at before anything is opened: open files, locked memory, CPUs, io_uring.
//!
//! Limits are raised as far as the kernel lets us; what could not be raised is logged with its consequence. Everything else that a
//! daemon may do is limited by its systemd unit.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limits to the hard ones (and the hard ones too, where that is allowed): `open_files_wanted` descriptors, and
/// as much locked memory as there is. What came of it `open_files_max` says.
pub fn raise_limits(open_files_wanted: u64) {
    if let Err(error) = raise(Resource::RLIMIT_NOFILE, open_files_wanted) {
        tracing::warn!(%error, "cannot raise the limit of open files; fewer connections will fit");
    }
    // Registered buffers count here on older kernels; `uring` steps down to plain ones where this does not suffice.
    let _ = raise(Resource::RLIMIT_MEMLOCK, u64::MAX);
}

fn raise(resource: Resource, wanted: u64) -> nix::Result<()> {
    let (soft, hard) = getrlimit(resource)?;
    if soft >= wanted {
        return Ok(());
    }
    if hard < wanted && setrlimit(resource, wanted, wanted).is_ok() {
        return Ok(());
    }
    setrlimit(resource, wanted.min(hard), hard)
}

/// Keeps the calling thread, and those that it starts, to these CPUs. None means any: nothing is changed. Where that cannot be, it runs
/// unpinned, and the answer says why.
pub fn keep_to(cpus: &[usize]) -> Result<(), String> {
    if cpus.is_empty() {
        return Ok(());
    }
    let kept = set_affinity(cpus);
    kept.map_err(|error| {
        format!(
            "cannot keep this thread to the housekeeping CPUs {cpus:?}: {error}; it runs unpinned"
        )
    })
}

/// Keeps the calling thread to these CPUs.
pub(crate) fn set_affinity(cpus: &[usize]) -> nix::Result<()> {
    let mut set = nix::sched::CpuSet::new();
    for cpu in cpus {
        set.set(*cpu)?;
    }
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set)
}

/// Descriptors this process may open.
pub fn open_files_max() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft)
}

/// Why io_uring cannot work here, when the kernel says so; with the fix.
pub fn io_uring_refusal() -> Option<String> {
    let setting = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    refusal(setting.trim(), nix::unistd::geteuid().is_root())
}

fn refusal(setting: &str, root: bool) -> Option<String> {
    let fix = "allow it with `sysctl -w kernel.io_uring_disabled=0`";
    match setting {
        "2" => Some(format!(
            "the kernel has io_uring switched off (kernel.io_uring_disabled = 2): {fix}"
        )),
        "1" if !root => Some(format!(
            "the kernel keeps io_uring from ordinary users (kernel.io_uring_disabled = 1): {fix}, or run as root"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_io_uring_is_named_with_its_fix() {
        assert_eq!(refusal("0", false), None);
        assert_eq!(refusal("1", true), None);
        assert!(refusal("1", false).is_some_and(|told| told.contains("sysctl")));
        assert!(refusal("2", true).is_some_and(|told| told.contains("sysctl")));
    }

    #[test]
    fn a_thread_kept_to_one_cpu_starts_threads_that_are_kept_there() {
        use nix::sched::{CpuSet, sched_getaffinity};
        use nix::unistd::Pid;
        let mine = || sched_getaffinity(Pid::from_raw(0)).expect("readable");
        let first = |set: &CpuSet| (0..CpuSet::count()).find(|cpu| set.is_set(*cpu) == Ok(true));
        let kept = std::thread::spawn(move || {
            keep_to(&[]).expect("nothing to do");
            let before = mine();
            let cpu = first(&before).expect("one at least");
            keep_to(&[cpu]).expect("this thread runs there");
            let child = std::thread::spawn(mine).join().expect("it ends");
            (cpu, child)
        });
        let (cpu, child) = kept.join().expect("it ends");
        let mut only = CpuSet::new();
        only.set(cpu).expect("in range");
        assert_eq!(child, only);
    }

    #[test]
    fn limits_can_be_asked_to_rise_again_and_again() {
        raise_limits(2_048);
        let after = open_files_max();
        raise_limits(2_048);
        assert_eq!(open_files_max(), after);
    }
}
