import Cryptography
import Diagnostics
import Glibc
import JOSESignature
import TestServers
import Testing
import WireText

@testable import AuditTrail

@Suite("Attestation keys")
struct AttestationKeyTests {
    @Test("The fingerprint is the thumbprint of RFC 7638, section 3.1")
    func thumbprint() throws {
        let n =
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
            + "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgd"
            + "AZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCu"
            + "r-kEgU8awapJzKnqDKgw"
        let jwk = try JWK(jsonText: #"{"kty":"RSA","n":"\#(n)","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#)
        let key = try PublicKey(rsaModulus: #require(Base64URL.decode(n)), exponent: [1, 0, 1])
        #expect(try jwk.publicKey() == key)
        #expect(Thumbprint.of(key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs")
    }

    @Test("A key file is of mode 0600, is read back, and is never overwritten", arguments: [true, false])
    func file(isRSA: Bool) throws {
        let fixture = try AuditFixture()
        let path = fixture.temporary.path + "/key"
        let key = try isRSA ? AttestationKey.createRSA(bits: 2048) : AttestationKey.createP256()
        try key.save(toNewFile: path)
        var status = stat()
        #expect(stat(path, &status) == 0 && status.st_mode & 0o7777 == 0o600)
        #expect(try AttestationKey.load(fromFile: path).fingerprint == key.fingerprint)
        #expect(try AttestationPublicKey(fromFile: path).fingerprint == key.fingerprint)
        #expect(throws: DiagnosedError(.attestationKeyFile, fault: .configuration, "")) {
            try key.save(toNewFile: path)
        }
        chmod(path, 0o640)
        #expect(throws: DiagnosedError(.attestationKeyFile, fault: .configuration, "")) {
            try AttestationKey.load(fromFile: path)
        }
        // Root identifies the key of a service, and works with no other user's.
        guard geteuid() == 0 else { return }
        #expect(chmod(path, 0o600) == 0 && chown(path, 65_534, 65_534) == 0)
        #expect(try AttestationPublicKey(fromFile: path).fingerprint == key.fingerprint)
        #expect(throws: DiagnosedError(.attestationKeyFile, fault: .configuration, "")) {
            try AttestationKey.load(fromFile: path)
        }
    }

    @Test("A statement is believed only as what it is, from a key that is believed")
    func kinds() throws {
        let key = try AttestationKey.createP256()
        let trust = AttestationTrust(keys: [key.publicKey])
        for type in StatementType.allCases {
            let jws = try key.sign([1, 2, 3], as: type)
            for other in StatementType.allCases {
                if other == type {
                    #expect(try trust.verify(jws, as: other).payload == [1, 2, 3])
                } else {
                    #expect(throws: DiagnosedError(.attestationTypeWrong, fault: .client, "")) {
                        try trust.verify(jws, as: other)
                    }
                }
            }
        }
        let stranger = try AttestationKey.createP256().sign([1], as: .head)
        #expect(throws: DiagnosedError(.attestationKeyUnknown, fault: .client, "")) {
            try trust.verify(stranger, as: .head)
        }
    }

    @Test("A stranger who names the believed fingerprint is found out")
    func borrowedName() throws {
        let key = try AttestationKey.createP256()
        let stranger = try PrivateKey.generateP256()
        let jws = try JWS.sign(
            [1], with: stranger, algorithm: .es256, kid: key.fingerprint, typ: StatementType.head.rawValue)
        #expect(throws: DiagnosedError(.joseSignatureInvalid, fault: .client, "")) {
            try AttestationTrust(keys: [key.publicKey]).verify(jws, as: .head)
        }
        // Material under a believed name can not be planted either: it is filed by its own fingerprint.
        var trust = AttestationTrust(fingerprints: [key.fingerprint])
        trust.learn(stranger.publicKey)
        #expect(throws: DiagnosedError(.attestationKeyUnknown, fault: .client, "")) {
            try trust.verify(jws, as: .head)
        }
    }

    @Test("A succession makes the new key believed, but only from a believed key and of its own kind")
    func succession() throws {
        let (old, new, third) = (
            try AttestationKey.createP256(), try AttestationKey.createRSA(bits: 2048), try AttestationKey.createP256()
        )
        let head = try new.sign([7], as: .head)
        let succession = try old.succession(to: new.publicKey, at: AuditFixture.start)
        var trust = AttestationTrust(keys: [old.publicKey])
        #expect(throws: (any Error).self) { try trust.verify(head, as: .head) }
        let (from, to) = try trust.accept(succession: succession)
        #expect(from == old.fingerprint && to == new.fingerprint)
        #expect(try trust.verify(head, as: .head).key == new.fingerprint)

        var stranger = AttestationTrust(keys: [third.publicKey])
        #expect(throws: DiagnosedError(.attestationKeyUnknown, fault: .client, "")) {
            try stranger.accept(succession: succession)
        }
        #expect(throws: DiagnosedError(.attestationTypeWrong, fault: .client, "")) {
            try trust.accept(succession: head)
        }
    }

    @Test("Pins are fingerprints or files")
    func pins() throws {
        let fixture = try AuditFixture()
        let path = fixture.temporary.path + "/jwk"
        _ = try PosixAppendFile(path).append(Array(fixture.key.jwk.utf8))
        let head = try fixture.key.sign([7], as: .head)
        #expect(try AttestationTrust(pins: [path]).verify(head, as: .head).payload == [7])
        var pinned = try AttestationTrust(pins: [fixture.key.fingerprint])
        #expect(throws: DiagnosedError(.attestationKeyUnknown, fault: .client, "")) {
            try pinned.verify(head, as: .head)
        }
        pinned.learn(fixture.key.publicKey)
        #expect(try pinned.verify(head, as: .head).payload == [7])
        #expect(throws: (any Error).self) { try AttestationTrust(pins: ["no-such-file"]) }
    }
}
