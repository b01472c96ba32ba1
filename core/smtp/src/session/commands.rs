//! What each command does: the order of RFC 5321 §4.1.4, in the words of the protocol.

use sasl::Mechanism;

use crate::command::{Command, Mail, parse, parse_rcpt};
use crate::envelope::{ClaimedHello, Envelope};
use crate::reply::{Refusal, Reply};
use crate::xclient::{OFFER, parse as parse_xclient};

use super::{Action, Next, Role, Session, State, Transaction};

impl<R> Session<R> {
    /// One command line, without its CRLF. `Some`: the caller must act.
    pub(super) fn on_line(&mut self, line: &[u8], output: &mut Vec<u8>) -> Option<Action<R>> {
        // Within AUTH a line is base64 and not a command, also one that reads `QUIT` (RFC 4954 §4).
        if matches!(self.state, State::Auth(_)) {
            return self.on_response(line, output);
        }
        let command = match parse(line, self.is_submission(), self.is_zone) {
            Ok(command) => command,
            // A web page can have a browser post to this port: the body would be commands, with the browser's place in the network.
            Err(Refusal::Http) => {
                self.close(Refusal::Http, output);
                return Some(Action::Close);
            }
            // A chunk whose size cannot be read would be taken for commands.
            Err(refusal)
                if line
                    .get(..4)
                    .is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT")) =>
            {
                self.close(refusal, output);
                return Some(Action::Close);
            }
            Err(refusal) => return self.refuse(refusal, output),
        };
        match command {
            Command::Ehlo(name) => self.on_hello(name, true, Role::Smtp, output),
            Command::Helo(name) => self.on_hello(name, false, Role::Smtp, output),
            Command::Lhlo(name) => self.on_hello(name, true, Role::Lmtp, output),
            Command::Mail(mail) => self.on_mail(mail, output),
            Command::Rcpt(argument) => self.on_rcpt(argument, output),
            Command::Data => self.on_data(output),
            Command::Bdat { bytes, last } => self.on_bdat(bytes, last),
            Command::StartTls => self.on_starttls(output),
            Command::Rset => {
                self.transaction = None;
                self.idle(Reply::OK, output)
            }
            Command::Noop => self.idle(Reply::OK, output),
            // Each counts as idle: a peer that only asks these holds a connection for nothing.
            Command::Vrfy => self.idle(Reply::CANNOT_VERIFY, output),
            Command::Help => self.idle(Reply::HELP, output),
            Command::Expn => self.refuse(Refusal::NotImplemented, output),
            Command::Xclient(argument) => self.on_xclient(argument, output),
            Command::Auth { mechanism, initial } => self.on_auth(mechanism, initial, output),
            Command::Quit => {
                Reply::BYE.write(output);
                self.state = State::Closed;
                Some(Action::Close)
            }
        }
    }

    /// A second hello clears the transaction, as RSET does (RFC 5321 §4.1.4). What is offered depends on TLS and on the port.
    fn on_hello(
        &mut self,
        name: &str,
        extended: bool,
        role: Role,
        output: &mut Vec<u8>,
    ) -> Option<Action<R>> {
        // RFC 2033 §4.1: LHLO instead of EHLO, so that a client that takes the one for the other finds out before it counts replies.
        if role != self.config.role {
            return self.refuse(Refusal::WrongHello, output);
        }
        if let Some(action) = self.count_idle(output) {
            return Some(action);
        }
        self.transaction = None; // RFC 5321 §4.1.4
        self.hello = Some(ClaimedHello {
            name: self.forwarded_hello.as_deref().unwrap_or(name).to_owned(),
            extended,
        });
        let hostname = &self.config.hostname;
        if !extended {
            // Without any extension, as RFC 5321 §4.1.1.1 has it; parameters of MAIL are refused then.
            output.extend_from_slice(format!("250 {hostname}\r\n").as_bytes());
            return None;
        }
        let size = self.config.limits.message_bytes_max;
        // Not within TLS (RFC 3207 §4.2).
        let tls = if self.config.tls_available && !self.tls {
            "250-STARTTLS\r\n"
        } else {
            ""
        };
        // To other servers no reports are promised that the next one on the way might not write.
        let dsn = if self.is_submission() {
            "250-DSN\r\n"
        } else {
            ""
        };
        let auth = if self.may_log_in() {
            let names: Vec<_> = self.offer.mechanisms().map(Mechanism::name).collect();
            format!("250-AUTH {}\r\n", names.join(" "))
        } else {
            String::new()
        };
        let xclient = if self.trusted { OFFER } else { "" };
        let delivery = if self.is_zone {
            "250-XDELIVERY\r\n"
        } else {
            ""
        };
        output.extend_from_slice(
            format!("250-{hostname}\r\n250-PIPELINING\r\n250-SIZE {size}\r\n{tls}{auth}{dsn}{xclient}{delivery}250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250 ENHANCEDSTATUSCODES\r\n")
                .as_bytes(),
        );
        None
    }

