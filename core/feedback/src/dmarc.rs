//! Aggregate reports of DMARC (RFC 9990): what is counted, as lines; the XML that goes out. `dmarc/read.rs`: the XML that comes in.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::limits::SIGNATURES_MAX;
use crate::text::{bounded, clean, escaped};

mod read;

pub use read::{Feedback, Record, read};

/// What was published, and where reports go: the head of a sheet.
/// Kept with the counts of its day: a domain that changes its record at noon gets a report that names what was published last, as the format
/// has room for one policy only.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Published {
    pub policy: String,
    pub subdomains: String,
    pub absent: String,
    pub strict_dkim: bool,
    pub strict_spf: bool,
    pub testing: bool,
    pub failure_options: String,
    pub destinations: String,
}

/// One signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub domain: String,
    pub selector: String,
    /// In the words of RFC 8601.
    pub result: String,
}

/// What messages of one line have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub source: IpAddr,
    /// `none`, `pass`, `quarantine` or `reject`.
    pub disposition: String,
    pub dkim_aligned: bool,
    pub spf_aligned: bool,
    /// Why what was asked for was not done: a type of RFC 9990 §3.1.6, or empty.
    pub reason: String,
    pub header_from: String,
    /// Empty for the null reverse-path.
    pub envelope_from: String,
    pub spf_domain: String,
    pub spf_result: String,
    /// At most `limits::SIGNATURES_MAX` are kept.
    pub signatures: Vec<Signature>,
}

/// A whole report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report<'r> {
    pub organization: &'r str,
    /// Whom to ask about it.
    pub contact: &'r str,
    pub id: &'r str,
    /// The domain whose policy it is about.
    pub domain: &'r str,
    /// Of the reporter.
    pub submitter: &'r str,
    pub begin: u64,
    pub end: u64,
    pub published: &'r Published,
    pub rows: &'r [(Row, u64)],
    /// Messages that are not in any row, because there were too many different ones.
    pub other: u64,
}

impl Published {
    pub fn encode(&self) -> Vec<u8> {
        let flag = |is: bool| if is { "y" } else { "" };
        let fields = [
            &self.policy[..],
            &self.subdomains,
            &self.absent,
            flag(self.strict_dkim),
            flag(self.strict_spf),
            flag(self.testing),
            &bounded(&self.failure_options, 64),
            &bounded(&self.destinations, 1_024),
        ];
        fields
            .map(|text| bounded(text, 1_024))
            .join("\t")
            .into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Option<Published> {
        let text = std::str::from_utf8(bytes).ok()?;
        let fields: Vec<String> = text.split('\t').map(str::to_owned).collect();
        let [
            policy,
            subdomains,
            absent,
            dkim,
            spf,
            testing,
            options,
            destinations,
        ] = <[String; 8]>::try_from(fields).ok()?;
        Some(Published {
            policy,
            subdomains,
            absent,
            strict_dkim: dkim == "y",
            strict_spf: spf == "y",
            testing: testing == "y",
            failure_options: options,
            destinations,
        })
    }
}

impl Row {
    /// Rows that are the same have the same bytes.
    pub fn encode(&self) -> Vec<u8> {
        let result = |is: bool| if is { "pass" } else { "fail" };
        let mut fields = vec![
            self.source.to_string(),
            self.disposition.clone(),
            result(self.dkim_aligned).to_owned(),
            result(self.spf_aligned).to_owned(),
            self.reason.clone(),
            bounded(&self.header_from, NAME_BYTES_MAX),
            bounded(&self.envelope_from, NAME_BYTES_MAX),
            bounded(&self.spf_domain, NAME_BYTES_MAX),
            self.spf_result.clone(),
        ];
        for one in self.signatures.iter().take(SIGNATURES_MAX) {
            fields.push(bounded(&one.domain, SIGNER_BYTES_MAX));
            fields.push(bounded(&one.selector, SIGNER_BYTES_MAX));
            fields.push(one.result.clone());
        }
        let plain = fields.iter().map(|field| clean(field));
        plain.collect::<Vec<_>>().join("\t").into_bytes()
    }

