//! What the plan says of reports, as receivers and the reporter want it.

use std::path::Path;

use client::relay::authorities::Authorities;
use client::reporting::{Reporter, Settings};
use dns::Resolver;
use inbound::receive::{Failures, Reporting};
use plan::{Misfit, Plan};
use runtime::{Core, SessionHost, TcpDial};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use storage::owner::Owner;
use storage::tallies::Tallies;
use tokio::task::JoinHandle;

/// For all cores.
#[derive(Clone)]
pub struct Reports {
    pub tallies: Tallies,
    failures: Option<Failures>,
    /// Who vouches for servers that reports are posted to, and for those under a policy.
    pub authorities: Authorities,
}

impl Reports {
    pub fn new(plan: &Plan, tallies: Tallies, authorities: Authorities) -> Reports {
        let per_hour = plan.reports.as_ref().and_then(|of| of.failures_per_hour);
        Reports {
            tallies,
            failures: per_hour.map(Failures::new),
            authorities,
        }
    }

    /// What receivers do. `sends`: what is counted can leave. Reports of others are read in any case.
    pub fn of_receivers(&self, plan: &Plan, sends: bool) -> Reporting {
        let counts = sends && plan.reports.is_some();
        Reporting {
            tallies: self.tallies.clone(),
            counts,
            failures: self.failures.clone().filter(|_| counts),
        }
    }

    /// Whether connections to other servers are counted.
    pub fn counts_tls(&self, plan: &Plan) -> bool {
        plan.reports.as_ref().is_some_and(|of| of.tls)
    }

    /// Starts the reporter, on the thread that sends mail; `names` are the sender's.
    pub fn report(
        &self,
        core: &Core,
        plan: &Plan,
        owner: &Owner,
        names: Resolver,
    ) -> Option<JoinHandle<()>> {
        let of = plan.reports.as_ref()?;
        let dial = TcpDial::new(core, CONNECTIONS_MAX, std::sync::Arc::default());
        let settings = Settings {
            from: of.from.clone(),
            organization: of.organization.clone(),
            dmarc: of.dmarc,
            tls: of.tls,
            failures: self
                .failures
                .clone()
                .map(|failures| (failures, of.failures_redacted)),
            authorities: self.authorities.clone(),
            port: 443,
            seed: fastrand::u64(..),
        };
        let with = (owner.clone(), names, dial);
        let (host, stop) = (SessionHost::of_core(), core.stop().clone());
        let reporter = Reporter::new(host, with, settings, self.tallies.clone(), stop);
        Some(tokio::task::spawn_local(
            async move { reporter.run().await },
        ))
    }
}

/// Those of the web, and those of `outbound.authorities`.
pub fn authorities(path: Option<&Path>) -> Result<Authorities, Misfit> {
    let Some(path) = path else {
        return Ok(Authorities::of_web());
    };
    let wrong = |why: &str| {
        Misfit::new(format!(
            "outbound.authorities: {}: {why}: write PEM certificates of authorities there, or name another file",
            path.display()
        ))
    };
    let pem = std::fs::read(path).map_err(|error| wrong(&error.to_string()))?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let all = all.ok().filter(|all| !all.is_empty());
    let all = all.ok_or_else(|| wrong("it contains no PEM certificate"))?;
    Authorities::of_web_and(&all).ok_or_else(|| wrong("one of them cannot be read"))
}

/// One report is posted at a time.
const CONNECTIONS_MAX: usize = 2;
