//! The sheets as a tenant of the log: what the tenancy and reclaim ask. There are no bodies.

use std::collections::{BTreeMap, BTreeSet};

use store::{
    BodyRef, Change as Row, LocalFuture, Lsn, Purpose, Record, Replayed, StoreFault, Table,
};
use tenancy::encoding::Broken;
use tenancy::{Reading, Share, Tenant};
use volume::SegmentIndex;

use crate::limits::{ROWS_PER_READ, SHEET_BYTES_MAX};
use crate::record::Change;
use crate::sheet::{Key, Subject};
use crate::state::{FLOORS, SHEETS, State};
use crate::{Inner, LOCK, ReportFault, store_fault};

/// Records 112–119 and tables 112–119.
/// Apart from those of all other tenants: `tenancy::share::check` stops a start with two that overlap.
pub fn share() -> Share {
    Share {
        name: "reports",
        kinds: 112..=119,
        tables: 112..=119,
    }
}

/// What would be lost with records that reclaim takes away.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    /// With the last record about each.
    pub sheets: BTreeMap<Key, Lsn>,
    pub floors: BTreeSet<Subject>,
}

impl Tenant for Inner {
    fn share(&self) -> Share {
        share()
    }

    fn load(&self) -> LocalFuture<'_, Result<(), StoreFault>> {
        Box::pin(async move { self.load_all().await.map_err(store_fault) })
    }

    // Decoding is apart from applying because groups arrive in pieces of the log, and each tenant must be applied up to the same LSN.
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
    // Counts are in the records themselves. So reclaim has nothing to move for this tenant, and only records to ask about.
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
    fn decode(&self, groups: Vec<Replayed>) -> Result<(), ReportFault> {
        for group in groups {
            let changes: Result<Vec<Change>, Broken> =
                group.records.iter().map(Change::decode).collect();
            self.ahead.borrow_mut().push_back((group.lsn, changes?));
        }
        Ok(())
    }

    async fn load_all(&self) -> Result<(), ReportFault> {
        self.load_table(FLOORS, State::install_floor).await?;
        self.load_table(SHEETS, State::install).await
    }

    async fn load_table(
        &self,
        table: Table,
        install: impl Fn(&mut State, &[u8], &[u8]) -> Result<(), Broken>,
    ) -> Result<(), ReportFault> {
        let store = self.tenancy.store();
        let mut from = Vec::new();
        loop {
            // until the table ends. Additions hold the bounds; a checkpoint within a rebuild may write more, and that is no reason not to open.
            let rows = store
                .range(table, from, vec![0xff; 2], ROWS_PER_READ)
                .await?;
            let mut state = self.state.borrow_mut();
            for (key, row) in &rows {
                install(&mut state, key, row)?;
            }
            match rows.last() {
                Some((last, _)) if rows.len() == ROWS_PER_READ => {
                    // The smallest key behind the last one.
                    from = [last.as_slice(), &[0]].concat();
                }
                _ => return Ok(()),
            }
        }
    }

    /// A sheet is owed unless a later snapshot says how it is, or it is before the floor: then the floor's record keeps it away, and that
    /// one is owed when it is among these.
    pub(crate) fn owed(&self, records: &[(Lsn, Record)]) -> Result<Owed, ReportFault> {
        let mut owed = Owed::default();
        let state = self.state.borrow();
        for (lsn, record) in records {
            let key = match Change::decode(record)? {
                Change::Add(addition) => addition.key,
                Change::Close(key) | Change::Snapshot { key, .. } => key,
                Change::Floor { subject, .. } => {
                    let floor = state.floors.get(&subject);
                    if floor.is_some_and(|floor| floor.lsn <= *lsn) {
                        owed.floors.insert(subject);
                    }
                    continue;
                }
            };
            let sheet = state.sheets.get(&key);
            if sheet.is_some_and(|sheet| sheet.snapshot <= *lsn) {
                owed.sheets.insert(key, *lsn);
            }
        }
        Ok(owed)
    }

    /// Bytes that `carry` would append.
    fn weigh(&self, records: &[(Lsn, Record)]) -> Result<u64, ReportFault> {
        let owed = self.owed(records)?;
        let state = self.state.borrow();
        let bytes = |key: &Key| {
            let sheet = state.sheets.get(key);
            sheet.map_or(0, |sheet| sheet.cost(&key.name)) + key.name.len() + CARRIED_BYTES
        };
        let sheets: usize = owed.sheets.keys().map(bytes).sum();
        Ok((sheets + owed.floors.len() * CARRIED_BYTES) as u64)
    }

    /// Writes a snapshot of each sheet that would lose something, and each floor again.
    async fn carry(&self, records: Vec<(Lsn, Record)>) -> Result<(), ReportFault> {
        let owed = self.owed(&records)?;
        for subject in owed.floors {
            let _locked = self.locks.lock(LOCK.to_owned()).await;
            // Read under the lock: a floor that rises meanwhile is written by its own commit, and the higher one is said again here.
            let day = self.state.borrow().floor(subject);
            let floor = Change::Floor { subject, day };
            self.commit(Purpose::Reclaim, vec![floor]).await?;
        }
        for (key, lsn) in owed.sheets {
            // Every change of a sheet takes this lock until it is applied: what is read here is the sheet at this place of the log.
            let _locked = self.locks.lock(LOCK.to_owned()).await;
            let snapshot = {
                let state = self.state.borrow();
                let sheet = state.sheets.get(&key);
                sheet
                    .filter(|sheet| sheet.snapshot <= lsn)
                    .map(|sheet| Change::Snapshot {
                        key: key.clone(),
                        sheet: sheet.clone(),
                    })
            };
            if let Some(snapshot) = snapshot {
                self.commit(Purpose::Reclaim, vec![snapshot]).await?;
            }
        }
        Ok(())
    }
}

/// The frame around a record.
const CARRIED_BYTES: usize = 64;

// Otherwise a sheet at its bound could be written as additions and never as a snapshot, and reclaim would stop at it for ever.
const _: () = assert!(SHEET_BYTES_MAX + 2 * CARRIED_BYTES <= store::limits::GROUP_FIXED_BYTES_MAX);
