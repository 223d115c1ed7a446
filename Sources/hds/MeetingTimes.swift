import ArgumentParser
import Glibc
import WireText

/// Times of meetings as people write and read them: `2026-12-01T09:00` in a zone, or with an offset (RFC 3339).
struct MeetingZone {
    /// IANA name; nil when the machine does not say which it has.
    let name: String?

    private static let folder = "/usr/share/zoneinfo/"

    /// - Parameter wanted: nil for the zone of this machine.
    init(_ wanted: String?) throws {
        guard let wanted else {
            name = Self.ofMachine()
            return
        }
        guard Self.isKnown(wanted) else {
            throw ValidationError("There is no time zone '\(wanted)'; expected a name such as Europe/Berlin.")
        }
        // The C library reads and writes times in one zone per process.
        setenv("TZ", wanted, 1)
        tzset()
        name = wanted
    }

    private static func isKnown(_ name: String) -> Bool {
        let isPlain = name.utf8.allSatisfy { octet in
            switch octet {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: "/_+-".utf8.contains(octet)
            }
        }
        var status = stat()
        return isPlain && !name.isEmpty && !name.hasPrefix("/") && stat(folder + name, &status) == 0
            && status.st_mode & S_IFMT == S_IFREG
    }

    private static func ofMachine() -> String? {
        if let set = getenv("TZ").map({ String(cString: $0) }), isKnown(set) { return set }
        var target = [CChar](repeating: 0, count: 4096)
        let count = readlink("/etc/localtime", &target, target.count - 1)
        guard count > 0 else { return nil }
        let path = String(decoding: target.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard let folder = path.firstRange(of: "zoneinfo/") else { return nil }
        let name = String(path[folder.upperBound...])
        return isKnown(name) ? name : nil
    }

    func time(_ text: String, _ option: String) throws -> Timestamp {
        if let time = Timestamp(iso8601: text) { return time }
        // With a zone that is none the text is RFC 3339 already: so the date itself is checked by it.
        let separators: Set<Character> = ["T", " "]
        let whole = text.count == 10 ? text + "T00:00" : text
        let padded = String(whole.map { separators.contains($0) ? "T" : $0 }) + (whole.count == 16 ? ":00" : "") + "Z"
        guard let civil = Timestamp(iso8601: padded) else {
            throw ValidationError(
                "\(option) is no time; expected 2026-12-01T09:00, or with an offset ...T09:00:00+01:00.")
        }
        var parts = tm()
        var seconds = time_t(civil.seconds)
        gmtime_r(&seconds, &parts)
        parts.tm_isdst = -1
        let local = mktime(&parts)
        return Timestamp(seconds: Int64(local))
    }

    func text(_ time: Timestamp, day: Bool = true) -> String {
        var parts = tm()
        var seconds = time_t(time.seconds)
        localtime_r(&seconds, &parts)
        var buffer = [CChar](repeating: 0, count: 64)
        let count = strftime(&buffer, buffer.count, day ? "%a %F %H:%M" : "%H:%M", &parts)
        return String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
