import Diagnostics
package import WireText

/// What the KMS testifies about an erasure: what is destroyed, what is redacted, what stays, and what it can not reach.
///
/// Names nobody in clear: subject and spaces stand as the pseudonyms of the audit trail. Signed by the attestation key,
/// `typ` `hds-erasure-certificate`; the file is one JSON object of the JWS and the key's public half, which counts only
/// for who believes its fingerprint.
package struct ErasureCertificate: Sendable, Equatable {
    /// How many of each.
    package struct Counts: Sendable, Equatable {
        package var spacesDestroyed: Int64 = 0
        package var keysDestroyed: Int64 = 0
        package var authorizationsDestroyed: Int64 = 0
        package var unboundKeysDestroyed: Int64 = 0
        package var sessionsEnded: Int64 = 0
        package var spacesRedacted: Int64 = 0
        package var authorizationsRedacted: Int64 = 0
        package var keysRedacted: Int64 = 0
        /// Left as they are because an officer holds them.
        package var spacesHeld: Int64 = 0

        package static let names: [(String, any WritableKeyPath<Counts, Int64> & Sendable)] = [
            ("spacesDestroyed", \.spacesDestroyed), ("keysDestroyed", \.keysDestroyed),
            ("authorizationsDestroyed", \.authorizationsDestroyed),
            ("unboundKeysDestroyed", \.unboundKeysDestroyed), ("sessionsEnded", \.sessionsEnded),
            ("spacesRedacted", \.spacesRedacted), ("authorizationsRedacted", \.authorizationsRedacted),
            ("keysRedacted", \.keysRedacted), ("spacesHeld", \.spacesHeld),
        ]

        package init() {}

        /// Each count with its name, in a fixed order.
        package var all: [(name: String, count: Int64)] { Self.names.map { ($0.0, self[keyPath: $0.1]) } }

        package func json(into json: inout JSONWriter) {
            json.beginObject()
            for (name, count) in all { json.member(name, count) }
            json.endObject()
        }
    }

    /// The id of the audit record with which it began.
    package var id: String
    /// `user` or `space`.
    package var kind: String
    /// Pseudonym.
    package var subject: String
    package var host: String
    package var node: String
    /// Who ordered it and who confirmed it.
    package var officers: [String]
    /// SHA-256 of the signed request, base64url.
    package var request: String
    package var begun: Timestamp
    package var finished: Timestamp
    package var counts: Counts
    /// The first spaces that were destroyed or redacted, by pseudonym, at most `maximumObjects`.
    package var objects: [String]
    /// Over all of them in order: SHA-256(before || SHA-256(line)), hexadecimal; 32 zero octets for none.
    package var digest: String
    /// Until when backups may hold what is destroyed, as the ordering officer has stated it.
    package var backupsUntil: Timestamp
    package var stays: [String]
    package var outOfReach: [String]

    package static let maximumObjects = 1_000
    package static let maximumBytes = 1 << 20

    package init(
        id: String, kind: String, subject: String, host: String, node: String, officers: [String], request: String,
        begun: Timestamp, finished: Timestamp, counts: Counts, objects: [String], digest: String,
        backupsUntil: Timestamp, stays: [String], outOfReach: [String]
    ) {
        (self.id, self.kind, self.subject, self.host, self.node) = (id, kind, subject, host, node)
        (self.officers, self.request, self.begun, self.finished) = (officers, request, begun, finished)
        (self.counts, self.objects, self.digest, self.backupsUntil) = (counts, objects, digest, backupsUntil)
        (self.stays, self.outOfReach) = (stays, outOfReach)
    }

    package func json() -> [UInt8] {
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("id", id)
        json.member("kind", kind)
        json.member("subject", subject)
        json.member("host", host)
        json.member("node", node)
        json.member("officers", officers)
        json.member("request", request)
        json.member("begun", begun.iso8601)
        json.member("finished", finished.iso8601)
        json.name("counts")
        counts.json(into: &json)
        json.member("objects", objects)
        json.member("digest", digest)
        json.member("backupsUntil", backupsUntil.iso8601)
        json.member("stays", stays)
        json.member("outOfReach", outOfReach)
        json.endObject()
        return json.bytes()
    }

    init(payload: [UInt8]) throws(DiagnosedError) {
        let json = try StatementReader(payload, upTo: Self.maximumBytes, nodes: 4_000)
        func texts(_ name: String) throws(DiagnosedError) -> [String] {
            guard let texts = json.root[name]?.strings else { throw StatementReader.malformed(name) }
            return texts
        }
        var counts = Counts()
        for (name, path) in Counts.names {
            guard let count = json.root["counts"]?[name]?.integer, count >= 0 else {
                throw StatementReader.malformed(name)
            }
            counts[keyPath: path] = count
        }
        self.init(
            id: try json.text("id"), kind: try json.text("kind"), subject: try json.text("subject"),
            host: try json.text("host"), node: try json.text("node"), officers: try texts("officers"),
            request: try json.text("request"), begun: try json.time("begun"), finished: try json.time("finished"),
            counts: counts, objects: try texts("objects"), digest: Hexadecimal.encode(try json.digest("digest")),
            backupsUntil: try json.time("backupsUntil"), stays: try texts("stays"),
            outOfReach: try texts("outOfReach"))
    }

    // MARK: The file

    package func file(signedBy key: AttestationKey) throws -> String {
        try CertificateFile.text(json(), as: .erasure, signedBy: key)
    }

    /// The certificate in a file's content, when a believed key has signed exactly it.
    package static func verify(
        file text: String, trust: AttestationTrust
    ) throws -> (certificate: ErasureCertificate, key: String) {
        let (payload, key) = try CertificateFile.verify(
            text, as: .erasure, of: "an erasure", upTo: maximumBytes, trust: trust)
        return (try ErasureCertificate(payload: payload), key)
    }
}
