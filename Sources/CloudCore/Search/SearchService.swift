import Diagnostics
import LinkProtocol
import SearchProtocol
import WireText

/// The search service of the core: takes uploads and lookups of indexers, which come as calls on their links, each for the
/// organisation of its link's token and no other.
///
/// Any thread. It sees opaque values; what they stand for only the indexer knows.
struct SearchService: Sendable {
    /// The kinds of services whose calls it takes, and which calls.
    static let kinds: [String: @Sendable (SearchCall) -> Bool] = [
        "indexer": { if case .remove = $0 { false } else { true } },
        "ediscovery": {
            switch $0 {
            case .file, .remove: true
            default: false
            }
        },
        "transcode": { if case .file = $0 { true } else { false } },
    ]
    static let destination = SearchCall.destination

    /// Of a token: its service may have messages deleted.
    static let removing = "content:remove"

    let index: SearchIndex
    let wall: @Sendable () -> Timestamp
    let store: CloudStore
    let files: FileStore

    /// A call that is not carried out.
    struct Refused: Error {
        let reason: String
    }

    /// - Parameter mayRemove: whether the account of the service may have messages deleted (scope `content:remove`).
    func reply(
        to call: [UInt8], of organisation: String, from service: String, mayRemove: Bool
    ) async -> [UInt8] {
        let reply: SearchCall.Reply
        do {
            let call = try SearchCall(decoding: call)
            guard Self.kinds[service]?(call) == true else {
                throw Refused(reason: "this is no call for a service of kind \(service)")
            }
            if case .remove = call, !mayRemove {
                throw Refused(reason: "the service's account lacks the scope \(Self.removing)")
            }
            reply = try await answer(call, organisation)
        } catch let refused as Refused {
            reply = .refused(refused.reason)
        } catch let error as DiagnosedError where error.fault == .peer || error.fault == .client {
            reply = .refused(error.summary)
        } catch {
            reply = .unavailable("the search index does not answer")
        }
        let octets = reply.encode()
        guard octets.count <= LinkFrame.maximumStringBytes else {
            return SearchCall.Reply.refused("the answer would be too long: ask for fewer hits").encode()
        }
        return octets
    }

    /// Takes away what a deleted message leaves elsewhere. An indexer, which reads of it in the feed, buries the entry as well;
    /// this way it is gone at once.
    ///
    /// What can not be taken away now stays written down, and is taken away by `sweep`.
    func forget(_ message: CloudStore.DeletedMessage) async {
        try? await take(message)
    }

    private func take(_ message: CloudStore.DeletedMessage) async throws {
        try await index.bury(
            message.message, in: message.conversation, of: message.organisation, sequence: message.sequence)
        for file in message.files { if let id = FileID(file) { try await files.remove(id) } }
        try await store.settle(message)
    }

    /// Takes away what was left by a core that ended, or when a disk did not answer.
    func sweep() async throws {
        var last: Int64 = 0
        while !Task.isCancelled {
            let left = try await store.leftovers(after: last)
            guard let end = left.last else { return }
            // One that can not be taken away keeps no other from it.
            for message in left { await forget(message) }
            last = end.leftover
        }
    }

    /// As many as fit; the indexer asks again for the rest.
    private static func fitting(_ found: [[UInt8]?]) -> [[UInt8]?] {
        var octets = 1
        return Array(
            found.prefix { one in
                octets += 4 + (one?.count ?? 0)
                return octets <= LinkFrame.maximumStringBytes
            })
    }

    private func answer(_ call: SearchCall, _ organisation: String) async throws -> SearchCall.Reply {
        switch call {
        case .upload(let upload):
            for case .entry(let entry) in upload.items where entry.message.utf8.count > SearchIndex.maximumMessage {
                throw Refused(reason: "a message id is longer than \(SearchIndex.maximumMessage) octets")
            }
            let published = try await store.published(
                upload.items.map { item in
                    switch item {
                    case .entry(let entry): (entry.room, entry.message)
                    case .withdrawal(let room, let message, _), .burial(let room, let message, _): (room, message)
                    }
                }, of: organisation)
            // A message that was deleted in the meantime stays so: a tombstone stands in the index already.
            try await index.apply(upload, of: organisation, published: published)
            return .stored
        case .messages(let wanted):
            let found = try await store.messages(wanted.map { ($0.room, $0.id) }, of: organisation)
            return .messages(Self.fitting(found.map { $0.map { Array($0.utf8) } }))
        case .entries(let wanted):
            return .messages(Self.fitting(try await index.entries(of: wanted, in: organisation)))
        case .file(let part):
            guard let id = FileID(part.file),
                let size = try await store.sharedFile(id.text, in: part.room, of: organisation)
            else { return .part(nil, size: 0) }
            let offset = Int64(clamping: part.offset)
            guard offset < size else { return .part([], size: UInt64(size)) }
            let octets = try await files.part(of: id, from: offset, count: SearchCall.maximumPart)
            return .part(octets, size: UInt64(size))
        case .rooms(let after, let limit):
            return .rooms(try await store.searchedRooms(of: organisation, after: after, limit: limit))
        case .history(let room, let after, let limit):
            let (activities, next) = try await store.history(
                of: room, in: organisation, after: Int64(clamping: after), limit: limit,
                octets: LinkFrame.maximumStringBytes - 64)
            return .history(activities, next: next)
        case .census(let room): return .census(try await index.census(of: room, in: organisation))
        case .remove(let message):
            if let gone = try await store.remove(message.id, in: message.room, of: organisation, now: wall()) {
                await forget(gone)
            }
            return .stored
        case .lookup(let lookup): return .hits(try await index.hits(for: lookup, of: organisation).encode())
        }
    }
}
