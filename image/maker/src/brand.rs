//! What an OEM changes: names, logo, profiles, default settings. From `image/brand`, or the folder that `--brand` names.

use std::path::{Path, PathBuf};

use crate::os::Variant;
use crate::{engine, places};

const FILES: &[&str] = &["brand.toml", "logo.txt"];
/// Lines and columns of the logo: it must leave room for the dashboard on a terminal of 80 by 24.
const LOGO_LINES_MAX: usize = 8;
const LOGO_COLUMNS_MAX: usize = 76;

pub struct Brand {
    folder: PathBuf,
    pub name: String,
    /// For os-release's ID: lower case, no blanks.
    pub id: String,
    pub url: Option<String>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    id: String,
    url: Option<String>,
}

impl Brand {
    pub fn read(root: &Path, folder: Option<&Path>) -> Result<Brand, String> {
        let folder = folder.map_or_else(|| root.join("image/brand"), Path::to_path_buf);
        let path = folder.join("brand.toml");
        let told = |reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
        let text = std::fs::read_to_string(&path).map_err(|error| told(&error))?;
        let file: File = toml::from_str(&text).map_err(|error| told(&error))?;
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
        if file.id.is_empty() || !file.id.chars().all(fits) {
            return Err(told(
                &"`id` is one word of lower-case letters, digits, dots, _ and -",
            ));
        }
        for value in [Some(&file.name), file.url.as_ref()].into_iter().flatten() {
            if value.is_empty()
                || value
                    .chars()
                    .any(|c| c.is_control() || "\"\\$`".contains(c))
            {
                return Err(told(&"`name` and `url` are plain text without quotes"));
            }
        }
        let logo = std::fs::read_to_string(folder.join("logo.txt"))
            .map_err(|error| format!("{}: {error}", folder.join("logo.txt").display()))?;
        let columns = logo.lines().map(|line| line.chars().count()).max();
        if logo.lines().count() > LOGO_LINES_MAX || columns.unwrap_or(0) > LOGO_COLUMNS_MAX {
            return Err(format!(
                "{}: at most {LOGO_LINES_MAX} lines of {LOGO_COLUMNS_MAX} columns",
                folder.join("logo.txt").display()
            ));
        }
        Ok(Brand {
            folder,
            name: file.name,
            id: file.id,
            url: file.url,
        })
    }

    /// Its files into the engine layer.
    pub fn install(&self, staging: &Path) -> Result<(), String> {
        let share = staging.join("usr/share/ringpost");
        places::make(&share)?;
        for file in FILES {
            places::copy(&self.folder.join(file), &share.join(file))?;
        }
        let profiles = self.folder.join("hw-profiles");
        if profiles.is_dir() {
            engine::overlay(&profiles, &share.join("hw-profiles"))?;
        }
        let root = self.folder.join("root");
        if root.is_dir() {
            engine::overlay(&root, staging)?;
        }
        Ok(())
    }

    /// The settings that go on the ESP of the disk image, if the OEM ships any.
    pub fn settings(&self) -> Option<PathBuf> {
        Some(self.folder.join("ringpost.toml")).filter(|path| path.is_file())
    }

    /// The OEM's own profile of this name; `None`: there is none, or it is one of ours.
    pub fn profile(&self, name: &str) -> Option<PathBuf> {
        let path = self.folder.join(format!("hw-profiles/{name}.toml"));
        std::path::absolute(path).ok().filter(|path| path.is_file())
    }

    /// os-release(5). systemd-boot shows `PRETTY_NAME` and sorts by `VERSION_ID`.
    pub fn os_release(&self, version: &str, variant: Variant) -> String {
        let debug = match variant {
            Variant::Product => "",
            Variant::Debug => " (debug image, do not ship: the console is open to anyone)",
        };
        let url = self
            .url
            .as_ref()
            .map(|url| format!("HOME_URL=\"{url}\"\n"))
            .unwrap_or_default();
        format!(
            "NAME=\"{}\"\nID={}\nID_LIKE=debian\nPRETTY_NAME=\"{} {version}{debug}\"\nVERSION_ID={version}\nIMAGE_ID=ringpost\nIMAGE_VERSION={version}\nVARIANT_ID={}\n{url}",
            self.name,
            self.id,
            self.name,
            variant.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_brand_fits() {
        let brand = Brand::read(&crate::root(), None).expect("image/brand");
        let release = brand.os_release("1.2", Variant::Product);
        assert!(
            release.contains("\nVERSION_ID=1.2\n") && release.contains("\nIMAGE_ID=ringpost\n")
        );
    }

    #[test]
    fn a_name_that_would_break_os_release_is_refused() {
        let folder = std::env::temp_dir().join(format!("xtask-brand-{}", std::process::id()));
        places::fresh(&folder).expect("a folder");
        places::write(&folder.join("logo.txt"), "x\n").expect("written");
        places::write(&folder.join("brand.toml"), "name = \"a$(b)\"\nid = \"a\"\n")
            .expect("written");
        assert!(Brand::read(&crate::root(), Some(&folder)).is_err());
        places::write(&folder.join("brand.toml"), "name = \"A B\"\nid = \"A\"\n").expect("written");
        assert!(Brand::read(&crate::root(), Some(&folder)).is_err());
        std::fs::remove_dir_all(&folder).expect("removed");
    }
}
