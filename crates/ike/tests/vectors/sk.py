#!/usr/bin/env python3
"""Prints protected IKEv2 messages, made with the `cryptography` package (pip install cryptography).

Written from RFC 7296 3.14 (CBC with HMAC), RFC 5282 (AES-GCM) and RFC 7383 2.5 (fragments). Each record has
the keys, one datagram, and the payloads inside; padding is longer than needed and of any content on purpose.
Run: python3 sk.py > sk.txt
"""

import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def octets(label, count):
    return hashlib.shake_256(label.encode()).digest(count)


def payload(following, body):
    return struct.pack(">BBH", following, 0, 4 + len(body)) + body


# Inside: a Vendor ID (43), then a Notify (41) of status type 16390 (COOKIE) without SPI.
FIRST, INSIDE = 43, payload(41, b"vendor") + payload(0, struct.pack(">BBH", 0, 0, 16390) + b"data")

HASHES = {
    "HMAC_SHA1_96": ("sha1", 20, 12),
    "HMAC_SHA2_256_128": ("sha256", 32, 16),
    "HMAC_SHA2_384_192": ("sha384", 48, 24),
    "HMAC_SHA2_512_256": ("sha512", 64, 32),
}


def head(kind, first, fragment, body_size):
    numbers = struct.pack(">HH", *fragment) if fragment else b""
    size = 4 + len(numbers) + body_size
    spis = octets("spi i", 8) + octets("spi r", 8)
    header = spis + struct.pack(">BBBBII", kind, 0x20, 37, 0x08, 7, 28 + size)
    return header + struct.pack(">BBH", first, 0, size) + numbers


def gcm(bits, kind, first, fragment, plain):
    key = octets(f"gcm {bits}", bits // 8 + 4)
    iv, padding = octets(f"iv {bits}", 8), octets("padding", 5)
    plain += padding + bytes([len(padding)])
    associated = head(kind, first, fragment, 8 + len(plain) + 16)
    sealed = AESGCM(key[:-4]).encrypt(key[-4:] + iv, plain, associated)
    return key, b"", associated + iv + sealed


def cbc(bits, integ, kind, first, fragment, plain):
    name, key_size, icv_size = HASHES[integ]
    key, integ_key = octets(f"cbc {bits}", bits // 8), octets(f"cbc {integ}", key_size)
    padding = octets("padding", 16 + 15 - len(plain) % 16)
    plain += padding + bytes([len(padding)])
    iv = octets(f"iv {bits} {integ}", 16)
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    sealed = iv + encryptor.update(plain) + encryptor.finalize()
    covered = head(kind, first, fragment, len(sealed) + icv_size) + sealed
    return key, integ_key, covered + hmac.new(integ_key, covered, name).digest()[:icv_size]


def show(cipher, integ, fragment, made, plain):
    key, integ_key, datagram = made
    print(f"cipher = {cipher}\ninteg = {integ}\nfragment = {fragment}")
    print(f"sk_e = {key.hex()}\nsk_a = {integ_key.hex()}")
    print(f"datagram = {datagram.hex()}\ninside = {plain.hex()}\n")


for bits in (128, 256):
    show(f"AES_GCM_16_{bits}", "NONE", "none", gcm(bits, 46, FIRST, None, INSIDE), INSIDE)
    for integ in HASHES:
        made = cbc(bits, integ, 46, FIRST, None, INSIDE)
        show(f"AES_CBC_{bits}", integ, "none", made, INSIDE)
    for number, (first, plain) in enumerate([(FIRST, INSIDE[:9]), (0, INSIDE[9:])], 1):
        made = gcm(bits, 53, first, (number, 2), plain)
        show(f"AES_GCM_16_{bits}", "NONE", f"{number}/2", made, plain)
        made = cbc(bits, "HMAC_SHA2_256_128", 53, first, (number, 2), plain)
        show(f"AES_CBC_{bits}", "HMAC_SHA2_256_128", f"{number}/2", made, plain)
