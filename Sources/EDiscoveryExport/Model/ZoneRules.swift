package import Diagnostics
import Glibc
package import WireText

/// The clock of one time zone: which offset from UTC holds when, read from a file of the tz database (RFC 8536).
///
/// Nothing of the process's own zone or locale counts. Moments behind the last transition follow the rule at the file's end.
package struct ZoneRules: Sendable {
    /// Its IANA name.
    package let name: String
    /// Ascending moments (seconds) from which the kind of the same index holds.
    private let transitions: [Int64]
    private let offsets: [Int]
    private let first: Int
    private let rule: ZoneRule?

    package static let utc = ZoneRules(name: "UTC", transitions: [], offsets: [], first: 0, rule: nil)

    private init(name: String, transitions: [Int64], offsets: [Int], first: Int, rule: ZoneRule?) {
        self.name = name
        self.transitions = transitions
        self.offsets = offsets
        self.first = first
        self.rule = rule
    }

    /// Seconds east of UTC, whole minutes.
    package func offset(at moment: Timestamp) -> Int {
        // No year beyond those that can be written: a hostile moment must not be reckoned with.
        let seconds = max(-62_167_219_200, min(253_402_300_799, moment.seconds))
        if let last = transitions.last, seconds >= last {
            return rule?.offset(at: seconds) ?? offsets[offsets.count - 1]
        }
        guard let begin = transitions.first else { return rule?.offset(at: seconds) ?? first }
        guard seconds >= begin else { return first }
        var (low, high) = (0, transitions.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if transitions[middle] <= seconds { low = middle } else { high = middle }
        }
        return offsets[low]
    }

    /// - Parameter name: `Europe/Berlin`.
    package init(named name: String, folder: String = "/usr/share/zoneinfo") throws(DiagnosedError) {
        if name == "UTC" {
            self = .utc
            return
        }
        let unknown = DiagnosedError.exportSetting(
            "there is no such time zone",
            expected: "an IANA name such as Europe/Berlin, known to this machine's tzdata",
            found: name.quotedForError)
        let isPlain = name.utf8.allSatisfy { character in
            switch character {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "+"),
                UInt8(ascii: "/"):
                true
            default: false
            }
        }
        guard isPlain, (1...64).contains(name.utf8.count), !name.hasPrefix("/"), !name.contains("//"),
            let octets = PackageReader.smallFile(folder + "/" + name, limit: 1 << 20)
        else { throw unknown }
        guard let zone = ZoneRules(name: name, file: octets) else { throw unknown }
        self = zone
    }

    /// Nil for what is no such file.
    init?(name: String, file octets: [UInt8]) {
        var reader = ZoneFileReader(octets: octets)
        guard let head = reader.header() else { return nil }
        // The second block has 64 bits for each moment; the first is for old readers.
        guard head.version >= 2, reader.skip(head.size(4)), let wide = reader.header() else { return nil }
        guard let moments = reader.numbers(wide.transitions, 8), let kinds = reader.octets(wide.transitions),
            wide.types > 0, let table = reader.octets(wide.types * 6),
            reader.skip(wide.characters + wide.leaps * 12 + wide.standards + wide.universals)
        else { return nil }
        let all = (0..<wide.types).map { index -> Int in
            let value = table[(index * 6)..<(index * 6 + 4)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            // A clock of whole minutes, as the written forms have it.
            return Int(Int32(bitPattern: value)) / 60 * 60
        }
        guard kinds.allSatisfy({ Int($0) < all.count }) else { return nil }
        for (one, next) in zip(moments, moments.dropFirst()) where next <= one { return nil }
        self.init(
            name: name, transitions: moments, offsets: kinds.map { all[Int($0)] }, first: all[0],
            rule: ZoneRule(reader.line()))
    }
}

/// The blocks of a TZif file, octet by octet.
private struct ZoneFileReader {
    let octets: [UInt8]
    var position = 0

    struct Header {
        var version: Int
        var universals: Int, standards: Int, leaps: Int, transitions: Int, types: Int, characters: Int
        func size(_ width: Int) -> Int {
            transitions * (width + 1) + types * 6 + characters + leaps * (width + 4) + standards + universals
        }
    }

    mutating func octets(_ count: Int) -> [UInt8]? {
        guard count >= 0, count <= octets.count - position else { return nil }
        defer { position += count }
        return Array(octets[position..<(position + count)])
    }

    mutating func skip(_ count: Int) -> Bool { octets(count) != nil }

    mutating func numbers(_ count: Int, _ width: Int) -> [Int64]? {
        guard count <= 1 << 16, let all = octets(count * width) else { return nil }
        return (0..<count).map { index in
            Int64(bitPattern: all[(index * width)..<((index + 1) * width)].reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
        }
    }

    mutating func header() -> Header? {
        guard let magic = octets(4), magic == Array("TZif".utf8), let rest = octets(16), let counts = numbers(6, 4)
        else { return nil }
        let version = rest[0] == 0 ? 1 : Int(rest[0]) - 0x30
        guard counts.allSatisfy({ (0...(1 << 16)).contains($0) }) else { return nil }
        return Header(
            version: version, universals: Int(counts[0]), standards: Int(counts[1]), leaps: Int(counts[2]),
            transitions: Int(counts[3]), types: Int(counts[4]), characters: Int(counts[5]))
    }

    /// The text between the last two line feeds.
    mutating func line() -> String {
        guard position < octets.count, octets[position] == 0x0A else { return "" }
        return String(decoding: octets[(position + 1)...].prefix { $0 != 0x0A }, as: UTF8.self)
    }
}
