#!/usr/bin/env python3
"""Makes the golden vectors of keyring/, sealed/ and trail/ with nothing of ours: Python's hmac and the `cryptography` package.

The Rust tests must reproduce the `ok` bytes and refuse every other file for the reason that the file names, so that two
implementations agree on the formats. Run it only to add vectors: existing ones never change, whoever stored such bytes must
be able to open them. Usage: python3 tests/golden/make_vectors.py
"""

import base64, copy, hashlib, hmac, json, pathlib, struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

HERE = pathlib.Path(__file__).parent


def write(path, value):
    text = value if isinstance(value, str) else json.dumps(value, indent=1) + "\n"
    (HERE / path).write_text(text)


def mac(key, message):
    return hmac.new(key, message, hashlib.sha256).digest()


def hkdf(key, salt, info, length):
    prk, block, out = mac(salt or bytes(32), key), b"", b""
    while len(out) < length:
        block = mac(prk, block + info + bytes([len(out) // 32 + 1]))
        out += block
    return out[:length]


# --- keyring -----------------------------------------------------------------------------------------------------------------

ROOT, SEED = bytes(range(0x00, 0x20)), bytes(range(0x20, 0x40))
EPOCHS = {1: bytes(range(0x40, 0x60)), 2: bytes(range(0x60, 0x80))}


def key(role, value):
    check = mac(value, b"strongroom/key-check/1/" + role.encode())[:16].hex()
    return {"key": base64.b64encode(value).decode(), "check": check}


def epoch(number, state):
    entry = {"id": number, **key(f"epoch/{number}", EPOCHS[number])}
    return entry | {"created": f"2026-0{number}-01T00:00:00Z", "state": state}


OK = {
    "format": "strongroom-keyring/1",
    "index_root": key("index_root", ROOT),
    "audit_signing": key("audit_signing", SEED),
    "epochs": [epoch(2, "active"), epoch(1, "decrypt_only")],
}


def keyring_text(ring):
    lines = ["{", f'  "format": "{ring["format"]}",']
    for role in ("index_root", "audit_signing"):
        lines.append(f'  "{role}": {json.dumps(ring[role])},')
    lines.append('  "epochs": [')
    lines.append(",\n".join("    " + json.dumps(entry) for entry in ring["epochs"]))
    return "\n".join(lines + ["  ]", "}", ""])


def broken(name, change):
    ring = copy.deepcopy(OK)
    change(ring)
    write(f"keyring/{name}.json", json.dumps(ring, indent=2) + "\n")


def swap(ring):
    a, b = ring["epochs"]
    for field in ("key", "check"):
        a[field], b[field] = b[field], a[field]


write("keyring/ok.json", keyring_text(OK))
broken("bad_check_value", lambda r: r["index_root"].update(key=base64.b64encode(SEED).decode()))
broken("swapped_epochs", swap)
broken("two_active_epochs", lambda r: r["epochs"][1].update(state="active"))
broken("no_active_epoch", lambda r: r["epochs"][0].update(state="decrypt_only"))
broken("duplicate_epoch", lambda r: r["epochs"].append(r["epochs"][1]))
broken("unknown_field", lambda r: r.update(comment="hello"))
broken("unknown_field_of_key", lambda r: r["audit_signing"].update(comment="hello"))
broken("unknown_field_of_epoch", lambda r: r["epochs"][1].update(comment="hello"))
broken("unknown_format", lambda r: r.update(format="strongroom-keyring/2"))
broken("unknown_state", lambda r: r["epochs"][1].update(state="retired"))
broken("bad_time", lambda r: r["epochs"][1].update(created="yesterday"))
broken("short_key", lambda r: r["epochs"][0].update(key=base64.b64encode(bytes(31)).decode()))
broken("not_base64", lambda r: r["index_root"].update(key="*" * 44))
broken("missing_key", lambda r: r.pop("audit_signing"))
broken("key_of_wrong_type", lambda r: r["index_root"].update(key=7))
write("keyring/doubled_field.json", keyring_text(OK).replace('  "epochs": [', '  "epochs": [],\n  "epochs": ['))
write("keyring/truncated.json", keyring_text(OK)[:-40])

# --- what hangs on the index root --------------------------------------------------------------------------------------------


def derived(label):
    return hkdf(ROOT, b"", label.encode(), 32)


def prefixed(*fields):
    return b"".join(struct.pack(">Q", len(field)) + field for field in fields)


write(
    "keyring/derived.json",
    {
        "check_value": derived("strongroom/keyring-check/1")[:16].hex(),
        "fingerprint": mac(derived("strongroom/fingerprint/1"), b"STAGE_token")[:16].hex(),
        "email": mac(derived("strongroom/blind-index/email/1"), b"value").hex(),
        "state": mac(derived("strongroom/blind-index/state/1"), b"value").hex(),
        "code": mac(derived("strongroom/blind-index/code/1"), b"value").hex(),
        "browser": mac(derived("strongroom/blind-index/browser/1"), b"value").hex(),
        "invitation": mac(derived("strongroom/capability/invitation/1"), bytes([5] * 16)).hex(),
        "confirmation": mac(derived("strongroom/capability/confirmation/1"), bytes([5] * 16)).hex(),
        "notice": mac(derived("strongroom/capability/notice/1"), bytes([6] * 16)).hex(),
        "row": mac(derived("strongroom/row-mac/1"), prefixed(b"link", b"one", b"", b"three")).hex(),
    },
)

# --- CBOR --------------------------------------------------------------------------------------------------------------------


def head(major, value):
    for info, limit, form in ((None, 24, ""), (24, 1 << 8, ">B"), (25, 1 << 16, ">H"), (26, 1 << 32, ">I"), (27, 1 << 64, ">Q")):
        if value < limit:
            return bytes([major << 5 | (value if info is None else info)]) + (struct.pack(form, value) if form else b"")


def cbor(value):
    if isinstance(value, int):
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        return head(3, len(value.encode())) + value.encode()
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(cbor, value))
    entries = sorted((cbor(k), cbor(v)) for k, v in value.items())
    return head(5, len(entries)) + b"".join(k + v for k, v in entries)


# --- sealed ------------------------------------------------------------------------------------------------------------------

SALT = bytes(range(0x80, 0xA0))
PLACE = {"kind": "token", "environment": "stage", "client_id": "1234", "owner": "11" * 16, "subject": "98765"}
TOKEN = cbor({0: 1, 1: "98765", 2: "STAGE_token", 4: 1_800_000_000_000_000, 5: ["manage_accounts", "view_user"]})


def seal(place, plaintext, number=2, form=1):
    texts = [place[name].encode() for name in ("kind", "environment", "client_id")]
    aad = prefixed(bytes([form]), *texts, bytes.fromhex(place["owner"]))
    aad += b"\0" if place["subject"] is None else b"\1" + prefixed(place["subject"].encode())
    output = hkdf(EPOCHS.get(number, bytes(32)), SALT, aad, 44)
    return bytes([form]) + struct.pack(">I", number) + SALT + AESGCM(output[:32]).encrypt(output[32:], plaintext, aad)


def sealed(name, expect, place, data, plaintext=None):
    vector = {"expect": expect, "place": place, "sealed": data.hex()}
    write(f"sealed/{name}.json", vector | ({"plaintext": plaintext.hex()} if plaintext is not None else {}))


PRIVATE = PLACE | {"kind": "private", "owner": "22" * 16, "subject": None}
SALVAGE = PLACE | {"kind": "salvage", "subject": None}
FIELDS = cbor({0: 1, 1: {"email": "ada@example.com", "user_name": "Ada", "display_name": "Ada's"}})
GOOD = seal(PLACE, TOKEN)
sealed("ok", "ok", PLACE, GOOD, TOKEN)
sealed("ok_private", "ok", PRIVATE, seal(PRIVATE, FIELDS), FIELDS)
sealed("ok_salvage", "ok", SALVAGE, seal(SALVAGE, b"<html>"), b"<html>")
sealed("ok_empty", "ok", SALVAGE, seal(SALVAGE, b""), b"")
sealed("ok_older_epoch", "ok", PLACE, seal(PLACE, TOKEN, number=1), TOKEN)
sealed("bad_tag", "Failed", PLACE, GOOD[:-1] + bytes([GOOD[-1] ^ 1]))
sealed("altered_ciphertext", "Failed", PLACE, GOOD[:40] + bytes([GOOD[40] ^ 0x80]) + GOOD[41:])
sealed("altered_salt", "Failed", PLACE, GOOD[:5] + bytes([GOOD[5] ^ 1]) + GOOD[6:])
sealed("wrong_subject", "Failed", PLACE | {"subject": "98766"}, GOOD)
sealed("no_subject", "Failed", PLACE | {"subject": None}, GOOD)
sealed("wrong_owner", "Failed", PLACE | {"owner": "11" * 15 + "12"}, GOOD)
sealed("wrong_kind", "Failed", PLACE | {"kind": "salvage"}, GOOD)
sealed("wrong_environment", "Failed", PLACE | {"environment": "production"}, GOOD)
sealed("wrong_client", "Failed", PLACE | {"client_id": "12345"}, GOOD)
sealed("wrong_epoch", "Failed", PLACE, GOOD[:1] + struct.pack(">I", 1) + GOOD[5:])
sealed("unknown_epoch", "UnknownEpoch(3)", PLACE, seal(PLACE, TOKEN, number=3))
sealed("unknown_format", "Malformed(UnknownFormat(2))", PLACE, seal(PLACE, TOKEN, form=2))
sealed("truncated_ciphertext", "Failed", PLACE, GOOD[:-1])
sealed("truncated_tag", "Malformed(Truncated)", PLACE, GOOD[: 37 + 15])
sealed("truncated_header", "Malformed(Truncated)", PLACE, GOOD[:36])
sealed("empty", "Malformed(Truncated)", PLACE, b"")

# --- trail -------------------------------------------------------------------------------------------------------------------

SIGNER = Ed25519PrivateKey.from_private_bytes(SEED)
PUBLIC = SIGNER.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
TRAIL, OTHER = bytes([0xA1] * 16), bytes([0xB2] * 16)
START = 1_800_000_000_000_000


def sign(data, signer=SIGNER, prefix=b"strongroom/trail-record/1\0"):
    return {"bytes": data.hex(), "hash": hashlib.sha256(data).hexdigest(), "signature": signer.sign(prefix + data).hex()}


def every_field():
    event = {0: "token.read", 1: "denied", 2: START - 1, 3: "spiffe://example/payments", 4: "127.0.0.1:5\n\u0000\u202e"}
    event |= {5: bytes([5] * 16), 6: bytes([6] * 16), 7: bytes([7] * 16), 8: 300, 9: bytes([9] * 16), 10: bytes([10] * 16)}
    event |= {11: bytes([11] * 16), 12: bytes([12] * 16), 13: bytes([13] * 16), 14: bytes([14] * 16), 15: "read-all"}
    return event | {16: bytes([16] * 32), 17: "policy", 18: {"zz": "2", "b": "1", "aaa": "é", "": ""}}


EVENTS = [[{0: "deployment.stamped", 1: "success", 2: START, 3: "system"}], [every_field(), every_field() | {1: "failure"}], []]


def chain(change=lambda seq, record: record, trail=TRAIL):
    records, previous = [], bytes(32)
    for seq, events in enumerate(EVENTS, 1):
        record = change(seq, {0: 1, 1: trail, 2: seq, 3: START + seq, 4: previous, 5: events})
        records.append(record if isinstance(record, bytes) else cbor(record))
        previous = hashlib.sha256(records[-1]).digest()
    return [sign(record) for record in records]


def trail(name, expect, records):
    write(f"trail/{name}.json", {"expect": expect, "public_key": PUBLIC, "trail": "trl_" + TRAIL.hex(), "records": records})


def second(change):
    return chain(lambda seq, record: change(record) if seq == 2 else record)


def replaced(records, **fields):
    return [records[0], records[1] | fields, records[2]]


GOOD = chain()
ALTERED = bytearray.fromhex(GOOD[1]["bytes"])
ALTERED[-1] ^= 1
CODE = lambda cause: f"Undecodable {{ seq: 2, cause: {cause} }}"
LONG_SEQ = lambda record: cbor(record).replace(b"\x02\x02\x03", b"\x02\x18\x02\x03", 1)
UNSORTED = lambda record: cbor(record).replace(cbor("b") + cbor("1") + cbor("zz") + cbor("2"), cbor("zz") + cbor("2") + cbor("b") + cbor("1"))
INDEFINITE = lambda record: b"\xbf" + cbor(record)[1:] + b"\xff"

trail("ok", "ok", GOOD)
trail("ok_clock_set_back", "ok", second(lambda r: r | {3: START - 5_000_000}))
trail("altered_byte", "HashMismatch { seq: 2 }", replaced(GOOD, bytes=ALTERED.hex()))
trail("altered_byte_and_hash", "BadSignature { seq: 2 }", replaced(GOOD, bytes=ALTERED.hex(), hash=hashlib.sha256(ALTERED).hexdigest()))
trail("altered_hash", "HashMismatch { seq: 2 }", replaced(GOOD, hash="00" * 32))
trail("bad_signature", "BadSignature { seq: 2 }", replaced(GOOD, signature=GOOD[0]["signature"]))
trail("other_signer", "BadSignature { seq: 2 }", replaced(GOOD, **sign(bytes.fromhex(GOOD[1]["bytes"]), Ed25519PrivateKey.from_private_bytes(ROOT))))
trail("signed_without_prefix", "BadSignature { seq: 2 }", replaced(GOOD, **sign(bytes.fromhex(GOOD[1]["bytes"]), prefix=b"")))
trail("broken_chain", "BrokenChain { seq: 2 }", second(lambda r: r | {4: bytes([1] * 32)}))
trail("first_with_predecessor", "BrokenChain { seq: 1 }", chain(lambda seq, r: r | {4: bytes([1] * 32)} if seq == 1 else r))
trail("gap", "Gap { expected: 2, found: 3 }", [GOOD[0], GOOD[2]])
trail("missing_first", "Gap { expected: 1, found: 2 }", GOOD[1:])
trail("doubled", "Gap { expected: 3, found: 2 }", [GOOD[0], GOOD[1], GOOD[1], GOOD[2]])
trail("reordered", "Gap { expected: 2, found: 3 }", [GOOD[0], GOOD[2], GOOD[1]])
trail("wrong_trail", f"WrongTrail {{ seq: 1, found: trl_{OTHER.hex()} }}", chain(trail=OTHER))
trail("unknown_format", CODE("UnknownFormat(2)"), second(lambda r: r | {0: 2}))
trail("unknown_kind", CODE("UnknownKind { event: 0 }"), second(lambda r: r | {5: [every_field() | {0: "token.stolen"}]}))
trail("unknown_field", CODE("Malformed { at: 3 }"), second(lambda r: r | {6: 0, 5: []}))
trail("unknown_field_of_event", CODE("Malformed { at: 387 }"), second(lambda r: r | {5: [every_field() | {19: 0}]}))
trail("long_integer", CODE("NotCanonical"), second(LONG_SEQ))
trail("unsorted_details", CODE("NotCanonical"), second(UNSORTED))
trail("indefinite_length", CODE("NotCanonical"), second(INDEFINITE))
trail("trailing_byte", CODE("NotCanonical"), second(lambda r: cbor(r) + b"\0"))
trail("empty_details", CODE("NotCanonical"), second(lambda r: r | {5: [every_field() | {18: {}}]}))
trail("too_many_events", CODE("Limit(Events)"), second(lambda r: cbor(r | {5: []})[:-1] + head(4, 4097)))
trail("truncated_record", CODE("Malformed { at: 5 }"), second(lambda r: cbor(r)[:20]))
