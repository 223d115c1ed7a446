import Diagnostics
import TestServers
import Testing

@testable import ICalendar

@Suite("Calendar document")
struct CalendarDocumentTests {
    private static let lines = [
        "BEGIN:VCALENDAR", "VERSION:2.0", "X-WR-CALNAME:Caf\u{E9}", "BEGIN:VTIMEZONE", "TZID:Local", "BEGIN:STANDARD",
        "DTSTART:19701025T030000", "TZOFFSETFROM:+0200", "TZOFFSETTO:+0100", "END:STANDARD", "END:VTIMEZONE",
        "BEGIN:VEVENT", "UID:1", "summary;LANGUAGE=en:Plan\\, then", "  do", "DTSTART;TZID=\"Local\":20260102T100000",
        "ATTENDEE;PARTSTAT=ACCEPTED;CN=\"O'Neil, A^'B^'\":mailto:o'neil+x@example.org", "X-ODD;B=2;A=1,\"3;4\":v;a:l",
        "BEGIN:VALARM", "TRIGGER:-PT5M", "DESCRIPTION:alarm", "END:VALARM", "END:VEVENT", "END:VCALENDAR",
    ]

    private static func read(_ lines: [String], end: String = "\r\n") throws -> CalendarDocument {
        try CalendarDocument(parsing: Array(lines.map { $0 + end }.joined().utf8))
    }

    private static func event(of document: CalendarDocument) throws -> CalendarDocument.Component {
        try #require(document.components.first { $0.name == "VEVENT" })
    }

