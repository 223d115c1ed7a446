import EDiscoveryExport
import Foundation
import Testing
import WireText

@Suite("Clock of a time zone")
struct ZoneRulesTests {
    @Test(
        "Offsets are those of Foundation, hour by hour around each change and far in the future",
        arguments: [
            "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns", "UTC",
            "Pacific/Auckland", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Tokyo", "Europe/Dublin",
        ])
    func sameAsFoundation(name: String) throws {
        let rules = try ZoneRules(named: name)
        let zone = try #require(TimeZone(identifier: name))
        var seconds: Int64 = 0
        // Every 5 days and 7 hours from 1970 to 2037, where the tables of both end.
        while seconds < 2_114_380_800 {
            let date = Date(timeIntervalSince1970: Double(seconds))
            let expected = zone.secondsFromGMT(for: date) / 60 * 60
            #expect(rules.offset(at: Timestamp(seconds: seconds)) == expected, "\(name) at \(date)")
            seconds += 457_200
        }
    }

    @Test("Behind the last transition the rule at the file's end holds")
    func rule() throws {
        let berlin = try ZoneRules(named: "Europe/Berlin")
        for (time, hours) in [
            ("2060-03-28T00:59:59Z", 1), ("2060-03-28T01:00:00Z", 2), ("2060-10-31T00:59:59Z", 2),
            ("2060-10-31T01:00:00Z", 1),
        ] {
            #expect(berlin.offset(at: try #require(Timestamp(iso8601: time))) == hours * 3600, "\(time)")
        }
        let auckland = try ZoneRules(named: "Pacific/Auckland")
        #expect(auckland.offset(at: try #require(Timestamp(iso8601: "2060-01-01T00:00:00Z"))) == 13 * 3600)
        #expect(auckland.offset(at: try #require(Timestamp(iso8601: "2060-07-01T00:00:00Z"))) == 12 * 3600)
    }

    @Test("A moment far outside of all years has an offset at once", arguments: [Int64.min, .max, -1 << 60, 1 << 60])
    func farAway(milliseconds: Int64) throws {
        let berlin = try ZoneRules(named: "Europe/Berlin")
        #expect((0...7200).contains(berlin.offset(at: Timestamp(milliseconds: milliseconds))))
    }

    @Test(
        "A name that is no zone is refused",
        arguments: ["", "Europe/Nowhere", "../../etc/passwd", "/etc/passwd", "Europe", "a\0b", "tzdata.zi"])
    func unknown(name: String) {
        #expect(throws: (any Error).self) { try ZoneRules(named: name) }
    }
}
