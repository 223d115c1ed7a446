import Diagnostics
import KMSClient
import KMSProtocol
import WireText

/// What a search found, decrypted here.
package struct FoundEntry: Sendable {
    package let space: Space
    package let entry: SpaceEntry
}

package struct SearchOutcome: Sendable {
    /// The best first.
    package let found: [FoundEntry]
    /// Spaces that were not searched, by name or id, with why.
    package let leftOut: [(space: String, reason: String)]
}

// Search: the words leave sealed under a key of the user's own, which the KMS gives to the organisation's indexer for that
// alone. The cloud sees who searches and what is found, and never the words.
extension Spaces {
    /// - Parameter space: nil for all.
    package func search(_ words: String, in space: Space? = nil, limit: Int = 20) async throws -> SearchOutcome {
        guard !words.isEmpty, words.utf8.count <= 4096 else {
            throw DiagnosedError(.textTooLong, fault: .client, "a search has 1 to 4096 octets")
        }
        let all = try await self.all()
        let key = try await searchKey()
        // Each time anew, also when sent again: the same sealed query is answered once.
        let query = try await named(words)
        let answer = try await persistently { [cloud] in
            try await cloud.search(
                EncryptedText(encrypting: query, under: key.key), keyURI: key.uri, in: space?.id, limit: limit)
        }
        let spaces = Dictionary(all.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        try await keys.prefetch(answer.items.compactMap(\.keyURI))
        var found: [FoundEntry] = []
        for activity in answer.items {
            // The cloud may name what it likes: only what opens under keys of a known space is shown as text.
            guard let own = activity.conversation.flatMap({ spaces[$0] }), space.map({ $0.id == own.id }) ?? true,
                let entry = try await entry(activity, in: own)
            else { continue }
            found.append(FoundEntry(space: own, entry: entry))
        }
        return SearchOutcome(
            found: found, leftOut: answer.leftOut.map { (spaces[$0.conversation]?.name ?? $0.conversation, $0.reason) })
    }

    /// `from:` takes an address here; the indexer knows persons by their ids only.
    private func named(_ words: String) async throws -> String {
        var parts: [String] = []
        for part in words.split(separator: " ") {
            guard part.hasPrefix("from:"), part.contains("@") else {
                parts.append(String(part))
                continue
            }
            parts.append("from:" + (try await person(String(part.dropFirst(5))).id))
        }
        return parts.joined(separator: " ")
    }

    /// The key for searches: made once, in a resource with nobody else in it.
    private func searchKey() async throws -> KMSKey {
        if let uri = try store.current().searchKey {
            do {
                return try await keys.key(uri)
            } catch let refusal as KMSRefusal where refusal.status == KMSStatus.notFound {
                // It was deleted or erased: another one is as good.
            }
        }
        let key = try await keys.takeUnboundKey()
        try await kms.perform(.createResource(keys: [key.uri], users: [account.id]))
        let bound = try await keys.retrieve(key.uri)
        try store.update { $0.searchKey = bound.uri }
        return bound
    }
}
