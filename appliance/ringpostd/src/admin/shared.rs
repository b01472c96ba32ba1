//! What administration works with: the plan, the way to the volume's owner, counters, the certificate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use client::front::Nodes;
use client::login::Logins;
use client::relay::Route;
use door::Door;
use inbound::afar;
use inbound::spool::SpoolLane;
use mailbox::{MailboxFault, Mailboxes};
use plan::{Plan, StoragePlan, Zone};
use queue::QueueFault;
use runtime::Budget;
use serde::Serialize;
use serde_json::Value;
use spool::Spool;
use storage::outgoing::Outgoing;
use storage::owner::{Busy, Owner};
use volume::Volume;

use crate::acme::Acme;
use crate::admin::counters::Metrics;
use crate::admin::held::Certificate;
use crate::engine::Whose;
use crate::fetch::Fetcher;
use crate::ldap::Directory;
use crate::oauth::Oauth;
use crate::peers::Own;
use crate::serving::Serving;

/// Why not, in one sentence for the operator.
pub type Refused = String;

/// An answer as it is sent; `()` is `null`.
pub(crate) fn document<T: Serialize + ?Sized>(value: &T) -> Result<Value, Refused> {
    serde_json::to_value(value).map_err(|error| format!("cannot write the answer: {error}"))
}

/// Everything administration works with. Clones share it.
#[derive(Clone)]
pub struct Admin {
    shared: Arc<Shared>,
}

/// What the clones share.
struct Shared {
    /// What was planned for this machine.
    plan: Arc<Plan>,
    /// The way to the storage thread.
    owner: Owner,
    /// Where cores leave their counters.
    metrics: Metrics,
    /// The way to the spool's thread; `Err`: why there is none.
    spool: Result<SpoolLane, String>,
    /// Of messages on their way to storage or to the spool.
    credits: Budget,
    /// Bans, rates and lists.
    door: Door,
    /// How logins went, for the metrics.
    logins: Logins,
    /// The memory of messages that are being received.
    receive_memory: Budget,
    /// What TLS listeners show.
    certificate: Arc<dyn Certificate>,
    /// What orders a certificate; `None`: nothing does.
    acme: Option<Arc<Acme>>,
    /// Another directory; `None`: there is none.
    ldap: Option<Arc<Directory>>,
    /// What fetches from accounts elsewhere; `None`: the settings switch it off.
    fetcher: Option<Arc<Fetcher>>,
    /// Providers of tokens; `None`: there are none.
    tokens: Option<Arc<Oauth>>,
    /// How mail for elsewhere leaves; `None`: it waits.
    leaves: Option<Route>,
    /// Storage on other machines; `None`: it is here.
    afar: Option<afar::Settings>,
    /// Storage nodes that people are passed on to; `None`: this node is not a front.
    front: Option<Nodes>,
    /// What other nodes are shown; `None`: there are none.
    own: Option<Arc<Own>>,
    stopping: AtomicBool,
    began: Instant,
}

impl Admin {
    /// Administration of a daemon that is about to serve. `spool`: the way to its thread, or why there is none.
    pub fn new(
        serving: &Serving,
        spool: Result<SpoolLane, String>,
        certificate: Arc<dyn Certificate>,
        acme: Option<Arc<Acme>>,
        tokens: Option<Arc<Oauth>>,
    ) -> Admin {
        let shared = Shared {
            plan: serving.plan.clone(),
            owner: serving.owner.clone(),
            metrics: serving.metrics.clone(),
            spool,
            credits: serving.credits.clone(),
            door: serving.door.clone(),
            logins: serving.logins.clone(),
            receive_memory: serving.memory.receiving.clone(),
            certificate,
            acme,
            ldap: serving.ldap.clone(),
            fetcher: serving.fetcher.clone(),
            tokens,
            leaves: serving.route.clone(),
            afar: serving.afar.clone(),
            front: serving.front.clone(),
            own: serving.peers.as_ref().map(|peers| peers.own.clone()),
            stopping: AtomicBool::new(false),
            began: Instant::now(),
        };
        Admin {
            shared: Arc::new(shared),
        }
    }

    /// From now on `/readyz` says no.
    pub fn stopping(&self) {
        self.shared.stopping.store(true, Ordering::Release);
    }

