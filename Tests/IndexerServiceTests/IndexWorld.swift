import Cryptography
import Diagnostics
import KMSClient
import KMSProtocol
import SearchMatching
import SearchProtocol
import SecretMemory
import Synchronization
import TestServers
import TextAnalysis
import WireText

@testable import CoreLink
@testable import IndexerService
@testable import ServiceRuntime

/// What an indexer was cut off by, before or after what it asked for was done.
struct Cut: Error {}

/// Ends indexers after so many calls, as a kill would.
final class Cutter: Sendable {
    private let left = Mutex<Int?>(nil)
    func cut(after calls: Int?) { left.withLock { $0 = calls } }
    /// Whether this call is the last one, and is done (`true`) or not.
    func isCut() throws -> Bool {
        try left.withLock { left in
            guard let count = left else { return false }
            if count <= 0 { throw Cut() }
            left = count - 1
            // Every other time after it was done.
            return count == 1
        }
    }
}

/// A KMS that keeps to docs/kms-extensions.md, Search, as far as an indexer sees it. It believes any service.
final class IndexKMS: KMSAsking {
    private struct State {
        var keys: [String: KMSKey] = [:]
        var search: [String: [KMSSearchKey]] = [:]
        var rooms: [String: String] = [:]
        var calls: [String] = []
        var sealing = SymmetricKey(copying: [UInt8](repeating: 5, count: 32))
    }

    private let state = Mutex(State())
    let cutter: Cutter

    init(_ cutter: Cutter) { self.cutter = cutter }

    /// What it was asked since the last look.
    func takeCalls() -> [String] {
        state.withLock { state in
            defer { state.calls = [] }
            return state.calls
        }
    }

    func epochs(of resource: String) -> Int { state.withLock { $0.search[resource]?.count ?? 0 } }

    /// A key of a resource, for messages or a person's query.
    func key(_ uri: String, of resource: String, owner: String = "ann") -> SymmetricKey {
        state.withLock { state in
            if let known = state.keys[uri] { return known.key }
            let key = SymmetricKey(copying: SHA256.hash(Array(uri.utf8)))
            state.keys[uri] = KMSKey(
                uri: uri, key: key, userID: owner, clientID: "c", createDate: .now(), expirationDate: .now(),
                resourceURI: resource)
            return key
        }
    }

    func begin(epochs count: Int, of resource: String) {
        state.withLock { state in for _ in 0..<count { Self.begin(resource, &state) } }
    }

    private static func begin(_ resource: String, _ state: inout State) {
        let epoch = Int64(state.search[resource, default: []].count + 1)
        state.search[resource, default: []].insert(
            KMSSearchKey(
                resourceURI: resource, epoch: epoch,
                key: SymmetricKey(copying: SHA256.hash(Array("\(resource) \(epoch)".utf8))), createDate: .now(),
                beginning: .first), at: 0)
    }

    func perform(_ operation: KMSOperation) async throws -> KMSAnswer {
        let isLast = try cutter.isCut()
        let body = try state.withLock { state -> KMSAnswer.Body in
            state.calls.append(String("\(operation)".prefix { $0 != "(" }))
            switch operation {
            case .createSealingKey: return .sealingKey(KMSSealingKey(key: state.sealing, createDate: .now()))
            case .useKey(let uri, _):
                guard let key = state.keys[uri] else { throw Self.refusal(404, "no such key") }
                return .key(key)
            case .createSearchKey(let resource, let room, let ended, _):
                if let room {
                    let pinned = state.rooms[room] ?? resource
                    guard pinned == resource else {
                        throw Self.refusal(409, "the room is indexed for another space (room-of-another-space)")
                    }
                    state.rooms[room] = resource
                }
                let present = Int64(state.search[resource]?.count ?? 0)
                if present == 0 || ended == present { Self.begin(resource, &state) }
                return .searchKeys([state.search[resource]![0]])
            case .retrieveSearchKeys(let resource): return .searchKeys(state.search[resource] ?? [])
            case .retrieveMemberships(let user, let resources, _):
                return .memberships(KMSMemberships(user: user, resourceURIs: resources, validMilliseconds: 60_000))
            default: throw Self.refusal(501, "not here")
            }
        }
        if isLast { throw Cut() }
        return KMSAnswer(status: 200, requestID: nil, body: body)
    }

    private static func refusal(_ status: Int, _ reason: String) -> KMSRefusal {
        var answer = KMSAnswer(status: status, requestID: nil)
        answer.reason = reason
        return KMSRefusal(answer)
    }
}

/// A core: rooms with what was said, and the search service, each as docs/link-protocol.md says.
final class IndexCore: SearchAsking {
    private struct Activity {
        let id: String
        let verb: String
        var json: [UInt8]
    }

    private struct State: ~Copyable {
        /// By room, in their order; a place is the index plus 1.
        var rooms: [String: [Activity]] = [:]
        var feed: [[UInt8]] = []
        var entries = MemorySearchStore { _, _ in 1_790_000_000_000 }
        var calls: [String] = []
    }

