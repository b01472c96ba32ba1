//! What one person or one domain was taught: in how many messages of each kind each word was.
//!
//! Row of `MODELS`: owner ([`Whom`]) → [`Model`].
//!
//! Words are 64-bit numbers (`spam::Reading::tokens`), ascending, with two counts of a byte each: 10 bytes a word. Counts are exact: a message
//! counts a word once, and no kind has more than `LESSONS_MAX` messages, because at that number its counts and its total are halved. So
//! old lessons fade and the proportions stay. A table of counted buckets without numbers would be smaller, but two words in one bucket cannot
//! be told apart, and unlearning would harm the other one.

use std::collections::VecDeque;

use base::cursor::{Reader, Write};
use store::Lsn;
use tenancy::encoding::{Broken, put_text, read_text, read_u32};

use crate::limits::*;

/// Whose model.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whom {
    /// `directory::AccountId`.
    Account(u32),
    /// In lower case.
    Domain(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Junk,
    Good,
}

/// A message and what it is; `None`: whatever it was taught as, it is nothing any longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lesson {
    /// The beginning of its body's name.
    pub message: u64,
    pub kind: Option<Kind>,
    /// Ascending, each once, at most `WORDS_PER_LESSON_MAX`.
    pub words: Vec<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Model {
    words: Vec<u64>,
    /// Of each word: in how many messages of junk, and of good mail.
    counts: Vec<[u8; 2]>,
    /// Messages of each kind.
    totals: [u8; 2],
    /// Those taught last, oldest first; the lowest bit is the kind.
    messages: VecDeque<u64>,
    /// Records about it before this one are no longer needed.
    pub(crate) snapshot: Lsn,
}

impl Kind {
    pub(crate) fn index(self) -> usize {
        match self {
            Kind::Junk => 0,
            Kind::Good => 1,
        }
    }
}

impl Model {
    /// Messages of junk and of good mail.
    pub fn totals(&self) -> (u8, u8) {
        (self.totals[0], self.totals[1])
    }

    pub fn words_count(&self) -> usize {
        self.words.len()
    }

    /// Messages that it remembers.
    pub fn messages_count(&self) -> usize {
        self.messages.len()
    }

    /// Of each of `words`: in how many messages of junk and of good mail.
    pub fn counts<'a>(&'a self, words: &'a [u64]) -> impl Iterator<Item = (u8, u8)> + 'a {
        words
            .iter()
            .map(|word| match self.words.binary_search(word) {
                Ok(at) => (self.counts[at][0], self.counts[at][1]),
                Err(_) => (0, 0),
            })
    }

    /// What the message was taught as last, where that is remembered.
    pub fn kind_of(&self, message: u64) -> Option<Kind> {
        let known = self
            .messages
            .iter()
            .find(|known| **known | 1 == message | 1);
        known.map(|known| match known & 1 {
            0 => Kind::Junk,
            _ => Kind::Good,
        })
    }

    /// Takes a lesson. One about a message that was taught the other way before takes that back; one that is known changes nothing.
    pub(crate) fn take(&mut self, lesson: &Lesson) {
        let known = self.kind_of(lesson.message);
        if known == lesson.kind {
            return;
        }
        self.messages
            .retain(|known| *known | 1 != lesson.message | 1);
        if let Some(known) = known {
            self.subtract(known, &lesson.words);
        }
        if let Some(kind) = lesson.kind {
            self.add(kind, &lesson.words);
            let message = lesson.message & !1 | kind.index() as u64;
            self.messages.push_back(message);
            if self.messages.len() > MESSAGES_PER_MODEL_MAX {
                self.messages.pop_front();
            }
        }
    }

    fn subtract(&mut self, kind: Kind, words: &[u64]) {
        let kind = kind.index();
        self.totals[kind] = self.totals[kind].saturating_sub(1);
        for word in words {
            if let Ok(at) = self.words.binary_search(word) {
                let count = &mut self.counts[at][kind];
                *count = count.saturating_sub(1);
            }
        }
        self.keep(|counts| counts != [0, 0]);
    }

    fn add(&mut self, kind: Kind, words: &[u64]) {
        let kind = kind.index();
        let most = self.words.len() + words.len();
        let (mut all, mut counts) = (Vec::with_capacity(most), Vec::with_capacity(most));
        let mut old = self
            .words
            .iter()
            .copied()
            .zip(self.counts.iter().copied())
            .peekable();
        for word in words {
            while let Some((before, its)) = old.next_if(|(before, _)| before < word) {
                all.push(before);
                counts.push(its);
            }
            let mut its = old
                .next_if(|(same, _)| same == word)
                .map_or([0, 0], |(_, its)| its);
            its[kind] = its[kind].saturating_add(1);
            all.push(*word);
            counts.push(its);
        }
        for (word, its) in old {
            all.push(word);
            counts.push(its);
        }
        (self.words, self.counts) = (all, counts);
        self.totals[kind] += 1;
        if self.totals[kind] >= LESSONS_MAX {
            self.totals[kind] /= 2;
            self.counts.iter_mut().for_each(|counts| counts[kind] /= 2);
            self.keep(|counts| counts != [0, 0]);
        }
        if self.words.len() > WORDS_PER_MODEL_MAX {
            self.thin_out();
        }
        self.words.shrink_to_fit();
        self.counts.shrink_to_fit();
    }

