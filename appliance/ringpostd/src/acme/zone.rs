//! Records of our own zone for the authority to look up (DNS-01): put there by its primary, and taken away afterwards.

use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::hmac;
use dns::{TextUpdate, read_update_reply};
use plan::Misfit;
use plan::acme::AcmeDns;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// For one change.
const WITHIN: Duration = Duration::from_secs(15);
/// Shorter keys protect less than the hash does (RFC 2104 §3).
const SECRET_BYTES_MIN: usize = 16;

/// The way to the zone.
pub(super) struct Zone {
    server: SocketAddr,
    zone: String,
    key_name: String,
    key: hmac::Key,
    pub wait: Duration,
}

impl Zone {
    /// Reads the key. The settings were checked.
    pub(super) fn open(settings: &AcmeDns) -> Result<Zone, Misfit> {
        let (Some(server), Some(path)) = (settings.server, &settings.secret) else {
            return Err(Misfit::new("acme.dns: `server` or `secret` is missing"));
        };
        let wrong = |why: &str| Misfit::new(format!("acme.dns.secret: {}: {why}", path.display()));
        if crate::certificate::others_read(path) {
            return Err(wrong(
                "others may read or change it: give it to the daemon alone (chmod 600)",
            ));
        }
        let text = std::fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
        let secret = data_encoding::BASE64.decode(text.trim().as_bytes());
        let secret = secret.map_err(|_| {
            wrong("it is not base64: write the key as `tsig-keygen` or `keymgr -t` prints it")
        })?;
        if secret.len() < SECRET_BYTES_MIN {
            return Err(wrong(
                "the key is too short: make one with `keymgr -t NAME hmac-sha256`",
            ));
        }
        Ok(Zone {
            server,
            zone: settings.zone.clone(),
            key_name: settings.key.clone(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
            wait: settings.wait.0,
        })
    }

    /// Makes the record be there, or not be there.
    pub(super) async fn set(&self, name: &str, text: &str, present: bool) -> Result<(), String> {
        let update = TextUpdate {
            zone: &self.zone,
            name,
            text,
            present,
        };
        let now_s = ::admin::certificate::now_s().max(0).cast_unsigned();
        let id = fastrand::u16(..);
        let mac = |bytes: &[u8]| hmac::sign(&self.key, bytes).as_ref().to_vec();
        let wire = update.to_wire(id, now_s, &self.key_name, mac);
        let wire = wire.ok_or_else(|| format!("{name} is not a name of the zone {}", self.zone))?;
        let asked = timeout(WITHIN, self.ask(&wire)).await;
        let answer = match asked {
            Ok(Ok(answer)) => read_update_reply(&answer, id),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it does not answer".to_owned()),
        };
        answer.map_err(|why| format!("the name server {} ({}): {why}", self.server, self.zone))
    }

    /// By TCP: each message has its length in front (RFC 1035 §4.2.2), which bounds the answer.
    async fn ask(&self, wire: &[u8]) -> std::io::Result<Vec<u8>> {
        let length = u16::try_from(wire.len()).map_err(std::io::Error::other)?;
        let mut stream = TcpStream::connect(self.server).await?;
        stream
            .write_all(&[&length.to_be_bytes()[..], wire].concat())
            .await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; length.into()];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    }
}
