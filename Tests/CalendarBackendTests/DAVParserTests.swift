import CalendarBackend
import CalendarXML
import TestServers
import Testing

@testable import CalDAVClient

@Suite("XML of calendar servers")
struct DAVParserTests {
    private static let violation = CalendarError.violation("")

    @Test("Elements are known by their namespace, whatever its prefix, and texts are joined")
    func elements() throws {
        let text = """
            <?xml version='1.0' encoding='utf-8'?><!-- x --><a:multistatus xmlns:a="DAV:"><response xmlns="DAV:">
            <href> /b&amp;c%20<![CDATA[<d>]]>&#233; </href></response></a:multistatus>
            """
        let root = try DAVParser.parse(Array(text.utf8))
        #expect(root.name == .dav("multistatus"))
        #expect(root[.dav("response")]?.hrefs == ["/b&c%20<d>é"])
    }

    @Test("Calendar data keeps spaces, and may speak of a document type")
    func data() throws {
        let data = "BEGIN:VCALENDAR\nX-ALT-DESC:<!DOCTYPE html>\n END:VCALENDAR\n"
        for wrapped in ["<![CDATA[\(data)]]>", DAVText.escaped(data)] {
            let root = try DAVParser.parse(Array("<x>\(wrapped)</x>".utf8))
            #expect(String(decoding: root.octets, as: UTF8.self) == data)
        }
    }

    private static let bomb =
        "<?xml version=\"1.0\"?><!DOCTYPE l [<!ENTITY a \"ha\">"
        + (0..<30).map { "<!ENTITY \($0 == 29 ? "z" : "e\($0)") \"&\($0 == 0 ? "a" : "e\($0 - 1)");&a;\">" }.joined()
        + "]><l>&z;</l>"

    static let hostile: [(String, [UInt8])] = [
        ("nothing", []), ("a text", Array("hello".utf8)), ("a bomb of entities", Array(bomb.utf8)),
        ("an entity from outside", Array("<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><x>&e;</x>".utf8)),
        ("a document type behind comments", Array("<!-- a --><?b?>\n <!DOCTYPE x><x/>".utf8)),
        ("a document type inside", Array("<x><!DOCTYPE y></x>".utf8)),
        ("an entity that nobody declared", Array("<x>&e;</x>".utf8)),
        ("depth", Array((String(repeating: "<x>", count: 100_000)).utf8)),
        (
            "depth within other bounds",
            Array((String(repeating: "<x>", count: 25) + String(repeating: "</x>", count: 25)).utf8)
        ),
        ("elements", Array(("<x>" + String(repeating: "<y/>", count: 500_001) + "</x>").utf8)),
        ("an end that is missing", Array("<x><y></y>".utf8)), ("two roots", Array("<x/><y/>".utf8)),
        ("UTF-16", [0xFF, 0xFE] + "<x/>".utf16.flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }),
        ("octets that are no UTF-8", Array("<x>".utf8) + [0xFF, 0xFE, 0x80] + Array("</x>".utf8)),
        ("a hidden encoding", Array("<?xml version=\"1.0\" encoding=\"UTF-7\"?>+ADwAIQ-DOCTYPE x+AD4-<x/>".utf8)),
        ("elements that cross", Array("<x><y></x></y>".utf8)),
        ("a NUL", Array("<x>\u{0}</x>".utf8)), ("a cut comment", Array("<!-- <x/>".utf8)),
    ]

    @Test("Hostile or broken XML is an error", arguments: hostile.map(\.0))
    func refused(_ name: String) throws {
        let octets = try #require(Self.hostile.first { $0.0 == name }).1
        #expect(throws: Self.violation) { try DAVParser.parse(octets) }
    }

    @Test("Every cut of an answer is an error, and none crashes")
    func cuts() throws {
        let text = "<?xml version=\"1.0\"?><D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>/ä</D:href></D:response>"
        let whole = Array((text + "</D:multistatus>").utf8)
        for count in 0..<whole.count {
            #expect(throws: Self.violation) { try DAVParser.parse(Array(whole[..<count])) }
        }
        _ = try DAVParser.parse(whole)
    }

    @Test(
        "Answers with random octets changed are read or refused, and nothing else", arguments: [121, 122] as [UInt64])
    func changedOctets(_ seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let text = """
            <?xml version="1.0"?><D:multistatus xmlns:D="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><D:response>\
            <D:href>/c/a.ics</D:href><D:propstat><D:prop><D:getetag>"1"</D:getetag><C:comp name="VEVENT"/>\
            <C:calendar-data><![CDATA[BEGIN:VCALENDAR]]>&#13;</C:calendar-data></D:prop><D:status>HTTP/1.1 200 OK\
            </D:status></D:propstat></D:response><D:sync-token>s/1</D:sync-token></D:multistatus>
            """
        var read = 0
        for _ in 0..<4000 {
            var octets = Array(text.utf8)
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 0..<octets.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: octets[place] = UInt8.random(in: 0...255, using: &random)
                case 1: octets.remove(at: place)
                default: octets.insert(contentsOf: octets[place...].prefix(20), at: place)
                }
            }
            do throws(CalendarError) {
                _ = try Multistatus(DAVParser.parse(octets))
                read += 1
            } catch {
                #expect(error.reason == .protocolViolation, "seed \(seed)")
            }
        }
        #expect(read > 100, "seed \(seed): the changes hit nothing but the markup")
    }

    @Test("Texts that are sent can not leave their element")
    func escaped() throws {
        let text = "a<b>&\"c']]>\u{0}\u{1B}é\u{1F600}"
        let body = DAVText.document(.dav("sync-collection"), "<D:sync-token>\(DAVText.escaped(text))</D:sync-token>")
        let root = try DAVParser.parse(body)
        #expect(root[.dav("sync-token")]?.text == "a<b>&\"c']]>\u{FFFD}\u{FFFD}é\u{1F600}")
    }
}

