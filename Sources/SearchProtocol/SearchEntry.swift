package import Diagnostics

/// What the search service stores of one message: opaque values, and who they belong to (docs/search.md, Index format).
///
/// Integers are big endian. Tokens ascend without repetition, so that an entry has one form and tells no order. Nothing in
/// it tells term frequencies, positions, the length of the message or its language.
package struct SearchEntry: Equatable, Sendable {
    package static let formatVersion: UInt8 = 1
    package static let saltByteCount = 16
    package static let macByteCount = 16
    /// The most tokens or codewords of an entry, with padding.
    package static let maximumTokens = 1024
    /// Of a codeword: 24 bits.
    package static let codewordByteCount = 3

    /// What the message is searched by.
    package enum Body: Equatable, Sendable {
        /// Profile `list` or `padded`.
        case tokens([UInt64])
        /// Profile `salted`: each codeword is PRF(token, salt), cut to 24 bits.
        case codewords(salt: [UInt8], [UInt32])
        /// The message is gone: whatever entry of it comes later is ignored.
        case tombstone
    }

    package let profile: SearchProfile
    package let analyser: AnalyserID
    /// The conversation that the message stands in.
    package let room: String
    package let epoch: UInt32
    package let message: String
    /// Of the message's versions: an edit has a higher one.
    package let sequence: UInt64
    package let body: Body
    /// Under the room's key of purpose `mac`; the service can not check it, who made it can.
    package let mac: [UInt8]
    /// As `encode` gives it, where whoever made the entry had it anyway.
    private let encoded: [UInt8]?

    package static func == (left: SearchEntry, right: SearchEntry) -> Bool {
        left.profile == right.profile && left.analyser == right.analyser && left.room == right.room
            && left.epoch == right.epoch && left.message == right.message && left.sequence == right.sequence
            && left.body == right.body && left.mac == right.mac
    }

    /// Everything before the MAC, which is what the MAC is of.
    package static func authenticated(
        profile: SearchProfile, analyser: AnalyserID, room: String, epoch: UInt32, message: String, sequence: UInt64,
        body: Body
    ) -> [UInt8] {
        var octets: [UInt8] = []
        octets.reserveCapacity(24 + room.utf8.count + message.utf8.count + body.octetCount + macByteCount)
        octets.append(formatVersion)
        octets.append(body == .tombstone ? profile.rawValue | 0x80 : profile.rawValue)
        octets.append(search: UInt64(analyser.rawValue), octets: 2)
        octets.append(searchName: room)
        octets.append(search: UInt64(epoch), octets: 4)
        octets.append(searchName: message)
        octets.append(search: sequence, octets: 8)
        switch body {
        case .tokens(let tokens):
            octets.append(search: UInt64(tokens.count), octets: 2)
            octets.append(searchTokens: tokens)
        case .codewords(let salt, let codewords):
            octets.append(contentsOf: salt)
            octets.append(search: UInt64(codewords.count), octets: 2)
            for codeword in codewords { octets.append(search: UInt64(codeword), octets: 3) }
        case .tombstone: break
        }
        return octets
    }

    /// - Parameter authenticated: what the MAC was made of, as `authenticated` gave it for the same values.
    package init(
        profile: SearchProfile, analyser: AnalyserID, room: String, epoch: UInt32, message: String, sequence: UInt64,
        body: Body, mac: [UInt8], authenticated: [UInt8]? = nil
    ) throws(DiagnosedError) {
        try SearchName.check(room, "the room")
        try SearchName.check(message, "the message id")
        try Self.check(body, profile)
        guard mac.count == Self.macByteCount else {
            throw .searchLimit("the MAC has the wrong size", expected: "\(Self.macByteCount)", found: "\(mac.count)")
        }
        self.profile = profile
        self.analyser = analyser
        self.room = room
        self.epoch = epoch
        self.message = message
        self.sequence = sequence
        self.body = body
        self.mac = mac
        encoded = authenticated.map { $0 + mac }
    }

    package var authenticated: [UInt8] {
        Self.authenticated(
            profile: profile, analyser: analyser, room: room, epoch: epoch, message: message, sequence: sequence,
            body: body)
    }

    package func encode() -> [UInt8] { encoded ?? authenticated + mac }

    package init(decoding octets: [UInt8]) throws(DiagnosedError) {
        var reader = SearchReader(octets)
        try self.init(&reader)
        try reader.finish("an entry")
    }

    init(_ reader: inout SearchReader) throws(DiagnosedError) {
        let version = try reader.octet("version")
        guard version == Self.formatVersion else {
            throw .searchMalformed("an entry has another version", expected: "1", found: "\(version)")
        }
        let kind = try reader.octet("profile")
        guard let profile = SearchProfile(rawValue: kind & 0x7F) else {
            throw .searchMalformed("an entry has no known profile", found: "\(kind)")
        }
        let analyser = AnalyserID(rawValue: UInt16(try reader.number(octets: 2, "analyser")))
        let room = try reader.name("room")
        let epoch = UInt32(try reader.number(octets: 4, "epoch"))
        let message = try reader.name("message id")
        let sequence = try reader.number(octets: 8, "sequence")
        let body = try Body(&reader, profile: profile, isTombstone: kind & 0x80 != 0)
        let mac = try reader.take(Self.macByteCount, "MAC")
        self.profile = profile
        self.analyser = analyser
        self.room = room
        self.epoch = epoch
        self.message = message
        self.sequence = sequence
        self.body = body
        self.mac = mac
        encoded = nil
    }

    private static func check(_ body: Body, _ profile: SearchProfile) throws(DiagnosedError) {
        func fits(_ count: Int, _ ascends: Bool) throws(DiagnosedError) {
            guard count <= maximumTokens else {
                throw .searchLimit("an entry has too many tokens", expected: "\(maximumTokens)", found: "\(count)")
            }
            guard ascends else { throw .searchMalformed("the tokens of an entry do not ascend") }
        }
        switch body {
        case .tokens(let tokens):
            guard profile != .salted else { throw .searchMalformed("a salted entry has no tokens") }
            try fits(tokens.count, ascends(tokens))
        case .codewords(let salt, let codewords):
            guard profile == .salted, salt.count == saltByteCount else {
                throw .searchMalformed("codewords need the profile salted and a salt of \(saltByteCount) octets")
            }
            guard codewords.allSatisfy({ $0 < 1 << 24 }) else {
                throw .searchMalformed("a codeword has more than 24 bits")
            }
            try fits(codewords.count, ascends(codewords))
        case .tombstone: break
        }
    }

    fileprivate static func ascends<Number: FixedWidthInteger>(_ numbers: [Number]) -> Bool {
        for index in numbers.indices.dropFirst() where numbers[index - 1] >= numbers[index] { return false }
        return true
    }
}