    pub fn decode(bytes: &[u8]) -> Option<Row> {
        let mut fields = std::str::from_utf8(bytes).ok()?.split('\t');
        let mut next = || fields.next().map(str::to_owned);
        let mut row = Row {
            source: next()?.parse().ok()?,
            disposition: next()?,
            dkim_aligned: next()? == "pass",
            spf_aligned: next()? == "pass",
            reason: next()?,
            header_from: next()?,
            envelope_from: next()?,
            spf_domain: next()?,
            spf_result: next()?,
            signatures: Vec::new(),
        };
        while let Some(domain) = next() {
            row.signatures.push(Signature {
                domain,
                selector: next()?,
                result: next()?,
            });
        }
        Some(row)
    }
}

impl Report<'_> {
    /// The elements in the order of RFC 9990 §3.1.1.
    /// Written by hand and not by a serializer: the order of elements is part of the format, each text goes through `escaped`, and what is not known
    /// has no element rather than an empty one.
    pub fn xml(&self) -> String {
        let mut out = String::with_capacity(1_024 + self.rows.len() * 700);
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        out.push_str(
            "<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n<version>1.0</version>\n",
        );
        let _ = write!(
            out,
            "<report_metadata>{}{}{}<date_range><begin>{}</begin><end>{}</end></date_range>",
            element("org_name", self.organization),
            element("email", self.contact),
            element("report_id", self.id),
            self.begin,
            self.end,
        );
        // The reader would otherwise take the sum of the rows for all the mail of the day.
        if self.other > 0 {
            let words = format!(
                "{} messages are left out: there were more different rows than are counted",
                self.other
            );
            out.push_str(&element("error", &words));
        }
        out.push_str(&element("generator", "Ringpost"));
        out.push_str("</report_metadata>\n");
        self.put_policy(&mut out);
        for (row, count) in self.rows {
            put_row(&mut out, row, *count);
        }
        out.push_str("</feedback>\n");
        out
    }

    fn put_policy(&self, out: &mut String) {
        let published = self.published;
        let mode = |is_strict: bool| if is_strict { "s" } else { "r" };
        out.push_str("<policy_published>");
        out.push_str(&element("domain", self.domain));
        out.push_str(&element("discovery_method", "treewalk"));
        out.push_str(&element("p", &published.policy));
        for (name, value) in [
            ("sp", &published.subdomains[..]),
            ("np", &published.absent),
            ("fo", &published.failure_options),
        ] {
            if !value.is_empty() {
                out.push_str(&element(name, value));
            }
        }
        out.push_str(&element("adkim", mode(published.strict_dkim)));
        out.push_str(&element("aspf", mode(published.strict_spf)));
        out.push_str(&element(
            "testing",
            if published.testing { "y" } else { "n" },
        ));
        out.push_str("</policy_published>\n");
    }
}

/// `policy_evaluated` has the aligned results, `auth_results` the raw ones: a signature of another domain passes below and fails above, and
/// that difference is what a domain's owner reads these reports for.
fn put_row(out: &mut String, row: &Row, count: u64) {
    let result = |is: bool| if is { "pass" } else { "fail" };
    let _ = write!(
        out,
        "<record><row><source_ip>{}</source_ip><count>{count}</count><policy_evaluated>{}{}{}",
        row.source,
        element("disposition", &row.disposition),
        element("dkim", result(row.dkim_aligned)),
        element("spf", result(row.spf_aligned)),
    );
    if !row.reason.is_empty() {
        let _ = write!(out, "<reason>{}</reason>", element("type", &row.reason));
    }
    let _ = write!(
        out,
        "</policy_evaluated></row><identifiers>{}{}</identifiers><auth_results>",
        element("header_from", &row.header_from),
        element("envelope_from", &row.envelope_from),
    );
    for one in &row.signatures {
        let _ = write!(
            out,
            "<dkim>{}{}{}</dkim>",
            element("domain", &one.domain),
            element("selector", &one.selector),
            element("result", &one.result),
        );
    }
    // RFC 9990 §3.1.1.12: of SPF the check of the reverse-path alone.
    if !row.envelope_from.is_empty() {
        let _ = write!(
            out,
            "<spf>{}<scope>mfrom</scope>{}</spf>",
            element("domain", &row.spf_domain),
            element("result", &row.spf_result),
        );
    }
    out.push_str("</auth_results></record>\n");
}

fn element(name: &str, text: &str) -> String {
    format!("<{name}>{}</{name}>", escaped(text))
}

