//! The twin of a resolver: a table in memory, on a host's clock. It can be set to fail, and to be slow.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use base::Host;
use base::host::sleep_us;

use crate::limits::{ADDRESSES_MAX, LOOKUP_DEADLINE};
use crate::name::{self, Name};
use crate::question::{Kind, Value};
use crate::resolver::bounded_records;
use crate::{Exchangers, NameFault, Names};

/// Names of a test's own world. Clones are the same table. A name that is not in it does not exist.
#[derive(Clone)]
pub struct Table {
    shared: Rc<Shared>,
}

/// What the clones share.
struct Shared {
    /// Whose clock look-ups wait on.
    host: Rc<dyn Host>,
    /// Shuffles exchangers of equal preference.
    random: RefCell<fastrand::Rng>,
    /// By name, in lower case.
    rows: RefCell<HashMap<String, Row>>,
    /// Counted for tests of caches and bounds.
    lookups: Cell<u64>,
}

/// What is there of one name.
#[derive(Clone, Default)]
struct Row {
    /// `None`: there are no MX records.
    exchangers: Option<Vec<(u16, String)>>,
    /// In the order in which they were given.
    addresses: Vec<IpAddr>,
    /// One for each TXT record.
    texts: Vec<Vec<u8>>,
    /// Of the address whose place this is.
    names: Vec<String>,
    /// SRV records.
    services: Vec<Value>,
    /// TLSA records.
    certificates: Vec<Value>,
    /// Its zone is signed.
    signed: bool,
    /// A validator has no answer about it.
    bogus: bool,
    /// Why it cannot be looked up; `None`: it can.
    fails: Option<String>,
    /// How long a look-up takes.
    takes: Duration,
}

impl Table {
    /// An empty table. `seed` decides the order of exchangers of equal preference.
    pub fn new(host: &Rc<dyn Host>, seed: u64) -> Table {
        Table {
            shared: Rc::new(Shared {
                host: host.clone(),
                random: RefCell::new(fastrand::Rng::with_seed(seed)),
                rows: RefCell::default(),
                lookups: Cell::new(0),
            }),
        }
    }

    /// Mail for `domain` goes to `exchangers`; without any the domain has no MX records. `(0, ".")` alone is a null MX.
    pub fn set_exchangers(&self, domain: &str, exchangers: &[(u16, &str)]) {
        let records: Vec<(u16, String)> = exchangers
            .iter()
            .map(|(preference, host)| (*preference, (*host).to_owned()))
            .collect();
        self.change(domain, |row| {
            row.exchangers = (!records.is_empty()).then_some(records);
        });
    }

    /// `host` has `addresses`, in this order.
    pub fn set_addresses(&self, host: &str, addresses: &[IpAddr]) {
        self.change(host, |row| row.addresses = addresses.to_vec());
    }

    /// `name` has these texts, one for each TXT record.
    pub fn set_texts(&self, name: &str, texts: &[&str]) {
        let texts = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        self.change(name, |row| row.texts = texts);
    }

    /// `name` has these SRV records: priority, weight, port, target.
    pub fn set_services(&self, name: &str, services: &[(u16, u16, u16, &str)]) {
        let services = services.iter().map(|(priority, weight, port, target)| {
            let (priority, weight, port) = (*priority, *weight, *port);
            let target = (*target).to_owned();
            Value::Service {
                priority,
                weight,
                port,
                target,
            }
        });
        self.change(name, |row| row.services = services.collect());
    }

    /// `name` is in a signed zone from now on.
    pub fn set_signed(&self, name: &str) {
        self.change(name, |row| row.signed = true);
    }

    /// The signatures of `name` do not match from now on.
    pub fn set_bogus(&self, name: &str) {
        self.change(name, |row| row.bogus = true);
    }

