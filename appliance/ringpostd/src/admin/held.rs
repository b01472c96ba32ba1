//! What administration may ask about the certificates that TLS listeners show. The daemon answers it (`certificate.rs`); a file of its own, because
//! `shared.rs` holds what orders certificates too, and that needs both.

use ::admin::certificate;

/// One of the certificates that TLS listeners show.
pub struct Source {
    /// Its file, or `acme`.
    pub name: String,
    /// An authority gave it to us: it is renewed by itself.
    pub ordered: bool,
    /// DER, the server's own first.
    pub chain: Vec<Vec<u8>>,
}

impl Source {
    /// What the operator should do about it; a sentence for alarms and the log.
    pub(crate) fn alarm(&self, now_s: i64) -> Option<String> {
        match self.ordered {
            true => certificate::alarm_of_ordered(&self.chain, now_s),
            false => {
                let alarm = certificate::alarm(&self.chain, now_s)?;
                Some(format!("{}: {alarm}", self.name))
            }
        }
    }
}

/// The certificates that TLS listeners show.
pub trait Certificate: Send + Sync {
    /// The default one as DER, the server's own first.
    fn chain(&self) -> Vec<Vec<u8>>;
    /// All of them, the default one first.
    fn sources(&self) -> Vec<Source>;
    /// Keeps and shows another one, both PEM. `Err`: one sentence, and nothing changed.
    fn replace(&self, chain: &str, key: &str) -> Result<(), String>;
    /// Reads the files again.
    fn reload(&self) -> Result<(), String>;
}
