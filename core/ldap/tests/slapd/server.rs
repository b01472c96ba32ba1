//! OpenLDAP's slapd (the package `slapd`), on a high port of the loopback, with its data in a folder of the test's. No service of the system is touched.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const BASE: &str = "dc=example,dc=org";
pub const SEARCH: &str = "cn=search,dc=example,dc=org";
pub const SECRET: &str = "search secret";
const ADMIN: &str = "cn=admin,dc=example,dc=org";
const ADMIN_SECRET: &str = "admin secret";
const SCHEMAS: [&str; 3] = ["core", "cosine", "inetorgperson"];
const WITHIN: Duration = Duration::from_secs(60);

/// A server with people of its own. It ends with this.
pub struct Slapd {
    folder: tempfile::TempDir,
    port: u16,
    process: Option<Child>,
}

/// Whether the programs are there. Where they are not, it is said, and a run of the continuous integration fails.
pub fn is_installed() -> bool {
    let is_there =
        Path::new("/usr/sbin/slapd").exists() && Path::new("/usr/bin/ldapmodify").exists();
    if !is_there {
        let ci = std::env::var_os("RINGPOST_CI").is_none();
        assert!(ci, "the packages slapd and ldap-utils: missing");
        eprintln!("skipped: the packages slapd and ldap-utils: missing");
    }
    is_there
}

/// A person as LDIF has one; the password is `pass NAME`.
pub fn person(name: &str, mail: &[&str]) -> String {
    let mail: String = mail.iter().map(|mail| format!("mail: {mail}\n")).collect();
    format!(
        "dn: uid={name},{BASE}\nobjectClass: inetOrgPerson\nuid: {name}\ncn: {name}\nsn: {name}\nuserPassword: pass {name}\n{mail}\n"
    )
}

/// A group; members are distinguished names without the base.
pub fn group(name: &str, mail: Option<&str>, members: &[&str]) -> String {
    let mail = mail.map_or(String::new(), |mail| {
        format!("objectClass: extensibleObject\nmail: {mail}\n")
    });
    let members: String = members
        .iter()
        .map(|member| format!("member: {member},{BASE}\n"))
        .collect();
    format!("dn: cn={name},{BASE}\nobjectClass: groupOfNames\ncn: {name}\n{mail}{members}\n")
}

impl Slapd {
    /// Started, with these entries below the base. `tls`: certificate and key, in PEM.
    pub fn start(entries: &str, tls: Option<(&str, &str)>) -> Slapd {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let mut slapd = Slapd {
            folder,
            port,
            process: None,
        };
        let place = slapd.folder.path().to_owned();
        fs::create_dir(place.join("data")).expect("a folder");
        let schemas: String = SCHEMAS
            .iter()
            .map(|name| format!("include /etc/ldap/schema/{name}.schema\n"))
            .collect();
        let tls = tls.map_or(String::new(), |(certificate, key)| {
            fs::write(place.join("tls.pem"), certificate).expect("it is ours");
            fs::write(place.join("tls.key"), key).expect("it is ours");
            let at = |name| place.join(name).display().to_string();
            format!(
                "TLSCertificateFile {}\nTLSCertificateKeyFile {}\n",
                at("tls.pem"),
                at("tls.key")
            )
        });
        let settings = format!(
            "{schemas}modulepath /usr/lib/ldap\nmoduleload back_mdb\npidfile {0}/pid\nargsfile {0}/args\n{tls}\
             database mdb\nsuffix \"{BASE}\"\nrootdn \"{ADMIN}\"\nrootpw \"{ADMIN_SECRET}\"\ndirectory {0}/data\nmaxsize 33554432\nsizelimit unlimited\n\
             access to attrs=userPassword by anonymous auth by * none\naccess to * by dn.exact=\"{SEARCH}\" read by * none\n",
            place.display()
        );
        fs::write(place.join("slapd.conf"), settings).expect("it is ours");
        let first = format!(
            "dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: example\n\n\
             dn: {SEARCH}\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: search\nuserPassword: {SECRET}\n\n"
        );
        fs::write(place.join("data.ldif"), first + entries).expect("it is ours");
        let added = Command::new("/usr/sbin/slapadd")
            .arg("-f")
            .arg(place.join("slapd.conf"))
            .arg("-l")
            .arg(place.join("data.ldif"))
            .output()
            .expect("it is installed");
        assert!(
            added.status.success(),
            "{}",
            String::from_utf8_lossy(&added.stderr)
        );
        slapd.begin();
        slapd
    }

    /// Starts it again, with the data that it had.
    pub fn begin(&mut self) {
        let log = fs::File::create(self.folder.path().join("log")).expect("it is ours");
        let process = Command::new("/usr/sbin/slapd")
            .args(["-d", "0", "-h", &self.url(), "-f"])
            .arg(self.folder.path().join("slapd.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(process.expect("it is installed"));
        let begun = Instant::now();
        while TcpStream::connect(self.address()).is_err() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(begun.elapsed() < WITHIN, "slapd does not start: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    pub fn url(&self) -> String {
        format!("ldap://127.0.0.1:{}", self.port)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Performs changes (LDIF of RFC 2849).
    pub fn change(&self, ldif: &str) {
        let file = self.path("change.ldif");
        fs::write(&file, ldif).expect("it is ours");
        let changed = Command::new("/usr/bin/ldapmodify")
            .args([
                "-x",
                "-H",
                &self.url(),
                "-D",
                ADMIN,
                "-w",
                ADMIN_SECRET,
                "-f",
            ])
            .arg(&file)
            .output()
            .expect("it is installed");
        assert!(
            changed.status.success(),
            "{}",
            String::from_utf8_lossy(&changed.stderr)
        );
    }
}

impl Drop for Slapd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Two tests may be given the same one only if one of them has not bound it yet; then slapd says so and the test fails.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("bound").port()
}
