#!/usr/bin/env python3
"""Prints Diffie-Hellman examples for the MODP groups, computed with Python's pow from modp_primes.txt.

`drawn` is what the random generator hands out; the private exponent is `drawn` with its highest bit set.
Run in this directory: python3 modp.py > modp.txt
"""

import hashlib

EXPONENT_BITS = {2: 256, 5: 256, 14: 320, 15: 448, 16: 512, 17: 576, 18: 640}


def octets(label, count):
    return hashlib.shake_256(label.encode()).digest(count)


for line in open("modp_primes.txt"):
    group, p = int(line.split()[0]), int(line.split()[1], 16)
    size = (p.bit_length() + 7) // 8
    bits = EXPONENT_BITS[group]
    drawn = octets(f"private {group}", bits // 8)
    x = int.from_bytes(drawn, "big") | 1 << (bits - 1)
    peer = pow(2, int.from_bytes(octets(f"peer {group}", size), "big"), p)
    print(f"group = {group}")
    print(f"prime = {p:0{2 * size}x}")
    print(f"drawn = {drawn.hex()}")
    print(f"public = {pow(2, x, p):0{2 * size}x}")
    print(f"peer = {peer:0{2 * size}x}")
    print(f"shared = {pow(peer, x, p):0{2 * size}x}")
    print()
