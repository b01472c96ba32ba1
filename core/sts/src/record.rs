//! The record `_mta-sts` of a domain (RFC 8461 §3.1): that it has a policy, and the name of the present one.

use crate::limits::ID_BYTES_MAX;

/// The `id` of the record among `texts`, the TXT records of `_mta-sts.DOMAIN`. `None`: there is no such record, there are several, or it
/// cannot be read; the domain has no policy then, except one that is kept already.
pub fn id(texts: &[Vec<u8>]) -> Option<String> {
    let mut records = texts.iter().filter(|text| text.starts_with(b"v=STSv1;"));
    let (record, None) = (records.next()?, records.next()) else {
        return None;
    };
    let fields = std::str::from_utf8(record).ok()?.split(';').skip(1);
    for field in fields {
        let Some((name, value)) = field.split_once('=') else {
            match field.trim_matches([' ', '\t']).is_empty() {
                true => continue,
                false => return None,
            }
        };
        // RFC 8461 §3.1: the first of several counts, and what is unknown is passed over.
        if name.trim_matches([' ', '\t']) == "id" {
            let id = value.trim_matches([' ', '\t']);
            return is_id(id).then(|| id.to_owned());
        }
    }
    None
}

/// RFC 8461 §3.1: 1 to 32 letters and digits.
pub fn is_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> Option<String> {
        let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        id(&texts)
    }

    #[test]
    fn a_record_names_the_present_policy() {
        let thirty_two = "a".repeat(32);
        for (text, wanted) in [
            ("v=STSv1; id=20160831085700Z;", "20160831085700Z"),
            ("v=STSv1;id=1", "1"),
            ("v=STSv1; \tid=abc \t; x=y", "abc"),
            ("v=STSv1; x=y; id=abc; id=def;", "abc"),
            (&format!("v=STSv1; id={thirty_two};"), thirty_two.as_str()),
        ] {
            assert_eq!(of(&[text]).as_deref(), Some(wanted), "{text}");
        }
        assert_eq!(
            of(&["other", "v=STSv1; id=7;", "v=spf1 -all"]).as_deref(),
            Some("7")
        );
    }

    #[test]
    fn what_is_no_record_names_none() {
        for text in [
            "",
            "v=STSv1",
            "v=STSv1 ; id=1",
            "V=STSv1; id=1",
            " v=STSv1; id=1",
            "v=STSv2; id=1",
            "v=STSv1; ID=1",
            "v=STSv1; id=",
            "v=STSv1; id=a-b",
            "v=STSv1; nonsense; id=1",
            &format!("v=STSv1; id={};", "a".repeat(33)),
        ] {
            assert_eq!(of(&[text]), None, "{text}");
        }
        assert_eq!(of(&["v=STSv1; id=1;", "v=STSv1; id=1;"]), None);
        assert_eq!(of(&[]), None);
        assert_eq!(id(&[b"v=STSv1; id=1; x=\xff".to_vec()]), None);
    }
}
