//! Trees that are odd, hostile or of others.

use super::*;

#[test]
fn names_come_back_and_stay_below_the_root() {
    for name in [
        "Work/2026",
        "v1.0",
        "100%",
        "%2E",
        "..",
        "Entwürfe & mehr",
        ".x/.y",
    ] {
        let component = component(name);
        assert!(
            !component.contains('/') && component.is_ascii(),
            "{component}"
        );
        let decoded = utf7::decode(&component).expect("ours");
        let levels: Vec<String> = decoded.split('.').map(unescaped).collect();
        assert_eq!(levels.join("/"), name);
    }
}

#[test]
fn both_layouts_are_found_and_links_are_not_followed() {
    let root = tempfile::tempdir().expect("a directory");
    let at = root.path();
    for folder in [
        "",
        ".Work.2026",
        "Plain/Below",
        ".NoMaildir",
        "Plain/.hidden",
    ] {
        fs::create_dir_all(at.join(folder).join("new")).expect("ours");
        if folder != ".NoMaildir" {
            fs::create_dir_all(at.join(folder).join("cur")).expect("ours");
        }
    }
    std::os::unix::fs::symlink("/", at.join("everything")).expect("ours");
    std::os::unix::fs::symlink(at, at.join("Plain/again")).expect("ours");
    let mut maildirs = Maildirs::read(at).expect("a directory");
    let folders = maildirs.folders().expect("they can be read");
    let names: Vec<&str> = folders.iter().map(|folder| &*folder.name).collect();
    assert_eq!(names, ["INBOX", "Work/2026", "Plain/Below"]);
}

#[test]
fn what_is_put_in_place_of_a_file_or_directory_is_not_followed() {
    use std::os::unix::ffi::OsStrExt;
    let root = tempfile::tempdir().expect("a directory");
    let (at, secret) = (root.path().join("ann"), root.path().join("secret"));
    fs::create_dir_all(at.join("cur")).expect("ours");
    fs::create_dir_all(&secret).expect("ours");
    fs::write(secret.join("key"), "A: secret\n").expect("ours");
    let mut maildirs = Maildirs::read(&at).expect("a directory");
    let inbox = maildirs.folders().expect("they can be read").remove(0);
    // `new` leads to files of others.
    std::os::unix::fs::symlink(&secret, at.join("new")).expect("ours");
    assert!(matches!(
        Source::open(&mut maildirs, &inbox),
        Err(Fault::Refused(_))
    ));
    fs::remove_file(at.join("new")).expect("ours");
    // A file becomes a link, or a pipe without a writer, once it was listed.
    let letter = at.join("cur/1.a:2,S");
    fs::write(&letter, "A: 1\n").expect("ours");
    Source::open(&mut maildirs, &inbox).expect("a Maildir");
    let keys = Source::keys(&mut maildirs).expect("they are known");
    fs::remove_file(&letter).expect("ours");
    let mut none = |_, _| panic!("nothing may be read");
    std::os::unix::fs::symlink(secret.join("key"), &letter).expect("ours");
    let refused = maildirs.fetch(&keys, &mut none);
    assert!(matches!(refused, Err(Fault::Refused(_))), "{refused:?}");
    fs::remove_file(&letter).expect("ours");
    nix::unistd::mkfifo(&letter, nix::sys::stat::Mode::S_IRUSR).expect("ours");
    let refused = maildirs.fetch(&keys, &mut none);
    assert!(matches!(refused, Err(Fault::Refused(_))), "{refused:?}");
    // A folder whose name is not UTF-8 is not silently left out.
    let odd = at.join(std::ffi::OsStr::from_bytes(b".Entw\xfcrfe"));
    fs::create_dir_all(odd.join("cur")).expect("ours");
    let folders = maildirs.folders().expect("they can be read");
    let odd = folders.last().expect("there are two");
    assert_eq!((folders.len(), &*odd.name), (2, "Entw\u{fffd}rfe"));
    assert!(matches!(
        Source::open(&mut maildirs, odd),
        Err(Fault::Refused(_))
    ));
}

#[test]
fn files_have_lf_unless_the_message_has_others() {
    assert_eq!(in_file(b"a\r\nb\r\n"), b"a\nb\n");
    assert_eq!(in_file(b"a\r\nb"), b"a\nb");
    for message in [&b"a\r\nb\n"[..], b"a\r\r\nb\r\n"] {
        assert_eq!(in_file(message), message);
    }
}

#[test]
fn a_directory_of_others_is_not_written_to() {
    let root = tempfile::tempdir().expect("a directory");
    fs::write(root.path().join("letter"), "x").expect("ours");
    assert!(Maildirs::write(root.path()).is_err());
    let new = root.path().join("new-one");
    assert!(Maildirs::write(&new).is_ok() && Maildirs::write(&new).is_ok());
    let mut written = Maildirs::write(&new).expect("ours");
    for name in ["", "/", "a//b"] {
        let refused = Sink::open(&mut written, name, None);
        assert!(
            matches!(refused, Err(Fault::Refused(_))),
            "{name}: {refused:?}"
        );
    }
}
