import Cryptography
import Diagnostics
import SearchIndexing
import SearchMatching
import SearchProtocol
import SecretMemory
import Testing
import TextAnalysis
import WireText

@Suite("Keys and entries")
struct EntryTests {
    static func message(
        _ text: String, id: String = "m-1", sequence: UInt64 = 1, digest: UInt8 = 7
    ) -> IndexedMessage {
        IndexedMessage(
            id: id, sequence: sequence, content: SearchableText(text),
            ciphertextDigest: [UInt8](repeating: digest, count: 32))
    }

    private static func keys(_ octet: UInt8, analyser: String = TextAnalyser.name) throws -> SearchKeys {
        try SearchKeys(searchKey: SymmetricKey(copying: [UInt8](repeating: octet, count: 32)), analyser: analyser)
    }

    private static let term = Term(.stem, language: "en", Array("server".utf8)).octets

    @Test("A token is HMAC under HKDF of the search key with length-prefixed info, and never changes")
    func frozenToken() throws {
        // Independently of this code: Python's hmac over the same derivation.
        #expect(Hexadecimal.encode(try Self.keys(1).token(of: Self.term).octets) == "e52d8dc38790e2fa09daa00d8f088376")
        #expect(
            Hexadecimal.encode(try Self.keys(1).token(of: Self.term, variant: 3).octets)
                == "2c5858096fd03bdc091fdc0d2439c655")
        let long = Term(.surface, [UInt8](repeating: 0x61, count: 100)).octets
        #expect(Hexadecimal.encode(try Self.keys(1).token(of: long).octets) == "6e31ed7103263db703b4fed43c3e8568")
    }

    @Test("Another key, another analyser and another variant give other tokens")
    func separation() throws {
        let keys = try Self.keys(1)
        let tokens = [
            keys.token(of: Self.term), keys.token(of: Self.term, variant: 1),
            try Self.keys(2).token(of: Self.term), try Self.keys(1, analyser: "hds-text-2").token(of: Self.term),
        ]
        #expect(Set(tokens).count == 4)
        #expect(throws: DiagnosedError.self) { try SearchKeys(searchKey: SymmetricKey(copying: [1, 2, 3])) }
    }

    private static func epoch(_ profile: SearchProfile, key: UInt8 = 1) throws -> IndexEpoch {
        IndexEpoch(room: "r", epoch: 1, profile: profile, languages: .english, keys: try keys(key))
    }

    @Test(
        "The same message under the same keys gives the same octets, whoever makes the entry",
        arguments: SearchProfile.allCases)
    func deterministic(_ profile: SearchProfile) throws {
        let text = "The budget of the third quarter is in @bob's report, see https://example.com/q3"
        let one = EntryBuilder(analyser: try TextAnalyser()), other = EntryBuilder(analyser: try TextAnalyser())
        _ = try other.entry(for: Self.message("something else before", id: "m-0"), in: Self.epoch(profile))
        let entry = try one.entry(for: Self.message(text), in: Self.epoch(profile))
        #expect(try other.entry(for: Self.message(text), in: Self.epoch(profile)).encode() == entry.encode())
        let frozen: [SearchProfile: String] = [
            .list: "2b5abd86d78c496a", .padded: "3a6abbcb91f8b4de", .salted: "0b7c0a370cc093ef",
        ]
        #expect(Hexadecimal.encode(SHA256.hash(entry.encode()).prefix(8)) == frozen[profile])
    }

    @Test("Only who holds the search key can tell that an entry is sound", arguments: SearchProfile.allCases)
    func mac(_ profile: SearchProfile) throws {
        let epoch = try Self.epoch(profile)
        let builder = EntryBuilder(analyser: try TextAnalyser())
        let entry = try builder.entry(for: Self.message("sound as a bell"), in: epoch)
        #expect(epoch.keys.isAuthentic(entry))
        #expect(!(try Self.keys(2)).isAuthentic(entry))
        let octets = entry.encode()
        for index in octets.indices {
            var damaged = octets
            damaged[index] ^= 0x10
            if let read = try? SearchEntry(decoding: damaged) {
                #expect(!epoch.keys.isAuthentic(read), "octet \(index)")
            }
        }
        let tombstone = try builder.tombstone(message: "m-1", sequence: 4, in: epoch)
        #expect(epoch.keys.isAuthentic(tombstone) && tombstone.body == .tombstone)
    }

    private func tokens(_ entry: SearchEntry) -> [UInt64] {
        if case .tokens(let tokens) = entry.body { tokens } else { [] }
    }

    @Test("Order, frequency, stop words and language leave no trace")
    func noTrace() throws {
        let epoch = try Self.epoch(.list)
        let builder = EntryBuilder(analyser: try TextAnalyser())
        let one = try builder.entry(for: Self.message("The server and the server are down"), in: epoch)
        let other = try builder.entry(for: Self.message("down: servers"), in: epoch)
        #expect(tokens(one) == tokens(other) && tokens(one).count == 2)
    }

    @Test("Padded and salted entries have a multiple of 8 values, empty messages too")
    func padding() throws {
        let builder = EntryBuilder(analyser: try TextAnalyser())
        for count in 0...20 {
            let text = (0..<count).map { "w\($0)" }.joined(separator: " ")
            let wanted = max(8, (count + 7) / 8 * 8)
            let padded = try builder.entry(for: Self.message(text, id: "p\(count)"), in: Self.epoch(.padded))
            #expect(tokens(padded).count == wanted)
            let salted = try builder.entry(for: Self.message(text, id: "p\(count)"), in: Self.epoch(.salted))
            guard case .codewords(_, let codewords) = salted.body else { Issue.record("no codewords"); return }
            #expect(codewords.count == wanted)
        }
        let most = (0..<1024).map { "w\($0)" }.joined(separator: " ")
        #expect(tokens(try builder.entry(for: Self.message(most), in: Self.epoch(.padded))).count == 1024)
    }

    @Test("Padding recurs over messages as words do, and a frequent word has all its variants")
    func wordLike() throws {
        let epoch = try Self.epoch(.padded)
        let builder = EntryBuilder(analyser: try TextAnalyser())
        let frequent = Term(.stem, language: "en", Array("just".utf8)).octets
        let variants = VariantTable.count(of: frequent[...])
        #expect(variants == 8)
        let names = (0..<variants).map { epoch.keys.token(of: frequent, variant: $0).high }
        var counts: [UInt64: Int] = [:]
        for index in 0..<2000 {
            let entry = try builder.entry(for: Self.message("just", id: "m\(index)"), in: epoch)
            #expect(tokens(entry).count(where: names.contains) == 1)
            for token in tokens(entry) { counts[token, default: 0] += 1 }
        }
        for name in names { #expect((150...350).contains(counts[name, default: 0])) }
        // 14,000 paddings: they recur as words do, of which half are seen once; the most frequent is not more frequent than a variant of a frequent word.
        let paddings = counts.filter { !names.contains($0.key) }
        #expect(paddings.values.count { $0 > 1 } * 5 > paddings.count * 2)
        #expect(paddings.values.max() ?? 0 < 350)
        #expect(paddings.count > 1000)
    }

    @Test("A salt depends on message, version and ciphertext, and without the token nothing recurs")
    func salts() throws {
        let epoch = try Self.epoch(.salted)
        let builder = EntryBuilder(analyser: try TextAnalyser())
        let messages = [
            Self.message("same words here"), Self.message("same words here", id: "m-2"),
            Self.message("same words here", sequence: 2), Self.message("same words here", digest: 8),
        ]
        var salts: Set<[UInt8]> = []
        var all: Set<UInt32> = []
        for message in messages {
            guard case .codewords(let salt, let codewords) = try builder.entry(for: message, in: epoch).body else {
                continue
            }
            salts.insert(salt)
            all.formUnion(codewords)
        }
        #expect(salts.count == 4)
        #expect(all.count == 32)
    }

    @Test("The service finds salted entries by the tokens of a lookup and nothing else")
    func matching() throws {
        let epoch = try Self.epoch(.salted)
        let builder = EntryBuilder(analyser: try TextAnalyser())
        var entries: [(salt: [UInt8], codewords: [UInt32])] = []
        for index in 0..<300 {
            let text = index % 3 == 0 ? "kernel panic \(index)" : index % 3 == 1 ? "kernel \(index)" : "coffee \(index)"
            let entry = try builder.entry(for: Self.message(text, id: "m\(index)"), in: epoch)
            guard case .codewords(let salt, let codewords) = entry.body else { continue }
            entries.append((salt, codewords))
        }
        func token(_ word: String) -> SearchToken {
            epoch.keys.token(of: Term(.stem, language: "en", Array(word.utf8)).octets)
        }
        var matcher = SaltedMatcher()
        let kernels = matcher.matches(of: [[token("kernel")]], among: entries)
        #expect(kernels == (0..<300).filter { $0 % 3 != 2 })
        let both = matcher.matches(of: [[token("kernel")], [token("panic"), token("nothing")]], among: entries)
        #expect(both == (0..<300).filter { $0 % 3 == 0 })
        let other = try Self.keys(9).token(of: Term(.stem, language: "en", Array("kernel".utf8)).octets)
        #expect(matcher.matches(of: [[other]], among: entries).isEmpty)
        #expect(matcher.matches(of: [[token("kernel")]], among: []).isEmpty)
    }
}
