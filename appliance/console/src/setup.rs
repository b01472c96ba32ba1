//! The questions of a box without settings, and the settings that follow from the answers.
//!
//! Plain lines, so that a serial port and a person with a cable suffice. Nothing is written before the last question, and a
//! disk is taken only after `yes` was typed in full.

use std::io::{self, BufRead, Write};
use std::path::Path;

use files::{Mode, Replacement};
use hardware::disks::stable_path;
use hardware::health::Holds;
use plan::{Settings, Shape, Size};

use crate::limits::{PEM_LINES_MAX, TRIES_MAX};

/// Where questions go and answers come from.
/// A seam for tests, and the reason why the questions know nothing of terminals: serial line, screen and a script all look the same.
pub trait Talk {
    /// Shows text as it is.
    fn say(&mut self, text: &str) -> io::Result<()>;
    /// A line without its end.
    fn hear(&mut self) -> io::Result<String>;
    /// From now on what is typed is not to be seen, or is again. Before a question is shown: people and machines type ahead.
    fn hide(&mut self, hidden: bool);
}

/// Any pair of a reader and a writer; `echo` switches what is typed on and off.
pub struct Lines<R, W, E> {
    pub read: R,
    pub write: W,
    pub echo: E,
    /// What is typed is not shown, so the line end that the person typed is not either.
    pub hidden: bool,
}

impl<R: BufRead, W: Write, E: FnMut(bool)> Talk for Lines<R, W, E> {
    fn say(&mut self, text: &str) -> io::Result<()> {
        self.write.write_all(text.as_bytes())?;
        self.write.flush()
    }

    fn hear(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let read = self.read.read_line(&mut line);
        if self.hidden {
            self.say("\n")?;
        }
        match read? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim().to_owned()),
        }
    }

    fn hide(&mut self, hidden: bool) {
        self.hidden = hidden;
        (self.echo)(!hidden);
    }
}

/// Asks everything. `Ok(None)`: the last question was not answered with yes, and nothing is to be done.
/// `holds` says what is on a disk, by the kernel's name: blank ones and legs may be chosen, nothing else.
pub fn ask(
    talk: &mut dyn Talk,
    shape: &Shape,
    holds: &dyn Fn(&str) -> Holds,
) -> io::Result<Option<String>> {
    talk.say("\nThis appliance has no settings yet. Nothing is written before the last question is answered.\n\n")?;
    let name = question(
        talk,
        "Host name (for example mail.example.org): ",
        host_name,
    )?;
    let network = network(talk, shape)?;
    let Some(chosen) = disks(talk, shape, holds)? else {
        return Ok(None);
    };
    let legs: Vec<String> = chosen.iter().map(|disk| disk.path.clone()).collect();
    let domain = question(
        talk,
        "First mail domain (for example example.org): ",
        host_name,
    )?;
    let text = format!("First account (name before the @{domain}): ");
    let account = question(talk, &text, local_part)?;
    let hash = password(talk)?;
    let authority = authority(talk)?;
    let settings = compose(
        &name,
        &network,
        &legs,
        &domain,
        (&account, &hash),
        authority.as_deref(),
    );
    // The same parser as at the boot: what is accepted here must not be refused by the next start, when nobody sits in front of it.
    if let Err(misfit) = Settings::parse("ringpost.toml", &settings) {
        talk.say(&format!("This cannot be used: {misfit}\n"))?;
        return Ok(None);
    }
    // The engine never formats over a leg, whatever is answered here.
    if chosen.iter().any(|disk| disk.leg) {
        talk.say(
            "\nThe mail volume on these disks is kept with its mail; no account is created:\n",
        )?;
    } else {
        talk.say("\nALL DATA on these disks will be lost:\n")?;
    }
    for leg in &legs {
        talk.say(&format!("  {leg}\n"))?;
    }
    talk.say("Type yes to create the mail volume on them, anything else to start again: ")?;
    match talk.hear()?.as_str() {
        "yes" => Ok(Some(settings)),
        _ => {
            talk.say("Nothing was written.\n")?;
            Ok(None)
        }
    }
}

