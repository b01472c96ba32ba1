//! Two Ringposts on an Internet of their own: a cable between them, name servers on the host, and everything else by `ringpostctl` as the
//! manual has it (OPERATING.md, "Put a domain on the Internet").

use std::path::Path;
use std::time::Duration;

use mua::smtp::Smtp;
use mua::stream::Stream;
use mua::tls;
use serde_json::Value;

use crate::certificate::Issued;
use crate::failure::{Doing, Failure, Told, ensure};
use crate::guest::{Guest, HTTP, HTTPS, IMAPS, SMTP, SUBMISSIONS};
use crate::internet::{Internet, Zone};
use crate::ledger::{PASSWORD, reply_within};
use crate::settings::{self, Words};
use crate::shape::{Credential, Nic, Shape, base64};
use crate::tool::Tool;
use crate::world::{Machine, World, until};
use crate::{certificate, connect, http};

/// The sender's machine and the receiver's, each with its name and its address at the cable.
const HOSTS: [(&str, &str); 2] = [
    ("mx.here.example", "10.99.0.1"),
    ("mx.there.example", "10.99.0.2"),
];
const ALICE: &str = "alice@here.example";
const CAROL: &str = "carol@there.example";
/// Of a domain whose zone publishes another certificate than its server shows.
const WRONG: &str = "carol@wrong.example";
/// The image is unpacked into memory; a box with less does not boot it.
const MEMORY_MIB: u32 = 1_280;
/// A message is signed, sent, and checked by several look-ups.
const ARRIVES_WITHIN: Duration = Duration::from_secs(60);

pub fn two_on_the_internet(world: &mut World) -> Told<()> {
    let folder = tempfile::Builder::new().prefix("cable").tempdir();
    let folder = folder.doing("a directory for the cable")?;
    let mut internet = Internet::new()?;
    let mut make = |end: usize| -> Told<(Machine, Tool)> {
        let (name, address) = HOSTS[end];
        let certificates = folder.path().join(name);
        std::fs::create_dir(&certificates).doing(certificates.display())?;
        let tool = Tool::new(world.root(), &certificates)?;
        let mut shape = shape(folder.path(), end as u8, address, &internet);
        let words = Words {
            name,
            authentication: "enforce",
            listen: "submissions = [\"0.0.0.0:465\"]\n",
        };
        let text = settings::text_with(&shape, &words) + &tool.settings()?;
        shape
            .credentials
            .push(Credential::new(settings::CREDENTIAL, text, world.by()));
        Ok((world.machine(shape)?, tool))
    };
    let ((here, here_tool), (there, there_tool)) = (make(0)?, make(1)?);
    world.told_of_two([here, there], |[here, there]| {
        Machine::boot_together([&mut *here, &mut *there])?;
        let here = Side::new(here, here_tool)?;
        let there = Side::new(there, there_tool)?;
        here.take(&["here.example"], ALICE)?;
        there.take(&["there.example", "wrong.example"], CAROL)?;
        there.shows(&certificate::issue(folder.path(), HOSTS[1].0)?)?;
        here.does(&["dkim", "make", "here.example", "--selector", "k1"])?;
        internet.serve(&zones(&here, &there)?)?;
        // Exit status 0: every record is right.
        here.does(&["domain", "check", "here.example"])?;
        there.does(&["domain", "check", "there.example"])?;
        here.does(&["dkim", "activate", "here.example", "k1"])?;

        here.submit(CAROL)?;
        here.submit(WRONG)?;
        there.has_it()?;
        here.proved_it()?;
        here.keeps_the_other()?;
        there.refuses_a_forgery()
    })
}

/// A machine with one card to the host and one to the other machine.
fn shape(cable: &Path, end: u8, address: &str, internet: &Internet) -> Shape {
    let validator = internet.guest_sees();
    Shape {
        memory_mib: MEMORY_MIB,
        nics: vec![Nic::virtio("lan0"), Nic::at_cable("lan1", cable, end)],
        settings: format!(
            "[dns]\nservers = [\"{validator}\"]\n\n[outbound]\nvalidators = [\"{validator}\"]\n\n\
             [[network.interface]]\nname = \"{}\"\ndhcp = true\n\n\
             [[network.interface]]\nname = \"{}\"\naddress = [\"{address}/24\"]\n",
            Nic::guest_name(0),
            Nic::guest_name(1),
        ),
        ..Shape::default()
    }
}

