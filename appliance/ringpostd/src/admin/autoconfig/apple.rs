//! A profile for Apple Mail, on phones and on Macs: one mail account, ready except for its password.
//!
//! Apple's programs look for nothing by themselves, so that a person has to follow a link with the address in it; the device shows what the
//! profile does and asks for the password. It is not signed: a signature would need a key for that purpose which the device trusts,
//! and the HTTPS that it came over proves as much. The device says "Not signed", as it does for most profiles of this kind.

use base::BodyName;
use hyper::Uri;
use mail::Address;
use plan::{Plan, Service};

use super::query::parameter;
use super::{Asked, FETCH, Offer, READ, SUBMIT, escaped, offers, plain};

pub(super) const PATH: &str = "/email.mobileconfig";

/// `of`: the domain whose host was asked; `None`: it was another kind of host, or the address is not of this domain.
pub(super) fn asked(uri: &Uri, of: Option<&str>) -> Option<Asked> {
    let address = plain(&parameter(uri, "email")?)?;
    let is_its_own = of? == address.domain().to_lowercase();
    is_its_own.then_some(Asked::Profile(address))
}

/// The profile of `login`: IMAP, or POP3 where there is no IMAP. `None`: people cannot read here, or not send, and a profile needs both.
pub(super) fn profile(plan: &Plan, login: &Address) -> Option<String> {
    let first = |services: [Service; 2]| offers(plan, services).into_iter().next();
    let (kind, incoming) = match first(READ) {
        Some(offer) => ("EmailTypeIMAP", offer),
        None => ("EmailTypePOP", first(FETCH)?),
    };
    Some(written(
        &plan.server_name,
        login,
        (kind, incoming),
        &first(SUBMIT)?,
    ))
}

fn written(
    host: &str,
    login: &Address,
    (kind, incoming): (&str, Offer),
    outgoing: &Offer,
) -> String {
    let key = login.key();
    let (host, address) = (escaped(host), escaped(&login.to_string()));
    let id = uuid(&format!("account {key}"));
    let server = |place: &str, offer: &Offer| {
        // TLS in any case. With `false` a program may send the password in clear; with `true` it begins STARTTLS where the port is not one of
        // TLS from the start.
        format!(
            "      <key>{place}MailServerAuthentication</key>\n      <string>EmailAuthPassword</string>\n      \
             <key>{place}MailServerHostName</key>\n      <string>{host}</string>\n      \
             <key>{place}MailServerPortNumber</key>\n      <integer>{}</integer>\n      \
             <key>{place}MailServerUseSSL</key>\n      <true/>\n      \
             <key>{place}MailServerUsername</key>\n      <string>{address}</string>\n",
            offer.port
        )
    };
    let (incoming, outgoing) = (server("Incoming", &incoming), server("Outgoing", outgoing));
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"{DTD}\" \"{DTD_PLACE}\">\n<plist version=\"1.0\">\n<dict>\n  \
         <key>PayloadContent</key>\n  <array>\n    <dict>\n      \
         <key>EmailAccountDescription</key>\n      <string>{address}</string>\n      \
         <key>EmailAccountType</key>\n      <string>{kind}</string>\n      \
         <key>EmailAddress</key>\n      <string>{address}</string>\n{incoming}{outgoing}      \
         <key>OutgoingPasswordSameAsIncomingPassword</key>\n      <true/>\n      \
         <key>PayloadDisplayName</key>\n      <string>{address}</string>\n      \
         <key>PayloadIdentifier</key>\n      <string>ringpost.{id}</string>\n      \
         <key>PayloadType</key>\n      <string>com.apple.mail.managed</string>\n      \
         <key>PayloadUUID</key>\n      <string>{id}</string>\n      \
         <key>PayloadVersion</key>\n      <integer>1</integer>\n    </dict>\n  </array>\n  \
         <key>PayloadDescription</key>\n  <string>Sets up the mail account {address}.</string>\n  \
         <key>PayloadDisplayName</key>\n  <string>Mail account {address}</string>\n  \
         <key>PayloadIdentifier</key>\n  <string>ringpost.{whole}</string>\n  \
         <key>PayloadOrganization</key>\n  <string>{host}</string>\n  \
         <key>PayloadRemovalDisallowed</key>\n  <false/>\n  \
         <key>PayloadType</key>\n  <string>Configuration</string>\n  \
         <key>PayloadUUID</key>\n  <string>{whole}</string>\n  \
         <key>PayloadVersion</key>\n  <integer>1</integer>\n</dict>\n</plist>\n",
        whole = uuid(&format!("profile {key}")),
    )
}

