/// The offsets of one time zone, past and to come.
///
/// Either from TZif data (RFC 8536), with the rule at its end for all years after the last change, or from a VTIMEZONE.
/// A local time in a gap takes the offset before the gap, one that occurs twice is the first (RFC 5545, section 3.3.5).
package struct ZoneRules: Sendable, Equatable {
    /// When an offset begins.
    struct Change: Sendable, Equatable {
        let instant: Int
        let offset: Int
    }

    private let first: Int
    private let changes: [Change]
    private let rule: PosixZone?

    /// - Parameter changes: in their order.
    init(first: Int, changes: [Change], rule: PosixZone? = nil) {
        self.first = first
        self.changes = changes
        self.rule = rule
    }

    package static let utc = ZoneRules(first: 0, changes: [])

    /// Seconds east of Greenwich at a point in time.
    package func offset(at instant: Instant) -> Int {
        if let rule, instant.seconds >= changes.last?.instant ?? .min { return rule.offset(at: instant.seconds) }
        var low = 0
        var high = changes.count
        while low < high {
            let middle = (low + high) / 2
            if changes[middle].instant <= instant.seconds { low = middle + 1 } else { high = middle }
        }
        return low == 0 ? first : changes[low - 1].offset
    }

    package func local(of instant: Instant) -> LocalTime {
        LocalTime(seconds: instant.seconds + offset(at: instant))
    }

    package func instant(of local: LocalTime) -> Instant {
        let before = offset(at: Instant(seconds: local.seconds - 86_400))
        let after = offset(at: Instant(seconds: local.seconds + 86_400))
        for offset in [before, after] {
            let instant = Instant(seconds: local.seconds - offset)
            if self.offset(at: instant) == offset { return instant }
        }
        return Instant(seconds: local.seconds - before)
    }
}

extension ZoneRules {
    /// Reads TZif data of version 2 or later; nil when it is none.
    package init?(tzif octets: [UInt8]) {
        guard octets.count <= 1 << 20, let one = Header(octets, at: 0), octets[4] >= UInt8(ascii: "2") else {
            return nil
        }
        let begin = 44 + one.size(ofTimes: 4)
        guard let header = Header(octets, at: begin), header.types > 0 else { return nil }
        let times = begin + 44
        let indices = times + header.times * 8
        let types = indices + header.times
        let footer = begin + 44 + header.size(ofTimes: 8)
        guard footer <= octets.count else { return nil }
        func number(_ place: Int, _ count: Int) -> Int {
            var value = octets[place] >= 128 ? -1 : 0
            for octet in octets[place..<place + count] { value = value << 8 | Int(octet) }
            return value
        }
        func offset(_ type: Int) -> Int? { type < header.types ? number(types + type * 6, 4) : nil }
        guard let first = offset(0) else { return nil }
        var changes: [Change] = []
        for index in 0..<header.times {
            guard let offset = offset(Int(octets[indices + index])) else { return nil }
            changes.append(Change(instant: number(times + index * 8, 8), offset: offset))
        }
        let text = String(decoding: octets[footer...].drop { $0 == 10 }.prefix { $0 != 10 }, as: UTF8.self)
        let rule = PosixZone(text)
        guard rule != nil || text.isEmpty else { return nil }
        self.init(first: first, changes: changes, rule: rule)
    }

    private struct Header {
        let times: Int
        let types: Int
        private let rest: Int
        private let leaps: Int

        init?(_ octets: [UInt8], at place: Int) {
            guard octets.count >= place + 44, Array(octets[place..<place + 4]) == Array("TZif".utf8) else { return nil }
            func count(_ index: Int) -> Int {
                octets[place + 20 + index * 4..<place + 24 + index * 4].reduce(0) { $0 << 8 | Int($1) }
            }
            leaps = count(2)
            times = count(3)
            types = count(4)
            rest = count(0) + count(1) + count(5)
        }

        func size(ofTimes width: Int) -> Int { times * (width + 1) + types * 6 + leaps * (width + 4) + rest }
    }
}
