internal import Cryptography
package import Diagnostics
internal import Encryption
package import SearchProtocol
package import SecretMemory
package import TextAnalysis
internal import Synchronization
internal import WireText

/// What is derived from the search key of one room and epoch: a key for each purpose, none usable for another.
///
/// HKDF-SHA-256 with the info `hds/search/v1`, analyser, purpose, each behind its length (security model, rule 29); the
/// search key itself is used for nothing else. Immutable; any thread may use it.
package final class SearchKeys: Sendable {
    package static let searchKeyByteCount = 32

    /// Longer terms are hashed first, so that every token costs the same.
    private static let longestTerm = 64

    let terms: HMACSHA256Midstate
    let padding: HMACSHA256Midstate
    private let salts: HMACSHA256Midstate
    private let mac: HMACSHA256Midstate
    /// Seals the vocabulary that the indexer keeps of this room and epoch.
    package let vocabulary: SymmetricKey

    package init(searchKey: SymmetricKey, analyser: String = TextAnalyser.name) throws {
        guard searchKey.count == Self.searchKeyByteCount else {
            throw DiagnosedError(
                .searchKeyInvalid, fault: .peer, "a search key has the wrong size",
                expected: "\(Self.searchKeyByteCount) octets", found: "\(searchKey.count)")
        }
        let root = HKDFSHA256.extract(from: searchKey)
        func derived(_ purpose: String) throws -> SymmetricKey {
            var info: [UInt8] = []
            for text in ["hds/search/v1", analyser, purpose] { info.append(lengthPrefixed: text) }
            return try HKDFSHA256.expand(root, info: info)
        }
        terms = HMACSHA256Midstate(key: try derived("term"))
        salts = HMACSHA256Midstate(key: try derived("salt"))
        padding = HMACSHA256Midstate(key: try derived("pad"))
        mac = HMACSHA256Midstate(key: try derived("mac"))
        vocabulary = try derived("vocab")
    }

    /// The token of a term; variants above 0 are further tokens of the same term.
    package func token(of term: ArraySlice<UInt8>, variant: Int = 0) -> SearchToken {
        // No class of terms is x.
        var message = term.count <= Self.longestTerm ? Array(term) : [0x78, 0x1F] + SHA256.hash(Array(term))
        // 0x1f stands in no word.
        if variant > 0 { message += [0x1F, UInt8(truncatingIfNeeded: variant)] }
        let (high, low) = terms.prefix(for: message)
        return SearchToken(high: high, low: low)
    }

    package func token(of term: [UInt8], variant: Int = 0) -> SearchToken { token(of: term[...], variant: variant) }

    /// Of one version of a message: 16 octets.
    func salt(message: String, sequence: UInt64, ciphertextDigest: [UInt8]) -> [UInt8] {
        Array(salts.code(for: Self.context(message, sequence) + ciphertextDigest).prefix(SearchEntry.saltByteCount))
    }

    /// The key of everything about one version of a message that has to look random and be the same again.
    ///
    /// With the salt in profile `salted`: under another ciphertext nothing may recur, padding as little as codewords.
    func choices(message: String, sequence: UInt64, salt: [UInt8] = []) -> SearchToken {
        let (high, low) = padding.prefix(for: [0x63] + Self.context(message, sequence) + salt)
        return SearchToken(high: high, low: low)
    }

    /// A token of the room that stands for no term.
    func paddingToken(rank: UInt32) -> UInt64 {
        var message: [UInt8] = [0x70]
        message.append(bigEndian: rank)
        return padding.prefix(for: message).high
    }

    func mac(of authenticated: [UInt8]) -> [UInt8] {
        Array(mac.code(for: authenticated).prefix(SearchEntry.macByteCount))
    }

    /// Whether the entry was made under this key and is as it was made.
    package func isAuthentic(_ entry: SearchEntry) -> Bool {
        constantTimeEqual(entry.mac, mac(of: entry.authenticated))
    }

    private static func context(_ message: String, _ sequence: UInt64) -> [UInt8] {
        var octets: [UInt8] = []
        octets.append(lengthPrefixed: message)
        octets.append(bigEndian: Int64(bitPattern: sequence))
        return octets
    }
}

extension DiagnosedError.Code {
    /// A search key that is not 32 octets.
    package static let searchKeyInvalid: Self = "search-key-invalid"
}

/// Room and epoch with what holds for its length: profile, languages, keys.
///
/// Whoever changes the profile, the analyser or the languages of a room begins an epoch, so that every entry is found by the
/// rules that it was made by. Immutable; any thread may use it.
package final class IndexEpoch: Sendable {
    private static let count = Atomic<UInt32>(0)

    /// Tells epochs apart within this process: 1 and up.
    let number = count.wrappingAdd(1, ordering: .relaxed).newValue
    package let room: String
    package let epoch: UInt32
    package let profile: SearchProfile
    package let languages: LanguageSet
    package let keys: SearchKeys

    package init(room: String, epoch: UInt32, profile: SearchProfile, languages: LanguageSet, keys: SearchKeys) {
        self.room = room
        self.epoch = epoch
        self.profile = profile
        self.languages = languages
        self.keys = keys
    }
}