    /// Whether `/readyz` says no.
    pub(crate) fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn plan(&self) -> &Plan {
        &self.shared.plan
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.shared.owner
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// `Err`: why there is none, in words.
    pub(crate) fn spool(&self) -> Result<&SpoolLane, &str> {
        self.shared.spool.as_ref().map_err(String::as_str)
    }

    pub(crate) fn credits(&self) -> &Budget {
        &self.shared.credits
    }

    pub(crate) fn logins(&self) -> &Logins {
        &self.shared.logins
    }

    pub(crate) fn door(&self) -> &Door {
        &self.shared.door
    }

    pub(crate) fn receive_memory(&self) -> &Budget {
        &self.shared.receive_memory
    }

    pub(crate) fn certificate(&self) -> &dyn Certificate {
        &*self.shared.certificate
    }

    /// `None`: the settings name no provider of tokens.
    pub(crate) fn tokens(&self) -> Option<&Oauth> {
        self.shared.tokens.as_deref()
    }

    /// `None`: the settings name no other directory.
    pub(crate) fn ldap(&self) -> Option<&Arc<Directory>> {
        self.shared.ldap.as_ref()
    }

    /// `None`: the settings do not fetch from accounts elsewhere.
    pub(crate) fn fetcher(&self) -> Option<&Arc<Fetcher>> {
        self.shared.fetcher.as_ref()
    }

    /// `None`: the settings order no certificate.
    pub(crate) fn acme(&self) -> Option<&Acme> {
        self.shared.acme.as_deref()
    }

    pub(crate) fn leaves(&self) -> Option<&Route> {
        self.shared.leaves.as_ref()
    }

    /// `None`: storage is here.
    pub(crate) fn afar(&self) -> Option<&afar::Settings> {
        self.shared.afar.as_ref()
    }

    /// `None`: this node is not a front.
    pub(crate) fn front(&self) -> Option<&Nodes> {
        self.shared.front.as_ref()
    }

    /// The certificate that other nodes are shown; `None`: there are none.
    pub(crate) fn own(&self) -> Option<&Own> {
        self.shared.own.as_deref()
    }

    /// `Err`: this node has no storage, and what was asked is about it.
    pub(crate) fn needs_storage(&self) -> Result<(), Refused> {
        match self.plan().runs(Zone::Storage) {
            true => Ok(()),
            false => Err(NO_STORAGE.to_owned()),
        }
    }

    /// Since the start of the daemon.
    pub(crate) fn uptime(&self) -> Duration {
        self.shared.began.elapsed()
    }

    /// Runs `work` on the owner's thread.
    pub(crate) async fn ask<T, W>(&self, work: W) -> Result<T, Refused>
    where
        T: Send + 'static,
        W: AsyncFnOnce(Mailboxes) -> T + Send + 'static,
    {
        self.needs_storage()?;
        let done = self
            .owner()
            .ask(move |mailboxes| async move { work(mailboxes).await })
            .await;
        done.map_err(|Busy| "storage is busy or stopping: try again".to_owned())
    }

    /// Runs `work` on the spool's thread.
    pub(crate) async fn ask_spool<T, W>(&self, work: W) -> Result<T, Refused>
    where
        T: Send + 'static,
        W: AsyncFnOnce(Spool) -> T + Send + 'static,
    {
        let spool = self
            .spool()
            .map_err(|why| format!("there is no spool: {why}"))?;
        let done = spool
            .ask(move |spool| async move { work(spool).await })
            .await;
        done.map_err(|Busy| "the spool is busy or stopping: try again".to_owned())
    }

    /// Runs `work` on the thread that owns this volume.
    pub(crate) async fn on_volume<T, W>(&self, whose: Whose, work: W) -> Result<T, Refused>
    where
        T: Send + 'static,
        W: AsyncFnOnce(Volume) -> T + Send + 'static,
    {
        match whose {
            Whose::Mail => {
                let work = async move |mailboxes| work(volume_of(&mailboxes).clone()).await;
                self.ask(work).await
            }
            Whose::Spool => {
                let work =
                    async move |spool: Spool| work(spool.tenancy().store().volume().clone()).await;
                self.ask_spool(work).await
            }
        }
    }

    /// What is planned for it; `None`: there is no spool.
    pub(crate) fn storage_plan(&self, whose: Whose) -> Option<&StoragePlan> {
        match whose {
            Whose::Mail => Some(&self.plan().storage),
            Whose::Spool => self.plan().spool.as_ref().map(|spool| &spool.storage),
        }
    }

    /// As `ask`, beside the queue.
    pub(crate) async fn outgoing<T, W>(&self, work: W) -> Result<T, Refused>
    where
        T: Send + 'static,
        W: AsyncFnOnce(Outgoing) -> Result<T, QueueFault> + Send + 'static,
    {
        self.needs_storage()?;
        let done = self
            .owner()
            .ask_outgoing(move |outgoing| async move { work(outgoing).await })
            .await;
        done.map_err(|Busy| "storage is busy or stopping: try again".to_owned())?
            .map_err(|fault| fault.to_string())
    }

    /// As `ask`, for what the mailboxes may refuse.
    pub(crate) async fn mailboxes<T, W>(&self, work: W) -> Result<T, Refused>
    where
        T: Send + 'static,
        W: AsyncFnOnce(Mailboxes) -> Result<T, MailboxFault> + Send + 'static,
    {
        self.ask(work).await?.map_err(|fault| fault.to_string())
    }

    /// Why mail is not taken or not read: what the volume says now, or what the last probe saw.
    pub(crate) async fn trouble(&self) -> Result<Option<String>, Refused> {
        if let Some(nodes) = self.front() {
            let any_up = nodes.all().iter().any(|node| node.state().is_up);
            let away = "no storage node works: logins are put off";
            return Ok((!any_up).then(|| away.to_owned()));
        }
        if let Some(afar) = self.afar() {
            let mut states = afar.targets.all().iter().map(|target| target.state());
            let any_up = states.any(|state| state.is_up);
            let waits = self.spool().is_ok_and(takes);
            let is_away = !any_up && !waits;
            return Ok(is_away.then(|| "no storage node works: mail is deferred".to_owned()));
        }
        let refuses = self
            .ask(async |mailboxes| volume_of(&mailboxes).refuses())
            .await?;
        Ok(refuses.or_else(|| self.owner().gauges().health().trouble()))
    }
}

/// Whether the spool takes mail that storage does not take.
fn takes(lane: &SpoolLane) -> bool {
    lane.trouble().is_none() && !lane.gauges().is_full()
}

/// What verbs about mail, addresses and legs answer on a node without storage.
const NO_STORAGE: &str =
    "this node has no storage: run this on a storage node (`ringpostctl status` names them)";

/// The volume that the mailboxes are on.
pub(crate) fn volume_of(mailboxes: &Mailboxes) -> &Volume {
    mailboxes.store().volume()
}
