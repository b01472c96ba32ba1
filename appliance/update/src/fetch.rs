//! Where an image comes from: a file, or a server by HTTP(S).

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use crate::limits::*;

/// An image and its signature (`SOURCE.minisig` beside it), not yet checked.
pub struct Source {
    pub signature: String,
    pub image: Box<dyn Read>,
    /// What the sender says the length is, for a progress bar only.
    pub length: Option<u64>,
}

/// Opens a path or an `https://` or `http://` URL. Plain HTTP is fine: the signature decides.
pub fn open(source: &str) -> Result<Source, String> {
    let signature_at = format!("{source}.minisig");
    if source.starts_with("https://") || source.starts_with("http://") {
        let agent = agent();
        let signature = get(&agent, &signature_at).map_err(|error| {
            format!("{error}; an image is accepted only with its .minisig signature beside it")
        })?;
        let image = get(&agent, source)?;
        let length = image.body().content_length();
        Ok(Source {
            signature: text(signature.into_body().into_reader(), &signature_at)?,
            image: Box::new(image.into_body().into_reader()),
            length,
        })
    } else {
        let told = |path: &str, error: io::Error| format!("{path}: {error}");
        let signature = File::open(&signature_at).map_err(|error| {
            format!("{signature_at}: {error}; an image is accepted only with its .minisig signature beside it")
        })?;
        let image = File::open(source).map_err(|error| told(source, error))?;
        let metadata = image.metadata().map_err(|error| told(source, error))?;
        if !metadata.is_file() {
            return Err(format!("{source} is not a file"));
        }
        Ok(Source {
            signature: text(signature, &signature_at)?,
            image: Box::new(image),
            length: Some(metadata.len()),
        })
    }
}

fn agent() -> ureq::Agent {
    // The first caller in a process decides; every one of ours decides the same.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let silence = Some(Duration::from_secs(FETCH_SILENCE_S));
    ureq::Agent::config_builder()
        .timeout_connect(silence)
        .timeout_recv_response(silence)
        .max_redirects(3)
        .build()
        .into()
}

fn get(agent: &ureq::Agent, url: &str) -> Result<ureq::http::Response<ureq::Body>, String> {
    agent
        .get(url)
        .call()
        .map_err(|error| format!("{url}: {error}"))
}

fn text(reader: impl Read, name: &str) -> Result<String, String> {
    let mut text = String::new();
    reader
        .take(SIGNATURE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("{name}: {error}"))?;
    if text.len() as u64 > SIGNATURE_BYTES_MAX {
        return Err(format!("{name} is too long for a signature"));
    }
    Ok(text)
}
