import Diagnostics
import TestServers
import Testing

@testable import CalendarTime

@Suite("Recurrence")
struct RecurrenceTests {
    private static func local(_ text: String) throws -> LocalTime {
        try CalendarMoment.parse(text[...], zone: nil).local
    }

    private static func times(
        _ rule: String, _ start: String, _ low: String = "19000101", _ high: String = "21000101", limit: Int = 12
    ) throws -> [String] {
        let rule = try RecurrenceRule(rule)
        var until: LocalTime?
        if case .until(let moment) = rule.end { until = moment.local }
        return try rule.times(from: local(start), until: until, in: local(low)...local(high), limit: limit).map(\.text)
    }

    private static let days = RecurrenceRule.weekdayNames

    private static func rule(_ random: inout SeededGenerator) -> String {
        func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
        func some(_ from: [String], _ most: Int) -> String {
            from.shuffled(using: &random).prefix(Int.random(in: 1...most, using: &random)).joined(separator: ",")
        }
        let frequency = ["DAILY", "WEEKLY", "MONTHLY", "YEARLY"].randomElement(using: &random) ?? "DAILY"
        var parts = ["FREQ=\(frequency)"]
        var isBy = false
        func add(_ part: String) {
            parts.append(part)
            isBy = true
        }
        if chance(40) { parts.append("INTERVAL=\(Int.random(in: 2...5, using: &random))") }
        if chance(30) { parts.append("WKST=\(some(days, 1))") }
        if chance(30) { add("BYMONTH=\(some((1...12).map(String.init), 3))") }
        if frequency != "WEEKLY", chance(30) { add("BYMONTHDAY=\(some(["1", "2", "15", "28", "31", "-1", "-2"], 2))") }
        let isOfWeeks = frequency == "YEARLY" && chance(20)
        if isOfWeeks { add("BYWEEKNO=\(some(["1", "20", "-1"], 2))") }
        if isOfWeeks || chance(40) {
            let hasOrdinals = !isOfWeeks && (frequency == "MONTHLY" || frequency == "YEARLY") && chance(50)
            add("BYDAY=" + some(hasOrdinals ? ["1", "2", "-1"].flatMap { n in days.map { n + $0 } } : days, 3))
        }
        if frequency == "YEARLY", chance(15) { add("BYYEARDAY=\(some(["1", "100", "200", "366", "-1"], 2))") }
        if isBy, chance(30) { parts.append("BYSETPOS=\(some(["1", "2", "-1"], 2))") }
        if chance(10) { parts.append("BYHOUR=9,17") }
        switch Int.random(in: 0..<4, using: &random) {
        case 0: parts.append("COUNT=\(Int.random(in: 1...8, using: &random))")
        default: parts.append("UNTIL=20350101T000000")
        }
        return parts.joined(separator: ";")
    }

    @Test(
        "Any rule gives the dates that Python's dateutil gives, from its start and from a window years later",
        .enabled(if: PythonOracle.isThere, "python3 with dateutil is not installed: apt-get install python3-dateutil"),
        arguments: SeededGenerator.seeds.suffix(2))
    func python(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        var questions: [String] = []
        var ours: [String] = []
        for _ in 0..<100 {
            let rule = Self.rule(&random)
            var date = CivilDate(number: Int.random(in: 7300..<20_000, using: &random))
            if rule.contains("FREQ=WEEKLY"), rule.contains("BYSETPOS") {
                // dateutil counts the places of the first week from DTSTART on, but those of months from their first day.
                let first = Self.days.firstIndex { rule.contains("WKST=\($0)") } ?? 0
                date = CivilDate(number: date.number - (date.weekday - first + 7) % 7)
            }
            let start = LocalTime(date, secondOfDay: 9 * 3600)
            let window = Bool.random(using: &random) ? start.text : "20200310T120000"
            questions.append("\(rule) \(start.text) \(window)")
            ours.append(try Self.times(rule, start.text, window, "20350101").joined(separator: " "))
        }
        let script = """
            import sys, datetime, itertools
            from dateutil.rrule import rrulestr
            shape = "%Y%m%dT%H%M%S"
            for line in sys.stdin:
                rule, start, window = line.split()
                if "COUNT" in rule:
                    # dateutil looks for a match up to the year 9999: the window's end stands in for that.
                    parts = [p for p in rule.split(";") if not p.startswith("COUNT")]
                    count = int(rule.split("COUNT=")[1].split(";")[0])
                    times = rrulestr(";".join(parts) + ";UNTIL=20350101T000000", dtstart=datetime.datetime.strptime(start, shape))
                    times = itertools.islice(times, count)
                else:
                    times = rrulestr(rule, dtstart=datetime.datetime.strptime(start, shape))
                found = (t.strftime(shape) for t in times if t.strftime(shape) >= window)
                print(" ".join(itertools.islice(found, 12)))
            """
        let theirs = try await PythonOracle.answers(to: questions, script)
        #expect(theirs.count == ours.count, "seed \(seed)")
        let wrong = zip(questions, zip(ours, theirs)).filter { $0.1.0 != $0.1.1 }
        #expect(wrong.isEmpty, "seed \(seed): \(wrong.count), such as \(wrong.prefix(4))")
    }

