//! MTA-STS, the sender's side: policy servers and mail servers with every kind of fault, on virtual time.

mod hostile;

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use client::relay::authorities::Authorities;
use client::relay::sts::Settings;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;

use crate::rig::{Disks, MX, Rig, run};
use crate::server::{Answer, Script, Server, say};

const OFFERS: [&str; 2] = ["PIPELINING", "STARTTLS"];
const ENFORCE: &str = "version: STSv1\r\nmode: enforce\r\nmx: *.a.example\r\nmax_age: 604800\r\n";

/// An authority that the sender trusts, and what it signs.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signed");
        Authority { issuer }
    }

    fn settings(&self) -> Option<Settings> {
        let authorities = Authorities::of(&[self.issuer.der().clone()]);
        Some(Settings {
            authorities: authorities.expect("it is one"),
            port: 443,
        })
    }

    fn issue(&self, name: &str) -> Vec<CertificateDer<'static>> {
        self.issue_until(name, 4_000)
    }

    fn issue_until(&self, name: &str, year: i32) -> Vec<CertificateDer<'static>> {
        self.issue_with(vec![name.to_owned()], year)
    }

    fn issue_for(&self, names: Vec<String>) -> Vec<CertificateDer<'static>> {
        self.issue_with(names, 4_000)
    }

    fn issue_with(&self, names: Vec<String>, year: i32) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::new(names).expect("names");
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("signed");
        vec![signed.der().clone()]
    }
}

fn self_signed(name: &str) -> Vec<CertificateDer<'static>> {
    let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    let key = KeyPair::generate().expect("a key");
    vec![params.self_signed(&key).expect("signed").der().clone()]
}

/// Serves one response to everything, at 192.0.2.99.
#[derive(Clone)]
struct PolicyServer {
    response: Rc<RefCell<Option<String>>>,
    asked: Rc<Cell<usize>>,
    requests: Rc<RefCell<Vec<String>>>,
    /// The connection ends behind the response without a word under TLS.
    cuts: Rc<Cell<bool>>,
}

fn plain(policy: &str) -> String {
    let length = policy.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{policy}"
    )
}

impl PolicyServer {
    /// `response` of `None`: it hangs.
    fn start(
        rig: &Rig,
        domain: &str,
        certificates: Vec<CertificateDer<'static>>,
        response: Option<String>,
    ) -> PolicyServer {
        let address = IpAddr::from([192, 0, 2, 99]);
        rig.names
            .set_addresses(&format!("mta-sts.{domain}"), &[address]);
        rig.names
            .set_texts(&format!("_mta-sts.{domain}"), &["v=STSv1; id=1;"]);
        let listener = rig.dial.listen(SocketAddr::new(address, 443));
        let server = PolicyServer {
            response: Rc::new(RefCell::new(response)),
            asked: Rc::default(),
            requests: Rc::default(),
            cuts: Rc::default(),
        };
        let this = server.clone();
        rig.host.spawn(Box::pin(async move {
            loop {
                // until the world ends
                let peer = listener.accept().await;
                this.asked.set(this.asked.get() + 1);
                peer.start_tls_showing(certificates.clone());
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    if peer.receive(&mut request, 4_096).await == 0 {
                        break;
                    }
                }
                let request = String::from_utf8_lossy(&request).into_owned();
                this.requests.borrow_mut().push(request);
                let response = this.response.borrow().clone();
                match response {
                    Some(response) => _ = peer.send(response.as_bytes()).await,
                    None => while peer.receive(&mut Vec::new(), 4_096).await > 0 {},
                }
                if this.cuts.get() {
                    peer.cut();
                }
            }
        }));
        server
    }
}

/// The domain `a.example`, its mail server and its policy server.
fn domain(
    rig: &Rig,
    authority: &Authority,
    script: Script,
    policy: &str,
) -> (Server, PolicyServer) {
    let server = rig.server("a.example", 1, script);
    let shown = authority.issue("mta-sts.a.example");
    let policies = PolicyServer::start(rig, "a.example", shown, Some(plain(policy)));
    (server, policies)
}

