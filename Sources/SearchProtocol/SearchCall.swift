package import Diagnostics

/// What an indexer says to the search service of the core in a call over its link (docs/link-protocol.md, Search).
///
/// One octet tells the kind; what follows is an upload, a lookup, or what answers them.
package enum SearchCall: Equatable, Sendable {
    /// Where such calls go.
    package static let destination = "search://core"

    case upload(SearchUpload)
    case lookup(SearchLookup)
    /// Messages as the core has them, encrypted: what candidates are checked on.
    case messages([Message])

    package static let maximumMessages = 1000

    package struct Message: Hashable, Sendable {
        package let room: String
        package let id: String

        package init(room: String, id: String) {
            self.room = room
            self.id = id
        }
    }

    package func encode() -> [UInt8] {
        switch self {
        case .upload(let upload): return [1] + upload.encode()
        case .lookup(let lookup): return [2] + lookup.encode()
        case .messages(let messages):
            var octets: [UInt8] = [3]
            octets.append(search: UInt64(messages.count), octets: 2)
            for message in messages {
                octets.append(searchName: message.room)
                octets.append(searchName: message.id)
            }
            return octets
        }
    }

    package init(decoding octets: [UInt8]) throws(DiagnosedError) {
        switch octets.first {
        case 1: self = .upload(try SearchUpload(decoding: Array(octets.dropFirst())))
        case 2: self = .lookup(try SearchLookup(decoding: Array(octets.dropFirst())))
        case 3:
            var reader = SearchReader(Array(octets.dropFirst()))
            let count = Int(try reader.number(octets: 2, "count of messages"))
            guard count <= Self.maximumMessages else {
                throw .searchMalformed("a call asks for too many messages", found: "\(count)")
            }
            var messages: [Message] = []
            for _ in 0..<count {
                messages.append(Message(room: try reader.name("room"), id: try reader.name("message id")))
            }
            try reader.finish("a call")
            self = .messages(messages)
        default:
            throw .searchMalformed(
                "a call has no known kind", expected: "1 to 3", found: octets.first.map { "\($0)" } ?? "nothing")
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
        /// Activities as JSON, in the order in which they were asked for, nil for one that is not there; as many as fit.
        case messages([[UInt8]?])

        package func encode() -> [UInt8] {
            switch self {
            case .stored: [1]
            case .hits(let octets): [2] + octets
            case .refused(let reason): [3] + Array(reason.utf8.prefix(500))
            case .unavailable(let reason): [4] + Array(reason.utf8.prefix(500))
            case .messages(let messages):
                messages.reduce(into: [5]) { octets, message in
                    octets.append(search: UInt64(message?.count ?? 0), octets: 4)
                    octets.append(contentsOf: message ?? [])
                }
            }
        }

        package init(decoding octets: [UInt8]) throws(DiagnosedError) {
            let rest = octets.dropFirst()
            switch octets.first {
            case 1 where rest.isEmpty: self = .stored
            case 2: self = .hits(Array(rest))
            case 3: self = .refused(String(decoding: rest, as: UTF8.self))
            case 4: self = .unavailable(String(decoding: rest, as: UTF8.self))
            case 5:
                var reader = SearchReader(Array(rest))
                var messages: [[UInt8]?] = []
                while reader.remaining > 0 {
                    let count = Int(try reader.number(octets: 4, "length of a message"))
                    messages.append(count == 0 ? nil : try reader.take(count, "message"))
                }
                self = .messages(messages)
            default: throw .searchMalformed("an answer of the search service has no known kind")
            }
        }
    }
}
