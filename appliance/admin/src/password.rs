//! Passwords are kept as argon2id hashes, and only those travel.

use argon2::Argon2;
use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{PasswordHasher, SaltString};

use crate::limits::{PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN};

/// The PHC string of `password` under a fresh salt, or why not.
pub fn hash(password: &str) -> Result<String, String> {
    if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()) {
        return Err(format!(
            "a password must be {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes long"
        ));
    }
    let salt = SaltString::generate(&mut OsRng);
    let hashed = Argon2::default().hash_password(password.as_bytes(), &salt);
    hashed
        .map(|hash| hash.to_string())
        .map_err(|error| format!("cannot hash the password: {error}"))
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::{PasswordHash, PasswordVerifier};

    use super::*;

    #[test]
    fn a_hash_is_argon2id_salted_and_proves_its_password_alone() {
        let (first, second) = (
            hash("ringpost").expect("hashed"),
            hash("ringpost").expect("hashed"),
        );
        assert!(first.starts_with("$argon2id$") && first != second);
        let parsed = PasswordHash::new(&first).expect("a PHC string");
        assert!(
            Argon2::default()
                .verify_password(b"ringpost", &parsed)
                .is_ok()
        );
        assert!(
            Argon2::default()
                .verify_password(b"Ringpost", &parsed)
                .is_err()
        );
        assert!(hash("short").is_err());
    }
}
