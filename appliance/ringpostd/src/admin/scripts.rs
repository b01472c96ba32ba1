//! Scripts that filter mail, as administrators store and look at them.

use ::admin::scripts::{Ask, ScriptDetail, ScriptLine, Whose};
use ::scripts::{Owner, ScriptFault, Scripts};
use ::storage::outgoing::Outgoing;
use client::managesieve::{check, script_name, weight};
use serde_json::Value;

use crate::admin::accounts::{exactly, parse_address};
use crate::admin::shared::{Admin, Refused, document};

/// Performs a request about scripts.
/// A text is stored only if it compiles. At delivery it would be too late: the sender is not the one to tell of a fault in the script, and
/// the mail would go to INBOX until the owner notices.
pub(crate) async fn perform(admin: &Admin, ask: Ask) -> Result<Value, Refused> {
    match ask {
        Ask::List { of } => document(&asked(admin, of, list).await?),
        Ask::Show { of, name } => {
            let name = name.map(|name| named(&name)).transpose()?;
            let work = async move |scripts: Scripts, owner: Owner| show(scripts, owner, name).await;
            document(&asked(admin, of, work).await?)
        }
        Ask::Put {
            of,
            name,
            text,
            activate,
        } => {
            let name = named(&name)?;
            compiled(text.clone()).await?;
            let work = async move |scripts: Scripts, owner: Owner| {
                let put = scripts.put(&owner, &name, text.into(), activate).await;
                put.map_err(refused)
            };
            document(&asked(admin, of, work).await?)
        }
        Ask::Activate { of, name } => {
            let name = named(&name)?;
            let work = async move |scripts: Scripts, owner: Owner| {
                let done = scripts.activate(&owner, Some(&name)).await;
                done.map_err(refused)
            };
            document(&asked(admin, of, work).await?)
        }
        Ask::Deactivate { of } => {
            let work = async move |scripts: Scripts, owner: Owner| {
                scripts.activate(&owner, None).await.map_err(refused)
            };
            document(&asked(admin, of, work).await?)
        }
        Ask::Remove { of, name } => {
            let name = named(&name)?;
            let work = async move |scripts: Scripts, owner: Owner| {
                scripts.remove(&owner, &name).await.map_err(refused)
            };
            document(&asked(admin, of, work).await?)
        }
        Ask::Check { text } => document(&compiled(text).await?),
    }
}

/// Names and sizes only. The texts stay on the volume, so that a list costs nothing however long the scripts are.
async fn list(scripts: Scripts, owner: Owner) -> Result<Vec<ScriptLine>, Refused> {
    let list = scripts.list(&owner);
    let lines = list.scripts().map(|(script, active)| ScriptLine {
        name: script.name.clone(),
        bytes: script.bytes,
        active,
    });
    Ok(lines.collect())
}

/// Between the look at the list and the read of the text another session may store a new version. Then the old text is gone, and the answer is to
/// ask again rather than to show a text under a name that it no longer has.
async fn show(
    scripts: Scripts,
    owner: Owner,
    name: Option<String>,
) -> Result<ScriptDetail, Refused> {
    let list = scripts.list(&owner);
    let found = match &name {
        Some(name) => list.named(name),
        None => list.active(),
    };
    let script = found.ok_or_else(|| match &name {
        Some(name) => {
            format!("there is no script `{name}`: `sieve list` shows those that there are")
        }
        None => "no script is active: `sieve list` shows those that there are".to_owned(),
    })?;
    let text = scripts
        .text(&owner, script.version)
        .await
        .map_err(refused)?;
    let text = text.ok_or("the script was replaced just now: try again")?;
    Ok(ScriptDetail {
        name: script.name.clone(),
        active: list.active() == Some(script),
        text: String::from_utf8_lossy(&text).into_owned(),
    })
}

/// Compiled beside the threads that serve, where it may take long.
async fn compiled(text: String) -> Result<(), Refused> {
    let weight = weight(text.as_bytes());
    runtime::workers::work(weight, move || check(text.as_bytes())).await
}

fn named(name: &str) -> Result<String, Refused> {
    let why = "a script's name has 1 to 128 letters and no control characters: choose another";
    script_name(name).ok_or_else(|| why.to_owned())
}

/// `work` on the storage thread, beside the scripts and with their owner.
/// The owner is looked up there and not before: an account that is removed while the request travels must not get a script.
async fn asked<T: Send + 'static>(
    admin: &Admin,
    of: Whose,
    work: impl AsyncFnOnce(Scripts, Owner) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let work = async move |outgoing: Outgoing| {
        let owner = owner_of(&outgoing, of).await;
        let scripts = outgoing.scripts().cloned();
        Ok(match (scripts, owner) {
            (Some(scripts), Ok(owner)) => work(scripts, owner).await,
            (_, Err(why)) => Err(why),
            (None, _) => Err("no scripts are kept here".to_owned()),
        })
    };
    admin.outgoing(work).await?
}

/// An alias is not followed (`exactly`): a script belongs to an account, and an operator who names an alias probably means something else.
async fn owner_of(outgoing: &Outgoing, of: Whose) -> Result<Owner, Refused> {
    let mailboxes = outgoing.mailboxes();
    match of {
        Whose::Global => Ok(Owner::Box),
        Whose::Account(address) => {
            let account = exactly(mailboxes, &parse_address(&address)?).await;
            let account = account.map_err(|fault| fault.to_string())?;
            Ok(Owner::Account(account.id.0))
        }
        Whose::Domain(domain) => {
            let owner = ::storage::scripts::domain(mailboxes, &domain);
            owner.ok_or_else(|| {
                format!("`{domain}` is not a domain of this server: see `domain list`")
            })
        }
    }
}

fn refused(fault: ScriptFault) -> Refused {
    match fault {
        ScriptFault::Refused(::scripts::Refusal::Active) => {
            "the script is the active one: activate another, or use `sieve deactivate`".to_owned()
        }
        fault => fault.to_string(),
    }
}
