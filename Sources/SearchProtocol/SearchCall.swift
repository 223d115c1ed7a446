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
    /// The octets of a file that is shared in a room, as they are stored, encrypted, from a place on.
    case file(FilePart)
    /// The organisation's rooms in the order of their ids, those after one: so many.
    case rooms(after: String?, limit: Int)
    /// What was said in a room, encrypted, in its order: messages, files and edits after a place, so many.
    case history(room: String, after: UInt64, limit: Int)
    /// How many entries of a room stand in which epoch.
    case census(room: String)
    /// The stored entries of messages.
    case entries([Message])
    /// A message to be deleted as if its time was over: by an eDiscovery worker, for retention, a purge or an erasure.
    case remove(Message)

    package static let maximumMessages = 1000
    package static let maximumRooms = 500
    /// Octets of a file in one answer.
    package static let maximumPart = 192 << 10

    package struct FilePart: Hashable, Sendable {
        package let room: String
        /// The core's id of the file, the last part of its address.
        package let file: String
        package let offset: UInt64

        package init(room: String, file: String, offset: UInt64) {
            self.room = room
            self.file = file
            self.offset = offset
        }
    }

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
        case .messages(let messages): return Self.octets(3, messages)
        case .entries(let messages): return Self.octets(8, messages)
        case .file(let part):
            var octets: [UInt8] = [4]
            octets.append(searchName: part.room)
            octets.append(searchName: part.file)
            octets.append(search: part.offset, octets: 8)
            return octets
        case .rooms(let after, let limit):
            var octets: [UInt8] = [5]
            octets.append(search: UInt64(limit), octets: 2)
            if let after { octets.append(searchName: after) }
            return octets
        case .history(let room, let after, let limit):
            var octets: [UInt8] = [6]
            octets.append(searchName: room)
            octets.append(search: after, octets: 8)
            octets.append(search: UInt64(limit), octets: 2)
            return octets
        case .census(let room):
            var octets: [UInt8] = [7]
            octets.append(searchName: room)
            return octets
        case .remove(let message):
            var octets: [UInt8] = [16]
            octets.append(searchName: message.room)
            octets.append(searchName: message.id)
            return octets
        }
    }

    package init(decoding octets: [UInt8]) throws(DiagnosedError) {
        switch octets.first {
        case 1: self = .upload(try SearchUpload(decoding: Array(octets.dropFirst())))
        case 2: self = .lookup(try SearchLookup(decoding: Array(octets.dropFirst())))
        case 3: self = .messages(try Self.messages(octets))
        case 4:
            var reader = SearchReader(Array(octets.dropFirst()))
            let (room, file) = (try reader.name("room"), try reader.name("file"))
            self = .file(FilePart(room: room, file: file, offset: try reader.number(octets: 8, "offset")))
            try reader.finish("a call")
        case 5:
            var reader = SearchReader(Array(octets.dropFirst()))
            let limit = try Self.limit(&reader, Self.maximumRooms)
            let after = reader.remaining > 0 ? try reader.name("room") : nil
            try reader.finish("a call")
            self = .rooms(after: after, limit: limit)
        case 6:
            var reader = SearchReader(Array(octets.dropFirst()))
            let room = try reader.name("room")
            let after = try reader.number(octets: 8, "place")
            self = .history(room: room, after: after, limit: try Self.limit(&reader, Self.maximumMessages))
            try reader.finish("a call")
        case 7:
            var reader = SearchReader(Array(octets.dropFirst()))
            self = .census(room: try reader.name("room"))
            try reader.finish("a call")
        case 8: self = .entries(try Self.messages(octets))
        case 16:
            var reader = SearchReader(Array(octets.dropFirst()))
            self = .remove(Message(room: try reader.name("room"), id: try reader.name("message id")))
            try reader.finish("a call")
        default:
            throw .searchMalformed(
                "a call has no known kind", expected: "1 to 8, 16", found: octets.first.map { "\($0)" } ?? "nothing")
        }
    }

    private static func octets(_ kind: UInt8, _ messages: [Message]) -> [UInt8] {
        var octets = [kind]
        octets.append(search: UInt64(messages.count), octets: 2)
        for message in messages {
            octets.append(searchName: message.room)
            octets.append(searchName: message.id)
        }
        return octets
    }

    private static func messages(_ octets: [UInt8]) throws(DiagnosedError) -> [Message] {
        var reader = SearchReader(Array(octets.dropFirst()))
        let count = Int(try reader.number(octets: 2, "count of messages"))
        guard count <= maximumMessages else {
            throw .searchMalformed("a call asks for too many messages", found: "\(count)")
        }
        var messages: [Message] = []
        for _ in 0..<count {
            messages.append(Message(room: try reader.name("room"), id: try reader.name("message id")))
        }
        try reader.finish("a call")
        return messages
    }

    private static func limit(_ reader: inout SearchReader, _ most: Int) throws(DiagnosedError) -> Int {
        let limit = Int(try reader.number(octets: 2, "limit"))
        guard (1...most).contains(limit) else {
            throw .searchMalformed("a call asks for too many", expected: "1 to \(most)", found: "\(limit)")
        }
        return limit
    }

    /// A room, and how far its messages go.
    package struct Room: Hashable, Sendable {
        package let id: String
        /// The place of the last of what `history` tells; 0: there is nothing. Places count from 1.
        package let last: UInt64

        package init(id: String, last: UInt64) { (self.id, self.last) = (id, last) }
    }

    /// How many entries that can be found stand in an epoch.
    package struct Count: Hashable, Sendable {
        package let epoch: UInt32
        package let entries: UInt64

        package init(epoch: UInt32, entries: UInt64) { (self.epoch, self.entries) = (epoch, entries) }
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
        /// Activities as JSON, or entries, in the order in which they were asked for, nil for one that is not there; as many as fit.
        case messages([[UInt8]?])
        /// Octets of a file from the place that was asked for, at most `maximumPart`, and the size of all of it; empty at its
        /// end. Nil: there is no such file in the room.
        case part([UInt8]?, size: UInt64)

        /// Rooms, as many as were asked for or all that there are.
        case rooms([Room])
        /// Activities as JSON, as many as fit; and the place after which to go on, nil at the end.
        case history([[UInt8]], next: UInt64?)
        /// By epoch, ascending.
        case census([Count])

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
            case .part(let part?, let size):
                part.withUnsafeBytes { part in
                    var octets: [UInt8] = [6]
                    octets.append(search: size, octets: 8)
                    octets.append(contentsOf: part)
                    return octets
                }
            case .part(nil, _): [7]
            case .rooms(let rooms):
                rooms.reduce(into: [8]) { octets, room in
                    octets.append(searchName: room.id)
                    octets.append(search: room.last, octets: 8)
                }
            case .history(let activities, let next):
                activities.reduce(into: Self.head(9, next ?? .max)) { octets, activity in
                    octets.append(search: UInt64(activity.count), octets: 4)
                    octets.append(contentsOf: activity)
                }
            case .census(let counts):
                counts.reduce(into: [10]) { octets, count in
                    octets.append(search: UInt64(count.epoch), octets: 4)
                    octets.append(search: count.entries, octets: 8)
                }
            }
        }

        private static func head(_ kind: UInt8, _ number: UInt64) -> [UInt8] {
            var octets = [kind]
            octets.append(search: number, octets: 8)
            return octets
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
            case 6:
                var reader = SearchReader(Array(rest))
                let size = try reader.number(octets: 8, "size of a file")
                self = .part(try reader.take(reader.remaining, "part"), size: size)
            case 7 where rest.isEmpty: self = .part(nil, size: 0)
            case 8:
                var reader = SearchReader(Array(rest))
                var rooms: [Room] = []
                while reader.remaining > 0 {
                    rooms.append(Room(id: try reader.name("room"), last: try reader.number(octets: 8, "place")))
                }
                self = .rooms(rooms)
            case 9:
                var reader = SearchReader(Array(rest))
                let next = try reader.number(octets: 8, "place")
                var activities: [[UInt8]] = []
                while reader.remaining > 0 {
                    activities.append(
                        try reader.take(Int(try reader.number(octets: 4, "length of a message")), "message"))
                }
                self = .history(activities, next: next == .max ? nil : next)
            case 10:
                var reader = SearchReader(Array(rest))
                var counts: [Count] = []
                while reader.remaining > 0 {
                    counts.append(
                        Count(
                            epoch: UInt32(try reader.number(octets: 4, "epoch")),
                            entries: try reader.number(octets: 8, "count of entries")))
                }
                self = .census(counts)
            default: throw .searchMalformed("an answer of the search service has no known kind")
            }
        }
    }
}
