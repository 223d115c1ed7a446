import Cryptography
import Diagnostics
import Foundation
import SecretMemory
import Testing

@Suite("Encrypted private keys")
struct EncryptedPrivateKeyTests {
    private static func passphrase(_ text: String = "correct horse battery staple") -> SecretBytes {
        SecretBytes(copying: Array(text.utf8))
    }

    @Test("what is written under a passphrase reads back under it, and shows no key in clear")
    func roundTrip() throws {
        for key in [try PrivateKey.generateP256(), try PrivateKey.generateRSA()] {
            let pem = try key.encryptedPEM(passphrase: Self.passphrase())
            let text = String(decoding: pem, as: UTF8.self)
            #expect(text.hasPrefix("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"))
            #expect(try PrivateKey(encryptedPEM: pem, passphrase: Self.passphrase()).publicKey == key.publicKey)
            #expect(throws: DiagnosedError.self) { try PrivateKey(pem: pem) }
            // The same key is never encrypted to the same text.
            #expect(try key.encryptedPEM(passphrase: Self.passphrase()) != pem)
        }
    }

    @Test("another passphrase does not open it, and neither does a changed file")
    func wrongPassphrase() throws {
        let key = try PrivateKey.generateP256()
        let pem = try key.encryptedPEM(passphrase: Self.passphrase())
        for wrong in ["correct horse battery stapl", "correct horse battery staple ", "x"] {
            let error = #expect(throws: DiagnosedError.self) {
                try PrivateKey(encryptedPEM: pem, passphrase: Self.passphrase(wrong))
            }
            #expect(error?.code == .keyPassphraseWrong)
        }
        var changed = pem
        let middle = pem.count / 2
        changed[middle] = changed[middle] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
        // A flipped bit may hit the ciphertext only: then the key's halves no longer match.
        #expect(throws: DiagnosedError.self) {
            let opened = try PrivateKey(encryptedPEM: changed, passphrase: Self.passphrase())
            if opened.publicKey != key.publicKey { throw DiagnosedError(.keyInvalid, fault: .internal, "another key") }
        }
    }

    @Test("an empty passphrase and one beyond the limit are refused before anything is done")
    func passphraseLimits() throws {
        let key = try PrivateKey.generateP256()
        let long = String(repeating: "x", count: PrivateKey.maximumPassphraseBytes)
        #expect(throws: Never.self) {
            let pem = try key.encryptedPEM(passphrase: Self.passphrase(long))
            _ = try PrivateKey(encryptedPEM: pem, passphrase: Self.passphrase(long))
        }
        for text in ["", long + "x"] {
            #expect(throws: DiagnosedError.self) { try key.encryptedPEM(passphrase: Self.passphrase(text)) }
        }
    }

    @Test(
        "keys in clear, the older encrypted form and rubbish are refused",
        arguments: [Fixture.pkcs8Key, Fixture.encryptedSEC1Key, "", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n"])
    func refused(pem: String) {
        #expect(throws: DiagnosedError.self) {
            try PrivateKey(encryptedPEM: Array(pem.utf8), passphrase: Self.passphrase())
        }
    }

    @Test("a key in clear hidden before the encrypted one is not taken for it")
    func mixed() throws {
        let key = try PrivateKey.generateP256()
        let pem = Array(Fixture.pkcs8Key.utf8) + (try key.encryptedPEM(passphrase: Self.passphrase()))
        #expect(throws: DiagnosedError.self) {
            try PrivateKey(encryptedPEM: pem, passphrase: Self.passphrase())
        }
    }

    @Test("openssl's own tool opens what is written, and what it writes opens here")
    func interoperability() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hds-key-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let key = try PrivateKey.generateP256()
        let ours = folder.appendingPathComponent("ours.pem"), theirs = folder.appendingPathComponent("theirs.pem")
        try Data(try key.encryptedPEM(passphrase: Self.passphrase("one two three"))).write(to: ours)
        let arguments = [
            "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-scrypt", "-in", ours.path, "-passin", "pass:one two three",
            "-passout", "pass:four", "-out", theirs.path,
        ]
        let openssl = Process()
        openssl.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
        openssl.arguments = arguments
        try openssl.run()
        openssl.waitUntilExit()
        #expect(openssl.terminationStatus == 0)
        let read = try PrivateKey(
            encryptedPEM: Array(try Data(contentsOf: theirs)), passphrase: Self.passphrase("four"))
        #expect(read.publicKey == key.publicKey)
    }
}
