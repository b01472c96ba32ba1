//! The reporter that is shipped: reports to other domains, from counts on the volume to the queue.

use client::relay::authorities::Authorities;
use client::reporting::{Reporter, Settings};
use feedback::{dmarc, tls};
use queue::Entry;
use reports::{Addition, Day, Key, Subject};
use storage::tallies::{DMARC_SEEN, TLS_SEEN};

use crate::rig::{Disks, MX, Rig, run};
use crate::server::Script;

/// Something was counted for `name`, so many days ago.
async fn count(rig: &Rig, subject: Subject, days: u32, name: &str, head: Vec<u8>) {
    let (reports, _) = rig.outgoing.reports().expect("the rig has some");
    let key = Key {
        subject,
        day: Day(Day::of(rig.now().0).0 - days),
        name: name.to_owned(),
    };
    let addition = Addition {
        key,
        head,
        once: None,
        lines: Vec::new(),
        other: 1,
    };
    reports.add(vec![addition]).await.expect("room");
}

fn dmarc_to(destinations: &str) -> Vec<u8> {
    dmarc::Published {
        policy: "none".to_owned(),
        destinations: destinations.to_owned(),
        ..dmarc::Published::default()
    }
    .encode()
}

fn start(rig: &Rig) {
    let settings = Settings {
        from: "postmaster@example.org".to_owned(),
        organization: "Here".to_owned(),
        dmarc: true,
        tls: true,
        failures: None,
        authorities: Authorities::of_web(),
        port: 443,
        seed: 1,
    };
    let with = (rig.here(), rig.names.clone(), rig.dial.clone());
    let (_, tallies) = rig.outgoing.reports().expect("the rig has some");
    let reporter = Reporter::new(
        rig.sessions(),
        with,
        settings,
        tallies.clone(),
        rig.stop.clone(),
    );
    rig.host
        .spawn(Box::pin(async move { reporter.run().await }));
}

/// What the reporter has put into the queue six hours after `begin`.
fn waiting(begin: impl AsyncFnOnce(&Rig)) -> Vec<Entry> {
    let disks = Disks::new(1);
    let rig = disks.world.block_on(async {
        let rig = disks.open().await;
        begin(&rig).await;
        start(&rig);
        rig
    });
    disks.pass(6);
    rig.outgoing.list(None, 9)
}

fn recipients(waiting: &[Entry]) -> Vec<&str> {
    let each = waiting.iter();
    each.map(|entry| &entry.recipients[0].to.path[..]).collect()
}

/// A stranger may name as many of them as they like.
#[test]
fn web_servers_that_take_no_report_keep_no_other_report_waiting() {
    let waiting = waiting(async |rig| {
        for domain in 0..20 {
            let name = format!("{domain}.a.example");
            let each = (0..5).map(|path| format!("https://dead.{name}/{path}"));
            let head = tls::Published {
                destinations: each.collect::<Vec<_>>().join(","),
                ..tls::Published::default()
            };
            count(rig, TLS_SEEN, 2, &name, head.encode()).await;
        }
        let head = dmarc_to("mailto:d@b.example");
        count(rig, DMARC_SEEN, 1, "b.example", head).await;
    });
    assert_eq!(recipients(&waiting), ["d@b.example"]);
}

#[test]
fn only_a_report_of_tls_passes_by_the_policies_about_tls() {
    let waiting = waiting(async |rig| {
        let head = dmarc_to("mailto:d@b.example");
        count(rig, DMARC_SEEN, 1, "b.example", head).await;
    });
    let [report] = &waiting[..] else {
        panic!("one report: {waiting:?}");
    };
    assert_eq!(report.from, "", "nothing comes back about it");
    assert!(!report.terms.is_report);
}

/// The host of an address is asked before anything goes there.
#[test]
fn a_host_that_did_not_ask_for_reports_gets_none() {
    let waiting = waiting(async |rig| {
        let victim = dmarc_to("mailto:x@victim.example,mailto:y@victim.example");
        count(rig, DMARC_SEEN, 1, "a.example", victim).await;
        rig.names.set_texts(
            "b.example._report._dmarc.there.example",
            &["v=DMARC1; rua=mailto:d@there.example"],
        );
        let there = dmarc_to("mailto:x@there.example,mailto:y@there.example");
        count(rig, DMARC_SEEN, 1, "b.example", there).await;
    });
    let to = recipients(&waiting);
    assert_eq!(to, ["d@there.example"], "once, where its host wants it");
}

/// The domain demands TLS that is proved, and its server has none: a report of that gets through, and nothing goes along with it.
#[test]
fn nothing_goes_over_a_connection_that_was_made_for_a_report() {
    run(|rig| async move {
        let server = rig.server("a.example", 1, Script::usual());
        rig.publish("a.example", "_25._tcp.mx.a.example");
        let mut report = rig.envelope("", &["r@a.example"]);
        report.terms.is_report = true;
        rig.submit("report", report).await;
        let letter = rig.put("letter", &["x@a.example"]).await;
        let _running = rig.send(MX);
        rig.until(20, "the report", || server.count() == 1).await;
        rig.sleep(600).await;
        let got = server.got();
        let recipients: Vec<&String> = got.iter().flat_map(|one| &one.recipients).collect();
        assert_eq!(recipients, ["RCPT TO:<r@a.example>"]);
        assert!(rig.entry(letter).is_some(), "it waits for TLS");
    });
}
