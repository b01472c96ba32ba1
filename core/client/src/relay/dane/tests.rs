//! Certificates against what a domain publishes, in real handshakes; and what names say before that.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use device::sim::SimWorld;
use dns::Table;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConnection, ServerConfig, ServerConnection};

use super::*;

const HOST: &str = "mx.example.net";

struct Shown {
    /// The server's own first.
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).expect("a name")
}

/// A certificate that signed itself.
fn own(params: &CertificateParams) -> Shown {
    let key = KeyPair::generate().expect("a key");
    let chain = vec![params.self_signed(&key).expect("signed").der().clone()];
    Shown { chain, key }
}

/// One that an authority signed, which is shown with it.
fn issued(params: &CertificateParams) -> Shown {
    let mut of_authority = CertificateParams::new(Vec::new()).expect("no name");
    of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(of_authority, authority).expect("signed");
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &authority).expect("signed");
    let chain = vec![certificate.der().clone(), authority.der().clone()];
    Shown { chain, key }
}

fn expired(name: &str) -> CertificateParams {
    let mut params = params(name);
    params.not_before = rcgen::date_time_ymd(2000, 1, 1);
    params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    params
}

/// What a domain would publish about `certificate`.
fn published(usage: u8, selector: u8, matching: u8, certificate: &CertificateDer<'_>) -> Value {
    let read = webpki::EndEntityCert::try_from(certificate).expect("a certificate");
    let bytes = match selector {
        0 => certificate.to_vec(),
        _ => read.subject_public_key_info().to_vec(),
    };
    let data = match matching {
        0 => bytes,
        1 => digest(&SHA256, &bytes).as_ref().to_vec(),
        _ => digest(&SHA512, &bytes).as_ref().to_vec(),
    };
    Value::Certificate {
        usage,
        selector,
        matching,
        data,
    }
}

/// Whether a client that knows `values` takes what a server shows.
fn takes(values: &[Value], shown: &Shown) -> bool {
    let associations: Arc<[Association]> = values.iter().filter_map(Association::of).collect();
    assert_eq!(
        associations.len(),
        values.len(),
        "all of them can be matched"
    );
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(shown.key.serialize_der()).expect("a key");
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(shown.chain.clone(), key)
        .expect("a certificate");
    let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
    let name = ServerName::try_from(HOST).expect("a name");
    let config = config(&associations, "example.org");
    let mut client = ClientConnection::new(config, name).expect("a client");
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).expect("memory");
        server.read_tls(&mut wire.as_slice()).expect("memory");
        if server.process_new_packets().is_err() {
            return false;
        }
        wire.clear();
        server.write_tls(&mut wire).expect("memory");
        client.read_tls(&mut wire.as_slice()).expect("memory");
        if client.process_new_packets().is_err() {
            return false;
        }
    }
    true
}

#[test]
fn the_servers_own_certificate_counts_whatever_it_says_of_names_and_dates() {
    for shown in [
        own(&params(HOST)),
        own(&params("other.example")),
        own(&expired(HOST)),
        issued(&expired("other.example")),
    ] {
        for selector in [0, 1] {
            for matching in [0, 1, 2] {
                let right = published(3, selector, matching, &shown.chain[0]);
                assert!(takes(&[right], &shown), "{selector} {matching}");
                let other = published(3, selector, matching, &own(&params(HOST)).chain[0]);
                assert!(!takes(&[other], &shown), "{selector} {matching}");
            }
        }
    }
}

#[test]
fn what_we_publish_of_a_certificate_is_what_we_would_take() {
    let shown = own(&params(HOST));
    let text = super::published(&shown.chain[0]).expect("a certificate");
    let hex = text.strip_prefix("3 1 1 ").expect("its kind");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    let data = (0..hex.len()).step_by(2).map(byte).collect();
    let value = Value::Certificate {
        usage: 3,
        selector: 1,
        matching: 1,
        data,
    };
    assert_eq!(value, published(3, 1, 1, &shown.chain[0]));
    assert!(takes(&[value], &shown));
    assert_eq!(super::published(b"none"), None);
}

#[test]
fn one_of_several_is_enough_while_keys_change() {
    let (before, after) = (own(&params(HOST)), own(&params(HOST)));
    let both = [
        published(3, 1, 1, &before.chain[0]),
        published(3, 1, 1, &after.chain[0]),
    ];
    assert!(takes(&both, &before) && takes(&both, &after));
    assert!(!takes(&both, &own(&params(HOST))));
}