    private let state = Mutex(State())
    let cutter: Cutter
    /// A core that says that nothing stands anywhere.
    let hidesCensus = Mutex(false)

    /// What it says instead.
    let lie = Mutex<(@Sendable (SearchCall) -> SearchCall.Reply?)?>(nil)

    init(_ cutter: Cutter) { self.cutter = cutter }

    var entries: [SearchEntry] { state.withLock { $0.entries.entries } }
    func calls(_ kind: String) -> Int { state.withLock { $0.calls.count { $0 == kind } } }
    func feed(from start: Int = 0) -> [FeedReader.Item] {
        state.withLock { state in
            state.feed.enumerated().dropFirst(start).map { .init(cursor: UInt64($0 + 1), octets: $1) }
        }
    }

    /// - Parameters:
    ///   - verb: `post`, `edit` or `delete`; the last two of a message.
    ///   - key: what it names and is encrypted under.
    @discardableResult
    func say(
        _ text: String, in room: String, key: (uri: String, key: SymmetricKey), verb: String = "post",
        of message: String? = nil
    ) throws -> String {
        let jwe = try EncryptedText(encrypting: text, under: key.key).jwe
        return state.withLock { state in
            let sequence = state.rooms[room, default: []].count + 1
            let id = "\(room)-\(sequence)"
            func json(_ verb: String, _ id: String, _ sequence: Int, _ object: String) -> [UInt8] {
                Array(
                    """
                    {"id":"\(id)","sequence":\(sequence),"verb":"\(verb)","actor":"ann","encryptionKeyUrl":"\(key.uri)",\
                    "published":"2026-11-27T10:00:00.000Z","target":{"objectType":"conversation","id":"\(room)"},\
                    "object":{\(object)}}
                    """.utf8)
            }
            let about = message.map { "\"id\":\"\($0)\"" }
            let object =
                verb == "delete"
                ? about ?? "" : ([about].compactMap { $0 } + ["\"displayName\":\"\(jwe)\""]).joined(separator: ",")
            let own = json(verb, id, sequence, object)
            state.rooms[room, default: []].append(Activity(id: id, verb: verb, json: own))
            state.feed.append(Array(#"{"type":"activity","activity":"#.utf8) + own + Array("}".utf8))
            guard let message, let place = state.rooms[room]?.firstIndex(where: { $0.id == message }) else { return id }
            if verb == "delete" {
                state.rooms[room]?[place] = Activity(
                    id: message, verb: "tombstone", json: json("tombstone", message, place + 1, ""))
                for other in state.rooms[room]!.indices {
                    let edit = state.rooms[room]![other]
                    guard edit.verb == "edit",
                        String(decoding: edit.json, as: UTF8.self).contains("\"id\":\"\(message)\"")
                    else { continue }
                    state.rooms[room]![other] = Activity(
                        id: edit.id, verb: "edit", json: json("edit", edit.id, other + 1, "\"id\":\"\(message)\""))
                }
            } else {
                state.rooms[room]?[place] = Activity(
                    id: message, verb: "post", json: json("post", message, place + 1, "\"displayName\":\"\(jwe)\""))
            }
            return id
        }
    }

    func call(_ call: SearchCall) async throws -> SearchCall.Reply {
        let isLast = try cutter.isCut()
        let hides = hidesCensus.withLock { $0 }
        if let lie = lie.withLock({ $0 })?(call) { return lie }
        // Through the wire, as in life.
        let call = try SearchCall(decoding: call.encode())
        let reply = try state.withLock { state -> SearchCall.Reply in
            state.calls.append(String("\(call)".prefix { $0 != "(" }))
            switch call {
            case .upload(let upload):
                state.entries.apply(upload)
                return .stored
            case .lookup(let lookup): return .hits(try state.entries.hits(for: lookup).encode())
            case .messages(let wanted):
                return .messages(
                    wanted.map { one in
                        state.rooms[one.room]?.first { $0.id == one.id && $0.verb == "post" }?.json
                    })
            case .rooms(let after, let limit):
                let rooms = state.rooms.keys.sorted().filter { $0 > after ?? "" }.prefix(limit)
                return .rooms(
                    rooms.map { room in
                        let last = state.rooms[room]!.lastIndex { ["post", "edit"].contains($0.verb) }
                        return .init(id: room, last: UInt64((last ?? -1) + 1))
                    })
            case .history(let room, let after, let limit):
                let all = (state.rooms[room] ?? []).enumerated().dropFirst(Int(after))
                    .filter { ["post", "edit"].contains($0.element.verb) }
                let page = all.prefix(limit)
                return .history(
                    page.map(\.element.json), next: page.count == limit ? UInt64(page.last!.offset + 1) : nil)
            case .census(let room):
                guard !hides else { return .census([]) }
                let epochs = state.entries.entries.filter { $0.room == room && $0.body != .tombstone }.map(\.epoch)
                return .census(
                    Dictionary(grouping: epochs) { $0 }.map { .init(epoch: $0, entries: UInt64($1.count)) }
                        .sorted { $0.epoch < $1.epoch })
            case .entries(let wanted):
                let stored = Dictionary(state.entries.entries.map { ($0.message, $0) }, uniquingKeysWith: { $1 })
                return .messages(
                    wanted.map { one in
                        stored[one.id].flatMap { $0.body == .tombstone || $0.room != one.room ? nil : $0.encode() }
                    })
            case .file, .remove: return .refused("not here")
            }
        }
        if isLast { throw Cut() }
        return try SearchCall.Reply(decoding: reply.encode())
    }
}

/// Rooms of a KMS and a core, and what is found in them. Room `r` has the resource `kms://k/resources/r`.
struct IndexWorld {
    let cutter = Cutter()
    let kms: IndexKMS
    let core: IndexCore
    let folder = TemporaryFolder()

    init() {
        kms = IndexKMS(cutter)
        core = IndexCore(cutter)
    }

    static func resource(_ room: String) -> String { "kms://k/resources/\(room)" }

    func key(_ room: String) -> (uri: String, key: SymmetricKey) {
        let uri = "kms://k/keys/\(room)"
        return (uri, kms.key(uri, of: Self.resource(room)))
    }

    @discardableResult
    func say(_ text: String, in room: String, verb: String = "post", of message: String? = nil) throws -> String {
        try core.say(text, in: room, key: key(room), verb: verb, of: message)
    }

    /// One process with the database of that name.
    final class Indexer {
        let store: SealedStore
        let run: IndexRun
        let walk: IndexWalk
        let desk: QuestionDesk
        let reporter: LeakReporter
        let progress: WalkProgress
        let outcomes: Counts
        private let world: IndexWorld
        private var asked = 0

        final class Counts: Sendable {
            private let counts = Mutex<[IndexRun.Outcome: Int]>([:])
            subscript(outcome: IndexRun.Outcome) -> Int { counts.withLock { $0[outcome] ?? 0 } }
            func add(_ outcome: IndexRun.Outcome) { counts.withLock { $0[outcome, default: 0] += 1 } }
        }

        init(
            _ world: IndexWorld, _ name: String, profile: SearchProfile = .padded, messagesPerEpoch: Int = 1_000_000,
            page: Int = 7
        ) throws {
            self.world = world
            store = try SealedStore(path: world.folder.path + "/\(name).sqlite")
            let format = profile.name
            let pending = try store.first("format", format) == format ? nil : format
            let consent = Consent(world.kms) { _ in }
            let keys = SpaceKeys(world.kms, profile: profile, languages: .english)
            let workshop = try IndexWorkshop(store: store)
            let files = FileTexts(search: world.core, store: store, extractor: nil, count: { _ in })
            let outcomes = Counts()
            self.outcomes = outcomes
            run = IndexRun(
                consent: consent, keys: keys, workshop: workshop, store: store, search: world.core, files: files,
                messagesPerEpoch: messagesPerEpoch
            ) { outcomes.add($0) }
            let health = HealthRegistry(events: IndexSilence(), metrics: MetricRegistry())
            let upTo = try store.walk("anew").flatMap { $0.note == pending ? $0.room : nil }
            let progress = WalkProgress(health, pendingFormat: pending, upTo: upTo ?? "")
            self.progress = progress
            walk = IndexWalk(
                consent: consent, keys: keys, workshop: workshop, store: store, search: world.core, run: run,
                progress: progress, page: page)
            reporter = try LeakReporter(
                consent: consent, keys: keys, store: store, search: world.core, files: files, profile: profile)
            desk = try QuestionDesk(
                consent: consent, keys: keys, kms: world.kms, search: world.core, store: store, files: files,
                isBehind: { progress.isBehind($0) })
        }

        func read(from start: Int = 0, batch: Int = 5) async throws {
            let items = world.core.feed(from: start)
            for first in stride(from: 0, to: items.count, by: batch) {
                try await run.take(Array(items[first..<min(first + batch, items.count)]))
            }
        }

        /// Messages that a person finds in rooms, and rooms that are not all searched.
        func find(_ words: String, in rooms: [String]) async throws -> (found: [String], behind: Set<String>) {
            asked += 1
            let uri = "kms://k/keys/query"
            let key = world.kms.key(uri, of: "kms://k/resources/query")
            let answer = await desk.answer(
                SearchQuestion(
                    user: "ann", query: try EncryptedText(encrypting: words, under: key).jwe, keyURI: uri, limit: 200,
                    types: [], rooms: rooms.map { .init(id: $0, resource: IndexWorld.resource($0)) }
                ).encode())
            guard answer.status == 200 else {
                throw DiagnosedError("find", fault: .internal, "no answer", found: "\(answer)")
            }
            return (answer.items.map(\.message), Set(answer.leftOut.map(\.room)))
        }
    }
}

private struct IndexSilence: EventRecorder {
    func isRecorded(_ severity: Severity) -> Bool { false }
    func write(_ event: Event, _ fields: LogFields) {}
}