#[test]
fn a_server_that_meets_the_policy_gets_mail_and_the_policy_is_fetched_once() {
    run(|rig| async move {
        let authority = Authority::new();
        let shown = authority.issue("mx.a.example");
        let script = Script::usual().offering(&OFFERS).showing(shown);
        let (server, policies) = domain(&rig, &authority, script, ENFORCE);
        let running = rig.send_with(MX, authority.settings());
        for text in ["one", "two"] {
            rig.put(text, &["x@a.example"]).await;
            let count = server.count() + 1;
            rig.until(10, "it arrives", || server.count() == count)
                .await;
            rig.at_rest(&running).await;
        }
        assert!(server.got().iter().all(|got| got.in_tls));
        assert_eq!(running.counters.policies_met.load(Relaxed), 2);
        assert_eq!(policies.asked.get(), 1, "it is kept");
        let request = policies.requests.borrow()[0].clone();
        assert!(
            request.starts_with(
                "GET /.well-known/mta-sts.txt HTTP/1.1\r\nHost: mta-sts.a.example\r\n"
            )
        );
    });
}

#[test]
fn a_server_that_does_not_meet_it_gets_nothing_where_it_is_enforced_and_mail_where_it_is_tested() {
    let authority = Rc::new(Authority::new());
    let with =
        |shown: Vec<CertificateDer<'static>>| Script::usual().offering(&OFFERS).showing(shown);
    for (script, why) in [
        (
            with(authority.issue_until("mx.a.example", 2_001)),
            "has expired",
        ),
        (with(self_signed("mx.a.example")), "not from an authority"),
        (
            with(authority.issue("mx.other.example")),
            "for another name",
        ),
        (with(Vec::new()), "not valid"),
        (Script::usual(), "offers no TLS"),
        (
            Script::at("STARTTLS", Some(Answer::BadTls)).offering(&OFFERS),
            "TLS failed",
        ),
        (
            Script::at("STARTTLS", say("454 4.7.0 not now")).offering(&OFFERS),
            "STARTTLS was refused",
        ),
    ] {
        for mode in ["enforce", "testing"] {
            let (authority, script) = (authority.clone(), script.clone());
            run(|rig| async move {
                let policy = ENFORCE.replace("enforce", mode);
                let (server, _) = domain(&rig, &authority, script, &policy);
                let running = rig.send_with(MX, authority.settings());
                let id = rig.put("secret", &["x@a.example"]).await;
                if mode == "testing" {
                    rig.until(60, "it arrives", || server.count() == 1).await;
                    assert_eq!(
                        running.counters.policies_unmet_testing.load(Relaxed),
                        1,
                        "{why}"
                    );
                    return;
                }
                rig.until(60, "it is put off", || !rig.reply(id).is_empty())
                    .await;
                let reply = rig.reply(id);
                assert!(reply.starts_with("4.7.5") && reply.contains(why), "{reply}");
                assert!(reply.contains("MTA-STS"), "{reply}");
                rig.sleep(1_800).await;
                assert_eq!(server.count(), 0, "{why}");
                assert!(running.counters.policies_unmet.load(Relaxed) >= 1);
                assert!(rig.entry(id).is_some());
            });
        }
    }
}

#[test]
fn a_server_that_the_policy_does_not_name_is_passed_over() {
    run(|rig| async move {
        let authority = Authority::new();
        let script = |name: &str| {
            let shown = authority.issue(name);
            Script::usual().offering(&OFFERS).showing(shown)
        };
        let (good, _) = domain(&rig, &authority, script("mx.a.example"), ENFORCE);
        let evil = rig.server("evil.example", 2, script("mx.evil.example"));
        let both = [(5, "mx.evil.example"), (10, "mx.a.example")];
        rig.names.set_exchangers("a.example", &both);
        rig.send_with(MX, authority.settings());
        rig.put("one", &["x@a.example"]).await;
        rig.until(10, "it arrives", || good.count() == 1).await;
        assert_eq!(evil.connections().0, 0);
        // Nothing but the other one is named by DNS.
        rig.names.set_exchangers("a.example", &both[..1]);
        rig.sleep(60).await;
        let id = rig.put("two", &["x@a.example"]).await;
        rig.until(60, "it is put off", || !rig.reply(id).is_empty())
            .await;
        let reply = rig.reply(id);
        assert!(
            reply.starts_with("4.7.5") && reply.contains("mx.evil.example"),
            "{reply}"
        );
        assert_eq!(evil.connections().0, 0);
    });
}

