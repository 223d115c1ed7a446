import Cryptography
import Diagnostics
package import WireText

/// What the KMS testifies about a rotation of the root key: from which version to which, how many values of each table
/// stand under the new one, and that nothing stood under the old one when it was closed.
///
/// The Merkle root is over the leaves (table, id, SHA-256 of the value), in the order of a walk through all tables after
/// the old version was closed; values that changed during the walk stand in it as they were met. Signed by the attestation
/// key, `typ` `hds-rotation-certificate`.
package struct RotationCertificate: Sendable, Equatable {
    package struct Version: Sendable, Equatable {
        package var number: Int64
        /// Tells root keys apart and nothing about them: 16 hexadecimal digits.
        package var fingerprint: String

        package init(number: Int64, fingerprint: String) {
            self.number = number
            self.fingerprint = fingerprint
        }
    }

    package struct Count: Sendable, Equatable {
        package var table: String
        package var values: Int64

        package init(table: String, values: Int64) {
            self.table = table
            self.values = values
        }
    }

    package static let maximumBytes = 1 << 16
    /// What no rotation can do; part of what is signed.
    package static let outOfReach =
        "copies of the database that were made before the rotation stay open to whoever has the old version"

    package var host: String
    package var node: String
    package var from: Version
    package var to: Version
    package var promoted: Timestamp
    package var retired: Timestamp
    package var issued: Timestamp
    package var counts: [Count]
    package var merkleRoot: [UInt8]

    package init(
        host: String, node: String, from: Version, to: Version, promoted: Timestamp, retired: Timestamp,
        issued: Timestamp, counts: [Count], merkleRoot: [UInt8]
    ) {
        (self.host, self.node, self.from, self.to) = (host, node, from, to)
        (self.promoted, self.retired, self.issued) = (promoted, retired, issued)
        (self.counts, self.merkleRoot) = (counts, merkleRoot)
    }

    /// The leaf of a value, for `MerkleTree`.
    package static func leaf(table: String, id: String, value: [UInt8]) -> [UInt8] {
        var octets: [UInt8] = [0]
        octets.append(lengthPrefixed: table)
        octets.append(lengthPrefixed: id)
        return SHA256.hash(octets + SHA256.hash(value))
    }

    package func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("host", host)
        json.member("node", node)
        for (name, version) in [("from", from), ("to", to)] {
            json.member("\(name)Version", version.number)
            json.member("\(name)Fingerprint", version.fingerprint)
        }
        json.member("promoted", promoted.iso8601)
        json.member("retired", retired.iso8601)
        json.member("issued", issued.iso8601)
        json.name("counts")
        json.beginObject()
        for count in counts { json.member(count.table, count.values) }
        json.endObject()
        json.member("leftUnderOldVersion", 0)
        json.member("merkleRoot", Hexadecimal.encode(merkleRoot))
        json.member("outOfReach", Self.outOfReach)
        json.endObject()
        return json.bytes()
    }

    init(payload: [UInt8]) throws(DiagnosedError) {
        let json = try StatementReader(payload, upTo: Self.maximumBytes)
        var counts: [Count] = []
        for (name, value) in json.root["counts"]?.members ?? [] {
            guard let values = value.integer, values >= 0 else { throw StatementReader.malformed(name) }
            counts.append(Count(table: name, values: values))
        }
        guard try json.number("leftUnderOldVersion") == 0 else {
            throw StatementReader.malformed("leftUnderOldVersion")
        }
        guard try json.text("outOfReach") == Self.outOfReach else { throw StatementReader.malformed("outOfReach") }
        self.init(
            host: try json.text("host"), node: try json.text("node"),
            from: Version(number: try json.number("fromVersion"), fingerprint: try json.text("fromFingerprint")),
            to: Version(number: try json.number("toVersion"), fingerprint: try json.text("toFingerprint")),
            promoted: try json.time("promoted"), retired: try json.time("retired"), issued: try json.time("issued"),
            counts: counts, merkleRoot: try json.digest("merkleRoot"))
    }

    // MARK: The file

    package func file(signedBy key: AttestationKey) throws -> String {
        try CertificateFile.text(json(), as: .rotation, signedBy: key)
    }

    /// The certificate in a file's content, when a believed key has signed exactly it.
    package static func verify(
        file text: String, trust: AttestationTrust
    ) throws -> (certificate: RotationCertificate, key: String) {
        let (payload, key) = try CertificateFile.verify(
            text, as: .rotation, of: "a rotation", upTo: maximumBytes, trust: trust)
        return (try RotationCertificate(payload: payload), key)
    }
}
