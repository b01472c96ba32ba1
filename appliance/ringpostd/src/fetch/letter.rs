//! What stands in front of a message that was fetched, and the one that is written when nothing is fetched any more.

use mail::InternalDate;
use mailbox::names::{FetchProtocol, FetchRow};

/// A message as it is placed.
pub(super) struct Letter {
    /// That of its Received field.
    pub id: String,
    pub bytes: Vec<u8>,
    pub date: InternalDate,
}

impl Letter {
    /// It was fetched from this account elsewhere before: the host leads to this box, or all that comes there goes back. Each turn would double it.
    pub fn is_again(&self, row: &FetchRow) -> bool {
        let looked = &self.bytes[..self.bytes.len().min(HEADER_LOOKED_BYTES)];
        let end = looked.windows(4).position(|four| four == b"\r\n\r\n");
        let header = &looked[..end.unwrap_or(looked.len())];
        let mark = format!("\r\n\tid {:08x}", row.serial);
        // The first one was put there now.
        header
            .windows(mark.len())
            .filter(|some| *some == mark.as_bytes())
            .nth(1)
            .is_some()
    }
}

/// For the operator.
pub(super) const AGAIN: &str = "messages that were fetched from there before are there again, and stay: is it a host name of this box, or does that account forward to this one?";
const HEADER_LOOKED_BYTES: usize = 64 * 1_024;

/// What Received fields say.
#[derive(Debug, Clone)]
pub(super) struct Front {
    /// Of this box.
    pub server: String,
    /// The person's address.
    pub address: String,
    pub unix_s: i64,
}

impl Front {
    /// RFC 5321 §4.4. `key`: what the message is called there; the same message has the same id.
    pub fn of(&self, row: &FetchRow, key: u64) -> (String, Vec<u8>) {
        let id = format!("{:08x}{key:016x}", row.serial);
        let with = match row.protocol {
            FetchProtocol::Pop3 => "POP3",
            FetchProtocol::Imap => "IMAP",
        };
        let field = format!(
            "Received: from {host}\r\n\tby {server} with {with}\r\n\tid {id}\r\n\tfor <{address}>; {date}\r\n",
            // It was checked when it was added: nothing in it ends a line.
            host = row.host,
            server = self.server,
            address = self.address,
            date = mail::text::date(self.unix_s),
        );
        (id, field.into_bytes())
    }

    /// Tells the person once that nothing is fetched any more.
    pub fn notice(&self, row: &FetchRow, why: &str) -> Letter {
        let (id, _) = self.of(row, self.unix_s.unsigned_abs());
        let clean = |text: &str| text.replace(['\r', '\n'], " ");
        let (host, user, why) = (clean(&row.host), clean(&row.user), clean(why));
        let text = format!(
            "From: Mail system <postmaster@{server}>\r\n\
             To: <{address}>\r\n\
             Subject: Mail is no longer fetched from {host}\r\n\
             Date: {date}\r\n\
             Message-ID: <{id}.fetch@{server}>\r\n\
             Auto-Submitted: auto-generated\r\n\
             MIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Transfer-Encoding: 8bit\r\n\
             \r\n\
             Mail of your account {user} at {host} is no longer fetched.\r\n\
             \r\n\
             That server refuses the password several times in succession. Its answer was:\r\n\
             \r\n\
             \x20   {why}\r\n\
             \r\n\
             Your mail stays there. Give your administrator the present password; fetching then starts again.\r\n",
            server = self.server,
            address = self.address,
            date = mail::text::date(self.unix_s),
        );
        Letter {
            id,
            bytes: text.into_bytes(),
            date: InternalDate::utc(self.unix_s),
        }
    }
}

/// What a message is called by its mark: half of a hash of its UIDL. The account elsewhere is a part of it, so that a server cannot choose numbers for another one.
pub(super) fn id_of(serial: u32, uid: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&serial.to_le_bytes());
    hasher.update(uid.as_bytes());
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::tests::{front, row};

    #[test]
    fn fields_are_whole_and_ids_are_of_account_and_message() {
        let row = row(FetchProtocol::Imap, 993);
        let (id, field) = front().of(&row, 7);
        let field = String::from_utf8(field).expect("text");
        assert!(field.starts_with("Received: from 127.0.0.1\r\n\tby mx.example.org with IMAP\r\n"));
        assert!(
            field.contains(&format!("id {id}\r\n\tfor <ann@example.org>; "))
                && field.ends_with("\r\n")
        );
        assert_ne!(id_of(1, "a"), id_of(2, "a"));
        assert_ne!(id_of(1, "a"), id_of(1, "b"));
        let notice = front().notice(&row, "-ERR wrong\r\nX: y");
        let text = String::from_utf8(notice.bytes).expect("text");
        let (head, body) = text.split_once("\r\n\r\n").expect("a header");
        assert!(!head.contains("\nX:") && body.contains("-ERR wrong  X: y"));
        assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    }
}
