//! Reports to other domains: made once a day from what was counted, checked against what each domain wants, signed and queued.
//!
//! What must hold:
//! - A day is reported to a domain once: the mark is in the group that queues the report, and a day is marked before it is posted over HTTPS.
//! - A report goes only where the domain, or the host of the address, said that it wants it; what cannot be looked up is asked again later.
//! - Reports carry the null reverse-path, so that nothing comes back about them, and are never reported on.
//! - One report is made at a time, of at most `reports::limits::SHEET_BYTES_MAX`; no web server keeps the next one waiting.
//!
//! `reporting/post.rs` posts over HTTPS. Start reading at `Reporter::run`.

mod post;
mod when;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use auth::Ask as AuthAsk;
use auth::external::{Permission, permits};
use base::BodyName;
use bytes::Bytes;
use dns::Names;
use feedback::letter::{Failure, Kind, Letter};
use feedback::{Destination, dmarc, package, tls};
use inbound::receive::Failures;
use mail::Summary;
use queue::{Addressee, Envelope, Notify as Wants, Terms, UnixSeconds};
use reports::{Key, Sheet};
use runtime::{Dial, SessionHost, Stop};
use storage::outgoing::lifetimes;
use storage::owner::Ask;
use storage::tallies::{Asked, DMARC_SEEN, Done, Tallies};
use store::BodyIn;
use tokio::sync::Notify;

use crate::relay::authorities::Authorities;
use crate::signing::Signing;
use post::{Post, Posts};
use when::{AGAIN_S, due_at, is_wanted, waits};

/// Who reports, and on what.
#[derive(Clone)]
pub struct Settings {
    /// `local@domain`; the domain is the reporter's.
    pub from: String,
    pub organization: String,
    pub dmarc: bool,
    pub tls: bool,
    /// Single failures; `true`: of their header only what says how they came.
    pub failures: Option<(Failures, bool)>,
    /// For HTTPS.
    pub authorities: Authorities,
    /// Of web servers; 443 except in tests.
    pub port: u16,
    pub seed: u64,
}

/// Makes reports. Lives on one core; a volume has one.
pub struct Reporter<K, N, D> {
    host: SessionHost,
    owner: K,
    names: N,
    dial: D,
    settings: Settings,
    tallies: Tallies,
    signing: Signing,
    stop: Stop,
    random: RefCell<fastrand::Rng>,
    /// When a sheet that could not be reported is looked at again, in seconds since 1970.
    again: RefCell<BTreeMap<Key, u64>>,
    /// What goes to web servers, beside everything else.
    posts: Posts,
}

/// A message and its envelope.
type Mail = (BodyIn, Envelope);

/// What a sheet comes to.
struct Made {
    mails: Vec<Mail>,
    /// Where it is posted: host, path, and what.
    posts: Vec<(String, String, Vec<u8>)>,
    to: Vec<String>,
    why: String,
}

/// Why a sheet is not reported now.
enum Not {
    /// It may be later.
    Yet(String),
    /// Never.
    Ever(String),
}

impl<K: Ask, N: Names, D: Dial> Reporter<K, N, D> {
    pub fn new(
        host: SessionHost,
        (owner, names, dial): (K, N, D),
        settings: Settings,
        tallies: Tallies,
        stop: Stop,
    ) -> Reporter<K, N, D> {
        Reporter {
            host,
            owner,
            names,
            dial,
            random: RefCell::new(fastrand::Rng::with_seed(settings.seed)),
            settings,
            tallies,
            signing: Signing::default(),
            stop,
            again: RefCell::default(),
            posts: Posts::default(),
        }
    }

    /// Reports until the stop is requested. What is under way then is dropped: it was queued with its mark, or was not.
    pub async fn run(&self) {
        // Two bells and a clock: an administrator who asks, a failure that came in, and the minute in which a day may have ended. A day is found by
        // the clock, so that no bell has to survive a restart.
        let wake = Arc::new(Notify::new());
        let never = Arc::new(Notify::new());
        let failures = self.settings.failures.as_ref();
        let bell = failures.map_or(never, |(failures, _)| failures.bell.clone());
        let work = async {
            let mut is_known = false;
            loop {
                // until the stop
                if !is_known {
                    let wake = wake.clone();
                    let told = self.owner.ask_outgoing(|outgoing| async move {
                        outgoing.wake_reporter_with(wake);
                    });
                    // The lane may be full at the start of a busy box. Until it is known only the clock wakes this task.
                    is_known = told.await.is_ok();
                }
                self.round().await;
                tokio::select! {
                    biased;
                    () = wake.notified() => {}
                    () = bell.notified() => {}
                    () = self.host.sleep(LOOK_EVERY) => {}
                }
            }
        };
        tokio::select! {
            biased;
            () = self.stop.requested() => {}
            () = work => {}
            // Beside the rounds and not within them: a web server that takes a minute for each answer must not hold up reports by mail.
            () = self.post_all() => {}
        }
        let ended = self.owner.ask_outgoing(|outgoing| async move {
            outgoing.reporter_ends();
        });
        if let Err(busy) = ended.await {
            tracing::debug!(%busy, "requests for reports are not answered");
        }
    }