    /// Leaves `WORDS_PER_MODEL_KEPT` words: those that were seen most. Among equals the numbers decide, which are evenly spread.
    fn thin_out(&mut self) {
        let sum = |counts: [u8; 2]| u16::from(counts[0]) + u16::from(counts[1]);
        let mut seen: Vec<(u16, u64)> = self
            .counts
            .iter()
            .map(|counts| sum(*counts))
            .zip(self.words.iter().copied())
            .collect();
        let last = seen.len() - WORDS_PER_MODEL_KEPT;
        let (_, least, _) = seen.select_nth_unstable(last);
        let least = *least;
        let mut at = 0;
        let words = std::mem::take(&mut self.words);
        self.counts.retain(|counts| {
            let keeps = (sum(*counts), words[at]) >= least;
            if keeps {
                self.words.push(words[at]);
            }
            at += 1;
            keeps
        });
    }

    fn keep(&mut self, keeps: impl Fn([u8; 2]) -> bool) {
        let counts = &self.counts;
        let mut at = 0;
        self.words.retain(|_| {
            at += 1;
            keeps(counts[at - 1])
        });
        self.counts.retain(|counts| keeps(*counts));
    }

    /// Bytes that `encode` gives, at most.
    pub(crate) fn row_bytes_max(&self) -> usize {
        ROW_HEAD_BYTES + self.words.len() * WORD_BYTES + self.messages.len() * 8
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(VERSION);
        out.put_varint(self.snapshot.0);
        out.put_bytes(&self.totals);
        out.put_varint(self.words.len() as u64);
        for (word, counts) in self.words.iter().zip(&self.counts) {
            out.put_u64(*word);
            out.put_bytes(counts);
        }
        out.put_varint(self.messages.len() as u64);
        for message in &self.messages {
            out.put_u64(*message);
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Model, Broken> {
        if reader.u8()? != VERSION {
            return Err(Broken);
        }
        let snapshot = Lsn(reader.varint()?);
        let totals = reader.array()?;
        let mut model = Model {
            snapshot,
            totals,
            ..Model::default()
        };
        let within = |count: u64, most: usize| {
            usize::try_from(count)
                .ok()
                .filter(|count| *count <= most)
                .ok_or(Broken)
        };
        if totals.iter().any(|total| *total >= LESSONS_MAX) {
            return Err(Broken);
        }
        for _ in 0..within(reader.varint()?, WORDS_PER_MODEL_MAX)? {
            let word = reader.u64()?;
            if model.words.last().is_some_and(|before| *before >= word) {
                return Err(Broken);
            }
            model.words.push(word);
            model.counts.push(reader.array()?);
        }
        for _ in 0..within(reader.varint()?, MESSAGES_PER_MODEL_MAX)? {
            model.messages.push_back(reader.u64()?);
        }
        model.words.shrink_to_fit();
        model.counts.shrink_to_fit();
        Ok(model)
    }
}

impl Whom {
    /// Whether a record can hold it, and be read again.
    pub(crate) fn is_valid(&self) -> bool {
        match self {
            Whom::Account(_) => true,
            Whom::Domain(domain) => domain_of(domain).is_ok(),
        }
    }

    /// The key of its row; the first byte keeps accounts and domains apart.
    pub(crate) fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(16);
        match self {
            Whom::Account(account) => {
                key.put_u8(ACCOUNT);
                key.extend_from_slice(&account.to_be_bytes());
            }
            Whom::Domain(domain) => {
                key.put_u8(DOMAIN);
                key.extend_from_slice(domain.as_bytes());
            }
        }
        key
    }

    pub(crate) fn of_key(key: &[u8]) -> Result<Whom, Broken> {
        match key.split_first() {
            Some((&ACCOUNT, account)) => {
                let account = account.try_into().map_err(|_| Broken)?;
                Ok(Whom::Account(u32::from_be_bytes(account)))
            }
            Some((&DOMAIN, domain)) => domain_of(std::str::from_utf8(domain).map_err(|_| Broken)?),
            _ => Err(Broken),
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Whom::Account(account) => {
                out.put_u8(ACCOUNT);
                out.put_varint(u64::from(*account));
            }
            Whom::Domain(domain) => {
                out.put_u8(DOMAIN);
                put_text(out, domain);
            }
        }
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Whom, Broken> {
        match reader.u8()? {
            ACCOUNT => Ok(Whom::Account(read_u32(reader)?)),
            DOMAIN => domain_of(&read_text(reader)?),
            _ => Err(Broken),
        }
    }
}

fn domain_of(domain: &str) -> Result<Whom, Broken> {
    match domain.len() {
        1..=DOMAIN_BYTES_MAX => Ok(Whom::Domain(domain.to_owned())),
        _ => Err(Broken),
    }
}

const VERSION: u8 = 1;
/// Version, snapshot, totals, and the counts of words and messages.
const ROW_HEAD_BYTES: usize = 1 + 10 + 2 + 10 + 10;
const ACCOUNT: u8 = 1;
const DOMAIN: u8 = 2;
