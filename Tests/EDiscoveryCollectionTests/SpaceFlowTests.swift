import EDiscoveryCollection
import EDiscoveryModel
import Testing
import WireText

@Suite("The items of a space, page by page") struct SpaceFlowTests {
    private struct Draw: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }

    /// Messages with and without the word, people who come and go, edits and deletions.
    private func feed(_ draw: inout Draw) -> [[UInt8]] {
        var feed = [beginning], messages: [Int] = []
        for sequence in 1...58 {
            switch Int.random(in: 0..<10, using: &draw) {
            case 0: feed.append(event(sequence, "leave", "ben", #"{"id":"ben"}"#))
            case 1: feed.append(event(sequence, "add", "ada", #"{"id":"ben"}"#))
            case 2 where !messages.isEmpty:
                let about = messages.randomElement(using: &draw) ?? 1
                feed.append(event(sequence, "edit", "ada", #"{"id":"a\#(about)","displayName":"x:word late"}"#))
            case 3 where !messages.isEmpty:
                let about = messages.randomElement(using: &draw) ?? 1
                feed.append(event(sequence, "delete", "ada", #"{"id":"a\#(about)"}"#))
            case let drawn:
                messages.append(sequence)
                feed.append(post(sequence, "ada", drawn == 4 ? "the word" : "nothing"))
            }
        }
        return feed
    }

    private func check(_ request: String, _ seed: UInt64) async throws {
        var draw = Draw(state: seed)
        let log = try SpaceLog(id: "room", items: feed(&draw))
        let collection = SpaceCollection(
            try ReportRequest(JSONDocument(text: request).root), subjects: [], people: { Person(id: $0) },
            opener: OpenTexts())
        let whole = try await collection.items(of: log)
        #expect(whole == whole.sorted() && Set(whole.map(\.id)).count == whole.count)
        // By pages of any size, and now and then by another worker that knows nothing but the checkpoint.
        var found: [CollectedItem] = [], rest = log.messages[...]
        var flow = SpaceFlow(collection, log)
        while !rest.isEmpty {
            let page = rest.prefix(Int.random(in: 1...9, using: &draw))
            rest = rest.dropFirst(page.count)
            found += try await flow.take(Array(page))
            if Bool.random(using: &draw) {
                let place = flow.place
                flow = SpaceFlow(collection, log, from: place)
                rest = log.messages.drop { $0.sequence <= place.sequence }
            }
        }
        found += try await flow.end()
        #expect(found == whole, "seed \(seed): \(request)")
    }

    @Test(
        "Pages and takeovers change nothing",
        arguments: [
            #"{"name":"r"}"#, #"{"name":"r","types":["message","membership","spaceInfo"]}"#,
            #"{"name":"r","keywords":{"terms":["word"]},"include":{"context":{"before":2,"after":3}}}"#,
            #"{"name":"r","keywords":{"terms":["late"]},"include":{"context":{"before":5},"deleted":false}}"#,
            #"{"name":"r","types":["message","membership"],"range":{"start":"2026-01-01T00:10:00Z","end":"2026-01-01T00:20:00Z"},"include":{"context":{"before":4,"after":4}}}"#,
        ])
    func same(_ request: String) async throws {
        for seed in 1...60 { try await check(request, UInt64(seed)) }
    }

    @Test("A page has what became of its messages, wherever that stands in the space") func page() throws {
        let head = try SpaceLog(
            id: "room", items: [beginning, event(2, "tombstone", "ada", "{}"), event(9, "tombstone", "ada", "{}")])
        let edit = event(7, "edit", "ada", #"{"id":"a1","displayName":"x:new"}"#)
        let page = try head.page([post(1, "ada", "old"), post(3, "ada", "other")], of: 1...5) { ids in
            #expect(Set(ids) == ["a1", "a2", "a3"])
            return [edit]
        }
        #expect(page.map(\.id) == ["a1", "a2", "a3"])
        #expect(page[0].edits.count == 1 && page[1].isGone)
    }
}
