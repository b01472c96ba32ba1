//! Children that end with us, however we end: a story-teller killed by SIGKILL must leave no machine running.
//!
//! `setpriv` (util-linux, essential in Debian) asks the kernel for it between fork and exec (PR_SET_PDEATHSIG, prctl(2)) and then
//! becomes the program. What it relies on: the kernel means the *thread* that made the child. Whoever starts a machine from a thread
//! that ends before the machine does loses the machine. Not covered: the millisecond in which we are killed before `setpriv` has asked.

use std::process::Command;

/// A command whose process is killed when the thread that spawned it is gone.
pub fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", program]);
    command
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn a_child_is_killed_with_the_thread_that_made_it() {
        let made = std::thread::spawn(|| {
            let child = command("sleep").arg("600").spawn().expect("setpriv");
            let name = format!("/proc/{}/comm", child.id());
            // Until setpriv has asked the kernel and become the program.
            while !std::fs::read_to_string(&name).is_ok_and(|name| name == "sleep\n") {
                std::thread::yield_now();
            }
            child
        });
        let mut child = made.join().expect("no panic");
        let status = child.wait().expect("our own child");
        assert_eq!(status.signal(), Some(9), "{status}");
    }
}
