//! Stage 0, the door: is this peer served at all, what is noted about it, and is one of its recipients refused because of who sends?
//!
//! The decisions are those of `door::Door`, which all cores share; here they meet the conversation. At the connection: bans, numbers and
//! rates, bytes before the greeting; look-ups begin then and go on while the peer talks. At RCPT: what the look-ups found, the name given
//! in HELO, the rate of the sender's domain, greylisting. Between them: faults are noted, and replies to repeated offenders wait.
//!
//! What must hold: a peer of an exempt network meets none of it; `<Postmaster>` is refused to no peer for its name or its listing
//! (RFC 5321 §4.5.1), so that a mistake of ours can be reported; what is not known in time counts for nothing.

mod look_up;

use std::net::IpAddr;
use std::rc::Rc;

use base::host::Receiver as Promise;
use base::host::oneshot;
use dns::Names;
use door::{
    Crowded, Door, Entered, Event, Marks, Offence, Response, Standing, Turned, early, hello,
};
use runtime::events::MESSAGE;
use runtime::{Accepted, Connection, ConnectionFault, SessionHost};
use smtp::{Forwarded, Refusal, ReversePath, Session};

use super::recipient::is_postmaster;
use super::route::Route;
use super::{Keeper, Receiver, Settings};
use look_up::{Findings, LookUp};

/// The door as one core has it: shared decisions, and this core's look-ups. Clones are the same.
#[derive(Clone)]
pub struct Doorway {
    door: Door,
    look_up: Rc<LookUp>,
}

impl Doorway {
    /// Looks up in `names`, on `host`.
    pub fn new(door: Door, host: SessionHost, names: impl Names) -> Doorway {
        let look_up = Rc::new(LookUp::new(&door, host, names));
        Doorway { door, look_up }
    }
}

/// One connection's way through the door. Without a door it lets everything through.
pub(super) struct Visit {
    at: Option<AtDoor>,
}

struct AtDoor {
    doorway: Doorway,
    host: SessionHost,
    hostname: String,
    /// Of the client, where a proxy speaks for it.
    peer: IpAddr,
    local: IpAddr,
    /// Counts the connection.
    _entered: Entered,
    /// It may use XCLIENT, and is not held to the turns of a conversation.
    is_trusted: bool,
    marks: Marks,
    findings: Option<Promise<Findings>>,
    standing: Standing,
    /// Of the session that were noted.
    faults: u32,
    /// It did something wrong since replies were sent last.
    has_offended: bool,
}

impl Visit {
    /// A connection begins. `Err`: it is refused in place of the greeting.
    pub(super) fn begin(
        settings: &Settings,
        host: &SessionHost,
        connection: &impl Connection,
    ) -> Result<Visit, Refusal> {
        let Some(doorway) = &settings.door else {
            return Ok(Visit { at: None });
        };
        let peer = connection.peer().ip();
        let at = AtDoor {
            _entered: enter(doorway, host, peer)?,
            doorway: doorway.clone(),
            host: host.clone(),
            hostname: settings.smtp.hostname.clone(),
            peer,
            local: connection.local().ip(),
            is_trusted: doorway.door.trusts(peer),
            marks: Marks::default(),
            findings: promise(doorway, host, peer),
            standing: Standing::default(),
            faults: 0,
            has_offended: false,
        };
        Ok(Visit { at: Some(at) })
    }

    /// Before the greeting: listens for a peer that does not wait for it. What came is appended to `inbox`.
    pub(super) async fn listen(
        &mut self,
        connection: &mut impl Accepted,
        inbox: &mut Vec<u8>,
    ) -> Result<Option<Refusal>, ConnectionFault> {
        let Some(at) = &mut self.at else {
            return Ok(None);
        };
        let policy = at.doorway.door.policy();
        let delay = policy.greeting_delay;
        if delay.is_zero() || policy.early == Response::Off || at.is_spared() {
            return Ok(None);
        }
        match at.host.within(delay, connection.receive(inbox)).await {
            None => Ok(None),
            Some(Err(fault)) => Err(fault),
            Some(Ok(_)) => {
                at.marks.early = true;
                Ok(at.early())
            }
        }
    }

    /// Whether the peer may use XCLIENT.
    pub(super) fn is_trusted(&self) -> bool {
        self.at.as_ref().is_some_and(|at| at.is_trusted)
    }

    /// Bytes came: whether they are refused because it was not their turn.
    pub(super) fn look(&mut self, session: &Session<Route>, inbox: &[u8]) -> Option<Refusal> {
        let at = self.at.as_mut()?;
        if session.hello().is_some() || at.marks.pipelined || at.is_spared() {
            return None;
        }
        if at.doorway.door.policy().early == Response::Off || !early::is_pipelined(inbox) {
            return None;
        }
        at.marks.pipelined = true;
        at.early()
    }

