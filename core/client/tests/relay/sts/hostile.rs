//! What would let mail go in clear, or to another server, although its domain has a policy that says `enforce`.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;

use runtime::dial::memory::Manner;

use super::{Authority, ENFORCE, OFFERS, PolicyServer, domain, plain, self_signed};
use crate::rig::{MX, Rig, run};
use crate::server::{Script, Server};

/// The message waits for the policy, and still does half an hour later.
async fn waits(rig: &Rig, server: &Server, to: &str) {
    let id = rig.put("secret", &[to]).await;
    rig.until(90, "it is put off", || !rig.reply(id).is_empty())
        .await;
    assert!(rig.reply(id).contains("MTA-STS"), "{}", rig.reply(id));
    rig.sleep(1_800).await;
    assert!(rig.reply(id).contains("MTA-STS"), "{}", rig.reply(id));
    assert_eq!(server.count(), 0);
}

/// RFC 7672 §2.2: records that cannot be used demand TLS and prove nothing, so that the policy is all there is to know the server by.
#[test]
fn tlsa_records_that_cannot_be_used_do_not_switch_an_enforced_policy_off() {
    let unusable = |rig: &Rig| {
        let place = "_25._tcp.mx.a.example";
        rig.publish("a.example", place);
        rig.names.set_certificates(place, &[(0, 0, 1, &[7; 32])]);
    };
    run(|rig| async move {
        let authority = Authority::new();
        let shown = self_signed("mx.a.example");
        let script = Script::usual().offering(&OFFERS).showing(shown);
        let (server, _) = domain(&rig, &authority, script, ENFORCE);
        unusable(&rig);
        rig.send_with(MX, authority.settings());
        waits(&rig, &server, "x@a.example").await;
    });
    run(|rig| async move {
        let authority = Authority::new();
        let shown = authority.issue("mx.a.example");
        let script = Script::usual().offering(&OFFERS).showing(shown);
        let (server, _) = domain(&rig, &authority, script, ENFORCE);
        unusable(&rig);
        let running = rig.send_with(MX, authority.settings());
        rig.put("one", &["x@a.example"]).await;
        rig.until(10, "it arrives", || server.count() == 1).await;
        assert_eq!(running.counters.policies_met.load(Relaxed), 1);
    });
    // A policy under test takes nothing from what the records demand.
    run(|rig| async move {
        let authority = Authority::new();
        let policy = ENFORCE.replace("enforce", "testing");
        let (server, _) = domain(&rig, &authority, Script::usual(), &policy);
        unusable(&rig);
        rig.send_with(MX, authority.settings());
        let id = rig.put("one", &["x@a.example"]).await;
        rig.until(60, "it is put off", || !rig.reply(id).is_empty())
            .await;
        assert!(rig.reply(id).contains("DANE"), "{}", rig.reply(id));
        assert_eq!(server.count(), 0);
    });
}

/// Between its end and the next fetch that is allowed there would be no policy.
#[test]
fn a_policy_counts_for_as_long_as_it_may_not_be_fetched_again() {
    for max_age in ["0", "1", "299"] {
        run(|rig| async move {
            let authority = Authority::new();
            let policy = ENFORCE.replace("604800", max_age);
            let (server, policies) = domain(&rig, &authority, Script::usual(), &policy);
            rig.send_with(MX, authority.settings());
            for _ in 0..10 {
                rig.put("secret", &["x@a.example"]).await;
                rig.sleep(70).await;
            }
            assert_eq!(server.count(), 0);
            assert!(policies.asked.get() >= 2, "it is fetched again");
        });
    }
}

/// An attacker on the way can end a TCP connection, and not what is said under TLS. The last pattern would be another name.
#[test]
fn a_policy_that_is_cut_short_is_not_a_shorter_policy() {
    for is_cut in [true, false] {
        run(|rig| async move {
            let authority = Authority::new();
            let server = rig.server("a.example", 1, Script::usual());
            let shown = authority.issue("mta-sts.a.example");
            let text = "version: STSv1\nmode: enforce\nmax_age: 9000\nmx: mx.other.ex";
            let response = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n{text}");
            let policies = PolicyServer::start(&rig, "a.example", shown, Some(response));
            policies.cuts.set(is_cut);
            let running = rig.send_with(MX, authority.settings());
            let id = rig.put("one", &["x@a.example"]).await;
            if !is_cut {
                rig.until(60, "it is put off", || !rig.reply(id).is_empty())
                    .await;
                assert!(rig.reply(id).contains("MTA-STS"), "{}", rig.reply(id));
                return;
            }
            rig.until(60, "there is no policy", || server.count() == 1)
                .await;
            assert_eq!(running.counters.policy_faults.load(Relaxed), 1);
        });
    }
}

