//! The projection's rows: redb, on the index thread.

use std::sync::Arc;

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableError, TableHandle,
};
use volume::Lsn;

use crate::backend::{Arena, Backend};
use crate::{Change, Table};

/// Every method blocks and belongs on the index thread.
pub(crate) struct Projection {
    database: Database,
}

pub(crate) type Row = (Vec<u8>, Vec<u8>);

const META: TableDefinition<'static, &str, u64> = TableDefinition::new("store.meta");
/// The LSN that the rows stand for.
const APPLIED: &str = "applied";

fn table_name(table: Table) -> String {
    format!("t{:03}", table.0)
}

impl Projection {
    /// Opens the projection in `arena`, or makes an empty one when the arena is empty.
    pub fn open(arena: Arc<Arena>, cache_bytes: usize) -> Result<Projection, redb::Error> {
        let database = redb::Builder::new()
            .set_cache_size(cache_bytes)
            .create_with_backend(Backend(arena))?;
        Ok(Projection { database })
    }

    /// The LSN that the rows stand for; `None` in an empty projection.
    pub fn applied(&self) -> Result<Option<Lsn>, redb::Error> {
        let read = self.database.begin_read()?;
        match read.open_table(META) {
            Ok(meta) => Ok(meta.get(APPLIED)?.map(|lsn| Lsn(lsn.value()))),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    /// One commit. Rows are written in key order, which is what makes a big batch cheap; of two changes of one row the later counts.
    pub fn apply(&self, mut changes: Vec<Change>, applied: Lsn) -> Result<(), redb::Error> {
        changes.sort_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
        let mut write = self.database.begin_write()?;
        write.set_durability(Durability::Immediate)?;
        write.set_quick_repair(true);
        for rows in changes.chunk_by(|a, b| a.table == b.table) {
            let name = table_name(rows[0].table);
            let mut table = write.open_table(TableDefinition::<&[u8], &[u8]>::new(&name))?;
            for change in rows {
                match &change.value {
                    Some(value) => table.insert(change.key.as_slice(), value.as_slice())?,
                    None => table.remove(change.key.as_slice())?,
                };
            }
        }
        write.open_table(META)?.insert(APPLIED, applied.0)?;
        write.commit()?;
        Ok(())
    }

    /// The values at `keys`, in the order asked.
    pub fn get(&self, table: Table, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, redb::Error> {
        let name = table_name(table);
        let read = self.database.begin_read()?;
        let rows = match read.open_table(TableDefinition::<&[u8], &[u8]>::new(&name)) {
            Ok(rows) => rows,
            Err(TableError::TableDoesNotExist(_)) => return Ok(vec![None; keys.len()]),
            Err(fault) => return Err(fault.into()),
        };
        keys.iter()
            .map(|key| {
                let value = rows.get(key.as_slice())?;
                Ok(value.map(|value| value.value().to_vec()))
            })
            .collect()
    }

    /// Reads every row of every table.
    pub fn count(&self) -> Result<u64, redb::Error> {
        let read = self.database.begin_read()?;
        let mut rows = 0;
        for handle in read
            .list_tables()?
            .filter(|table| table.name() != META.name())
        {
            let table = read.open_table(TableDefinition::<&[u8], &[u8]>::new(handle.name()))?;
            for row in table.iter()? {
                row?;
                rows += 1;
            }
        }
        Ok(rows)
    }

    /// Rows with `from <= key < to`, at most `rows_max`, ascending. A table that was never written is empty.
    pub fn range(
        &self,
        table: Table,
        from: &[u8],
        to: &[u8],
        rows_max: usize,
    ) -> Result<Vec<Row>, redb::Error> {
        if from >= to {
            return Ok(Vec::new());
        }
        let name = table_name(table);
        let read = self.database.begin_read()?;
        let rows = match read.open_table(TableDefinition::<&[u8], &[u8]>::new(&name)) {
            Ok(rows) => rows,
            Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(fault) => return Err(fault.into()),
        };
        let mut out = Vec::new();
        for row in rows.range::<&[u8]>(from..to)?.take(rows_max) {
            let (key, value) = row?;
            out.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(out)
    }
}
