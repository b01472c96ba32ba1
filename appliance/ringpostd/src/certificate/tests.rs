use super::*;

fn state() -> (tempfile::TempDir, State) {
    let directory = tempfile::tempdir().expect("a directory");
    let state = State::open(directory.path()).expect("free");
    (directory, state)
}

fn another() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["other.example".to_owned()]).expect("made");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

const DAY_S: i64 = 24 * 60 * 60;

fn open(state: &State) -> Arc<Shown> {
    let shown = Shown::open(&Tls::default(), state, "mail.example.org").expect("shown");
    shown.keep().expect("kept");
    shown
}

fn facts(shown: &Shown) -> Facts {
    Facts::of(&shown.chain()[0]).expect("readable")
}

#[test]
fn a_certificate_is_made_once_and_found_again() {
    let (_directory, state) = state();
    let made = open(&state);
    assert_eq!(made.chain(), open(&state).chain());
    let facts = facts(&made);
    assert!(facts.self_made && facts.names.contains(&"mail.example.org".to_owned()));
    assert!(
        (364..=365).contains(&facts.days_left(x509::now_s())),
        "{facts:?}"
    );
}

#[test]
fn nothing_is_written_before_the_start_is_sure() {
    let (_directory, state) = state();
    Shown::open(&Tls::default(), &state, "mail.example.org").expect("made");
    assert!(!state.join("certificate.pem").exists() && !state.join("key.pem").exists());
}

#[test]
fn a_self_signed_certificate_is_renewed_with_its_key_before_it_ends() {
    let (_directory, state) = state();
    let shown = open(&state);
    let (before, key) = (
        shown.chain(),
        fs::read(state.join("key.pem")).expect("kept"),
    );
    shown.look(x509::now_s() + 300 * DAY_S);
    assert_eq!(shown.chain(), before, "65 days are left");
    shown.look(x509::now_s() + 340 * DAY_S);
    assert_ne!(shown.chain(), before);
    assert!(facts(&shown).days_left(x509::now_s()) > 600);
    assert_eq!(fs::read(state.join("key.pem")).expect("kept"), key);
    assert_eq!(open(&state).chain(), shown.chain());
    // Another name of the server is another reason.
    let renamed = Shown::open(&Tls::default(), &state, "mx.example.org").expect("made");
    assert!(facts(&renamed).names.contains(&"mx.example.org".to_owned()));
}

#[test]
fn an_operator_s_certificate_is_never_renewed() {
    let (_directory, state) = state();
    let shown = open(&state);
    let (chain, key) = another();
    shown.replace(&chain, &key).expect("replaced");
    let before = shown.chain();
    shown.look(i64::MAX / 2);
    assert_eq!(shown.chain(), before);
}

#[test]
fn a_certificate_without_its_key_is_refused_and_stays_as_it_is() {
    let (_directory, state) = state();
    let shown = open(&state);
    let (chain, key) = another();
    shown.replace(&chain, &key).expect("replaced");
    fs::remove_file(state.join("key.pem")).expect("our own");
    let misfit = Shown::open(&Tls::default(), &state, "mail.example.org").expect_err("no key");
    assert!(
        misfit.to_string().contains("key.pem is missing"),
        "{misfit}"
    );
    assert_eq!(
        fs::read_to_string(state.join("certificate.pem")).expect("there"),
        chain
    );
    assert!(!state.join("key.pem").exists());
    // One of our own making has nothing to lose.
    fs::remove_file(state.join("certificate.pem")).expect("our own");
    open(&state);
    fs::remove_file(state.join("key.pem")).expect("our own");
    assert!(facts(&open(&state)).self_made);
}

#[test]
fn a_key_without_its_certificate_is_not_replaced() {
    let (_directory, state) = state();
    open(&state);
    let key = fs::read(state.join("key.pem")).expect("kept");
    fs::remove_file(state.join("certificate.pem")).expect("our own");
    open(&state);
    assert_eq!(fs::read(state.join("key.pem")).expect("kept"), key);
}

/// The power goes between two steps of a change: one of the two pairs is shown.
#[test]
fn a_change_that_is_cut_short_leaves_a_certificate_with_its_key() {
    let (_directory, state) = state();
    let shown = open(&state);
    let old = shown.chain();
    let (chain, key) = another();
    fs::write(state.join("key.pem.next"), &key).expect("the first step");
    assert_eq!(open(&state).chain(), old);
    fs::write(state.join("certificate.pem"), &chain).expect("the second step");
    let new = open(&state);
    assert_ne!(new.chain(), old);
    assert_eq!(
        fs::read_to_string(state.join("key.pem")).expect("there"),
        key
    );
    assert!(!state.join("key.pem.next").exists());
}

#[test]
fn a_key_that_is_none_is_named() {
    let (_directory, state) = state();
    open(&state);
    let tls = Tls {
        certificate: Some(state.join("certificate.pem")),
        key: Some(state.join("certificate.pem")),
        ..Tls::default()
    };
    let misfit = Shown::open(&tls, &state, "x")
        .expect_err("no key")
        .to_string();
    assert!(misfit.contains("no PEM private key"), "{misfit}");
}

#[test]
fn a_new_certificate_is_shown_at_once_and_after_a_restart() {
    let (_directory, state) = state();
    let shown = open(&state);
    let before = shown.chain();
    let (chain, key) = another();
    shown.replace(&chain, &key).expect("replaced");
    assert_ne!(shown.chain(), before);
    let again = open(&state);
    assert_eq!(again.chain(), shown.chain());
}

