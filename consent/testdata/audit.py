"""Writes audit.json: the hashes of a data holder's log, worked out without Go.

python3 audit.py > audit.json
"""
import json


def keccak256(data):
    lanes = [[0] * 5 for _ in range(5)]

    def rotate(v, n):
        return ((v << (n % 64)) | (v >> (64 - n % 64))) & (2**64 - 1)

    padded = bytearray(data + b"\x01" + bytes(-(len(data) + 1) % 136))
    padded[-1] |= 0x80
    for at in range(0, len(padded), 136):
        for i in range(17):
            lanes[i % 5][i // 5] ^= int.from_bytes(padded[at + 8 * i : at + 8 * i + 8], "little")
        constant = 1
        for _ in range(24):
            c = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
            d = [c[(x + 4) % 5] ^ rotate(c[(x + 1) % 5], 1) for x in range(5)]
            lanes = [[lanes[x][y] ^ d[x] for y in range(5)] for x in range(5)]
            x, y, current = 1, 0, lanes[1][0]
            for t in range(24):
                x, y = y, (2 * x + 3 * y) % 5
                current, lanes[x][y] = lanes[x][y], rotate(current, (t + 1) * (t + 2) // 2)
            for y in range(5):
                row = [lanes[x][y] for x in range(5)]
                for x in range(5):
                    lanes[x][y] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5])
            for j in range(7):
                constant = ((constant << 1) ^ ((constant >> 7) * 0x71)) % 256
                if constant & 2:
                    lanes[0][0] ^= 1 << ((1 << j) - 1)
    return b"".join(lanes[i % 5][i // 5].to_bytes(8, "little") for i in range(4))


assert keccak256(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def node(a, b):
    return keccak256(min(a, b) + max(a, b))


def text(b):
    return "0x" + b.hex()


account, other = bytes([0x11] * 20), bytes([0x22] * 20)
events = [
    '{"resourceType":"AuditEvent","action":"R","outcome":"0"}',
    '{"resourceType":"AuditEvent","note":"caf\\u00e9 < caf\u00e9","value":1.50}',
    '{"resourceType":"AuditEvent","outcome":"4"}',
]
previous, entries = bytes(32), []
for number, event in enumerate(events, 1):
    digest = keccak256(number.to_bytes(8, "big") + previous + keccak256(event.encode()))
    entries.append({"number": number, "previous": text(previous), "event": event, "hash": text(digest)})
    previous = digest
count, head = 2, bytes.fromhex(entries[1]["hash"][2:])
leaf = keccak256(keccak256(account + count.to_bytes(8, "big") + head))
beside = keccak256(keccak256(other + (7).to_bytes(8, "big") + bytes([3] * 32)))
before = keccak256(bytes([4] * 32))
pair = node(leaf, beside)
print(json.dumps({
    "account": text(account),
    "entries": entries,
    "leaf": text(leaf),
    "count": count,
    "proof": [text(beside), text(before)],
    "root": text(node(pair, before)),
}, indent=1, ensure_ascii=True))