/// One question until its answer is good, a few times at most.
fn question<T>(
    talk: &mut dyn Talk,
    text: &str,
    good: impl Fn(&str) -> Result<T, String>,
) -> io::Result<T> {
    for _ in 0..TRIES_MAX {
        talk.say(text)?;
        let answer = talk.hear()?;
        match good(&answer) {
            Ok(value) => return Ok(value),
            Err(why) => talk.say(&format!("  {why}\n"))?,
        }
    }
    Err(io::Error::other("too many invalid answers"))
}

/// A host name in lower case, or what a good answer is.
fn host_name(answer: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let parts = answer.split('.').count();
    if parts >= 2
        && answer.len() <= 253
        && answer.chars().all(good)
        && !answer.starts_with(['.', '-'])
    {
        return Ok(answer.to_ascii_lowercase());
    }
    Err("a name with a dot, of letters, digits and hyphens".into())
}

/// The local part of an address in lower case, or what a good answer is.
fn local_part(answer: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=64).contains(&answer.len()) && answer.chars().all(good) {
        return Ok(answer.to_ascii_lowercase());
    }
    Err("letters, digits, hyphens and dots".into())
}

/// The network table of the settings: empty for DHCP, which is the default.
fn network(talk: &mut dyn Talk, shape: &Shape) -> io::Result<String> {
    let cards: Vec<&str> = shape.nics.iter().map(|nic| nic.name.as_str()).collect();
    let text = format!(
        "Network cards: {}. Address with prefix (for example 192.0.2.10/24), or Enter for DHCP: ",
        if cards.is_empty() {
            "none".into()
        } else {
            cards.join(", ")
        }
    );
    let address = question(talk, &text, |answer| {
        if answer.is_empty() {
            return Ok(None);
        }
        let check = format!(
            "[volume]\nlegs = [\"/a\"]\n[[network.interface]]\nname = \"x\"\naddress = [{answer:?}]\n"
        );
        match Settings::parse("f", &check) {
            Ok(_) => Ok(Some(answer.to_owned())),
            Err(_) => Err("an address with its prefix, or nothing".into()),
        }
    })?;
    let (Some(address), Some(card)) = (address, cards.first()) else {
        return Ok(String::new());
    };
    let ip = |answer: &str| -> Result<Option<std::net::IpAddr>, String> {
        match answer {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| "an address, or nothing".into()),
        }
    };
    let gateway = question(talk, "Gateway (Enter for none): ", ip)?;
    let dns = question(talk, "Name server (Enter for none): ", ip)?;
    let list = |address: Option<std::net::IpAddr>| {
        address
            .map(|address| format!("\"{address}\""))
            .unwrap_or_default()
    };
    Ok(format!(
        "[network]\ndns = [{}]\n[[network.interface]]\nname = \"{card}\"\naddress = [\"{address}\"]\ngateway = [{}]\n\n",
        list(dns),
        list(gateway)
    ))
}

/// A disk that may be chosen.
#[derive(Debug, Clone)]
struct Choice {
    /// By its stable name.
    path: String,
    /// It is a leg already.
    leg: bool,
}

