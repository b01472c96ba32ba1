//! One mail transaction: one message to some of its recipients, over a connection that is there.
//!
//! The moment of delivery is the 250 that answers the content (RFC 5321 §4.2.5), and nothing before it. An answer that was lost leaves
//! it unknown, and the message is sent again: twice is better than never.

use bytes::Bytes;
use queue::{Entry, Notify, Recipient, Returned};
use runtime::{ConnectionFault, Dialled};
use smtp::client::{Content, Event, Mail, Sent, Stuffer};

use super::letter::travels_from;
use super::limits::*;
use super::line::{Break, Caller, Line};
use super::verdict::{Class, Said, Verdict};

/// What became of it.
#[derive(Debug)]
pub enum Tried {
    /// A verdict for each recipient; and the connection takes another message.
    Over(Vec<(u32, Verdict)>),
    /// A verdict for each recipient; the connection is of no use any more. `hung`: it timed out or made no sense.
    Broken {
        verdicts: Vec<(u32, Verdict)>,
        hung: bool,
    },
    /// The connection had ended since its last message: nothing was said of this one.
    Untouched,
    Stopping,
}

impl<C: Dialled> Line<C> {
    /// Sends `entry` to `recipients` (indexes; at most `RECIPIENTS_PER_TRANSACTION`). `read` gives the content from an offset on, some of it,
    /// and nothing when it cannot be read.
    pub async fn transact(
        &mut self,
        caller: &Caller,
        entry: &Entry,
        recipients: &[u32],
        read: impl AsyncFnMut(u32) -> Option<Bytes>,
    ) -> Tried {
        let (mut verdicts, fit) = self.sift(caller, entry, recipients);
        if fit.is_empty() {
            return Tried::Over(verdicts);
        }
        let mut spoken = false;
        let done = self.converse(caller, entry, &fit, read, &mut spoken).await;
        // A server may close an idle connection at any moment, and often does so just as the next MAIL is on its way. As long as it has
        // answered nothing of this message it cannot have taken it, so that a fresh connection may try again without the risk of a double.
        let is_reused = self.carried > 0;
        self.carried += 1;
        let why = match done {
            Ok((sent, asked)) => {
                verdicts.extend(self.verdicts_of(&fit, &sent, asked));
                return Tried::Over(verdicts);
            }
            Err(why) => why,
        };
        let (class, text, hung) = match &why {
            Break::Fault(ConnectionFault::Stopping) => return Tried::Stopping,
            Break::Fault(ConnectionFault::Closed) | Break::Refused(_) if is_reused && !spoken => {
                return Tried::Untouched;
            }
            Break::Fault(fault) => {
                let hung = *fault != ConnectionFault::Closed;
                let words = format!("the conversation broke off: {fault}");
                (Class::Broken, Said::ours("4.4.2", words), hung)
            }
            Break::Refused(reply) => (Class::Closing, Said::by(&self.host, reply), false),
            Break::Nonsense => {
                let words = "the conversation broke off: what it sends is not SMTP";
                (Class::Broken, Said::ours("4.5.0", words), true)
            }
            Break::Unread => {
                let words = "the message cannot be read from storage now";
                (Class::Ours, Said::ours("4.3.0", words), false)
            }
        };
        let said = text.with_host(&self.host);
        let later = |index: &u32| (*index, Verdict::Later(class, said.clone()));
        verdicts.extend(fit.iter().map(later));
        Tried::Broken { verdicts, hung }
    }

