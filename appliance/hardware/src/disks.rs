//! Which disks a profile's patterns mean.

use plan::Shape;
use plan::shape::Disk;

/// The stable path of each leg that the patterns name, in their order. `Err`: the first that finds none, or more than one.
pub fn legs(shape: &Shape, patterns: &[String]) -> Result<Vec<String>, String> {
    let mut legs: Vec<(String, String)> = Vec::new();
    for pattern in patterns {
        let matching = |disk: &&Disk| disk.ids.iter().any(|id| matches(pattern, id));
        let found: Vec<&Disk> = shape.mail_disks().filter(matching).collect();
        let disk = match found[..] {
            [disk] => disk,
            [] => {
                return Err(format!(
                    "no disk without partitions has a name like `{pattern}` under /dev/disk/by-id: name the legs in volume.legs"
                ));
            }
            [first, second, ..] => {
                return Err(format!(
                    "{} and {} both have a name like `{pattern}`: name the legs in volume.legs",
                    first.name, second.name
                ));
            }
        };
        if let Some((_, other)) = legs.iter().find(|(name, _)| *name == disk.name) {
            return Err(format!(
                "`{pattern}` matches {other} again: name the legs in volume.legs"
            ));
        }
        let id = disk.ids.iter().find(|id| matches(pattern, id));
        let id = id.expect("it was found by one of its names");
        legs.push((disk.name.clone(), format!("/dev/disk/by-id/{id}")));
    }
    Ok(legs.into_iter().map(|(_, path)| path).collect())
}

/// The stable name to write into settings: a world-wide or serial name before others.
pub fn stable_path(disk: &Disk) -> Option<String> {
    let preferred = ["nvme-", "wwn-", "scsi-", "ata-", "virtio-"];
    let rank = |id: &&String| {
        let start = preferred.iter().position(|prefix| id.starts_with(prefix));
        (start.unwrap_or(preferred.len()), id.len())
    };
    let id = disk.ids.iter().min_by_key(rank)?;
    Some(format!("/dev/disk/by-id/{id}"))
}

/// `*` stands for anything, also nothing.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Fixture, Kind};
    use crate::probe;

    #[test]
    fn patterns_find_disks_by_their_stable_names() {
        assert!(matches("*leg-a", "virtio-leg-a") && matches("nvme-*-a", "nvme-x-a"));
        assert!(!matches("*leg-a", "virtio-leg-ab") && !matches("a", "ab") && matches("*", ""));
        let fixture = Fixture::new()
            .disk("vdb", Kind::Virtio, 1 << 30, None, &["virtio-leg-b"])
            .disk("vda", Kind::Virtio, 1 << 30, None, &["virtio-leg-a"]);
        let shape = probe(fixture.root());
        let wanted = ["*leg-a".to_owned(), "*leg-b".to_owned()];
        assert_eq!(
            legs(&shape, &wanted),
            Ok(vec![
                "/dev/disk/by-id/virtio-leg-a".to_owned(),
                "/dev/disk/by-id/virtio-leg-b".to_owned()
            ])
        );
    }

    #[test]
    fn a_pattern_that_is_not_plain_finds_nobody() {
        let fixture = Fixture::new()
            .disk("vda", Kind::Virtio, 1 << 30, None, &["virtio-leg-a"])
            .disk("vdb", Kind::Virtio, 1 << 30, None, &["virtio-leg-b"])
            .partitioned("vdc", Kind::Virtio, 1 << 30);
        let shape = probe(fixture.root());
        let told = |pattern: &[&str]| {
            let wanted: Vec<String> = pattern.iter().map(|word| word.to_string()).collect();
            legs(&shape, &wanted).expect_err("not plain")
        };
        assert!(told(&["*leg-c"]).contains("no disk"));
        assert!(told(&["virtio-*"]).contains("both"));
        assert!(told(&["*leg-a", "virtio-leg-a"]).contains("again"));
    }
}
