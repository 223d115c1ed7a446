import Cryptography
import Diagnostics
import JOSEEncryption
import KMSClient
import SecretMemory
import Testing
import WireText

@Suite("Encrypted texts")
struct EncryptedTextTests {
    let key: SymmetricKey

    init() throws { key = try SymmetricKey.random() }

    @Test(
        "A text comes back as it was",
        arguments: [
            "", "a", "héllo, wörld 🔒", "line\nline\r\n\ttab \u{0}",
            String(repeating: "x", count: EncryptedText.maximumLength),
        ])
    func roundTrip(text: String) throws {
        let encrypted = try EncryptedText(encrypting: text, under: key)
        #expect(try encrypted.text(with: key) == text)
        #expect(encrypted.jwe.utf8.count <= 128 << 10)
        #expect(text.isEmpty || text == "a" || !encrypted.jwe.contains(text))
    }

    @Test("The same text twice gives two different messages")
    func fresh() throws {
        #expect(try EncryptedText(encrypting: "a", under: key) != EncryptedText(encrypting: "a", under: key))
    }

    @Test("Another key, a changed part, and what is no message are all the same failure")
    func unreadable() throws {
        let encrypted = try EncryptedText(encrypting: "secret", under: key)
        let other = try SymmetricKey.random()
        #expect(code { _ = try encrypted.text(with: other) } == .contentUnreadable)
        let parts = encrypted.jwe.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        for index in [0, 2, 3, 4] {
            var bytes = try #require(Base64URL.decode(parts[index]))
            bytes[0] ^= 1
            var changed = parts
            changed[index] = Base64URL.encode(bytes)
            #expect(
                code { _ = try EncryptedText(received: changed.joined(separator: ".")).text(with: key) }
                    == .contentUnreadable, "part \(index)")
        }
        for text in ["", "plain text", "....", "a.b.c.d.e", parts.dropLast().joined(separator: ".")] {
            #expect(code { _ = try EncryptedText(received: text).text(with: key) } == .contentUnreadable)
        }
    }

    @Test("Octets that are no UTF-8 are not shown as text")
    func notText() throws {
        let jwe = try [UInt8]([0xFF, 0xFE]).withUnsafeBytes { try JWE.encryptDirect($0, key: key, kid: nil) }
        let encrypted = EncryptedText(received: String(decoding: jwe, as: UTF8.self))
        #expect(code { _ = try encrypted.text(with: key) } == .contentUnreadable)
    }

    @Test("A message with a kid opens as well: some servers write one")
    func withKid() throws {
        let jwe = try Array("hello".utf8).withUnsafeBytes { try JWE.encryptDirect($0, key: key, kid: "kms://h/keys/1") }
        #expect(try EncryptedText(received: String(decoding: jwe, as: UTF8.self)).text(with: key) == "hello")
    }
}

@Suite("Encrypted files")
struct FileCipherTests {
    /// Encrypts in pieces of one size and decrypts in pieces of another.
    private func roundTrip(_ plain: [UInt8], sealing: Int, opening: Int) throws {
        var sealer = try FileSealer(at: Timestamp.now())
        var sealed: [UInt8] = []
        for start in stride(from: 0, to: plain.count, by: sealing) {
            sealed += try sealer.update(Array(plain[start..<min(start + sealing, plain.count)]))
        }
        let record = try sealer.finish(location: "https://core.example.com/files/1")
        #expect(sealed.count == plain.count)
        var opener = try FileOpener(record)
        var opened: [UInt8] = []
        for start in stride(from: 0, to: sealed.count, by: opening) {
            opened += try opener.update(Array(sealed[start..<min(start + opening, sealed.count)]))
        }
        try opener.finish()
        #expect(opened == plain)
        #expect(plain.count < 16 || sealed != plain)
    }

    @Test("Files of no, one and some octets, and of 10 MB in pieces, come back as they were")
    func roundTrips() throws {
        try roundTrip([], sealing: 1, opening: 1)
        try roundTrip([0], sealing: 1, opening: 1)
        try roundTrip(Array(0...255), sealing: 7, opening: 100)
        try roundTrip(try RandomBytes.bytes(10_000_000), sealing: 1 << 20, opening: 65_537)
    }

    @Test("A changed octet anywhere, a missing end, and something appended are found")
    func tampered() throws {
        let plain = try RandomBytes.bytes(1000)
        var sealer = try FileSealer(at: Timestamp.now())
        let sealed = try sealer.update(plain)
        let record = try sealer.finish(location: "l")
        func verdict(_ bytes: [UInt8], _ record: SecureContentRecord) -> DiagnosedError.Code? {
            code {
                var opener = try FileOpener(record)
                _ = try opener.update(bytes)
                try opener.finish()
            }
        }
        #expect(verdict(sealed, record) == nil)
        for index in [0, 500, 999] {
            var changed = sealed
            changed[index] ^= 1
            #expect(verdict(changed, record) == .contentUnreadable)
        }
        #expect(verdict(Array(sealed.dropLast()), record) == .contentUnreadable)
        #expect(verdict(sealed + [0], record) == .contentUnreadable)
        #expect(verdict([], record) == .contentUnreadable)
        let otherTime = SecureContentRecord(
            key: record.key, iv: record.iv, aad: record.aad + " ", location: record.location, tag: record.tag)
        #expect(verdict(sealed, otherTime) == .contentUnreadable)
        let otherTag = SecureContentRecord(
            key: record.key, iv: record.iv, aad: record.aad, location: record.location, tag: record.tag.reversed())
        #expect(verdict(sealed, otherTag) == .contentUnreadable)
    }

    @Test("Each file has a key, an iv and a time of its own")
    func fresh() throws {
        let one = try FileSealer(at: Timestamp.now()).finish(location: "l")
        let two = try FileSealer(at: Timestamp.now()).finish(location: "l")
        #expect(!one.key.isEqual(to: two.key))
        #expect(one.iv != two.iv)
        #expect(Timestamp(iso8601: one.aad) != nil)
    }

    @Test("A record with a part missing, of the wrong size or kind is refused")
    func malformedRecord() throws {
        let key = try SymmetricKey.random()
        let members = [
            ("enc", "A256GCM"), ("key", Base64URL.encode([UInt8](repeating: 1, count: 32))),
            ("iv", Base64URL.encode([UInt8](repeating: 2, count: 12))), ("aad", "2026-11-23T07:36:46.830Z"),
            ("loc", "https://core.example.com/files/1"), ("tag", Base64URL.encode([UInt8](repeating: 3, count: 16))),
        ]
        func verdict(_ members: [(String, String)]) throws -> DiagnosedError.Code? {
            var json = JSONWriter()
            json.beginObject()
            for (name, value) in members { json.member(name, value) }
            json.endObject()
            let text = try json.withUnsafeBytes { try EncryptedText(encrypting: $0, under: key) }
            return code { _ = try SecureContentRecord(opening: text, with: key) }
        }
        #expect(try verdict(members) == nil)
        for index in members.indices {
            var without = members
            without.remove(at: index)
            #expect(try verdict(without) == .contentUnreadable, "\(members[index].0)")
        }
        for (index, value) in [(0, "A128GCM"), (1, "AAAA"), (2, "AAAA"), (5, "AAAA"), (1, "not base64url!")] {
            var changed = members
            changed[index].1 = value
            #expect(try verdict(changed) == .contentUnreadable, "\(members[index].0) \(value)")
        }
    }
}
