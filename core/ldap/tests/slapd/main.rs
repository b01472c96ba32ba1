//! The crate against slapd, a server that we did not write.

mod server;

use std::sync::Arc;
use std::time::Duration;

use ldap::{Away, Checked, Filter, Ldap, Secret, Server, Settings, Tls};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use server::{BASE, SEARCH, SECRET, Slapd, group, is_installed, person};

fn people() -> String {
    [
        person(
            "ada",
            &[
                "ada@example.org",
                "a.lovelace@example.org",
                "ada@elsewhere.example",
            ],
        ),
        person("bob", &["bob@example.org"]),
        person("eve", &["eve@example.org"]),
        // The two are in each other.
        group("team", Some("team@example.org"), &["uid=ada", "cn=inner"]),
        group("inner", None, &["uid=bob", "cn=team"]),
        group("staff", None, &["cn=Team"]),
    ]
    .concat()
}

fn of(slapd: &Slapd, tls: Tls) -> Server {
    Server {
        url: slapd.url(),
        host: if tls == Tls::Never {
            "127.0.0.1"
        } else {
            "localhost"
        }
        .to_owned(),
        port: slapd.port(),
        tls,
    }
}

fn settings(servers: Vec<Server>) -> Settings {
    Settings {
        servers,
        bind_dn: SEARCH.to_owned(),
        bind_password: Secret::new(SECRET.as_bytes().to_vec()),
        base: BASE.to_owned(),
        user_filter: Filter::parse("(|(mail={address})(uid={user}))").expect("a filter"),
        mail: vec!["mail".to_owned()],
        aliases: vec![],
        disabled: "employeeType".to_owned(),
        domains: vec!["example.org".to_owned()],
        required_group: None,
        has_chain_rule: false,
        groups: Some(Filter::parse("(objectClass=groupOfNames)").expect("a filter")),
        group_base: BASE.to_owned(),
        member: "member".to_owned(),
        user: "uid".to_owned(),
        deadline: Duration::from_secs(20),
    }
}