    /// The first refusal that applies is sent: the order of commands, then TLS and login, then what the parameters ask for.
    fn on_mail(&mut self, mail: Mail, output: &mut Vec<u8>) -> Option<Action<R>> {
        let limits = &self.config.limits;
        let refusal = match &self.hello {
            None => Some(Refusal::HelloFirst),
            Some(_) if self.transaction.is_some() => Some(Refusal::NestedMail),
            Some(_) if self.config.tls_required && !self.tls => Some(Refusal::TlsRequired),
            Some(_) if self.is_submission() && !self.logged_in => Some(match self.may_log_in() {
                true => Refusal::AuthRequired,
                false => Refusal::TlsRequired,
            }),
            Some(hello) if mail.has_parameters && !hello.extended => {
                Some(Refusal::ParameterAfterHelo)
            }
            Some(_)
                if mail
                    .size_bytes
                    .is_some_and(|bytes| bytes > limits.message_bytes_max) =>
            {
                Some(Refusal::TooBig)
            }
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            return self.refuse(refusal, output);
        }
        // 421 and not a refusal of the one message: the sender connects again, to another of our cores perhaps, and loses nothing.
        if self.messages >= limits.messages_max {
            self.close(Refusal::TooManyMessages, output);
            return Some(Action::Close);
        }
        let Mail {
            reverse_path,
            size_bytes,
            body,
            smtputf8,
            returned,
            envelope_id,
            delivery,
            ..
        } = mail;
        let envelope = Envelope {
            reverse_path,
            recipients: Vec::new(),
            size_bytes,
            body,
            smtputf8,
            returned,
            envelope_id,
        };
        self.transaction = Some(Transaction {
            envelope,
            delivery: delivery.map(String::into_boxed_str),
            chunks: None,
        });
        // The caller knows which addresses the person may write from; a server that sends us mail may use any.
        if self.is_submission() {
            self.state = State::Sender;
            return Some(Action::CheckSender);
        }
        Reply::SENDER_OK.write(output);
        None
    }

    /// The caller decides about the recipient. Bounds come first, so that a peer cannot make it look up without end.
    fn on_rcpt(&mut self, argument: &str, output: &mut Vec<u8>) -> Option<Action<R>> {
        let Some(transaction) = &self.transaction else {
            return self.refuse(Refusal::MailFirst, output);
        };
        // RFC 3030 §2: no RCPT between chunks.
        // What has come of the content was counted for the recipients that there were.
        if transaction.chunks.is_some() {
            return self.refuse(Refusal::NestedMail, output);
        }
        if transaction.envelope.recipients.len() >= self.config.limits.recipients_max {
            // A pipelining sender has sent the rest of its recipients before it sees the first 452 (RFC 5321 §4.5.3.1.10): as many again
            // are free, then each is an error.
            self.excess_recipients += 1;
            if self.excess_recipients as usize > self.config.limits.recipients_max {
                return self.refuse(Refusal::TooManyRecipients, output);
            }
            Refusal::TooManyRecipients.reply().write(output);
            return None;
        }
        match parse_rcpt(
            argument,
            transaction.envelope.smtputf8,
            self.is_submission(),
        ) {
            Ok(rcpt) => {
                self.state = State::Recipient(rcpt);
                Some(Action::CheckRecipient)
            }
            Err(refusal) => self.refuse(refusal, output),
        }
    }

    fn on_data(&mut self, output: &mut Vec<u8>) -> Option<Action<R>> {
        let refusal = match &self.transaction {
            None => Refusal::MailFirst,
            Some(transaction) if transaction.chunks.is_some() => Refusal::DataAfterBdat,
            Some(transaction) if transaction.envelope.recipients.is_empty() => {
                Refusal::NoRecipients
            }
            Some(_) => {
                // The reply is the caller's: whether there is memory for a message, only it knows.
                self.state = State::Begin(Next::Data);
                return Some(Action::BeginContent);
            }
        };
        self.refuse(refusal, output)
    }

    /// RFC 3030 §2: the bytes of a chunk are read even when it is refused, for they are already on their way.
    fn on_bdat(&mut self, bytes: u64, last: bool) -> Option<Action<R>> {
        match &mut self.transaction {
            None => self.skip_chunk(bytes, last, Refusal::MailFirst),
            Some(transaction) if transaction.envelope.recipients.is_empty() => {
                self.skip_chunk(bytes, last, Refusal::NoRecipients);
            }
            // A later chunk needs no leave: the message has begun, and its memory is taken as it grows.
            Some(transaction) if transaction.chunks.is_some() => {
                self.state = State::Chunk { left: bytes, last };
            }
            Some(_) => {
                self.state = State::Begin(Next::Chunk { bytes, last });
                return Some(Action::BeginContent);
            }
        }
        None
    }

    /// XCLIENT_README: not inside a transaction; to peers that are not trusted there is no such command.
    fn on_xclient(&mut self, argument: &str, output: &mut Vec<u8>) -> Option<Action<R>> {
        if !self.trusted {
            return self.refuse(Refusal::UnknownCommand, output);
        }
        if self.transaction.is_some() {
            return self.refuse(Refusal::XclientInTransaction, output);
        }
        match parse_xclient(argument) {
            Ok(forwarded) => {
                self.state = State::Forwarded;
                Some(Action::Forwarded(forwarded))
            }
            Err(refusal) => self.refuse(refusal, output),
        }
    }

    fn on_starttls(&mut self, output: &mut Vec<u8>) -> Option<Action<R>> {
        let refusal = if self.tls {
            Refusal::TlsAlready
        } else if !self.config.tls_available {
            Refusal::TlsUnavailable
        } else if self.hello.is_none() {
            Refusal::HelloFirst
        } else {
            Reply::START_TLS.write(output);
            return Some(Action::StartTls);
        };
        self.refuse(refusal, output)
    }
}