#[test]
fn a_policy_that_cannot_be_had_demands_nothing_and_is_asked_for_again_later() {
    let authority = Rc::new(Authority::new());
    let good = authority.issue("mta-sts.a.example");
    let html = plain(ENFORCE).replace("text/plain", "text/html");
    let long = plain(&format!("{ENFORCE}x: {}\r\n", "y".repeat(65_536)));
    let moved = "HTTP/1.1 302 Found\r\nLocation: https://mta-sts.a.example/x\r\n\r\n".to_owned();
    for (shown, response) in [
        (good.clone(), None),
        (good.clone(), Some(html)),
        (good.clone(), Some(long)),
        (good.clone(), Some(moved)),
        (
            good.clone(),
            Some(plain("version: STSv1\r\nmode: enforce\r\n")),
        ),
        (
            authority.issue_until("mta-sts.a.example", 2_001),
            Some(plain(ENFORCE)),
        ),
        (self_signed("mta-sts.a.example"), Some(plain(ENFORCE))),
        (authority.issue("a.example"), Some(plain(ENFORCE))),
    ] {
        let authority = authority.clone();
        run(|rig| async move {
            let server = rig.server("a.example", 1, Script::usual());
            let policies = PolicyServer::start(&rig, "a.example", shown, response);
            let running = rig.send_with(MX, authority.settings());
            rig.put("one", &["x@a.example"]).await;
            rig.until(90, "it arrives", || server.count() == 1).await;
            assert_eq!(running.counters.policy_faults.load(Relaxed), 1);
            rig.at_rest(&running).await;
            rig.put("two", &["x@a.example"]).await;
            rig.until(10, "it arrives", || server.count() == 2).await;
            rig.at_rest(&running).await;
            assert_eq!(policies.asked.get(), 1, "not so soon");
            rig.sleep(400).await;
            rig.put("three", &["x@a.example"]).await;
            rig.until(90, "it arrives", || server.count() == 3).await;
            rig.at_rest(&running).await;
            assert_eq!(policies.asked.get(), 2);
        });
    }
}

/// An attacker that silences DNS and the policy server gets no mail in clear until the policy ends.
#[test]
fn a_kept_policy_outlives_a_power_cut_its_record_and_its_server() {
    let authority = Rc::new(Authority::new());
    let disks = Disks::new(1);
    let good = |authority: &Authority| {
        let shown = authority.issue("mx.a.example");
        Script::usual().offering(&OFFERS).showing(shown)
    };
    disks.world.block_on(async {
        let rig = disks.open().await;
        let (server, _) = domain(&rig, &authority, good(&authority), ENFORCE);
        rig.send_with(MX, authority.settings());
        rig.alice().await;
        rig.put("one", &["x@a.example"]).await;
        rig.until(10, "it arrives", || server.count() == 1).await;
    });
    disks.world.crash();
    disks.world.block_on(async {
        let rig = disks.open().await;
        let server = rig.server("a.example", 1, Script::usual());
        rig.send_with(MX, authority.settings());
        let id = rig.put("two", &["x@a.example"]).await;
        rig.until(60, "it is put off", || !rig.reply(id).is_empty())
            .await;
        assert!(rig.reply(id).contains("MTA-STS"), "{}", rig.reply(id));
        assert_eq!(server.count(), 0);
    });
    disks.pass(7 * 24);
    disks.world.block_on(async {
        let rig = disks.open().await;
        let server = rig.server("a.example", 1, Script::usual());
        rig.send_with(MX, authority.settings());
        rig.put("three", &["x@a.example"]).await;
        rig.until(60, "it has ended", || server.count() >= 1).await;
    });
}

const NONE: &str = "version: STSv1\r\nmode: none\r\nmax_age: 604800\r\n";

#[test]
fn a_policy_that_was_not_met_is_fetched_again_although_its_id_is_the_same() {
    run(|rig| async move {
        let authority = Authority::new();
        let script = Script::usual().offering(&OFFERS);
        let (server, policies) = domain(&rig, &authority, script, ENFORCE);
        let running = rig.send_with(MX, authority.settings());
        let id = rig.put("one", &["x@a.example"]).await;
        rig.until(60, "it is put off", || !rig.reply(id).is_empty())
            .await;
        *policies.response.borrow_mut() = Some(plain(NONE));
        rig.until(2_400, "it arrives", || server.count() == 1).await;
        rig.at_rest(&running).await;
        assert_eq!(policies.asked.get(), 2);
    });
}

