//! What concerns the box rather than its mail: updates, reboot, factory reset, the clock.
//!
//! The daemon has no right to do any of this itself. It leaves a small file where a systemd path unit of the image waits for it
//! (`/run/ringpost/reboot`, …), or asks the updater (`admin::update`). On a machine that is not an appliance the places are
//! missing and the request is refused.

use std::path::Path;

use ::admin::request::Request as Wanted;
use ::admin::update::{self, Outcome, Request};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::admin::limits::UPDATE_DEADLINE;
use crate::admin::shared::{Admin, Refused};

/// One at a time: there is one exchange.
static UPDATING: Mutex<()> = Mutex::const_new(());

/// Made by the image before the daemon starts, for it alone.
const RUN: &str = "/run/ringpost";
/// In the state directory; looked for by `ringpost-boot`.
pub const FACTORY_RESET: &str = "factory-reset";

/// Performs a request about the box.
pub(crate) async fn perform(admin: &Admin, request: Wanted) -> Result<Value, Refused> {
    match request {
        Wanted::Time => Ok(time()),
        Wanted::UpdateStatus => update(Request::Status).await,
        Wanted::UpdateApply { source, tries } => update(Request::Apply { source, tries }).await,
        Wanted::UpdateRollback => update(Request::Rollback).await,
        Wanted::UpdateSync => update(Request::Sync).await,
        Wanted::SystemDiskAdd { path } => update(Request::AddDisk { path }).await,
        Wanted::Reboot => signal("reboot"),
        Wanted::PowerOff => signal("poweroff"),
        Wanted::FactoryReset => factory_reset(&admin.plan().state),
        _ => Err("not about the box".into()),
    }
}

/// Leaves the file that a unit of the image waits for.
fn signal(name: &str) -> Result<Value, Refused> {
    let run = Path::new(RUN);
    if !run.join("boot.json").exists() {
        return Err("not an appliance image: use the tools of the operating system".into());
    }
    std::fs::write(run.join(name), b"").map_err(|error| format!("{RUN}/{name}: {error}"))?;
    Ok(json!({ "next": format!("{name} begins now") }))
}

/// Forgets settings, certificates and the witness at the next start. Mail stays on its legs.
fn factory_reset(state: &Path) -> Result<Value, Refused> {
    let path = state.join(FACTORY_RESET);
    std::fs::write(&path, b"").map_err(|error| format!("{}: {error}", path.display()))?;
    signal("reboot").inspect_err(|_| {
        let _ = std::fs::remove_file(&path); // refused means refused
    })
}

/// Hands an update request to the updater and waits beside everything else.
async fn update(wanted: Request) -> Result<Value, Refused> {
    update_by(Path::new(update::EXCHANGE), wanted).await
}

async fn update_by(exchange: &Path, wanted: Request) -> Result<Value, Refused> {
    if !exchange.is_dir() {
        return Err(
            "not an appliance image: update Ringpost with the tools of the operating system".into(),
        );
    }
    // What is asked beside it would take its answer away.
    let Ok(alone) = UPDATING.try_lock() else {
        return Err("another update is running: wait until it ends".into());
    };
    let exchange = exchange.to_owned();
    let outcome = tokio::task::spawn_blocking(move || {
        // Held until the answer is there, also when the caller has gone.
        let _alone = alone;
        update::ask(&exchange, &wanted, UPDATE_DEADLINE)
    });
    match outcome.await.map_err(|error| error.to_string())?? {
        Outcome::Done { version, next } => Ok(json!({ "version": version, "next": next })),
        Outcome::Slots { status } => Ok(status),
        Outcome::Refused { reason } => Err(reason),
        Outcome::Running { .. } => Err("the updater has not finished".into()),
    }
}

/// Whether the kernel's clock is disciplined, and by how much it may be off (adjtimex, RFC 5905 "maxerror").
pub(crate) fn time() -> Value {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    // systemd-timesyncd leaves this file once a server has answered.
    let synchronized = Path::new("/run/systemd/timesync/synchronized").exists();
    json!({ "unix_s": now, "synchronized": synchronized })
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::task::Poll;

    use super::*;

    #[test]
    fn an_update_is_alone_until_it_is_answered_also_when_its_asker_has_gone() {
        let directory = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.expect("a runtime").block_on(async {
            let exchange = directory.path();
            let mut first = Box::pin(update_by(exchange, Request::Rollback));
            let polled = poll_fn(|context| Poll::Ready(first.as_mut().poll(context))).await;
            assert!(polled.is_pending(), "{polled:?}");
            drop(first);
            let second = update_by(exchange, Request::Status).await;
            assert!(second.is_err_and(|why| why.contains("wait until it ends")));
            let files = update::exchange(exchange);
            let taken = loop {
                // until the first request is there
                match files.take::<Request>() {
                    Ok(taken) => break taken,
                    Err(_) => std::thread::yield_now(),
                }
            };
            let only = Ok(Request::Rollback);
            assert_eq!(taken.request, only, "the second was never written");
            let reason = "no other version".to_owned();
            let refused = Outcome::Refused { reason };
            files.answer(&taken.id, &refused).expect("ours");
            // Free once the first one's answer was read.
            drop(UPDATING.lock().await);
        });
    }
}
