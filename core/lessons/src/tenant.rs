//! The lessons as a tenant of the log: what the tenancy and reclaim ask. There are no bodies.

use std::collections::BTreeMap;

use store::{BodyRef, Change as Row, LocalFuture, Lsn, Purpose, Record, Replayed, StoreFault};
use tenancy::encoding::Broken;
use tenancy::{Reading, Share, Tenant};
use volume::SegmentIndex;

use crate::limits::ROWS_PER_READ;
use crate::model::{Model, Whom};
use crate::record::Change;
use crate::state::MODELS;
use crate::{Inner, LOCK, LessonFault, store_fault};

/// Records 96–103 and tables 96–103.
/// Apart from those of all other tenants: `tenancy::share::check` stops a start with two that overlap.
pub fn share() -> Share {
    Share {
        name: "lessons",
        kinds: 96..=103,
        tables: 96..=103,
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
    fn decode(&self, groups: Vec<Replayed>) -> Result<(), LessonFault> {
        for group in groups {
            let changes: Result<Vec<Change>, Broken> =
                group.records.iter().map(Change::decode).collect();
            self.ahead.borrow_mut().push_back((group.lsn, changes?));
        }
        Ok(())
    }

    async fn load_all(&self) -> Result<(), LessonFault> {
        let store = self.tenancy.store();
        let mut from = Vec::new();
        loop {
            // until the table ends. `learn` holds `MODELS_MAX`; a checkpoint within a rebuild may write more (a removal that reclaim carried is
            // behind newer lessons), and that is no reason not to open.
            let rows = store
                .range(MODELS, from, vec![0xff; 2], ROWS_PER_READ)
                .await?;
            let mut state = self.state.borrow_mut();
            for (key, row) in &rows {
                state.install(key, row)?;
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS_PER_READ => {
                    from = [last.as_slice(), &[0]].concat();
                }
                _ => return Ok(()),
            }
        }
    }

    /// About whom something would be lost with `records`: there is no later snapshot of the model, or it is the removal that older records
    /// must not undo. With the last record about each.
    pub(crate) fn owed(
        &self,
        records: &[(Lsn, Record)],
    ) -> Result<BTreeMap<Whom, Lsn>, LessonFault> {
        let mut owed = BTreeMap::new();
        for (lsn, record) in records {
            let change = Change::decode(record)?;
            let is_removal = matches!(change, Change::Remove { .. });
            for whom in change.whom() {
                let model_is_owed = match self.state.borrow().models.get(whom) {
                    Some(model) => model.snapshot <= *lsn,
                    None => is_removal,
                };
                if model_is_owed {
                    owed.insert(whom.clone(), *lsn);
                }
            }
        }
        Ok(owed)
    }

    /// What says again how things are with an owner, where `lsn` was the last record about it. `None`: a later snapshot does.
    fn stands_for(&self, whom: &Whom, lsn: Lsn) -> Option<Change> {
        let whom = whom.clone();
        match self.state.borrow().models.get(&whom) {
            Some(model) if model.snapshot <= lsn => Some(Change::Snapshot {
                whom,
                model: model.clone(),
            }),
            Some(_) => None,
            None => Some(Change::Remove { whom }),
        }
    }

    /// What `carry` would write.
    #[cfg(test)]
    pub(crate) fn carried(&self, records: &[(Lsn, Record)]) -> Result<Vec<Change>, LessonFault> {
        let owed = self.owed(records)?;
        let each = owed
            .iter()
            .filter_map(|(whom, lsn)| self.stands_for(whom, *lsn));
        Ok(each.collect())
    }

    /// Bytes that `carry` would append.
    fn weigh(&self, records: &[(Lsn, Record)]) -> Result<u64, LessonFault> {
        let owed = self.owed(records)?;
        let state = self.state.borrow();
        let row_bytes = |whom| state.models.get(whom).map_or(0, Model::row_bytes_max);
        let each = owed
            .keys()
            .map(|whom| row_bytes(whom) + whom.key().len() + CARRIED_BYTES);
        Ok(each.sum::<usize>() as u64)
    }

    /// Writes a snapshot of each model that would lose something, and each removal again.
    async fn carry(&self, records: Vec<(Lsn, Record)>) -> Result<(), LessonFault> {
        for (whom, lsn) in self.owed(&records)? {
            // Every change of a model takes this lock until it is applied: what is read here is the model at this place of the log.
            let _locked = self.locks.lock(LOCK.to_owned()).await;
            if let Some(change) = self.stands_for(&whom, lsn) {
                self.commit(Purpose::Reclaim, change).await?;
            }
        }
        Ok(())
    }
}

/// The frame around a record.
const CARRIED_BYTES: usize = 64;