fn trusting(der: &[Vec<u8>]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for one in der {
        roots
            .add(CertificateDer::from(one.clone()))
            .expect("a certificate");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_root_certificates(roots);
    Arc::new(config.with_no_client_auth())
}

fn start(settings: Settings) -> Ldap {
    Ldap::start(settings, trusting(&[])).expect("a thread")
}

fn wait<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

fn check(ldap: &Ldap, name: &str, password: &str) -> Result<Checked, Away> {
    wait(ldap.check(name.to_owned(), password.as_bytes().to_vec()))
}

#[test]
fn a_password_is_checked_by_a_bind_and_a_name_is_never_a_filter() {
    if !is_installed() {
        return;
    }
    let slapd = Slapd::start(&people(), None);
    let ldap = start(settings(vec![of(&slapd, Tls::Never)]));
    for name in ["ada@example.org", "ada", "A.Lovelace@example.org"] {
        let Ok(Checked::Right(ada)) = check(&ldap, name, "pass ada") else {
            panic!("{name}")
        };
        assert_eq!(ada.dn, "uid=ada,dc=example,dc=org");
        assert_eq!(ada.address.as_deref(), Some("ada@example.org"));
        assert_eq!(
            ada.aliases,
            ["a.lovelace@example.org"],
            "the one elsewhere is not ours"
        );
    }
    assert_eq!(check(&ldap, "ada", "pass bob"), Ok(Checked::Wrong));
    assert_eq!(check(&ldap, "ada", ""), Ok(Checked::Wrong));
    for name in [
        "stranger",
        "*",
        "a*",
        "*)(uid=*",
        "ada)(uid=bob",
        "\\61da",
        "ada\0",
    ] {
        assert_eq!(
            check(&ldap, name, "pass ada"),
            Ok(Checked::Unknown),
            "{name:?}"
        );
    }
    // After all of that it still searches as the one of the settings.
    assert!(matches!(
        check(&ldap, "bob", "pass bob"),
        Ok(Checked::Right(_))
    ));
}

#[test]
fn a_user_who_is_disabled_is_wrong_with_the_right_password() {
    if !is_installed() {
        return;
    }
    let slapd = Slapd::start(&people(), None);
    slapd.change("dn: uid=eve,dc=example,dc=org\nchangetype: modify\nadd: employeeType\nemployeeType: TRUE\n");
    let ldap = start(settings(vec![of(&slapd, Tls::Never)]));
    assert_eq!(check(&ldap, "eve", "pass eve"), Ok(Checked::Wrong));
    let eve = wait(ldap.person("eve".to_owned()))
        .expect("asked")
        .expect("there");
    assert!(eve.is_disabled);
}

#[test]
fn groups_in_groups_are_followed_and_a_cycle_ends() {
    if !is_installed() {
        return;
    }
    let slapd = Slapd::start(&people(), None);
    let ldap = start(settings(vec![of(&slapd, Tls::Never)]));
    let (people, groups) = wait(ldap.everything()).expect("read");
    assert_eq!(people.len(), 3);
    assert_eq!(groups.len(), 1, "the others have no address");
    assert_eq!(groups[0].address, "team@example.org");
    let members = groups[0].members.as_ref().expect("whole");
    assert_eq!(members, &["ada@example.org", "bob@example.org"]);
    let required = Settings {
        required_group: Some("CN=staff, dc=example,dc=org".to_owned()),
        ..settings(vec![of(&slapd, Tls::Never)])
    };
    let ldap = start(required);
    assert!(matches!(
        check(&ldap, "ada", "pass ada"),
        Ok(Checked::Right(_))
    ));
    assert!(matches!(
        check(&ldap, "bob", "pass bob"),
        Ok(Checked::Right(_))
    ));
    assert_eq!(check(&ldap, "eve", "pass eve"), Ok(Checked::Unknown));
    let (people, _) = wait(ldap.everything()).expect("read");
    let mut names: Vec<_> = people
        .iter()
        .filter_map(|person| person.user.clone())
        .collect();
    names.sort();
    assert_eq!(names, ["ada", "bob"]);
}

#[test]
fn many_people_come_in_pages() {
    if !is_installed() {
        return;
    }
    let all: String = (0..1_200)
        .map(|number| person(&format!("p{number}"), &[&format!("p{number}@example.org")]))
        .collect();
    let slapd = Slapd::start(&all, None);
    let ldap = start(settings(vec![of(&slapd, Tls::Never)]));
    let (people, groups) = wait(ldap.everything()).expect("read");
    assert_eq!((people.len(), groups.len()), (1_200, 0));
}

#[test]
fn the_second_server_is_asked_when_the_first_is_gone() {
    if !is_installed() {
        return;
    }
    let (mut first, mut second) = (Slapd::start(&people(), None), Slapd::start(&people(), None));
    let servers = vec![of(&first, Tls::Never), of(&second, Tls::Never)];
    let ldap = start(settings(servers));
    let right = || matches!(check(&ldap, "ada", "pass ada"), Ok(Checked::Right(_)));
    assert!(right());
    first.stop();
    assert!(right(), "the connection that was kept to the first is dead");
    assert!(right());
    let health = ldap.gauges().health();
    assert!(!health[0].is_up && health[1].is_up, "{health:?}");
    second.stop();
    assert!(check(&ldap, "ada", "pass ada").is_err());
    // It was restarted: that costs no login.
    let alone = start(settings(vec![of(&first, Tls::Never)]));
    first.begin();
    let right = || matches!(check(&alone, "ada", "pass ada"), Ok(Checked::Right(_)));
    assert!(right());
    first.stop();
    first.begin();
    assert!(right());
    assert!(alone.gauges().health()[0].is_up);
}

#[test]
fn a_wrong_name_or_base_in_the_settings_is_no_answer() {
    if !is_installed() {
        return;
    }
    let slapd = Slapd::start(&people(), None);
    let wrong = Settings {
        bind_password: Secret::new(b"wrong".to_vec()),
        ..settings(vec![of(&slapd, Tls::Never)])
    };
    let away = check(&start(wrong), "ada", "pass ada").unwrap_err();
    assert!(away.0.contains("bind_dn"), "{away}");
    let wrong = Settings {
        base: "dc=nowhere".to_owned(),
        ..settings(vec![of(&slapd, Tls::Never)])
    };
    assert!(check(&start(wrong.clone()), "ada", "pass ada").is_err());
    assert!(wait(start(wrong).everything()).is_err());
}

#[test]
fn start_tls_needs_a_certificate_that_fits() {
    if !is_installed() {
        return;
    }
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let made = params.self_signed(&key).expect("a certificate");
    let pair = (made.pem(), key.serialize_pem());
    let slapd = Slapd::start(&people(), Some((&pair.0, &pair.1)));
    let inside = settings(vec![of(&slapd, Tls::Start)]);
    let ldap = Ldap::start(inside.clone(), trusting(&[made.der().to_vec()])).expect("a thread");
    assert!(matches!(
        check(&ldap, "ada", "pass ada"),
        Ok(Checked::Right(_))
    ));
    let ldap = Ldap::start(inside.clone(), trusting(&[])).expect("a thread");
    assert!(
        check(&ldap, "ada", "pass ada").is_err(),
        "another authority"
    );
    let elsewhere = Server {
        host: "127.0.0.1".to_owned(),
        ..of(&slapd, Tls::Start)
    };
    let named = settings(vec![elsewhere]);
    let ldap = Ldap::start(named, trusting(&[made.der().to_vec()])).expect("a thread");
    assert!(check(&ldap, "ada", "pass ada").is_err(), "another name");
    // A server without TLS gets no password.
    let plain = Slapd::start(&people(), None);
    let ldap = start(settings(vec![of(&plain, Tls::Start)]));
    assert!(check(&ldap, "ada", "pass ada").is_err());
}
