//! systemd credentials: how settings reach a machine that nobody touched.

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub name: String,
    pub text: String,
    pub by: By,
}

/// How a credential reaches systemd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// SMBIOS type 11.
    Smbios,
    FwCfg,
}

impl Credential {
    pub fn new(name: &str, text: impl Into<String>, by: By) -> Credential {
        Credential {
            name: name.into(),
            text: text.into(),
            by,
        }
    }

    /// The file in the run's directory that holds the text.
    pub fn file(&self) -> String {
        format!("{}.credential", self.name)
    }

    /// The file that holds the whole SMBIOS string.
    pub fn smbios_file(&self) -> String {
        format!("{}.smbios", self.name)
    }

    /// What systemd looks for in SMBIOS type 11; binary, because a string there has no line ends.
    pub fn smbios_string(&self) -> String {
        format!(
            "io.systemd.credential.binary:{}={}",
            self.name,
            base64(self.text.as_bytes())
        )
    }
}

/// RFC 4648 §4.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().enumerate().fold(0u32, |word, (at, byte)| {
            word | u32::from(*byte) << (16 - 8 * at)
        });
        for digit in 0..4 {
            if digit <= group.len() {
                text.push(char::from(DIGITS[(word >> (18 - 6 * digit)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads_as_the_rfc_shows() {
        // RFC 4648 §10
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
