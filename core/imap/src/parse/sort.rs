//! SORT and THREAD (RFC 5256 §5, RFC 5267 §6).

use crate::command::{SearchRequest, SortRequest, ThreadRequest};
use crate::limits::SORT_CRITERIA_MAX;
use crate::sort::{SortCriterion, SortField};
use crate::thread::ThreadAlgorithm;

use super::search::{charset, keys, returned};
use super::words::Words;
use super::{Parsed, Refusal};

/// `[RETURN (…)] (criteria) charset keys`. The charset is not optional here.
pub(super) fn sort(words: &mut Words<'_>, uid: bool) -> Parsed<SortRequest> {
    words.space()?;
    let results = returned(words)?;
    if results.is_some() {
        words.space()?;
    }
    let criteria = criteria(words)?;
    words.space()?;
    charset(words)?;
    words.space()?;
    Ok(SortRequest {
        criteria,
        search: SearchRequest {
            uid,
            results,
            key: keys(words)?,
        },
    })
}

/// Fields in parentheses, each with REVERSE before it or without: one at least.
fn criteria(words: &mut Words<'_>) -> Parsed<Vec<SortCriterion>> {
    const UNKNOWN: Refusal = Refusal::Syntax("Unknown sort criterion");
    words.expect(b'(')?;
    let mut criteria = Vec::new();
    words.skip_spaces();
    while !words.accept(b')') {
        if criteria.len() == SORT_CRITERIA_MAX {
            return Err(Refusal::TooMuch("sort criteria"));
        }
        let reverse = words.keyword("REVERSE");
        if reverse {
            words.space()?;
        }
        let name = words.item_name();
        let named = SortField::ALL.iter().find(|(word, _)| *word == name);
        let (_, field) = *named.ok_or(UNKNOWN)?;
        criteria.push(SortCriterion { field, reverse });
        words.skip_spaces();
    }
    match criteria.is_empty() {
        true => Err(Refusal::Syntax("Missing sort criterion")),
        false => Ok(criteria),
    }
}

