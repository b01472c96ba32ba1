//! What counted words say of a message: Robinson's estimate of one word, and Fisher's method for all of them.
//!
//! G. Robinson, "A Statistical Approach to the Spam Problem", Linux Journal 107 (2003): a word seen in `b` of the junk and `g` of the good
//! messages has p = b/(b+g), drawn towards one half by a weight `STRENGTH` while it was seen rarely. R. A. Fisher, "Statistical Methods for
//! Research Workers" (1925), §21.1: minus twice the sum of the logarithms of n independent probabilities has the chi-square distribution with
//! 2n degrees of freedom. Both directions are computed, and the indicator is (1 + H − S) / 2: words that contradict each other give one
//! half, which says nothing.

use crate::limits::{DECISIVE_MAX, LESSONS_MIN};

/// In how many messages of each kind a word was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub junk: u32,
    pub good: u32,
}

/// How many messages of each kind there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    pub junk: u32,
    pub good: u32,
}

impl Totals {
    /// Whether there were enough of each kind to say anything.
    pub fn suffice(self) -> bool {
        self.junk >= LESSONS_MIN && self.good >= LESSONS_MIN
    }
}

/// Thousandths: 0 is good mail for certain, 1,000 junk. `None`: too little was taught, or no word of the message is known.
pub fn junk_permille(totals: Totals, counts: impl IntoIterator<Item = Counts>) -> Option<u16> {
    if !totals.suffice() {
        return None;
    }
    let mut words: Vec<f64> = counts
        .into_iter()
        .filter(|counts| *counts != Counts::default())
        .map(|counts| probability(totals, counts))
        .filter(|word| (word - 0.5).abs() >= EVEN)
        .collect();
    if words.is_empty() {
        return None;
    }
    let distance = |word: &f64| (word - 0.5).abs();
    words.sort_unstable_by(|a, b| distance(b).total_cmp(&distance(a)));
    words.truncate(DECISIVE_MAX);
    let good = certainty(words.iter().copied());
    let junk = certainty(words.iter().map(|word| 1.0 - word));
    let indicator = (1.0 + junk - good) / 2.0;
    Some((indicator * 1_000.0).round().clamp(0.0, 1_000.0) as u16)
}

/// That a message with this word is junk. Between 0 and 1, and neither.
fn probability(totals: Totals, counts: Counts) -> f64 {
    let share = |count: u32, total: u32| f64::from(count.min(total)) / f64::from(total.max(1));
    let (junk, good) = (
        share(counts.junk, totals.junk),
        share(counts.good, totals.good),
    );
    let p = match junk + good > 0.0 {
        true => junk / (junk + good),
        false => 0.5,
    };
    let seen = f64::from(counts.junk) + f64::from(counts.good);
    (STRENGTH * 0.5 + seen * p) / (STRENGTH + seen)
}

/// Fisher: how unlikely it is that probabilities so small come by chance, from 0 (it is chance) to 1.
fn certainty(probabilities: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0u32);
    for probability in probabilities {
        sum += probability.ln();
        count += 1;
    }
    1.0 - chi_square(-2.0 * sum, count)
}

/// The part of the chi-square distribution with `2 * half` degrees of freedom that is above `value`.
fn chi_square(value: f64, half: u32) -> f64 {
    let m = value / 2.0;
    // In logarithms: `exp(-m)` alone is 0 for the sums of long messages.
    let mut term = -m;
    let mut sum = term.exp();
    for i in 1..half {
        term += (m / f64::from(i)).ln();
        sum += term.exp();
    }
    sum.min(1.0)
}

/// How many sightings the assumption "even" is worth.
const STRENGTH: f64 = 0.45;
/// Nearer to one half a word says nothing.
const EVEN: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    const TOTALS: Totals = Totals { junk: 50, good: 50 };

    #[test]
    fn the_distribution_is_that_of_the_tables() {
        // 95 % points: 5.991 with 2 degrees of freedom, 18.307 with 10, 124.342 with 100.
        for (value, half) in [(5.991, 1), (18.307, 5), (124.342, 50)] {
            assert!((chi_square(value, half) - 0.05).abs() < 1e-4);
        }
        assert_eq!(chi_square(0.0, 3), 1.0);
        assert!(chi_square(4_000.0, 150) < 1e-9);
    }

    #[test]
    fn words_of_one_kind_decide_and_contradictions_say_nothing() {
        let of = |junk, good| Counts { junk, good };
        let junk = junk_permille(TOTALS, vec![of(9, 0); 20]).unwrap();
        let good = junk_permille(TOTALS, vec![of(0, 9); 20]).unwrap();
        assert!(junk > 990 && good < 10, "{junk} {good}");
        let both = [vec![of(9, 0); 20], vec![of(0, 9); 20]].concat();
        assert_eq!(junk_permille(TOTALS, both), Some(500));
        assert_eq!(junk_permille(TOTALS, vec![of(5, 5); 20]), None, "even");
        assert_eq!(junk_permille(TOTALS, vec![of(0, 0); 20]), None, "unknown");
    }

    #[test]
    fn too_few_lessons_of_either_kind_say_nothing() {
        let few = LESSONS_MIN - 1;
        for (junk, good) in [(few, 100), (100, few), (0, 0)] {
            let counts = vec![Counts { junk: 9, good: 0 }; 20];
            assert_eq!(junk_permille(Totals { junk, good }, counts), None);
        }
    }

    #[test]
    fn any_counts_give_a_number_in_range() {
        for junk in [0, 1, 255, u32::MAX] {
            for good in [0, 1, 255, u32::MAX] {
                let counts = vec![
                    Counts {
                        junk,
                        good: good / 2
                    };
                    600
                ];
                let totals = Totals {
                    junk: 10,
                    good: 4_000_000_000,
                };
                assert!(junk_permille(totals, counts).is_none_or(|found| found <= 1_000));
            }
        }
    }
}
