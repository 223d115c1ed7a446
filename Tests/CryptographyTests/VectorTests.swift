import Cryptography
import Diagnostics
import Encryption
import SecretMemory
import TestVectors
import Testing
import WireText

/// Every vector of C2SP/wycheproof for the primitives, valid and invalid.
@Suite("Wycheproof")
struct VectorTests {
    @Test(
        "AES-GCM: 256/96/128 bits open and seal as given, other sizes are refused",
        .enabled(if: Wycheproof.isAvailable("aes_gcm")))
    func aesGCM() throws {
        let file = try Wycheproof("aes_gcm")
        var tally = VectorTally()
        for group in file.groups {
            let isOurs =
                try group.number("keySize") == 256 && group.number("ivSize") == 96
                && group.number("tagSize") == 128
            for test in group.tests {
                let key = SymmetricKey(copying: try test.hex("key"))
                let (nonce, aad, tag) = try (test.hex("iv"), test.hex("aad"), test.hex("tag"))
                let (message, ciphertext) = try (test.hex("msg"), test.hex("ct"))
                var wasOpened = false
                do {
                    let plain = try AESGCM.open(ciphertext, tag: tag, key: key, nonce: nonce, aad: aad)
                    wasOpened = plain.withUnsafeBytes { Array($0) } == message
                } catch let error as DiagnosedError {
                    let code: DiagnosedError.Code = isOurs ? .decryptionFailed : .encryptionParameters
                    if error.code != code { tally.fail(test.id, "another error: \(error)") }
                }
                tally.record(
                    test.id, wasOpened, expected: isOurs ? (test.isValid ? .accepted : .rejected) : .refusedOnPurpose)
                if isOurs, test.isValid {
                    let sealed = try AESGCM.seal(message, key: key, nonce: nonce, aad: aad)
                    if sealed != (ciphertext, tag) { tally.fail(test.id, "seals to something else") }
                } else if !isOurs {
                    #expect(throws: DiagnosedError.self) { try AESGCM.seal(message, key: key, nonce: nonce, aad: aad) }
                }
            }
        }
        finish(tally, file)
    }

    @Test("ECDSA P-256 with raw signatures", .enabled(if: Wycheproof.isAvailable("ecdsa_secp256r1_sha256_p1363")))
    func ecdsa() throws {
        try signatures("ecdsa_secp256r1_sha256_p1363", .es256)
    }

    @Test("RSA-PSS with SHA-256 and a salt of 32", .enabled(if: Wycheproof.isAvailable("rsa_pss_2048_sha256_mgf1_32")))
    func pss() throws {
        try signatures("rsa_pss_2048_sha256_mgf1_32", .ps256)
    }

    @Test(
        "RSA PKCS#1 v1.5 with SHA-256; without NULL in the padding is refused",
        .enabled(if: Wycheproof.isAvailable("rsa_signature_2048_sha256")))
    func pkcs1() throws {
        try signatures("rsa_signature_2048_sha256", .rs256)
    }

    @Test("HKDF-SHA-256", .enabled(if: Wycheproof.isAvailable("hkdf_sha256")))
    func hkdf() throws {
        let file = try Wycheproof("hkdf_sha256")
        var tally = VectorTally()
        for test in file.groups.flatMap(\.tests) {
            let key = SymmetricKey(copying: try test.hex("ikm"))
            let (salt, info, count) = try (test.hex("salt"), test.hex("info"), test.number("size"))
            let derived = try? HKDFSHA256.derive(from: key, salt: salt, info: info, count: count)
            let expected = SymmetricKey(copying: try test.hex("okm"))
            tally.record(
                test.id, derived?.isEqual(to: expected) == true, expected: test.isValid ? .accepted : .rejected)
        }
        finish(tally, file)
    }

    @Test(
        "HMAC-SHA-256 with keys of any size; a shortened tag is refused",
        .enabled(if: Wycheproof.isAvailable("hmac_sha256")))
    func hmac() throws {
        let file = try Wycheproof("hmac_sha256")
        var tally = VectorTally()
        for group in file.groups {
            let isWhole = try group.number("tagSize") == 256
            for test in group.tests {
                let key = SymmetricKey(copying: try test.hex("key"))
                let isValid = HMACSHA256.isValid(try test.hex("tag"), for: try test.hex("msg"), key: key)
                tally.record(
                    test.id, isValid,
                    expected: test.isValid ? (isWhole ? .accepted : .refusedOnPurpose) : .rejected)
            }
        }
        finish(tally, file)
    }

    @Test(
        "RSA-OAEP with SHA-1: one outcome for all that does not open",
        .enabled(if: Wycheproof.isAvailable("rsa_oaep_2048_sha1_mgf1sha1")))
    func oaep() throws {
        let file = try Wycheproof("rsa_oaep_2048_sha1_mgf1sha1")
        var tally = VectorTally()
        for group in file.groups {
            let pem = try #require(group["privateKeyPem"]?.string)
            let key = try PrivateKey(pem: pem)
            for test in group.tests {
                let (ciphertext, label) = try (test.hex("ct"), test.hex("label"))
                var wasOpened = false
                do {
                    let plain = try RSAOAEP.decrypt(ciphertext, with: key, digest: .sha1, label: label)
                    wasOpened = plain.withUnsafeBytes { Array($0) } == (try test.hex("msg"))
                } catch let error as DiagnosedError {
                    if error.code != .decryptionFailed || error.found != nil || error.expected != nil {
                        tally.fail(test.id, "the error tells more than that it failed: \(error)")
                    }
                }
                tally.record(test.id, wasOpened, expected: test.isValid ? .accepted : .rejected)
            }
        }
        finish(tally, file)
    }

    /// For files of signatures; vectors rated "acceptable" must be refused.
    private func signatures(_ name: String, _ algorithm: SignatureAlgorithm) throws {
        let file = try Wycheproof(name)
        var tally = VectorTally()
        for group in file.groups {
            let key = try PublicKey(subjectPublicKeyInfo: try group.hex("publicKeyDer"))
            #expect(try PublicKey(pem: try #require(group["publicKeyPem"]?.string)) == key)
            for test in group.tests {
                let isValid = key.isValidSignature(
                    try test.hex("sig"), for: try test.hex("msg"), algorithm: algorithm)
                let isAcceptable = test["result"]?.string == "acceptable"
                tally.record(
                    test.id, isValid,
                    expected: isAcceptable ? .refusedOnPurpose : test.isValid ? .accepted : .rejected)
            }
        }
        finish(tally, file)
    }

    private func finish(_ tally: VectorTally, _ file: Wycheproof) {
        tally.report(file.name)
        #expect(tally.failures.isEmpty, "\(tally.failures.joined(separator: "\n"))")
        #expect(tally.count == file.numberOfTests, "not every vector was looked at")
    }
}
