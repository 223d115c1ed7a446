import EDiscoveryExport
import Testing
import WireText

@Suite("Clock of a time zone")
struct ZoneRulesTests {
    /// Python reads the machine's own tables; Foundation's may be of another year, and zones change.
    @Test(
        "Offsets are those that Python reads from the same tables",
        .enabled(if: Program.isThere("python3")),
        arguments: [
            "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns", "UTC",
            "Pacific/Auckland", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Tokyo", "Europe/Dublin",
        ])
    func sameAsPython(name: String) async throws {
        let rules = try ZoneRules(named: name)
        let script = """
            import datetime, sys, zoneinfo
            zone = zoneinfo.ZoneInfo(sys.argv[1])
            for seconds in range(0, 2114380800, 457200):
                print(int(datetime.datetime.fromtimestamp(seconds, zone).utcoffset().total_seconds()))
            """
        let outcome = try await Program.run(["python3", "-c", script, name])
        #expect(outcome.status == 0, "\(outcome.errors)")
        var seconds: Int64 = 0
        var differing: [Int64] = []
        // Every 5 days and 7 hours from 1970 to 2037.
        for line in outcome.output.split(separator: "\n") {
            let expected = try #require(Int(line)) / 60 * 60
            if rules.offset(at: Timestamp(seconds: seconds)) != expected { differing.append(seconds) }
            seconds += 457_200
        }
        #expect(seconds == 2_114_550_000 && differing.isEmpty, "\(differing.count): \(differing.prefix(3))")
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
