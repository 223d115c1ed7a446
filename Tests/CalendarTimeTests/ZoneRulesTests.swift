import Diagnostics
import ICalendar
import TestServers
import Testing

@testable import CalendarTime

@Suite("Zone rules")
struct ZoneRulesTests {
    static let zones = [
        "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Tokyo", "America/Sao_Paulo",
        "Africa/Casablanca", "Asia/Tehran", "Europe/Dublin", "Pacific/Apia", "Asia/Kolkata", "US/Eastern", "Etc/GMT+5",
        "Europe/London", "Africa/Cairo", "Asia/Gaza", "America/Los_Angeles", "America/Nuuk", "Antarctica/Troll",
    ]

    @Test(
        "Every local time from 1950 to 2100 has the instant that Python says, in gaps and overlaps, too",
        .enabled(if: PythonOracle.isThere, "python3 with dateutil is not installed: apt-get install python3-dateutil"),
        arguments: [1, 2] as [UInt64])
    func python(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        var questions: [String] = []
        var ours: [String] = []
        for zone in Self.zones {
            let rules = try ZoneCatalogue.system.rules(for: zone, in: nil)
            let low = LocalTime(CivilDate(number: CivilDate.number(1950, 1, 1))).seconds
            let high = LocalTime(CivilDate(number: CivilDate.number(2100, 1, 1))).seconds
            var times = (0..<150).map { _ in Int.random(in: low..<high, using: &random) }
            // The hours around every change of some years.
            for year in [1999, 2026, 2050] {
                var seconds = LocalTime(CivilDate(number: CivilDate.number(year, 1, 1))).seconds
                for _ in 0..<365 * 24 {
                    let before = rules.offset(at: Instant(seconds: seconds))
                    seconds += 3600
                    let after = rules.offset(at: Instant(seconds: seconds))
                    guard before != after else { continue }
                    times += stride(from: -9000, through: 9000, by: 600).map { seconds + before + $0 }
                }
            }
            for time in times {
                let local = LocalTime(seconds: time)
                questions.append("\(zone) \(local.text)")
                ours.append("\(questions[questions.count - 1]) \(rules.instant(of: local).seconds)")
            }
        }
        let script = """
            import sys, datetime, zoneinfo
            for line in sys.stdin:
                zone, text = line.split()
                local = datetime.datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=zoneinfo.ZoneInfo(zone))
                print(zone, text, int(local.timestamp()))
            """
        let theirs = try await PythonOracle.answers(to: questions, script)
        #expect(theirs.count == ours.count, "seed \(seed)")
        let wrong = zip(ours, theirs).filter { $0 != $1 }
        #expect(wrong.isEmpty, "seed \(seed): \(wrong.count), such as \(wrong.prefix(5))")
    }

    private static func document(_ zone: [String]) throws -> CalendarDocument {
        let lines = ["BEGIN:VCALENDAR"] + zone + ["END:VCALENDAR"]
        return try CalendarDocument(parsing: Array(lines.map { $0 + "\r\n" }.joined().utf8))
    }

    /// As Outlook writes the zone of Berlin, under a name that nobody knows.
    static let outlook = [
        "BEGIN:VTIMEZONE", "TZID:Customized Time Zone", "BEGIN:STANDARD", "DTSTART:16010101T030000",
        "TZOFFSETFROM:+0200", "TZOFFSETTO:+0100", "RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=10",
        "END:STANDARD", "BEGIN:DAYLIGHT", "DTSTART:16010101T020000", "TZOFFSETFROM:+0100", "TZOFFSETTO:+0200",
        "RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3", "END:DAYLIGHT", "END:VTIMEZONE",
    ]

    @Test("A zone of the object itself is followed as the same zone of the IANA data is")
    func ownZone() throws {
        let document = try Self.document(Self.outlook)
        let own = try ZoneCatalogue.system.rules(for: "Customized Time Zone", in: document)
        let berlin = try ZoneCatalogue.system.rules(for: "Europe/Berlin", in: nil)
        var local = LocalTime(CivilDate(number: CivilDate.number(1997, 1, 1)))
        while local.date.year < 2060 {
            #expect(own.instant(of: local) == berlin.instant(of: local), "\(local.text)")
            local = LocalTime(seconds: local.seconds + 86_400 * 5 + 1800)
        }
        for text in ["20260329T023000", "20260329T013000", "20261025T023000", "20261025T033000"] {
            let local = try CalendarMoment.parse(text[...], zone: nil).local
            #expect(own.instant(of: local) == berlin.instant(of: local), "\(text)")
        }
    }

    @Test("All names of Windows are zones, in any case of letters")
    func windows() throws {
        for name in [
            "W. Europe Standard Time", "pacific standard time", "Tokyo Standard Time", "UTC-11",
            "Russian Standard Time",
        ] {
            #expect(ZoneCatalogue.system.rules(named: name) != nil, "\(name)")
        }
        let rules = try ZoneCatalogue.system.rules(for: "W. Europe Standard Time", in: nil)
        #expect(rules == ZoneCatalogue.system.rules(named: "Europe/Berlin"))
    }

    @Test("The prefix of a vendor is taken off")
    func vendors() throws {
        for name in ["/citadel.org/20070227_1/Europe/Berlin", "/freeassociation.sourceforge.net/Europe/Berlin"] {
            #expect(ZoneCatalogue.system.rules(named: name) == ZoneCatalogue.system.rules(named: "Europe/Berlin"))
        }
    }

    @Test(
        "An unknown name is an error and never UTC, also when it is a way to a file",
        arguments: [
            "", "Mars/Olympus", "../../../etc/passwd", "/etc/passwd", "zone.tab", "Europe", "Europe/Berlin ",
        ])
    func unknown(_ name: String) {
        #expect(throws: DiagnosedError(.calendarZoneUnknown, fault: .peer, "")) {
            try ZoneCatalogue.system.rules(for: name, in: nil)
        }
    }

    @Test("A VTIMEZONE with a rule of seconds, without offsets or without observances is refused, at once")
    func hostileZone() throws {
        for (from, to) in [
            ("RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3", "RRULE:FREQ=SECONDLY"),
            ("RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=-1SU;BYMONTH=3", "RRULE:FREQ=DAILY"),
            ("TZOFFSETTO:+0200", "TZOFFSETTO:+9900"), ("TZOFFSETTO:+0200", "X-A:1"),
            ("DTSTART:16010101T020000", "DTSTART:99999999T999999"),
        ] {
            let document = try Self.document(Self.outlook.map { $0 == from ? to : $0 })
            #expect(throws: DiagnosedError.self) {
                try ZoneCatalogue.system.rules(for: "Customized Time Zone", in: document)
            }
        }
        let empty = try Self.document(["BEGIN:VTIMEZONE", "TZID:x", "END:VTIMEZONE"])
        #expect(throws: DiagnosedError(.calendarTimeMalformed, fault: .peer, "")) {
            try ZoneCatalogue.system.rules(for: "x", in: empty)
        }
    }

    @Test("Any octets as zone data are read or refused, and never end the program", arguments: SeededGenerator.seeds)
    func anyOctets(_ seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<300 {
            var octets = Array("TZif2".utf8) + random.octets(upTo: 200)
            if octets.count > 100 {
                for index in 20..<44 { octets[index] = 0 }
                octets.replaceSubrange(44..<49, with: Array("TZif2".utf8))
                for index in 64..<88 { octets[index] = index % 4 == 3 ? UInt8.random(in: 0...3, using: &random) : 0 }
            }
            if let rules = ZoneRules(tzif: octets) { _ = rules.offset(at: Instant(seconds: 0)) }
        }
    }
}
