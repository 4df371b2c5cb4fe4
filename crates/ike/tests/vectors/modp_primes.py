#!/usr/bin/env python3
"""Prints the MODP primes of RFC 7296 Appendix B and RFC 3526, computed from their definition.

    p = 2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) * pi) + c)

Nothing is typed in but n and c; pi comes from Machin's formula in integers. Each p and (p-1)/2 is checked to
be prime (Miller-Rabin, fixed bases), and 2 to generate the subgroup of order (p-1)/2. The output is compared
with src/crypto/kx/primes.rs by tests/crypto_groups.rs.
"""

# group: (bits, c)
GROUPS = {
    2: (1024, 129093),
    5: (1536, 741804),
    14: (2048, 124476),
    15: (3072, 1690314),
    16: (4096, 240904),
    17: (6144, 929484),
    18: (8192, 4743158),
}


def arctan_inverse(x, one):
    total = term = one // x
    n, sign = 3, -1
    while term:
        term //= x * x
        total += sign * (term // n)
        n, sign = n + 2, -sign
    return total


def pi_times_two_to(bits):
    guard = 128
    one = 1 << (bits + guard)
    pi = 4 * (4 * arctan_inverse(5, one) - arctan_inverse(239, one))
    return pi >> guard


def is_probably_prime(n, rounds=12):
    d, r = n - 1, 0
    while d % 2 == 0:
        d, r = d // 2, r + 1
    for base in [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37][:rounds]:
        x = pow(base, d, n)
        if x in (1, n - 1):
            continue
        for _ in range(r - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


for group, (bits, c) in GROUPS.items():
    p = 2**bits - 2 ** (bits - 64) - 1 + 2**64 * (pi_times_two_to(bits - 130) + c)
    rounds = 4 if bits > 4096 else 12
    assert is_probably_prime(p, rounds) and is_probably_prime((p - 1) // 2, rounds), group
    assert pow(2, (p - 1) // 2, p) == 1, group
    print(f"{group} {p:x}")
