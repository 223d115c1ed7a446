import Cryptography
import Diagnostics
import Testing
import WireText

@Suite("Public keys")
struct PublicKeyTests {
    private func bytes(_ hex: String) throws -> [UInt8] { try #require(Hexadecimal.decode(hex)) }

    /// A point of P-256 whose x begins with a zero octet (times 0x7E of the base point's multiples, found by search).
    private func keyWithLeadingZero() throws -> (x: [UInt8], y: [UInt8]) {
        for scalar in UInt8(1)...255 {
            for high in UInt8(0)...8 {
                let point = try #require(
                    try PrivateKey(p256Scalar: [high, scalar]).publicKey.p256Coordinates)
                if point.x[0] == 0 { return point }
            }
        }
        throw DiagnosedError(.keyInvalid, fault: .internal, "no such point found")
    }

    @Test("missing leading zeros of coordinates are accepted, surplus octets are not")
    func padding() throws {
        let (x, y) = try keyWithLeadingZero()
        let key = try PublicKey(p256X: x, y: y)
        #expect(try PublicKey(p256X: Array(x.drop { $0 == 0 }), y: Array(y.drop { $0 == 0 })) == key)
        #expect(key.p256Coordinates?.x == x)
        #expect(throws: DiagnosedError.self) { try PublicKey(p256X: [0] + x, y: y) }
        #expect(throws: DiagnosedError.self) { try PublicKey(p256X: [], y: y) }
    }

    @Test("points off the curve, out of the field and infinity's usual forms are refused")
    func offCurve() throws {
        let (x, y) = try #require(try PrivateKey.generateP256().publicKey.p256Coordinates)
        var wrong = y
        wrong[31] ^= 1
        let zero = [UInt8](repeating: 0, count: 32), full = [UInt8](repeating: 0xFF, count: 32)
        for (x, y) in [(x, wrong), (y, x), (zero, zero), (full, full), (x, full), ([0], [0])] {
            let error = #expect(throws: DiagnosedError.self) { try PublicKey(p256X: x, y: y) }
            #expect(error?.code == .keyInvalid)
        }
    }

    @Test("RSA: small, large, even or with an unusable exponent is refused")
    func rsaRules() throws {
        let modulus = try #require(try PrivateKey.generateRSA().publicKey.rsaModulus)
        func code(_ n: [UInt8], _ e: [UInt8]) -> DiagnosedError.Code? {
            do { _ = try PublicKey(rsaModulus: n, exponent: e) } catch { return (error as? DiagnosedError)?.code }
            return nil
        }
        #expect(code(modulus, [1, 0, 1]) == nil)
        #expect(code(modulus, [3]) == nil)
        #expect(code([0, 0] + modulus, [0, 1, 0, 1]) == nil)
        #expect(code(Array(modulus.prefix(128)), [1, 0, 1]) == .keyTooSmall)
        #expect(code([0x7F] + modulus.dropFirst(), [1, 0, 1]) == .keyTooSmall, "2047 bits are not 2048")
        #expect(code([UInt8](repeating: 0xFF, count: 1025), [1, 0, 1]) == .keyInvalid)
        #expect(code(modulus.dropLast() + [modulus[255] & 0xFE], [1, 0, 1]) == .keyInvalid)
        for exponent: [UInt8] in [[], [0], [1], [2], [4], [1, 0, 0], [UInt8](repeating: 0xFF, count: 9)] {
            #expect(code(modulus, exponent) == .keyInvalid)
        }
    }

    @Test("a key with the fingerprint of CVE-2017-15361 is refused")
    func roca() throws {
        // n is a power of 65537 modulo every prime up to 167, as all such keys are: 65537^k itself is one.
        var modulus: [UInt8] = [1]
        for _ in 0..<128 { modulus = Self.times65537(modulus) }
        modulus = Array(modulus.drop { $0 == 0 })
        #expect(modulus.count >= 256)
        let error = #expect(throws: DiagnosedError.self) { try PublicKey(rsaModulus: modulus, exponent: [1, 0, 1]) }
        #expect(error?.code == .keyVulnerable)
        var other = modulus
        other[other.count - 1] &+= 2
        #expect(throws: Never.self) { try PublicKey(rsaModulus: other, exponent: [1, 0, 1]) }
    }

    /// Big-endian multiplication: shifted by two octets, plus itself.
    private static func times65537(_ number: [UInt8]) -> [UInt8] {
        var sum = [UInt8](repeating: 0, count: number.count + 3)
        var carry = 0
        for index in stride(from: sum.count - 1, through: 0, by: -1) {
            let low = index - 3, high = index - 1
            let total =
                carry + (low >= 0 ? Int(number[low]) : 0)
                + (high >= 0 && high < number.count ? Int(number[high]) : 0)
            sum[index] = UInt8(total & 0xFF)
            carry = total >> 8
        }
        return sum
    }

    @Test("SubjectPublicKeyInfo and PEM give the same key back")
    func roundTrip() throws {
        for key in [try PrivateKey.generateP256().publicKey, try PrivateKey.generateRSA().publicKey] {
            #expect(try PublicKey(subjectPublicKeyInfo: key.subjectPublicKeyInfo) == key)
            #expect(try PublicKey(pem: key.pem) == key)
            #expect(key.spkiSHA256 == SHA256.hash(key.subjectPublicKeyInfo))
        }
    }

    @Test("SubjectPublicKeyInfo is read strictly: no rest, no other length form, no other kind of key or point")
    func strictSPKI() throws {
        let good = try PrivateKey.generateP256().publicKey.subjectPublicKeyInfo
        let long: [UInt8] = [good[0], 0x81, good[1]] + good.dropFirst(2)
        for der in [
            good + [0], Array(good.dropLast()), long, [], [0x30, 0x80] + good.dropFirst(2) + [0, 0],
            try bytes(Fixture.compressedSPKI), try bytes(Fixture.explicitSPKI), try bytes(Fixture.p384SPKI),
        ] {
            #expect(throws: DiagnosedError.self) { try PublicKey(subjectPublicKeyInfo: der) }
        }
    }

    @Test("a damaged PEM text is refused")
    func damagedPEM() throws {
        let pem = try PrivateKey.generateP256().publicKey.pem
        for text in ["", "nothing", pem.replacing("END", with: "ENDE"), pem.replacing("M", with: "!")] {
            #expect(throws: DiagnosedError.self) { try PublicKey(pem: text) }
        }
        #expect(throws: Never.self) { try PublicKey(pem: "a comment\r\n" + pem.replacing("\n", with: "\r\n")) }
    }
}