    /// XCLIENT: a trusted peer speaks for this client from now on. `Err`: that client is not served.
    pub(super) fn speaks_for(
        &mut self,
        said: &Forwarded,
        connection: &mut impl Accepted,
    ) -> Result<(), Refusal> {
        let at = self.at.as_mut().expect("only a door trusts a peer");
        (at.marks, at.standing, at.faults) = (Marks::default(), Standing::default(), 0);
        let Some(address) = said.address else {
            return Ok(());
        };
        at.findings = None;
        at._entered = enter(&at.doorway, &at.host, address)?;
        at.findings = promise(&at.doorway, &at.host, address);
        at.peer = address;
        let port = said.port.unwrap_or_else(|| connection.peer().port());
        connection.speaks_for((address, port).into());
        Ok(())
    }

    /// What counts for or against the peer when its message is judged. An exempt peer has nothing against it.
    pub(super) fn peer(&self) -> spam::Peer {
        let at = self.at.as_ref();
        let at = at.filter(|at| !at.doorway.door.is_exempt(at.peer));
        at.map_or(spam::Peer::default(), |at| spam::Peer {
            lists: at.standing.score,
            hello: at.marks.hello.is_some(),
            reverse_name: at.marks.reverse_name,
            early: at.marks.early || at.marks.pipelined,
        })
    }

    /// The field that says what was seen; empty where nothing was.
    pub(super) fn field(&self) -> Vec<u8> {
        let mut field = Vec::new();
        if let Some(at) = &self.at {
            at.marks.write(&at.doorway.door.policy().lists, &mut field);
        }
        field
    }

    /// Before replies are sent: notes what the peer did wrong, closes the conversation with one that is banned now, and makes an
    /// offender wait. Answers whether the conversation is over.
    pub(super) async fn settle(
        &mut self,
        session: &mut Session<Route>,
        output: &mut Vec<u8>,
    ) -> bool {
        let Some(at) = &mut self.at else {
            return false;
        };
        let faults = session.faults();
        for _ in at.faults..faults {
            at.offend(Offence::Protocol);
        }
        at.faults = faults;
        if !std::mem::take(&mut at.has_offended) {
            return false;
        }
        let now = at.host.now();
        let is_banned = at.doorway.door.bans().left(at.peer, now).is_some();
        if is_banned {
            session.close(Refusal::Banned, output);
        }
        if let Some(delay) = at.doorway.door.delay(at.peer, now) {
            at.host.sleep(delay.span).await;
        }
        is_banned
    }
}

impl AtDoor {
    fn is_spared(&self) -> bool {
        self.is_trusted || self.doorway.door.is_exempt(self.peer)
    }

    /// Bytes came before their turn.
    fn early(&mut self) -> Option<Refusal> {
        let door = &self.doorway.door;
        if door.policy().early == Response::Refuse {
            door.counters().note(Event::EarlyRefused);
            self.offend(Offence::Protocol);
            return Some(Refusal::EarlyTalker);
        }
        door.counters().note(Event::EarlyMarked);
        None
    }

    fn offend(&mut self, offence: Offence) {
        self.has_offended = true;
        let now = self.host.now();
        if let Some(span) = self.doorway.door.note(self.peer, offence, now) {
            let (peer, minutes) = (self.peer, span.as_secs() / 60);
            tracing::warn!(%peer, minutes, ?offence, "banned after repeated failures");
        }
    }

    /// Whether the conversation so far refuses this recipient, before it is looked up. The text goes behind the reply's.
    async fn refuses(&mut self, session: &Session<Route>) -> Result<(), (Refusal, String)> {
        if self.doorway.door.is_exempt(self.peer) {
            return Ok(());
        }
        self.learn().await;
        let spares = is_postmaster(session.recipient());
        let door = &self.doorway.door;
        let (policy, counters) = (door.policy(), door.counters());
        let given = session.hello().map(|hello| hello.name.as_str());
        let fault = given
            .filter(|_| policy.hello != Response::Off)
            .and_then(|name| hello::check(name, self.peer, self.local, &self.hostname));
        if let Some(fault) = fault {
            if policy.hello == Response::Refuse && fault.may_refuse() && !spares {
                counters.note(Event::HelloRefused);
                return Err((Refusal::HelloRefused, String::new()));
            }
            if self.marks.hello != Some(fault) {
                counters.note(Event::HelloMarked);
            }
        }
        self.marks.hello = fault;
        if policy.refuse_at > 0 && self.standing.score >= policy.refuse_at && !spares {
            counters.note(Event::ListsRefused);
            let reason = self.standing.reason.as_deref();
            let reason = reason.map_or(String::new(), |reason| format!("({reason})"));
            return Err((Refusal::Listed, reason));
        }
        Ok(())
    }

