//! The operator's end of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::limits::REPLY_BYTES_MAX;
use crate::reply;
use crate::request::Request;

/// Bytes that fit a Unix socket's address (unix(7): 108 with the final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Sends `request` to the daemon behind `socket`. `Err`: the one sentence why not.
pub fn ask(socket: &Path, request: &Request) -> Result<Value, String> {
    let stream =
        with_short_path(socket, UnixStream::connect).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => format!(
                "no ringpostd answers at {}: start it, or name its state directory with --state",
                socket.display()
            ),
            io::ErrorKind::PermissionDenied => {
                format!(
                    "{} belongs to another user: run ringpostctl as the user that runs ringpostd",
                    socket.display()
                )
            }
            _ => format!("{}: {error}", socket.display()),
        })?;
    let told = |error: io::Error| format!("the connection to ringpostd broke: {error}");
    let mut line = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    line.push(b'\n');
    (&stream).write_all(&line).map_err(told)?;
    let mut answer = String::new();
    BufReader::new(stream.take(REPLY_BYTES_MAX as u64))
        .read_line(&mut answer)
        .map_err(told)?;
    if answer.is_empty() {
        return Err("ringpostd closed the connection without an answer".into());
    }
    reply::read(&answer)
}

/// Calls `open` with `path`, or where it is too long for a socket address with a short name for the same file.
pub fn with_short_path<T>(
    path: &Path,
    open: impl FnOnce(PathBuf) -> io::Result<T>,
) -> io::Result<T> {
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return open(path.to_owned());
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = std::fs::File::open(parent)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    open(short)
}