/// The zones: what each box says is to be published, and what only its owner knows.
fn zones(here: &Side<'_>, there: &Side<'_>) -> Told<Vec<Zone>> {
    let [(_, here_address), (_, there_address)] = HOSTS;
    // As the manual ends: every sender is named, and all mail of the domain passes.
    let strict = here
        .records("here.example")?
        .replace("mx ~all", "mx -all")
        .replace("p=none", "p=reject");
    let other = "00".repeat(32);
    let zone = |name, is_signed, records: String| Zone {
        name,
        is_signed,
        records,
    };
    Ok(vec![
        zone(
            "here.example",
            false,
            format!("mx A {here_address}\n{strict}"),
        ),
        zone(
            "there.example",
            true,
            format!("mx A {there_address}\n{}", there.records("there.example")?),
        ),
        zone(
            "wrong.example",
            true,
            format!("@ MX 10 mx\nmx A {there_address}\n_25._tcp.mx TLSA 3 1 1 {other}"),
        ),
        zone(
            "0.99.10.in-addr.arpa",
            false,
            "1 PTR mx.here.example.\n2 PTR mx.there.example.".to_owned(),
        ),
    ])
}

/// A box that is on, and the tool of its operator.
struct Side<'m> {
    guest: &'m Guest,
    tool: Tool,
}

