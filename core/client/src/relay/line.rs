//! One connection to another server: dialled, greeted, and under TLS where the server offers it.
//!
//! Every wait has a deadline for the step as a whole, so a server that sends a byte a minute holds nothing longer than one that is silent;
//! and what is received before a line ends is bounded by `smtp::client`.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use feedback::tls::Outcome;
use runtime::{ConnectionFault, Dial, DialFault, Dialled, SessionHost};
use rustls::pki_types::ServerName;
use smtp::Role;
use smtp::client::{Client, Event, Reply};

use super::authorities::Authorities;
use super::counters::Counters;
use super::dane::{self, Demand};
use super::destination::Candidate;
use super::limits::*;
use super::offered::Offered;
use super::seen::{Seen, outcome_of};
use super::source::{Chosen, Sources};
use super::verdict::{Assured, Class, Said, Verdict};

/// What all connections of one sender share.
#[derive(Clone)]
pub struct Caller {
    pub host: SessionHost,
    /// Our name, for EHLO.
    pub hostname: String,
    /// Where conversations come from.
    pub sources: Rc<Sources>,
    /// For STARTTLS; `None`: it is not used.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Who vouches for servers where a policy demands it (MTA-STS).
    pub authorities: Option<Authorities>,
    pub counters: Arc<Counters>,
}

/// A greeted connection.
pub struct Line<C> {
    pub(super) connection: C,
    pub(super) client: Client,
    input: Vec<u8>,
    pub(super) output: Vec<u8>,
    pub offered: Offered,
    /// The server's name.
    pub host: String,
    /// TLS was begun and failed, and so this connection is in clear.
    pub tls_failed: bool,
    /// The server showed a certificate that its domain publishes (DANE).
    pub proved: bool,
    /// The server meets the policy of its domain (MTA-STS).
    pub meets_policy: bool,
    /// The source that it comes from; `None`: the system chose.
    source: Option<usize>,
    /// Transactions so far.
    pub carried: u32,
    /// It was made for a report, whatever the domain's policies about TLS say: no other message goes over it.
    pub is_lax: bool,
}

/// Why a connection cannot be used any more.
#[derive(Debug)]
pub enum Break {
    Fault(ConnectionFault),
    /// It ended the conversation itself.
    Refused(Reply),
    Nonsense,
    /// The message cannot be read.
    Unread,
}

