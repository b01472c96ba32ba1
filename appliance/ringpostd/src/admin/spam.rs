//! What people taught about junk, as administrators see it and forget it.

use ::admin::reply::LessonsDetail;
use ::admin::request::Request;
use ::lessons::{Lessons, Whom};
use ::spam::Totals;
use ::storage::outgoing::Outgoing;
use serde_json::Value;

use crate::admin::accounts::{exactly, parse_address};
use crate::admin::shared::{Admin, Refused, document};

/// Performs a request about lessons.
pub(crate) async fn perform(admin: &Admin, request: Request) -> Result<Value, Refused> {
    match request {
        Request::SpamShow { of } => {
            let work = async move |outgoing: Outgoing| Ok(show(&outgoing, &of).await);
            document(&admin.outgoing(work).await??)
        }
        Request::SpamForget { of } => {
            let work = async move |outgoing: Outgoing| Ok(forget(&outgoing, &of).await);
            document(&admin.outgoing(work).await??)
        }
        _ => Err("not about lessons".into()),
    }
}

async fn show(outgoing: &Outgoing, of: &str) -> Result<LessonsDetail, Refused> {
    let (lessons, whom) = lessons_of(outgoing, of).await?;
    let detail = lessons.with(&whom, |model| {
        let (junk, good) = model.totals();
        let (junk, good) = (junk.into(), good.into());
        LessonsDetail {
            junk,
            good,
            words: model.words_count(),
            suffice: Totals { junk, good }.suffice(),
        }
    });
    Ok(detail.unwrap_or(LessonsDetail {
        junk: 0,
        good: 0,
        words: 0,
        suffice: false,
    }))
}

/// Also where nothing was taught: it is as asked for.
async fn forget(outgoing: &Outgoing, of: &str) -> Result<(), Refused> {
    let (lessons, whom) = lessons_of(outgoing, of).await?;
    let forgot = lessons.forget(&whom).await;
    forgot.map(drop).map_err(|fault| fault.to_string())
}

async fn lessons_of<'a>(outgoing: &'a Outgoing, of: &str) -> Result<(&'a Lessons, Whom), Refused> {
    let lessons = outgoing.lessons().ok_or("nothing is taught here")?;
    let mailboxes = outgoing.mailboxes();
    if of.contains('@') {
        let account = exactly(mailboxes, &parse_address(of)?).await;
        let account = account.map_err(|fault| fault.to_string())?;
        return Ok((lessons, Whom::Account(account.id.0)));
    }
    let whom = ::storage::lessons::domain(mailboxes, of);
    let whom = whom.ok_or_else(|| {
        format!("`{of}` is not a domain of this server: see `domain list`, or write an account's address")
    })?;
    Ok((lessons, whom))
}
