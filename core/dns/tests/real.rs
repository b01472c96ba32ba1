//! The resolver, on a core, against Knot DNS (package `knot`) with a zone of the test's own, on a high port of loopback.
//!
//! Where Knot is not installed the stories say so and end, unless `RINGPOST_CI` is set. `cargo xtask test --only real` installs it.

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use dns::limits::EXCHANGERS_MAX;
use dns::{Exchangers, Kind, NameFault, Names, Patience, Resolver, Servers, Value};
use runtime::{Core, CoreSettings};

const PATIENCE: Patience = Patience {
    waits: [
        Duration::from_millis(200),
        Duration::from_secs(5),
        Duration::from_secs(20),
    ],
    deadline: Duration::from_secs(60),
};

/// A running name server; stopped when it is dropped.
struct Knot {
    address: SocketAddr,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Drop for Knot {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `None`, and a line about it, where Knot is not installed.
fn knot() -> Option<Knot> {
    let Some(program) = installed("knotd") else {
        assert!(
            std::env::var_os("RINGPOST_CI").is_none(),
            "the package knot is missing: apt-get install knot"
        );
        eprintln!("skipped: the package knot is not installed");
        return None;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let address = free_port();
    std::fs::write(at.join("example.zone"), zone()).expect("it is ours");
    std::fs::write(at.join("reverse.zone"), REVERSE_ZONE).expect("it is ours");
    std::fs::write(at.join("knot.conf"), settings(at, address)).expect("it is ours");
    let mut process = Command::new(program)
        .arg("-c")
        .arg(at.join("knot.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let said = process.stderr.take().expect("it is a pipe");
    let (sender, started) = mpsc::channel();
    // Reads on to the end, so that the server never waits for room in the pipe.
    std::thread::spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            eprintln!("knotd: {line}");
            if line.contains("server started") {
                let _ = sender.send(());
            }
        }
    });
    let knot = Knot {
        address,
        process,
        _folder: folder,
    };
    started
        .recv_timeout(Duration::from_secs(60))
        .expect("Knot starts");
    Some(knot)
}

fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Free for UDP and for TCP.
fn free_port() -> SocketAddr {
    for _ in 0..100 {
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let address = udp.local_addr().expect("bound");
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port is free");
}

fn settings(folder: &Path, address: SocketAddr) -> String {
    let folder = folder.display();
    format!(
        "server:\n    listen: {}@{}\n    rundir: {folder}\n    udp-workers: 1\n    tcp-workers: 1\n    background-workers: 1\n\
         log:\n  - target: stderr\n    any: info\n\
         database:\n    storage: {folder}\n\
         zone:\n  - domain: example\n    file: {folder}/example.zone\n    zonefile-sync: -1\n    journal-content: none\n  \
           - domain: 2.0.192.in-addr.arpa\n    file: {folder}/reverse.zone\n    zonefile-sync: -1\n    journal-content: none\n",
        address.ip(),
        address.port()
    )
}

const REVERSE_ZONE: &str = "$ORIGIN 2.0.192.in-addr.arpa.\n$TTL 300\n\
    @ SOA ns.example. hostmaster.example. 1 3600 600 86400 120\n@ NS ns.example.\n\
    7 PTR Plain.example.\n7 PTR other.example.\n";

fn zone() -> String {
    let mut zone = String::from(
        "$ORIGIN example.\n$TTL 300\n\
         @ SOA ns hostmaster 1 3600 600 86400 120\n\
         @ NS ns\n\
         ns A 127.0.0.1\n\
         order MX 20 b.order\norder MX 10 a.order\norder MX 30 c.order\n\
         a.order A 192.0.2.1\na.order AAAA 2001:db8::1\na.order A 192.0.2.2\n\
         equal MX 10 x\nequal MX 10 y\nequal MX 20 z\n\
         null MX 0 .\n\
         plain A 192.0.2.7\n\
         six AAAA 2001:db8::6\n\
         text TXT \"no host\"\n\
         _dmarc TXT \"v=DMARC1; p=reject\"\n\
         signed TXT \"v=spf1 \" \"mx -all\"\nsigned TXT other\n\
         key._domainkey CNAME key.elsewhere\nkey.elsewhere TXT \"v=DKIM1; p=\"\n\
         alias CNAME order\n\
         away CNAME elsewhere.test.\n\
         round CNAME round2\nround2 CNAME round\n\
         xn--bcher-kva MX 5 a.order\n\
         2.0.0.127.list A 127.0.0.2\n2.0.0.127.list TXT \"see https://list.example\"\n\
         b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.list A 127.0.0.4\n",
    );
    for at in 0..100 {
        zone.push_str(&format!("many MX {} host{at}.many\n", 1_000 - at));
        zone.push_str(&format!("host{at}.many A 198.51.100.{at}\n"));
    }
    // Some 2 KiB: more than a datagram that we ask for.
    for at in 0..100 {
        zone.push_str(&format!("large A 203.0.113.{at}\n"));
    }
    zone
}

/// Runs `story` with a resolver on a core.
fn on_a_core<S, F>(servers: Vec<SocketAddr>, story: S)
where
    S: FnOnce(Resolver) -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    let (sender, ended) = mpsc::channel();
    let settings = CoreSettings {
        name: "names".into(),
        cpu: None,
    };
    let core = Core::start(settings, move |_| async move {
        story(Resolver::with_patience(
            Servers::fixed(servers),
            1,
            PATIENCE,
        ))
        .await;
        sender.send(()).expect("the test waits");
    })
    .expect("a core");
    ended.recv().expect("the story ends well");
    core.join();
}

async fn hosts(names: &Resolver, domain: &str) -> Vec<(u16, String)> {
    match names.exchangers(domain).await {
        Ok(Exchangers::Hosts(hosts)) => hosts
            .into_iter()
            .map(|one| (one.preference, one.host))
            .collect(),
        other => panic!("{domain}: {other:?}"),
    }
}

fn row(preference: u16, host: &str) -> (u16, String) {
    (preference, host.to_owned())
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn mail_goes_where_the_zone_says() {
    let Some(knot) = knot() else { return };
    on_a_core(vec![knot.address], |names| async move {
        let order = [
            row(10, "a.order.example"),
            row(20, "b.order.example"),
            row(30, "c.order.example"),
        ];
        assert_eq!(hosts(&names, "order.example").await, order);
        assert_eq!(hosts(&names, "ORDER.Example.").await, order);
        assert_eq!(hosts(&names, "alias.example").await, order);
        let equal = hosts(&names, "equal.example").await;
        assert_eq!(equal[2], row(20, "z.example"));
        assert_eq!((equal[0].0, equal[1].0), (10, 10));
        assert_eq!(
            names.exchangers("null.example").await,
            Ok(Exchangers::Nowhere)
        );
        assert_eq!(
            hosts(&names, "plain.example").await,
            [row(0, "plain.example")]
        );
        assert_eq!(hosts(&names, "six.example").await, [row(0, "six.example")]);
        assert_eq!(
            hosts(&names, "bücher.example").await,
            [row(5, "a.order.example")]
        );
        let mut found = names.addresses("a.order.example").await.expect("addresses");
        assert_eq!(found[0], address("2001:db8::1"));
        found.sort();
        let all = ["192.0.2.1", "192.0.2.2", "2001:db8::1"].map(address);
        assert_eq!(found, all);
    });
}

#[test]
fn what_is_absent_is_told_from_what_is_unknown() {
    let Some(knot) = knot() else { return };
    on_a_core(vec![knot.address], |names| async move {
        for absent in ["absent.example", "text.example"] {
            let no = NameFault::NoSuchDomain;
            assert_eq!(names.exchangers(absent).await, Err(no.clone()), "{absent}");
            assert_eq!(names.addresses(absent).await, Err(no), "{absent}");
        }
        let absent = names.texts("absent.example").await;
        assert_eq!(absent, Err(NameFault::NoSuchDomain));
        assert_eq!(names.texts("plain.example").await, Ok(Vec::new()));
        for unknown in ["elsewhere.test", "away.example", "round.example"] {
            let found = names.texts(unknown).await;
            assert!(matches!(found, Err(NameFault::Unavailable(_))), "{unknown}");
        }
        // It has MX records only: a domain, and no host.
        let no = Err(NameFault::NoSuchDomain);
        assert_eq!(names.addresses("order.example").await, no);
        // A zone that this server does not have, reached at once and through an alias; and aliases in a circle.
        for unknown in ["elsewhere.test", "away.example", "round.example"] {
            let found = names.exchangers(unknown).await;
            assert!(
                matches!(found, Err(NameFault::Unavailable(_))),
                "{unknown}: {found:?}"
            );
        }
    });
}

#[test]
fn texts_and_names_of_addresses_are_what_the_zones_say() {
    let Some(knot) = knot() else { return };
    on_a_core(vec![knot.address], |names| async move {
        let text = |text: &str| text.as_bytes().to_vec();
        let policy = names.texts("_dmarc.example").await;
        assert_eq!(policy, Ok(vec![text("v=DMARC1; p=reject")]));
        let mut signed = names.texts("signed.example").await.expect("texts");
        signed.sort();
        assert_eq!(signed, [text("other"), text("v=spf1 mx -all")]);
        let key = names.texts("key._domainkey.example").await;
        assert_eq!(key, Ok(vec![text("v=DKIM1; p=")]));
        let mut found = names.names_of(address("192.0.2.7")).await.expect("names");
        found.sort();
        assert_eq!(found, ["other.example", "plain.example"]);
        let none = names.names_of(address("192.0.2.8")).await;
        assert_eq!(none, Err(NameFault::NoSuchDomain));
        // The server does not have this zone.
        let unknown = names.names_of(address("198.51.100.1")).await;
        assert!(matches!(unknown, Err(NameFault::Unavailable(_))));
        let four = names.records("a.order.example", Kind::A).await;
        assert_eq!(four.expect("addresses").len(), 2);
    });
}

#[test]
fn a_list_of_addresses_lists_some_and_no_others() {
    let Some(knot) = knot() else { return };
    on_a_core(vec![knot.address], |names| async move {
        let listed = |answer: Result<Vec<Value>, NameFault>| {
            let values = answer.expect("records").into_iter();
            let addresses = values.filter_map(|value| match value {
                Value::Address(address) => Some(address),
                _ => None,
            });
            addresses.collect::<Vec<_>>()
        };
        // RFC 5782 §5: 127.0.0.2 is on every list, and 127.0.0.1 on none.
        let bad = names.records("2.0.0.127.list.example", Kind::A).await;
        assert_eq!(listed(bad), [address("127.0.0.2")]);
        let why = names.texts("2.0.0.127.list.example").await;
        assert_eq!(why, Ok(vec![b"see https://list.example".to_vec()]));
        let good = names.records("1.0.0.127.list.example", Kind::A).await;
        assert_eq!(good, Err(NameFault::NoSuchDomain));
        // §2.4: nibbles.
        let six = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.list.example";
        assert_eq!(
            listed(names.records(six, Kind::A).await),
            [address("127.0.0.4")]
        );
    });
}

#[test]
fn long_answers_come_by_tcp_and_are_cut_to_the_bound() {
    let Some(knot) = knot() else { return };
    on_a_core(vec![knot.address], |names| async move {
        let many = hosts(&names, "many.example").await;
        let best: Vec<(u16, String)> = (0..EXCHANGERS_MAX as u16)
            .map(|at| row(901 + at, &format!("host{}.many.example", 99 - at)))
            .collect();
        assert_eq!(many, best);
        let large = names.addresses("large.example").await.expect("addresses");
        assert_eq!(large.len(), dns::limits::ADDRESSES_MAX);
    });
}

#[test]
fn a_dead_server_and_one_that_talks_nonsense_are_passed_over() {
    let Some(knot) = knot() else { return };
    let dead = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let noise = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let servers = [&dead, &noise].map(|socket| socket.local_addr().expect("bound"));
    std::thread::spawn(move || {
        let mut question = [0; 4_096];
        while let Ok((bytes, from)) = noise.recv_from(&mut question) {
            // Our identifier, the flag of an answer, and noise.
            question[2..bytes].fill(0xa5);
            let _ = noise.send_to(&question[..bytes], from);
        }
    });
    on_a_core(
        [&servers[..], &[knot.address]].concat(),
        |names| async move {
            assert_eq!(
                hosts(&names, "plain.example").await,
                [row(0, "plain.example")]
            );
            let found = names.addresses("plain.example").await;
            assert_eq!(found, Ok(vec![address("192.0.2.7")]));
        },
    );
    drop(dead);
}