impl From<ConnectionFault> for Break {
    fn from(fault: ConnectionFault) -> Break {
        Break::Fault(fault)
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub enum NoLine {
    Because(Verdict),
    /// Nothing is begun any more.
    Stopping,
}

impl Caller {
    /// Connects to the first of `candidates` (at least one) that has us. With `needs_tls` none is in clear because TLS failed; where TLS is
    /// not offered, the message is not sent over it (`attempt.rs`). What a candidate demands is kept in any case.
    pub async fn open<D: Dial>(
        &self,
        dial: &D,
        candidates: &[Candidate],
        needs_tls: bool,
        (pool, site): (&[usize], &str),
        seen: &mut Vec<Seen>,
    ) -> Result<Line<D::Connection>, NoLine> {
        let mut worst: Option<Verdict> = None;
        for candidate in candidates {
            let now = self.host.now();
            let is_ipv4 = candidate.address.is_ipv4();
            let order = self.sources.order(pool, site, is_ipv4, now);
            let mut from: Vec<Option<Chosen>> = order.into_iter().map(Some).collect();
            if pool.is_empty() {
                from.push(None);
            }
            if from.is_empty() {
                let words = "no source address is of its family";
                let none = Verdict::Later(Class::Connect, Said::ours("4.4.1", words));
                worst = Some(graver(worst, none));
            }
            for from in from {
                let from = from.as_ref().map(|chosen| (chosen, site));
                let verdict = match self.open_one(dial, candidate, needs_tls, from, seen).await {
                    Ok(line) => return Ok(line),
                    Err(NoLine::Stopping) => return Err(NoLine::Stopping),
                    Err(NoLine::Because(verdict)) => verdict,
                };
                tracing::debug!(host = candidate.host, address = %candidate.address, said = verdict.said().text, "no conversation");
                worst = Some(graver(worst, verdict));
                // Another source may do better only where this one was the reason.
                let is_the_reason =
                    from.is_some_and(|(chosen, site)| self.sources.rests(chosen, site, now));
                if !is_the_reason {
                    break;
                }
            }
        }
        let none = || Verdict::Later(Class::Names, Said::ours("4.4.3", "it has no address"));
        Err(NoLine::Because(worst.unwrap_or_else(none)))
    }

    async fn open_one<D: Dial>(
        &self,
        dial: &D,
        candidate: &Candidate,
        needs_tls: bool,
        from: Option<(&Chosen, &str)>,
        seen: &mut Vec<Seen>,
    ) -> Result<Line<D::Connection>, NoLine> {
        let is_demanded = candidate.demand.holds();
        let mut line = match self.greet(dial, candidate, from).await {
            // Before TLS whoever stands between can say so, and nothing of that is for good.
            Err(NoLine::Because(Verdict::Failed(said))) if is_demanded => {
                let words = format!("before TLS it says {}", said.text);
                return Err(self.unproved(candidate, &words));
            }
            greeted => greeted?,
        };
        let Some(config) = self.tls.as_ref().filter(|_| line.offered.start_tls) else {
            let words = "it offers no TLS";
            if self.tls.is_some() {
                let outcome = Outcome::StartTlsNotSupported;
                seen.push(Seen::of(candidate, outcome, words));
            }
            if is_demanded {
                return Err(self.unproved(candidate, words));
            }
            self.unmet(candidate, words);
            return Ok(line);
        };
        let config = match &candidate.demand {
            Demand::None | Demand::Tls | Demand::Policy { .. } => config.clone(),
            Demand::Dane {
                associations,
                domain,
            } => dane::config(associations, domain),
        };
        let name = server_name(candidate);
        let why = match line.secure(self, &config, name).await {
            Ok(()) => {
                line.proved = matches!(candidate.demand, Demand::Dane { .. });
                return self.judge(line, candidate, seen).await;
            }
            Err(Break::Fault(ConnectionFault::Stopping)) => return Err(NoLine::Stopping),
            Err(why) => why,
        };
        let trouble = line.connection.tls_trouble().unwrap_or("TLS failed");
        seen.push(match &why {
            Break::Refused(_) => {
                let words = "STARTTLS was refused";
                Seen::of(candidate, Outcome::StartTlsNotSupported, words)
            }
            _ => Seen::of(candidate, Outcome::ValidationFailure, trouble),
        });
        drop(line);
        if is_demanded {
            let words = match &why {
                Break::Fault(ConnectionFault::TimedOut) => "TLS was not done in time",
                Break::Refused(_) => "STARTTLS was refused",
                _ => "TLS failed, or its certificate is another",
            };
            return Err(self.unproved(candidate, words));
        }
        let words = match &why {
            Break::Refused(reply) => format!("STARTTLS was refused: {}", reply.code),
            _ => "TLS failed".to_owned(),
        };
        if needs_tls {
            let said = Said::ours("4.7.5", words).with_host(&candidate.host);
            return Err(NoLine::Because(Verdict::Later(Class::Tls, said)));
        }
        self.unmet(candidate, &words);
        // RFC 7435: in clear is better than not at all, and it is told.
        tracing::warn!(host = candidate.host, address = %candidate.address, words, "mail goes in clear: TLS is offered and does not work");
        let mut line = self.greet(dial, candidate, from).await?;
        line.tls_failed = true;
        Ok(line)
    }

    /// Whether a server under TLS meets its domain's policy (RFC 8461 §4.2). The handshake took any certificate, so that a domain that is testing
    /// gets its mail; nothing was sent yet except EHLO.
    async fn judge<C: Dialled>(
        &self,
        mut line: Line<C>,
        candidate: &Candidate,
        seen: &mut Vec<Seen>,
    ) -> Result<Line<C>, NoLine> {
        let Demand::Policy { is_named, .. } = candidate.demand else {
            seen.push(Seen::of(candidate, Outcome::Success, ""));
            return Ok(line);
        };
        let (shown, name) = (line.connection.certificates(), server_name(candidate));
        let unix_s = self.host.unix_seconds();
        let (words, outcome) = match self.authorities.as_ref() {
            None => {
                let words = "there are no authorities to judge it by";
                (words, Outcome::ValidationFailure)
            }
            Some(_) if !is_named => ("the policy does not name it", Outcome::ValidationFailure),
            Some(authorities) => match authorities.judge(shown, &name, unix_s) {
                Ok(()) => {
                    self.counters.policies_met.fetch_add(1, Relaxed);
                    line.meets_policy = true;
                    seen.push(Seen::of(candidate, Outcome::Success, ""));
                    return Ok(line);
                }
                Err(flaw) => (flaw.words(), outcome_of(flaw)),
            },
        };
        seen.push(Seen::of(candidate, outcome, words));
        if candidate.demand.holds() {
            line.bye(self).await;
            return Err(self.unproved(candidate, words));
        }
        self.unmet(candidate, words);
        Ok(line)
    }

    /// Counted; the mail of a domain that is testing goes on.
    fn unmet(&self, candidate: &Candidate, words: &str) {
        if let Demand::Policy { .. } = candidate.demand {
            self.counters.policies_unmet_testing.fetch_add(1, Relaxed);
            tracing::info!(host = candidate.host, address = %candidate.address, words, "a policy under test is not met");
        }
    }

    /// The candidate is not what its domain publishes: the message waits (RFC 7672 §2.2, RFC 8461 §5).
    fn unproved(&self, candidate: &Candidate, words: &str) -> NoLine {
        let words = match candidate.demand {
            Demand::Policy { .. } => {
                self.counters.policies_unmet.fetch_add(1, Relaxed);
                format!(
                    "the domain's policy (MTA-STS) demands TLS with a valid certificate, and {words}"
                )
            }
            _ => format!("the domain publishes this server's certificates (DANE), and {words}"),
        };
        tracing::warn!(host = candidate.host, address = %candidate.address, words, "mail waits");
        let said = Said::ours("4.7.5", words).with_host(&candidate.host);
        // All that waits for this domain waits.
        NoLine::Because(Verdict::Later(Class::Connect, said))
    }

    async fn greet<D: Dial>(
        &self,
        dial: &D,
        candidate: &Candidate,
        from: Option<(&Chosen, &str)>,
    ) -> Result<Line<D::Connection>, NoLine> {
        let later = |class, status, words: &str| {
            let words = format!("{words} ({})", candidate.address);
            let said = Said::ours(status, words).with_host(&candidate.host);
            NoLine::Because(Verdict::Later(class, said))
        };
        let address = from.map(|(chosen, _)| chosen.address);
        let dialled = dial.dial_from(address, candidate.address, CONNECT).await;
        let connection = match dialled {
            Ok(connection) => connection,
            Err(fault @ DialFault::NotHere) => {
                if let Some((chosen, _)) = from {
                    self.sources.unavailable(chosen, self.host.now());
                    tracing::warn!(source = chosen.name, address = %chosen.address, %fault, "a source is left out for a while");
                }
                return Err(later(Class::Ours, "4.3.0", &fault.to_string()));
            }
            Err(DialFault::Stopping) => return Err(NoLine::Stopping),
            Err(DialFault::Busy) => {
                return Err(later(Class::Ours, "4.3.2", "too many connections"));
            }
            Err(fault) => return Err(later(Class::Connect, "4.4.1", &fault.to_string())),
        };
        let name = from.map_or(&self.hostname, |(chosen, _)| &chosen.name);
        let mut client = Client::new(Role::Smtp, name, false);
        client.falls_back = true;
        let mut line = Line {
            connection,
            client,
            input: Vec::new(),
            output: Vec::new(),
            offered: Offered::default(),
            host: candidate.host.clone(),
            tls_failed: false,
            proved: false,
            meets_policy: false,
            source: from.map(|(chosen, _)| chosen.index),
            carried: 0,
            is_lax: false,
        };
        match line.step(self, GREETING + HELLO).await {
            Ok(Event::Ready(hello)) => {
                line.offered = Offered::of(&hello);
                if let Some((chosen, site)) = from {
                    self.sources.began(chosen, site);
                }
                Ok(line)
            }
            Err(Break::Fault(ConnectionFault::Stopping)) => Err(NoLine::Stopping),
            Err(Break::Refused(reply)) => {
                if let Some((chosen, site)) = from {
                    self.sources.refused(chosen, site, self.host.now());
                    tracing::info!(
                        source = chosen.name,
                        site,
                        code = reply.code,
                        "a source is refused, and comes last for a while"
                    );
                }
                Err(NoLine::Because(refusal(&candidate.host, &reply)))
            }
            Ok(_) | Err(Break::Nonsense) => {
                Err(later(Class::Broken, "4.5.0", "what it sends is not SMTP"))
            }
            Err(Break::Fault(fault)) => Err(later(
                Class::Connect,
                "4.4.2",
                &format!("no greeting: {fault}"),
            )),
            Err(Break::Unread) => Err(later(Class::Ours, "4.3.0", "unread")),
        }
    }
}

/// What two tries came to. For good only where all say so, every source at every address: what may pass counts for more.
fn graver(before: Option<Verdict>, verdict: Verdict) -> Verdict {
    match (before, &verdict) {
        (Some(before @ Verdict::Later(..)), Verdict::Failed(_)) => before,
        _ => verdict,
    }
}

/// What a server means that does not want us at all. 4xx is 421 to us: the whole site has enough.
fn refusal(host: &str, reply: &Reply) -> Verdict {
    match Verdict::of_refusal(host, reply) {
        Verdict::Later(Class::Refused, said) => Verdict::Later(Class::Closing, said),
        verdict => verdict,
    }
}

fn server_name(candidate: &Candidate) -> ServerName<'static> {
    let ip = || ServerName::from(candidate.address.ip());
    ServerName::try_from(candidate.host.clone()).unwrap_or_else(|_| ip())
}

impl<C: Dialled> Line<C> {
    /// Whether a message with these sources may go over it.
    pub fn is_of(&self, pool: &[usize]) -> bool {
        match self.source {
            Some(source) => pool.contains(&source),
            None => pool.is_empty(),
        }
    }