/// The chosen disks; `None`: there is none to choose.
fn disks(
    talk: &mut dyn Talk,
    shape: &Shape,
    holds: &dyn Fn(&str) -> Holds,
) -> io::Result<Option<Vec<Choice>>> {
    let mut disks = Vec::new();
    let mut lines = String::new();
    let mut others = String::new();
    // A disk without a stable name is not offered: settings that name it by the kernel's could mean another one after the next boot.
    for disk in shape.mail_disks() {
        let Some(path) = stable_path(disk) else {
            continue;
        };
        let shown = format!("{} {} {}", Size(disk.bytes), disk.class.name(), disk.model);
        let (leg, note) = match holds(&disk.name) {
            Holds::Nothing => (false, ""),
            Holds::Leg => (true, "  (a leg of a mail volume: kept, not formatted)"),
            Holds::Something => {
                others += &format!("  -  {shown}  {path}  (not blank: not offered)\n");
                continue;
            }
            Holds::Unknown => {
                others += &format!("  -  {shown}  {path}  (cannot be read: not offered)\n");
                continue;
            }
        };
        disks.push(Choice {
            path: path.clone(),
            leg,
        });
        lines += &format!("  {}  {shown}  {path}{note}\n", disks.len());
    }
    if disks.is_empty() {
        talk.say(&format!(
            "There is no blank disk: plug in two and start again.\n{others}"
        ))?;
        return Ok(None);
    }
    talk.say(&format!(
        "Disks for mail (whole, without partitions):\n{lines}{others}"
    ))?;
    let chosen = question(
        talk,
        "Numbers of the two disks that form the mirror (for example 1 2): ",
        |answer| {
            let numbers: Option<Vec<usize>> = answer
                .split_whitespace()
                .map(|word| {
                    word.parse::<usize>()
                        .ok()
                        .filter(|n| (1..=disks.len()).contains(n))
                })
                .collect();
            match numbers {
                Some(numbers) if (1..=plan::limits::LEGS_MAX).contains(&numbers.len()) => {
                    let mut seen = numbers.clone();
                    seen.sort_unstable();
                    seen.dedup();
                    if seen.len() == numbers.len() {
                        Ok(numbers)
                    } else {
                        Err("each disk only once".into())
                    }
                }
                _ => Err(format!("numbers from 1 to {}", disks.len())),
            }
        },
    )?;
    if chosen.len() == 1 {
        talk.say("  One disk is not a mirror: if it fails, the mail is lost.\n")?;
    }
    Ok(Some(
        chosen
            .into_iter()
            .map(|number| disks[number - 1].clone())
            .collect(),
    ))
}

/// Hidden from before the first question until after the last answer, whatever happens between.
fn password(talk: &mut dyn Talk) -> io::Result<String> {
    talk.hide(true);
    let hash = ask_password(talk);
    talk.hide(false);
    hash
}

/// Asks twice: a mistyped password would lock the only account.
fn ask_password(talk: &mut dyn Talk) -> io::Result<String> {
    for _ in 0..TRIES_MAX {
        // Hashed at once, so that rules about passwords are told before it is typed a second time.
        let first = question(talk, "Its password: ", |answer| {
            admin::password::hash(answer).map(|hash| (answer.to_owned(), hash))
        })?;
        talk.say("Once more: ")?;
        if talk.hear()? == first.0 {
            return Ok(first.1);
        }
        talk.say("  The two passwords differ.\n")?;
    }
    Err(io::Error::other("too many invalid answers"))
}

/// Who may look after the box from other machines; `None`: no administrator yet.
fn authority(talk: &mut dyn Talk) -> io::Result<Option<String>> {
    for _ in 0..TRIES_MAX {
        talk.say(
            "Remote administration: paste ca.pem of `ringpostctl admin-cert`, or Enter for none: ",
        )?;
        let mut pem = String::new();
        for _ in 0..PEM_LINES_MAX {
            let line = talk.hear()?;
            if line.is_empty() {
                break;
            }
            pem.push_str(&line);
            pem.push('\n');
            // A pasted certificate ends itself; a person who pastes half of one ends it with an empty line.
            if line.starts_with("-----END") {
                break;
            }
        }
        if pem.is_empty() {
            return Ok(None);
        }
        match admin::certificate::check_authority(&pem) {
            Ok(()) => return Ok(Some(pem)),
            Err(why) => talk.say(&format!("  {why}\n"))?,
        }
    }
    Err(io::Error::other("too many invalid answers"))
}

/// The settings that follow from the answers, as text, in the order of the reference. Submission listens from the start: the daemon has a
/// certificate then, its own until an operator sets another one, and takes no password without TLS.
fn compose(
    name: &str,
    network: &str,
    legs: &[String],
    domain: &str,
    (account, hash): (&str, &str),
    authority: Option<&str>,
) -> String {
    let admin = authority
        .map(|pem| format!("[admin]\nclient_ca = \"\"\"\n{pem}\"\"\"\n\n"))
        .unwrap_or_default();
    format!(
        "# Written by the set-up screen.\n[server]\nname = \"{name}\"\n\n[volume]\nlegs = {legs:?}\ncreate = true\n\n\
         [listen]\nsmtp = [\"[::]:25\"]\nsubmission = [\"[::]:587\"]\nsubmissions = [\"[::]:465\"]\nimap = [\"[::]:143\"]\nimaps = [\"[::]:993\"]\npop3 = [\"[::]:110\"]\npop3s = [\"[::]:995\"]\nmanagesieve = [\"[::]:4190\"]\nhttps = [\"[::]:443\"]\n\n{admin}{network}\
         [[domain]]\nname = \"{domain}\"\n\n[[account]]\naddress = \"{account}@{domain}\"\npassword_hash = \"{hash}\"\n"
    )
}

