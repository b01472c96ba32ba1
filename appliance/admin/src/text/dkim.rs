//! DKIM keys, for people.

use plan::units::date;

use crate::dkim::{DkimDetail, DkimLine, DkimState};
use crate::table::table;

pub fn list(lines: &[DkimLine]) -> String {
    if lines.is_empty() {
        return "no keys: `dkim make DOMAIN` makes one".to_owned();
    }
    let row = |line: &DkimLine| {
        vec![
            line.selector.clone(),
            line.algorithm.name().to_owned(),
            line.state.name().to_owned(),
            date(line.made_unix_s),
        ]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    table(&["SELECTOR", "ALGORITHM", "STATE", "MADE"], &rows)
}

pub fn detail(detail: &DkimDetail) -> String {
    let key = &detail.key;
    let (domain, selector) = (&key.domain, &key.selector);
    let next = match key.state {
        DkimState::Made => format!(
            "Publish the record, wait until it is visible, then: ringpostctl dkim activate {domain} {selector}"
        ),
        DkimState::Active => format!(
            "The key signs. Keep the record published. To replace the key: ringpostctl dkim make {domain}"
        ),
        DkimState::Retired => format!(
            "The key signs no more. Keep the record published for a week, delete it, then: ringpostctl dkim remove {domain} {selector}"
        ),
    };
    format!(
        "key     {selector} of {domain}, {}, {}, made {}\n\nAs a line of a zone file:\n\n{}\n\nFor a form of a DNS provider:\n\nname    {}\ntype    TXT\ntext    {}\n\n{next}",
        key.algorithm.name(),
        key.state.name(),
        date(key.made_unix_s),
        detail.record_zone,
        detail.record_name,
        detail.record_text,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkim::DkimAlgorithm;

    #[test]
    fn a_key_is_shown_with_its_record_and_the_next_step() {
        let line = |state| DkimLine {
            domain: "example.org".into(),
            selector: "r1".into(),
            algorithm: DkimAlgorithm::Rsa2048,
            state,
            made_unix_s: 0,
        };
        let shown = |state| {
            detail(&DkimDetail {
                key: line(state),
                record_name: "r1._domainkey.example.org".into(),
                record_text: "v=DKIM1; k=rsa; p=AA".into(),
                record_zone: "r1._domainkey.example.org. IN TXT \"v=DKIM1; k=rsa; p=AA\"".into(),
            })
        };
        let made = shown(DkimState::Made);
        assert!(
            made.contains("\n\nr1._domainkey.example.org. IN TXT \"v="),
            "{made}"
        );
        assert!(made.contains("text    v=DKIM1; k=rsa; p=AA\n"), "{made}");
        assert!(
            made.ends_with("then: ringpostctl dkim activate example.org r1"),
            "{made}"
        );
        let retired = shown(DkimState::Retired);
        assert!(
            retired.ends_with("ringpostctl dkim remove example.org r1"),
            "{retired}"
        );
        let listed = list(&[line(DkimState::Active)]);
        assert!(
            listed.contains("r1") && listed.contains("active"),
            "{listed}"
        );
        assert!(list(&[]).contains("dkim make"));
    }

    #[test]
    fn algorithms_are_read_as_they_are_shown() {
        for algorithm in [DkimAlgorithm::Rsa2048, DkimAlgorithm::Ed25519] {
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            let written = serde_json::to_value(algorithm).unwrap();
            assert_eq!(written, algorithm.name());
        }
        assert!("rsa-1024".parse::<DkimAlgorithm>().is_err());
    }
}
