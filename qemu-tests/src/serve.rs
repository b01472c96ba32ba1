//! A small HTTP server for one directory: where a guest fetches its updates from. It may be slow on purpose.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::failure::{Doing, Told};
use crate::limits::{SERVE_HEAD_BYTES_MAX, SERVE_SILENCE};

/// Serves until it is dropped.
pub struct Serve {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    directory: PathBuf,
    /// Bytes a second for each connection; 0: as fast as they go.
    rate: AtomicU64,
    sent: AtomicU64,
    over: AtomicBool,
}

impl Serve {
    /// The files of `directory`, on a free port of the loopback interface.
    pub fn start(directory: &Path) -> Told<Serve> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).doing("a port for the file server")?;
        let port = listener
            .local_addr()
            .doing("a port for the file server")?
            .port();
        let shared = Arc::new(Shared {
            directory: directory.to_owned(),
            rate: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), serving) = (stream, serving.clone()) else {
                    continue;
                };
                // A guest that hangs up in the middle is a story's doing.
                std::thread::spawn(move || {
                    let _ = serving.answer(stream);
                });
            }
        });
        Ok(Serve { port, shared })
    }

    /// Where a guest finds a file: QEMU's user network shows the host's loopback interface at this address.
    pub fn url(&self, file: &str) -> String {
        format!("http://10.0.2.2:{}/{file}", self.port)
    }

    /// From now on so many bytes a second; 0: no bound.
    pub fn slow_down(&self, bytes_a_second: u64) {
        self.shared.rate.store(bytes_a_second, Ordering::Relaxed);
    }

    /// Content sent so far, in bytes.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        // Wakes the listener up to see it.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(SERVE_SILENCE))?;
        stream.set_write_timeout(Some(SERVE_SILENCE))?;
        let file = match wanted(&stream)? {
            Some(name) => File::open(self.directory.join(name)),
            None => Err(io::ErrorKind::NotFound.into()),
        };
        let Ok(mut file) = file else {
            return stream.write_all(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            );
        };
        let length = file.metadata()?.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        )?;
        let mut chunk = vec![0; 64 << 10];
        loop {
            // until the end of the file, or the guest hangs up
            let count = file.read(&mut chunk)?;
            if count == 0 {
                return Ok(());
            }
            stream.write_all(&chunk[..count])?;
            self.sent.fetch_add(count as u64, Ordering::Relaxed);
            let rate = self.rate.load(Ordering::Relaxed);
            if rate > 0 {
                std::thread::sleep(Duration::from_secs_f64(count as f64 / rate as f64));
            }
        }
    }
}

/// The name in `GET /NAME HTTP/1.1`: one file of the directory and nothing else.
fn wanted(stream: &TcpStream) -> io::Result<Option<String>> {
    let mut lines = BufReader::new(stream.take(SERVE_HEAD_BYTES_MAX)).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        // until the empty line
        if line?.is_empty() {
            break;
        }
    }
    let name = first
        .strip_prefix("GET /")
        .and_then(|rest| rest.split(' ').next())
        .unwrap_or_default();
    let plain = !name.is_empty() && !name.contains('/') && name != "..";
    Ok(plain.then(|| name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(port: u16, path: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("served");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }

    #[test]
    fn files_of_the_directory_are_served_and_nothing_else() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("a.efi"), "whole").expect("written");
        let serve = Serve::start(directory.path()).expect("a free port");
        let answer = ask(serve.port, "/a.efi");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nwhole"));
        assert_eq!(serve.sent(), 5);
        for path in ["/b.efi", "/../a.efi", "/", "/.."] {
            assert!(ask(serve.port, path).starts_with("HTTP/1.1 404"), "{path}");
        }
    }
}
