package import Diagnostics

/// What an indexer says to the search service of the core in a call over its link (docs/link-protocol.md, Search).
///
/// One octet tells the kind; what follows is an upload, a lookup, or what answers them.
package enum SearchCall: Equatable, Sendable {
    /// Where such calls go.
    package static let destination = "search://core"

    case upload(SearchUpload)
    case lookup(SearchLookup)

    package func encode() -> [UInt8] {
        switch self {
        case .upload(let upload): [1] + upload.encode()
        case .lookup(let lookup): [2] + lookup.encode()
        }
    }

    package init(decoding octets: [UInt8]) throws(DiagnosedError) {
        switch octets.first {
        case 1: self = .upload(try SearchUpload(decoding: Array(octets.dropFirst())))
        case 2: self = .lookup(try SearchLookup(decoding: Array(octets.dropFirst())))
        default:
            throw .searchMalformed(
                "a call has no known kind", expected: "1 or 2", found: octets.first.map { "\($0)" } ?? "nothing")
        }
    }

    /// What the service answers.
    package enum Reply: Equatable, Sendable {
        /// The upload is on the disk.
        case stored
        /// The encoded `SearchHits` of the lookup.
        case hits([UInt8])
        /// Nothing was changed; why.
        case refused(String)
        /// The service can not now; the same call may succeed later.
        case unavailable(String)

        package func encode() -> [UInt8] {
            switch self {
            case .stored: [1]
            case .hits(let octets): [2] + octets
            case .refused(let reason): [3] + Array(reason.utf8.prefix(500))
            case .unavailable(let reason): [4] + Array(reason.utf8.prefix(500))
            }
        }

        package init(decoding octets: [UInt8]) throws(DiagnosedError) {
            let rest = octets.dropFirst()
            switch octets.first {
            case 1 where rest.isEmpty: self = .stored
            case 2: self = .hits(Array(rest))
            case 3: self = .refused(String(decoding: rest, as: UTF8.self))
            case 4: self = .unavailable(String(decoding: rest, as: UTF8.self))
            default: throw .searchMalformed("an answer of the search service has no known kind")
            }
        }
    }
}
