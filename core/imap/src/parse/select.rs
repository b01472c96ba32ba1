//! What RFC 7162 adds in parentheses to SELECT, EXAMINE and STORE.

use mail::ModSeq;

use crate::command::Resync;
use crate::sequence::SequenceSet;

use super::words::Words;
use super::{Parsed, Refusal};

/// `(CONDSTORE)`, `(QRESYNC (…))` or both; nothing at the end of the command.
pub(super) fn parameters(words: &mut Words<'_>) -> Parsed<(bool, Option<Box<Resync>>)> {
    let (mut condstore, mut known) = (false, None);
    if words.space().is_err() || words.at_end() {
        return Ok((condstore, known));
    }
    words.expect(b'(')?;
    loop {
        // each turn takes a word
        match &words.item_name()[..] {
            "CONDSTORE" if !condstore => condstore = true,
            "QRESYNC" if known.is_none() => known = Some(Box::new(resync(words)?)),
            _ => return Err(Refusal::Syntax("Expected CONDSTORE or QRESYNC")),
        }
        words.skip_spaces();
        if words.accept(b')') {
            return Ok((condstore, known));
        }
    }
}

/// RFC 7162 §7 select-param: UIDVALIDITY and modification sequence, then known UIDs and numbers with their UIDs, either or both.
fn resync(words: &mut Words<'_>) -> Parsed<Resync> {
    words.space()?;
    words.expect(b'(')?;
    let uid_validity = words.number()?;
    words.space()?;
    let modseq = words.modseq()?;
    if uid_validity == 0 || modseq == ModSeq(0) {
        return Err(Refusal::Syntax(
            "UIDVALIDITY and modification sequence must not be 0",
        ));
    }
    let mut resync = Resync {
        uid_validity,
        modseq,
        known: None,
        matches: None,
    };
    words.skip_spaces();
    if words.peek().is_some_and(|byte| byte.is_ascii_digit()) {
        resync.known = Some(words.known_set()?);
        words.skip_spaces();
    }
    if words.accept(b'(') {
        let numbers = words.known_set()?;
        words.space()?;
        let uids = words.known_set()?;
        words.skip_spaces();
        words.expect(b')')?;
        words.skip_spaces();
        if count(&numbers) != count(&uids) {
            return Err(Refusal::Syntax("Expected as many UIDs as message numbers"));
        }
        resync.matches = Some((numbers, uids));
    }
    words.expect(b')')?;
    Ok(resync)
}

/// How many numbers a set without `*` names.
fn count(set: &SequenceSet) -> u64 {
    let ranges = set.ranges(0).into_iter();
    ranges.map(|(low, high)| u64::from(high - low) + 1).sum()
}