    /// What this server cannot be asked to take, and the recipients that are left.
    fn sift(
        &self,
        caller: &Caller,
        entry: &Entry,
        recipients: &[u32],
    ) -> (Vec<(u32, Verdict)>, Vec<u32>) {
        let all = |verdict: Verdict| {
            let each = recipients.iter().map(|index| (*index, verdict.clone()));
            (each.collect(), Vec::new())
        };
        let failed =
            |status, words: &str| Verdict::Failed(Said::ours(status, words).with_host(&self.host));
        let (terms, offered) = (&entry.terms, &self.offered);
        // An address with a line end would become a command of its own. It cannot come from our parser; a queue may outlive the parser that filled it.
        let is_broken = |path: &str| path.chars().any(char::is_control);
        // From here on what no retry would change fails at once: the sender learns of it in minutes and not in days.
        if is_broken(&entry.from) {
            return all(failed("5.1.7", "the sender's address is none"));
        }
        // RFC 8689 §4.2.1.
        if terms.needs_tls && !self.is_secure() && (self.tls_failed || caller.tls.is_none()) {
            let said =
                Said::ours("4.7.5", "TLS is required, and does not work").with_host(&self.host);
            return all(Verdict::Later(Class::Tls, said));
        }
        if terms.needs_tls && !(self.is_secure() && offered.require_tls) {
            let words = "TLS is required on the whole way, and this server does not offer that";
            return all(failed("5.7.30", words));
        }
        // RFC 1870 §6.1.
        let bytes = u64::from(entry.body.raw_bytes);
        if offered.size_max.is_some_and(|max| bytes > max) {
            return all(failed(
                "5.3.4",
                "the message is larger than this server takes",
            ));
        }
        // RFC 6152 §3. Nothing of the content is changed on its way.
        if terms.is_eight_bit && !offered.eight_bit {
            return all(failed(
                "5.6.3",
                "the message has 8-bit content, which this server does not take",
            ));
        }
        // RFC 6531 §3.5.
        if (terms.is_utf8 || !entry.from.is_ascii()) && !offered.utf8 {
            return all(failed(
                "5.6.7",
                "the message needs SMTPUTF8, which this server does not offer",
            ));
        }
        let (mut verdicts, mut fit) = (Vec::new(), Vec::new());
        for &index in recipients {
            let path = entry
                .recipients
                .get(index as usize)
                .map_or("\0", |each| &each.to.path);
            if is_broken(path) {
                verdicts.push((index, failed("5.1.3", "the address is none")));
            } else if !path.is_ascii() && !offered.utf8 {
                let words = "the address needs SMTPUTF8, which this server does not offer";
                verdicts.push((index, failed("5.6.7", words)));
            } else {
                fit.push(index);
            }
        }
        (verdicts, fit)
    }

    /// From MAIL to the last reply. The answers, and whether the content was sent. `spoken`: the server has answered something.
    async fn converse(
        &mut self,
        caller: &Caller,
        entry: &Entry,
        recipients: &[u32],
        read: impl AsyncFnMut(u32) -> Option<Bytes>,
        spoken: &mut bool,
    ) -> Result<(Sent, bool), Break> {
        let some: Vec<&Recipient> = recipients
            .iter()
            .map(|index| &entry.recipients[*index as usize])
            .collect();
        let mail = Mail {
            reverse_path: entry.from.clone(),
            recipients: some.iter().map(|each| each.to.path.clone()).collect(),
            parameters: self.mail_parameters(entry, &some),
            content: Content::ByCaller,
        };
        let parameters = some
            .iter()
            .map(|each| self.recipient_parameters(each))
            .collect();
        // Per connection: the greeting after STARTTLS may offer less than the one before.
        self.client.pipelining = self.offered.pipelining;
        self.client.send_with(mail, parameters, &mut self.output);
        let first = self.step(caller, ENVELOPE).await?;
        *spoken = true;
        match first {
            Event::Sent(sent) => return Ok((sent, false)),
            Event::Content => {}
            _ => return Err(Break::Nonsense),
        }
        self.send_content(caller, entry, read).await?;
        match self.step(caller, CONTENT_END).await? {
            Event::Sent(sent) => Ok((sent, true)),
            _ => Err(Break::Nonsense),
        }
    }

    async fn send_content(
        &mut self,
        caller: &Caller,
        entry: &Entry,
        mut read: impl AsyncFnMut(u32) -> Option<Bytes>,
    ) -> Result<(), Break> {
        let (mut at, mut stuffer) = (0, Stuffer::default());
        let mut out = Vec::new();
        while at < entry.body.raw_bytes {
            // Without an end of data the server has nothing: whoever drops the connection now takes nothing back.
            let piece = read(at).await.filter(|piece| !piece.is_empty());
            let piece = piece.ok_or(Break::Unread)?;
            let from = if at == 0 { travels_from(&piece) } else { 0 };
            for some in piece[from..].chunks(CONTENT_PIECE_BYTES) {
                out.clear();
                stuffer.put(some, &mut out);
                self.send_piece(caller, &out).await?;
            }
            at += piece.len() as u32;
        }
        out.clear();
        stuffer.end(&mut out);
        self.send_piece(caller, &out).await
    }

