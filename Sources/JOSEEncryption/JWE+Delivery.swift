package import Cryptography
import Diagnostics
import Encryption
package import JOSESignature
package import SecretMemory
import WireText

/// Texts for the owner of a key pair, who need not be there: ECDH-ES to P-256 (RFC 7518, section 4.6, direct agreement)
/// and RSA-OAEP-256 (section 4.3), each with A256GCM. The recipient's JWK decides which.
///
/// Whatever does not open gives the one error `decryption-failed`. There are no party infos: a message that has some was
/// made by somebody else.
extension JWE {
    private static let agreed = "ECDH-ES"
    private static let wrapped256 = "RSA-OAEP-256"

    /// The ASCII text of a message to the owner of the key.
    package static func encrypt(_ plaintext: UnsafeRawBufferPointer, to recipient: JWK) throws -> [UInt8] {
        let owner = try recipient.deliveryKey()
        guard let point = owner.p256Coordinates else {
            let key = try SymmetricKey.random()
            let wrapped = try key.withUnsafeBytes { try RSAOAEP.encrypt($0, to: owner, digest: .sha256) }
            return try seal(
                plaintext, key: key, wrappedKey: wrapped, header: header(wrapped256, recipient.kid, ephemeral: nil))
        }
        let ephemeral = try P256Agreement.generate()
        let key = derivedKey(try ephemeral.sharedSecret(withX: point.x, y: point.y))
        return try seal(
            plaintext, key: key, wrappedKey: [], header: header(agreed, recipient.kid, ephemeral: ephemeral))
    }

    package static func decrypt(_ message: borrowing JWECompact, with key: PrivateKey) throws -> SecretBytes {
        guard key.publicKey.p256Coordinates != nil else {
            try demand(wrapped256, message.header)
            return try message.open(RSAOAEP.unwrapKey(message.encryptedKey, with: key, digest: .sha256))
        }
        try demand(agreed, message.header)
        guard message.encryptedKey.isEmpty else {
            throw DiagnosedError.malformedJOSE("the message has a wrapped key although its algorithm is 'ECDH-ES'")
        }
        let header = try message.headerDocument().root
        guard header["apu"] == nil, header["apv"] == nil, let epk = header["epk"],
            case .ec(let x, let y) = try JWK(epk).keyType
        else {
            throw DiagnosedError.malformedJOSE(
                "the header's key of the agreement is not usable",
                expected: "'epk' on P-256, neither 'apu' nor 'apv'")
        }
        return try message.open(derivedKey(try P256Agreement(key).sharedSecret(withX: x, y: y)))
    }

    /// One round of the KDF of NIST SP 800-56A as section 4.6.2 fills it.
    static func derivedKey(
        _ shared: SymmetricKey, algorithm: String = content, partyU: [UInt8] = [], partyV: [UInt8] = [],
        bits: UInt32 = 256
    ) -> SymmetricKey {
        var info: [UInt8] = []
        info.append(lengthPrefixed: algorithm)
        for party in [partyU, partyV] {
            info.append(bigEndian: UInt32(party.count))
            info += party
        }
        info.append(bigEndian: bits)
        var hasher = SHA256Hasher()
        hasher.update([0, 0, 0, 1])
        shared.withUnsafeBytes { hasher.update($0) }
        hasher.update(info)
        var digest = hasher.finalize()
        defer { wipe(&digest) }
        return digest.withUnsafeBytes { SymmetricKey(copying: .init(rebasing: $0[..<Int(bits / 8)])) }
    }

    private static func header(_ algorithm: String, _ kid: String?, ephemeral: P256Agreement?) -> [UInt8] {
        var json = JSONWriter(reserving: 256)
        json.beginObject()
        json.member("alg", algorithm)
        json.member("kid", ifPresent: kid)
        json.member("enc", content)
        if let ephemeral {
            json.name("epk")
            json.beginObject()
            json.member("kty", "EC")
            json.member("crv", "P-256")
            json.member("x", Base64URL.encode(ephemeral.publicX))
            json.member("y", Base64URL.encode(ephemeral.publicY))
            json.endObject()
        }
        json.endObject()
        return json.withUnsafeBytes { Base64URL.encode($0) }
    }
}
