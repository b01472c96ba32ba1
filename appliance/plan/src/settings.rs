//! `ringpost.toml`: what the operator wants.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::limits::*;
use crate::load::{self, Misfit, Source};
use crate::units::Size;

/// The whole file, strict. Every key but `volume.legs` may be left out.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default)]
    pub server: Server,
    pub volume: Volume,
    #[serde(default)]
    pub listen: Listen,
    #[serde(default)]
    pub tls: Tls,
    #[serde(default)]
    pub login: Login,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub memory: Memory,
    #[serde(default)]
    pub log: Log,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// The host name in greetings and trace fields.
    pub name: String,
    /// Where the witness, the control socket and the certificate live.
    pub state: PathBuf,
    /// `generic`, or the path of a hardware profile.
    pub profile: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Block devices or preallocated files; each holds a full copy.
    pub legs: Spanned<Vec<PathBuf>>,
    /// Size of a file leg that is made at first start. A block device has its own.
    #[serde(default = "leg_size_default")]
    pub leg_size: Size,
    /// Make a new volume on blank legs at first start.
    #[serde(default)]
    pub create: bool,
    /// zstd level of bodies; 0 stores them as they are.
    #[serde(default = "compression_default")]
    pub compression: Spanned<i32>,
}

/// Who listens where; an empty list switches a service off.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    pub smtp: Vec<SocketAddr>,
    pub lmtp: Vec<SocketAddr>,
    pub imap: Vec<SocketAddr>,
    pub imaps: Vec<SocketAddr>,
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// PEM, the server's own certificate first. Without it a self-signed one is made and kept in the state directory.
    pub certificate: Option<PathBuf>,
    /// PEM; readable by us alone.
    pub key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plaintext {
    /// Passwords only over TLS.
    #[default]
    Never,
    /// Also without TLS from this machine itself.
    Loopback,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Login {
    pub plaintext: Plaintext,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    pub message: Spanned<Size>,
    pub smtp_connections: Option<usize>,
    pub lmtp_connections: Option<usize>,
    pub imap_connections: Option<usize>,
    pub http_connections: Option<usize>,
}

/// Shares of the memory; each is computed when left out.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// Messages being received, all sessions together.
    pub receive: Option<Size>,
    pub mailbox_cache: Option<Size>,
    pub projection_cache: Option<Size>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people on a terminal, JSON elsewhere.
    #[default]
    Auto,
    Human,
    Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, or tracing's directives (`info,smtp=debug`).
    pub level: String,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            name: "localhost".into(),
            state: "/var/lib/ringpost".into(),
            profile: "generic".into(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message: Spanned::new(0..0, Size(MESSAGE_BYTES_DEFAULT)),
            smtp_connections: None,
            lmtp_connections: None,
            imap_connections: None,
            http_connections: None,
        }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log {
            format: LogFormat::Auto,
            level: "info".into(),
        }
    }
}

fn compression_default() -> Spanned<i32> {
    Spanned::new(0..0, COMPRESSION_DEFAULT)
}

fn leg_size_default() -> Size {
    Size(LEG_BYTES_DEFAULT)
}

impl Settings {
    pub fn load(path: &Path) -> Result<Settings, Misfit> {
        let text = load::read_file(path)?;
        Settings::parse(&path.display().to_string(), &text)
    }

    /// Checks what one file can tell by itself; what needs the machine is `Plan::make`'s.
    pub fn parse(name: &str, text: &str) -> Result<Settings, Misfit> {
        let source = Source { name, text };
        let settings: Settings = load::parse(&source)?;
        settings.check(&source)?;
        Ok(settings)
    }

    fn check(&self, source: &Source<'_>) -> Result<(), Misfit> {
        let legs = self.volume.legs.get_ref();
        let at = self.volume.legs.span().start;
        if !(LEGS_MIN..=LEGS_MAX).contains(&legs.len()) {
            return Err(source.misfit(
                at,
                format!("a volume has {LEGS_MIN} to {LEGS_MAX} legs: name two devices"),
            ));
        }
        for (index, leg) in legs.iter().enumerate() {
            if legs[..index].contains(leg) {
                return Err(source.misfit(
                    at,
                    format!(
                        "{} is named twice: a mirror on one device saves nobody; name another",
                        leg.display()
                    ),
                ));
            }
        }
        let compression = &self.volume.compression;
        if !(0..=9).contains(compression.get_ref()) {
            return Err(source.misfit(
                compression.span().start,
                "volume.compression: write 0 (off) to 9",
            ));
        }
        let message = &self.limits.message;
        if !(64 << 10..=1 << 30).contains(&message.get_ref().0) {
            return Err(source.misfit(message.span().start, "limits.message: write 64KiB to 1GiB"));
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err(Misfit::new(format!(
                "{}: [tls] needs `certificate` and `key` together: add the missing one",
                source.name
            )));
        }
        Ok(())
    }

    /// Trial mode: two file legs in `state`, every service on loopback at `port_base` + its standard port.
    pub fn trial(state: &Path, leg_size: Size, port_base: u16) -> Result<Settings, Misfit> {
        let at = |port: u16| {
            let port = port_base.checked_add(port).ok_or_else(|| {
                Misfit::new(format!(
                    "--port-base {port_base} is too high: write 0 to {}",
                    u16::MAX - PORT_MAX
                ))
            })?;
            Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))])
        };
        Ok(Settings {
            server: Server {
                name: "localhost".into(),
                state: state.to_owned(),
                profile: "generic".into(),
            },
            volume: Volume {
                legs: Spanned::new(0..0, vec![state.join("leg-a"), state.join("leg-b")]),
                leg_size,
                create: true,
                compression: compression_default(),
            },
            listen: Listen {
                smtp: at(25)?,
                lmtp: at(24)?,
                imap: at(143)?,
                imaps: at(993)?,
                http: at(80)?,
                https: at(443)?,
            },
            tls: Tls::default(),
            login: Login {
                plaintext: Plaintext::Loopback,
            },
            limits: Limits::default(),
            memory: Memory::default(),
            log: Log::default(),
        })
    }
}