    /// What is due, what was asked for, and what failed.
    async fn round(&self) {
        // Bounded by what the receivers keep; one is reported at a time, each in a message of its own.
        while let Some((failure, list)) = self.failure() {
            self.report_failure(&failure, &list).await;
        }
        let looked = self.owner.ask_outgoing(|outgoing| async move {
            (outgoing.take_wanted_reports(), outgoing.open_reports())
        });
        let Ok((asked, keys)) = looked.await else {
            return;
        };
        // First those for whom a person waits.
        for Asked { wanted, answer } in asked {
            let mut done = Vec::new();
            for key in keys.iter().filter(|key| is_wanted(&wanted, key)) {
                done.push(self.report(key, true).await);
            }
            answer.send(done);
        }
        let now = self.unix_now();
        let due: Vec<Key> = {
            let mut again = self.again.borrow_mut();
            // A sheet that was reported or removed takes its entry with it, so that this map is never larger than the table.
            again.retain(|key, _| keys.contains(key));
            let is_due = |key: &&Key| {
                let waits = again.get(*key).is_some_and(|at| waits(now, *at));
                !waits && now >= due_at(key)
            };
            keys.iter().filter(is_due).cloned().collect()
        };
        for key in due {
            let done = self.report(&key, false).await;
            let Done { key, to, why } = done;
            let Key { day, name, .. } = &key;
            tracing::info!(domain = name, day = day.0, ?to, why, "report");
        }
    }

    fn failure(&self) -> Option<(Failure, String)> {
        let (failures, _) = self.settings.failures.as_ref()?;
        failures.take()
    }

    /// Reports one sheet, if it is still open. `is_wanted`: an administrator waits for what comes of it.
    async fn report(&self, key: &Key, is_wanted: bool) -> Done {
        let done = |to: Vec<String>, why: &str| Done {
            key: key.clone(),
            to,
            why: why.to_owned(),
        };
        let asked = key.clone();
        let sheet = self
            .owner
            .ask_outgoing(move |outgoing| async move { outgoing.report_sheet(&asked) });
        let sheet = match sheet.await {
            Ok(Some(sheet)) => sheet,
            Ok(None) => return done(Vec::new(), "it was reported already"),
            Err(busy) => return done(Vec::new(), &busy.to_string()),
        };
        let now = self.unix_now();
        // A report that is asked for in the middle of a day is about the day so far, and closes it: what comes later that day is not reported.
        let end = match is_wanted && now < key.day.end() {
            true => now.max(key.day.begin() + 1),
            false => key.day.end(),
        };
        let made = match self.make(key, &sheet, end).await {
            Ok(made) => made,
            Err(Not::Yet(why)) => {
                let at = now + AGAIN_S;
                self.again.borrow_mut().insert(key.clone(), at);
                return done(Vec::new(), &why);
            }
            // A sheet that can never be reported is closed as if it had been: otherwise it is looked at each minute until it is too old to be kept.
            Err(Not::Ever(why)) => {
                self.tallies.figures().failed.fetch_add(1, Relaxed);
                Made {
                    mails: Vec::new(),
                    posts: Vec::new(),
                    to: Vec::new(),
                    why,
                }
            }
        };
        let (of, mails) = (key.clone(), made.mails);
        let sent = self
            .owner
            .ask_outgoing(move |outgoing| async move { outgoing.send_report(&of, mails).await });
        let why = match sent.await {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some("it was reported already".to_owned()),
            Ok(Err(fault)) => Some(fault.to_string()),
            Err(busy) => Some(busy.to_string()),
        };
        // The volume was full or the lane was: the report was made for nothing, and is made again. Nothing of it has left yet.
        if let Some(why) = why {
            self.again.borrow_mut().insert(key.clone(), now + AGAIN_S);
            return done(Vec::new(), &why);
        }
        let mut why = made.why;
        for (host, path, packed) in made.posts {
            let post = Post::new(host, path, packed);
            let posted = match is_wanted {
                true => self.post(&post).await,
                false => self.posts.put(post),
            };
            if let Err(fault) = posted {
                self.tallies.figures().failed.fetch_add(1, Relaxed);
                why = fault;
            }
        }
        if !made.to.is_empty() {
            self.tallies.figures().sent.fetch_add(1, Relaxed);
        }
        done(made.to, &why)
    }

