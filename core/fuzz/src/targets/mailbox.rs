//! Records and rows. The doors are in `mailbox::fuzzing`.

/// Rows share their encodings with snapshot records: those, without the kind, from each of their first bytes on.
pub fn row_seeds() -> Vec<Vec<u8>> {
    let records = ::mailbox::fuzzing::records();
    let tails = |record: &Vec<u8>| {
        (1..record.len().min(6))
            .map(|from| record[from..].to_vec())
            .collect::<Vec<_>>()
    };
    let rows = ::mailbox::fuzzing::rows();
    let last = records.iter().rev().take(4);
    last.flat_map(tails).chain(rows).collect()
}