    /// dateutil 2.9 errs for weeks 52 and 53 in the first days of January (it leaves out Saturday 2022-01-01).
    @Test(
        "Weeks 52 and 53, as all others, are those of ISO 8601, by Python's calendar",
        .enabled(if: PythonOracle.isThere))
    func weeks() async throws {
        let weeks = [1, 9, 51, 52, 53]
        let ours = try weeks.map { week in
            try Self.times(
                "FREQ=YEARLY;BYDAY=MO,TU,WE,TH,FR,SA,SU;BYWEEKNO=\(week)", "20000101T090000", "20000101", "20300101",
                limit: 400
            )
            .joined(separator: " ")
        }
        let script = """
            import sys, datetime
            for line in sys.stdin:
                days = (datetime.date(2000, 1, 1) + datetime.timedelta(n) for n in range(10958))
                print(" ".join(d.strftime("%Y%m%dT090000") for d in days if d.isocalendar()[1] == int(line)))
            """
        #expect(try await PythonOracle.answers(to: weeks.map(String.init), script) == ours)
    }

    /// Of RFC 5545, section 3.8.5.3, and those at which libical 3.0.16 errs or never ends.
    @Test(
        "Known rules give known dates",
        arguments: [
            ("FREQ=DAILY;BYMONTHDAY=-1,-2", "20260101T090000", "20260130T090000 20260131T090000 20260227T090000"),
            ("FREQ=MONTHLY;BYMONTHDAY=1;BYSETPOS=2", "20111103T090000", ""),
            (
                "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-2,1", "20260101T090000",
                "20260101T090000 20260129T090000 20260202T090000"
            ),
            ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "19970512T090000", "19970512T090000 19980511T090000 19990517T090000"),
            ("FREQ=YEARLY;BYWEEKNO=20", "19970513T090000", "19970513T090000 19980512T090000 19990518T090000"),
            (
                "FREQ=YEARLY;INTERVAL=4;BYMONTH=11;BYDAY=TU;BYMONTHDAY=2,3,4,5,6,7,8", "19961105T090000",
                "19961105T090000 20001107T090000 20041102T090000"
            ),
            (
                "FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13", "19970902T090000",
                "19980213T090000 19980313T090000 19981113T090000"
            ),
            (
                "FREQ=WEEKLY;INTERVAL=2;COUNT=3;BYDAY=TU,SU;WKST=SU", "19970805T090000",
                "19970805T090000 19970817T090000 19970819T090000"
            ),
            ("FREQ=YEARLY", "20240229T090000", "20240229T090000 20280229T090000 20320229T090000"),
        ])
    func known(_ rule: String, _ start: String, _ expected: String) throws {
        #expect(try Self.times(rule, start, limit: 3).joined(separator: " ") == expected)
    }

    @Test("An endless rule begins at the window; one with COUNT is counted through, and refused when that is too long")
    func endless() throws {
        let endless = try Self.times("FREQ=DAILY", "00010101T090000", "20260101", "20260108", limit: 50)
        #expect(endless.count == 7, "739,000 days after the start, with at most 400,000 days looked at")
        #expect(throws: DiagnosedError(.calendarRuleUnsupported, fault: .peer, "")) {
            try Self.times("FREQ=DAILY;COUNT=999999", "00010101T090000", "20260101", "20260108", limit: 50)
        }
    }

    @Test(
        "What is no rule, or one that is not followed, is an error",
        arguments: [
            "", "FREQ=FORTNIGHTLY", "INTERVAL=1", "FREQ=DAILY;INTERVAL=0", "FREQ=DAILY;COUNT=-1",
            "FREQ=DAILY;COUNT=1;COUNT=2",
            "FREQ=DAILY;UNTIL=1;COUNT=3", "FREQ=WEEKLY;BYDAY=1MO", "FREQ=DAILY;BYDAY=XX", "FREQ=DAILY;BYMONTH=13",
            "FREQ=DAILY;BYSETPOS=0", "FREQ=SECONDLY", "FREQ=HOURLY;BYHOUR=1",
            "FREQ=DAILY;INTERVAL=99999999999999999999",
            "FREQ=DAILY;BYDAY=", "FREQ=DAILY;WHAT=1", "FREQ", "FREQ=DAILY;BYMONTHDAY=--1", "FREQ=YEARLY;RSCALE=HEBREW",
            "FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9;BYMINUTE=0,1,2,3,4,5,6,7,8,9",
        ])
    func refused(_ text: String) {
        #expect(throws: DiagnosedError.self) { try RecurrenceRule(text) }
    }
}