    async fn send_piece(&mut self, caller: &Caller, piece: &[u8]) -> Result<(), Break> {
        self.connection.deadline(CONTENT_PIECE);
        let sent = caller
            .host
            .within(CONTENT_PIECE, self.connection.send(piece))
            .await;
        Ok(sent.unwrap_or(Err(ConnectionFault::TimedOut))?)
    }

    fn mail_parameters(&self, entry: &Entry, recipients: &[&Recipient]) -> String {
        let (terms, offered) = (&entry.terms, &self.offered);
        let mut out = String::new();
        if offered.size {
            out.push_str(&format!(" SIZE={}", entry.body.raw_bytes));
        }
        if terms.is_eight_bit {
            out.push_str(" BODY=8BITMIME");
        }
        // By these recipients, and not by all of the message: one of them that needs SMTPUTF8 does not keep the others from a server without it.
        let is_utf8 = |each: &&Recipient| !each.to.path.is_ascii();
        if terms.is_utf8 || !entry.from.is_ascii() || recipients.iter().any(is_utf8) {
            out.push_str(" SMTPUTF8");
        }
        if terms.needs_tls {
            out.push_str(" REQUIRETLS");
        }
        if offered.dsn {
            match terms.returned {
                Returned::Unsaid => {}
                Returned::Headers => out.push_str(" RET=HDRS"),
                Returned::Full => out.push_str(" RET=FULL"),
            }
            if is_token(&terms.envelope_id) {
                out.push_str(&format!(" ENVID={}", terms.envelope_id));
            }
        }
        out
    }

    fn recipient_parameters(&self, recipient: &Recipient) -> String {
        let mut out = String::new();
        if !self.offered.dsn {
            return out;
        }
        let (notify, original) = (recipient.to.notify, &recipient.to.original);
        if notify.is_said() {
            let words = [
                (Notify::NEVER, "NEVER"),
                (Notify::SUCCESS, "SUCCESS"),
                (Notify::FAILURE, "FAILURE"),
                (Notify::DELAY, "DELAY"),
            ];
            let words = words.iter().filter(|(each, _)| notify.has(*each));
            let words: Vec<&str> = words.map(|(_, word)| *word).collect();
            out.push_str(&format!(" NOTIFY={}", words.join(",")));
        }
        if is_token(original) {
            out.push_str(&format!(" ORCPT={original}"));
        }
        out
    }

    fn verdicts_of(&self, recipients: &[u32], sent: &Sent, asked: bool) -> Vec<(u32, Verdict)> {
        let each = recipients.iter().zip(0..);
        each.map(|(index, at)| (*index, self.verdict_of(at, sent, asked)))
            .collect()
    }

    fn verdict_of(&self, at: usize, sent: &Sent, asked: bool) -> Verdict {
        if !sent.mail.is_ok() {
            return Verdict::of_refusal(&self.host, &sent.mail);
        }
        let broken = |words| {
            Verdict::Later(
                Class::Broken,
                Said::ours("4.5.0", words).with_host(&self.host),
            )
        };
        match sent.recipients.get(at) {
            Some(reply) if reply.is_ok() => {}
            // RFC 5321 §4.5.3.1.10: one too many; 552 is what older servers say.
            Some(reply) if matches!(reply.code, 452 | 552) => {
                // With others accepted it is about the number, and the rest goes at once on the same connection; alone it is about this recipient.
                let others = sent.recipients.iter().filter(|other| other.is_ok()).count();
                let class = if others > 0 {
                    Class::Rest
                } else {
                    Class::Refused
                };
                return Verdict::Later(class, Said::by(&self.host, reply));
            }
            Some(reply) => return Verdict::of_refusal(&self.host, reply),
            None => return broken("a recipient was not answered"),
        }
        match sent.outcomes.first() {
            Some(reply) if reply.is_ok() && asked => {
                let mut said = Said::by(&self.host, reply);
                said.reports = self.offered.dsn;
                said.tls = self.assured();
                Verdict::Delivered(said)
            }
            // 2xx to DATA itself: it has seen nothing of the message.
            Some(reply) => Verdict::of_refusal(&self.host, reply),
            None => broken("the content was not answered"),
        }
    }
}

/// What may stand in a parameter (RFC 5321 §4.1.2, esmtp-value).
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'=')
}
