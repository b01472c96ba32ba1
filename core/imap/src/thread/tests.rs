use proptest::prelude::*;

use std::collections::HashMap;

use crate::limits::{THREAD_STEPS_MIN, THREAD_STEPS_PER_NODE};

use super::*;

/// One message in a test: its id, what it refers to, its subject and its date.
#[derive(Debug, Clone)]
struct Letter {
    id: Option<String>,
    references: Vec<String>,
    subject: String,
    date: i64,
}

fn letter(id: &str, references: &[&str], subject: &str, date: i64) -> Letter {
    Letter {
        id: (!id.is_empty()).then(|| id.to_owned()),
        references: references.iter().map(|id| id.to_string()).collect(),
        subject: subject.to_owned(),
        date,
    }
}

fn header(letter: &Letter) -> String {
    let mut header = format!("Subject: {}\r\n", letter.subject);
    if let Some(id) = &letter.id {
        header += &format!("Message-ID: <{id}@x>\r\n");
    }
    if !letter.references.is_empty() {
        let ids: Vec<String> = letter
            .references
            .iter()
            .map(|id| format!("<{id}@x>"))
            .collect();
        header += &format!("References: {}\r\n", ids.join("\r\n "));
    }
    header
}

fn threads(algorithm: ThreadAlgorithm, letters: &[Letter]) -> String {
    let mut threader = Threader::new(algorithm);
    for letter in letters {
        threader.add(InternalDate::utc(letter.date), header(letter).as_bytes());
    }
    String::from_utf8(threader.trees(|message| message + 1)).unwrap()
}

fn by_references(letters: &[Letter]) -> String {
    threads(ThreadAlgorithm::References, letters)
}

#[test]
fn an_empty_mailbox_has_no_threads() {
    assert_eq!(by_references(&[]), "");
    assert_eq!(threads(ThreadAlgorithm::OrderedSubject, &[]), "");
}

/// The shapes of RFC 5256 §4's examples.
#[test]
fn threads_are_written_as_the_rfc_shows_them() {
    let letters = [
        letter("a", &[], "one", 1),
        letter("b", &[], "two", 2),
        letter("c", &["b"], "Re: two", 3),
        letter("d", &["b", "c"], "Re: two", 4),
        letter("e", &["b", "c"], "Re: two", 5),
        letter("f", &["b", "c", "e"], "Re: two", 6),
        letter("g", &["b", "c", "d"], "Re: two", 7),
    ];
    assert_eq!(by_references(&letters), "(1)(2 3 (4 7)(5 6))");
    let orphans = [
        letter("a", &["gone"], "Re: x", 2),
        letter("b", &["gone"], "Re: y", 1),
        letter("c", &[], "z", 3),
    ];
    assert_eq!(by_references(&orphans), "((2)(1))(3)");
}

#[test]
fn subjects_alone_make_flat_threads_by_date() {
    let letters = [
        letter("", &[], "Re: b", 5),
        letter("", &[], "a", 4),
        letter("", &[], "B", 1),
        letter("", &[], "[x] b", 2),
        letter("", &[], "", 3),
        letter("", &[], "Re:", 6),
    ];
    assert_eq!(
        threads(ThreadAlgorithm::OrderedSubject, &letters),
        "(3 (4)(1))(5 6)(2)"
    );
}

#[test]
fn what_only_others_refer_to_leaves_no_trace() {
    // `x` is below `gone`, which is below `a`: the message goes up to its nearest ancestor that is there.
    let letters = [
        letter("a", &[], "a", 1),
        letter("x", &["a", "gone", "gone2"], "b", 2),
        letter("y", &["nowhere"], "c", 3),
    ];
    assert_eq!(by_references(&letters), "(1 2)(3)");
}

#[test]
fn replies_without_references_find_their_subject() {
    let letters = [
        letter("a", &[], "Re: plan", 1),
        letter("b", &[], "plan", 2),
        letter("c", &[], "Fwd: plan", 3),
        letter("d", &[], "other", 4),
    ];
    assert_eq!(by_references(&letters), "(2 (1)(3))(4)");
    // Two originals, or two replies: neither is above the other.
    let letters = [letter("a", &[], "plan", 1), letter("b", &[], "plan", 2)];
    assert_eq!(by_references(&letters), "((1)(2))");
    let letters = [
        letter("a", &[], "Re: Re: [x] Fwd:", 1),
        letter("b", &[], "Re:", 2),
    ];
    assert_eq!(
        by_references(&letters),
        "(1)(2)",
        "an empty subject gathers nothing"
    );
}

