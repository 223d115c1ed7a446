import Diagnostics
import LinkProtocol
import SearchProtocol

/// The search service of the core: takes uploads and lookups of indexers, which come as calls on their links, each for the
/// organisation of its link's token and no other.
///
/// Any thread. It sees opaque values; what they stand for only the indexer knows.
struct SearchService: Sendable {
    /// The kind of service whose calls it takes.
    static let kind = "indexer"
    static let destination = SearchCall.destination

    let index: SearchIndex
    let store: CloudStore
    let files: FileStore

    /// A call that is not carried out.
    struct Refused: Error {
        let reason: String
    }

    func reply(to call: [UInt8], of organisation: String) async -> [UInt8] {
        let reply: SearchCall.Reply
        do {
            reply = try await answer(SearchCall(decoding: call), organisation)
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
                    case .withdrawal(let room, let message, _): (room, message)
                    }
                }, of: organisation)
            // A message that was deleted in the meantime stays so: a tombstone stands in the index already.
            try await index.apply(upload, of: organisation, published: published)
            return .stored
        case .messages(let wanted):
            let found = try await store.messages(wanted.map { ($0.room, $0.id) }, of: organisation)
            var octets = 1
            // As many as fit; the indexer asks again for the rest.
            let fitting = found.prefix { text in
                octets += 4 + (text?.utf8.count ?? 0)
                return octets <= LinkFrame.maximumStringBytes
            }
            return .messages(fitting.map { $0.map { Array($0.utf8) } })
        case .file(let part):
            guard let id = FileID(part.file),
                let size = try await store.sharedFile(id.text, in: part.room, of: organisation)
            else { return .part(nil, size: 0) }
            let offset = Int64(clamping: part.offset)
            guard offset < size else { return .part([], size: UInt64(size)) }
            let octets = try await files.part(of: id, from: offset, count: SearchCall.maximumPart)
            return .part(octets, size: UInt64(size))
        case .lookup(let lookup): return .hits(try await index.hits(for: lookup, of: organisation).encode())
        }
    }
}
