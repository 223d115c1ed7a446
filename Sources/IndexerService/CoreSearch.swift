import CoreLink
import Diagnostics
import LinkProtocol
import LinkedService
import SearchProtocol

/// The search service of the core, as the indexer calls it over its link.
protocol SearchAsking: Sendable {
    func call(_ call: SearchCall) async throws -> SearchCall.Reply
}

struct CoreSearch: SearchAsking {
    let links: LinkHolder
    private static let patience = Duration.seconds(10)

    init(_ links: LinkHolder) { self.links = links }

    func call(_ call: SearchCall) async throws -> SearchCall.Reply {
        switch await links.link?.call(SearchCall.destination, text: call.encode(), within: Self.patience) {
        case .answered(let octets)?: return try SearchCall.Reply(decoding: octets)
        case .refused(let reason)?: throw Self.unavailable(reason.rawValue)
        case nil: throw Self.unavailable("no link to the core")
        }
    }

    static func unavailable(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .searchService, fault: .peer, "the search service of the core does not answer", found: found,
            hint: "see the check link; the core's operator sees hds-core's health address")
    }
}

extension SearchAsking {
    /// Stores entries, in as many batches as the link takes; on the core's disk when it returns.
    func upload(_ items: [SearchUpload.Item]) async throws {
        // A call is a string of at most 256 KiB; what an item adds to its octets is below 16.
        let most = LinkFrame.maximumStringBytes - 64
        var batch: [SearchUpload.Item] = []
        var octets = 0
        func send() async throws {
            guard !batch.isEmpty else { return }
            switch try await call(.upload(SearchUpload(batch))) {
            case .stored: break
            case .refused(let reason):
                throw DiagnosedError(
                    .searchService, fault: .peer, "the search service refuses a batch",
                    found: String(reason.prefix(200)),
                    hint: "the core may be of an older release")
            case .unavailable(let reason): throw CoreSearch.unavailable(String(reason.prefix(200)))
            case .hits, .messages, .part, .rooms, .history, .census:
                throw CoreSearch.unavailable("an answer to something else")
            }
            batch = []
            octets = 0
        }
        for item in items {
            var size = 600
            if case .entry(let entry) = item { size = entry.encode().count + 16 }
            if octets + size > most || batch.count == SearchUpload.maximumItems { try await send() }
            batch.append(item)
            octets += size
        }
        try await send()
    }
}

extension DiagnosedError.Code {
    static let searchService: Self = "search-service"
}