#[test]
fn in_reply_to_counts_where_references_are_missing() {
    let mut threader = Threader::new(ThreadAlgorithm::References);
    for (date, header) in [
        (1, "Message-ID: <\"a\"@x>\r\nSubject: s\r\n"),
        (
            2,
            "Message-ID: <b@x>\r\nIn-Reply-To: your message <a@x>\r\nSubject: t\r\n",
        ),
        (
            3,
            "Message-ID: <c@x>\r\nReferences: nothing\r\nIn-Reply-To: <b@x> <a@x>\r\nSubject: u\r\n",
        ),
        (
            4,
            "Message-ID: <d@x>\r\nReferences: <a@x>\r\nIn-Reply-To: <b@x>\r\nSubject: v\r\n",
        ),
    ] {
        threader.add(InternalDate::utc(date), header.as_bytes());
    }
    assert_eq!(threader.trees(|message| message + 1), b"(1 (2 3)(4))");
}

#[test]
fn of_messages_with_one_id_the_first_has_it() {
    let letters = [
        letter("a", &[], "one", 1),
        letter("a", &[], "two", 2),
        letter("b", &["a"], "three", 3),
        letter("a", &["b"], "four", 4),
    ];
    assert_eq!(by_references(&letters), "(1 3 4)(2)");
}

#[test]
fn circles_of_references_are_cut() {
    let letters = [
        letter("a", &["b"], "one", 1),
        letter("b", &["a"], "two", 2),
        letter("c", &["c"], "three", 3),
        letter("d", &["e", "d", "e"], "four", 4),
    ];
    let answer = by_references(&letters);
    assert_eq!(answer, naive(&letters));
    for number in 1..=4 {
        assert_eq!(answer.matches(&number.to_string()).count(), 1, "{answer}");
    }
}

/// Depth takes up no stack: neither in building nor in pruning nor in writing.
#[test]
fn a_chain_of_a_hundred_thousand_is_survived() {
    let count = 100_000u32;
    let id = |number: u32| format!("<{number}@x>");
    for order in [(0..count).collect::<Vec<u32>>(), (0..count).rev().collect()] {
        let mut threader = Threader::new(ThreadAlgorithm::References);
        for &number in &order {
            let parent = number.checked_sub(1).map(id).unwrap_or_default();
            let header = format!(
                "Message-ID: {}\r\nReferences: {parent}\r\nSubject: {number}\r\n",
                id(number)
            );
            threader.add(InternalDate::utc(number.into()), header.as_bytes());
        }
        let answer = threader.trees(|message| order[message as usize] + 1);
        let numbers: Vec<String> = (1..=count).map(|number| number.to_string()).collect();
        assert!(answer == format!("({})", numbers.join(" ")).as_bytes());
    }
    // Only the ends are there: fifty thousand nodes between them are pruned.
    let mut threader = Threader::new(ThreadAlgorithm::References);
    for number in (0..count).filter(|number| number % 50_000 < 2) {
        let header = format!("Message-ID: {}\r\nSubject: {number}\r\n", id(number));
        threader.add(InternalDate::utc(number.into()), header.as_bytes());
    }
    assert_eq!(threader.trees(|message| message + 1), b"(1)(2)(3)(4)");
    // Each message has two children: as deep in brackets as in links.
    let mut threader = Threader::new(ThreadAlgorithm::References);
    for number in 0..count {
        let parent = id((number.max(1) - 1) / 2 * 2);
        let header = format!("Message-ID: {}\r\nReferences: {parent}\r\n", id(number));
        threader.add(InternalDate::utc(number.into()), header.as_bytes());
    }
    let answer = threader.trees(|message| message + 1);
    let opened = answer.iter().filter(|&&byte| byte == b'(').count();
    let closed = answer.iter().filter(|&&byte| byte == b')').count();
    assert_eq!(opened, closed);
    assert_eq!(
        answer
            .split(|byte| b"() ".contains(byte))
            .filter(|word| !word.is_empty())
            .count(),
        count as usize
    );
}