impl<'m> Side<'m> {
    fn new(machine: &'m mut Machine, tool: Tool) -> Told<Side<'m>> {
        let (guest, _) = machine.both();
        tool.believe(guest.at(HTTPS), reply_within())?;
        Ok(Side { guest, tool })
    }

    /// A verb that must succeed; what it printed.
    fn does(&self, words: &[&str]) -> Told<String> {
        let said = self.tool.done(self.guest.at(HTTPS), words)?;
        eprintln!("$ ringpostctl {}\n{said}", words.join(" "));
        Ok(said)
    }

    fn json(&self, words: &[&str]) -> Told<Value> {
        let said = self
            .tool
            .done(self.guest.at(HTTPS), &[&["--json"], words].concat())?;
        serde_json::from_str(&said).doing(format!("`{}`: {said}", words.join(" ")))
    }

    /// `domains` are this box's from now on, and one person has an account.
    fn take(&self, domains: &[&str], address: &str) -> Told<()> {
        for domain in domains {
            self.does(&["domain", "add", domain])?;
        }
        let postmaster = format!("postmaster@{}", domains[0]);
        for account in [address, &postmaster] {
            self.does(&["account", "add", account, "--password", PASSWORD])?;
        }
        Ok(())
    }

    /// The box shows a certificate of an authority from now on, and says what is to be published of it.
    fn shows(&self, issued: &Issued) -> Told<()> {
        let (chain, key) = (issued.chain.to_string_lossy(), issued.key.to_string_lossy());
        self.does(&["certificate", "set", &chain, &key])?;
        self.tool.believe_in(&issued.authority)?;
        let records = self.records("there.example")?;
        ensure(records.contains(&issued.tlsa), || {
            format!("`{}` is not among the records:\n{records}", issued.tlsa)
        })
    }

    /// What `domain dns` says is to be published, as lines of a zone file.
    fn records(&self, domain: &str) -> Told<String> {
        let dns = self.json(&["domain", "dns", domain])?;
        let records = dns["records"].as_array().into_iter().flatten();
        let lines: Vec<&str> = records.filter_map(|one| one["zone"].as_str()).collect();
        ensure(!lines.is_empty(), || format!("no records: {dns}"))?;
        Ok(lines.join("\n"))
    }

    /// Alice logs in, and what she writes is accepted.
    fn submit(&self, to: &str) -> Told<()> {
        let submitted = || -> std::io::Result<()> {
            let server = self.guest.at(SUBMISSIONS);
            let mut smtp = Smtp::over(Stream::tls(server, &tls::config()?, reply_within())?);
            smtp.expect_reply(220)?;
            smtp.expect("EHLO laptop.here.example", 250)?;
            let words = base64(format!("\0{ALICE}\0{PASSWORD}").as_bytes());
            smtp.expect(&format!("AUTH PLAIN {words}"), 235)?;
            smtp.expect(&format!("MAIL FROM:<{ALICE}>"), 250)?;
            smtp.expect(&format!("RCPT TO:<{to}>"), 250)?;
            smtp.expect("DATA", 354)?;
            smtp.raw(letter(to, "over the cable").as_bytes())?;
            smtp.expect_reply(250)
        };
        submitted().doing(format!("submitting a message to {to}"))
    }

    /// Carol reads it, and its head says how it came.
    fn has_it(&self) -> Told<()> {
        let mut last = String::new();
        let found = || -> std::io::Result<String> {
            let mut imap = connect::imap(self.guest.at(IMAPS), CAROL, PASSWORD, reply_within())?;
            imap.select("INBOX")?;
            let message = imap.messages()?.into_iter().next();
            let message = message.ok_or_else(|| std::io::Error::other("INBOX is empty"))?;
            Ok(String::from_utf8_lossy(&message.bytes).into_owned())
        };
        let mut letter = String::new();
        until(ARRIVES_WITHIN, || match found() {
            Ok(message) => {
                letter = message;
                true
            }
            Err(error) => {
                last = error.to_string();
                false
            }
        })
        .map_err(|failure| failure.during(format!("reading as {CAROL} ({last})")))?;
        eprintln!("{letter}");
        for wanted in [
            "Subject: over the cable",
            "Received: from mx.here.example (",
            "10.99.0.1",
            "with ESMTPS (TLS",
            "\nDKIM-Signature: v=1; a=rsa-sha256",
            "Authentication-Results: mx.there.example",
            "dkim=pass",
            "spf=pass",
            "dmarc=pass",
        ] {
            ensure(letter.contains(wanted), || {
                format!("`{wanted}` is missing in the message:\n{letter}")
            })?;
        }
        Ok(())
    }

    /// The sender's trace and figures say that DANE proved the receiver's certificate.
    fn proved_it(&self) -> Told<()> {
        let mut last = Value::Null;
        until(ARRIVES_WITHIN, || {
            let Ok(page) = self.json(&["trace", "--to", CAROL]) else {
                return false;
            };
            let events = page["messages"][0].as_array().into_iter().flatten();
            let is_proved = events
                .filter(|event| event["what"] == "delivered")
                .any(|event| event["tls"] == "DANE" && event["host"] == "mx.there.example");
            last = page;
            is_proved
        })
        .map_err(|failure| failure.during(format!("the trace says DANE (it says {last})")))?;
        let page = http::get(self.guest.at(HTTP), "/metrics", reply_within()).doing("/metrics")?;
        let proved = http::sample(&page.body, "ringpost_outbound_proved_total");
        ensure(proved == Some(1.0), || {
            format!("ringpost_outbound_proved_total is {proved:?}, not 1")
        })
    }

    /// A server whose certificate is not the published one gets nothing, and the queue says why.
    fn keeps_the_other(&self) -> Told<()> {
        let mut last = String::new();
        until(ARRIVES_WITHIN, || {
            last = self.does(&["queue", "list"]).unwrap_or_default();
            last.contains("DANE") && last.contains(WRONG) && !last.contains(CAROL)
        })
        .map_err(|failure| failure.during(format!("{WRONG} waits for DANE ({last})")))
    }

    /// Whoever writes as alice without her key is refused.
    fn refuses_a_forgery(&self) -> Told<()> {
        let forged = || -> std::io::Result<String> {
            let mut smtp = connect::smtp(self.guest.at(SMTP), reply_within())?;
            smtp.expect(&format!("MAIL FROM:<{ALICE}>"), 250)?;
            smtp.expect(&format!("RCPT TO:<{CAROL}>"), 250)?;
            smtp.expect("DATA", 354)?;
            smtp.raw(letter(CAROL, "forged").as_bytes())?;
            Ok(smtp.reply()?.to_string())
        };
        let reply = forged().doing("writing as another")?;
        match reply.starts_with("550 5.7.1") {
            true => Ok(()),
            false => Err(Failure::new(format!("a forgery is answered {reply}"))),
        }
    }
}

/// A message of Alice's with the dot that ends it.
fn letter(to: &str, subject: &str) -> String {
    format!("From: {ALICE}\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nhello\r\n.\r\n")
}
