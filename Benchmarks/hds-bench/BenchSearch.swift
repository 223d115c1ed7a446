import Cryptography
import GRDBSQLite
import Glibc
import SearchIndexing
import SearchProtocol
import SecretMemory
import TestVectors
import TextAnalysis
import WireText

/// Entries of real messages on one core, by turns with SQLite's FTS5 (porter, detail=full) on the same messages; octets of an
/// entry; a query of two words in 1,000 rooms.
struct BenchSearch {
    private static let rounds = 3

    static func measure() throws -> [Measurement] {
        guard ChatCorpus.english.isAvailable else { return [] }
        let messages = try ChatCorpus.english.messages()
        let prepared = messages.map { message in
            (
                room: message.room,
                message: IndexedMessage(
                    id: message.id, sequence: 1, content: SearchableText(message.text),
                    ciphertextDigest: SHA256.hash(Array(message.id.utf8)))
            )
        }
        var plain: [Double] = []
        var rates: [SearchProfile: [Double]] = [:]
        var sizes: [SearchProfile: (octets: Int, values: Int)] = [:]
        for _ in 0..<rounds {
            plain.append(Double(messages.count) / (try seconds { try fullText(messages) }))
            for profile in SearchProfile.allCases {
                var size = (octets: 0, values: 0)
                let epochs = try epochs(of: messages, profile)
                let analyser = try TextAnalyser()
                let time = try seconds {
                    let builder = EntryBuilder(analyser: analyser)
                    for (room, message) in prepared {
                        guard let epoch = epochs[room] else { continue }
                        let entry = try builder.entry(for: message, in: epoch)
                        size.octets += entry.encode().count
                        size.values += count(entry)
                    }
                }
                rates[profile, default: []].append(Double(messages.count) / time)
                sizes[profile] = size
            }
        }
        let limit = median(plain)
        var lines = [Measurement("plaintext FTS5 (porter, detail=full), one core", limit, "messages/s")]
        for profile in SearchProfile.allCases {
            lines.append(
                Measurement(
                    "search entries, \(profile.name), one core", median(rates[profile] ?? []), "messages/s",
                    limit: limit * 1.5, "1.5 times FTS5 in the same run"))
        }
        let number = Double(messages.count)
        for profile in SearchProfile.allCases {
            let size = sizes[profile] ?? (0, 0)
            lines.append(Measurement("search entry, \(profile.name)", Double(size.octets) / number, "octets"))
            lines.append(Measurement("values of an entry, \(profile.name)", Double(size.values) / number, "a message"))
        }
        return lines + (try plans())
    }

    private static func median(_ values: [Double]) -> Double { percentile(values, 0.5) }

    /// Of one core: CPU time of this thread, so that other work on the machine counts for neither side.
    private static func seconds(_ work: () throws -> Void) rethrows -> Double {
        let start = KernelClock.nanoseconds(CLOCK_THREAD_CPUTIME_ID)
        try work()
        return Double(KernelClock.nanoseconds(CLOCK_THREAD_CPUTIME_ID) - start) / 1e9
    }

    private static func count(_ entry: SearchEntry) -> Int {
        switch entry.body {
        case .tokens(let tokens): tokens.count
        case .codewords(_, let codewords): codewords.count
        case .tombstone: 0
        }
    }

    private static func epochs(of messages: [ChatMessage], _ profile: SearchProfile) throws -> [String: IndexEpoch] {
        var epochs: [String: IndexEpoch] = [:]
        for room in Set(messages.map(\.room)) { epochs[room] = try epoch(room, profile) }
        return epochs
    }

    private static func epoch(_ room: String, _ profile: SearchProfile) throws -> IndexEpoch {
        let key = SymmetricKey(copying: SHA256.hash(Array(room.utf8)))
        return IndexEpoch(
            room: room, epoch: 1, profile: profile, languages: .english, keys: try SearchKeys(searchKey: key))
    }

    private static func fullText(_ messages: [ChatMessage]) throws {
        var database: OpaquePointer?
        guard sqlite3_open(":memory:", &database) == SQLITE_OK else { throw BenchFailure("SQLite does not open") }
        defer { sqlite3_close(database) }
        let setup = "CREATE VIRTUAL TABLE m USING fts5(body, tokenize='porter unicode61', detail=full); BEGIN"
        guard sqlite3_exec(database, setup, nil, nil, nil) == SQLITE_OK else {
            throw BenchFailure("SQLite has no FTS5")
        }
        var insertion: OpaquePointer?
        guard sqlite3_prepare_v2(database, "INSERT INTO m(body) VALUES (?)", -1, &insertion, nil) == SQLITE_OK else {
            throw BenchFailure("SQLite does not prepare")
        }
        defer { sqlite3_finalize(insertion) }
        for message in messages {
            var text = message.text
            let result = text.withUTF8 { octets -> Int32 in
                let bound = octets.withMemoryRebound(to: CChar.self) {
                    // Static: the octets stay until the step is over.
                    sqlite3_bind_text(insertion, 1, $0.baseAddress, Int32($0.count), nil)
                }
                return bound == SQLITE_OK ? sqlite3_step(insertion) : bound
            }
            guard result == SQLITE_DONE else { throw BenchFailure("SQLite does not insert") }
            sqlite3_reset(insertion)
        }
        guard sqlite3_exec(database, "COMMIT", nil, nil, nil) == SQLITE_OK else {
            throw BenchFailure("SQLite does not commit")
        }
    }

    /// Two words x 1,000 rooms, keys at hand: analysis, tokens, order, octets of the lookup.
    private static func plans() throws -> [Measurement] {
        var lines: [Measurement] = []
        for profile in SearchProfile.allCases {
            let epochs = try (0..<1000).map { try epoch("room-\($0)", profile) }
            let planner = QueryPlanner(analyser: try TextAnalyser(), vocabulary: nil)
            var random = SystemRandomNumberGenerator()
            var samples: [Double] = []
            for _ in 0..<300 {
                samples.append(
                    try seconds {
                        let plan = try planner.plan(
                            .all([.word("partition"), .word("server")]), in: epochs, limit: 20, using: &random)
                        for lookup in plan.lookups { _ = lookup.encode().count }
                    } * 1000)
            }
            lines.append(
                Measurement("plan of 2 words x 1,000 rooms, \(profile.name), p50", percentile(samples, 0.5), "ms"))
            lines.append(
                Measurement(
                    "plan of 2 words x 1,000 rooms, \(profile.name), p99", percentile(samples, 0.99), "ms", limit: 5,
                    "the query's budget in the indexer"))
        }
        return lines
    }
}
