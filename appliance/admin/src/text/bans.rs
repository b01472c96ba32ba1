//! Bans, for people.

use crate::reply::BanLine;
use crate::table::{span, table};

pub fn show(bans: &[BanLine]) -> String {
    if bans.is_empty() {
        return "no address is banned".to_owned();
    }
    let row = |ban: &BanLine| {
        let why = match ban.times {
            0 => "by hand".to_owned(),
            1 => "failures".to_owned(),
            times => format!("failures, {times} times in a row"),
        };
        vec![ban.network.clone(), span(ban.left_s), why]
    };
    let rows: Vec<Vec<String>> = bans.iter().map(row).collect();
    table(&["NETWORK", "ENDS IN", "WHY"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_is_one_line_with_its_reason() {
        let ban = |network: &str, times| BanLine {
            network: network.to_owned(),
            left_s: 600,
            times,
        };
        let text = show(&[
            ban("192.0.2.0/24", 0),
            ban("198.51.100.1", 1),
            ban("2001:db8::/64", 3),
        ]);
        assert_eq!(text.trim_end().lines().count(), 4);
        for words in ["192.0.2.0/24", "by hand", "3 times in a row"] {
            assert!(text.contains(words), "{words} in {text}");
        }
        assert_eq!(show(&[]), "no address is banned");
    }
}
