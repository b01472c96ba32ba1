//! A server that takes every message and throws it away: where outbound mail goes. It counts, and tells when the last one came.
//!
//! It runs on one thread of this program, so that it costs every sender the same.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A line of a command that is longer closes the connection.
const LINE_BYTES_MAX: usize = 4_096;
const READ_BYTES: usize = 64 * 1_024;
const END_OF_DATA: &[u8] = b"\r\n.\r\n";

/// What it does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Takes mail.
    Takes,
    /// Says nothing at all, for as long as the other side waits.
    Mute,
}

/// A sink that runs until this is dropped.
pub struct Sink {
    pub address: SocketAddr,
    counted: Arc<Counted>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Counted {
    messages: AtomicU64,
    connections: AtomicU64,
}

impl Sink {
    /// Listens on `address`, whose port may be 0.
    pub fn start(address: (IpAddr, u16), manner: Manner) -> io::Result<Sink> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let counted = Arc::<Counted>::default();
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let of_thread = counted.clone();
        let thread = std::thread::Builder::new()
            .name("sink".into())
            .spawn(move || {
                runtime.block_on(async move {
                    let Ok(listener) = TcpListener::from_std(listener) else {
                        return;
                    };
                    let serving = async {
                        // Until the sender of `stop` is dropped.
                        while let Ok((stream, _)) = listener.accept().await {
                            of_thread.connections.fetch_add(1, Ordering::Relaxed);
                            tokio::spawn(serve(stream, manner, of_thread.clone()));
                        }
                    };
                    tokio::select! {
                        () = serving => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Sink {
            address,
            counted,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Messages taken so far.
    pub fn messages(&self) -> u64 {
        self.counted.messages.load(Ordering::Relaxed)
    }

    /// Connections so far.
    pub fn connections(&self) -> u64 {
        self.counted.connections.load(Ordering::Relaxed)
    }

    /// Waits until `count` messages are there, at most for `within`; says how many are.
    pub fn wait_for(&self, count: u64, within: Duration) -> u64 {
        let begin = Instant::now();
        while self.messages() < count && begin.elapsed() < within {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.messages()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One connection, until it breaks.
async fn serve(mut stream: TcpStream, manner: Manner, counted: Arc<Counted>) {
    if manner == Manner::Mute {
        let _ = stream.read(&mut [0; 1]).await;
        return;
    }
    let _ = stream.set_nodelay(true);
    let _ = converse(&mut stream, &counted).await;
}

/// RFC 5321 with PIPELINING, for senders that mean well.
async fn converse(stream: &mut TcpStream, counted: &Counted) -> io::Result<()> {
    stream.write_all(b"220 sink.test ESMTP\r\n").await?;
    let mut buffer = Vec::with_capacity(2 * READ_BYTES);
    let mut replies = Vec::new();
    let mut content = false;
    loop {
        // Until QUIT, or the end of the stream; each round reads at least one byte.
        let mut at = 0;
        loop {
            let rest = &buffer[at..];
            if content {
                // The line end before the dot belongs to the line before it, also where that was `DATA`.
                let found = rest
                    .windows(END_OF_DATA.len())
                    .position(|window| window == END_OF_DATA);
                let Some(end) = found else {
                    at += rest.len().saturating_sub(END_OF_DATA.len() - 1);
                    break;
                };
                at += end + END_OF_DATA.len();
                content = false;
                counted.messages.fetch_add(1, Ordering::Relaxed);
                replies.extend_from_slice(b"250 2.0.0 Taken\r\n");
                continue;
            }
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                if rest.len() > LINE_BYTES_MAX {
                    return Ok(());
                }
                break;
            };
            let verb: Vec<u8> = rest[..end.min(4)].to_ascii_uppercase();
            let reply: &[u8] = match &verb[..] {
                b"EHLO" => b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SIZE\r\n250 ENHANCEDSTATUSCODES\r\n",
                b"DATA" => b"354 Go on\r\n",
                b"QUIT" => b"221 2.0.0 Bye\r\n",
                _ => b"250 2.0.0 Ok\r\n",
            };
            replies.extend_from_slice(reply);
            at += end + 1;
            if verb == b"QUIT" {
                return stream.write_all(&replies).await;
            }
            if verb == b"DATA" {
                content = true;
                // An empty message ends with the line end of DATA itself.
                at -= 2;
            }
        }
        buffer.drain(..at);
        if !replies.is_empty() {
            stream.write_all(&replies).await?;
            replies.clear();
        }
        buffer.reserve(READ_BYTES);
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::Ipv4Addr;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let sink = Sink::start((Ipv4Addr::LOCALHOST.into(), 0), Manner::Takes).expect("a port");
        let mut stream = std::net::TcpStream::connect(sink.address).expect("it listens");
        let text = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nSubject: x\r\n\r\n..\r\nx.\r\n.\r\n\
                    MAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\n.\r\nQUIT\r\n";
        for piece in text.as_bytes().chunks(3) {
            stream.write_all(piece).expect("it reads");
        }
        let mut said = String::new();
        stream.read_to_string(&mut said).expect("it answers");
        assert_eq!(said.matches("354").count(), 2);
        assert_eq!(said.matches("Taken").count(), 2);
        assert!(said.ends_with("221 2.0.0 Bye\r\n"));
        assert_eq!((sink.messages(), sink.connections()), (2, 1));
    }
}