/// Servers that accept, prove who they are and say nothing for a minute.
#[test]
fn silent_policy_servers_do_not_delay_the_policy_of_another() {
    for is_shown in [true, false] {
        run(|rig| async move {
            let authority = Authority::new();
            let silent = IpAddr::from([192, 0, 2, 98]);
            let domains: Vec<String> = (0..45).map(|each| format!("d{each}.example")).collect();
            let hosts = domains.iter().map(|one| format!("mta-sts.{one}")).collect();
            let shown = authority.issue_for(hosts);
            let listener = rig.dial.listen(SocketAddr::new(silent, 443));
            rig.host.spawn(Box::pin(async move {
                let mut peers = Vec::new();
                loop {
                    // until the world ends
                    let peer = listener.accept().await;
                    if is_shown {
                        peer.start_tls_showing(shown.clone());
                    }
                    peers.push(peer);
                }
            }));
            let (server, _) = domain(&rig, &authority, Script::usual(), ENFORCE);
            rig.send_with(MX, authority.settings());
            for one in &domains {
                rig.names.set_exchangers(one, &[(10, "mx.d.example")]);
                rig.names
                    .set_addresses(&format!("mta-sts.{one}"), &[silent]);
                rig.names
                    .set_texts(&format!("_mta-sts.{one}"), &["v=STSv1; id=1;"]);
                rig.put("hold", &[&format!("x@{one}")]).await;
            }
            let id = rig.put("secret", &["x@a.example"]).await;
            let reply = || rig.reply(id);
            rig.until(30, "it is put off", || !reply().is_empty()).await;
            assert!(reply().contains("MTA-STS"), "{}", reply());
            assert_eq!(server.count(), 0);
        });
    }
}

/// A sender may write a domain in letters; its policy is that of the A-labels.
#[test]
fn a_domain_has_one_policy_in_each_spelling() {
    run(|rig| async move {
        let authority = Authority::new();
        let name = "xn--bcher-kva.example";
        let server = rig.server(name, 1, Script::usual());
        let shown = authority.issue(&format!("mta-sts.{name}"));
        let policy = ENFORCE.replace("a.example", name);
        let policies = PolicyServer::start(&rig, name, shown, Some(plain(&policy)));
        rig.send_with(MX, authority.settings());
        for domain in ["b\u{fc}cher.example", "XN--Bcher-KVA.Example", name] {
            let id = rig.put("secret", &[&format!("x@{domain}")]).await;
            rig.until(90, "it is put off", || !rig.reply(id).is_empty())
                .await;
            assert!(rig.reply(id).contains("MTA-STS"), "{}", rig.reply(id));
        }
        assert_eq!((server.count(), policies.asked.get()), (0, 1));
    });
}

/// Our own want of descriptors says nothing of a domain: a peer that spends them would switch its policy off.
#[test]
fn a_policy_that_we_have_no_connection_for_is_waited_for() {
    run(|rig| async move {
        let authority = Authority::new();
        let (server, policies) = domain(&rig, &authority, Script::usual(), ENFORCE);
        let place = SocketAddr::from(([192, 0, 2, 99], 443));
        rig.dial.set(place, Manner::Busy);
        let running = rig.send_with(MX, authority.settings());
        let id = rig.put("secret", &["x@a.example"]).await;
        rig.until(60, "it is put off", || !rig.reply(id).is_empty())
            .await;
        assert!(rig.reply(id).starts_with("4.3.2"), "{}", rig.reply(id));
        rig.dial.set(place, Manner::Answers);
        waits(&rig, &server, "x@a.example").await;
        assert!(policies.asked.get() >= 1);
        assert_eq!(running.counters.policy_faults.load(Relaxed), 0);
    });
}

/// What is longer than policies are is held against the memory of mail, and comes through all the same.
#[test]
fn a_long_response_is_read_whole() {
    run(|rig| async move {
        let authority = Authority::new();
        let policy = format!("{ENFORCE}x-long: {}\r\n", "y".repeat(60_000));
        let (server, policies) = domain(&rig, &authority, Script::usual(), &policy);
        *policies.response.borrow_mut() = Some(plain(&policy));
        rig.send_with(MX, authority.settings());
        waits(&rig, &server, "x@a.example").await;
    });
}
