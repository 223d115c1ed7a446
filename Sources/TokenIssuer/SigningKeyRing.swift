package import Cryptography
import JOSESignature
package import WireText

/// The signing keys at one moment: the current one, the next one, and the retired ones whose tokens may still live.
///
/// All of them are published. The next key is published from the moment it is made, long before it signs, so that every
/// verifier has it in its cache by then. A retired key leaves when the last token under it has expired; its private half
/// is gone from the moment it retires. A pure value: time and new keys come from outside.
package struct SigningKeyRing: Sendable {
    package struct SigningKey: Sendable {
        /// RFC 7638: the digest of the public key, so that a name can not be given to another key.
        package let kid: String
        package let privateKey: PrivateKey
        /// When it was made and published.
        package let created: Timestamp
        package var publicKey: PublicKey { privateKey.publicKey }

        package init(_ key: PrivateKey, created: Timestamp) {
            kid = SigningKeyRing.thumbprint(key.publicKey)
            privateKey = key
            self.created = created
        }
    }

    package struct RetiredKey: Sendable {
        package let kid: String
        package let publicKey: PublicKey
        /// No token under it lives longer.
        package let until: Timestamp
    }

    package private(set) var current: SigningKey
    /// Since when the current key signs.
    package private(set) var since: Timestamp
    package private(set) var next: SigningKey
    package private(set) var retired: [RetiredKey]

    /// A first ring, or one after a compromise: nothing of an older one is left.
    package init(current: PrivateKey, next: PrivateKey, now: Timestamp) {
        self.init(
            current: SigningKey(current, created: now), since: now, next: SigningKey(next, created: now), retired: [])
    }

    init(current: SigningKey, since: Timestamp, next: SigningKey, retired: [RetiredKey]) {
        self.current = current
        self.since = since
        self.next = next
        self.retired = retired
    }

    package func isRollDue(at now: Timestamp, period seconds: Int64) -> Bool { now >= since.adding(seconds: seconds) }

    /// The next key takes over, `newKey` becomes the next one, and the current one retires until its last token, which may
    /// live for `lifetime` seconds from now, has expired.
    package mutating func roll(newKey: PrivateKey, now: Timestamp, lifetime seconds: Int64) {
        retired.removeAll { $0.until <= now }
        retired.append(
            RetiredKey(kid: current.kid, publicKey: current.publicKey, until: now.adding(seconds: seconds)))
        current = next
        since = now
        next = SigningKey(newKey, created: now)
    }

    /// Every key that a verifier may need now, the current one first.
    package func published(at now: Timestamp) -> [(kid: String, key: PublicKey)] {
        [(current.kid, current.publicKey), (next.kid, next.publicKey)]
            + retired.filter { $0.until > now }.map { ($0.kid, $0.publicKey) }
    }

    /// RFC 7517 key set.
    package func keySet(at now: Timestamp) -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.name("keys")
        json.beginArray()
        for (kid, key) in published(at: now) {
            JWK(publicKey: key, kid: kid, use: "sig", alg: SignatureAlgorithm.es256.rawValue).write(to: &json)
        }
        json.endArray()
        json.endObject()
        return json.bytes()
    }

    /// RFC 7638.
    static func thumbprint(_ key: PublicKey) -> String {
        // No other kind of key gets into a ring; a name by the encoded key is as good as a thumbprint.
        JWK.thumbprint(of: key) ?? Base64URL.encode(key.spkiSHA256)
    }
}
