//! `ringpostctl selftest`: a message in by SMTP and out by IMAP, through the listeners that clients use.
//!
//! A hidden account is made for it and removed again. The whole test has one deadline; what it was doing then is said. The
//! health gate of an updated image runs it (`ringpost-health.service`), so it must end whatever the daemon does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use admin::reply::AccountDetail;
use admin::request::Request;
use admin::{client, password};
use argon2::password_hash::rand_core::{OsRng, RngCore};
use plan::{Plan, Service};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use crate::limits::{SELFTEST_LINE_BYTES_MAX, SELFTEST_LINES_MAX};

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

struct Test {
    socket: PathBuf,
    until: Instant,
    step: Arc<Mutex<&'static str>>,
}

/// The hidden account; gone with its mail when dropped.
struct Hidden<'a> {
    socket: &'a Path,
    password: String,
}

impl Test {
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

    fn send(&self, smtp: SocketAddr, mark: &str) -> Result<(), String> {
        self.at("SMTP: connecting");
        let mut line = Line::new(self.connect(smtp)?);
        line.smtp(220)?;
        let dialogue: [(&'static str, &str, u16); 4] = [
            ("SMTP: EHLO", "EHLO selftest.invalid", 250),
            ("SMTP: MAIL FROM", "MAIL FROM:<>", 250),
            ("SMTP: RCPT TO", "RCPT TO:<selftest@selftest.invalid>", 250),
            ("SMTP: DATA", "DATA", 354),
        ];
        for (step, command, code) in dialogue {
            self.at(step);
            line.say(command)?;
            line.smtp(code)?;
        }
        self.at("SMTP: the message");
        line.say(&format!(
            "From: selftest <{ADDRESS}>\r\nTo: <{ADDRESS}>\r\nSubject: selftest {mark}\r\n\r\n{mark}\r\n."
        ))?;
        line.smtp(250)?;
        line.say("QUIT")
    }

    /// By IMAP with TLS, else by IMAP with STARTTLS; where neither listens, the mailbox is counted.
    fn read(&self, plan: &Plan, hidden: &Hidden<'_>, mark: &str) -> Result<String, String> {
        if let Some(at) = address(plan, Service::Imaps) {
            self.at("IMAP: connecting");
            let mut line = Line::new(self.secure(self.connect(at)?)?);
            line.read_line()?;
            self.fetch(&mut line, hidden, mark)?;
            return Ok(format!("by IMAP with TLS on {at}"));
        }
        if let Some(at) = address(plan, Service::Imap) {
            self.at("IMAP: connecting");
            let mut line = Line::new(self.connect(at)?);
            line.read_line()?;
            self.at("IMAP: STARTTLS");
            line.imap("a0", "STARTTLS")?;
            let mut line = Line::new(self.secure(line.into_stream())?);
            self.fetch(&mut line, hidden, mark)?;
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

    fn fetch<S: Read + Write>(
        &self,
        line: &mut Line<S>,
        hidden: &Hidden<'_>,
        mark: &str,
    ) -> Result<(), String> {
        self.at("IMAP: LOGIN");
        line.imap("a1", &format!("LOGIN {ADDRESS} {}", hidden.password))?;
        self.at("IMAP: SELECT");
        line.imap("a2", "SELECT INBOX")?;
        self.at("IMAP: FETCH");
        let text = line.imap("a3", "FETCH 1:* BODY[]")?;
        if !text.contains(mark) {
            return Err("the message that was read differs from the one that was sent".into());
        }
        line.imap("a4", "LOGOUT").map(|_| ())
    }

    fn connect(&self, address: SocketAddr) -> Result<TcpStream, String> {
        let told = |error: io::Error| format!("{address}: {error}");
        let left = self.until.saturating_duration_since(Instant::now());
        let left = left.max(Duration::from_millis(1));
        let stream = TcpStream::connect_timeout(&address, left).map_err(told)?;
        stream.set_read_timeout(Some(left)).map_err(told)?;
        stream.set_write_timeout(Some(left)).map_err(told)?;
        Ok(stream)
    }

    fn secure(
        &self,
        stream: TcpStream,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
        self.at("IMAP: TLS");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OwnBox(provider)))
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
        let session =
            ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
        Ok(StreamOwned::new(session, stream))
    }
}

impl<'a> Hidden<'a> {
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
        };
        client::ask(socket, &request)?;
        Ok(hidden)
    }

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

/// Lines of both protocols.
struct Line<S> {
    stream: BufReader<S>,
}

impl<S: Read + Write> Line<S> {
    fn new(stream: S) -> Line<S> {
        Line {
            stream: BufReader::new(stream),
        }
    }

    fn into_stream(self) -> S {
        self.stream.into_inner()
    }

    fn say(&mut self, line: &str) -> Result<(), String> {
        let stream = self.stream.get_mut();
        let said = write!(stream, "{line}\r\n").and_then(|()| stream.flush());
        said.map_err(|error| error.to_string())
    }

    fn read_line(&mut self) -> Result<String, String> {
        let mut bytes = Vec::new();
        let mut limited = (&mut self.stream).take(SELFTEST_LINE_BYTES_MAX);
        limited
            .read_until(b'\n', &mut bytes)
            .map_err(|error| error.to_string())?;
        if bytes.is_empty() {
            return Err("the connection was closed".into());
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// One reply of RFC 5321 §4.2.1, which must have this code.
    fn smtp(&mut self, code: u16) -> Result<(), String> {
        for _ in 0..SELFTEST_LINES_MAX {
            let line = self.read_line()?;
            if line.as_bytes().get(3) == Some(&b'-') {
                continue;
            }
            return match line.starts_with(&code.to_string()) {
                true => Ok(()),
                false => Err(format!("the answer is \"{}\"", line.trim_end())),
            };
        }
        Err("the answer is too long".into())
    }

    /// One command; everything up to its tagged answer, which must be OK.
    fn imap(&mut self, tag: &str, command: &str) -> Result<String, String> {
        self.say(&format!("{tag} {command}"))?;
        let mut text = String::new();
        for _ in 0..SELFTEST_LINES_MAX {
            let line = self.read_line()?;
            if let Some(answer) = line
                .strip_prefix(tag)
                .and_then(|rest| rest.strip_prefix(' '))
            {
                return match answer.starts_with("OK") {
                    true => Ok(text),
                    false => Err(format!("the answer is \"{}\"", answer.trim_end())),
                };
            }
            text.push_str(&line);
        }
        Err("the answer is too long".into())
    }
}

/// We speak to the listener of this very machine: its identity is known, so its certificate may be self-signed.
#[derive(Debug)]
struct OwnBox(Arc<CryptoProvider>);

impl ServerCertVerifier for OwnBox {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
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
