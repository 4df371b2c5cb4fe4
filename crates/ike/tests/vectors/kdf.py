#!/usr/bin/env python3
"""Prints IKEv2 key derivation and AUTH examples, computed from RFC 7296 with hashlib and hmac alone.

Written from the RFC's text, not from the Rust: 2.13 (prf+), 2.14 (IKE SA), 2.15 (AUTH by shared key),
2.17 (child SAs), 2.18 (rekeying), 2.23 (NAT detection); RFC 5282 7.1 (AEAD key sizes); RFC 8784 3 (PPK).
Run: python3 kdf.py > kdf.txt
"""

import hashlib
import hmac
import ipaddress
import struct

PRF = {
    "PRF_HMAC_SHA1": ("sha1", 20),
    "PRF_HMAC_SHA2_256": ("sha256", 32),
    "PRF_HMAC_SHA2_384": ("sha384", 48),
    "PRF_HMAC_SHA2_512": ("sha512", 64),
}
ENCR = {"AES_GCM_16_128": 20, "AES_GCM_16_256": 36, "AES_CBC_128": 16, "AES_CBC_256": 32}
INTEG = {
    "NONE": 0,
    "HMAC_SHA1_96": 20,
    "HMAC_SHA2_256_128": 32,
    "HMAC_SHA2_384_192": 48,
    "HMAC_SHA2_512_256": 64,
}


def prf(name, key, data):
    return hmac.new(key, data, PRF[name][0]).digest()


def prf_plus(name, key, seed, length):
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = prf(name, key, block + seed + bytes([counter]))
        out += block
        counter += 1
    return out[:length]


def cut(material, *sizes):
    pieces, at = [], 0
    for size in sizes:
        pieces.append(material[at : at + size])
        at += size
    assert at == len(material)
    return pieces


def sa_keys(name, encr, integ, skeyseed, ni, nr, spi_i, spi_r):
    p, e, a = PRF[name][1], ENCR[encr], INTEG[integ]
    sizes = (p, a, a, e, e, p, p)
    return cut(prf_plus(name, skeyseed, ni + nr + spi_i + spi_r, sum(sizes)), *sizes)


def octets(label, count):
    return hashlib.shake_256(label.encode()).digest(count)


NAMES = ["sk_d", "sk_ai", "sk_ar", "sk_ei", "sk_er", "sk_pi", "sk_pr"]
CASES = [
    # prf, encr, integ, nonce octets, shared octets, child encr, child integ, new prf, new encr, new integ
    ("PRF_HMAC_SHA2_384", "AES_GCM_16_256", "NONE", 32, 48, "AES_GCM_16_256", "NONE",
     "PRF_HMAC_SHA2_384", "AES_GCM_16_256", "NONE"),
    ("PRF_HMAC_SHA2_256", "AES_CBC_128", "HMAC_SHA2_256_128", 32, 256, "AES_CBC_128", "HMAC_SHA2_256_128",
     "PRF_HMAC_SHA2_512", "AES_GCM_16_128", "NONE"),
    ("PRF_HMAC_SHA1", "AES_CBC_128", "HMAC_SHA1_96", 16, 128, "AES_CBC_128", "HMAC_SHA1_96",
     "PRF_HMAC_SHA2_256", "AES_CBC_256", "HMAC_SHA2_512_256"),
    ("PRF_HMAC_SHA2_512", "AES_CBC_256", "HMAC_SHA2_384_192", 256, 66, "AES_CBC_256", "HMAC_SHA2_512_256",
     "PRF_HMAC_SHA1", "AES_CBC_256", "HMAC_SHA2_256_128"),
    ("PRF_HMAC_SHA2_256", "AES_GCM_16_128", "NONE", 20, 32, "AES_CBC_256", "HMAC_SHA2_384_192",
     "PRF_HMAC_SHA2_384", "AES_CBC_128", "HMAC_SHA2_384_192"),
]

