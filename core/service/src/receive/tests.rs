use super::*;

#[test]
fn ids_never_repeat() {
    let (one, two) = (Ids::new(), Ids::new());
    let ids = [one.next(), one.next(), two.next(), two.next()];
    for (index, id) in ids.iter().enumerate() {
        assert!(!ids[..index].contains(id), "{ids:?}");
        assert!(
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.')
        );
    }
}

#[test]
fn every_fault_of_the_store_is_temporary_but_a_missing_account() {
    for fault in [
        MailboxFault::NoMailbox,
        MailboxFault::Exists,
        MailboxFault::OverQuota,
        MailboxFault::Refused("x"),
        MailboxFault::TooMany("x"),
        MailboxFault::Damaged,
        MailboxFault::Unavailable("x".into()),
    ] {
        assert_eq!(refusal_for(&fault).reply().code / 100, 4, "{fault:?}");
    }
    assert_eq!(refusal_for(&MailboxFault::NoAccount).reply().code, 550);
}
