//! `ringpostctl selftest`: a message in by SMTP and out by IMAP, through the listeners that clients use.
//!
//! A hidden account is made for it and removed again. The whole test has one deadline; what it was doing then is said. The
//! health gate of an updated image runs it (`ringpost-health.service`), so it must end whatever the daemon does.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use admin::reply::AccountDetail;
use admin::request::Request;
use admin::{client, password};
use argon2::password_hash::rand_core::{OsRng, RngCore};
use mua::imap::{Imap, Message};
use mua::smtp::Smtp;
use mua::stream::Stream;
use plan::{Plan, Service};

/// RFC 2606 §2: a name that does not exist.
const DOMAIN: &str = "selftest.invalid";
const ADDRESS: &str = "selftest@selftest.invalid";

/// What was done, in words, for the operator. `Err`: the step that failed, and why.
pub fn run(socket: &Path, within: Duration) -> Result<String, String> {
    let step = Arc::new(Mutex::new("asking the daemon for its plan"));
    let (done, waits) = channel();
    let test = Test {
        socket: socket.to_owned(),
        until: Instant::now() + within,
        step: step.clone(),
    };
    // It waits in calls that have no time-out of their own: the thread is left behind, and the process ends.
    std::thread::spawn(move || {
        let _ = done.send(test.run());
    });
    let at = || *step.lock().expect("no holder of this lock panics");
    match waits.recv_timeout(within) {
        Ok(Ok(told)) => Ok(told),
        Ok(Err(why)) => Err(format!("selftest failed at {}: {why}", at())),
        Err(RecvTimeoutError::Timeout) => Err(format!(
            "selftest did not finish within {} s; it was stopped at {}",
            within.as_secs(),
            at()
        )),
        Err(RecvTimeoutError::Disconnected) => Err(format!("selftest ended at {}", at())),
    }
}

/// One run, with its deadline.
struct Test {
    /// The daemon's control socket.
    socket: PathBuf,
    /// The deadline of all steps together.
    until: Instant,
    /// What is being done, for the message at the deadline.
    step: Arc<Mutex<&'static str>>,
}

/// The hidden account; gone with its mail when dropped.
struct Hidden<'a> {
    /// To remove the account.
    socket: &'a Path,
    /// A random password, known to this process only.
    password: String,
}

impl Test {
    /// The next step begins.
    fn at(&self, step: &'static str) {
        *self.step.lock().expect("no holder of this lock panics") = step;
    }

    fn run(&self) -> Result<String, String> {
        let value = client::ask(&self.socket, &Request::Plan)?;
        let plan: Plan = serde_json::from_value(value).map_err(|error| error.to_string())?;
        self.at("making the hidden account");
        let hidden = Hidden::make(&self.socket)?;
        let mark = token();
        let smtp = address(&plan, Service::Smtp)
            .ok_or("the settings have no SMTP listener ([listen] smtp)")?;
        let began = Instant::now();
        self.send(smtp, &mark)?;
        let accepted = began.elapsed();
        let way = self.read(&plan, &hidden, &mark)?;
        self.at("removing the hidden account");
        drop(hidden);
        Ok(format!(
            "a message was accepted on {smtp} in {} ms and read back {way}",
            accepted.as_millis()
        ))
    }

