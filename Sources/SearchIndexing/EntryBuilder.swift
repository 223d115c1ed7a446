internal import Cryptography
package import Diagnostics
package import SearchProtocol
package import TextAnalysis

/// One version of a message as the indexer has it after decryption.
package struct IndexedMessage: Sendable {
    package let id: String
    package let sequence: UInt64
    package let content: SearchableText
    /// SHA-256 of the message's ciphertext: the salt of profile `salted` depends on it.
    package let ciphertextDigest: [UInt8]

    package init(id: String, sequence: UInt64, content: SearchableText, ciphertextDigest: [UInt8]) {
        self.id = id
        self.sequence = sequence
        self.content = content
        self.ciphertextDigest = ciphertextDigest
    }
}

/// Makes entries of messages; the same message under the same keys gives the same entry.
///
/// Keeps tokens that it has made, in bounded memory. For one thread at a time, one per worker.
package final class EntryBuilder {
    package let analyser: TextAnalyser
    private var tokens = TokenCache()
    private var prf = CodewordPRF()
    /// By the number of the term; 0 is not known yet.
    private var variantCounts: [UInt8] = []
    private var numbers: [UInt64] = []
    private var codewords: [UInt32] = []

    package init(analyser: TextAnalyser) {
        self.analyser = analyser
    }

    /// What the last message had over the limits: to be counted and told.
    package var excess: AnalysisExcess { analyser.excess }

    /// The words and grams of the last message, for the vocabulary of its room.
    package func forEachWord(_ body: (ArraySlice<UInt8>) -> Void) {
        for number in analyser.wordNumbers { body(analyser.word(number)) }
    }

    package func entry(for message: IndexedMessage, in epoch: IndexEpoch) throws(DiagnosedError)
        -> SearchEntry
    {
        analyser.index(message.content, languages: epoch.languages)
        if tokens.prepare(generation: analyser.generation) {
            variantCounts.removeAll(keepingCapacity: true)
        }
        let body: SearchEntry.Body
        switch epoch.profile {
        case .list: body = list(epoch)
        case .padded: body = padded(message, epoch)
        case .salted: body = salted(message, epoch)
        }
        return try sealed(message.id, message.sequence, body, epoch)
    }

    /// A message that was deleted, or whose time is over.
    package func tombstone(
        message: String, sequence: UInt64, in epoch: IndexEpoch
    ) throws(DiagnosedError) -> SearchEntry {
        try sealed(message, sequence, .tombstone, epoch)
    }

    private func sealed(
        _ message: String, _ sequence: UInt64, _ body: SearchEntry.Body, _ epoch: IndexEpoch
    ) throws(DiagnosedError) -> SearchEntry {
        let analyser = AnalyserID(rawValue: TextAnalyser.number)
        let authenticated = SearchEntry.authenticated(
            profile: epoch.profile, analyser: analyser, room: epoch.room, epoch: epoch.epoch,
            message: message,
            sequence: sequence, body: body)
        return try SearchEntry(
            profile: epoch.profile, analyser: analyser, room: epoch.room, epoch: epoch.epoch,
            message: message,
            sequence: sequence, body: body, mac: epoch.keys.mac(of: authenticated), authenticated: authenticated)
    }

    // MARK: Profiles

    private func token(_ term: Int32, variant: Int, _ epoch: IndexEpoch) -> SearchToken {
        let key = TokenCache.key(term: term, variant: variant, epoch)
        if let known = tokens[key] { return known }
        let token = epoch.keys.token(of: analyser.term(term), variant: variant)
        tokens[key] = token
        return token
    }

    private func list(_ epoch: IndexEpoch) -> SearchEntry.Body {
        numbers.removeAll(keepingCapacity: true)
        for term in analyser.termNumbers { numbers.append(token(term, variant: 0, epoch).high) }
        return .tokens(Self.ascending(&numbers))
    }

    private func variants(of term: Int32) -> Int {
        let index = Int(term)
        if index >= variantCounts.count {
            variantCounts.append(contentsOf: repeatElement(0, count: index - variantCounts.count + 256))
        }
        if variantCounts[index] == 0 {
            variantCounts[index] = UInt8(VariantTable.count(of: analyser.term(term)))
        }
        return Int(variantCounts[index])
    }

    /// Tokens, with variants of frequent terms, filled up with values that recur as words do.
    private func padded(_ message: IndexedMessage, _ epoch: IndexEpoch) -> SearchEntry.Body {
        let choices = epoch.keys.choices(message: message.id, sequence: message.sequence)
        prf.rekey(high: choices.high, low: choices.low)
        numbers.removeAll(keepingCapacity: true)
        for term in analyser.termNumbers {
            let count = variants(of: term)
            let first = token(term, variant: 0, epoch)
            // PRF over message, sequence and term: the same version of a message always gets the same variant.
            let variant = count > 1 ? Int(prf.codeword(high: first.high, low: first.low)) % count : 0
            numbers.append(variant == 0 ? first.high : token(term, variant: variant, epoch).high)
        }
        var result = Self.ascending(&numbers)
        var draw: UInt64 = 0
        while result.isEmpty || result.count % 8 != 0, result.count < SearchEntry.maximumTokens {
            let value = prf.codeword(high: .max, low: draw)
            draw += 1
            let filling = paddingToken(PaddingRank.rank(of: value), epoch)
            let place = result.firstIndex { $0 >= filling } ?? result.endIndex
            if place < result.endIndex, result[place] == filling { continue }
            result.insert(filling, at: place)
        }
        return .tokens(result)
    }

    private func paddingToken(_ rank: UInt32, _ epoch: IndexEpoch) -> UInt64 {
        // No term has so many variants.
        let key = TokenCache.key(term: Int32(rank), variant: 0xFF, epoch)
        if let known = tokens[key] { return known.high }
        let value = epoch.keys.paddingToken(rank: rank)
        tokens[key] = SearchToken(high: value, low: 0)
        return value
    }

    private func salted(_ message: IndexedMessage, _ epoch: IndexEpoch) -> SearchEntry.Body {
        let salt = epoch.keys.salt(
            message: message.id, sequence: message.sequence, ciphertextDigest: message.ciphertextDigest)
        codewords.removeAll(keepingCapacity: true)
        for term in analyser.termNumbers {
            let token = self.token(term, variant: 0, epoch)
            prf.rekey(high: token.high, low: token.low)
            codewords.append(prf.codeword(for: salt))
        }
        var result = Self.ascending(&codewords)
        let choices = epoch.keys.choices(message: message.id, sequence: message.sequence, salt: salt)
        prf.rekey(high: choices.high, low: choices.low)
        var draw: UInt64 = 0
        while result.isEmpty || result.count % 8 != 0, result.count < SearchEntry.maximumTokens {
            let filling = prf.codeword(high: .max, low: draw)
            draw += 1
            let place = result.firstIndex { $0 >= filling } ?? result.endIndex
            if place < result.endIndex, result[place] == filling { continue }
            result.insert(filling, at: place)
        }
        return .codewords(salt: salt, result)
    }

    /// Sorted, each once.
    private static func ascending<Number: FixedWidthInteger>(_ numbers: inout [Number]) -> [Number] {
        numbers.sort()
        var result: [Number] = []
        result.reserveCapacity(numbers.count + 8)
        for number in numbers where result.last != number { result.append(number) }
        return result
    }
}

