//! A core serves IMAP on loopback; the client is a blocking socket on the test's own thread. The owner's lane is not
//! served: what is tested here needs no mailbox.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;

use zone::{Core, CoreHandle, CoreSettings, Listener, bind};

use super::*;

/// A core with clients that may be silent for as long as `silences` says. `logged_in`: sessions begin so.
fn start(silences: fn() -> Silences, logged_in: bool) -> (CoreHandle, SocketAddr) {
    let socket = bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = socket.local_addr().expect("bound");
    let settings = CoreSettings {
        name: "imap".into(),
        cpu: None,
    };
    let core = Core::start(settings, move |core| async move {
        let memory = Memory {
            reading: Budget::new(1 << 20),
            sending: Budget::new(1 << 20),
            receiving: Budget::new(1 << 20),
        };
        let (owner, _end) = crate::owner::owner();
        let imap = Rc::new(Imap {
            silences: silences(),
            ..Imap::new(owner, memory, Logins::new())
        });
        let serve = move |connection: Connection| -> base::LocalTask {
            let imap = imap.clone();
            Box::pin(async move {
                let settings = Settings {
                    tls: None,
                    login_on_loopback: true,
                    append_bytes_max: 1_000,
                };
                let mut session = Session::new(Policy::default(), false);
                if logged_in {
                    session.logged_in("-", &mut Vec::new());
                }
                imap.serve_session(&settings, session, connection).await;
            })
        };
        let listener = Listener {
            name: "imap",
            socket,
            connections_max: 10,
            refusal: b"",
            tls: None,
            counters: Arc::default(),
        };
        core.serve(listener, Rc::new(serve)).expect("a listener");
        core.stop().requested().await;
        assert_eq!(core.drain(Duration::from_secs(10)).await, 0);
    })
    .expect("a core");
    (core, address)
}

/// Sends `bytes` and reads to the end.
fn last_line(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).expect("a socket");
    stream.write_all(bytes).expect("it reads");
    let mut lines = BufReader::new(stream).lines();
    let greeting = lines.next().expect("a greeting").expect("a line");
    assert!(greeting.starts_with("* OK ["), "{greeting}");
    // To the end: after BYE the connection is closed.
    lines
        .map(|line| line.expect("a line, and no reset"))
        .last()
        .expect("last words")
}

const BYE: &str = "* BYE logged out for inactivity";

/// Finding O13. RFC 9051 §7.1.5.
#[test]
fn a_silent_session_ends_with_bye() {
    let short_before_login = || Silences {
        before_login: Duration::from_millis(50),
        logged_in: Duration::from_secs(600),
    };
    let short_after = || Silences {
        before_login: Duration::from_secs(600),
        logged_in: Duration::from_millis(50),
    };
    let (core, address) = start(short_before_login, false);
    assert_eq!(last_line(address, b""), BYE);
    assert_eq!(
        last_line(address, b"a NOOP\r\nb LOGIN al"),
        BYE,
        "in the middle of a command"
    );
    core.stop();
    core.join();
    let (core, address) = start(short_after, true);
    assert_eq!(last_line(address, b""), BYE);
    assert_eq!(last_line(address, b"a IDLE\r\n"), BYE);
    core.stop();
    core.join();
}
