//! The lessons as a tenant of the log: what the tenancy and reclaim ask. There are no bodies.

use std::collections::BTreeMap;

use store::{BodyRef, Change as Row, LocalFuture, Lsn, Purpose, Record, Replayed, StoreFault};
use tenancy::encoding::Broken;
use tenancy::{Reading, Share, Tenant};
use volume::SegmentIndex;

use crate::limits::{MODELS_MAX, ROW_BYTES_MAX, ROWS_PER_READ};
use crate::model::Whom;
use crate::record::Change;
use crate::state::MODELS;
use crate::{Inner, LOCK, LessonFault, store_fault};

/// Records 96–111 and tables 96–111.
pub fn share() -> Share {
    Share {
        name: "lessons",
        kinds: 96..=111,
        tables: 96..=111,
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
        let owed = self.owed(records).map_err(store_fault);
        Box::pin(async move { Ok((owed?.len() * (ROW_BYTES_MAX + CARRIED_BYTES)) as u64) })
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
            // until the table ends; there are never more models than `MODELS_MAX`
            let rows = store
                .range(MODELS, from, vec![0xff; 2], ROWS_PER_READ)
                .await?;
            let mut state = self.state.borrow_mut();
            for (key, row) in &rows {
                state.install(key, row)?;
            }
            if state.models.len() > MODELS_MAX {
                return Err(Broken.into());
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS_PER_READ => {
                    from = [last.as_slice(), &[0]].concat();
                }
                _ => return Ok(()),
            }
        }
    }

    /// Whose models would be lost with `records`: there is no later snapshot of them. With the last record about each.
    pub(crate) fn owed(
        &self,
        records: &[(Lsn, Record)],
    ) -> Result<BTreeMap<Whom, Lsn>, LessonFault> {
        let mut owed = BTreeMap::new();
        let state = self.state.borrow();
        for (lsn, record) in records {
            for whom in Change::decode(record)?.whom() {
                let model = state.models.get(whom);
                if model.is_some_and(|model| model.snapshot <= *lsn) {
                    owed.insert(whom.clone(), *lsn);
                }
            }
        }
        Ok(owed)
    }

    /// Writes a snapshot of each model that would lose something.
    async fn carry(&self, records: Vec<(Lsn, Record)>) -> Result<(), LessonFault> {
        for (whom, lsn) in self.owed(&records)? {
            // Every change of a model takes this lock until it is applied: what is read here is the model at this place of the log.
            let _locked = self.locks.lock(LOCK.to_owned()).await;
            let model = {
                let state = self.state.borrow();
                let model = state.models.get(&whom);
                model.filter(|model| model.snapshot <= lsn).cloned()
            };
            if let Some(model) = model {
                self.commit(Purpose::Reclaim, Change::Snapshot { whom, model })
                    .await?;
            }
        }
        Ok(())
    }
}

/// The frame around a record.
const CARRIED_BYTES: usize = 64;
