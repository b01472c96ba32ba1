use std::os::unix::fs::symlink;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").permissions().mode() & 0o777
}

/// Names in the folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("settings.toml");
    replace(&path, b"the first, and longer", Mode::Private).expect("made");
    replace(&path, b"the second", Mode::Public).expect("replaced");
    assert_eq!(fs::read(&path).expect("there"), b"the second");
    assert_eq!(mode(&path), 0o644);
    assert_eq!(names(folder.path()), ["settings.toml"]);
}

/// The mode of the replacement itself: nobody else may open it while the content is being written.
#[test]
fn the_mode_is_there_before_the_content() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.pem");
    let mut fresh = Replacement::begin(&path, Mode::Private).expect("begun");
    assert_eq!(mode(&folder.path().join("key.new")), 0o600);
    fresh.file().write_all(b"key").expect("written");
    fresh.put().expect("put");
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn what_a_crash_left_is_overwritten_with_the_mode_that_is_asked_for_now() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.pem");
    fs::write(&path, "old").expect("written");
    let left = folder.path().join("key.new");
    fs::write(&left, "half of a much longer k").expect("written");
    fs::set_permissions(&left, Permissions::from_mode(0o666)).expect("set");
    replace(&path, b"new", Mode::Private).expect("replaced");
    assert_eq!(fs::read(&path).expect("there"), b"new");
    assert_eq!(mode(&path), 0o600);
}

#[test]
fn a_replacement_that_is_given_up_leaves_the_old_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("position");
    fs::write(&path, "old").expect("written");
    let mut fresh = Replacement::begin(&path, Mode::Umask).expect("begun");
    fresh.file().write_all(b"ne").expect("written");
    drop(fresh);
    assert_eq!(fs::read(&path).expect("there"), b"old");
    assert_eq!(names(folder.path()), ["position"]);
}

/// Another user of a shared folder may lay a link under the name that we write to.
#[test]
fn a_link_under_the_name_is_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let victim = folder.path().join("victim");
    fs::write(&victim, "untouched").expect("written");
    let path = folder.path().join("result.json");
    symlink(&victim, folder.path().join("result.json.new")).expect("linked");
    symlink(&victim, folder.path().join("result.new")).expect("linked");
    let fresh = folder.path().join("result.json.new");
    let begun = Replacement::begin_as(&path, &fresh, Mode::Umask).expect("begun");
    begun.put().expect("put");
    replace(&path, b"answer", Mode::Umask).expect("replaced");
    assert_eq!(fs::read(&victim).expect("there"), b"untouched");
    assert_eq!(fs::read(&path).expect("there"), b"answer");
}

#[test]
fn what_cannot_be_removed_under_the_name_is_an_error_and_the_old_file_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("record");
    fs::write(&path, "old").expect("written");
    fs::create_dir(folder.path().join("record.new")).expect("made");
    assert!(replace(&path, b"new", Mode::Private).is_err());
    assert_eq!(fs::read(&path).expect("there"), b"old");
}

#[test]
fn a_file_that_is_gone_is_removed_already_and_a_folder_that_is_gone_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mark");
    fs::write(&path, "").expect("written");
    remove(&path).expect("removed");
    remove(&path).expect("removed already");
    assert_eq!(names(folder.path()), [""; 0]);
    let nowhere = folder.path().join("nowhere/mark");
    assert!(replace(&nowhere, b"", Mode::Umask).is_err());
    assert!(sync_folder(&folder.path().join("nowhere")).is_err());
}

#[test]
fn a_renamed_file_replaces_the_one_of_that_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("next"), folder.path().join("key"));
    fs::write(&from, "new").expect("written");
    fs::write(&to, "old").expect("written");
    rename(&from, &to).expect("renamed");
    assert_eq!(fs::read(&to).expect("there"), b"new");
    assert!(rename(&from, &to).is_err());
}