    /// `name`, in a signed zone, has these TLSA records: usage, selector, matching, data.
    pub fn set_certificates(&self, name: &str, certificates: &[(u8, u8, u8, &[u8])]) {
        let certificates = certificates
            .iter()
            .map(|(usage, selector, matching, data)| {
                let (usage, selector, matching) = (*usage, *selector, *matching);
                let data = data.to_vec();
                Value::Certificate {
                    usage,
                    selector,
                    matching,
                    data,
                }
            });
        self.change(name, |row| {
            row.certificates = certificates.collect();
            row.signed = true;
        });
    }

    /// `address` has these names.
    pub fn set_names_of(&self, address: IpAddr, names: &[&str]) {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.change(&name::reverse(address), |row| row.names = names);
    }

    /// Look-ups of `name` are `Unavailable` from now on; with `None` they are not any more.
    pub fn set_failing(&self, name: &str, reason: Option<&str>) {
        self.change(name, |row| row.fails = reason.map(str::to_owned));
    }

    /// Look-ups of `name` take so long from now on. Past `limits::LOOKUP_DEADLINE` they are `Unavailable` then.
    pub fn set_slow(&self, name: &str, takes: Duration) {
        self.change(name, |row| row.takes = takes);
    }

    /// `name` does not exist any more.
    pub fn remove(&self, name: &str) {
        self.shared.rows.borrow_mut().remove(&key(name));
    }

    /// Calls so far that got as far as the table.
    pub fn lookups(&self) -> u64 {
        self.shared.lookups.get()
    }

    /// Changes the row of `name`, made where it is missing.
    fn change(&self, name: &str, change: impl FnOnce(&mut Row)) {
        change(self.shared.rows.borrow_mut().entry(key(name)).or_default());
    }

    /// The row of `host`, once it is looked up. `None`: there is none.
    async fn look_up(&self, host: &str) -> Result<Option<Row>, NameFault> {
        let shared = &*self.shared;
        shared.lookups.set(shared.lookups.get() + 1);
        let row = shared.rows.borrow().get(host).cloned();
        let Some(row) = row else {
            return Ok(None);
        };
        if !row.takes.is_zero() {
            let takes = row.takes.min(LOOKUP_DEADLINE);
            sleep_us(&*shared.host, takes.as_micros() as u64).await;
        }
        if row.takes > LOOKUP_DEADLINE {
            return Err(NameFault::Unavailable("no answer in time".to_owned()));
        }
        match row.fails {
            Some(reason) => Err(NameFault::Unavailable(reason)),
            None => Ok(Some(row)),
        }
    }
}

impl Names for Table {
    async fn exchangers(&self, domain: &str) -> Result<Exchangers, NameFault> {
        let host = match name::parse(domain).ok_or(NameFault::NoSuchDomain)? {
            Name::Literal(_) => return Ok(Exchangers::implicit(domain.to_owned())),
            Name::Host(host) => host,
        };
        let row = self.look_up(&host).await?.ok_or(NameFault::NoSuchDomain)?;
        match row.exchangers {
            Some(records) => {
                let found = Exchangers::of(records)?;
                Ok(found.shuffled(&mut self.shared.random.borrow_mut()))
            }
            None if row.addresses.is_empty() => Err(NameFault::NoSuchDomain),
            None => Ok(Exchangers::implicit(host)),
        }
    }

    async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, NameFault> {
        let host = match name::parse(host).ok_or(NameFault::NoSuchDomain)? {
            Name::Literal(address) => return Ok(vec![address]),
            Name::Host(host) => host,
        };
        let row = self.look_up(&host).await?.ok_or(NameFault::NoSuchDomain)?;
        match row.addresses {
            none if none.is_empty() => Err(NameFault::NoSuchDomain),
            mut some => {
                some.truncate(ADDRESSES_MAX);
                Ok(some)
            }
        }
    }

