import Diagnostics
import TestServers
import Testing

@testable import ICalendar

@Suite("Join notes")
struct JoinNotesTests {
    @Test("Details stand once, are replaced in their place, and leave as they came", arguments: [31, 32] as [UInt64])
    func once(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let words = [
            "a", "\\n", "\\N", "\\\\", "n", "\\,", ",", " ", "\u{E9}", "\u{301}", JoinNotes.begin, JoinNotes.end,
        ]
        for _ in 0..<500 {
            let before = (0..<8).compactMap { _ in words.randomElement(using: &random) }.joined()
            // Without a whole block of its own: that would be the connector's.
            let own = try JoinNotes.put(nil, into: before)
            let first = try JoinNotes.put("one; two\nthree", into: own)
            #expect(try JoinNotes.put("one; two\nthree", into: first) == first, "seed \(seed): \(own)")
            let second = try JoinNotes.put("other", into: first)
            #expect(second == (try JoinNotes.put("other", into: own)), "seed \(seed): \(own)")
            #expect(second.hasPrefix(own), "seed \(seed): \(own)")
            #expect(try JoinNotes.put(nil, into: second) == own, "seed \(seed): \(own)")
        }
    }

    @Test("Markers need no escape: a server that reads them unescaped keeps them whole")
    func plainMarkers() {
        for marker in [JoinNotes.begin, JoinNotes.end] { #expect(CalendarText.escape(marker) == marker) }
    }

    @Test("What the user wrote before and after the details stays")
    func around() throws {
        let noted = try JoinNotes.put("one", into: "before\\\\n")
        let replaced = try JoinNotes.put("two", into: noted + "\\nafter")
        #expect(replaced == "before\\\\n\\n\(JoinNotes.begin)\\ntwo\\n\(JoinNotes.end)\\nafter")
        let twice = try JoinNotes.put("x", into: noted + "\\nmiddle" + noted)
        #expect(twice.ranges(of: JoinNotes.begin).count == 1)
        let moved = "back\\\\n\(JoinNotes.begin)\\nx\\n\(JoinNotes.end)"
        #expect(try JoinNotes.put(nil, into: moved) == "back\\\\n", "a backslash and a letter are no line end")
    }

    @Test("Blocks inside one another leave as one, and the octets around them stay")
    func nested() throws {
        let (begin, end) = (JoinNotes.begin, JoinNotes.end)
        let nested = "e\u{301}\\n\(begin)\\n\(begin)\\nx\\n\(end)\\n\(end)\\nafter"
        #expect(Array(try JoinNotes.put(nil, into: nested).utf8) == Array("e\u{301}\\nafter".utf8))
        let noted = try JoinNotes.put("y", into: nested)
        #expect(Array(noted.utf8) == Array("e\u{301}\\n\(begin)\\ny\\n\(end)\\nafter".utf8))
    }

    @Test("Details with a marker inside are refused")
    func markers() {
        for marker in [JoinNotes.begin, JoinNotes.end] {
            #expect(throws: DiagnosedError(.calendarEditRefused, fault: .internal, "")) {
                try JoinNotes.put("a \(marker)", into: "")
            }
        }
    }

    @Test("A text full of markers is refused at once, and a long one without is not")
    func bounds() throws {
        let block = "\\n\(JoinNotes.begin)\\n\(JoinNotes.end)"
        for text in [String(repeating: block, count: 200), block + String(repeating: "x", count: 1 << 19)] {
            #expect(throws: DiagnosedError(.calendarEditRefused, fault: .internal, "")) {
                try JoinNotes.put("x", into: text)
            }
        }
        let long = String(repeating: "x", count: 1 << 19)
        #expect(try JoinNotes.put("x", into: long).hasPrefix(long))
    }
}
