import Diagnostics
import EDiscoveryCollection
import EDiscoveryModel
import KMSClient
import Testing
import WireText

/// Opens "x:text" as text, unless its key is closed; notes on whose behalf.
struct OpenTexts: TextOpening {
    var closed: Set<String> = []
    func text(
        _ text: EncryptedText, keyURI: String, onBehalfOf readers: [String]
    ) async throws -> Result<String, Unopened> {
        guard !closed.contains(keyURI) else { return .failure(Unopened(Problem(.keyDenied, "closed"))) }
        return readers.isEmpty
            ? .failure(Unopened(Problem(.keyDenied, "nobody"))) : .success(String(text.jwe.dropFirst(2)))
    }
    func file(
        _ file: SpaceLog.File, _ place: FilePlace, keyURI: String, onBehalfOf readers: [String]
    ) async throws -> Result<OpenedFile, Unopened> {
        file.id == nil
            ? .failure(Unopened(Problem(.fileMissing, "none")))
            : .success(OpenedFile(size: 3, digest: [UInt8](repeating: UInt8(place.number), count: 32)))
    }
}

func event(_ sequence: Int, _ verb: String, _ actor: String, _ object: String, key: String = "k", minute: Int? = nil)
    -> [UInt8]
{
    let minute = minute ?? sequence
    let time = "2026-01-01T00:\(minute < 10 ? "0" : "")\(minute):00.000Z"
    return Array(
        (#"{"type":"activity","activity":{"id":"a\#(sequence)","verb":"\#(verb)","actor":"\#(actor)","sequence":\#(sequence),"#
            + #""published":"\#(time)","encryptionKeyUrl":"\#(key)","target":{"id":"room"},"object":\#(object)}}"#).utf8
    )
}

func post(_ sequence: Int, _ actor: String, _ text: String, key: String = "k") -> [UInt8] {
    event(sequence, "post", actor, #"{"displayName":"x:\#(text)"}"#, key: key)
}

let beginning = Array(
    (#"{"type":"conversation","conversation":{"id":"room","creator":"ada","displayName":"x:Room","encryptionKeyUrl":"k","#
        + #""participants":[{"id":"ada"},{"id":"ben"}],"published":"2026-01-01T00:00:00.000Z"}}"#).utf8)

@Suite("What a report finds in a space") struct CollectionTests {
    /// ben leaves at 4 and is back at 8.
    static let feed = [
        beginning, post(1, "ada", "the Zanzibar contract"), post(2, "ben", "no"),
        event(3, "edit", "ben", #"{"objectType":"comment","id":"a2","displayName":"x:yes"}"#),
        event(4, "leave", "ben", #"{"id":"ben"}"#), post(5, "ada", "ben is gone"),
        event(6, "delete", "ada", #"{"id":"a1"}"#), event(8, "add", "ada", #"{"id":"ben"}"#), post(9, "ada", "welcome"),
    ]

    private func find(_ request: String, subjects: Set<String> = [], closed: Set<String> = [], feed: [[UInt8]] = feed)
        async throws -> [CollectedItem]
    {
        let request = try ReportRequest(JSONDocument(text: request).root)
        let collection = SpaceCollection(
            request, subjects: subjects, people: { Person(id: $0) }, opener: OpenTexts(closed: closed))
        return try await collection.items(of: SpaceLog(id: "room", items: feed))
    }

    @Test("Who was in the space is told by its intervals: joined <= t < left, and again after a return")
    func intervals() throws {
        let log = try SpaceLog(id: "room", items: Self.feed)
        func at(_ time: String) -> [String] { log.participants(at: Timestamp(iso8601: "2026-01-01T" + time + "Z")!) }
        #expect(at("00:00:00.000") == ["ada", "ben"])
        #expect(at("00:03:59.999") == ["ada", "ben"])
        #expect(at("00:04:00.000") == ["ada"])
        #expect(at("00:08:00.000") == ["ada", "ben"])
    }

    @Test("A participant's report has what was said while he was there; an author's only what he said")
    func roles() async throws {
        let participant = try await find(#"{"name":"r"}"#, subjects: ["ben"])
        #expect(participant.map(\.id) == ["a1", "a2", "a9"])
        #expect(participant.allSatisfy { $0.custodians == ["ben"] })
        let author = try await find(#"{"name":"r","subjects":{"role":"author"}}"#, subjects: ["ben"])
        #expect(author.map(\.id) == ["a2"])
        let recipient = try await find(#"{"name":"r","subjects":{"role":"recipient"}}"#, subjects: ["ben"])
        #expect(recipient.map(\.id) == ["a1", "a9"])
    }

    @Test("Edits are history with their time, and deletions stand with what was deleted")
    func history() async throws {
        let found = try await find(#"{"name":"r"}"#)
        let edited = try #require(found.first { $0.id == "a2" })
        #expect(edited.text == "yes" && edited.history.map(\.text) == ["no"] && edited.history[0].editor.id == "ben")
        let deleted = try #require(found.first { $0.id == "a1" })
        #expect(deleted.text == "the Zanzibar contract" && deleted.deletion?.by.id == "ada")
        let without = try await find(#"{"name":"r","include":{"deleted":false,"editHistory":false}}"#)
        #expect(!without.contains { $0.id == "a1" } && without.allSatisfy(\.history.isEmpty))
    }

    @Test("Words are found in parts, in earlier texts, and by any, all or as a phrase")
    func words() async throws {
        func ids(_ keywords: String) async throws -> [String] {
            try await find(#"{"name":"r","keywords":\#(keywords)}"#).map(\.id)
        }
        #expect(try await ids(#"{"terms":["ANZIB"]}"#) == ["a1"])
        #expect(try await ids(#"{"terms":["no"]}"#) == ["a2"], "an earlier text")
        #expect(try await ids(#"{"terms":["gone","contract"]}"#) == ["a1", "a5"])
        #expect(try await ids(#"{"terms":["gone","contract"],"op":"all"}"#) == [])
        #expect(try await ids(#"{"terms":["zanzibar","contract"],"op":"phrase"}"#) == ["a1"])
        #expect(try await ids(#"{"terms":["contract","zanzibar"],"op":"phrase"}"#) == [])
    }

    @Test("What does not open is an item with its problem, also in a report that looks for words")
    func closed() async throws {
        let feed = [beginning, post(1, "ada", "zanzibar", key: "other"), post(2, "ada", "soup")]
        let found = try await find(
            #"{"name":"r","keywords":{"terms":["zanzibar"]}}"#, closed: ["other"], feed: feed)
        #expect(found.map(\.id) == ["a1"])
        #expect(found[0].text == nil && found[0].problems.map(\.problemClass) == [.keyDenied])
    }

    @Test("What the core had deleted before it was read is named, and never left out") func gone() async throws {
        let feed = [beginning, event(1, "tombstone", "ada", "{}"), event(2, "delete", "ada", #"{"id":"a1"}"#)]
        let found = try await find(#"{"name":"r"}"#, feed: feed)
        #expect(found.map(\.id) == ["a1"] && found[0].deletion != nil)
        #expect(found[0].problems.map(\.problemClass) == [.decryptFailed])
        #expect(try await find(#"{"name":"r","types":["file"]}"#, feed: feed) == found, "it could have been a file")
    }

    @Test("Context stands beside its hit, once, and is no hit") func context() async throws {
        let found = try await find(
            #"{"name":"r","keywords":{"terms":["yes"]},"include":{"context":{"before":1,"after":1}}}"#)
        #expect(found.map(\.id) == ["a1", "a2", "a5"])
        #expect(found.map(\.isContext) == [true, false, true])
    }

    @Test("A space is found by its name, without case; one whose name stays closed is told of")
    func named() async throws {
        let log = try SpaceLog(id: "room", items: Self.feed)
        func isNamed(_ name: String, closed: Set<String> = []) async throws -> Bool? {
            let request = try ReportRequest(
                JSONDocument(text: #"{"name":"r","spaces":{"ids":["other"],"names":["\#(name)"]}}"#).root)
            #expect(request.wants(space: "other") == true && request.wants(space: "room") == nil)
            let collection = SpaceCollection(
                request, subjects: [], people: { Person(id: $0) }, opener: OpenTexts(closed: closed))
            return try? await collection.isNamed(log).get()
        }
        #expect(try await isNamed("ROOM") == true)
        #expect(try await isNamed("roo") == false)
        #expect(try await isNamed("room", closed: ["k"]) == nil)
        var progress = ReportProgress()
        progress.begin(spaces: 1)
        var step = ReportProgress.Step()
        step.problems = [Problem(.keyDenied, "closed")]
        _ = progress.take(step, limits: .init(items: 1, fails: false))
        progress.finish()
        #expect(progress.state == .completedWithWarnings)
    }

    @Test("The range is half open") func range() async throws {
        let found = try await find(
            #"{"name":"r","range":{"start":"2026-01-01T00:01:00Z","end":"2026-01-01T00:05:00Z"}}"#)
        #expect(found.map(\.id) == ["a1", "a2"])
    }

    @Test(
        "What is asked for and not done is refused by its place",
        arguments: [
            (#"{"name":"r","types":["reaction"]}"#, "types"),
            (#"{"name":"r","keywords":{"terms":["a"],"mode":"index"}}"#, "keywords.mode"), (#"{}"#, "name"),
            (#"{"name":"r","spaces":{"names":[" "]}}"#, "spaces.names"),
            (#"{"name":"r","limits":{"maxBytes":0}}"#, "maxBytes"),
            (#"{"name":"r","keywords":{"terms":["  "]}}"#, "keywords.terms"),
        ])
    func refused(_ request: String, _ place: String) {
        let error = #expect(throws: DiagnosedError.self) { try ReportRequest(JSONDocument(text: request).root) }
        #expect(error?.expected?.description.contains(place) == true)
    }
}

@Suite("States of a report") struct ReportProgressTests {
    private func item(_ id: String, _ problems: [Problem] = []) -> CollectedItem {
        CollectedItem(
            id: id, kind: .message, space: "s", sequence: 1, published: Timestamp(milliseconds: 0),
            author: Person(id: "p"), problems: problems)
    }

    private func step(_ space: String, _ items: [CollectedItem]) -> ReportProgress.Step {
        var step = ReportProgress.Step()
        step.add(items)
        (step.spaces, step.checkpoint) = (1, .init(space: space))
        return step
    }

    private func stored(_ progress: ReportProgress) throws -> ReportProgress {
        var json = JSONWriter()
        json.beginObject()
        progress.write(to: &json)
        json.endObject()
        return try ReportProgress(JSONDocument(text: json.text()).root)
    }

    @Test("Completed is said only without a problem, and what is kept comes back as it was") func completed() throws {
        var clean = ReportProgress()
        clean.begin(spaces: 1)
        #expect(clean.take(step("s", [item("1")]), limits: .init(items: 10, fails: false)) == 1)
        #expect(try stored(clean) == clean)
        var other = clean
        clean.finish()
        #expect(clean.state == .completed)
        _ = other.take(step("t", [item("2", [Problem(.fileName, "x")])]), limits: .init(items: 10, fails: false))
        other.finish()
        #expect(other.state == .completedWithWarnings)
        #expect(other.errors == 0)
        #expect(try stored(other) == other)
    }

    @Test("The limit cuts what is over it and says so, or fails") func limit() {
        for (fails, state) in [(false, ReportProgress.State.completedWithWarnings), (true, .failed)] {
            var progress = ReportProgress()
            progress.begin(spaces: 2)
            #expect(progress.take(step("s", [item("1"), item("2")]), limits: .init(items: 1, fails: fails)) == 1)
            #expect(progress.state == state)
        }
    }

    @Test("Octets are counted with those of opened files, and what is over the limit is not taken") func octets() throws
    {
        var file = item("2")
        file.files = [CollectedFile(name: "a", size: 5000, reference: "s/1/0")]
        var progress = ReportProgress()
        progress.begin(spaces: 1)
        let small = UInt64(item("1").encoded.count)
        let found = step("s", [item("1"), file, item("3")])
        #expect(progress.take(found, limits: .init(items: 9, octets: small + 5000, fails: false)) == 1)
        #expect(progress.octets == small && progress.reason == "the limit of octets was reached")
        #expect(progress.state == .completedWithWarnings)
        #expect(try stored(progress) == progress)
    }

    @Test("A checkpoint in the middle of a space comes back as it was") func checkpoint() throws {
        var progress = ReportProgress()
        progress.begin(spaces: 2)
        var step = ReportProgress.Step()
        step.checkpoint = .init(space: "s", place: .init(sequence: 700, context: 2))
        _ = progress.take(step, limits: .init(items: 9, fails: false))
        #expect(try stored(progress) == progress && progress.checkpoint == step.checkpoint)
    }

    @Test("Paused work is not taken, goes on after resume, and what is over stays over") func orders() throws {
        var progress = ReportProgress()
        progress.begin(spaces: 2)
        try progress.order(.pause)
        #expect(progress.take(step("s", [item("1")]), limits: .init(items: 10, fails: false)) == 0)
        #expect(progress.checkpoint == nil)
        progress.finish()
        #expect(progress.state == .paused)
        try progress.order(.resume)
        #expect(progress.state == .collecting)
        try progress.order(.cancel)
        for order in [ReportProgress.Order.pause, .resume, .cancel] {
            #expect(throws: DiagnosedError.self) { try progress.order(order) }
        }
        progress.fail("late")
        #expect(progress.state == .cancelled)
    }
}