@Suite("Multistatus")
struct MultistatusTests {
    private func read(_ content: String) throws -> Multistatus {
        let root =
            "<D:multistatus xmlns:D=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\">\(content)</D:multistatus>"
        return try Multistatus(DAVParser.parse(Array(root.utf8)))
    }

    @Test("Properties count when their status is 200, and the first other status is kept")
    func properties() throws {
        let status = try read(
            """
            <D:response><D:href>/a</D:href><D:propstat><D:prop><D:getetag>"1"</D:getetag></D:prop>\
            <D:status>HTTP/1.1 200 OK</D:status></D:propstat><D:propstat><D:prop><C:calendar-data/></D:prop>\
            <D:status>HTTP/1.1 403 Forbidden</D:status></D:propstat></D:response><D:sync-token> t </D:sync-token>
            """)
        #expect(status.token == "t" && status.responses.count == 1)
        #expect(status.responses[0].etag == ETag("\"1\""))
        #expect(status.responses[0].properties[.caldav("calendar-data")] == nil)
        #expect(status.responses[0].failure == 403)
    }

    @Test("Names that share a status are each a response")
    func shared() throws {
        let status = try read(
            "<D:response><D:href>/a</D:href><D:href>/b</D:href><D:status>HTTP/1.1 404 No</D:status></D:response>")
        #expect(status.responses.map(\.href) == ["/a", "/b"] && status.responses.allSatisfy { $0.status == 404 })
    }

    @Test(
        "What is no multistatus is an error",
        arguments: [
            "<D:response/>", "<D:response><D:href/></D:response>",
            "<D:response><D:href>/a</D:href><D:status>fine</D:status></D:response>",
            "<D:response><D:href>/a</D:href><D:propstat><D:status>HTTP/1.1 2000</D:status></D:propstat></D:response>",
        ])
    func broken(_ content: String) {
        #expect(throws: CalendarError.violation("")) { try read(content) }
    }

    @Test("The condition of an error is found, and a text is none")
    func errors() {
        let body = "<error xmlns=\"DAV:\"><valid-sync-token/><responsedescription>x</responsedescription></error>"
        #expect(DAVErrorBody(Array(body.utf8)).conditions == [.dav("valid-sync-token")])
        #expect(DAVErrorBody(Array("Forbidden".utf8)).conditions.isEmpty)
        #expect(DAVErrorBody([]).conditions.isEmpty)
    }
}
