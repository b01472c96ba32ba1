//! Passwords of accounts, as they are typed.

use std::io::{BufRead, IsTerminal};

use admin::logins::Keys;
use admin::password;

use crate::app_password::{Asker, keys_of};

/// The hash and the SCRAM keys of a password. A daemon that makes no keys now (a full volume, an older release) sets the password all the same.
pub(crate) fn hashed(
    given: Option<&str>,
    address: &str,
    ask: Asker<'_>,
) -> Result<(String, Option<Keys>), String> {
    let password = match given {
        Some(password) => password.to_owned(),
        None => read_password()?,
    };
    let hash = password::hash(&password)?;
    Ok((hash, keys_of(&password, address, ask).ok()))
}

/// From the terminal without showing it, else the first line of standard input.
pub(crate) fn read_password() -> Result<String, String> {
    let stdin = std::io::stdin();
    let read = || {
        let mut line = String::new();
        stdin
            .lock()
            .read_line(&mut line)
            .map_err(|error| format!("cannot read the password: {error}"))?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    };
    if !stdin.is_terminal() {
        return read();
    }
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
    let told = |errno| format!("cannot hide the password: {errno}");
    eprint!("Password: ");
    let before = tcgetattr(&stdin).map_err(told)?;
    let mut silent = before.clone();
    silent.local_flags.remove(LocalFlags::ECHO);
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &silent).map_err(told)?;
    let password = read();
    tcsetattr(&stdin, SetArg::TCSAFLUSH, &before).map_err(told)?;
    eprintln!();
    password
}
