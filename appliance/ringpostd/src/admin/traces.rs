//! Traces of messages, as administrators ask for them.

use ::admin::request::TraceWanted;
use serde_json::Value;

use crate::admin::shared::{Admin, Refused, document};
use crate::trace;

/// Reads the files on a thread of its own: they may be some hundred megabytes.
pub(crate) async fn perform(admin: &Admin, wanted: TraceWanted) -> Result<Value, Refused> {
    let place = admin.plan().state.join(trace::PLACE);
    let searched = tokio::task::spawn_blocking(move || trace::search(&place, &wanted)).await;
    let searched = searched.map_err(|_| "the search was broken off")?;
    let page = searched.map_err(|error| format!("traces of messages cannot be read: {error}"))?;
    document(&page)
}