/// A name in a line: with all of them a line has no more than the tenant takes.
const NAME_BYTES_MAX: usize = 100;
const SIGNER_BYTES_MAX: usize = 50;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row() -> Row {
        Row {
            source: IpAddr::from([192, 0, 2, 1]),
            disposition: "reject".to_owned(),
            dkim_aligned: false,
            spf_aligned: false,
            reason: String::new(),
            header_from: "news.example.org".to_owned(),
            envelope_from: "example.net".to_owned(),
            spf_domain: "example.net".to_owned(),
            spf_result: "softfail".to_owned(),
            signatures: vec![Signature {
                domain: "example.net".to_owned(),
                selector: "s<1>".to_owned(),
                result: "pass".to_owned(),
            }],
        }
    }

    pub(crate) fn published() -> Published {
        Published {
            policy: "reject".to_owned(),
            subdomains: "none".to_owned(),
            failure_options: "1".to_owned(),
            destinations: "mailto:a@b.example".to_owned(),
            strict_spf: true,
            ..Published::default()
        }
    }

    pub(crate) fn xml() -> String {
        let passed = Row {
            disposition: "pass".to_owned(),
            dkim_aligned: true,
            signatures: Vec::new(),
            envelope_from: String::new(),
            ..row()
        };
        Report {
            organization: "Here & There",
            contact: "dmarc@here.example",
            id: "1.example.org@here.example",
            domain: "example.org",
            submitter: "here.example",
            begin: 1_700_000_000,
            end: 1_700_086_400,
            published: &published(),
            rows: &[(row(), 3), (passed, 40)],
            other: 7,
        }
        .xml()
    }

    #[test]
    fn lines_and_heads_come_back_as_they_were() {
        assert_eq!(Row::decode(&row().encode()), Some(row()));
        let bare = Row {
            signatures: Vec::new(),
            source: "2001:db8::1".parse().expect("an address"),
            ..row()
        };
        assert_eq!(Row::decode(&bare.encode()), Some(bare));
        assert_eq!(Published::decode(&published().encode()), Some(published()));
        let long = "x\t".repeat(400);
        let wide = Row {
            header_from: long.clone(),
            envelope_from: long.clone(),
            spf_domain: long.clone(),
            signatures: vec![
                Signature {
                    domain: long.clone(),
                    selector: long.clone(),
                    result: "permerror".to_owned(),
                };
                9
            ],
            ..row()
        };
        assert!(wide.encode().len() <= 700, "{}", wide.encode().len());
        assert_eq!(
            Row::decode(&wide.encode()).map(|row| row.signatures.len()),
            Some(3)
        );
        for bad in [&b""[..], b"1.2.3.4", b"\xff", b"a\tb\tc"] {
            assert_eq!(Row::decode(bad), None);
            assert_eq!(Published::decode(bad), None);
        }
    }

    /// The order and the number of elements are the schema's (RFC 9990, appendix A).
    #[test]
    fn a_report_has_the_elements_of_the_schema_in_its_order() {
        let xml = xml();
        let mut at = 0;
        for wanted in [
            "<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">",
            "<version>1.0</version>",
            "<report_metadata><org_name>Here &amp; There</org_name><email>",
            "<date_range><begin>1700000000</begin><end>1700086400</end></date_range>",
            "<error>7 messages are left out",
            "<policy_published><domain>example.org</domain><discovery_method>treewalk</discovery_method><p>reject</p><sp>none</sp><fo>1</fo>",
            "<adkim>r</adkim><aspf>s</aspf><testing>n</testing></policy_published>",
            "<record><row><source_ip>192.0.2.1</source_ip><count>3</count><policy_evaluated><disposition>reject</disposition><dkim>fail</dkim><spf>fail</spf></policy_evaluated></row>",
            "<identifiers><header_from>news.example.org</header_from><envelope_from>example.net</envelope_from></identifiers>",
            "<auth_results><dkim><domain>example.net</domain><selector>s&lt;1&gt;</selector><result>pass</result></dkim><spf><domain>example.net</domain><scope>mfrom</scope><result>softfail</result></spf></auth_results></record>",
            "<disposition>pass</disposition>",
            "<envelope_from></envelope_from></identifiers><auth_results></auth_results></record>",
            "</feedback>",
        ] {
            let found = xml[at..].find(wanted);
            at += found.unwrap_or_else(|| panic!("{wanted} in {xml}"));
        }
    }
}
