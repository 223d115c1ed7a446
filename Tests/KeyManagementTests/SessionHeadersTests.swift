import JOSEEncryption
import SecretMemory
import Testing
import WireText

@testable import KeyManagement

@Suite("Headers of sessions")
struct SessionHeadersTests {
    private let key = SymmetricKey(copying: [UInt8](repeating: 7, count: 32))

    private func text(_ kid: String) throws -> [UInt8] {
        try Array("{}".utf8).withUnsafeBytes { try JWE.encryptDirect($0, key: key, kid: kid) }
    }

    @Test("what a header said is known for the same header text and no other")
    func same() throws {
        let headers = SessionHeaders()
        let (first, second, other) = (
            try text("kms://a/ecdhe/1"), try text("kms://a/ecdhe/1"), try text("kms://a/ecdhe/2")
        )
        #expect(headers.session(of: first) == nil)
        headers.note(try JWE.parse(first).header, session: "1", of: first)
        #expect(headers.session(of: second)?.session == "1")
        #expect(try headers.session(of: second)?.header == JWE.parse(second).header)
        #expect(headers.session(of: other) == nil)
        #expect(headers.session(of: Array(first.prefix(while: { $0 != UInt8(ascii: ".") }))) == nil, "no full stop")
        #expect(headers.session(of: []) == nil)
    }

    @Test("a message opens with the header that is known, and one that was changed does not")
    func opens() throws {
        let message = try text("kms://a/ecdhe/1")
        let header = try JWE.parse(message).header
        let opened = try JWE.decryptDirect(JWE.parse(message, header: header), key: key)
        #expect(opened.withUnsafeBytes { Array($0) } == Array("{}".utf8))
        var changed = message
        changed[0] ^= 1
        #expect(throws: (any Error).self) { _ = try JWE.decryptDirect(JWE.parse(changed, header: header), key: key) }
        #expect(throws: (any Error).self) { _ = try JWE.parse(Array("a.b".utf8), header: header) }
    }

    @Test("a long header is not kept")
    func long() throws {
        let headers = SessionHeaders()
        let message = try text("kms://a/ecdhe/" + String(repeating: "1", count: 600))
        headers.note(try JWE.parse(message).header, session: "1", of: message)
        #expect(headers.session(of: message) == nil)
    }
}