/// A UUID made of the address (RFC 9562 §5.8): the profile that is fetched again takes the place of the one that is installed.
fn uuid(of: &str) -> String {
    let name = BodyName::of(format!("ringpost mobileconfig 1 {of}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&name.0[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

const DTD: &str = "-//Apple//DTD PLIST 1.0//EN";
const DTD_PLACE: &str = "http://www.apple.com/DTDs/PropertyList-1.0.dtd";

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(of: Option<&str>, target: &str) -> Option<String> {
        let uri: Uri = target.parse().expect("a path");
        match asked(&uri, of) {
            Some(Asked::Profile(address)) => Some(address.to_string()),
            _ => None,
        }
    }

    fn profile_of(address: &str) -> String {
        let login = Address::from_path(address).expect("an address");
        let tls = |port| Offer { port, is_tls: true };
        written(
            "mx.example.org",
            &login,
            ("EmailTypeIMAP", tls(993)),
            &Offer {
                port: 587,
                is_tls: false,
            },
        )
    }

    #[test]
    fn a_profile_is_for_an_address_of_the_host_that_was_asked() {
        let target = "/email.mobileconfig?email=bob%2bnews%40example.org";
        let found = ask(Some("example.org"), target);
        assert_eq!(found.as_deref(), Some("bob+news@example.org"));
        assert_eq!(ask(Some("example.net"), target), None);
        assert_eq!(ask(None, target), None, "not by the name of a web server");
        for target in [
            "/email.mobileconfig",
            "/email.mobileconfig?email=bob",
            "/email.mobileconfig?email=%3cx%3e%40example.org",
            "/email.mobileconfig?email=%22a%20b%22%40example.org",
        ] {
            assert_eq!(ask(Some("example.org"), target), None, "{target}");
        }
    }

    /// Keys and values as the property list pairs them; a payload's, then the profile's own.
    #[test]
    fn a_profile_has_both_servers_and_no_password() {
        let text = profile_of("bob@example.org");
        for (key, value) in [
            ("EmailAccountType", "<string>EmailTypeIMAP</string>"),
            ("EmailAddress", "<string>bob@example.org</string>"),
            (
                "IncomingMailServerHostName",
                "<string>mx.example.org</string>",
            ),
            ("IncomingMailServerPortNumber", "<integer>993</integer>"),
            ("IncomingMailServerUseSSL", "<true/>"),
            ("OutgoingMailServerPortNumber", "<integer>587</integer>"),
            ("OutgoingMailServerUseSSL", "<true/>"),
            (
                "OutgoingMailServerUsername",
                "<string>bob@example.org</string>",
            ),
            ("PayloadType", "<string>com.apple.mail.managed</string>"),
        ] {
            let (_, behind) = text
                .split_once(&format!("<key>{key}</key>"))
                .unwrap_or_else(|| panic!("{key} in {text}"));
            assert!(behind.trim_start().starts_with(value), "{key}: {behind}");
        }
        assert!(!text.contains("<key>IncomingPassword</key>"), "{text}");
        let count = |word: &str| text.matches(word).count();
        for (open, close) in [
            ("<dict>", "</dict>"),
            ("<array>", "</array>"),
            ("<string>", "</string>"),
        ] {
            assert_eq!(count(open), count(close), "{open}");
        }
        assert_eq!(count("<key>"), count("</key>"));
    }

    #[test]
    fn names_of_a_profile_depend_on_the_address_and_on_nothing_else() {
        let ids = |address: &str| {
            let text = profile_of(address);
            let all = text.split("<key>PayloadUUID</key>").skip(1).map(|rest| {
                let (_, rest) = rest.split_once("<string>").expect("a value");
                rest[..36].to_owned()
            });
            all.collect::<Vec<_>>()
        };
        let bob = ids("bob@example.org");
        assert_eq!(bob.len(), 2);
        assert_ne!(bob[0], bob[1]);
        assert_eq!(
            ids("Bob@Example.ORG"),
            bob,
            "the same account, typed otherwise"
        );
        assert_ne!(ids("rob@example.org"), bob);
        let form = |id: &str| {
            let parts: Vec<usize> = id.split('-').map(str::len).collect();
            parts == [8, 4, 4, 4, 12] && &id[14..15] == "8"
        };
        assert!(bob.iter().all(|id| form(id)), "{bob:?}");
    }
}