    pub fn is_secure(&self) -> bool {
        self.connection.tls().is_some()
    }

    /// How far TLS vouches for the server.
    pub fn assured(&self) -> Assured {
        match (self.proved, self.meets_policy) {
            (true, _) => Assured::Dane,
            (false, true) => Assured::Policy,
            (false, false) if self.is_secure() => Assured::Opportunistic,
            (false, false) => Assured::Clear,
        }
    }

    /// STARTTLS, the handshake, and EHLO once more (RFC 3207).
    async fn secure(
        &mut self,
        caller: &Caller,
        config: &Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<(), Break> {
        self.client.start_tls(&mut self.output);
        let Event::StartTls = self.step(caller, HELLO).await? else {
            return Err(Break::Nonsense);
        };
        // RFC 3207 §4.2: what came before the handshake is not to be believed.
        self.input.clear();
        self.connection.secure(config, &name).await?;
        self.client.tls_started(&mut self.output);
        match self.step(caller, HELLO).await? {
            Event::Ready(hello) => {
                self.offered = Offered::of(&hello);
                Ok(())
            }
            _ => Err(Break::Nonsense),
        }
    }

    /// Sends what is to be sent and receives up to the next event, all of it within `span`.
    pub(super) async fn step(&mut self, caller: &Caller, span: Duration) -> Result<Event, Break> {
        self.connection.deadline(span);
        let Line {
            connection,
            client,
            input,
            output,
            ..
        } = self;
        let wait = async {
            loop {
                // until something happened, or `span` is over
                if !output.is_empty() {
                    connection.send(output).await?;
                    output.clear();
                }
                let (used, event) = client.receive(input, output);
                input.drain(..used);
                match event {
                    Event::NeedInput if !output.is_empty() => {}
                    Event::NeedInput => _ = connection.receive(input).await?,
                    Event::Refused(reply) => return Err(Break::Refused(reply)),
                    Event::Nonsense => return Err(Break::Nonsense),
                    event => return Ok(event),
                }
            }
        };
        let event = caller.host.within(span, wait).await;
        event.unwrap_or(Err(Break::Fault(ConnectionFault::TimedOut)))
    }

    /// Resolves when the connection cannot be used any more: the server closes it, or says something that was not asked. Cancel-safe.
    pub async fn breaks(&mut self) {
        self.connection.deadline(IDLE * 2);
        loop {
            // until it broke, or somebody uses it
            let (used, event) = self.client.receive(&self.input, &mut self.output);
            self.input.drain(..used);
            if event != Event::NeedInput || self.connection.receive(&mut self.input).await.is_err()
            {
                return;
            }
        }
    }

    /// QUIT, and the end.
    pub async fn bye(mut self, caller: &Caller) {
        self.client.quit(&mut self.output);
        if self.step(caller, QUIT).await.is_ok() {
            self.connection.close().await;
        }
    }
}
