import Cryptography
import Diagnostics
import KMSClient
import KMSProtocol
import LinkProtocol
import LinkedService
import SearchIndexing
import SearchProtocol
import SecretMemory
import TextAnalysis
import WireText

/// Answers searches of persons (docs/search.md, Queries).
///
/// Rules:
/// 1. The key of the query tells whose it is; the KMS gives it only when it is its creator's alone, and for queries alone. A
///    question in another name is refused.
/// 2. The KMS says which of the rooms that the core named this person reads, and that the very query was never asked before.
///    Rooms that are refused are left out and named.
/// 3. What the search service gives are candidates; whether a message is meant its plaintext decides, under a key of the very
///    space that the KMS lets the person read.
/// 4. When the search took longer than the KMS's word holds, it is asked again before anything is answered.
///
/// One question at a time, for its analyser is for one thread.
actor QuestionDesk {
    /// Candidates that are looked at for one question.
    static let mostCandidates = 1_000
    /// Wanted of the search service at once.
    private static let page = 100
    /// The core waits twice as long.
    static let patience = Duration.seconds(10)

    private let consent: Consent
    private let keys: SpaceKeys
    private let kms: any KMSAsking
    private let search: any SearchAsking
    private let store: SealedStore
    private let files: FileTexts
    /// Whether a room's entries are still of another form.
    private let isBehind: @Sendable (String) -> Bool
    private let analyser: TextAnalyser

    init(
        consent: Consent, keys: SpaceKeys, kms: any KMSAsking, search: any SearchAsking, store: SealedStore,
        files: FileTexts, isBehind: @escaping @Sendable (String) -> Bool = { _ in false }
    ) throws {
        self.consent = consent
        self.keys = keys
        self.kms = kms
        self.search = search
        self.store = store
        self.files = files
        self.isBehind = isBehind
        analyser = try TextAnalyser()
    }

    func answer(_ octets: [UInt8]) async -> SearchAnswer {
        do {
            return try await answer(SearchQuestion(decoding: octets))
        } catch let refused as Refused {
            return SearchAnswer(status: refused.status, reason: refused.reason)
        } catch let refusal as KMSRefusal {
            return SearchAnswer(status: 503, reason: "the KMS refuses: \(refusal.status)")
        } catch let error as DiagnosedError where error.code == .searchMalformed {
            return SearchAnswer(status: 400, reason: "the question is malformed")
        } catch {
            return SearchAnswer(status: 503, reason: "no keys or no search service at present")
        }
    }

    private struct Refused: Error {
        let status: Int
        let reason: String
    }

    private struct Filters {
        var authors: Set<String> = []
        var types: Set<String> = []
        var published: ClosedRange<Int64> = .min ... .max

        func take(_ message: FeedMessage) -> Bool {
            (authors.isEmpty || authors.contains(message.actor)) && (types.isEmpty || types.contains(message.type))
                && published.contains(message.published.milliseconds)
        }
    }

    private func answer(_ question: SearchQuestion) async throws -> SearchAnswer {
        let sealing = try await consent.sealingKey()
        let started = ContinuousClock.now
        let (parsed, user) = try await open(question)
        var filters = try Self.filters(parsed)
        if !question.types.isEmpty {
            let types = Set(question.types)
            filters.types = filters.types.isEmpty ? types : filters.types.intersection(types)
        }
        let rooms = question.rooms.filter { parsed.rooms.isEmpty || parsed.rooms.contains($0.id) }
        guard let query = parsed.query, query.isBounded else {
            throw Refused(status: 400, reason: "the query has no word to look for")
        }
        let digest = SHA256.hash(Array(question.query.utf8))
        var asked = ContinuousClock.now
        let allowed = try await memberships(user, rooms.map(\.resource), digest)
        var leftOut = rooms.filter { !allowed.uris.contains($0.resource) }.map {
            SearchAnswer.LeftOut(room: $0.id, reason: .refused)
        }
        var epochs: [IndexEpoch] = []
        var resources: [String: String] = [:]
        for room in rooms where allowed.uris.contains(room.resource) {
            do {
                epochs += try await keys.epochs(room.id, room.resource)
                resources[room.id] = room.resource
                if isBehind(room.id) { leftOut.append(.init(room: room.id, reason: .behind)) }
            } catch let refusal as KMSRefusal where refusal.status < 500 {
                leftOut.append(.init(room: room.id, reason: .refused))
            } catch is DiagnosedError {
                leftOut.append(.init(room: room.id, reason: .unavailable))
            }
        }
        let (found, capped) = try await find(
            query, epochs, resources, filters, question.limit, sealing, until: started + Self.patience)
        leftOut += capped.sorted().map { .init(room: $0, reason: .capped) }
        var items = found
        if asked.duration(to: .now) > .milliseconds(allowed.validMilliseconds), !found.isEmpty {
            asked = .now
            let still = try await memberships(user, Array(Set(found.compactMap { resources[$0.room] })), nil)
            items = found.filter { item in resources[item.room].map(still.uris.contains) ?? false }
            leftOut += Set(found.map(\.room)).subtracting(items.map(\.room)).sorted().map {
                .init(room: $0, reason: .refused)
            }
        }
        return SearchAnswer(items: items, leftOut: leftOut)
    }

    /// Rule 1.
    private func open(_ question: SearchQuestion) async throws -> (ParsedQuery, user: String) {
        let key: KMSKey
        do {
            key = try await keys.key(question.keyURI, for: .search)
        } catch let refusal as KMSRefusal where [403, 404, 501].contains(refusal.status) {
            throw Refused(status: 403, reason: "the KMS does not give the query's key for searching")
        }
        guard key.userID.lowercased() == question.user.lowercased() else {
            throw Refused(status: 403, reason: "the query is another person's")
        }
        do {
            let text = try EncryptedText(received: question.query).text(with: key.key)
            return (SearchQuery.parse(text), key.userID)
        } catch {
            throw Refused(status: 400, reason: "the query does not open under its key")
        }
    }

    /// Rule 2. Resources of partners are asked about as well; the KMS leaves them out.
    private func memberships(
        _ user: String, _ resources: [String], _ digest: [UInt8]?
    ) async throws -> (uris: Set<String>, validMilliseconds: Int64) {
        // Without a room nothing can be found, but the query counts all the same.
        let all = resources.isEmpty ? ["none"] : Array(Set(resources))
        var uris: Set<String> = []
        var valid = Int64.max
        for start in stride(from: 0, to: all.count, by: 1_000) {
            let part = Array(all[start..<min(start + 1_000, all.count)])
            do {
                let operation = KMSOperation.retrieveMemberships(
                    user: user, resources: part, queryDigest: start == 0 ? digest : nil)
                guard case .memberships(let list) = try await kms.perform(operation).body else {
                    throw DiagnosedError(.kmsMismatch, fault: .peer, "the KMS gave no memberships")
                }
                uris.formUnion(list.resourceURIs)
                valid = min(valid, list.validMilliseconds)
            } catch let refusal as KMSRefusal where refusal.status == KMSStatus.conflict {
                throw Refused(status: 409, reason: "the very query was asked before")
            }
        }
        return (uris, valid)
    }

    // MARK: - Looking and checking

    private func find(
        _ query: SearchQuery, _ epochs: [IndexEpoch], _ resources: [String: String], _ filters: Filters, _ limit: Int,
        _ sealing: SymmetricKey, until deadline: ContinuousClock.Instant
    ) async throws -> (items: [SearchAnswer.Item], capped: Set<String>) {
        guard !epochs.isEmpty else { return ([], []) }
        let planner = QueryPlanner(analyser: analyser, vocabulary: StoredVocabulary(store: store, key: sealing))
        var random = SystemRandomNumberGenerator()
        let plan = try planner.plan(
            query, in: epochs, published: filters.published, limit: min(Self.page, SearchLookup.maximumHits),
            using: &random)
        guard !plan.notes.contains(.asksNothing) else {
            throw Refused(status: 400, reason: "the query has only words that are not indexed")
        }
        let capped = plan.notes.compactMap { note -> String? in
            switch note {
            case .asksNothing: nil
            case .expansionCapped(let room), .epochsLeftOut(let room, _): room
            }
        }
        var languages: [String: LanguageSet] = [:]
        for epoch in epochs { languages["\(epoch.room) \(epoch.epoch)"] = epoch.languages }
        var candidates: [SearchRanking.Candidate] = []
        var rooms: [String: String] = [:]
        var looked = 0
        for first in try plan.lookups.flatMap({ try Self.calls($0) }) {
            var lookup = first
            var found = 0
            while found < limit, looked < Self.mostCandidates, ContinuousClock.now < deadline {
                let hits = try await hits(lookup)
                let wanted = hits.hits.map { SearchCall.Message(room: lookup.cells[$0.cell].room, id: $0.message) }
                let messages = try await messages(wanted)
                for (index, hit) in hits.hits.enumerated() {
                    looked += 1
                    let cell = lookup.cells[hit.cell]
                    guard let message = messages[index], message.id == hit.message, message.room == cell.room,
                        rooms[message.id] == nil, filters.take(message), let resource = resources[cell.room],
                        let set = languages["\(cell.room) \(cell.epoch)"], let compiled = plan.compiled[set],
                        let text = try await plain(message, of: resource, sealing)
                    else { continue }
                    let analysed = analyser.analyse(text, languages: set)
                    guard compiled.matches(analysed, analyser: analyser) else { continue }
                    rooms[message.id] = message.room
                    candidates.append(
                        .init(
                            message: message.id, published: message.published.milliseconds,
                            matched: compiled.matchedTerms(in: analysed)))
                    found += 1
                }
                guard !hits.next.isEmpty else { break }
                lookup = try lookup.page(after: hits.next, id: RandomBytes.bytes(SearchLookup.idByteCount))
            }
        }
        let items = SearchRanking.ordered(candidates).prefix(limit).map {
            SearchAnswer.Item(room: rooms[$0.message] ?? "", message: $0.message)
        }
        return (items, Set(capped))
    }

    /// A lookup as so many calls as the link needs: a string has at most 256 KiB.
    static func calls(_ lookup: SearchLookup) throws -> [SearchLookup] {
        guard lookup.encode().count > LinkFrame.maximumStringBytes - 1024, lookup.cells.count > 1 else {
            return [lookup]
        }
        let middle = lookup.cells.count / 2
        return try [lookup.cells[..<middle], lookup.cells[middle...]].flatMap { cells in
            try calls(
                SearchLookup(
                    id: RandomBytes.bytes(SearchLookup.idByteCount), limit: lookup.limit, published: lookup.published,
                    cells: Array(cells)))
        }
    }

    private func hits(_ lookup: SearchLookup) async throws -> SearchHits {
        guard case .hits(let octets) = try await search.call(.lookup(lookup)) else {
            throw CoreSearch.unavailable("no hits")
        }
        return try SearchHits(decoding: octets, to: lookup)
    }

    /// In the order in which they are wanted; nil for what the core does not have any more.
    private func messages(_ wanted: [SearchCall.Message]) async throws -> [FeedMessage?] {
        var messages: [FeedMessage?] = []
        while messages.count < wanted.count {
            let rest = Array(wanted.dropFirst(messages.count).prefix(SearchCall.maximumMessages))
            guard case .messages(let part) = try await search.call(.messages(rest)), part.count <= rest.count else {
                throw CoreSearch.unavailable("no messages")
            }
            // One that fits into no answer is passed over.
            guard !part.isEmpty else {
                messages.append(nil)
                continue
            }
            for octets in part {
                messages.append(
                    octets.flatMap { octets in (try? JSONDocument(octets))?.root }.flatMap { FeedMessage($0) })
            }
        }
        return messages
    }

    /// Rule 3; nil for what can not be read.
    private func plain(
        _ message: FeedMessage, of resource: String, _ sealing: SymmetricKey
    ) async throws -> SearchableText? {
        do {
            let key = try await keys.key(message.keyURI, for: .content)
            guard key.resourceURI == resource else { return nil }
            var plain = try SearchableMessage(message, key: key)
            plain.text.fileTexts = try await files.texts(of: message, plain.records, under: sealing)
            return plain.text
        } catch is KMSRefusal {
            return nil
        } catch let error as DiagnosedError where error.code == .contentUnreadable {
            return nil
        }
    }

    // MARK: - Filters

    private static func filters(_ parsed: ParsedQuery) throws -> Filters {
        var filters = Filters()
        filters.authors = Set(parsed.from.map { $0.lowercased() })
        filters.types = Set(parsed.types)
        func day(_ text: String?) throws -> Int64? {
            guard let text else { return nil }
            guard text.utf8.count == 10, let time = Timestamp(iso8601: text + "T00:00:00Z") else {
                throw Refused(status: 400, reason: "a day is written 2026-11-27")
            }
            return time.milliseconds
        }
        let from = try day(parsed.after) ?? .min
        let until = try day(parsed.before).map { $0 - 1 } ?? .max
        guard from <= until else { throw Refused(status: 400, reason: "the time span ends before it begins") }
        filters.published = from...until
        return filters
    }
}
