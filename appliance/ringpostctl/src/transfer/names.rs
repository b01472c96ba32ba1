//! Which folders are moved, and where to.

use super::letter::Folder;
use super::outcome::Omitted;

/// What the command line says about folders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Map {
    /// These alone; empty: all.
    pub only: Vec<String>,
    /// From one name to another, with all folders below it.
    pub map: Vec<(String, String)>,
}

impl Map {
    /// `OLD=NEW`.
    pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
        match text.split_once('=') {
            Some((old, new)) if !old.is_empty() && !new.is_empty() => {
                Ok((old.to_owned(), new.to_owned()))
            }
            _ => Err("write OLD=NEW".into()),
        }
    }

    /// The folders that are moved; views of others (RFC 6154: `\All`, `\Flagged`) only where they are named, because each of their messages is in another folder, too.
    pub(crate) fn wanted(
        &self,
        mut folders: Vec<Folder>,
        omitted: &mut Vec<Omitted>,
    ) -> Result<Vec<Folder>, String> {
        if self.only.is_empty() {
            folders.retain(|folder| {
                let is_view = is_view(folder);
                if is_view {
                    omitted.push(Omitted {
                        folder: folder.name.clone(),
                        why: "it shows messages of other folders: name it with --folder to move it"
                            .into(),
                    });
                }
                !is_view
            });
            return Ok(folders);
        }
        for name in &self.only {
            if !folders.iter().any(|folder| same(&folder.name, name)) {
                let known: Vec<&str> = folders
                    .iter()
                    .map(|folder| &*folder.name)
                    .take(50)
                    .collect();
                return Err(format!(
                    "the source has no folder `{name}`; it has: {}",
                    known.join(", ")
                ));
            }
        }
        folders.retain(|folder| self.only.iter().any(|name| same(&folder.name, name)));
        Ok(folders)
    }

    /// The name at the destination, and the use by which another folder may be meant. A name that the command line gives is meant as it is.
    pub(crate) fn target<'f>(&self, folder: &'f Folder) -> (String, Option<&'f str>) {
        for (old, new) in &self.map {
            if same(&folder.name, old) {
                return (new.clone(), None);
            }
            let below = folder.name.strip_prefix(old.as_str());
            if let Some(below) = below.filter(|below| below.starts_with('/')) {
                return (format!("{new}{below}"), None);
            }
        }
        (folder.name.clone(), folder.special_use.as_deref())
    }
}

fn is_view(folder: &Folder) -> bool {
    let views = ["\\All", "\\Flagged", "\\Important"];
    let special_use = folder.special_use.as_deref().unwrap_or_default();
    views
        .iter()
        .any(|view| view.eq_ignore_ascii_case(special_use))
}

/// INBOX has one name in all spellings.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one == other || (one.eq_ignore_ascii_case("INBOX") && other.eq_ignore_ascii_case("INBOX"))
}

/// No folder has such a name; as a path it leads elsewhere.
pub(crate) fn has_empty_level(name: &str) -> bool {
    name.split('/').any(str::is_empty)
}

/// The name of a folder from its levels. A level that has our separator in it gets another letter there, as no name of ours may have it.
pub(crate) fn joined<'l>(levels: impl Iterator<Item = &'l str>) -> String {
    let is_foreign = |letter: char| letter == '/' || letter.is_control();
    let levels: Vec<String> = levels.map(|level| level.replace(is_foreign, "_")).collect();
    match &levels[..] {
        [only] if only.eq_ignore_ascii_case("INBOX") => "INBOX".into(),
        levels => levels.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str, special_use: Option<&str>) -> Folder {
        Folder {
            name: name.into(),
            own_name: name.into(),
            special_use: special_use.map(str::to_owned),
        }
    }

    #[test]
    fn views_are_moved_only_by_name() {
        let all = || {
            vec![
                folder("INBOX", None),
                folder("All", Some("\\all")),
                folder("A", None),
            ]
        };
        let mut omitted = Vec::new();
        let names = |map: &Map, omitted: &mut Vec<Omitted>| -> Vec<String> {
            let wanted = map.wanted(all(), omitted).expect("they are there");
            wanted.into_iter().map(|folder| folder.name).collect()
        };
        assert_eq!(names(&Map::default(), &mut omitted), ["INBOX", "A"]);
        assert_eq!(omitted.len(), 1);
        let only = |name: &str| Map {
            only: vec![name.into()],
            ..Map::default()
        };
        assert_eq!(names(&only("All"), &mut omitted), ["All"]);
        assert_eq!(names(&only("inbox"), &mut omitted), ["INBOX"]);
        let refused = only("B")
            .wanted(all(), &mut omitted)
            .expect_err("it is missing");
        assert!(refused.contains("`B`"), "{refused}");
    }

    #[test]
    fn a_map_takes_what_is_below_and_no_other_name() {
        let map = Map {
            map: vec![Map::pair("Old=New/Place").expect("a pair")],
            ..Map::default()
        };
        for (name, target) in [
            ("Old", "New/Place"),
            ("Old/a", "New/Place/a"),
            ("Older", "Older"),
            ("x/Old", "x/Old"),
        ] {
            assert_eq!(map.target(&folder(name, None)).0, target);
        }
        let sent = folder("Sent Items", Some("\\Sent"));
        assert_eq!(map.target(&sent), ("Sent Items".into(), Some("\\Sent")));
        assert!(
            ["", "a", "=b", "a="]
                .iter()
                .all(|text| Map::pair(text).is_err())
        );
    }

    #[test]
    fn levels_are_joined_by_our_separator() {
        assert_eq!(joined(["inbox"].into_iter()), "INBOX");
        assert_eq!(joined(["Work", "a/b\u{1b}c"].into_iter()), "Work/a_b_c");
    }
}
