//! LIST and STATUS arguments (RFC 9051 §9 `list`, RFC 5258, RFC 5819, RFC 6154).

use crate::command::{ListRequest, StatusItem};
use crate::limits::LIST_PATTERNS_MAX;

use super::words::Words;
use super::{Parsed, Refusal};

/// LIST in its old and its extended form (RFC 5258 §6). What the extended form has in addition makes it extended.
pub(super) fn list(words: &mut Words<'_>) -> Parsed<ListRequest> {
    let mut request = ListRequest::default();
    words.space()?;
    if words.accept(b'(') {
        request.extended = true;
        selection_options(words, &mut request)?;
        words.space()?;
    }
    request.reference = words.list_reference()?;
    words.space()?;
    if words.accept(b'(') {
        request.extended = true;
        words.skip_spaces();
        while !words.accept(b')') {
            if request.patterns.len() == LIST_PATTERNS_MAX {
                return Err(Refusal::TooMuch("patterns"));
            }
            request.patterns.push(words.list_mailbox()?);
            words.skip_spaces();
        }
    } else {
        request.patterns.push(words.list_mailbox()?);
    }
    if words.space().is_ok() && !words.at_end() {
        if !words.keyword("RETURN") {
            return Err(Refusal::Syntax("Expected RETURN"));
        }
        words.space()?;
        words.expect(b'(')?;
        request.extended = true;
        return_options(words, &mut request)?;
    }
    // RFC 5258 §3: RECURSIVEMATCH alone says nothing.
    if request.recursive_match && !request.select_subscribed && !request.select_special_use {
        return Err(Refusal::Syntax(
            "RECURSIVEMATCH needs another selection option",
        ));
    }
    Ok(request)
}

/// The options before the reference.
fn selection_options(words: &mut Words<'_>, request: &mut ListRequest) -> Parsed<()> {
    words.skip_spaces();
    while !words.accept(b')') {
        match &words.item_name()[..] {
            "SUBSCRIBED" => {
                request.select_subscribed = true;
                // RFC 5258 §3.1: the attribute is returned as well.
                request.return_subscribed = true;
            }
            "SPECIAL-USE" => {
                request.select_special_use = true;
                request.return_special_use = true;
            }
            "RECURSIVEMATCH" => request.recursive_match = true,
            // RFC 5258 §3.1: there are no mailboxes elsewhere.
            "REMOTE" => {}
            _ => return Err(Refusal::Syntax("Unknown LIST selection option")),
        }
        words.skip_spaces();
    }
    Ok(())
}

/// The options behind RETURN; STATUS has a list of its own (RFC 5819).
fn return_options(words: &mut Words<'_>, request: &mut ListRequest) -> Parsed<()> {
    words.skip_spaces();
    while !words.accept(b')') {
        match &words.item_name()[..] {
            "SUBSCRIBED" => request.return_subscribed = true,
            "CHILDREN" => request.return_children = true,
            "SPECIAL-USE" => request.return_special_use = true,
            // RFC 8440.
            "MYRIGHTS" => request.return_my_rights = true,
            // RFC 9590.
            "METADATA" => {
                words.space()?;
                request.return_metadata = super::access::entry_list(words)?;
            }
            "STATUS" => {
                words.space()?;
                request.return_status = status_items(words)?;
            }
            _ => return Err(Refusal::Syntax("Unknown LIST return option")),
        }
        words.skip_spaces();
    }
    Ok(())
}

/// One item or more, in parentheses.
pub(super) fn status_items(words: &mut Words<'_>) -> Parsed<Vec<StatusItem>> {
    words.expect(b'(')?;
    let mut items = Vec::new();
    words.skip_spaces();
    while !words.accept(b')') {
        let name = words.item_name();
        let item = StatusItem::ALL.into_iter().find(|item| item.name() == name);
        let item = item.ok_or(Refusal::Syntax("Unknown STATUS item"))?;
        if !items.contains(&item) {
            items.push(item);
        }
        words.skip_spaces();
    }
    if items.is_empty() {
        return Err(Refusal::Syntax("Missing STATUS item"));
    }
    Ok(items)
}
