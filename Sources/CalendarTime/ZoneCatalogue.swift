package import Diagnostics
package import ICalendar
import Glibc
import Synchronization

/// Finds the rules of a zone by the name that a TZID has.
///
/// In this order: IANA, also behind the prefixes of vendors (`/citadel.org/1/Europe/Berlin`); the names of Windows; the
/// VTIMEZONE of the same object. A name that none of them knows is an error, never UTC.
package final class ZoneCatalogue: Sendable {
    private let data: @Sendable (String) -> [UInt8]?
    private let known = Mutex<[String: ZoneRules?]>([:])

    /// - Parameter data: the TZif octets of an IANA name. It is asked only for names of letters, digits, `_`, `+`, `-`
    ///   and `/`, once for each.
    package init(data: @escaping @Sendable (String) -> [UInt8]?) { self.data = data }

    /// The zones of the operating system (Debian package `tzdata`).
    package static let system = ZoneCatalogue { name in file("/usr/share/zoneinfo/" + name) }

    /// - Parameter document: whose VTIMEZONE may say what the name means.
    /// - Throws: `calendar-zone-unknown`, `calendar-time-malformed` for a VTIMEZONE that is none.
    package func rules(for tzid: String, in document: CalendarDocument?) throws(DiagnosedError) -> ZoneRules {
        if let rules = rules(named: tzid) { return rules }
        if let document, let rules = try ZoneRules(tzid: tzid, in: document) { return rules }
        throw .unknownZone()
    }

    /// By IANA or Windows name alone, as a setting has it.
    package func rules(named tzid: String) -> ZoneRules? {
        guard tzid.utf8.count <= 200 else { return nil }
        if let name = WindowsZones.name(for: tzid) { return iana(name) }
        if let rules = iana(tzid) { return rules }
        guard tzid.hasPrefix("/") else { return nil }
        // After the vendor's prefix: the longest end that is a zone.
        var parts = tzid.split(separator: "/")[...]
        while parts.count > 1 {
            parts.removeFirst()
            if let rules = iana(parts.joined(separator: "/")) { return rules }
        }
        return nil
    }

    /// The name by which IANA knows a zone that has a name of Windows or of IANA; nil for all others.
    package func ianaName(for tzid: String) -> String? {
        let name = WindowsZones.name(for: tzid) ?? tzid
        return iana(name) == nil ? nil : name
    }

    /// A name by which Windows knows a zone: that of CLDR, or of a zone with the same clocks from 2020 to 2035; nil when
    /// Windows has none.
    package func windowsName(for tzid: String) -> String? {
        if WindowsZones.name(for: tzid) != nil { return WindowsZones.written(tzid) }
        guard let iana = ianaName(for: tzid) else { return nil }
        if let exact = WindowsZones.windows(for: iana) { return exact }
        guard let rules = rules(named: iana) else { return nil }
        let clocks = { (rules: ZoneRules) in Self.samples.map { rules.offset(at: $0) } }
        let wanted = clocks(rules)
        return WindowsZones.all.first { name in self.rules(named: name).map(clocks) == wanted }
    }

    /// Every third day.
    private static let samples = (0..<1948).map { Instant(seconds: 1_577_836_800 + $0 * 259_200) }

    private func iana(_ name: String) -> ZoneRules? {
        if ["UTC", "Z", "GMT", "ETC/UTC"].contains(name.uppercased()) { return .utc }
        guard Self.isName(name) else { return nil }
        return known.withLock { known in
            if let rules = known[name] { return rules }
            let rules = data(name).flatMap { ZoneRules(tzif: $0) }
            // What strangers write as names fills no memory.
            if rules != nil || known.count < 2000 { known[name] = .some(rules) }
            return rules
        }
    }

    private static func isName(_ name: String) -> Bool {
        !name.isEmpty && name.first != "/"
            && name.utf8.allSatisfy { octet in
                48...57 ~= octet || 97...122 ~= octet | 32 && octet >= 65 || "_+-/".utf8.contains(octet)
            }
    }

    private static func file(_ path: String) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var octets = [UInt8](repeating: 0, count: 1 << 18)
        var count = 0
        while count < octets.count {
            let read = octets.withUnsafeMutableBytes { buffer in
                Glibc.read(descriptor, buffer.baseAddress?.advanced(by: count), buffer.count - count)
            }
            guard read > 0 else { return read == 0 ? Array(octets[..<count]) : nil }
            count += read
        }
        return nil
    }
}