/// Which of the room's padding values a draw means: the higher the rank the rarer, as with words.
enum PaddingRank {
    /// Ranks 8 to 8,191, each octave as likely as the others, so that a rank has about the chance 1/rank. The lowest are
    /// left out: no word is as frequent once stop words are gone and frequent words have variants.
    static func rank(of draw: UInt32) -> UInt32 {
        let octave = 3 + draw % 10
        return 1 << octave + (draw / 10) % (1 << octave)
    }
}

/// Tokens that were made lately, each at the one place that its term, variant and epoch give it.
private struct TokenCache {
    private struct Place {
        /// 0: nothing yet; no epoch has the number 0.
        var key: UInt64 = 0
        var token = SearchToken(high: 0, low: 0)
    }

    private static let bits = 17
    private var places = [Place](repeating: Place(), count: 1 << bits)
    private var generation = 0

    /// Numbers of terms mean something else after the analyser forgot them: true if so.
    mutating func prepare(generation: Int) -> Bool {
        guard generation != self.generation else { return false }
        places = [Place](repeating: Place(), count: 1 << Self.bits)
        self.generation = generation
        return true
    }

    static func key(term: Int32, variant: Int, _ epoch: IndexEpoch) -> UInt64 {
        UInt64(epoch.number) << 32 | UInt64(variant) << 24 | UInt64(truncatingIfNeeded: term)
    }

    subscript(key: UInt64) -> SearchToken? {
        get {
            let place = places[Self.index(key)]
            return place.key == key ? place.token : nil
        }
        set {
            guard let newValue else { return }
            places[Self.index(key)] = Place(key: key, token: newValue)
        }
    }

    @inline(__always)
    private static func index(_ key: UInt64) -> Int {
        Int(truncatingIfNeeded: ((key ^ key >> 29) &* 0x9E37_79B9_7F4A_7C15) >> UInt64(64 - bits))
    }
}