/// Keeps the settings as the applied ones, unless another session was quicker.
pub fn keep(root: &Path, settings: &str) -> io::Result<()> {
    let path = root.join(boot::find::APPLIED);
    let parent = path.parent().unwrap_or(root);
    std::fs::create_dir_all(parent)?;
    // Whole or not at all: a name that is there is another console's.
    let fresh = path.with_extension("set-up");
    let mut fresh = Replacement::begin_as(&path, &fresh, Mode::Private)?;
    fresh.file().write_all(settings.as_bytes())?;
    fresh.put_new()
}

#[cfg(test)]
mod tests {
    use hardware::fixture::{Fixture, Kind};
    use hardware::probe;

    use super::*;

    fn machine() -> Fixture {
        Fixture::new()
            .disk("vda", Kind::Virtio, 1 << 30, None, &["virtio-leg-a"])
            .disk("vdb", Kind::Virtio, 1 << 30, None, &["virtio-leg-b"])
            .partitioned("vdc", Kind::Virtio, 1 << 30)
            .nic("eth0", "virtio_net", 1, None)
    }

    /// What is said to these answers, and what comes of them.
    fn talk(answers: &str) -> (String, io::Result<Option<String>>) {
        talk_of(answers, &|_| Holds::Nothing)
    }

    fn talk_of(
        answers: &str,
        holds: &dyn Fn(&str) -> Holds,
    ) -> (String, io::Result<Option<String>>) {
        let fixture = machine();
        let mut said = Vec::new();
        let outcome = ask(
            &mut Lines {
                read: answers.as_bytes(),
                write: &mut said,
                echo: |_| {},
                hidden: false,
            },
            &probe(fixture.root()),
            holds,
        );
        (String::from_utf8(said).expect("text"), outcome)
    }

    #[test]
    fn good_answers_make_settings_that_are_right() {
        let (said, outcome) = talk(
            "mail.example.org\n192.0.2.10/24\n192.0.2.1\n\n1 2\nexample.org\nalice\nopensesame\nopensesame\n\nyes\n",
        );
        let text = outcome.expect("asked").unwrap_or_else(|| panic!("{said}"));
        let settings = Settings::parse("f", &text).expect("right");
        assert!(settings.volume.create);
        assert_eq!(
            settings.volume.legs.get_ref()[0],
            Path::new("/dev/disk/by-id/virtio-leg-a")
        );
        assert_eq!(settings.accounts[0].address, "alice@example.org");
        let ports = |addresses: &[std::net::SocketAddr]| {
            let ports = addresses.iter().map(|address| address.port());
            ports.collect::<Vec<u16>>()
        };
        let listen = &settings.listen;
        assert_eq!(ports(&listen.submission), [587]);
        assert_eq!(ports(&listen.submissions), [465]);
        assert_eq!(ports(&listen.smtp), [25]);
        assert_eq!(ports(&listen.imaps), [993]);
        assert_eq!(ports(&listen.pop3), [110]);
        assert_eq!(ports(&listen.pop3s), [995]);
        assert_eq!(ports(&listen.managesieve), [4190]);
        assert_eq!(settings.login.plaintext, plan::settings::Plaintext::Never);
        assert!(!text.contains("opensesame") && !said.contains("opensesame"));
        assert!(
            !said.contains("vdc"),
            "a system disk is not offered: {said}"
        );
    }

