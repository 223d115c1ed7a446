"""Opens a sealed volume (first argument) with a P-256 key in PEM (second) by the document alone and Python's `cryptography`,
and writes it to the third; ends with 77 when that package is not there."""
import base64
import hashlib
import json
import sys

try:
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
except ImportError:
    sys.exit(77)


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


sealed = open(sys.argv[1], "rb").read()
key = serialization.load_pem_private_key(open(sys.argv[2], "rb").read(), None)
assert sealed[:8] == b"HDSXPRT1"
end = 12 + int.from_bytes(sealed[8:12], "big")
protected, wrapped, nonce, ciphertext, tag = sealed[12:end].decode().split(".")
header = json.loads(decode(protected))
assert header["alg"] == "ECDH-ES" and header["enc"] == "A256GCM" and wrapped == ""
point = ec.EllipticCurvePublicNumbers(
    int.from_bytes(decode(header["epk"]["x"]), "big"), int.from_bytes(decode(header["epk"]["y"]), "big"), ec.SECP256R1()
).public_key()
info = b"\0\0\0\x07A256GCM" + b"\0\0\0\0" + b"\0\0\0\0" + (256).to_bytes(4, "big")
content = ConcatKDFHash(hashes.SHA256(), 32, info).derive(key.exchange(ec.ECDH(), point))
inner = json.loads(AESGCM(content).decrypt(decode(nonce), decode(ciphertext) + decode(tag), protected.encode()))
aad = hashlib.sha256(sealed[:end]).digest()
chunks = AESGCM(decode(inner["key"]))
plaintext, position, index = b"", end, 0
while position < len(sealed):
    piece = sealed[position : position + inner["chunk"] + 16]
    position += len(piece)
    plaintext += chunks.decrypt(index.to_bytes(11, "big") + bytes([position == len(sealed)]), piece, aad)
    index += 1
assert len(plaintext) == inner["octets"]
open(sys.argv[3], "wb").write(plaintext)
print(inner["name"])
