//! Bodies that are read in pieces while other things happen.

use super::*;

/// The body of the first message of `mailbox`, a piece at a time.
async fn in_pieces(mailboxes: &Mailboxes, mailbox: MailboxId) -> (usize, Vec<u8>) {
    let view = mailboxes.view(mailbox).await.unwrap();
    let Message { uid, body, .. } = &view.messages[0];
    let (mut bytes, mut count, mut kept) = (Vec::new(), 0, None);
    while bytes.len() < body.raw_bytes as usize {
        let at = bytes.len() as u32;
        let (piece, pieces) = mailboxes
            .piece(mailbox, *uid, body, kept, at)
            .await
            .unwrap();
        bytes.extend_from_slice(&piece);
        (count, kept) = (count + 1, Some(pieces));
    }
    (count, bytes)
}

fn large(number: u64, bytes: usize) -> Delivery {
    let raw = raw(number, bytes);
    let body = BodyIn {
        name: BodyName::of(&raw),
        raw,
        summary: Bytes::from_static(b"large"),
    };
    Delivery {
        body,
        ..delivery(number, Vec::new())
    }
}

#[test]
fn the_pieces_of_a_body_of_any_size_are_the_body() {
    for (size, several) in [
        (1, false),
        (900, false),
        (1_200_000, true),
        (3_000_001, true),
    ] {
        let rig = Rig::new(size as u64);
        rig.block_on(async {
            let mailboxes = rig.open().await;
            let ada = add(&mailboxes, "ada").await;
            let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
            let mut delivery = large(1, size);
            delivery.recipients.push(to(ada, "INBOX"));
            mailboxes.deliver(delivery).await.pop().unwrap().unwrap();
            let (count, bytes) = in_pieces(&mailboxes, inbox).await;
            assert_eq!(bytes, raw(1, size));
            assert_eq!(count > 1, several, "{count} pieces of {size} bytes");
            // From anywhere within.
            let view = mailboxes.view(inbox).await.unwrap();
            let Message { uid, body, .. } = &view.messages[0];
            let at = size - 1;
            let (last, _) = mailboxes
                .piece(inbox, *uid, body, None, at as u32)
                .await
                .unwrap();
            assert_eq!(last[..], bytes[at..]);
        });
    }
}

#[test]
fn a_body_whose_message_went_and_whose_place_is_used_again_is_not_there() {
    let mut rig = Rig::of_size(45, 40 << 20, 1 << 20);
    rig.settings.checkpoint_bytes = 2 << 20;
    rig.block_on(async {
        let mailboxes = rig.open().await;
        let ada = add(&mailboxes, "ada").await;
        let inbox = mailboxes.find(ada, "INBOX").await.unwrap();
        let mut begun = None;
        for round in 0..140u64 {
            let mut delivery = large(round, 300_000);
            delivery.recipients.push(to(ada, "INBOX"));
            mailboxes.deliver(delivery).await.pop().unwrap().unwrap();
            let view = mailboxes.view(inbox).await.unwrap();
            let Message { uid, body, .. } = &view.messages[0];
            if begun.is_none() {
                let read = mailboxes.piece(inbox, *uid, body, None, 0).await;
                begun = Some((*uid, body.clone(), read.unwrap().1));
            }
            let deleted = flags(SystemFlags::DELETED);
            let uids = [*uid];
            let flagged = mailboxes.flag(inbox, &uids, FlagChange::Add, &deleted);
            flagged.await.unwrap();
            mailboxes.expunge(inbox, &uids).await.unwrap();
            if round % 10 == 9 {
                mailboxes.checkpoint().await.unwrap();
                mailboxes.reclaim().await;
            }
        }
        let (uid, body, pieces) = begun.unwrap();
        let read = mailboxes
            .piece(inbox, uid, &body, Some(pieces), 299_999)
            .await;
        let fault = read.map(|(bytes, _)| bytes).unwrap_err();
        assert!(matches!(fault, MailboxFault::Unavailable(_)), "{fault}");
    });
}
