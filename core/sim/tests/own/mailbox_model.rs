//! The model of the mailboxes: what it must not let pass.

use mail::{ModSeq, SystemFlags, Uid, UidValidity};
use mailbox::MailboxId;
use sim::mailbox_model::{Folder, Letter, Marks, Operation, Picture};

fn folder(uids: &[u32]) -> Folder {
    let letter = |uid: &u32| {
        (
            Uid(*uid),
            Letter {
                number: u64::from(*uid),
                flags: SystemFlags(0),
            },
        )
    };
    Folder {
        id: MailboxId(1),
        uid_validity: UidValidity(1),
        letters: uids.iter().map(letter).collect(),
    }
}

fn picture(uids: &[u32]) -> Picture {
    [((0, "INBOX".to_owned()), folder(uids))].into()
}

#[test]
fn a_uid_used_again_is_no_result_of_a_delivery() {
    let inbox = (0, "INBOX".to_owned());
    let mut marks = Marks::default();
    marks
        .see(&inbox, &folder(&[1, 2]), Uid(3), ModSeq(5))
        .unwrap();
    let deliver = Operation::Deliver {
        number: 9,
        to: vec![inbox.clone()],
        flags: SystemFlags(0),
    };
    let mut after = picture(&[1]);
    let letter = Letter {
        number: 9,
        flags: SystemFlags(0),
    };
    after
        .get_mut(&inbox)
        .unwrap()
        .letters
        .insert(Uid(3), letter.clone());
    assert_eq!(deliver.applied(&picture(&[1]), &after, &marks), Some(after));
    let mut again = picture(&[1]);
    again
        .get_mut(&inbox)
        .unwrap()
        .letters
        .insert(Uid(2), letter);
    assert_eq!(deliver.applied(&picture(&[1]), &again, &marks), None);
}

#[test]
fn a_counter_that_goes_back_is_noticed() {
    let inbox = (0, "INBOX".to_owned());
    let mut marks = Marks::default();
    marks.see(&inbox, &folder(&[1]), Uid(7), ModSeq(5)).unwrap();
    assert!(marks.see(&inbox, &folder(&[1]), Uid(6), ModSeq(5)).is_err());
    assert!(marks.see(&inbox, &folder(&[1]), Uid(7), ModSeq(4)).is_err());
}
