import Cryptography
import Diagnostics
import JOSESignature
import WireText

/// The roots of a trail from its first segment on, each bound to the one before: what proves that deleted segments
/// were there and what they held.
struct RootChain: Sendable {
    struct Root: Sendable {
        let statement: RootStatement
        let digest: [UInt8]
        let jws: String
        /// Fingerprint of the key that signed.
        let key: String
    }

    private(set) var trust: AttestationTrust
    private(set) var roots: [Root] = []
    private(set) var successions: [String] = []

    /// Verifies the whole file.
    init(_ file: RootsFile, node: String, trust: AttestationTrust) throws {
        self.trust = trust
        try file.forEach { entry, number in
            do {
                try take(entry, node: node)
            } catch let error as DiagnosedError {
                throw error.at("roots line \(number)")
            }
        }
    }

    private mutating func take(_ entry: RootsFile.Entry, node: String) throws {
        switch entry {
        case .key(let jwk): trust.learn(try JWK(jsonText: jwk).publicKey())
        case .succession(let jws):
            let (from, _) = try trust.accept(succession: jws)
            successions.append(jws)
            if let last = roots.last, last.key != from, !isSuccessor(from, of: last.key) {
                throw DiagnosedError(
                    .attestationKeyUnknown, fault: .client, "a succession by a key that had stepped back",
                    expected: last.key, found: from)
            }
        case .root(let jws): roots.append(try root(jws, node: node))
        }
    }

    private func root(_ jws: String, node: String) throws -> Root {
        let verified = try trust.verify(jws, as: .root)
        let statement = try RootStatement(verified.payload)
        guard statement.node == node else {
            throw Break.foreign("a root of another node", expected: node, found: statement.node.quotedForError)
        }
        let previous = roots.last
        let trail = previous?.statement.trail ?? statement.trail
        guard statement.trail == trail else {
            throw Break.foreign("a root of another trail", expected: trail, found: statement.trail.quotedForError)
        }
        let first = (previous?.statement.last ?? 0) + 1
        let digest = previous?.digest ?? TrailHash.genesis(node: node, trail: trail)
        guard statement.first == first, statement.previous == digest else {
            throw DiagnosedError(
                .auditRootInvalid, fault: .client, "a root does not continue the root before it",
                expected: "first record \(first), previous \(Hexadecimal.encode(digest))",
                found: "first record \(statement.first), previous \(Hexadecimal.encode(statement.previous))")
        }
        if let previous, previous.key != verified.key, !isSuccessor(verified.key, of: previous.key) {
            throw DiagnosedError(
                .attestationKeyUnknown, fault: .client, "a root by a key that had stepped back",
                found: verified.key)
        }
        return Root(
            statement: statement, digest: SHA256.hash(Array(jws.utf8)), jws: jws, key: verified.key)
    }

    /// Whether the successions so far lead from one key to the other.
    private func isSuccessor(_ next: String, of key: String) -> Bool {
        var key = key
        for jws in successions where AttestationTrust.claimedKey(jws) == key {
            guard let verified = try? trust.verify(jws, as: .succession),
                let statement = try? SuccessionStatement(verified.payload)
            else { continue }
            key = Thumbprint.of(statement.key)
            if key == next { return true }
        }
        return false
    }

    func root(endingAt last: Int64) -> Root? {
        // Roots are in the order of their last records.
        var (low, high) = (0, roots.count)
        while low < high {
            let middle = (low + high) / 2
            if roots[middle].statement.last < last { low = middle + 1 } else { high = middle }
        }
        return low < roots.count && roots[low].statement.last == last ? roots[low] : nil
    }

    /// The root that covers a record.
    func root(covering seq: Int64) -> Root? {
        roots.first { $0.statement.first <= seq && seq <= $0.statement.last }
    }
}
