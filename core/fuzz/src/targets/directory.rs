//! Records and rows of the directory. The doors are in `directory::fuzzing`.

/// Rows share their encodings with snapshot records.
pub fn row_seeds() -> Vec<Vec<u8>> {
    let records = ::directory::fuzzing::records();
    let tails = records.iter().map(|record| record[1..].to_vec());
    ::directory::fuzzing::rows()
        .into_iter()
        .chain(tails)
        .collect()
}
