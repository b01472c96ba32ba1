//! A certificate of an authority that a story makes, as an administrator gets one for a box; and what its domain publishes of it.

use std::fs;
use std::path::{Path, PathBuf};

use image_maker::digest::sha256;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PublicKeyData,
    date_time_ymd,
};

use crate::failure::{Doing, Told};

/// Files for `ringpostctl certificate set`, and what belongs to them.
pub struct Issued {
    /// The host's certificate, then the authority's.
    pub chain: PathBuf,
    pub key: PathBuf,
    /// The authority's own, to be believed by clients (PEM).
    pub authority: String,
    /// The data of a TLSA record (RFC 6698 §2.1): of this certificate, by the SHA-256 of its public key.
    pub tlsa: String,
}

/// Writes a certificate for `name` into `folder`. It is for `localhost` too, where the tool finds a guest's forwarded port.
pub fn issue(folder: &Path, name: &str) -> Told<Issued> {
    let mut authority = dated(vec![])?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "An authority of the story's");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().doing("the authority's key")?;
    let root = authority.self_signed(&authority_key);
    let root = root.doing("the authority's certificate")?.pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().doing("the host's key")?;
    let mut host = dated(vec![name.to_owned(), "localhost".to_owned()])?;
    host.distinguished_name.push(DnType::CommonName, name);
    let signed = host.signed_by(&key, &issuer);
    let signed = signed.doing("the host's certificate")?.pem();
    let write = |file: &str, text: &str| {
        let path = folder.join(file);
        fs::write(&path, text).doing(path.display())?;
        Ok(path)
    };
    Ok(Issued {
        chain: write("chain.pem", &format!("{signed}{root}"))?,
        key: write("host-key.pem", &key.serialize_pem())?,
        authority: root,
        tlsa: format!("3 1 1 {}", sha256(&key.subject_public_key_info())),
    })
}

/// Valid for as long as this code may run: a guest's clock is the host's.
fn dated(names: Vec<String>) -> Told<CertificateParams> {
    let mut params = CertificateParams::new(names).doing("names of a certificate")?;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_has_two_certificates_and_its_record_names_the_key() {
        let folder = tempfile::tempdir().expect("a directory");
        let issued = issue(folder.path(), "mx.there.example").expect("issued");
        let chain = fs::read_to_string(&issued.chain).expect("written");
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
        assert!(chain.ends_with(&issued.authority));
        let (usage, digest) = issued.tlsa.rsplit_once(' ').expect("four fields");
        assert_eq!((usage, digest.len()), ("3 1 1", 64));
    }
}