#[test]
fn long_lists_of_references_are_bounded() {
    let many: Vec<String> = (0..2 * REFERENCES_MAX)
        .map(|number| format!("r{number}"))
        .collect();
    let mut one = letter("a", &[], "one", 1);
    one.references = many.clone();
    let mut other = letter("b", &[], "two", 2);
    other.references = many;
    other.references.push("a".into());
    let mut threader = Threader::new(ThreadAlgorithm::References);
    for letter in [&one, &other] {
        threader.add(InternalDate::utc(letter.date), header(letter).as_bytes());
    }
    let nodes = linked(&threader.links, &[0, 1]).all.len();
    assert!(nodes <= REFERENCES_MAX + 3, "{nodes}");
    assert!(threader.memory_bytes() >= REFERENCES_MAX * NODE_BYTES);
    assert_eq!(threader.trees(|message| message + 1), b"(1 2)");
}

/// Looking for loops ends, however much there is to look through.
#[test]
fn the_search_for_loops_is_bounded() {
    let mut links = Nodes::default();
    let nodes: Vec<u32> = (0..3_000).map(|_| links.new_node()).collect();
    for pair in nodes.windows(2) {
        links.set_parent(pair[1], pair[0]);
    }
    let deepest = *nodes.last().unwrap();
    // The top below the deepest would be a loop; each try goes all the way up.
    for _ in 0..5_000 {
        links.set_parent(nodes[0], deepest);
        assert_eq!(links.all[nodes[0] as usize].parent, NONE);
    }
    let bound = THREAD_STEPS_MIN + THREAD_STEPS_PER_NODE * 3_000;
    assert!(links.steps <= bound, "{}", links.steps);
}

/// A container of the naive way: message, parent and children by name.
#[derive(Default, Clone)]
struct Container {
    message: Option<usize>,
    parent: Option<usize>,
    children: Vec<usize>,
}

/// RFC 5256 §3, REFERENCES, step by step and by recursion.
struct Naive<'l> {
    letters: &'l [Letter],
    boxes: Vec<Container>,
}

fn naive(letters: &[Letter]) -> String {
    let mut naive = Naive {
        letters,
        boxes: Vec::new(),
    };
    let mut by_id: HashMap<String, usize> = HashMap::new();
    for (index, letter) in letters.iter().enumerate() {
        // 1
        let own = match &letter.id {
            Some(id) => naive.named(&mut by_id, id),
            None => naive.fresh(),
        };
        let own = match naive.boxes[own].message {
            Some(_) => naive.fresh(),
            None => own,
        };
        naive.boxes[own].message = Some(index);
        let mut last = None;
        for id in &letter.references {
            let next = naive.named(&mut by_id, id);
            if let Some(last) = last
                && naive.boxes[next].parent.is_none()
                && !naive.is_below(last, next)
            {
                naive.adopt(last, next);
            }
            last = Some(next);
        }
        naive.leave(own);
        if let Some(last) = last.filter(|&last| !naive.is_below(last, own)) {
            naive.adopt(last, own);
        }
    }
    // 2 and 3
    let tops: Vec<usize> = (0..naive.boxes.len())
        .filter(|&one| naive.boxes[one].parent.is_none())
        .collect();
    let mut roots = Vec::new();
    for top in tops {
        naive.prune(top);
        let one = &naive.boxes[top];
        match (one.message, one.children.len()) {
            (None, 0) => {}
            (None, 1) => roots.push(one.children[0]),
            _ => roots.push(top),
        }
    }
    for &root in &roots {
        naive.boxes[root].parent = None;
    }
    // 4
    for &root in &roots {
        if naive.boxes[root].message.is_none() {
            naive.sort_children(root);
        }
    }
    roots.sort_by_key(|&root| naive.date(root));
    let roots = naive.by_subject(roots);
    // 6
    let mut roots: Vec<usize> = roots;
    for &root in &roots {
        naive.sort_below(root);
    }
    roots.sort_by_key(|&root| naive.date(root));
    roots
        .iter()
        .map(|&root| format!("({})", naive.written(root)))
        .collect()
}

