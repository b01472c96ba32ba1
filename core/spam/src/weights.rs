//! What each piece of evidence weighs, in tenths of a point, against a threshold of usually 5.0.
//!
//! Chosen so that no single fact of structure or of the peer makes a message junk, and so that two strong ones (a forged author and a
//! listed peer) do.

use crate::Points;

pub const DMARC_FAILS: Points = Points(25);
pub const DMARC_PASSES: Points = Points(-5);
pub const SPF_FAILS: Points = Points(12);
pub const SPF_DOUBTS: Points = Points(6);
pub const DKIM_FAILS: Points = Points(5);
pub const NO_PROOF: Points = Points(8);

/// For each point of the score that the settings give to lists.
pub const LISTED_EACH: Points = Points(12);
/// At most, in both directions.
pub const LISTED_MAX: Points = Points(40);
pub const HELLO_NAME: Points = Points(8);
pub const NO_REVERSE_NAME: Points = Points(10);
pub const EARLY: Points = Points(12);

pub const NO_FROM: Points = Points(20);
pub const SEVERAL_FROM: Points = Points(15);
pub const NO_DATE: Points = Points(6);
pub const NO_MESSAGE_ID: Points = Points(6);
pub const ONLY_AN_IMAGE: Points = Points(12);
pub const ONLY_HTML: Points = Points(3);
pub const A_PROGRAM: Points = Points(30);
pub const NAME_OF_ANOTHER: Points = Points(15);
pub const LINK_TO_ANOTHER: Points = Points(15);
pub const LINK_TO_A_NUMBER: Points = Points(15);
pub const LINK_WITH_USER: Points = Points(10);
pub const LOUD_SUBJECT: Points = Points(6);
pub const HIDDEN_LETTERS: Points = Points(12);
pub const TOO_MANY_PARTS: Points = Points(15);
pub const EMPTY: Points = Points(8);

pub const DOMAIN_JUNK: Points = Points(45);
pub const DOMAIN_GOOD: Points = Points(30);
pub const PERSON_JUNK: Points = Points(65);
pub const PERSON_GOOD: Points = Points(65);
