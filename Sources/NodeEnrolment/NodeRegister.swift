package import Cryptography
import Diagnostics
package import KeyStore
package import MasterKey
package import NodeList
import SecretMemory
package import WireText

/// What the nodes of a cluster know of each other: the signed list, keys that wait for an officer, and who is drained.
package struct NodeBook: Sendable, Equatable {
    /// A key that is on no list yet, or another one than the list has.
    package struct Candidate: Sendable, Equatable {
        package enum Origin: String, Sendable, CaseIterable {
            /// A node that opens the root keys said so itself.
            case running
            /// A new machine showed that it has the one-time code.
            case code
        }

        package var publicKey: PublicKey
        package var origin: Origin
        package var since: Timestamp

        package init(publicKey: PublicKey, origin: Origin, since: Timestamp) {
            (self.publicKey, self.origin, self.since) = (publicKey, origin, since)
        }

        package var fingerprint: NodeFingerprint { NodeFingerprint(of: publicKey) }
    }

    /// A compact JWS; whoever reads it verifies it.
    package var list: String?
    package var candidates: [String: Candidate] = [:]
    package var drained: Set<String> = []

    package init() {}
}

/// The book of nodes in the key store: the setting `nodes`, sealed under the root key, so that nobody who can only write
/// rows puts a key into it.
package struct NodeRegister: Sendable {
    package static let setting = "nodes"
    private let store: any KeyStore
    private let ring: SealRing

    package init(store: any KeyStore, ring: SealRing) {
        (self.store, self.ring) = (store, ring)
    }

    package func book() async throws -> NodeBook { try await read().book }

    /// Reads, changes and writes until nobody came between; what is durable when it returns. Nothing is written where
    /// nothing changes.
    @discardableResult
    package func change(_ body: (inout NodeBook) throws -> Void) async throws -> NodeBook {
        for _ in 0..<16 {
            let (before, version, value) = try await read()
            var book = before
            try body(&book)
            guard book != before else { return book }
            let sealed = try book.json().withUnsafeBytes {
                try ring.seal($0, kind: .setting, id: Self.setting, version: version + 1)
            }
            var next: [UInt8] = []
            next.append(bigEndian: version + 1)
            let change = StoreChange(
                writes: [.putSetting(name: Self.setting, value: next + sealed)],
                expectations: [.setting(name: Self.setting, value: value)])
            if try await store.commit(change) == .committed { return book }
        }
        throw DiagnosedError(
            .storeBusy, fault: .store, "others change the nodes at the same time", hint: "try again")
    }

    private func read() async throws -> (book: NodeBook, version: Int64, value: [UInt8]?) {
        guard let value = try await store.setting(Self.setting) else { return (NodeBook(), 0, nil) }
        let version = SealedTable.settingVersion(value)
        let plain = try ring.open(
            Array(value.dropFirst(SealedTable.settingOffset)), kind: .setting, id: Self.setting, version: version)
        guard let book = try plain.withUnsafeBytes({ try NodeBook(json: Array($0)) }) else {
            throw DiagnosedError(
                .sealBroken, fault: .store, "the nodes in the store are not as a KMS wrote them",
                expected: "a book of nodes of this release or an older one",
                hint: "give every node the same release; else somebody changed the database")
        }
        return (book, version, value)
    }
}

extension NodeBook {
    func json() -> [UInt8] {
        var json = JSONWriter()
        json.beginObject()
        json.member("list", ifPresent: list)
        json.name("candidates")
        json.beginObject()
        for (name, candidate) in candidates.sorted(by: { $0.key < $1.key }) {
            json.name(name)
            json.beginObject()
            json.member("key", Base64URL.encode(candidate.publicKey.subjectPublicKeyInfo))
            json.member("origin", candidate.origin.rawValue)
            json.member("since", candidate.since.iso8601)
            json.endObject()
        }
        json.endObject()
        json.member("drained", drained.sorted())
        json.endObject()
        return json.bytes()
    }

    /// Nil when it is none.
    init?(json bytes: [UInt8]) throws {
        let root = try JSONDocument(bytes, limits: .init(maximumBytes: 512 << 10)).root
        list = root["list"]?.string
        drained = Set(root["drained"]?.strings ?? [])
        for (name, node) in root["candidates"]?.members ?? [] {
            guard let key = node["key"]?.string.flatMap({ Base64URL.decode($0) }),
                let publicKey = try? PublicKey(subjectPublicKeyInfo: key), publicKey.kind == .p256,
                let origin = node["origin"]?.string.flatMap({ Candidate.Origin(rawValue: $0) }),
                let since = node["since"]?.string.flatMap({ Timestamp(iso8601: $0) })
            else { return nil }
            candidates[name] = Candidate(publicKey: publicKey, origin: origin, since: since)
        }
    }
}
