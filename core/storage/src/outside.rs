//! Accounts that another directory (LDAP) owns, as logins and its reading change them.
//!
//! What must hold: such an account and its mark come in one group, so that it is never taken for one of this directory alone. The hash of its password is only what
//! was last right there, and counts as long as its mark says when that was. An account of this directory alone is never changed here.

use mail::{Address, spelling};
use mailbox::names::{Mark, NewHash};
use mailbox::{Account, AccountId, MailboxFault};

use crate::logins::ChangeFault;
use crate::outgoing::Outgoing;

/// No password fits it. An account has it until a password was right.
pub const NO_HASH: &str = "!";

/// The account of exactly this address; where there is none it is made, if `quota_bytes` says what it may hold. `Exists`: the address is an account of this
/// directory alone, an alias or a group. `NoAccount`: there is none, and none is to be made.
pub async fn account(
    outgoing: &Outgoing,
    address: &Address,
    quota_bytes: Option<u64>,
) -> Result<(Account, Mark), ChangeFault> {
    match exactly(outgoing, address).await {
        Err(ChangeFault::Account(MailboxFault::NoAccount)) => {}
        found => return found,
    }
    let quota_bytes = quota_bytes.ok_or(MailboxFault::NoAccount)?;
    let mailboxes = outgoing.mailboxes();
    let directory = mailboxes.directory();
    directory.has_room_for_mark().map_err(MailboxFault::from)?;
    let beside = |account| vec![directory.new_mark(account, Mark::default())];
    let made = mailboxes.add_account_beside(address, NO_HASH, quota_bytes, beside);
    match made.await {
        // Two logins at a time: the other one made it.
        Ok(_) | Err(MailboxFault::Exists) => exactly(outgoing, address).await,
        Err(fault) => Err(fault.into()),
    }
}

/// `Exists`: it is of this directory alone.
async fn exactly(outgoing: &Outgoing, address: &Address) -> Result<(Account, Mark), ChangeFault> {
    let mailboxes = outgoing.mailboxes();
    let found = mailboxes.account(address).await?;
    let keys = spelling::keys(address);
    let found = found.filter(|account| keys.contains(&account.address.key()));
    let account = match found {
        Some(account) => account,
        None if mailboxes.directory().listed(address).is_some() => {
            return Err(MailboxFault::Exists.into());
        }
        None => return Err(MailboxFault::NoAccount.into()),
    };
    let mark = mailboxes.directory().account_mark(account.id);
    Ok((account, mark.ok_or(MailboxFault::Exists)?))
}

/// The password was right there: it is `new.hash` from now on, which counts from `unix_s` on. The account is not disabled any more.
pub async fn proved(
    outgoing: &Outgoing,
    account: AccountId,
    new: NewHash,
    unix_s: u64,
) -> Result<(), ChangeFault> {
    let change = |mark: &mut Mark| {
        mark.is_disabled = false;
        mark.proved_unix_s = unix_s;
    };
    alter(outgoing, account, Some(new), change).await
}

/// The password that the hash `seen` is of is not right any more.
pub async fn disproved(
    outgoing: &Outgoing,
    account: AccountId,
    seen: String,
) -> Result<(), ChangeFault> {
    let new = NewHash {
        hash: NO_HASH.to_owned(),
        seen,
    };
    alter(outgoing, account, Some(new), |mark| mark.proved_unix_s = 0).await
}

/// All logins to a disabled account are refused. Its mail stays, and more comes in.
pub async fn set_disabled(
    outgoing: &Outgoing,
    account: AccountId,
    is_disabled: bool,
) -> Result<(), ChangeFault> {
    alter(outgoing, account, None, |mark| {
        mark.is_disabled = is_disabled
    })
    .await
}

async fn alter(
    outgoing: &Outgoing,
    account: AccountId,
    new: Option<NewHash>,
    change: impl FnOnce(&mut Mark),
) -> Result<(), ChangeFault> {
    let directory = outgoing.mailboxes().directory();
    let altered = directory.alter_mark(account, new, change).await;
    Ok(altered.map_err(MailboxFault::from)?)
}