    @Test("Names, parameters and values are read, folds undone, quotes and carets resolved")
    func reading() throws {
        let document = try Self.read(Self.lines)
        let event = try Self.event(of: document)
        #expect(document.property("SUMMARY", of: event)?.value == "Plan\\, then do")
        let attendee = try #require(document.property("attendee", of: event))
        #expect(attendee.values(of: "cn") == ["O'Neil, A\"B\""])
        #expect(attendee.value == "mailto:o'neil+x@example.org")
        let odd = try #require(document.property("X-ODD", of: event))
        #expect(odd.parameters.map(\.name) == ["B", "A"])
        #expect(odd.values(of: "A") == ["1", "3;4"])
        #expect(odd.value == "v;a:l")
        #expect(document.property("DESCRIPTION", of: event) == nil, "the alarm's is not the event's")
        #expect(
            document.components.map(\.name) == ["VCALENDAR", "VTIMEZONE", "STANDARD", "VEVENT", "VALARM"])
    }

    @Test("An edit of one property leaves every other octet", arguments: ["\r\n", "\n"])
    func edit(_ end: String) throws {
        var document = try Self.read(Self.lines, end: end)
        let event = try Self.event(of: document)
        try document.put("SUMMARY", value: "New", in: event)
        try document.put("CONFERENCE", [.init("VALUE", ["URI"])], value: "https://a.example/1", in: event)
        var expected = Self.lines
        expected.replaceSubrange(13...14, with: ["SUMMARY:New"])
        expected.insert("CONFERENCE;VALUE=URI:https://a.example/1", at: 17)
        #expect(String(decoding: document.octets, as: UTF8.self) == expected.map { $0 + end }.joined())

        let once = document.octets
        try document.put("CONFERENCE", [.init("VALUE", ["URI"])], value: "https://a.example/1", in: event)
        #expect(document.octets == once, "a second pass writes nothing")
        document.remove("CONFERENCE", from: event)
        expected.remove(at: 17)
        #expect(String(decoding: document.octets, as: UTF8.self) == expected.map { $0 + end }.joined())
    }

    @Test("A property that is folded in another way but says the same is not folded anew")
    func foldsStay() throws {
        var document = try Self.read(["BEGIN:VCALENDAR", "X-A:on", " e", "END:VCALENDAR"])
        let before = document.octets
        try document.put("X-A", value: "one", in: document.components[0])
        #expect(document.octets == before)
    }

    @Test("Octets that are no UTF-8, a character cut by a fold and a last line without end are kept")
    func oddOctets() throws {
        let octets = Array("BEGIN:VCALENDAR\r\nX-A:".utf8) + [0xFF] + Array("\r\nX-B:".utf8) + [0xC3, 13, 10, 32, 0xA9]
        let all = octets + Array("\r\n\r\nX-C:1\nEND:VCALENDAR".utf8)
        let document = try CalendarDocument(parsing: all)
        #expect(document.octets == all)
        #expect(document.property("X-B", of: document.components[0])?.value == "\u{E9}")
    }

    @Test("What is written is folded at 75 octets, never inside a character", arguments: [11, 12, 13] as [UInt64])
    func folding(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<300 {
            let value = Self.text(upTo: 200, &random)
            let line = try ContentLine("DESCRIPTION", value: CalendarText.escape(value))
            let physical = line.octets.split(separator: 10).map { $0.dropLast() }
            for part in physical {
                #expect(part.count <= 75, "seed \(seed)")
                #expect(String(validating: part, as: UTF8.self) != nil, "seed \(seed)")
            }
            let read = try ContentLine(reading: line.octets, number: 1)
            #expect(read == line, "seed \(seed)")
            #expect(CalendarText.unescape(read.value) == value, "seed \(seed)")
        }
    }

    @Test("Any object: read, edit one property, print: all else is identical", arguments: [21, 22, 23] as [UInt64])
    func anyObject(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let end = Bool.random(using: &random) ? "\r\n" : "\n"
            let properties = (0..<Int.random(in: 1...12, using: &random)).map { number in
                let value = CalendarText.escape(Self.text(upTo: 60, &random))
                let cut = value.index(
                    value.startIndex, offsetBy: Int.random(in: 0...value.count, using: &random))
                return "x-P\(number);Z=1;A=\"b:\(number)\":" + value[..<cut] + end + "\t" + value[cut...] + end
            }
            let head = "BEGIN:VCALENDAR\(end)BEGIN:VEVENT\(end)"
            let tail = "BEGIN:VALARM\(end)X-P0:alarm\(end)END:VALARM\(end)END:VEVENT\(end)END:VCALENDAR\(end)"
            let whole = head + properties.joined() + tail
            var document = try CalendarDocument(parsing: Array(whole.utf8))
            #expect(document.octets == Array(whole.utf8), "seed \(seed)")

            let chosen = Int.random(in: 0..<properties.count, using: &random)
            try document.put("X-P\(chosen)", value: "edited", in: try Self.event(of: document))
            var expected = properties
            expected[chosen] = "X-P\(chosen):edited\(end)"
            #expect(document.octets == Array((head + expected.joined() + tail).utf8), "seed \(seed)")
        }
    }

    @Test(
        "What is no iCalendar object is refused",
        arguments: [
            "", "VERSION:2.0\r\n", "BEGIN:VEVENT\r\nEND:VEVENT\r\n", "BEGIN:VCALENDAR\r\n",
            "BEGIN:VCALENDAR\r\nEND:VEVENT\r\n", "BEGIN:VCALENDAR\r\nno colon\r\nEND:VCALENDAR\r\n",
            "BEGIN:VCALENDAR\r\nX;A=\"open:1\r\nEND:VCALENDAR\r\n", " BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
            "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
            "BEGIN:VCALENDAR\r\n" + String(repeating: "BEGIN:A\r\n", count: 8),
        ])
    func refused(_ text: String) {
        #expect(throws: DiagnosedError(.calendarMalformed, fault: .peer, "")) {
            try CalendarDocument(parsing: Array(text.utf8))
        }
    }

    @Test("A value that would begin another line, and a component as a property, are refused")
    func injection() throws {
        var document = try Self.read(Self.lines)
        let before = document.octets
        let event = try Self.event(of: document)
        for (name, value) in [("SUMMARY", "a\r\nATTENDEE:x"), ("END", "VEVENT"), ("A:B", "c"), ("", "c")] {
            #expect(throws: DiagnosedError(.calendarEditRefused, fault: .internal, "")) {
                try document.put(name, value: value, in: event)
            }
        }
        #expect(document.octets == before)
    }

    private static func text(upTo count: Int, _ random: inout SeededGenerator) -> String {
        let alphabet = Array("ab ;,\\:\"^n\u{E9}\u{4E2D}\u{1F600}\n")
        return String(
            (0..<Int.random(in: 0...count, using: &random)).compactMap { _ in
                alphabet.randomElement(using: &random)
            })
    }
}