for number, case in enumerate(CASES):
    name, encr, integ, nonce, size, c_encr, c_integ, new_name, new_encr, new_integ = case
    ni, nr = octets(f"ni {number}", nonce), octets(f"nr {number}", nonce)
    shared = octets(f"shared {number}", size)
    spi_i, spi_r = octets(f"spi i {number}", 8), octets(f"spi r {number}", 8)
    out = {"prf": name, "encr": encr, "integ": integ, "ni": ni, "nr": nr, "shared": shared}
    out.update({"spi_i": spi_i, "spi_r": spi_r})

    # 2.14: SKEYSEED = prf(Ni | Nr, g^ir)
    keys = sa_keys(name, encr, integ, prf(name, ni + nr, shared), ni, nr, spi_i, spi_r)
    out.update(zip(NAMES, keys))
    sk_d, sk_pi = keys[0], keys[5]

    # RFC 8784 3: SK_d = prf+(PPK, SK_d'), SK_pi and SK_pr likewise
    ppk = octets(f"ppk {number}", 16 + number * 20)
    out["ppk"] = ppk
    for label, key in (("sk_d", keys[0]), ("sk_pi", keys[5]), ("sk_pr", keys[6])):
        out[f"ppk_{label}"] = prf_plus(name, ppk, key, PRF[name][1])

    # 2.17: KEYMAT = prf+(SK_d, [g^ir (new) |] Ni | Nr); initiator's direction first, encryption first
    sizes = (ENCR[c_encr], INTEG[c_integ]) * 2
    names = ["encryption_i", "integrity_i", "encryption_r", "integrity_r"]
    out.update({"child_encr": c_encr, "child_integ": c_integ})
    for label, secret in (("first", b""), ("pfs", octets(f"pfs {number}", size))):
        material = prf_plus(name, sk_d, secret + ni + nr, sum(sizes))
        out[f"{label}_shared"] = secret
        out.update({f"{label}_{key}": value for key, value in zip(names, cut(material, *sizes))})

    # 2.18: SKEYSEED = prf(SK_d (old), g^ir (new) | Ni | Nr), with the old SA's prf; keys with the new one's
    new_ni, new_nr = octets(f"new ni {number}", 48), octets(f"new nr {number}", 40)
    new_shared = octets(f"new shared {number}", 32)
    new_i, new_r = octets(f"new spi i {number}", 8), octets(f"new spi r {number}", 8)
    seed = prf(name, sk_d, new_shared + new_ni + new_nr)
    out.update({"new_prf": new_name, "new_encr": new_encr, "new_integ": new_integ, "new_ni": new_ni})
    out.update({"new_nr": new_nr, "new_shared": new_shared, "new_spi_i": new_i, "new_spi_r": new_r})
    new_keys = sa_keys(new_name, new_encr, new_integ, seed, new_ni, new_nr, new_i, new_r)
    out.update({f"new_{key}": value for key, value in zip(NAMES, new_keys)})

    # 2.15: AUTH = prf(prf(Shared Secret, "Key Pad for IKEv2"), RealMessage1 | NonceR | MACedIDForI)
    psk, message = octets(f"psk {number}", 8 + number * 14), octets(f"message {number}", 300)
    identity = b"\x01\0\0\0" + octets(f"id {number}", 4)
    pad = prf(name, psk, b"Key Pad for IKEv2")
    out.update({"psk": psk, "message": message, "id_body": identity})
    out["auth"] = prf(name, pad, message + nr + prf(name, sk_pi, identity))

    # 2.23: SHA-1(SPIs | address | port)
    address = ["203.0.113.7", "2001:db8::1"][number % 2]
    port = [500, 4500][number % 2]
    packed = ipaddress.ip_address(address).packed + struct.pack(">H", port)
    out.update({"address": address, "port": str(port)})
    out["nat_detection"] = hashlib.sha1(spi_i + spi_r + packed).digest()

    for key, value in out.items():
        print(f"{key} = {value.hex() if isinstance(value, bytes) else value}")
    print()