#[test]
fn an_authority_counts_for_certificates_that_lead_to_it_and_are_in_force_for_the_name() {
    for selector in [0, 1] {
        for matching in [0, 1, 2] {
            let shown = issued(&params(HOST));
            let authority = published(2, selector, matching, &shown.chain[1]);
            assert!(takes(&[authority], &shown), "{selector} {matching}");
        }
    }
    let of_domain = issued(&params("example.org"));
    assert!(takes(
        &[published(2, 1, 1, &of_domain.chain[1])],
        &of_domain
    ));
    for wrong in [issued(&params("other.example")), issued(&expired(HOST))] {
        assert!(!takes(&[published(2, 1, 1, &wrong.chain[1])], &wrong));
    }
    // An authority that is shown, and did not sign.
    let (mut shown, other) = (issued(&params(HOST)), issued(&params(HOST)));
    shown.chain[1] = other.chain[1].clone();
    assert!(!takes(&[published(2, 0, 1, &other.chain[1])], &shown));
    // One that signed, and is not shown.
    let mut shown = issued(&params(HOST));
    let authority = shown.chain.pop().expect("the authority");
    assert!(!takes(&[published(2, 0, 1, &authority)], &shown));
}

#[test]
fn what_cannot_be_matched_is_left_out() {
    let value = |usage, selector, matching, bytes| Value::Certificate {
        usage,
        selector,
        matching,
        data: vec![1; bytes],
    };
    for (usage, selector, matching, bytes) in [
        (0, 1, 1, 32),
        (1, 1, 1, 32),
        (4, 1, 1, 32),
        (255, 1, 1, 32),
        (3, 2, 1, 32),
        (3, 1, 3, 32),
        (3, 1, 1, 31),
        (3, 1, 2, 32),
        (3, 0, 0, 0),
    ] {
        let value = value(usage, selector, matching, bytes);
        assert_eq!(Association::of(&value), None, "{value:?}");
    }
    assert!(Association::of(&value(2, 0, 2, 64)).is_some());
}

fn with_names<F: Future<Output = ()>>(story: impl FnOnce(Table) -> F) {
    let world = SimWorld::new(1);
    let host = world.io().host;
    world.block_on(story(Table::new(&host, 1)));
}

const TLSA: &str = "_25._tcp.mx.example.net";

#[test]
fn a_host_whose_zone_is_signed_and_has_records_demands_its_certificate() {
    with_names(|names| async move {
        let of = async |names: &Table| demand(names, HOST, 25, "example.org").await;
        assert_eq!(of(&names).await, Ok(Demand::None), "it is not there");
        names.set_addresses(HOST, &[[192, 0, 2, 1].into()]);
        names.set_certificates(TLSA, &[(3, 1, 1, &[7; 32])]);
        assert_eq!(of(&names).await, Ok(Demand::None), "the host is not signed");
        names.set_signed(HOST);
        let Ok(Demand::Dane {
            associations,
            domain,
        }) = of(&names).await
        else {
            panic!("it demands one");
        };
        assert_eq!((associations.len(), domain.as_str()), (1, "example.org"));
        names.set_certificates(TLSA, &[(1, 1, 1, &[7; 32]), (3, 1, 1, &[7])]);
        assert_eq!(of(&names).await, Ok(Demand::Tls));
        names.set_certificates(TLSA, &[]);
        assert_eq!(of(&names).await, Ok(Demand::None));
        names.remove(TLSA);
        assert_eq!(of(&names).await, Ok(Demand::None));
    });
}

#[test]
fn a_host_whose_records_cannot_be_known_is_not_used() {
    with_names(|names| async move {
        names.set_addresses(HOST, &[[192, 0, 2, 1].into()]);
        names.set_signed(HOST);
        names.set_certificates(TLSA, &[(3, 1, 1, &[7; 32])]);
        names.set_bogus(TLSA);
        let found = demand(&names, HOST, 25, "example.org").await;
        assert!(matches!(found, Err(NameFault::Unavailable(_))), "{found:?}");
        names.set_slow(HOST, Duration::from_secs(3_600));
        let found = demand(&names, HOST, 25, "example.org").await;
        assert!(matches!(found, Err(NameFault::Unavailable(_))), "{found:?}");
    });
}
