import Diagnostics
import TestServers
import Testing

@testable import ICalendar

/// Edits where properties stand more than once, or other octets of the line are to stay.
@Suite("Calendar edits")
struct CalendarEditTests {
    private static func read(_ lines: [String], end: String = "\r\n") throws -> CalendarDocument {
        let all = ["BEGIN:VCALENDAR", "BEGIN:VEVENT"] + lines + ["END:VEVENT", "END:VCALENDAR"]
        return try CalendarDocument(parsing: Array(all.map { $0 + end }.joined().utf8))
    }

    private static func lines(_ document: CalendarDocument, end: String = "\r\n") -> [String] {
        let all = String(decoding: document.octets, as: UTF8.self).split(separator: end).map(String.init)
        return Array(all.dropFirst(2).dropLast(2))
    }

    private static func isOurs(_ line: ContentLine) -> Bool { !line.values(of: "X-OURS").isEmpty }

    @Test("Of several properties of a name the one that is meant is replaced, whichever it is, and the others stay")
    func several() throws {
        let theirs = ["CONFERENCE;VALUE=URI:https://a/", "conference;LABEL=x:https://b/"]
        for place in 0...2 {
            var before = theirs
            before.insert("CONFERENCE;X-OURS=1:old", at: place)
            var document = try Self.read(before)
            try document.put(
                "CONFERENCE", [.init("X-OURS", ["1"])], value: "new", in: document.components[1], replacing: Self.isOurs
            )
            var after = theirs
            after.insert("CONFERENCE;X-OURS=1:new", at: place)
            #expect(Self.lines(document) == after)
            document.remove("CONFERENCE", from: document.components[1], where: Self.isOurs)
            #expect(Self.lines(document) == theirs)
        }
        var document = try Self.read(theirs)
        try document.put(
            "CONFERENCE", [.init("X-OURS", ["1"])], value: "new", in: document.components[1], replacing: Self.isOurs)
        #expect(Self.lines(document) == theirs + ["CONFERENCE;X-OURS=1:new"])
    }

    @Test("Another value leaves the parameters as they were written")
    func value() throws {
        var document = try Self.read(["description;Language=\"de\";X-A=^n,\"b;c\":old", "DESCRIPTION:second"])
        #expect(try document.putValue("new", ofFirst: "DESCRIPTION", in: document.components[1]))
        #expect(
            Self.lines(document) == ["description;Language=\"de\";X-A=^n,\"b;c\":new", "DESCRIPTION:second"])
        #expect(try !document.putValue("x", ofFirst: "SUMMARY", in: document.components[1]))
        #expect(throws: DiagnosedError(.calendarEditRefused, fault: .internal, "")) {
            try document.putValue("x\r\nATTENDEE:y", ofFirst: "DESCRIPTION", in: document.components[1])
        }
    }

    @Test("A copy stands last, with the components in it, edited, and nothing else changes", arguments: ["\r\n", "\n"])
    func copy(_ end: String) throws {
        let event = ["UID:1", "RRULE:FREQ=DAILY", "x-odd;b=2:on", " e", "BEGIN:VALARM", "RRULE:x", "END:VALARM"]
        var document = try Self.read(event, end: end)
        let before = String(decoding: document.octets, as: UTF8.self)
        let made = try document.appendCopy(of: document.components[1]) { line throws(DiagnosedError) in
            line.name == "RRULE" ? [] : [line]
        }
        let close = "END:VCALENDAR\(end)"
        let copy = (["BEGIN:VEVENT"] + event.filter { $0 != "RRULE:FREQ=DAILY" } + ["END:VEVENT"]).map { $0 + end }
            .joined()
        #expect(String(decoding: document.octets, as: UTF8.self) == before.dropLast(close.count) + copy + close)
        #expect(document.properties(of: made).map(\.name) == ["UID", "X-ODD"])
        #expect(throws: DiagnosedError(.calendarEditRefused, fault: .internal, "")) {
            try document.appendCopy(of: document.components[0]) { line throws(DiagnosedError) in [line] }
        }
    }

    @Test(
        "Any object with properties of the same name: one is edited, all else is identical",
        arguments: SeededGenerator.seeds)
    func anyObject(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let end = Bool.random(using: &random) ? "\r\n" : "\n"
            let number = Int.random(in: 1...6, using: &random)
            let ours = Int.random(in: 0..<number, using: &random)
            let before = (0..<number).map { place in
                let name = ["X-P", "x-p", "X-p"].randomElement(using: &random) ?? "X-P"
                let fold = Bool.random(using: &random) ? end + " " : ""
                return "\(name);A=\"b:\(fold)c\"\(place == ours ? ";X-OURS=1" : ""):text\(fold)\\, \u{E9}\(place)"
            }
            var document = try Self.read(before, end: end)
            try document.put("X-P", value: "edited", in: document.components[1], replacing: Self.isOurs)
            var expected = before
            expected[ours] = "X-P:edited"
            #expect(document == (try Self.read(expected, end: end)), "seed \(seed)")
        }
    }

    @Test("All properties in one walk are those of each component")
    func walk() throws {
        let document = try Self.read(["UID:1", "BEGIN:VALARM", "ACTION:x", "END:VALARM", "SUMMARY:y"])
        #expect(document.allProperties() == document.components.map(document.properties))
    }

    @Test(
        "After any edits in any components the document is the one that its octets read as",
        arguments: SeededGenerator.seeds)
    func anyEdits(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<60 {
            let alarms = (0..<Int.random(in: 0...3, using: &random)).flatMap { number in
                ["BEGIN:VALARM", "X-A:\(number)", "END:VALARM", "X-B:\(number)"]
            }
            var document = try Self.read(["UID:1"] + alarms)
            for step in 0..<20 {
                let component = try #require(document.components.randomElement(using: &random))
                let name = ["X-A", "X-B", "X-C"].randomElement(using: &random) ?? "X-A"
                switch Int.random(in: 0..<6, using: &random) {
                case 0: document.remove(name, from: component)
                case 1:
                    if component.parent == 0 {
                        _ = try document.appendCopy(of: component) { line throws(DiagnosedError) in
                            line.name == name ? [] : [line]
                        }
                    }
                default: try document.put(name, value: "\(step)", in: component)
                }
                #expect(document == (try CalendarDocument(parsing: document.octets)), "seed \(seed)")
            }
        }
    }
}
