//! Who made an image, and what they say it is: minisign signatures (Ed25519 over BLAKE2b-512).
//!
//! The signed ("trusted") comment carries the words that decide: `product=ringpost arch=x86_64 version=1.2.0`. A file name,
//! a URL and the unsigned comment are never used.

use minisign_verify::{PublicKey, Signature};
use semver::Version;

use crate::slots::plain_version;

/// The keys whose images are taken: the product's, an OEM's. Made by `cargo xtask keys`.
pub struct Keys(Vec<PublicKey>);

/// What a signature states about its image. Valid only after `Check::done`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub product: String,
    pub arch: String,
    pub version: Version,
}

/// A signature with its claim, not yet compared with any image.
pub struct Signed {
    signature: Signature,
    claim: Claim,
}

/// Hashes an image as it streams by.
pub struct Check<'a> {
    verifiers: Vec<minisign_verify::StreamVerifier<'a>>,
}

impl Keys {
    /// One or more public keys, each with its comment line, as minisign writes them.
    pub fn parse(text: &str) -> Result<Keys, String> {
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let keys = lines
            .iter()
            .filter(|line| !line.starts_with("untrusted comment:"))
            .map(|line| {
                PublicKey::from_base64(line)
                    .map_err(|_| format!("`{line}` is not a minisign public key"))
            })
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(
                "it contains no public key: put the update key there (`cargo xtask keys` makes one)"
                    .into(),
            );
        }
        Ok(Keys(keys))
    }

    /// Begins to check an image against `signed`.
    pub fn check<'a>(&'a self, signed: &'a Signed) -> Check<'a> {
        // A key that did not make the signature refuses it here already, by its key number.
        let verifiers = self
            .0
            .iter()
            .filter_map(|key| key.verify_stream(&signed.signature).ok())
            .collect();
        Check { verifiers }
    }
}

impl Signed {
    pub fn parse(text: &str) -> Result<Signed, String> {
        let signature =
            Signature::decode(text).map_err(|_| "it is not a minisign signature".to_string())?;
        let claim = claim(signature.trusted_comment())?;
        Ok(Signed { signature, claim })
    }

    pub fn claim(&self) -> &Claim {
        &self.claim
    }
}

impl Check<'_> {
    pub fn update(&mut self, bytes: &[u8]) {
        for verifier in &mut self.verifiers {
            verifier.update(bytes);
        }
    }

    /// Whether one of our keys signed exactly these bytes and this claim.
    pub fn done(mut self) -> bool {
        self.verifiers
            .iter_mut()
            .any(|verifier| verifier.finalize().is_ok())
    }
}

/// The signed comment of an image, for the signer.
pub fn comment(claim: &Claim) -> String {
    format!(
        "product={} arch={} version={}",
        claim.product, claim.arch, claim.version
    )
}

fn claim(comment: &str) -> Result<Claim, String> {
    let word = |name: &str| {
        let mut found = comment.split_ascii_whitespace().filter_map(|word| {
            let (key, value) = word.split_once('=')?;
            (key == name).then_some(value)
        });
        match (found.next(), found.next()) {
            (Some(value), None) => Ok(value.to_owned()),
            (None, _) => Err(format!("its signed comment has no {name}=…")),
            (Some(_), Some(_)) => Err(format!("its signed comment contains {name}=… twice")),
        }
    };
    let version = word("version")?;
    Ok(Claim {
        product: word("product")?,
        arch: word("arch")?,
        version: plain_version(&version)
            .ok_or(format!("version {version} is not MAJOR.MINOR.PATCH"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_reads_back_as_it_was_signed() {
        let made = Claim {
            product: "ringpost".into(),
            arch: "x86_64".into(),
            version: Version::new(1, 2, 3),
        };
        assert_eq!(claim(&comment(&made)), Ok(made));
    }

    #[test]
    fn a_claim_that_is_vague_or_double_is_refused() {
        for comment in [
            "",
            "product=ringpost arch=x86_64",
            "product=ringpost arch=x86_64 version=1",
            "product=ringpost arch=x86_64 version=1.2.3 version=9.9.9",
        ] {
            assert!(claim(comment).is_err(), "{comment}");
        }
    }

    #[test]
    fn garbage_is_neither_a_key_nor_a_signature() {
        for text in [
            "",
            "x",
            "untrusted comment: x\nx",
            "untrusted comment: \nRW\ntrusted comment: \nx\n",
        ] {
            assert!(Keys::parse(text).is_err());
            assert!(Signed::parse(text).is_err());
        }
    }
}