    async fn records(&self, name: &str, kind: Kind) -> Result<Vec<Value>, NameFault> {
        let owner = name::owner(name).ok_or(NameFault::NoSuchDomain)?;
        let row = self.look_up(&owner).await?.ok_or(NameFault::NoSuchDomain)?;
        let addresses = |four: bool| {
            let all = row.addresses.iter().copied();
            let values = all.filter(|address| address.is_ipv4() == four);
            values.map(Value::Address).collect()
        };
        let values = match kind {
            Kind::A => addresses(true),
            Kind::Aaaa => addresses(false),
            Kind::Mx => {
                let records = row.exchangers.into_iter().flatten();
                let value = |(preference, host)| Value::Exchanger(preference, host);
                records.map(value).collect()
            }
            Kind::Txt => row.texts.into_iter().map(Value::Text).collect(),
            Kind::Ptr => row.names.into_iter().map(Value::Name).collect(),
            Kind::Srv => row.services,
            Kind::Tlsa => row.certificates,
        };
        bounded_records(values, kind)
    }

    async fn proved_exchangers(&self, domain: &str) -> Result<(Exchangers, bool), NameFault> {
        let (found, proved) = crate::proved_exchangers(self, domain).await?;
        let found = found.shuffled(&mut self.shared.random.borrow_mut());
        Ok((found, proved))
    }

    async fn proved(&self, name: &str, kind: Kind) -> Result<Option<Vec<Value>>, NameFault> {
        let owner = name::owner(name).ok_or(NameFault::NoSuchDomain)?;
        let row = self.look_up(&owner).await?.ok_or(NameFault::NoSuchDomain)?;
        if row.bogus {
            return Err(NameFault::Unavailable("SERVFAIL".to_owned()));
        }
        match row.signed {
            true => self.records(name, kind).await.map(Some),
            false => Ok(None),
        }
    }
}

/// A test that writes a wrong name into its table is wrong itself.
fn key(name: &str) -> String {
    name::owner(name).unwrap_or_else(|| panic!("'{name}' is not a name"))
}

#[cfg(test)]
mod tests {
    use device::sim::SimWorld;

    use super::*;
    use crate::limits::{NAMES_MAX, RECORDS_BYTES_MAX, RECORDS_MAX};