extension SearchEntry.Body {
    fileprivate var octetCount: Int {
        switch self {
        case .tokens(let tokens): 2 + 8 * tokens.count
        case .codewords(let salt, let codewords): salt.count + 2 + 3 * codewords.count
        case .tombstone: 0
        }
    }

    fileprivate init(_ reader: inout SearchReader, profile: SearchProfile, isTombstone: Bool) throws(DiagnosedError) {
        if isTombstone {
            self = .tombstone
            return
        }
        let salt = profile == .salted ? try reader.take(SearchEntry.saltByteCount, "salt") : []
        let count = Int(try reader.number(octets: 2, "count of tokens"))
        guard count <= SearchEntry.maximumTokens else {
            throw .searchMalformed(
                "an entry has too many tokens", expected: "at most \(SearchEntry.maximumTokens)", found: "\(count)")
        }
        if profile == .salted {
            var codewords: [UInt32] = []
            codewords.reserveCapacity(count)
            for _ in 0..<count { codewords.append(UInt32(try reader.number(octets: 3, "codeword"))) }
            guard SearchEntry.ascends(codewords) else {
                throw .searchMalformed("the codewords of an entry do not ascend")
            }
            self = .codewords(salt: salt, codewords)
        } else {
            var tokens: [UInt64] = []
            tokens.reserveCapacity(count)
            for _ in 0..<count { tokens.append(try reader.number(octets: 8, "token")) }
            guard SearchEntry.ascends(tokens) else { throw .searchMalformed("the tokens of an entry do not ascend") }
            self = .tokens(tokens)
        }
    }
}

extension SearchEntry {
    /// Which of two entries of one message stays: a tombstone always, then the higher sequence, then the higher epoch.
    ///
    /// The same entry again changes nothing, and the order of arrival does not matter.
    package func supersedes(_ stored: SearchEntry) -> Bool {
        if stored.body == .tombstone { return false }
        if body == .tombstone { return true }
        return (sequence, epoch) > (stored.sequence, stored.epoch)
    }
}