/// `algorithm charset keys`
pub(super) fn thread(words: &mut Words<'_>, uid: bool) -> Parsed<ThreadRequest> {
    words.space()?;
    let name = words.item_name();
    let mut named = ThreadAlgorithm::ALL.iter();
    let named = named.find(|(word, _)| *word == name);
    let (_, algorithm) = *named.ok_or(Refusal::Syntax("Unknown threading algorithm"))?;
    words.space()?;
    charset(words)?;
    words.space()?;
    Ok(ThreadRequest {
        uid,
        algorithm,
        key: keys(words)?,
    })
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::{Names, command};
    use super::*;
    use crate::command::{Body, SearchResults, Slice};
    use crate::search::SearchKey;

    pub fn slice() -> impl Strategy<Value = Slice> {
        (1u32.., 1u32.., any::<bool>()).prop_map(|(first, last, from_end)| Slice {
            first,
            last,
            from_end,
        })
    }

    /// SORT and THREAD, by number and by UID.
    pub fn any_sort(
        results: BoxedStrategy<Option<SearchResults>>,
        key: BoxedStrategy<SearchKey>,
    ) -> impl Strategy<Value = Body> {
        let field = prop::sample::select(SortField::ALL.to_vec());
        let one = (field, any::<bool>());
        let one = one.prop_map(|((_, field), reverse)| SortCriterion { field, reverse });
        let criteria = prop::collection::vec(one, 1..4);
        let algorithm = prop::sample::select(ThreadAlgorithm::ALL.to_vec());
        prop_oneof![
            (criteria, any::<bool>(), results, key.clone()).prop_map(
                |(criteria, uid, results, key)| Body::Sort(SortRequest {
                    criteria,
                    search: SearchRequest { uid, results, key },
                })
            ),
            (any::<bool>(), algorithm, key).prop_map(|(uid, (_, algorithm), key)| Body::Thread(
                ThreadRequest {
                    uid,
                    algorithm,
                    key,
                }
            )),
        ]
    }

    fn read(line: &str) -> Result<Body, Refusal> {
        let read = command(format!("t {line}\r\n").as_bytes(), Names::Utf8);
        read.map(|command| command.body).map_err(|bad| bad.refusal)
    }

    #[test]
    fn criteria_and_algorithms_are_read() {
        let Ok(Body::Sort(request)) = read(
            "UID SORT RETURN (COUNT PARTIAL -1:-10) (REVERSE DATE subject) utf-8 UNSEEN SINCE 1-Feb-1994",
        ) else {
            panic!()
        };
        let words = request.criteria.iter().map(|one| (one.field, one.reverse));
        let wanted = [(SortField::Date, true), (SortField::Subject, false)];
        assert!(words.eq(wanted));
        let results = request.search.results.unwrap();
        assert!(results.count && !results.all && request.search.uid);
        let slice = results.partial.unwrap();
        assert_eq!((slice.first, slice.last, slice.from_end), (1, 10, true));
        let Ok(Body::Thread(request)) = read("THREAD references us-ascii ALL") else {
            panic!()
        };
        assert_eq!(request.algorithm, ThreadAlgorithm::References);
        assert_eq!(request.key, SearchKey::All);
    }

    #[test]
    fn what_is_not_in_the_grammar_is_refused() {
        for line in [
            "SORT () UTF-8 ALL",
            "SORT (REVERSE) UTF-8 ALL",
            "SORT (REVERSE REVERSE DATE) UTF-8 ALL",
            "SORT (COLOUR) UTF-8 ALL",
            "SORT (DATE) UTF-8",
            "SORT (DATE)",
            "SORT DATE UTF-8 ALL",
            "SORT RETURN (UPDATE) (DATE) UTF-8 ALL",
            "THREAD REFS UTF-8 ALL",
            "THREAD REFERENCES UTF-8",
            "THREAD (REFERENCES) UTF-8 ALL",
            "SEARCH RETURN (ALL PARTIAL 1:2) ALL",
            "SEARCH RETURN (PARTIAL 1:2 PARTIAL 1:2) ALL",
            "SEARCH RETURN (PARTIAL 0:2) ALL",
            "SEARCH RETURN (PARTIAL 1:-2) ALL",
            "SEARCH RETURN (PARTIAL -1:2) ALL",
            "SEARCH RETURN (PARTIAL 5) ALL",
            "SEARCH RETURN (PARTIAL) ALL",
            "FETCH 1:* FLAGS (PARTIAL 1:2)",
            "UID FETCH 1:* FLAGS (PARTIAL 1:2 PARTIAL 1:2)",
            "SEARCH YOUNGER 0",
            "SEARCH OLDER -5",
            "SEARCH OLDER",
        ] {
            assert!(
                matches!(read(line), Err(Refusal::Syntax(_))),
                "{line}: {:?}",
                read(line)
            );
        }
        assert_eq!(read("SORT (DATE) X-KLINGON ALL"), Err(Refusal::BadCharset));
        assert_eq!(
            read("THREAD REFERENCES X-KLINGON ALL"),
            Err(Refusal::BadCharset)
        );
        let many = "DATE ".repeat(SORT_CRITERIA_MAX + 1);
        let many = read(&format!("SORT ({many}) UTF-8 ALL"));
        assert_eq!(many, Err(Refusal::TooMuch("sort criteria")));
    }

    /// RFC 9394 §3.1.
    #[test]
    fn slices_name_what_is_there() {
        let slice = |first, last, from_end| Slice {
            first,
            last,
            from_end,
        };
        for (slice, count, wanted) in [
            (slice(1, 3, false), 10, 0..3),
            (slice(3, 1, false), 10, 0..3),
            (slice(9, 20, false), 10, 8..10),
            (slice(11, 20, false), 10, 10..10),
            (slice(1, 3, true), 10, 7..10),
            (slice(9, 20, true), 10, 0..2),
            (slice(u32::MAX, u32::MAX, true), 10, 0..0),
            (slice(1, 1, false), 0, 0..0),
        ] {
            assert_eq!(slice.of(count), wanted, "{slice:?}");
        }
    }
}