    /// Runs `story` on virtual time.
    fn with_table<F: Future<Output = ()>>(story: impl FnOnce(Table, Rc<dyn Host>) -> F) {
        let world = SimWorld::new(1);
        let host = world.io().host;
        world.block_on(story(Table::new(&host, 1), host));
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_table_answers_as_the_domain_name_system_would() {
        with_table(|table, _host| async move {
            table.set_exchangers(
                "Example.org",
                &[(20, "b.example.org"), (10, "a.example.org")],
            );
            table.set_addresses("a.example.org", &[address("192.0.2.1")]);
            table.set_exchangers("silent.example", &[(0, ".")]);
            let Ok(Exchangers::Hosts(hosts)) = table.exchangers("example.ORG.").await else {
                panic!("it has exchangers");
            };
            assert_eq!(hosts[0].host, "a.example.org");
            assert_eq!(
                table.addresses("a.example.org").await,
                Ok(vec![address("192.0.2.1")])
            );
            assert_eq!(
                table.exchangers("silent.example").await,
                Ok(Exchangers::Nowhere)
            );
            // No MX records: the domain itself, when it has an address.
            assert_eq!(
                table.exchangers("a.example.org").await,
                Ok(Exchangers::implicit("a.example.org".to_owned()))
            );
            let absent = Err(NameFault::NoSuchDomain);
            assert_eq!(table.exchangers("absent.example").await, absent);
            assert_eq!(
                table.addresses("example.org").await,
                Err(NameFault::NoSuchDomain)
            );
            let lookups = table.lookups();
            assert_eq!(table.exchangers("a..b").await, absent);
            assert_eq!(
                table.exchangers("[192.0.2.7]").await,
                Ok(Exchangers::implicit("[192.0.2.7]".to_owned()))
            );
            assert_eq!(
                table.addresses("[192.0.2.7]").await,
                Ok(vec![address("192.0.2.7")])
            );
            assert_eq!(table.lookups(), lookups, "nothing was looked up for these");
        });
    }

    #[test]
    fn records_are_taken_whole_and_a_name_without_any_is_there() {
        with_table(|table, _host| async move {
            table.set_texts("_dmarc.example.org", &["v=DMARC1; p=none", "other"]);
            table.set_exchangers("example.org", &[(10, "a.example.org.")]);
            let four = address("192.0.2.1");
            table.set_addresses("a.example.org", &[four, address("2001:db8::1")]);
            table.set_names_of(four, &["A.example.org.", "not a host", "b.example.org"]);
            let texts = table.texts("_DMARC.example.org.").await;
            assert_eq!(
                texts,
                Ok(vec![b"v=DMARC1; p=none".to_vec(), b"other".to_vec()])
            );
            assert_eq!(table.texts("example.org").await, Ok(Vec::new()));
            let absent = NameFault::NoSuchDomain;
            assert_eq!(table.texts("b.example.org").await, Err(absent.clone()));
            let records = table.records("a.example.org", Kind::A).await;
            assert_eq!(records, Ok(vec![Value::Address(four)]));
            let records = table.records("example.org", Kind::Mx).await;
            let host = "a.example.org.".to_owned();
            assert_eq!(records, Ok(vec![Value::Exchanger(10, host)]));
            table.set_services("_imaps._tcp.example.org", &[(0, 1, 993, "a.example.org.")]);
            let services = table.records("_imaps._tcp.example.org", Kind::Srv).await;
            let service = Value::Service {
                priority: 0,
                weight: 1,
                port: 993,
                target: "a.example.org.".to_owned(),
            };
            assert_eq!(services, Ok(vec![service]));
            let names = table.names_of(four).await;
            let hosts = ["a.example.org", "b.example.org"].map(str::to_owned);
            assert_eq!(names, Ok(hosts.to_vec()));
            assert_eq!(table.names_of(address("2001:db8::1")).await, Err(absent));
        });
    }

    #[test]
    fn too_many_records_are_none_that_count() {
        with_table(|table, _host| async move {
            table.set_texts("many.example", &["x"; RECORDS_MAX + 1]);
            table.set_texts("long.example", &[&"x".repeat(RECORDS_BYTES_MAX + 1)]);
            for name in ["many.example", "long.example"] {
                let found = table.texts(name).await;
                assert!(matches!(found, Err(NameFault::Unavailable(_))), "{name}");
            }
            let four = address("192.0.2.1");
            table.set_names_of(four, &["a.example"; NAMES_MAX + 1]);
            let names = table.names_of(four).await.expect("names");
            assert_eq!(names.len(), NAMES_MAX);
        });
    }

    #[test]
    fn a_slow_name_is_given_up_at_the_deadline_and_a_failing_one_heals() {
        with_table(|table, host| async move {
            table.set_addresses("slow.example", &[address("192.0.2.1")]);
            table.set_slow("slow.example", Duration::from_secs(3));
            assert!(table.addresses("slow.example").await.is_ok());
            assert_eq!(host.now().0, 3_000_000);
            table.set_slow("slow.example", Duration::from_secs(3_600));
            let late = table.exchangers("slow.example").await;
            assert!(matches!(late, Err(NameFault::Unavailable(_))), "{late:?}");
            assert_eq!(host.now().0, 3_000_000 + LOOKUP_DEADLINE.as_micros() as u64);
            table.set_slow("slow.example", Duration::ZERO);
            table.set_failing("slow.example", Some("SERVFAIL"));
            assert_eq!(
                table.addresses("slow.example").await,
                Err(NameFault::Unavailable("SERVFAIL".to_owned()))
            );
            table.set_failing("slow.example", None);
            assert!(table.addresses("slow.example").await.is_ok());
        });
    }
}