impl Naive<'_> {
    fn fresh(&mut self) -> usize {
        self.boxes.push(Container::default());
        self.boxes.len() - 1
    }

    fn named(&mut self, by_id: &mut HashMap<String, usize>, id: &str) -> usize {
        if let Some(&found) = by_id.get(id) {
            return found;
        }
        let fresh = self.fresh();
        by_id.insert(id.to_owned(), fresh);
        fresh
    }

    /// Whether `one` is `other` or is below it.
    fn is_below(&self, one: usize, other: usize) -> bool {
        one == other
            || self.boxes[one]
                .parent
                .is_some_and(|parent| self.is_below(parent, other))
    }

    fn leave(&mut self, child: usize) {
        if let Some(parent) = self.boxes[child].parent.take() {
            self.boxes[parent].children.retain(|&other| other != child);
        }
    }

    fn adopt(&mut self, parent: usize, child: usize) {
        self.leave(child);
        self.boxes[child].parent = Some(parent);
        self.boxes[parent].children.push(child);
    }

    /// Below `one` every box has a message.
    fn prune(&mut self, one: usize) {
        for child in self.boxes[one].children.clone() {
            self.prune(child);
            if self.boxes[child].message.is_some() {
                continue;
            }
            for grandchild in self.boxes[child].children.clone() {
                self.adopt(one, grandchild);
            }
            self.leave(child);
        }
    }

    /// The message that stands for a box.
    fn stands(&self, one: usize) -> usize {
        let first = self.boxes[one].children.first();
        self.boxes[one].message.unwrap_or_else(|| {
            let first = *first.expect("a top without a message has children");
            self.boxes[first].message.expect("pruned")
        })
    }

    fn date(&self, one: usize) -> (i64, usize) {
        let message = self.stands(one);
        (self.letters[message].date, message)
    }

    fn sort_children(&mut self, one: usize) {
        let mut children = self.boxes[one].children.clone();
        children.sort_by_key(|&child| self.date(child));
        self.boxes[one].children = children;
    }

    fn sort_below(&mut self, one: usize) {
        for child in self.boxes[one].children.clone() {
            self.sort_below(child);
        }
        self.sort_children(one);
    }

    fn subject(&self, one: usize) -> (String, bool) {
        let base = base_subject(&self.letters[self.stands(one)].subject);
        (base.text.to_uppercase(), base.is_reply)
    }

    /// 5
    fn by_subject(&mut self, roots: Vec<usize>) -> Vec<usize> {
        let mut table: HashMap<String, usize> = HashMap::new();
        for &root in &roots {
            let (subject, is_reply) = self.subject(root);
            if subject.is_empty() {
                continue;
            }
            let Some(&known) = table.get(&subject) else {
                table.insert(subject, root);
                continue;
            };
            let known_is_real = self.boxes[known].message.is_some();
            let is_dummy = self.boxes[root].message.is_none();
            if known_is_real && (is_dummy || (self.subject(known).1 && !is_reply)) {
                table.insert(subject, root);
            }
        }
        let mut left = roots.clone();
        for root in roots {
            let (subject, is_reply) = self.subject(root);
            let Some(&known) = table.get(&subject).filter(|&&known| known != root) else {
                continue;
            };
            let is_dummy = self.boxes[root].message.is_none();
            let known_is_dummy = self.boxes[known].message.is_none();
            left.retain(|&other| other != root);
            if is_dummy && known_is_dummy {
                for child in self.boxes[root].children.clone() {
                    self.adopt(known, child);
                }
            } else if known_is_dummy || (is_reply && !self.subject(known).1) {
                self.adopt(known, root);
            } else {
                let both = self.fresh();
                left.retain(|&other| other != known);
                left.push(both);
                self.adopt(both, known);
                self.adopt(both, root);
                table.insert(subject, both);
            }
        }
        left
    }

    fn written(&self, one: usize) -> String {
        let mut out = match self.boxes[one].message {
            Some(message) => (message + 1).to_string(),
            None => String::new(),
        };
        match &self.boxes[one].children[..] {
            [] => {}
            [only] => {
                if !out.is_empty() {
                    out.push(' ');
                }
                out += &self.written(*only);
            }
            several => {
                if !out.is_empty() {
                    out.push(' ');
                }
                for &child in several {
                    out += &format!("({})", self.written(child));
                }
            }
        }
        out
    }
}

fn any_letters() -> impl Strategy<Value = Vec<Letter>> {
    let id = || prop::sample::select(vec!["a", "b", "c", "d", "e", "f", "g", "h"]);
    let subject = prop::sample::select(vec!["x", "Re: x", "y", "Fwd: y", "z", "", "[l] Re: X"]);
    let one = (
        prop::option::weighted(0.9, id()),
        prop::collection::vec(id(), 0..4),
        subject,
        0i64..5,
    );
    prop::collection::vec(one, 0..9).prop_map(|all| {
        all.into_iter()
            .map(|(id, references, subject, date)| {
                letter(id.unwrap_or(""), &references, subject, date)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Missing and repeated ids, circles, missing parents: the same trees as the naive way.
    #[test]
    fn trees_are_those_of_the_naive_way(letters in any_letters()) {
        prop_assert_eq!(by_references(&letters), naive(&letters));
    }
}
