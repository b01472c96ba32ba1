//! Everything that is asked about one message, side by side: our own search first, then rspamd, clamd and the filters.

use std::sync::Arc;

use base::Time;
use runtime::{Dial, SessionHost};

use crate::call::{self, Filtered};
use crate::{Counters, Envelope, Fault, Pool, Scanner, clamd, rspamd};

/// A filter of the operator's: its servers do the same.
pub struct Filter<D> {
    /// In our header field and the log.
    pub name: String,
    /// Mail is deferred while it gives no verdict; else it is taken without one.
    pub defers: bool,
    pub pool: Pool<D>,
}

/// Who is asked. Lives on its core.
pub struct Scanners<D> {
    pub rspamd: Option<Pool<D>>,
    pub clamd: Option<Pool<D>>,
    /// In their order; each sees the message as it came.
    pub filters: Vec<Filter<D>>,
    pub counters: Arc<Counters>,
}

/// What each of them said.
#[derive(Debug, Default)]
pub struct Found {
    pub rspamd: Option<Result<rspamd::Answer, Fault>>,
    pub clamd: Option<Result<clamd::Answer, Fault>>,
    /// By their place in `Scanners::filters`. What stands behind one that refuses is not asked.
    pub filters: Vec<Result<Filtered, Fault>>,
}

impl<D: Dial> Scanners<D> {
    /// No server is asked; what `known` recognises is all there is.
    pub fn none(counters: Arc<Counters>) -> Scanners<D> {
        Scanners {
            rspamd: None,
            clamd: None,
            filters: Vec::new(),
            counters,
        }
    }

    /// Asks all of them about `content` at once, the filters one after the other.
    pub async fn ask(&self, host: &SessionHost, envelope: &Envelope<'_>, content: &[u8]) -> Found {
        let began = host.now();
        let rspamd = async {
            let pool = self.rspamd.as_ref()?;
            let talk = async |connection, server| {
                call::rspamd(connection, server, envelope, content).await
            };
            let answer = pool.call(envelope.holder, talk).await;
            self.took(host, Scanner::Rspamd, began);
            Some(answer)
        };
        let clamd = async {
            let pool = self.clamd.as_ref()?;
            let answer = pool
                .call(envelope.holder, async |connection, _| {
                    call::clamd(connection, content).await
                })
                .await;
            self.took(host, Scanner::Clamd, began);
            Some(answer)
        };
        let filters = async {
            let mut all = Vec::new();
            for filter in &self.filters {
                let began = host.now();
                let talk = async |connection, _| call::milter(connection, envelope, content).await;
                let answer = filter.pool.call(envelope.holder, talk).await;
                self.took(host, Scanner::Milter, began);
                let goes_on = !matches!(&answer, Ok(filtered) if filtered.ends_it());
                all.push(answer);
                if !goes_on {
                    break;
                }
            }
            all
        };
        let (rspamd, clamd, filters) = tokio::join!(rspamd, clamd, filters);
        Found {
            rspamd,
            clamd,
            filters,
        }
    }

    fn took(&self, host: &SessionHost, scanner: Scanner, began: Time) {
        self.counters.took(scanner).note(host.now().since_us(began));
    }
}

impl Filtered {
    /// The message is not taken.
    pub fn ends_it(&self) -> bool {
        use crate::milter::Decision;
        matches!(
            self.decision,
            Decision::Reject | Decision::TempFail | Decision::Reply(..)
        )
    }
}