    /// The report of a sheet, as it goes out.
    async fn make(&self, key: &Key, sheet: &Sheet, end: u64) -> Result<Made, Not> {
        let is_dmarc = key.subject == DMARC_SEEN;
        let is_on = if is_dmarc {
            self.settings.dmarc
        } else {
            self.settings.tls
        };
        if !is_on {
            return Err(Not::Ever(
                "reports of this kind are switched off".to_owned(),
            ));
        }
        let unread = || Not::Ever("its counts cannot be read".to_owned());
        let (domain, begin) = (&key.name[..], key.day.begin());
        let kind = if is_dmarc { Kind::Dmarc } else { Kind::Tls };
        let id = self.id(kind, key);
        let (destinations, plain) = if is_dmarc {
            let published = dmarc::Published::decode(&sheet.head).ok_or_else(unread)?;
            let each = sheet.lines.iter();
            let rows = each.filter_map(|(line, count)| Some((dmarc::Row::decode(line)?, *count)));
            let rows: Vec<_> = rows.collect();
            let report = dmarc::Report {
                organization: &self.settings.organization,
                contact: &self.settings.from,
                id: &id,
                domain,
                submitter: self.submitter(),
                begin,
                end,
                published: &published,
                rows: &rows,
                other: sheet.other,
            };
            let list = self
                .permitted(domain, &published.destinations, "rua")
                .await?;
            (list, report.xml())
        } else {
            let published = tls::Published::decode(&sheet.head).ok_or_else(unread)?;
            let each = sheet.lines.iter();
            let some = each.filter_map(|(line, count)| Some((tls::Session::decode(line)?, *count)));
            let sessions: Vec<_> = some.collect();
            let report = tls::Report {
                organization: &self.settings.organization,
                contact: &self.settings.from,
                id: &id,
                domain,
                begin,
                end: end - 1,
                published: &published,
                sessions: &sessions,
                other: sheet.other,
            };
            // RFC 8460 §3 asks no other host for its consent.
            (Destination::list(&published.destinations), report.json())
        };
        if destinations.is_empty() {
            return Err(Not::Ever("no address for reports takes them".to_owned()));
        }
        let bytes = plain.len();
        let pack = move || package::gzip(plain.as_bytes());
        // Beside the core: gzip of half a MiB takes longer than a session may wait.
        let packed = self.host.work(bytes, pack).await;
        let mut made = Made {
            mails: Vec::new(),
            posts: Vec::new(),
            to: Vec::new(),
            why: String::new(),
        };
        for destination in destinations {
            match &destination {
                // RFC 9990 knows reports of DMARC by mail alone.
                Destination::Https { .. } if is_dmarc => {}
                Destination::Https { host, path } => {
                    made.to.push(format!("https://{host}{path}"));
                    made.posts
                        .push((host.clone(), path.clone(), packed.clone()));
                }
                Destination::Mail { address, .. } => {
                    let letter = self.letter(kind, domain, address, &id, begin, end);
                    let raw = letter.write(&packed);
                    if !destination.takes(raw.len()) {
                        made.why = format!("{address} takes no report of {} bytes", raw.len());
                        continue;
                    }
                    let Some(mail) = self.mail(raw, address, kind == Kind::Tls).await? else {
                        let submitter = self.submitter();
                        made.why = format!(
                            "no DKIM key signs for {submitter}, and a report of TLS must be signed: ringpostctl dkim make"
                        );
                        continue;
                    };
                    made.to.push(format!("mailto:{address}"));
                    made.mails.push(mail);
                }
            }
        }
        // One destination of several is enough: the domain gets its report, and the reason why others got none is in the answer.
        match made.to.is_empty() {
            true => Err(Not::Ever(made.why)),
            false => Ok(made),
        }
    }

    /// Those of a domain's list that may be used (RFC 9990 §4).
    async fn permitted(
        &self,
        domain: &str,
        list: &str,
        tag: &str,
    ) -> Result<Vec<Destination>, Not> {
        let now_us = || self.host.now().0;
        let ask = AuthAsk::new(&self.names, &now_us);
        let mut permitted = Vec::new();
        for destination in Destination::list(list) {
            let host = destination.host().to_owned();
            match permits(&ask, domain, &host, tag).await {
                Permission::Yes(None) => permitted.push(destination),
                Permission::Yes(Some(list)) => {
                    let instead = Destination::list(&list);
                    // Another host would be asked in turn, and so on: neither address is used.
                    if instead.iter().all(|one| one.host() == host) {
                        permitted.extend(instead);
                    }
                }
                Permission::No => {
                    tracing::debug!(domain, host, "an address for reports does not want them")
                }
                // A name server that does not answer is not a refusal (I12). All of the list waits, so that no destination gets the report twice.
                Permission::Unknown => {
                    return Err(Not::Yet(format!(
                        "{host} cannot be asked now whether it wants reports"
                    )));
                }
            }
        }
        // Several addresses of one host may lead to the same others.
        Ok(Destination::once(permitted))
    }