    /// Sends one message with `mark` in it, from the null reverse-path.
    fn send(&self, smtp: SocketAddr, mark: &str) -> Result<(), String> {
        self.at("SMTP: connecting");
        let mut line = Smtp::over(self.connect(smtp)?);
        line.expect_reply(220).map_err(in_words)?;
        let dialogue: [(&'static str, &str, u16); 4] = [
            ("SMTP: EHLO", "EHLO selftest.invalid", 250),
            ("SMTP: MAIL FROM", "MAIL FROM:<>", 250),
            ("SMTP: RCPT TO", "RCPT TO:<selftest@selftest.invalid>", 250),
            ("SMTP: DATA", "DATA", 354),
        ];
        for (step, command, code) in dialogue {
            self.at(step);
            line.expect(command, code).map_err(in_words)?;
        }
        self.at("SMTP: the message");
        let message = format!(
            "From: selftest <{ADDRESS}>\r\nTo: <{ADDRESS}>\r\nSubject: selftest {mark}\r\n\r\n{mark}\r\n."
        );
        line.expect(&message, 250).map_err(in_words)?;
        line.raw(b"QUIT\r\n").map_err(in_words)
    }

    /// By IMAP with TLS, else by IMAP with STARTTLS; where neither listens, the mailbox is counted.
    fn read(&self, plan: &Plan, hidden: &Hidden<'_>, mark: &str) -> Result<String, String> {
        if let Some(at) = address(plan, Service::Imaps) {
            self.at("IMAP: connecting");
            let stream = self.secure(self.connect(at)?)?;
            let line = Imap::over(stream).map_err(in_words)?;
            self.fetch(line, hidden, mark)?;
            return Ok(format!("by IMAP with TLS on {at}"));
        }
        if let Some(at) = address(plan, Service::Imap) {
            self.at("IMAP: connecting");
            let mut line = Imap::over(self.connect(at)?).map_err(in_words)?;
            self.at("IMAP: STARTTLS");
            line.command("STARTTLS").map_err(in_words)?;
            let line = Imap::greeted(self.secure(line.into_stream())?);
            self.fetch(line, hidden, mark)?;
            return Ok(format!("by IMAP on {at}"));
        }
        self.at("counting the mailbox (no IMAP listener)");
        let request = Request::AccountShow {
            address: ADDRESS.into(),
        };
        let value = client::ask(hidden.socket, &request)?;
        let detail: AccountDetail =
            serde_json::from_value(value).map_err(|error| error.to_string())?;
        match detail.mailboxes.iter().any(|mailbox| mailbox.messages > 0) {
            true => Ok("by counting it, because there is no IMAP listener".into()),
            false => Err("the message is not in the mailbox".into()),
        }
    }

    /// Logs in and looks for `mark` in INBOX.
    fn fetch(&self, mut line: Imap, hidden: &Hidden<'_>, mark: &str) -> Result<(), String> {
        self.at("IMAP: LOGIN");
        line.login(ADDRESS, &hidden.password).map_err(in_words)?;
        self.at("IMAP: SELECT");
        line.select("INBOX").map_err(in_words)?;
        self.at("IMAP: FETCH");
        let messages = line.messages().map_err(in_words)?;
        let text = |message: &Message| String::from_utf8_lossy(&message.bytes).contains(mark);
        if !messages.iter().any(text) {
            return Err("the message that was read differs from the one that was sent".into());
        }
        line.command("LOGOUT").map(|_| ()).map_err(in_words)
    }

    /// Connects within what is left of the deadline.
    fn connect(&self, address: SocketAddr) -> Result<Stream, String> {
        let left = self.until.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        Stream::plain(address, left).map_err(|error| format!("{address}: {error}"))
    }

    /// The listener of this very machine: its identity is known, so its certificate may be self-signed.
    fn secure(&self, stream: Stream) -> Result<Stream, String> {
        self.at("IMAP: TLS");
        let secured = mua::tls::config().and_then(|config| stream.secure(&config));
        secured.map_err(in_words)
    }
}

impl<'a> Hidden<'a> {
    /// Makes domain and account, after removing what an earlier run left.
    fn make(socket: &'a Path) -> Result<Hidden<'a>, String> {
        let password = token();
        let hidden = Hidden { socket, password };
        // What an earlier test left behind when it was cut short.
        hidden.remove();
        client::ask(
            socket,
            &Request::DomainAdd {
                domain: DOMAIN.into(),
            },
        )?;
        let request = Request::AccountAdd {
            address: ADDRESS.into(),
            password_hash: password::hash(&hidden.password)?,
            quota_bytes: 0,
            keys: None,
        };
        client::ask(socket, &request)?;
        Ok(hidden)
    }

    /// Removes account and domain. Nothing is reported: the next run tries again.
    fn remove(&self) {
        let requests = [
            Request::AccountRemove {
                address: ADDRESS.into(),
            },
            Request::DomainRemove {
                domain: DOMAIN.into(),
            },
        ];
        for request in requests {
            let _ = client::ask(self.socket, &request); // refused when there is none
        }
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

fn in_words(error: io::Error) -> String {
    error.to_string()
}

/// Sixteen random bytes in hexadecimal.
fn token() -> String {
    let mut bytes = [0; 16];
    OsRng.fill_bytes(&mut bytes);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where a service listens, as seen from this machine.
fn address(plan: &Plan, service: Service) -> Option<SocketAddr> {
    let mut address = *plan.listener(service)?.addresses.first()?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    Some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_not_there_is_said_within_the_deadline() {
        let told = run(Path::new("/nowhere/control.sock"), Duration::from_secs(5))
            .expect_err("the daemon does not answer");
        assert!(
            told.contains("asking the daemon") && told.contains("/nowhere"),
            "{told}"
        );
    }

    #[test]
    fn a_daemon_that_hangs_is_said_with_the_step() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("control.sock");
        // Accepts by its backlog, and never answers.
        let _silent = std::os::unix::net::UnixListener::bind(&path).expect("free");
        let told = run(&path, Duration::from_millis(50)).expect_err("it hangs");
        assert!(told.contains("stopped at asking the daemon"), "{told}");
    }
}
