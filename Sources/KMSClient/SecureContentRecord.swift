import Cryptography
package import Diagnostics
package import SecretMemory
import WireText

/// A file's own key with where the file is: the SCR that is sent under the space's key (protocol, section 11).
///
/// The stored octets are AES-256-GCM ciphertext without the tag; iv, additional data (a time stamp as text) and tag
/// stand here.
package struct SecureContentRecord: Sendable {
    package let key: SymmetricKey
    /// 12 octets.
    package let iv: [UInt8]
    /// The additional authenticated data, as text.
    package let aad: String
    /// URL of the stored octets.
    package let location: String
    /// 16 octets.
    package let tag: [UInt8]

    package init(key: SymmetricKey, iv: [UInt8], aad: String, location: String, tag: [UInt8]) {
        self.key = key
        self.iv = iv
        self.aad = aad
        self.location = location
        self.tag = tag
    }

    /// Wraps the record as a compact JWE under a space's key.
    package func encrypted(under spaceKey: SymmetricKey) throws -> EncryptedText {
        var json = JSONWriter(reserving: 1024)
        json.beginObject()
        json.member("enc", "A256GCM")
        key.withUnsafeBytes { json.base64URLMember("key", $0) }
        json.member("iv", Base64URL.encode(iv))
        json.member("aad", aad)
        json.member("loc", location)
        json.member("tag", Base64URL.encode(tag))
        json.endObject()
        return try json.withUnsafeBytes { try EncryptedText(encrypting: $0, under: spaceKey) }
    }

    package init(opening text: EncryptedText, with spaceKey: SymmetricKey) throws(DiagnosedError) {
        let plain = try text.open(with: spaceKey)
        let parsed = plain.withUnsafeBytes { bytes -> SecureContentRecord? in
            guard let root = try? JSONDocument(bytes, limits: .init(maximumDepth: 3, maximumNodes: 100)).root else {
                return nil
            }
            return SecureContentRecord(root)
        }
        guard let parsed else {
            throw DiagnosedError(
                .contentUnreadable, fault: .peer, "the record of a file's key is malformed",
                expected: "enc A256GCM, key, iv, aad, loc and tag")
        }
        self = parsed
    }

    private init?(_ root: JSONNode) {
        guard root["enc"]?.string == "A256GCM",
            var bytes = root["key"]?.withPlainString({ Base64URL.decode($0) }) ?? nil, bytes.count == 32,
            let iv = root["iv"]?.string.flatMap({ Base64URL.decode($0) }), iv.count == 12,
            let tag = root["tag"]?.string.flatMap({ Base64URL.decode($0) }), tag.count == 16,
            let aad = root["aad"]?.string, let location = root["loc"]?.string
        else { return nil }
        key = SymmetricKey(copying: bytes)
        wipe(&bytes)
        self.iv = iv
        self.aad = aad
        self.location = location
        self.tag = tag
    }
}
