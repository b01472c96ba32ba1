//! Logins as a tenant of the log: what the tenancy and reclaim ask. There are no bodies.

use std::collections::BTreeMap;

use store::{BodyRef, Change as Row, LocalFuture, Lsn, Purpose, Record, Replayed, StoreFault};
use tenancy::encoding::Broken;
use tenancy::{Reading, Share, Tenant};
use volume::SegmentIndex;

use crate::limits::ROW_BYTES_MAX;
use crate::record::Change;
use crate::state::{HEAD_KEY, SECRET_KEY, SINGLES};
use crate::{Inner, LoginFault, account_lock, store_fault};

/// Records 120–127 and tables 120–127.
pub fn share() -> Share {
    Share {
        name: "logins",
        kinds: 120..=127,
        tables: 120..=127,
    }
}

/// What would be lost with records that reclaim takes away.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    /// Accounts with the last record about each, and whether that was its removal.
    pub accounts: BTreeMap<u32, (Lsn, bool)>,
    pub secret: bool,
    pub head: bool,
}

impl Tenant for Inner {
    fn share(&self) -> Share {
        share()
    }

    fn load(&self) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move { self.load_singles().await.map_err(store_fault) })
    }

    fn read_ahead(
        &self,
        groups: Vec<Replayed>,
        _reading: Reading,
    ) -> LocalFuture<'_, Result<(), StoreFault>> {
        let decoded = self.decode(groups).map_err(store_fault);
        Box::pin(async { decoded })
    }

    fn apply_until(&self, lsn: Lsn, _reading: Reading) -> LocalFuture<'_, Result<(), StoreFault>> {
        let mut ahead = self.ahead.borrow_mut();
        let mut state = self.state.borrow_mut();
        while ahead.front().is_some_and(|(at, _)| *at <= lsn)
            && let Some((at, changes)) = ahead.pop_front()
        {
            changes
                .iter()
                .for_each(|change| change.apply(at, &mut state));
        }
        Box::pin(async { Ok(()) })
    }

    fn replayed(
        &self,
        _reading: Reading,
        _writable: bool,
    ) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async { Ok(()) })
    }

    fn collect(&self, rows: &mut Vec<Row>) {
        self.state.borrow_mut().collect(rows);
    }

    fn settle(&self) {
        self.state.borrow_mut().settle();
    }

    fn is_dirty(&self) -> bool {
        self.state.borrow().is_dirty()
    }

    fn is_behind(&self, part: usize) -> bool {
        self.state.borrow().is_behind(part)
    }

    fn dirty_rows(&self) -> u64 {
        self.state.borrow().dirty_rows()
    }
}

impl store::Tenant for Inner {
    fn live_bodies<'a>(
        &'a self,
        _segments: &'a [SegmentIndex],
    ) -> LocalFuture<'a, Result<Vec<BodyRef>, StoreFault>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn moved<'a>(
        &'a self,
        _pairs: Vec<(BodyRef, BodyRef)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        Box::pin(async { Ok(()) })
    }

    fn moved_bytes(&self, _bodies: &[&BodyRef]) -> u64 {
        0
    }

    fn carried_bytes<'a>(
        &'a self,
        records: &'a [(Lsn, Record)],
    ) -> LocalFuture<'a, Result<u64, StoreFault>> {
        Box::pin(async move { self.weigh(records).await.map_err(store_fault) })
    }

    fn carry_forward<'a>(
        &'a self,
        records: Vec<(Lsn, Record)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move { self.carry(records).await.map_err(store_fault) })
    }
}

impl Inner {
    fn decode(&self, groups: Vec<Replayed>) -> Result<(), LoginFault> {
        for group in groups {
            let changes: Result<Vec<Change>, Broken> =
                group.records.iter().map(Change::decode).collect();
            self.ahead.borrow_mut().push_back((group.lsn, changes?));
        }
        Ok(())
    }

    async fn load_singles(&self) -> Result<(), LoginFault> {
        for key in [SECRET_KEY, HEAD_KEY] {
            let row = self.tenancy.store().get(SINGLES, key.to_vec()).await?;
            if let Some(row) = row {
                self.state.borrow_mut().install(key, &row)?;
            }
        }
        Ok(())
    }

    pub(crate) fn owed(&self, records: &[(Lsn, Record)]) -> Result<Owed, LoginFault> {
        let mut owed = Owed::default();
        for (lsn, record) in records {
            match Change::decode(record)? {
                Change::Put { account, .. } => _ = owed.accounts.insert(account, (*lsn, false)),
                Change::Remove { account } => _ = owed.accounts.insert(account, (*lsn, true)),
                Change::Secret(_) => owed.secret = true,
                Change::Head(_) => owed.head = true,
            }
        }
        Ok(owed)
    }

    /// What says again how things are with an account, where `lsn` was the last record about it that goes. `None`: a later one does.
    pub(crate) async fn stands_for(
        &self,
        account: u32,
        lsn: Lsn,
        is_removal: bool,
    ) -> Result<Option<Change>, LoginFault> {
        Ok(match self.kept(account).await? {
            Some(kept) if kept.written <= lsn => Some(Change::Put {
                account,
                row: kept.row,
            }),
            Some(_) => None,
            // Where the last record that goes is an older `Put`, its removal is behind it and stays.
            None => is_removal.then_some(Change::Remove { account }),
        })
    }

    /// Bytes that `carry` would append, at most.
    async fn weigh(&self, records: &[(Lsn, Record)]) -> Result<u64, LoginFault> {
        let owed = self.owed(records)?;
        let mut bytes = 2 * CARRIED_BYTES;
        for (account, (lsn, is_removal)) in owed.accounts {
            if let Some(change) = self.stands_for(account, lsn, is_removal).await? {
                bytes += change.encode().payload.len() + CARRIED_BYTES;
            }
        }
        Ok(bytes as u64)
    }

    /// Writes again what would be lost.
    async fn carry(&self, records: Vec<(Lsn, Record)>) -> Result<(), LoginFault> {
        let owed = self.owed(&records)?;
        drop(records);
        for (account, (lsn, is_removal)) in owed.accounts {
            // Every change of a row takes this lock until it is applied: what is read here is the row at this place of the log.
            let _locked = self.locks.lock(account_lock(account)).await;
            if let Some(change) = self.stands_for(account, lsn, is_removal).await? {
                self.commit(Purpose::Reclaim, change).await?;
            }
        }
        let _locked = self.locks.lock(crate::SINGLES_LOCK.to_owned()).await;
        let (secret, head) = {
            let state = self.state.borrow();
            (state.secret(), state.head())
        };
        if let Some(secret) = secret.filter(|_| owed.secret) {
            self.commit(Purpose::Reclaim, Change::Secret(secret))
                .await?;
        }
        if let Some(head) = head.filter(|_| owed.head) {
            self.commit(Purpose::Reclaim, Change::Head(head)).await?;
        }
        Ok(())
    }
}

/// A record without a row, and the frame around one.
const CARRIED_BYTES: usize = 128;
const _: () = assert!(CARRIED_BYTES < ROW_BYTES_MAX);
