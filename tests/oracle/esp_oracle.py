#!/usr/bin/env python3
"""An ESP implementation that is not ours (scapy's), spoken to in JSON lines.

Each line on stdin is a request, each line on stdout its answer, in order. The first line on stdout tells
whether the oracle works: {"ready": true, "scapy": "2.8.0"} or {"ready": false, "reason": "..."}.
Octets travel as hexadecimal text. A request that cannot be served is answered with {"error": "..."}.

  {"op": "open", "sa": SA, "packet": HEX}        outer IP packet in   -> {"inner": HEX}
  {"op": "seal", "sa": SA, "inner": HEX}         inner IP packet in   -> {"packet": HEX}, the outer one
  {"op": "rebuild", "packet": HEX}               any IP packet in     -> {"packet": HEX}, every length and
                                                 checksum computed anew

  SA = {"spi": 4096, "sequence": 1, "esn": false, "encryption": "AES-GCM", "encryption_key": HEX with the salt,
        "integrity": "NULL", "integrity_key": HEX, "udp": true, "source": "192.0.2.1", "destination": "192.0.2.2"}
"""

import json
import logging
import sys

logging.getLogger("scapy").setLevel(logging.ERROR)


def announce(message):
    print(json.dumps(message), flush=True)


try:
    import scapy
    from scapy.config import conf
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet6 import IPv6, ICMPv6PacketTooBig
    from scapy.layers.ipsec import ESP, SecurityAssociation
    from scapy.packet import Raw

    if not conf.crypto_valid:
        raise ImportError("scapy is there, the Python package `cryptography` is not")
except ImportError as error:
    announce({"ready": False, "reason": str(error)})
    sys.exit(1)


def ip(octets):
    """The IP packet in `octets`, by its version field."""
    return IP(octets) if octets[0] >> 4 == 4 else IPv6(octets)


def association(sa):
    """scapy's SA for one packet; the upper half of an extended sequence number is given, not inferred."""
    v6 = ":" in sa["source"]
    header = (IPv6 if v6 else IP)(src=sa["source"], dst=sa["destination"])
    return SecurityAssociation(
        ESP,
        spi=sa["spi"],
        # Given here, and not to encrypt(), which takes 0 for "none given".
        seq_num=sa["sequence"] & 0xFFFFFFFF,
        crypt_algo=sa["encryption"],
        crypt_key=bytes.fromhex(sa["encryption_key"]),
        auth_algo=sa["integrity"],
        auth_key=bytes.fromhex(sa["integrity_key"]),
        tunnel_header=header,
        nat_t_header=UDP(sport=4500, dport=4500) if sa["udp"] else None,
        esn_en=sa["esn"],
        esn=sa["sequence"] >> 32,
    )


def open_packet(request):
    sa = request["sa"]
    outer = ip(bytes.fromhex(request["packet"]))
    if not outer.haslayer(ESP):
        raise ValueError("no ESP in " + outer.summary())
    if outer.haslayer(UDP) != sa["udp"]:
        raise ValueError("encapsulation is not what was announced")
    if outer[ESP].seq != sa["sequence"] & 0xFFFFFFFF:
        raise ValueError(f"sequence number {outer[ESP].seq}")
    return {"inner": bytes(association(sa).decrypt(outer)).hex()}


def seal_packet(request):
    sa = request["sa"]
    inner = ip(bytes.fromhex(request["inner"]))
    sealed = association(sa).encrypt(inner)
    return {"packet": bytes(sealed).hex()}


# Fields that scapy computes when they are absent.
COMPUTED = {
    IP: ("len", "chksum"),
    IPv6: ("plen",),
    TCP: ("chksum",),
    UDP: ("len", "chksum"),
    ICMP: ("chksum",),
    ICMPv6PacketTooBig: ("cksum",),
}


def rebuild(request):
    packet = ip(bytes.fromhex(request["packet"]))
    layer = packet
    while layer and not isinstance(layer, Raw):
        # What an ICMP error quotes is cut off; it stays as it is.
        for name in COMPUTED.get(type(layer), ()):
            layer.delfieldval(name)
        if isinstance(layer, (ICMP, ICMPv6PacketTooBig)):
            payload = bytes(layer.payload)
            layer.remove_payload()
            layer.add_payload(Raw(payload))
        layer = layer.payload
    return {"packet": bytes(packet).hex()}


OPERATIONS = {"open": open_packet, "seal": seal_packet, "rebuild": rebuild}


def main():
    announce({"ready": True, "scapy": scapy.__version__})
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = OPERATIONS[request["op"]](request)
        except Exception as error:  # an oracle says what it found wrong, whatever it is
            answer = {"error": f"{type(error).__name__}: {error}"}
        announce(answer)


main()
