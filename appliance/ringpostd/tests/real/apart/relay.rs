//! A relay of TCP between an inbound node and a storage node, which loses answers or keeps them back when it is asked to.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Lives as long as the test's process.
pub struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    /// Of one connection: bytes to the server after which its answers are not passed on.
    silent_after: AtomicU64,
    /// They wait then, and are not lost.
    holds: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Relay {
    pub fn to(server: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            silent_after: AtomicU64::new(u64::MAX),
            holds: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let relay = shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else {
                    continue;
                };
                relay.carry(client, server);
            }
        });
        Relay { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers are lost once a client has sent so many bytes over its connection.
    pub fn silence_after(&self, bytes: u64) {
        self.shared.silent_after.store(bytes, SeqCst);
    }

    /// Answers wait once a client has sent so many bytes over its connection, until `pass`.
    pub fn hold_after(&self, bytes: u64) {
        self.shared.holds.store(true, SeqCst);
        self.silence_after(bytes);
    }

    /// Everything is passed on again.
    pub fn pass(&self) {
        self.silence_after(u64::MAX);
    }

    /// Breaks off every connection.
    pub fn cut(&self) {
        for stream in self.shared.open.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn carry(self: &Arc<Shared>, client: TcpStream, server: TcpStream) {
        let clone = |stream: &TcpStream| stream.try_clone().expect("a descriptor");
        let mut open = self.open.lock().expect("no panic");
        open.extend([clone(&client), clone(&server)]);
        drop(open);
        let sent = Arc::new(AtomicU64::new(0));
        let (shared, count) = (self.clone(), sent.clone());
        let (from, to) = (clone(&client), clone(&server));
        thread::spawn(move || {
            pass(from, to, |bytes| {
                count.fetch_add(bytes, SeqCst);
                true
            });
        });
        thread::spawn(move || {
            pass(server, client, |_| {
                let is_silent = || sent.load(SeqCst) >= shared.silent_after.load(SeqCst);
                while shared.holds.load(SeqCst) && is_silent() {
                    // until the test lets it pass, or ends
                    thread::sleep(LOOK_EVERY);
                }
                !is_silent()
            });
        });
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Until either side ends; what `is_passed` refuses is lost.
fn pass(mut from: TcpStream, mut to: TcpStream, is_passed: impl Fn(u64) -> bool) {
    let mut piece = [0; 16_384];
    while let Ok(bytes @ 1..) = from.read(&mut piece) {
        if is_passed(bytes as u64) && to.write_all(&piece[..bytes]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
