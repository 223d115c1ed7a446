package import Diagnostics
import JOSEEncryption
import JOSESignature
package import SecretMemory

/// A text as the cloud may see it: a compact JWE (dir, A256GCM, no `kid`) under a content key (protocol, section 11).
///
/// Bodies for the cloud take this type where content belongs, and the only ways to make one are to encrypt and to read
/// what the cloud already has. So a text whose key could not be fetched can not leave by mistake.
package struct EncryptedText: Sendable, Hashable {
    /// The compact JWE.
    package let jwe: String

    /// Longest text in octets that a message may have, so that its JWE stays below 128 KiB.
    package static let maximumLength = 95 << 10

    package init(encrypting text: String, under key: SymmetricKey) throws {
        var text = text
        jwe = try text.withUTF8 { try Self.encrypt(UnsafeRawBufferPointer($0), under: key) }
    }

    package init(encrypting bytes: UnsafeRawBufferPointer, under key: SymmetricKey) throws {
        jwe = try Self.encrypt(bytes, under: key)
    }

    /// What the cloud stores; it may be anything, `open` tells.
    package init(received jwe: String) { self.jwe = jwe }

    private static func encrypt(_ bytes: UnsafeRawBufferPointer, under key: SymmetricKey) throws -> String {
        String(decoding: try JWE.encryptDirect(bytes, key: key, kid: nil), as: UTF8.self)
    }

    /// The plaintext octets; one error whatever was wrong.
    package func open(with key: SymmetricKey) throws(DiagnosedError) -> SecretBytes {
        do {
            let message = try JWE.parse(Array(jwe.utf8))
            guard message.header.alg == "dir", message.header.enc == "A256GCM" else { throw DiagnosedError.unreadable }
            return try JWE.decryptDirect(message, key: key)
        } catch {
            throw .unreadable
        }
    }

    /// The text; refused when it is not UTF-8.
    package func text(with key: SymmetricKey) throws(DiagnosedError) -> String {
        let plain = try open(with: key)
        guard let text = plain.withUnsafeBytes({ String(validating: $0, as: UTF8.self) }) else { throw .unreadable }
        return text
    }
}

extension DiagnosedError {
    static let unreadable = DiagnosedError(
        .contentUnreadable, fault: .peer, "the content can not be decrypted",
        expected: "AES-256-GCM under the key that travels beside it",
        hint: "it was changed on its way, or the cloud names the wrong key for it")
}
