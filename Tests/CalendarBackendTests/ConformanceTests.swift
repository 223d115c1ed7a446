import CalendarBackend
import Diagnostics
import Testing
import WireText

/// What every backend does, on memory and on real servers.
@Suite("Conformance of calendar backends")
struct ConformanceTests {
    @Test("Discovery finds a calendar with its name, components and rights", arguments: BackendKind.allCases)
    func discovery(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            let account = try await ground.backend.discover(BackendGround.alice)
            let found = try #require(account.calendars.first { $0.reference == ground.calendar })
            #expect(found.name?.isEmpty == false)
            #expect(found.holdsEvents)
            #expect(found.rights.isSuperset(of: [.read, .write, .add, .remove]))
            #expect(found.ctag != nil || !kind.takesNames)
            #expect(found.token != nil || !kind.takesNames)
            #expect(!account.addresses.isEmpty)
            #expect(Set(account.calendars.map(\.reference)).count == account.calendars.count)
        }
    }

    @Test(
        "Versions of single objects are those of the listing, and what is gone is missing",
        arguments: BackendKind.allCases)
    func versions(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            guard ground.backend.abilities.contains(.versions) else {
                await #expect(throws: CalendarError.unsupported("")) {
                    try await ground.backend.versions(of: [], in: ground.calendar)
                }
                return
            }
            let gone = ground.backend.newHref(in: ground.calendar)
            var hrefs = [gone]
            for _ in 0..<2 {
                let href = ground.backend.newHref(in: ground.calendar)
                _ = try await ground.backend.put(TestEvent().octets, at: href, in: ground.calendar, .create)
                hrefs.append(href)
            }
            let versions = try await ground.backend.versions(of: hrefs, in: ground.calendar)
            #expect(versions.missing == [gone])
            #expect(Set(versions.found) == Set(try await ground.backend.members(of: ground.calendar)))
        }
    }

    @Test("Wrong credentials are told as such, for every call", arguments: BackendKind.allCases)
    func credentials(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            let refused = CalendarError.credentialsRefused("")
            await #expect(throws: refused) { try await ground.backend.discover(BackendGround.mallory) }
            let calendar = CalendarReference(user: BackendGround.mallory, href: ground.calendar.href)
            await #expect(throws: refused) { try await ground.backend.changes(in: calendar, since: nil) }
            await #expect(throws: refused) {
                try await ground.backend.put(TestEvent().octets, at: ground.href("a.ics"), in: calendar, .create)
            }
        }
    }

    @Test("Changes tell all at first, then what is new, then nothing", arguments: BackendKind.allCases)
    func changes(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            let empty = try await ground.changes(since: nil)
            #expect(empty.isEmpty)
            let one = try await ground.add("one.ics", TestEvent())
            let two = try await ground.add("two.ics", TestEvent())
            let both = try await ground.changes(since: empty.token)
            #expect(Set(both.changed.map(\.href)) == [one, two] && both.removed.isEmpty)
            #expect(both.changed.allSatisfy { $0.etag != nil })
            #expect(Set(try await ground.changes(since: nil).changed) == Set(both.changed))

            let nothing = try await ground.changes(since: both.token)
            #expect(nothing.isEmpty && nothing.token == both.token)

            let object = try await ground.read(one)
            let etag = try #require(object.etag)
            #expect(try await ground.backend.delete(one, in: ground.calendar, ifMatch: etag) == .deleted)
            var event = TestEvent()
            event.uid = "two@example.com"
            let third = try await ground.add("three.ics", event)
            let last = try await ground.changes(since: both.token)
            #expect(last.removed == [one] && last.changed.map(\.href) == [third])
        }
    }

    @Test("A token that is unknown asks for a full resync", arguments: BackendKind.allCases)
    func unknownToken(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            try await ground.add("one.ics", TestEvent())
            let token = SyncToken("http://example.com/sync/other/server")
            let outcome = try await ground.backend.changes(in: ground.calendar, since: token)
            #expect(outcome == .fullResyncNeeded(.tokenRefused))
        }
    }

    @Test("Creating twice, or over another's object, is a conflict", arguments: BackendKind.allCases)
    func create(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            let event = TestEvent()
            let href = try await ground.add("one.ics", event)
            let again = try await ground.backend.put(
                TestEvent(summary: "other").octets, at: href, in: ground.calendar, .create)
            #expect(again == .conflict)
            #expect(try await ground.read(href).text.contains("SUMMARY:Planning"))
        }
    }

    @Test("A UID that is used already is told, and nothing is written", arguments: BackendKind.allCases)
    func uid(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            let event = TestEvent()
            try await ground.add("one.ics", event)
            let outcome = try await ground.backend.put(
                event.octets, at: ground.href("two.ics"), in: ground.calendar, .create)
            guard case .uidInUse = outcome else {
                Issue.record("\(outcome)")
                return
            }
            #expect(try await ground.backend.members(of: ground.calendar).count == 1)
        }
    }

    @Test("Only the version that was read is written over", arguments: BackendKind.allCases)
    func match(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            var event = TestEvent()
            let href = try await ground.add("one.ics", event)
            let stale = try #require(try await ground.read(href).etag)
            event.summary = "First"
            #expect(
                try await ground.backend.put(event.octets, at: href, in: ground.calendar, .match(stale)) == .written)
            event.summary = "Second"
            #expect(
                try await ground.backend.put(event.octets, at: href, in: ground.calendar, .match(stale)) == .conflict)
            let now = try await ground.read(href)
            #expect(now.text.contains("SUMMARY:First") && now.etag != stale)
            #expect(try await ground.backend.delete(href, in: ground.calendar, ifMatch: stale) == .conflict)
            let fresh = try #require(now.etag)
            #expect(try await ground.backend.delete(href, in: ground.calendar, ifMatch: fresh) == .deleted)
            #expect(try await ground.backend.delete(href, in: ground.calendar, ifMatch: fresh) == .absent)
            #expect(try await ground.backend.object(href, in: ground.calendar) == nil)
            #expect(
                try await ground.backend.put(event.octets, at: href, in: ground.calendar, .match(fresh)) == .conflict)
        }
    }

    @Test("A weak ETag is refused before anything is sent", arguments: BackendKind.allCases)
    func weak(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            let href = try await ground.add("one.ics", TestEvent())
            await #expect(throws: CalendarError.weakETag) {
                try await ground.backend.put(
                    TestEvent().octets, at: href, in: ground.calendar, .match(ETag("W/\"1\"")))
            }
            await #expect(throws: CalendarError.weakETag) {
                try await ground.backend.delete(href, in: ground.calendar, ifMatch: ETag("W/\"1\""))
            }
        }
    }

    @Test("Several objects come together, and the missing ones are named", arguments: BackendKind.allCases)
    func several(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            var hrefs: [CalendarHref] = []
            for number in 0..<60 {
                hrefs.append(try await ground.add("n\(number).ics", TestEvent(summary: "Number \(number)")))
            }
            let gone = ground.href("gone.ics")
            let answer = try await ground.backend.objects(hrefs + [gone, hrefs[0]], in: ground.calendar)
            #expect(answer.missing == [gone])
            #expect(answer.found.count == 60 && Set(answer.found.map(\.href)) == Set(hrefs))
            for (number, href) in hrefs.enumerated() {
                let object = try #require(answer.found.first { $0.href == href })
                #expect(object.text.contains("SUMMARY:Number \(number)"))
            }
            // The version that a multiget tells is the one of a GET.
            let single = try await ground.read(hrefs[7])
            #expect(answer.found.first { $0.href == hrefs[7] }?.etag == single.etag)
            let members = try await ground.backend.members(of: ground.calendar)
            #expect(Set(members) == Set(answer.found.map { CalendarMember(href: $0.href, etag: $0.etag) }))
        }
    }

    @Test("Names of all kinds lead to their objects and back", arguments: BackendKind.allCases)
    func names(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            var names = [
                "a%40example.com.ics", "plus+and%20space.ics", "B%C3%BCro.ics", "100%25.ics", "a%3Bb.ics",
                "a~b&c=d.ics",
            ]
            // Radicale takes these for an attack, and Xandikos does not list a name with a colon.
            if kind != .radicale { names += ["a%2Cb.ics", "it's.ics", "a%2Ab.ics"] }
            if kind != .radicale && kind != .xandikos { names.append("a%3Ab.ics") }
            var hrefs: Set<CalendarHref> = []
            for name in names { hrefs.insert(try await ground.add(name, TestEvent(summary: "named"))) }
            #expect(Set(try await ground.changes(since: nil).changed.map(\.href)) == hrefs)
            let members = try await ground.backend.members(of: ground.calendar)
            #expect(Set(members.map(\.href)) == hrefs)
            let answer = try await ground.backend.objects(members.map(\.href), in: ground.calendar)
            #expect(answer.missing.isEmpty && answer.found.count == names.count)
            // As the server writes them, they can be written to.
            for object in answer.found {
                let etag = try #require(object.etag)
                #expect(try await ground.backend.delete(object.href, in: ground.calendar, ifMatch: etag) == .deleted)
            }
        }
    }

    @Test("Those who write at once lose nothing of each other", arguments: BackendKind.allCases)
    func writers(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            let href = try await ground.add("one.ics", TestEvent())
            let (backend, calendar) = (ground.backend, ground.calendar)
            let conflicts = try await withThrowingTaskGroup(of: Int.self) { group in
                for writer in 0..<4 {
                    group.addTask {
                        var conflicts = 0
                        for edit in 0..<3 {
                            while true {
                                // A server that fails under load may have written: reading tells.
                                do {
                                    let object = try #require(try await backend.object(href, in: calendar))
                                    let mark = "X-EDIT-\(writer)-\(edit):1"
                                    if object.text.contains(mark) { break }
                                    let etag = try #require(object.etag)
                                    let text = String(decoding: object.octets, as: UTF8.self).replacing(
                                        "END:VEVENT", with: "\(mark)\r\nEND:VEVENT")
                                    let outcome = try await backend.put(
                                        Array(text.utf8), at: href, in: calendar, .match(etag))
                                    if outcome == .written { break }
                                    #expect(outcome == .conflict)
                                    conflicts += 1
                                } catch let error as CalendarError where error.isTransient {
                                    conflicts += 1
                                }
                            }
                        }
                        return conflicts
                    }
                }
                return try await group.reduce(0, +)
            }
            let text = try await ground.read(href).text
            for writer in 0..<4 {
                for edit in 0..<3 {
                    #expect(text.contains("X-EDIT-\(writer)-\(edit):1"), "after \(conflicts) conflicts")
                }
            }
        }
    }

    @Test("Busy periods are told, and only in the time that was asked for", arguments: BackendKind.allCases)
    func freeBusy(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            try await ground.add("one.ics", TestEvent(start: "20270105T100000Z", end: "20270105T110000Z"))
            try await ground.add("two.ics", TestEvent(start: "20270107T120000Z", end: "20270107T123000Z"))
            try await ground.add("later.ics", TestEvent(start: "20270301T120000Z", end: "20270301T130000Z"))
            try await ground.add(
                "free.ics", TestEvent(start: "20270106T100000Z", end: "20270106T110000Z", more: ["TRANSP:TRANSPARENT"]))
            let busy = try await ground.backend.freeBusy(
                of: ground.calendar, during: try interval("20270101T000000Z", "20270201T000000Z"))
            #expect(
                busy == [
                    BusyPeriod(try interval("20270105T100000Z", "20270105T110000Z"), .busy),
                    BusyPeriod(try interval("20270107T120000Z", "20270107T123000Z"), .busy),
                ])
        }
    }

    @Test("A query by time finds what is then, series too", arguments: BackendKind.allCases)
    func query(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            let one = try await ground.add("one.ics", TestEvent())
            let series = try await ground.add(
                "series.ics", TestEvent(start: "20261201T100000Z", end: "20261201T110000Z", more: ["RRULE:FREQ=DAILY"]))
            try await ground.add("later.ics", TestEvent(start: "20280105T100000Z", end: "20280105T110000Z"))
            let time = try interval("20270105T000000Z", "20270107T000000Z")
            let found = try await ground.backend.objects(in: ground.calendar, during: time, expanded: false)
            #expect(Set(found.map(\.href)) == [one, series])
            #expect(found.first { $0.href == series }?.text.contains("RRULE") == true)
        }
    }

    @Test("A server expands a series to its instances in the time", arguments: BackendKind.expanding)
    func expansion(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            let series = try await ground.add(
                "series.ics", TestEvent(start: "20261201T100000Z", end: "20261201T110000Z", more: ["RRULE:FREQ=DAILY"]))
            let time = try interval("20270105T000000Z", "20270107T000000Z")
            let found = try await ground.backend.objects(in: ground.calendar, during: time, expanded: true)
            let text = try #require(found.first { $0.href == series }).text
            #expect(text.contains("RECURRENCE-ID:20270105T100000Z") && text.contains("RECURRENCE-ID:20270106T100000Z"))
            #expect(text.ranges(of: "BEGIN:VEVENT").count == 2 && !text.contains("RRULE"))
        }
    }

    @Test("What is no calendar object is refused, and what is not there is told", arguments: BackendKind.allCases)
    func refusals(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            await #expect(throws: CalendarError.objectRefused("")) {
                try await ground.backend.put(
                    Array("garbage".utf8), at: ground.href("g.ics"), in: ground.calendar, .create)
            }
            let nothing = try await ground.backend.object(ground.href("nothing.ics"), in: ground.calendar)
            #expect(nothing == nil)
            let nowhere = CalendarReference(
                user: BackendGround.alice,
                href: CalendarHref(ground.calendar.href.text.dropLast().description + "-not/"))
            await #expect(throws: CalendarError.notFound("")) {
                try await ground.backend.changes(in: nowhere, since: nil)
            }
            await #expect(throws: CalendarError.notFound("")) { try await ground.backend.members(of: nowhere) }
            await #expect(throws: CalendarError.notFound("")) {
                try await ground.backend.put(
                    TestEvent().octets, at: CalendarHref(nowhere.href.text + "a.ics"), in: nowhere, .create)
            }
        }
    }

    @Test("New names are in their calendar and never the same", arguments: BackendKind.allCases)
    func newNames(_ kind: BackendKind) async throws {
        try await kind.withGround { ground in
            let names = (0..<100).map { _ in ground.backend.newHref(in: ground.calendar) }
            #expect(Set(names).count == 100)
            #expect(names.allSatisfy { $0.text.hasPrefix(ground.calendar.href.text) && $0.text.hasSuffix(".ics") })
            let written = try await ground.backend.put(TestEvent().octets, at: names[0], in: ground.calendar, .create)
            #expect(written.isWritten)
        }
    }
}