#[test]
fn a_key_of_another_certificate_changes_nothing() {
    let (_directory, state) = state();
    let shown = open(&state);
    let before = shown.chain();
    let ((chain, _), (_, key)) = (another(), another());
    assert!(shown.replace(&chain, &key).is_err());
    assert!(shown.replace("", &key).is_err());
    assert_eq!(shown.chain(), before);
    let again = open(&state);
    assert_eq!(again.chain(), before);
}

#[test]
fn configured_files_are_reloaded_not_replaced() {
    let (directory, state) = state();
    let (chain, key) = another();
    let files = ["c.pem", "k.pem"].map(|name| directory.path().join(name));
    fs::write(&files[0], &chain).expect("written");
    fs::write(&files[1], &key).expect("written");
    let tls = Tls {
        certificate: Some(files[0].clone()),
        key: Some(files[1].clone()),
        ..Tls::default()
    };
    let shown = Shown::open(&tls, &state, "x").expect("found");
    assert!(
        shown
            .replace(&chain, &key)
            .is_err_and(|why| why.contains("reload"))
    );
    let (chain, key) = another();
    fs::write(&files[0], &chain).expect("written");
    assert!(shown.reload().is_err(), "its key is not there yet");
    fs::write(&files[1], &key).expect("written");
    let before = shown.chain();
    shown.reload().expect("both are there");
    assert_ne!(shown.chain(), before);
}

/// Files of a pair for `name`, with a key that only we may read.
fn files_of(directory: &Path, file: &str, name: &str) -> plan::settings::TlsPair {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("made");
    let path = |end: &str| directory.join(format!("{file}{end}"));
    fs::write(path(".pem"), made.cert.pem()).expect("written");
    let key = made.signing_key.serialize_pem();
    files::replace(&path(".key"), key.as_bytes(), Mode::Private).expect("written");
    plan::settings::TlsPair {
        certificate: path(".pem"),
        key: path(".key"),
    }
}

fn shown_for(shown: &Shown, name: &str) -> Vec<String> {
    let pair = shown.current().find(Some(name));
    Facts::of(&pair.cert[0]).expect("readable").names
}

#[test]
fn all_certificates_are_reloaded_together_and_a_bad_one_leaves_them_all() {
    let (directory, state) = state();
    let place = directory.path();
    let one = files_of(place, "one", "one.example");
    let two = files_of(place, "two", "two.example");
    let tls = Tls {
        certificates: vec![one, two],
        ..Tls::default()
    };
    let shown = Shown::open(&tls, &state, "mail.example.org").expect("shown");
    assert_eq!(shown_for(&shown, "one.example"), ["one.example"]);
    assert_eq!(shown_for(&shown, "two.example"), ["two.example"]);
    assert!(shown_for(&shown, "three.example").contains(&"mail.example.org".to_owned()));
    shown.keep().expect("kept");
    let _ = files_of(place, "one", "new.example");
    fs::write(place.join("two.key"), "no key").expect("written");
    let why = shown.reload().expect_err("a bad key");
    assert!(why.contains("two.key"), "{why}");
    assert_eq!(shown_for(&shown, "one.example"), ["one.example"]);
    let _ = files_of(place, "two", "two.example");
    shown.reload().expect("all are right");
    assert_eq!(shown_for(&shown, "new.example"), ["new.example"]);
    assert!(shown_for(&shown, "one.example").contains(&"mail.example.org".to_owned()));
}

#[test]
fn a_key_that_others_may_read_and_a_certificate_without_names_are_refused() {
    let (directory, state) = state();
    let pair = files_of(directory.path(), "one", "one.example");
    let key = pair.key.clone();
    let tls = Tls {
        certificates: vec![pair],
        ..Tls::default()
    };
    for (mode, right) in [(0o600, true), (0o640, true), (0o644, false), (0o660, false)] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("ours");
        let opened = Shown::open(&tls, &state, "x");
        assert_eq!(opened.is_ok(), right, "{mode:o}");
        if let Err(misfit) = opened {
            assert!(misfit.to_string().contains("one.key"), "{misfit}");
        }
    }
    let nameless = rcgen::CertificateParams::default();
    let own = rcgen::KeyPair::generate().expect("a key");
    let made = nameless.self_signed(&own).expect("made").pem();
    fs::write(&tls.certificates[0].certificate, made).expect("written");
    files::replace(&key, own.serialize_pem().as_bytes(), Mode::Private).expect("written");
    let misfit = Shown::open(&tls, &state, "x").expect_err("no names");
    assert!(misfit.to_string().contains("no DNS name"), "{misfit}");
}

#[test]
fn an_ordered_certificate_is_the_default_in_place_of_our_own_making_only() {
    let (_directory, state) = state();
    let shown = open(&state);
    let (chain, key) = another();
    let pair = || {
        let chain = parse_chain(chain.as_bytes()).expect("a chain");
        certified(chain, parse_key(key.as_bytes()).expect("a key")).expect("a pair")
    };
    shown.show_ordered(pair());
    assert_eq!(facts(&shown).names, ["other.example"]);
    let sources = shown.sources();
    assert_eq!(sources.len(), 1);
    assert!(sources[0].ordered);
    let made = rcgen::generate_simple_self_signed(["theirs.example".to_owned()]).expect("made");
    shown
        .replace(&made.cert.pem(), &made.signing_key.serialize_pem())
        .expect("replaced");
    assert_eq!(facts(&shown).names, ["theirs.example"]);
    assert_eq!(shown_for(&shown, "other.example"), ["other.example"]);
    assert_eq!(shown.sources().len(), 2);
}