/// The policy was kept by a process that is gone, and its domain changed it without another id.
#[test]
fn a_policy_that_was_not_met_after_a_restart_is_fetched_again() {
    let authority = Authority::new();
    let disks = Disks::new(1);
    disks.world.block_on(async {
        let rig = disks.open().await;
        let script = Script::usual()
            .offering(&OFFERS)
            .showing(authority.issue("mx.a.example"));
        let (server, _) = domain(&rig, &authority, script, ENFORCE);
        rig.send_with(MX, authority.settings());
        rig.put("one", &["x@a.example"]).await;
        rig.until(10, "it arrives", || server.count() == 1).await;
    });
    disks.world.crash();
    disks.world.block_on(async {
        let rig = disks.open().await;
        let (server, policies) = domain(&rig, &authority, Script::usual(), NONE);
        rig.send_with(MX, authority.settings());
        let id = rig.put("two", &["x@a.example"]).await;
        rig.until(60, "it is put off", || !rig.reply(id).is_empty())
            .await;
        assert_eq!(policies.asked.get(), 0, "the id is the same");
        rig.until(2_400, "it arrives", || server.count() >= 1).await;
        assert_eq!(policies.asked.get(), 1);
    });
}

#[test]
fn another_id_brings_another_policy_and_so_does_the_next_day() {
    let authority = Authority::new();
    let disks = Disks::new(1);
    let rig = disks.world.block_on(disks.open());
    let script = Script::usual().offering(&OFFERS);
    let (server, policies) = domain(&rig, &authority, script, NONE);
    let running = rig.send_with(MX, authority.settings());
    let arrives = async |text: &str| {
        let count = server.count() + 1;
        rig.put(text, &["x@a.example"]).await;
        rig.until(60, "it arrives", || server.count() == count)
            .await;
        rig.at_rest(&running).await;
    };
    disks.world.block_on(async {
        arrives("one").await;
        rig.sleep(400).await;
        *policies.response.borrow_mut() = Some(plain(ENFORCE));
        arrives("two").await;
        assert_eq!(policies.asked.get(), 1, "the id is the same");
    });
    disks.pass(24);
    *policies.response.borrow_mut() = Some(plain(NONE));
    disks.world.block_on(async {
        arrives("three").await;
        assert_eq!(policies.asked.get(), 2, "a day has passed");
        rig.sleep(400).await;
        rig.names
            .set_texts("_mta-sts.a.example", &["v=STSv1; id=2;"]);
        *policies.response.borrow_mut() = Some(plain(ENFORCE));
        let id = rig.put("four", &["x@a.example"]).await;
        rig.until(60, "it is put off", || !rig.reply(id).is_empty())
            .await;
        assert_eq!((policies.asked.get(), server.count()), (3, 3));
    });
}

/// RFC 8461 §2: a policy does not excuse a server from what its domain publishes as DANE; and where that is met the policy is not asked.
#[test]
fn dane_comes_before_a_policy() {
    run(|rig| async move {
        let authority = Authority::new();
        let script = Script::usual().offering(&OFFERS);
        let (server, _) = domain(&rig, &authority, script, ENFORCE);
        rig.publish("a.example", "_25._tcp.mx.a.example");
        let running = rig.send_with(MX, authority.settings());
        rig.put("one", &["x@a.example"]).await;
        rig.until(10, "it arrives", || server.count() == 1).await;
        assert_eq!(running.counters.proved.load(Relaxed), 1);
        assert_eq!(running.counters.policies_met.load(Relaxed), 0);
    });
}

#[test]
fn a_server_that_the_operator_names_is_not_held_to_a_policy() {
    run(|rig| async move {
        let authority = Authority::new();
        let (_, policies) = domain(&rig, &authority, Script::usual(), ENFORCE);
        let smart = rig.server("smart.example", 5, Script::usual());
        let route = client::relay::Route::Fixed("mx.smart.example:25".parse().expect("right"));
        rig.send_with(route, authority.settings());
        rig.put("one", &["x@a.example"]).await;
        rig.until(10, "it arrives", || smart.count() == 1).await;
        assert_eq!(policies.asked.get(), 0);
    });
}
