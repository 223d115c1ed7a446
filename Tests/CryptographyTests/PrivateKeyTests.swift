import Cryptography
import Diagnostics
import SecretMemory
import Testing
import WireText

@Suite("Private keys and signatures")
struct PrivateKeyTests {
    @Test("PKCS#8, SEC 1 with and without parameters are the same key")
    func forms() throws {
        let key = try PrivateKey(pem: Fixture.pkcs8Key)
        #expect(key.publicKey.kind == .p256)
        #expect(try PrivateKey(pem: Fixture.sec1Key).publicKey == key.publicKey)
        #expect(try PrivateKey(pem: Fixture.sec1KeyWithParameters).publicKey == key.publicKey)
        #expect(try PrivateKey(pem: "text before\n" + Fixture.sec1Key + "\n").publicKey == key.publicKey)
    }

    @Test("PKCS#1 belongs to its certificate")
    func pkcs1() throws {
        let key = try PrivateKey(pem: Array(Fixture.pkcs1Key.utf8))
        #expect(key.publicKey == (try Certificate.all(inPEM: Fixture.rsaLeaf)[0].publicKey))
    }

    @Test("what is written is PKCS#8 and reads back")
    func roundTrip() throws {
        for key in [try PrivateKey.generateP256(), try PrivateKey.generateRSA()] {
            let pem = try key.pem()
            #expect(
                pem.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }.hasPrefix("-----BEGIN PRIVATE KEY-----"))
            #expect(try PrivateKey(pem: pem).publicKey == key.publicKey)
        }
    }

    @Test(
        "encrypted keys are refused and the hint says why", arguments: [Fixture.encryptedKey, Fixture.encryptedSEC1Key])
    func encrypted(pem: String) {
        let error = #expect(throws: DiagnosedError.self) { try PrivateKey(pem: pem) }
        #expect(error?.code == .privateKeyInvalid)
        #expect(error.flatMap(\.hint)?.contains("encrypted") == true)
    }

    @Test("other curves, weak keys, public keys and rubbish are refused")
    func refused() throws {
        let publicPEM = try PrivateKey.generateP256().publicKey.pem
        for pem in [Fixture.p384Key, Fixture.weakKey, publicPEM, "", "-----BEGIN PRIVATE KEY-----\nAAAA\n"] {
            #expect(throws: DiagnosedError.self) { try PrivateKey(pem: pem) }
        }
        #expect(throws: DiagnosedError.self) { try PrivateKey(pem: [UInt8](repeating: 0x2D, count: 100_000)) }
        #expect(throws: DiagnosedError.self) { try PrivateKey.generateRSA(bits: 1024) }
    }

    @Test("scalars of P-256 are from 1 to the order minus 1")
    func scalars() throws {
        let order = try #require(
            Hexadecimal.decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"))
        for scalar in [[], [0], order, [UInt8](repeating: 0xFF, count: 32), [UInt8](repeating: 1, count: 34)] {
            #expect(throws: DiagnosedError.self) { try PrivateKey(p256Scalar: scalar) }
        }
        #expect(throws: Never.self) { try PrivateKey(p256Scalar: order.dropLast() + [0x50]) }
        // The base point itself.
        let base = try #require(try PrivateKey(p256Scalar: [1]).publicKey.p256Coordinates)
        #expect(Hexadecimal.encode(base.x).hasPrefix("6b17d1f2e12c4247"))
    }

    @Test("halves that do not belong together are refused")
    func mixedHalves() throws {
        let (first, second) = (try PrivateKey(pem: Fixture.pkcs1Key), try PrivateKey.generateRSA())
        let numbers = try Self.numbers(first)
        #expect(throws: Never.self) { try Self.key(numbers) }
        var mixed = numbers
        mixed["n"] = second.publicKey.rsaModulus
        #expect(throws: DiagnosedError.self) { try Self.key(mixed) }
        mixed = numbers
        mixed["p"]?[40] ^= 4
        #expect(throws: DiagnosedError.self) { try Self.key(mixed) }
    }

    @Test("signatures verify for what was signed and for nothing else", arguments: SignatureAlgorithm.allCases)
    func signatures(algorithm: SignatureAlgorithm) throws {
        let key = algorithm == .es256 ? try PrivateKey.generateP256() : try PrivateKey(pem: Fixture.pkcs1Key)
        for message in [[], Array("message".utf8), [UInt8](repeating: 9, count: 100_000)] {
            let signature = try key.sign(message, algorithm: algorithm)
            #expect(signature.count == (algorithm == .es256 ? 64 : 256))
            #expect(key.publicKey.isValidSignature(signature, for: message, algorithm: algorithm))
            #expect(!key.publicKey.isValidSignature(signature, for: message + [0], algorithm: algorithm))
            for position in [0, signature.count / 2, signature.count - 1] {
                var wrong = signature
                wrong[position] ^= 1
                #expect(!key.publicKey.isValidSignature(wrong, for: message, algorithm: algorithm))
            }
            for wrong in [
                [], signature + [0], Array(signature.dropLast()), [UInt8](repeating: 0, count: signature.count),
            ] {
                #expect(!key.publicKey.isValidSignature(wrong, for: message, algorithm: algorithm))
            }
            for other in SignatureAlgorithm.allCases where other != algorithm {
                #expect(!key.publicKey.isValidSignature(signature, for: message, algorithm: other))
            }
        }
    }

    @Test("a key of the wrong kind can not sign")
    func wrongKind() throws {
        #expect(throws: DiagnosedError.self) { try PrivateKey.generateP256().sign([1], algorithm: .ps256) }
        #expect(throws: DiagnosedError.self) { try PrivateKey(pem: Fixture.pkcs1Key).sign([1], algorithm: .es256) }
    }

    /// The numbers of an RSA key, read from its PKCS#1 structure: a sequence of a version and eight integers.
    private static func numbers(_ key: PrivateKey) throws -> [String: [UInt8]] {
        let body = Fixture.pkcs1Key.split(separator: "\n").dropFirst().dropLast().joined()
        let der = try #require(Base64.decode(body))
        var position = 4
        func integer() -> [UInt8] {
            var length = Int(der[position + 1])
            position += 2
            if length == 0x81 {
                length = Int(der[position])
                position += 1
            } else if length == 0x82 {
                length = Int(der[position]) << 8 | Int(der[position + 1])
                position += 2
            }
            defer { position += length }
            return Array(der[position..<position + length])
        }
        _ = integer()
        var numbers: [String: [UInt8]] = [:]
        for name in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] { numbers[name] = integer() }
        return numbers
    }

    private static func key(_ numbers: [String: [UInt8]]) throws -> PrivateKey {
        func number(_ name: String) -> [UInt8] { numbers[name] ?? [] }
        return try PrivateKey(
            rsaModulus: number("n"), publicExponent: number("e"), privateExponent: number("d"), p: number("p"),
            q: number("q"), dp: number("dp"), dq: number("dq"), qi: number("qi"))
    }
}
