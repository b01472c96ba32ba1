//! What belongs to which tenant: record kinds of the log and tables of the projection, both in ranges that do not overlap.

use std::ops::RangeInclusive;

use store::{Record, Replayed, StoreFault};

/// The part of one log that is a tenant's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub name: &'static str,
    /// Record kinds, within those that the store leaves to the layers above (0–127).
    pub kinds: RangeInclusive<u8>,
    pub tables: RangeInclusive<u8>,
}

impl Share {
    pub fn owns(&self, record: &Record) -> bool {
        self.kinds.contains(&record.kind.0)
    }

    fn overlaps(&self, other: &Share) -> bool {
        let meet = |a: &RangeInclusive<u8>, b: &RangeInclusive<u8>| {
            a.start() <= b.end() && b.start() <= a.end()
        };
        meet(&self.kinds, &other.kinds) || meet(&self.tables, &other.tables)
    }
}

/// No two shares overlap, and all of them leave the store's own kinds alone. Ours to get right: anything else stops.
pub(crate) fn check(shares: &[Share]) {
    for (index, share) in shares.iter().enumerate() {
        assert!(
            *share.kinds.end() < 128,
            "{}: 128 and up are the store's",
            share.name
        );
        let before = &shares[..index];
        assert!(
            before.iter().all(|other| !share.overlaps(other)),
            "{}",
            share.name
        );
    }
}

/// A group's records by the tenant they belong to, an index of `shares`; each tenant's keep their order, and each part has all
/// bodies of the group, which records name by their index. `Misfit`: a record has no owner.
pub(crate) fn by_tenant(
    shares: &[Share],
    group: Replayed,
) -> Result<Vec<(usize, Replayed)>, StoreFault> {
    let owner = |record: &Record| {
        let found = shares.iter().position(|share| share.owns(record));
        found.ok_or_else(|| unknown(record))
    };
    let owners: Vec<usize> = group.records.iter().map(owner).collect::<Result<_, _>>()?;
    let Some(&first) = owners.first() else {
        return Ok(Vec::new());
    };
    if owners.iter().all(|owner| *owner == first) {
        return Ok(vec![(first, group)]);
    }
    let mut parts: Vec<(usize, Replayed)> = Vec::new();
    for (owner, record) in owners.into_iter().zip(group.records) {
        match parts.iter_mut().find(|(whose, _)| *whose == owner) {
            Some((_, part)) => part.records.push(record),
            None => parts.push((
                owner,
                Replayed {
                    lsn: group.lsn,
                    bodies: group.bodies.clone(),
                    records: vec![record],
                },
            )),
        }
    }
    Ok(parts)
}

pub(crate) fn unknown(record: &Record) -> StoreFault {
    StoreFault::Misfit(format!(
        "the log holds a record of kind {} that this version does not know: open the volume with the version that wrote it, or a newer one",
        record.kind.0
    ))
}
