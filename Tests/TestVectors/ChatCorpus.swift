import WireText

/// Real chat messages: `../shared/data/chat`, one JSON object a line.
package struct ChatMessage: Sendable {
    package let room: String
    package let id: String
    package let sender: String
    package let language: String
    package let text: String
    /// Milliseconds since 1970.
    package let published: Int64
}

package enum ChatCorpus: String, Sendable, CaseIterable {
    /// 221,592 messages of IRC in 173 rooms.
    case english = "irc_ubuntu"
    /// 100,680 messages in 960 rooms.
    case japanese = "mrmp_ja"

    private var file: String { "chat/\(rawValue).jsonl.gz" }

    /// Whether the file is there; prints one line when it is not.
    package var isAvailable: Bool { SharedData.isAvailable(file) }

    /// The first messages of the first rooms, or all; their times are made different within a second.
    package func messages(rooms: Int = .max, ofRoom: Int = .max) throws -> [ChatMessage] {
        var counts: [String: Int] = [:]
        var messages: [ChatMessage] = []
        let octets = try SharedData.unpacked(file)
        for line in octets.split(separator: 0x0A) {
            // Before the line is parsed: it starts with the room.
            guard let room = Self.room(of: line) else { throw SharedData.Unreadable(description: "a line of \(file)") }
            if counts[room] == nil, counts.count == rooms { continue }
            guard counts[room, default: 0] < ofRoom else { continue }
            counts[room, default: 0] += 1
            let object = try JSONDocument(Array(line)).root
            guard let id = object["id"]?.string, let text = object["text"]?.string,
                let sender = object["sender"]?.string,
                let time = object["ts"]?.string.flatMap({ Timestamp(iso8601: $0) })
            else { throw SharedData.Unreadable(description: "a line of \(file) lacks a member") }
            messages.append(
                ChatMessage(
                    room: room, id: id, sender: sender, language: object["lang"]?.string ?? "", text: text,
                    published: time.milliseconds + Int64(messages.count % 1000)))
        }
        return messages
    }

    private static func room(of line: ArraySlice<UInt8>) -> String? {
        let start = Array(#"{"room": ""#.utf8)
        guard line.starts(with: start) else { return nil }
        let rest = line.dropFirst(start.count)
        return rest.firstIndex(of: UInt8(ascii: "\"")).map { String(decoding: rest[..<$0], as: UTF8.self) }
    }
}