    /// A signed message to `address` with its envelope. `None`: it is about TLS and must be signed, and no key signs.
    async fn mail(
        &self,
        raw: Vec<u8>,
        address: &str,
        is_about_tls: bool,
    ) -> Result<Option<Mail>, Not> {
        let domain = dkim::ascii_domain(self.submitter());
        let bytes = raw.len();
        let signed = self.signing.sign(&self.owner, &self.host, &domain, raw, 0);
        let raw = match signed.await {
            // Nothing was added, so there is no signature, and a receiver would ignore a report of TLS without one (RFC 8460).
            Ok(raw) if is_about_tls && raw.len() == bytes => return Ok(None),
            Ok(raw) => Bytes::from(raw),
            Err((why, _)) => return Err(Not::Yet(format!("it cannot be signed now: {why:?}"))),
        };
        let now = UnixSeconds(self.unix_now());
        let (warns, expires) = lifetimes(now, true);
        let envelope = Envelope {
            from: String::new(),
            recipients: vec![Addressee {
                path: address.to_owned(),
                notify: Wants::NEVER,
                original: String::new(),
            }],
            arrived: now,
            warns,
            expires,
            terms: Terms {
                is_utf8: !address.is_ascii(),
                // Others are held to the policies: of a single message they show a header.
                is_report: is_about_tls,
                ..Terms::default()
            },
        };
        let body = BodyIn {
            name: BodyName::of(&raw),
            summary: Bytes::from(Summary::of(&raw).encode()),
            raw,
        };
        Ok(Some((body, envelope)))
    }

    /// One message that failed, to the addresses that its domain names (RFC 9991).
    async fn report_failure(&self, failure: &Failure, list: &str) {
        let redacted = self
            .settings
            .failures
            .as_ref()
            .is_none_or(|(_, redacted)| *redacted);
        let destinations = match self.permitted(&failure.domain, list, "ruf").await {
            Ok(destinations) => destinations,
            Err(Not::Yet(why) | Not::Ever(why)) => {
                tracing::info!(domain = failure.domain, why, "a failure is not reported");
                return;
            }
        };
        let mark = self.random.borrow_mut().u64(..);
        let id = format!("{mark:016x}@{}", self.submitter());
        for destination in destinations {
            let Destination::Mail { address, .. } = destination else {
                continue;
            };
            let arrived = failure.arrived;
            let letter = self.letter(
                Kind::Dmarc,
                &failure.domain,
                &address,
                &id,
                arrived,
                arrived,
            );
            let raw = failure.write(&letter, redacted);
            let Ok(Some((body, envelope))) = self.mail(raw, &address, false).await else {
                continue;
            };
            let queued = self.owner.ask_outgoing(move |outgoing| async move {
                let queued = outgoing.queue().enqueue(body, envelope).await;
                outgoing.wake();
                queued
            });
            match queued.await {
                Ok(Ok(queue)) => {
                    self.tallies.figures().sent.fetch_add(1, Relaxed);
                    tracing::info!(
                        domain = failure.domain,
                        queue = queue.0,
                        "a failure is reported"
                    );
                }
                Ok(Err(fault)) => tracing::info!(%fault, "a failure is not reported"),
                Err(busy) => tracing::info!(%busy, "a failure is not reported"),
            }
        }
    }

    /// What the domain's report of a day is called, always the same.
    fn id(&self, kind: Kind, key: &Key) -> String {
        let kind = match kind {
            Kind::Dmarc => "dmarc",
            Kind::Tls => "tls",
        };
        format!(
            "{kind}.{}.{}@{}",
            key.day.begin(),
            key.name,
            self.submitter()
        )
    }

    fn letter<'l>(
        &'l self,
        kind: Kind,
        domain: &'l str,
        to: &'l str,
        id: &'l str,
        begin: u64,
        end: u64,
    ) -> Letter<'l> {
        Letter {
            kind,
            from: &self.settings.from,
            organization: &self.settings.organization,
            to,
            domain,
            submitter: self.submitter(),
            id,
            begin,
            end,
            unix_seconds: self.unix_now(),
            mark: self.random.borrow_mut().u64(..),
        }
    }

    /// The domain that reports.
    fn submitter(&self) -> &str {
        let from = &self.settings.from;
        from.rsplit_once('@').map_or(from, |(_, domain)| domain)
    }

    fn unix_now(&self) -> u64 {
        self.host.unix_seconds().max(0) as u64
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(60);