/// RFC 7162 §7 store-modifier: `(UNCHANGEDSINCE 5)` and a space, where the list of flags does not begin yet.
pub(super) fn unchanged_since(words: &mut Words<'_>) -> Parsed<Option<ModSeq>> {
    if !words.accept(b'(') {
        return Ok(None);
    }
    words.skip_spaces();
    if !words.keyword("UNCHANGEDSINCE") {
        return Err(Refusal::Syntax("Expected UNCHANGEDSINCE"));
    }
    words.space()?;
    let modseq = words.modseq()?;
    words.skip_spaces();
    words.expect(b')')?;
    words.space()?;
    Ok(Some(modseq))
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::{Names, command};
    use super::*;
    use crate::command::{Body, ChangedSince};
    use crate::fetch::FetchItem;
    use crate::search::SearchKey;

    pub fn modseq() -> impl Strategy<Value = ModSeq> {
        (1..=i64::MAX as u64).prop_map(ModSeq)
    }

    fn known_set() -> impl Strategy<Value = SequenceSet> {
        let bound = || (1u32..).prop_map(Some);
        let pieces = prop::collection::vec((bound(), bound()), 1..5);
        pieces.prop_map(|pieces| SequenceSet::from_pieces(pieces).unwrap())
    }

    /// SELECT and EXAMINE with whatever may stand behind the name.
    pub fn any_select(name: BoxedStrategy<Box<str>>) -> impl Strategy<Value = Body> {
        let matches = prop::option::of(known_set().prop_map(|set| (set.clone(), set)));
        let known = prop::option::of(known_set());
        let resync = (1u32.., modseq(), known, matches);
        let resync = resync.prop_map(|(uid_validity, modseq, known, matches)| {
            Box::new(Resync {
                uid_validity,
                modseq,
                known,
                matches,
            })
        });
        let all = (name, any::<bool>(), any::<bool>(), prop::option::of(resync));
        all.prop_map(|(mailbox, read_only, condstore, resync)| Body::Select {
            mailbox,
            read_only,
            condstore,
            resync,
        })
    }

    fn read(line: &str) -> Option<Body> {
        let read = command(format!("t {line}\r\n").as_bytes(), Names::Utf8);
        read.ok().map(|command| command.body)
    }

    /// The examples of RFC 7162, and what real programs send.
    #[test]
    fn what_clients_know_is_read() {
        let select = "SELECT INBOX (QRESYNC (67890007 90060115194045000 41:211,214:541))";
        let Some(Body::Select {
            resync: Some(resync),
            ..
        }) = read(select)
        else {
            panic!("{select}");
        };
        assert_eq!(resync.modseq, ModSeq(90_060_115_194_045_000));
        assert_eq!(resync.known, SequenceSet::parse(b"41:211,214:541"));
        for line in [
            "SELECT INBOX (CONDSTORE)",
            "EXAMINE INBOX (CONDSTORE QRESYNC (1 1))",
            "SELECT INBOX (QRESYNC (67890007 90060115194045000 (1,3:4 5,8:9)))",
            "SELECT INBOX (QRESYNC (67890007 9 1:29997 (5000,7500,9000 15000,22500,27000)))",
        ] {
            assert!(
                read(line).is_some_and(|body| body.enables_condstore()),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_not_in_the_grammar_is_refused() {
        for line in [
            "SELECT INBOX ()",
            "SELECT INBOX (CONDSTORE CONDSTORE)",
            "SELECT INBOX (NOTHING)",
            "SELECT INBOX (QRESYNC)",
            "SELECT INBOX (QRESYNC (1))",
            "SELECT INBOX (QRESYNC (0 5))",
            "SELECT INBOX (QRESYNC (5 0))",
            "SELECT INBOX (QRESYNC (1 5 1:*))",
            "SELECT INBOX (QRESYNC (1 5 $))",
            "SELECT INBOX (QRESYNC (1 5 1:9 (1:3 4:5)))",
            "SELECT INBOX (QRESYNC (1 9223372036854775808))",
            "FETCH 1 FLAGS (CHANGEDSINCE)",
            "FETCH 1 FLAGS (VANISHED)",
            "FETCH 1 FLAGS (CHANGEDSINCE 5 VANISHED)",
            "UID FETCH 1 FLAGS (VANISHED)",
            "UID FETCH 1 FLAGS (CHANGEDSINCE 5 CHANGEDSINCE 6)",
            "STORE 1 (UNCHANGEDSINCE) FLAGS ()",
            "STORE 1 (UNCHANGEDSINCE 5 UNCHANGEDSINCE 6) FLAGS ()",
            "STORE 1 (CHANGEDSINCE 5) FLAGS ()",
            "SEARCH MODSEQ",
            "SEARCH MODSEQ \"/other\" all 5",
            "SEARCH MODSEQ \"/flags/seen\" some 5",
        ] {
            assert_eq!(read(line), None, "{line}");
        }
    }

    #[test]
    fn modifiers_are_read_in_any_order() {
        for line in [
            "UID FETCH 300:500 (FLAGS) (CHANGEDSINCE 12345 VANISHED)",
            "UID FETCH 300:500 FLAGS (vanished changedsince 12345)",
        ] {
            let Some(Body::Fetch { items, since, .. }) = read(line) else {
                panic!("{line}");
            };
            let modseq = ModSeq(12_345);
            let vanished = true;
            assert_eq!(since, Some(ChangedSince { modseq, vanished }), "{line}");
            assert_eq!(items, [FetchItem::Flags]);
        }
        for line in [
            "SEARCH MODSEQ 620162338",
            r#"SEARCH MODSEQ "/flags/\\draft" all 620162338"#,
        ] {
            let Some(Body::Search(request)) = read(line) else {
                panic!("{line}");
            };
            assert_eq!(request.key, SearchKey::ModSeq(ModSeq(620_162_338)));
        }
        let line = "STORE 7,5,9 (UNCHANGEDSINCE 320162338) +FLAGS.SILENT (\\Deleted)";
        let Some(Body::Store {
            unchanged_since, ..
        }) = read(line)
        else {
            panic!("{line}");
        };
        assert_eq!(unchanged_since, Some(ModSeq(320_162_338)));
    }
}