    /// Waits for the look-ups, once.
    async fn learn(&mut self) {
        let Some(findings) = self.findings.take() else {
            return;
        };
        let Some(findings) = findings.await else {
            return;
        };
        let door = &self.doorway.door;
        let (policy, counters) = (door.policy(), door.counters());
        self.standing = Standing::of(&policy.lists, &findings.listings);
        if self.standing.unknown > 0 {
            counters.note(Event::ListsUnanswered);
        }
        if policy.mark_at > 0 && self.standing.score >= policy.mark_at {
            counters.note(Event::ListsMarked);
            self.marks.lists = Some(self.standing.clone());
        }
        if findings.points_back == Some(false) {
            counters.note(Event::ReverseNameMarked);
            self.marks.reverse_name = true;
        }
    }

    /// Whether a recipient of ours is deferred because of who sends, and when. The last question: what passes here is accepted.
    fn defers(&mut self, session: &Session<Route>) -> Result<(), Refusal> {
        let door = &self.doorway.door;
        let Some(envelope) = session.envelope().filter(|_| !door.is_exempt(self.peer)) else {
            return Ok(());
        };
        let now = self.host.now();
        let sender = match &envelope.reverse_path {
            ReversePath::Null => None,
            ReversePath::Address(address) => Some(address),
        };
        let spares = is_postmaster(session.recipient());
        if door.policy().greylisting.is_some() && !spares {
            let from = sender.map_or(String::new(), ToString::to_string);
            let to = session.recipient().to_string();
            if !door.passes_greylist(self.peer, &from, &to, now) {
                return Err(Refusal::Greylisted);
            }
        }
        // Once for each message: with its first recipient.
        if let Some(sender) = sender.filter(|_| envelope.recipients.is_empty())
            && !door.takes_sender(sender.domain(), now)
        {
            return Err(Refusal::SenderLimit);
        }
        Ok(())
    }
}

fn enter(doorway: &Doorway, host: &SessionHost, peer: IpAddr) -> Result<Entered, Refusal> {
    doorway.door.enter(peer, host.now()).map_err(|turned| {
        tracing::debug!(%peer, ?turned, "refused at the door");
        match turned {
            Turned::Banned => Refusal::Banned,
            Turned::Crowded(
                Crowded::AddressOpen
                | Crowded::AddressRate
                | Crowded::NetworkOpen
                | Crowded::NetworkRate,
            ) => Refusal::Crowded,
        }
    })
}

/// Begins the look-ups about `peer`; `None`: there are none to make.
fn promise(doorway: &Doorway, host: &SessionHost, peer: IpAddr) -> Option<Promise<Findings>> {
    if doorway.door.is_exempt(peer) {
        return None;
    }
    let finds = doorway.look_up.about(peer)?;
    let (sender, promise) = oneshot();
    host.spawn(Box::pin(async move { sender.send(finds.await) }));
    Some(promise)
}

impl<K: Keeper> Receiver<K> {
    /// RCPT: what the door says, what the directory says, and the answer.
    pub(super) async fn answer_recipient(
        &self,
        settings: &Settings,
        session: &mut Session<Route>,
        peer: IpAddr,
        visit: &mut Visit,
        output: &mut Vec<u8>,
    ) {
        if let Some(at) = &mut visit.at
            && let Err((refusal, reason)) = at.refuses(session).await
        {
            let to = session.recipient();
            let from = session.envelope().map(|envelope| &envelope.reverse_path);
            let from = from.map(tracing::field::display);
            tracing::info!(target: MESSAGE, %peer, from, %to, %refusal, reason, "refused at the door");
            self.count_refusal(Some(refusal));
            return session.refuse_recipient(refusal, &reason, output);
        }
        let mut verdict = self.check_recipient(settings, session).await;
        if let Some(at) = &mut visit.at {
            match verdict {
                Ok(_) => {
                    if let Err(refusal) = at.defers(session) {
                        verdict = Err(refusal);
                    }
                }
                Err(Refusal::UnknownRecipient | Refusal::RelayDenied) => {
                    at.offend(Offence::Recipient);
                }
                Err(_) => {}
            }
        }
        if let Err(refusal) = &verdict {
            let from = session.envelope().map(|envelope| &envelope.reverse_path);
            let from = from.map(tracing::field::display);
            let to = session.recipient();
            tracing::info!(target: MESSAGE, %peer, from, %to, %refusal, "recipient refused");
        }
        self.count_refusal(verdict.as_ref().err().copied());
        session.recipient_verdict(verdict, output);
    }
}