    #[test]
    fn a_disk_that_holds_something_is_never_offered_and_a_leg_is_taken_over() {
        let (said, outcome) = talk_of("mail.example.org\n\n2\n", &|name| match name {
            "vda" => Holds::Leg,
            _ => Holds::Something,
        });
        assert!(outcome.is_err(), "the second disk cannot be chosen");
        assert!(said.contains("kept, not formatted"), "{said}");
        assert!(said.contains("not blank: not offered"), "{said}");
        let (said, _) = talk_of(
            "mail.example.org\n\n1 2\nexample.org\nalice\nopensesame\nopensesame\n\nyes\n",
            &|_| Holds::Leg,
        );
        assert!(!said.contains("ALL DATA"), "{said}");
        let (said, outcome) = talk_of("mail.example.org\n\n", &|_| Holds::Unknown);
        assert_eq!(outcome.expect("asked"), None);
        assert!(said.contains("cannot be read: not offered"), "{said}");
    }

    #[test]
    fn anything_but_yes_writes_nothing() {
        for last in ["y", "YES", "", "no"] {
            let (said, outcome) = talk(&format!(
                "mail.example.org\n\n2 1\nexample.org\nalice\nopensesame\nopensesame\n\n{last}\n"
            ));
            assert_eq!(outcome.expect("asked"), None, "{last}");
            assert!(
                said.contains("ALL DATA") && said.contains("Nothing was written"),
                "{said}"
            );
        }
    }

    #[test]
    fn wrong_answers_are_asked_again_with_what_is_right() {
        let (said, outcome) = talk(
            "nodots\nmail.example.org\nx\n\n3\n1 1\n1\nexample.org\na b\nalice\nshort\nopensesame\nother\nopensesame\nopensesame\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n\nyes\n",
        );
        assert!(outcome.expect("asked").is_some(), "{said}");
        for told in [
            "a name with a dot",
            "an address with its prefix",
            "numbers from 1 to 2",
            "each disk only once",
            "One disk is not a mirror",
            "letters, digits",
            "6 to 1024 bytes",
            "two passwords differ",
            "no PEM certificate",
        ] {
            assert!(said.contains(told), "`{told}` is not in {said}");
        }
    }

    #[test]
    fn an_authority_that_is_pasted_may_administer() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let authority = rcgen::CertificateParams::default().self_signed(&key);
        let pem = authority.expect("made").pem();
        let (said, outcome) = talk(&format!(
            "mail.example.org\n\n1 2\nexample.org\nalice\nopensesame\nopensesame\n{pem}yes\n"
        ));
        let text = outcome.expect("asked").unwrap_or_else(|| panic!("{said}"));
        let settings = Settings::parse("f", &text).expect("right");
        let kept = settings.admin.client_ca.expect("it was pasted");
        assert_eq!(kept.replace('\r', "").trim(), pem.replace('\r', "").trim());
    }

    /// Type-ahead while the first password is hashed stood on the serial line.
    #[test]
    fn nothing_typed_is_shown_from_before_the_password_until_after_it() {
        use std::cell::RefCell;
        struct Both<'a>(&'a RefCell<String>);
        impl Write for Both<'_> {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0
                    .borrow_mut()
                    .push_str(&String::from_utf8_lossy(bytes));
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let seen = RefCell::new(String::new());
        let mut lines = Lines {
            read: &b"opensesame\nother\nopensesame\nopensesame\n"[..],
            write: Both(&seen),
            echo: |on: bool| {
                seen.borrow_mut()
                    .push_str(if on { "<on>" } else { "<off>" })
            },
            hidden: false,
        };
        password(&mut lines).expect("given twice");
        let seen = seen.borrow();
        assert!(
            seen.starts_with("<off>Its password: ") && seen.ends_with("<on>"),
            "{seen}"
        );
        assert_eq!(seen.matches("<on>").count(), 1, "{seen}");
    }

    #[test]
    fn a_line_that_ends_ends_the_questions() {
        let (_, outcome) = talk("mail.example.org\n");
        assert!(outcome.is_err());
    }

    #[test]
    fn of_two_consoles_the_first_one_sets_it_up() {
        let directory = tempfile::tempdir().expect("a directory");
        keep(directory.path(), "first").expect("kept");
        assert!(keep(directory.path(), "second").is_err());
        let text = std::fs::read_to_string(directory.path().join(boot::find::APPLIED));
        assert_eq!(text.expect("kept"), "first");
    }
}
