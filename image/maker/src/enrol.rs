//! Lists of keys as firmware takes them: `NAME.auth`, an authenticated write of a Secure Boot variable.
//!
//! UEFI 2.10, 8.2.2: a time, a PKCS#7 signature over name, vendor, attributes, time and value, and the value. Made here, with openssl for
//! the signature alone: sbvarsign of sbsigntool 0.9.4 signs bytes that firmware does not compute again (OVMF: "security violation").

use std::path::Path;

use crate::places;

/// NON_VOLATILE, BOOTSERVICE_ACCESS, RUNTIME_ACCESS, TIME_BASED_AUTHENTICATED_WRITE_ACCESS.
const ATTRIBUTES: u32 = 0x27;
/// EFI_GLOBAL_VARIABLE, for PK and KEK.
const GLOBAL: [u8; 16] = [
    0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c,
];
/// EFI_IMAGE_SECURITY_DATABASE_GUID, for db.
const SECURITY: [u8; 16] = [
    0xcb, 0xb2, 0x19, 0xd7, 0x3a, 0x3d, 0x96, 0x45, 0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f,
];
/// EFI_CERT_TYPE_PKCS7_GUID.
const PKCS7: [u8; 16] = [
    0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49, 0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7,
];
/// 2026-01-01 00:00:00 UTC. Firmware asks only that a later list of keys bears a later time.
const TIME: [u8; 16] = [0xea, 0x07, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// What is to be signed for `name` with the value `list`.
pub fn to_sign(name: &str, list: &[u8]) -> Vec<u8> {
    let vendor = if name == "db" { SECURITY } else { GLOBAL };
    let mut bytes: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    bytes.extend(vendor);
    bytes.extend(ATTRIBUTES.to_le_bytes());
    bytes.extend(TIME);
    bytes.extend(list);
    bytes
}

/// The file, from a detached signature in DER and the value.
pub fn write(path: &Path, signature: &[u8], list: &[u8]) -> Result<(), String> {
    let signed = signed_data(signature).ok_or("openssl gave no PKCS#7 signature")?;
    let mut bytes = TIME.to_vec();
    // WIN_CERTIFICATE_UEFI_GUID: length with this header, revision 2.0, type "EFI GUID".
    let length = u32::try_from(24 + signed.len()).map_err(|_| "a signature of gigabytes")?;
    bytes.extend(length.to_le_bytes());
    bytes.extend(0x0200_u16.to_le_bytes());
    bytes.extend(0x0ef1_u16.to_le_bytes());
    bytes.extend(PKCS7);
    bytes.extend(signed);
    bytes.extend(list);
    places::write(path, bytes)
}

/// RFC 2315 §7: the SignedData inside of a ContentInfo; firmware wants it bare.
fn signed_data(content_info: &[u8]) -> Option<&[u8]> {
    const SIGNED_DATA: &[u8] = &[
        0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02,
    ];
    let inner = value(content_info, 0x30)?;
    value(inner.strip_prefix(SIGNED_DATA)?, 0xa0)
}

/// The value of the DER element that `bytes` begins with, when its tag is `tag`.
fn value(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let (first, rest) = bytes.split_first()?;
    let (short, rest) = rest.split_first()?;
    if *first != tag {
        return None;
    }
    if *short < 0x80 {
        return rest.get(..usize::from(*short));
    }
    let count = usize::from(short & 0x7f);
    if count > 4 {
        return None;
    }
    let length = rest
        .get(..count)?
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    rest.get(count..count.checked_add(length)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_taken_out_of_its_wrapping() {
        let mut wrapped = vec![0x30, 0x82, 0x00, 0x12];
        wrapped.extend([
            0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02,
        ]);
        wrapped.extend([0xa0, 0x81, 0x04, 0x30, 0x02, 0x05, 0x00]);
        assert_eq!(signed_data(&wrapped), Some(&[0x30, 0x02, 0x05, 0x00][..]));
        for cut in 0..wrapped.len() {
            assert_eq!(signed_data(&wrapped[..cut]), None, "{cut} bytes");
        }
    }

    #[test]
    fn what_is_signed_begins_with_the_name_and_its_vendor() {
        let bytes = to_sign("db", b"list");
        assert_eq!(&bytes[..4], b"d\0b\0");
        assert_eq!(&bytes[4..20], &SECURITY);
        assert_eq!(&to_sign("KEK", b"")[6..22], &GLOBAL);
        assert!(bytes.ends_with(b"list"));
    }
}
