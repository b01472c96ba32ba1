//! The OEM's keys: Secure Boot (PK, KEK, db) and the signature of updates; made by one command, kept outside the tree.
//!
//! Private keys are files of mode 0600 in a folder of mode 0700. They are shown to the signing tools read-only and never copied.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::{Inputs, enrol};
use minisign::{KeyPair, SecretKeyBox};

use crate::places::{self, Places};
use crate::progress::Progress;
use crate::tools::Tools;

/// Its presence marks a folder of keys.
pub const CERTIFICATE: &str = "db.crt";
const HIERARCHY: [&str; 3] = ["PK", "KEK", "db"];
/// Firmware must know RSA 2048 (UEFI 2.10, 32.2); larger ones are refused by some boards.
const ALGORITHM: &str = "rsa:2048";
/// Firmware does not look at dates; people and tools do. Twenty years outlive a box.
const DAYS: &str = "7300";

/// The arguments of `cargo xtask keys`.
#[derive(Debug, Clone, clap::Args)]
pub struct KeyWishes {
    /// Where the keys go; outside the tree [default: ringpost-keys in the user's data folder]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Whose keys they are; stands in the certificates
    #[arg(long, default_value = "Ringpost OEM")]
    pub owner: String,
    /// A certificate (DER) that firmware shall trust too, for instance that of a network card's option ROM; may be given again
    #[arg(long, value_name = "FILE")]
    pub also: Vec<PathBuf>,
    /// One JSON object per line on standard output instead of text for people
    #[arg(long)]
    pub json: bool,
}

/// A folder of keys.
pub struct Keys {
    folder: PathBuf,
}

pub fn default_folder() -> Result<PathBuf, String> {
    Ok(places::user_folder("XDG_DATA_HOME", ".local/share")?.join("ringpost-keys"))
}

pub fn run(root: &Path, wishes: &KeyWishes) -> Result<(), String> {
    let folder = match &wishes.to {
        Some(folder) => {
            std::path::absolute(folder).map_err(|error| format!("{}: {error}", folder.display()))?
        }
        None => default_folder()?,
    };
    // A key that is in the tree once is in its history for ever.
    if folder.starts_with(root) {
        return Err(format!(
            "{}: keys do not belong into the tree; choose a folder outside with --to",
            folder.display()
        ));
    }
    // Overwriting them would make every box in the field refuse the next update, and there is no way back.
    if folder.join(CERTIFICATE).exists() {
        return Err(format!(
            "{}: there are keys already; boxes trust them. Choose another folder with --to, or move the old ones away",
            folder.display()
        ));
    }
    if wishes.owner.is_empty() || wishes.owner.chars().any(|c| c == '/' || c.is_control()) {
        return Err("--owner: plain text without slashes".into());
    }
    let places = Places::of(root, None)?;
    let progress = Progress::begin(wishes.json, &places.logs)?;
    let tools = progress.step("tools", || Tools::ready(&places, &progress))?;
    progress.step("keys", || make(&tools, &progress, &folder, wishes))?;
    progress.note(&format!(
        "the keys are in {}; the .key files can sign images for your appliances: keep a copy offline",
        folder.display()
    ));
    Ok(())
}

fn make(
    tools: &Tools,
    progress: &Progress,
    folder: &Path,
    wishes: &KeyWishes,
) -> Result<(), String> {
    places::make(folder)?;
    private(folder, 0o700)?;
    let run = |program: &str, arguments: &[&str]| {
        let mut command = tools.sandboxed(program, &[(folder, true)]);
        command.args(arguments);
        progress.tool("keys", &mut command)
    };
    let at = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let owner = uuid()?;
    places::write(&folder.join("owner.guid"), format!("{owner}\n"))?;
    for name in HIERARCHY {
        let (key, certificate) = (at(&format!("{name}.key")), at(&format!("{name}.crt")));
        let subject = format!("/CN={} {name}/", wishes.owner);
        run(
            "openssl",
            &[
                "req",
                "-new",
                "-x509",
                "-sha256",
                "-nodes",
                "-newkey",
                ALGORITHM,
                "-days",
                DAYS,
                "-subj",
                &subject,
                "-keyout",
                &key,
                "-out",
                &certificate,
            ],
        )?;
        private(Path::new(&key), 0o600)?;
        let der = at(&format!("{name}.der"));
        run(
            "openssl",
            &["x509", "-in", &certificate, "-outform", "DER", "-out", &der],
        )?;
        let list = at(&format!("{name}.esl"));
        run(
            "sbsiglist",
            &["--owner", &owner, "--type", "x509", "--output", &list, &der],
        )?;
    }
    for (index, also) in wishes.also.iter().enumerate() {
        let (der, list) = (
            at(&format!("also-{index}.der")),
            at(&format!("also-{index}.esl")),
        );
        places::copy(also, Path::new(&der))?;
        run(
            "sbsiglist",
            &["--owner", &owner, "--type", "x509", "--output", &list, &der],
        )?;
        let mut all = places::read(&folder.join("db.esl"))?;
        all.extend(places::read(Path::new(&list))?);
        places::write(&folder.join("db.esl"), all)?;
    }
    // Each list is signed by the key above it; the platform key by itself.
    for (name, above) in [("PK", "PK"), ("KEK", "PK"), ("db", "KEK")] {
        let list = places::read(&folder.join(format!("{name}.esl")))?;
        let (bytes, signature) = (at("to-sign"), at("signature"));
        places::write(Path::new(&bytes), enrol::to_sign(name, &list))?;
        run(
            "openssl",
            &[
                "cms",
                "-sign",
                "-binary",
                "-md",
                "sha256",
                "-noattr",
                "-outform",
                "DER",
                "-signer",
                &at(&format!("{above}.crt")),
                "-inkey",
                &at(&format!("{above}.key")),
                "-in",
                &bytes,
                "-out",
                &signature,
            ],
        )?;
        let auth = folder.join(format!("{name}.auth"));
        enrol::write(&auth, &places::read(Path::new(&signature))?, &list)?;
        for leftover in [bytes, signature] {
            fs::remove_file(&leftover).map_err(|error| format!("{leftover}: {error}"))?;
        }
    }
    update_key(folder)
}

