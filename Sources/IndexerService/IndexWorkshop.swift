import Diagnostics
import SearchIndexing
import SearchProtocol
import SecretMemory
import TextAnalysis

/// Makes entries of decrypted messages, and notes their words: one message at a time, for analyser and builder are for one
/// thread.
actor IndexWorkshop {
    private let builder: EntryBuilder
    private let store: SealedStore
    /// Words that rooms are known to have, of the rooms of late.
    private var known: [String: Set<[UInt8]>] = [:]
    private var fresh: [String: [[UInt8]]] = [:]
    private static let mostWords = 2_000_000
    private var wordCount = 0

    init(store: SealedStore) throws {
        builder = EntryBuilder(analyser: try TextAnalyser())
        self.store = store
    }

    struct Made: Sendable {
        let entry: SearchEntry
        let isCut: Bool
    }

    func entry(
        _ message: IndexedMessage, in epoch: IndexEpoch, under key: SymmetricKey
    ) throws -> Made {
        let entry = try builder.entry(for: message, in: epoch)
        if known[epoch.room] == nil {
            if wordCount > Self.mostWords { (known, wordCount) = ([:], 0) }
            let words = try store.words(of: epoch.room, under: key)
            known[epoch.room] = words
            wordCount += words.count
        }
        builder.forEachWord { word in
            let word = Array(word)
            guard known[epoch.room]?.insert(word).inserted == true else { return }
            fresh[epoch.room, default: []].append(word)
            wordCount += 1
        }
        return Made(entry: entry, isCut: !builder.excess.isEmpty)
    }

    func tombstone(_ message: String, sequence: UInt64, in epoch: IndexEpoch) throws -> SearchEntry {
        try builder.tombstone(message: message, sequence: sequence, in: epoch)
    }

    /// Puts the new words on the disk. When that fails they are kept for the next time, for what is indexed from the feed and
    /// what is indexed anew share them.
    func keepWords(under key: SymmetricKey) throws {
        try store.add(fresh, under: key)
        fresh = [:]
    }

    /// The consent is gone.
    func forget() {
        (known, fresh, wordCount) = ([:], [:], 0)
    }
}
