//! The scripts as a tenant of the log: what the tenancy and reclaim ask. There are no bodies.

use std::collections::BTreeSet;

use store::{
    BodyRef, Change as Row, LocalFuture, Lsn, Purpose, Record, Replayed, StoreFault, Table,
};
use tenancy::encoding::Broken;
use tenancy::{Reading, Share, Tenant};
use volume::SegmentIndex;

use crate::limits::{CARRIED_GROUP_BYTES, LIST_ROW_BYTES_MAX, ROWS_PER_READ};
use crate::list::{Owner, Version};
use crate::record::Change;
use crate::state::{KEYS, LISTS, State};
use crate::{Inner, LOCK, ScriptFault, store_fault};

/// Records 104–111 and tables 104–111.
/// Apart from those of all other tenants: `tenancy::share::check` stops a start with two that overlap.
pub fn share() -> Share {
    Share {
        name: "scripts",
        kinds: 104..=111,
        tables: 104..=111,
    }
}

impl Tenant for Inner {
    fn share(&self) -> Share {
        share()
    }

    fn load(&self) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move { self.load_all().await.map_err(store_fault) })
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
    // A script's text is in its record, like all of this tenant's bytes: texts are small and few, and a body would need a place in reclaim's walk.
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
        let weighed = self.weigh(records).map_err(store_fault);
        Box::pin(async move { weighed })
    }

    fn carry_forward<'a>(
        &'a self,
        records: Vec<(Lsn, Record)>,
    ) -> LocalFuture<'a, Result<(), StoreFault>> {
        Box::pin(async move { self.carry(records).await.map_err(store_fault) })
    }
}

impl Inner {
    fn decode(&self, groups: Vec<Replayed>) -> Result<(), ScriptFault> {
        for group in groups {
            let changes: Result<Vec<Change>, Broken> =
                group.records.iter().map(Change::decode).collect();
            self.ahead.borrow_mut().push_back((group.lsn, changes?));
        }
        Ok(())
    }

    async fn load_all(&self) -> Result<(), ScriptFault> {
        self.load_table(LISTS, State::install_list).await?;
        self.load_table(KEYS, State::install_keys).await
    }

    async fn load_table(
        &self,
        table: Table,
        install: impl Fn(&mut State, &[u8], &[u8]) -> Result<(), Broken>,
    ) -> Result<(), ScriptFault> {
        let store = self.tenancy.store();
        let mut from = Vec::new();
        loop {
            // until the table ends; `put` and `remember` hold what all of it may be
            let rows = store
                .range(table, from, vec![0xff; 5], ROWS_PER_READ)
                .await?;
            let state = &mut self.state.borrow_mut();
            for (key, row) in &rows {
                install(state, key, row)?;
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS_PER_READ => {
                    from = [last.as_slice(), &[0]].concat();
                }
                _ => return Ok(()),
            }
        }
    }

    /// What would be lost with `records`, as records that say it again: an owner's list and its texts where no later record has them, keys that
    /// still count, and removals that older records must not undo. Each is said once.
    pub(crate) fn owed(&self, records: &[(Lsn, Record)]) -> Result<Vec<Change>, ScriptFault> {
        let now = self.tenancy.io().host.unix_seconds();
        let now = u64::try_from(now).unwrap_or(0);
        let state = self.state.borrow();
        let mut said: BTreeSet<(Owner, Option<Version>)> = BTreeSet::new();
        let mut owed = Vec::new();
        for (lsn, record) in records {
            match Change::decode(record)? {
                Change::List { owner, text, .. } => {
                    let Some(kept) = state.kept(&owner) else {
                        continue;
                    };
                    // Of several records that had this list, the text is owed only by the one that brought it: otherwise each pass of reclaim would write
                    // every text of the owner again.
                    let text = text.filter(|(version, _)| {
                        let scripts = kept.list.scripts.iter().zip(&kept.texts_at);
                        let mut its = scripts.filter(|(script, _)| script.version == *version);
                        its.any(|(_, at)| at == lsn)
                    });
                    let version = text.as_ref().map(|(version, _)| *version);
                    let is_owed = text.is_some() || kept.at == *lsn;
                    if is_owed && said.insert((owner.clone(), version)) {
                        let list = kept.list.clone();
                        owed.push(Change::List { owner, list, text });
                    }
                }
                Change::Gone { owner } => {
                    let has_keys = matches!(&owner, Owner::Account(account) if state.keys.contains_key(account));
                    // An owner that is there again has newer records, which a removal that is written behind them would undo.
                    let is_there = has_keys || state.has_list(&owner);
                    if !is_there && said.insert((owner.clone(), None)) {
                        owed.push(Change::Gone { owner });
                    }
                }
                Change::Remember { account, keys, .. } => {
                    let Some(known) = state.keys.get(&account) else {
                        continue;
                    };
                    // A later record has those that are remembered longer by now.
                    let counts =
                        |(key, until): &(_, u64)| *until > now && known.until(key) == Some(*until);
                    let keys: Vec<_> = keys.into_iter().filter(counts).collect();
                    if !keys.is_empty() {
                        owed.push(Change::Remember { account, now, keys });
                    }
                }
            }
        }
        Ok(owed)
    }

    /// Bytes that `carry` would append.
    fn weigh(&self, records: &[(Lsn, Record)]) -> Result<u64, ScriptFault> {
        let owed = self.owed(records)?;
        let each = owed.iter().map(|change| carried_bytes(change) as u64);
        Ok(each.sum())
    }

    /// Says again what is owed, as it is now: each record is asked about under the lock that every change of a list takes until it is applied.
    async fn carry(&self, records: Vec<(Lsn, Record)>) -> Result<(), ScriptFault> {
        // The lock is taken and given back for each group: a person who stores a script waits for one group and not for a whole segment.
        let mut rest = &records[..];
        while !rest.is_empty() {
            let _locked = self.locks.lock(LOCK.to_owned()).await;
            let (mut group, mut bytes) = (Vec::new(), 0);
            // Groups of some records, so that reclaim does not wait for the devices with each; a large one goes alone.
            let mut count = 0;
            for record in rest.iter().take(CARRIED_LOOKED_MAX) {
                let owed = self.owed(std::slice::from_ref(record))?;
                let more: usize = owed.iter().map(carried_bytes).sum();
                if count > 0 && bytes + more > CARRIED_GROUP_BYTES {
                    break;
                }
                bytes += more;
                group.extend(owed);
                count += 1;
            }
            if !group.is_empty() {
                self.commit(Purpose::Reclaim, group).await?;
            }
            rest = &rest[count..];
        }
        Ok(())
    }
}

/// Bytes of a record in the log, at most.
fn carried_bytes(change: &Change) -> usize {
    let owner = |owner: &Owner| owner.key().len();
    CARRIED_BYTES
        + match change {
            Change::List {
                owner: of,
                list,
                text,
            } => {
                let text = text.as_ref().map_or(0, |(_, text)| text.len());
                owner(of) + list.bytes_max().min(LIST_ROW_BYTES_MAX) + text
            }
            Change::Gone { owner: of } => owner(of),
            Change::Remember { keys, .. } => keys.len() * 26,
        }
}

/// The frame around a record, and its head.
const CARRIED_BYTES: usize = 64;
/// Records looked at before the lock is given to others.
const CARRIED_LOOKED_MAX: usize = 512;