/// A minisign key without a password: the folder's mode guards it, and builds run unattended.
fn update_key(folder: &Path) -> Result<(), String> {
    let told = |error: minisign::PError| format!("update key: {error}");
    let pair = KeyPair::generate_unencrypted_keypair().map_err(told)?;
    let secret = pair.sk.to_box(None).map_err(told)?.into_string();
    let path = folder.join("update.key");
    // The mode is set while the file is still empty: no moment in which others could read the key.
    places::write(&path, "")?;
    private(&path, 0o600)?;
    places::write(&path, secret)?;
    let public = pair.pk.to_box().map_err(told)?.into_string();
    places::write(&folder.join("update.pub"), public)
}

impl Keys {
    pub fn open(folder: &Path) -> Result<Keys, String> {
        // All of them, now: a build that finds one missing at its end has wasted ten minutes.
        for file in ["db.key", CERTIFICATE, "update.key", "update.pub", "PK.auth"] {
            if !folder.join(file).is_file() {
                return Err(format!(
                    "{}: there is no {file}; `cargo xtask keys --to DIR` makes all of them",
                    folder.display()
                ));
            }
        }
        let folder =
            fs::canonicalize(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Keys { folder })
    }

    /// What a box holds to check updates.
    pub fn update_public(&self) -> PathBuf {
        self.folder.join("update.pub")
    }

    /// The lists that systemd-boot enrols when firmware is in setup mode.
    pub fn enrolment(&self) -> Vec<PathBuf> {
        HIERARCHY
            .iter()
            .map(|name| self.folder.join(format!("{name}.auth")))
            .collect()
    }

    /// Authenticode, by the db key. `from` and `to` may be the same file.
    pub fn sign(&self, inputs: &Inputs<'_>, from: &Path, to: &Path) -> Result<(), String> {
        let work = &inputs.places.work;
        // Through copies in the work folder, which is the only one that the signing tool may write to.
        let (unsigned, signed) = (work.join("unsigned.efi"), work.join("signed.efi"));
        places::copy(from, &unsigned)?;
        let mut command = inputs
            .tools
            .sandboxed("sbsign", &[(work, true), (&self.folder, false)]);
        command
            .arg("--key")
            .arg(self.folder.join("db.key"))
            .arg("--cert")
            .arg(self.folder.join(CERTIFICATE))
            .arg("--output")
            .arg(&signed)
            .arg(&unsigned);
        inputs.progress.tool("sbsign", &mut command)?;
        places::copy(&signed, to)
    }

    /// The signature of an update, as `ringpost-update` wants it: `FILE.minisig`, the claim in its signed comment.
    pub fn sign_update(&self, file: &Path, version: &str) -> Result<PathBuf, String> {
        let told = |error: minisign::PError| format!("update key: {error}");
        let secret = places::read(&self.folder.join("update.key"))?;
        let secret = SecretKeyBox::from_string(&String::from_utf8_lossy(&secret))
            .and_then(SecretKeyBox::into_unencrypted_secret_key)
            .map_err(told)?;
        let bytes = fs::File::open(file).map_err(|error| format!("{}: {error}", file.display()))?;
        // In the comment that the signature covers. An old image with a new name is found out by it, and so is one for another architecture.
        let claim = format!("product=ringpost arch=x86_64 version={version}");
        let signature = minisign::sign(None, &secret, bytes, Some(&claim), None).map_err(told)?;
        let mut path = file.as_os_str().to_owned();
        path.push(".minisig");
        let path = PathBuf::from(path);
        places::write(&path, signature.into_string())?;
        Ok(path)
    }
}

/// OVMF's variables with our keys in them and Secure Boot on: what an enrolled board has, for a guest.
pub fn enrolled_vars(inputs: &Inputs<'_>, keys: &Keys) -> Result<PathBuf, String> {
    let work = &inputs.places.work;
    let template = work.join("vars-empty.fd");
    let output = inputs.places.output.join("OVMF_VARS.enrolled.fd");
    let source = Path::new(crate::machine::OVMF_VARS);
    if !source.exists() {
        return Err(format!(
            "{}: not there; `apt-get install ovmf`",
            source.display()
        ));
    }
    places::copy(source, &template)?;
    let owner = places::read(&keys.folder.join("owner.guid"))?;
    let owner = String::from_utf8_lossy(&owner).trim().to_string();
    let made = work.join("vars-enrolled.fd");
    let mut command = inputs
        .tools
        .sandboxed("virt-fw-vars", &[(work, true), (&keys.folder, false)]);
    command
        .arg("--input")
        .arg(&template)
        .arg("--output")
        .arg(&made);
    for (option, name) in [("--set-pk", "PK"), ("--add-kek", "KEK"), ("--add-db", "db")] {
        command
            .arg(option)
            .arg(&owner)
            .arg(keys.folder.join(format!("{name}.crt")));
    }
    command.arg("--secure-boot");
    inputs.progress.tool("virt-fw-vars", &mut command)?;
    places::copy(&made, &output)?;
    Ok(output)
}

fn private(path: &Path, mode: u32) -> Result<(), String> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn uuid() -> Result<String, String> {
    let text = places::read(Path::new("/proc/sys/kernel/random/uuid"))?;
    Ok(String::from_utf8_lossy(&text).trim().to_string())
}
