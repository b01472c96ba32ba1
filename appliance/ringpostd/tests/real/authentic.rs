//! Mail of strangers is authenticated, once there are name servers.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use crate::daemon::{ALICE, Home, PASSWORD, bounded, said};

/// A name server that has these texts, and nothing else; for as long as the process lives.
fn name_server(texts: &'static [(&str, &str)]) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound");
    std::thread::spawn(move || {
        let mut wire = [0; 4_096];
        while let Ok((bytes, from)) = socket.recv_from(&mut wire) {
            let _ = socket.send_to(&answer(&wire[..bytes], texts), from);
        }
    });
    address
}

/// RFC 1035 §4: the question again, and a TXT record of it or NXDOMAIN.
fn answer(question: &[u8], texts: &[(&str, &str)]) -> Vec<u8> {
    let (mut name, mut at) = (Vec::new(), 12);
    while question[at] != 0 {
        let label = &question[at + 1..][..usize::from(question[at])];
        name.push(String::from_utf8_lossy(label).to_lowercase());
        at += 1 + label.len();
    }
    let (name, asked) = (name.join("."), &question[12..at + 5]);
    let is_txt = question[at + 1..at + 3] == [0, 16];
    let found = texts.iter().find(|(of, _)| is_txt && *of == name);
    let known = texts.iter().any(|(of, _)| *of == name);
    let (records, code) = match (found, known) {
        (Some(_), _) => (1, 0),
        (None, true) => (0, 0),
        (None, false) => (0, 3),
    };
    let mut answer = question[..2].to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, records, 0, 0, 0, 0]);
    answer.extend_from_slice(asked);
    if let Some((_, text)) = found {
        let bytes = text.len() as u8;
        answer.extend([0xc0, 12, 0, 16, 0, 1, 0, 0, 1, 44, 0, bytes + 1, bytes]);
        answer.extend_from_slice(text.as_bytes());
    }
    answer
}

fn send(home: &Home, from: &str, header: &str) -> String {
    let server = home.smtp().to_string();
    let arguments = [
        "--server",
        &server,
        "--helo",
        "mail.example.net",
        "--from",
        from,
        "--to",
        ALICE,
        "--header",
        header,
    ];
    said(&bounded(Command::new("swaks").args(arguments)))
}

#[test]
fn a_policy_is_enforced_and_results_stand_in_front() {
    let address = name_server(&[
        ("honest.example", "v=spf1 ip4:127.0.0.1 -all"),
        ("_dmarc.honest.example", "v=DMARC1; p=reject"),
        ("forged.example", "v=spf1 -all"),
        ("_dmarc.forged.example", "v=DMARC1; p=reject"),
    ]);
    let mut home = Home::with_leg_size("128MiB");
    home.more = vec!["--name-server".into(), address.to_string()];
    let _daemon = home.start();
    let words = send(&home, "a@forged.example", "Subject: forged");
    assert!(
        words.contains("550 5.7.1 the domain in From asks to reject"),
        "{words}"
    );
    let forged = "Authentication-Results: localhost; dmarc=pass";
    let words = send(&home, "a@honest.example", forged);
    assert!(words.contains("250 2.0.0 ok"), "{words}");
    let url = format!("imap://{}/INBOX;MAILINDEX=1", home.imap());
    let login = format!("{ALICE}:{PASSWORD}");
    let letter = said(&bounded(
        Command::new("curl").args(["--silent", "--user", &login, &url]),
    ));
    assert!(letter.contains("From: a@honest.example"), "{letter}");
    assert_eq!(
        letter.matches("Authentication-Results: localhost;").count(),
        1,
        "{letter}"
    );
    for result in ["spf=pass", "dkim=none", "dmarc=pass (p=reject dis=none)"] {
        assert!(letter.contains(result), "{result}: {letter}");
    }
    let metrics = home.ctl_ok(&["metrics"]);
    for sample in [
        "ringpost_authentication_total{method=\"spf\",outcome=\"fail\"} 1\n",
        "ringpost_authentication_total{method=\"dmarc\",outcome=\"pass\"} 1\n",
        "ringpost_dmarc_dispositions_total{disposition=\"rejected\"} 1\n",
    ] {
        assert!(metrics.contains(sample), "{sample}: {metrics}");
    }
}
