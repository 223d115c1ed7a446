package import Diagnostics
import WireText

/// One message of the link between a service and the core: a type octet, then its fields (docs/link-protocol.md).
///
/// Integers are big endian. A frame is one binary WebSocket message of at most `maximumBytes`. Decoding never traps:
/// anything that is not exactly a frame is a `DiagnosedError` of code `linkViolation`, and the link is closed by it.
package enum LinkFrame: Equatable, Sendable {
    case hello(LinkHello)
    case welcome(LinkWelcome)
    /// `source` is an opaque name of the sender for storm guards, never trusted; `text` is the wrapped string.
    case deliver(id: UInt64, source: String, text: [UInt8])
    case answer(id: UInt64, text: [UInt8])
    /// The service will not answer this one; the core may deliver it again, later or elsewhere.
    case decline(id: UInt64, reason: String)
    /// The core has taken note of that decline: strings of its sender that the core sent before have come before this.
    /// Only to a service that knows it (`LinkHello.knowsNotes`).
    case noted(id: UInt64)
    /// This one will not be answered by anybody: its sender has used up what he may ask, or it is nothing.
    case drop(id: UInt64, reason: String)
    /// So many further deliveries are welcome.
    case credit(UInt32)
    /// A new details document, as a JSON text.
    case publish(details: String)
    /// A signed list of nodes, for a core that keeps one (`LinkWelcome.nodeList`).
    case nodes(String)
    /// The service asks the service of another destination; the core sees an opaque string.
    case call(id: UInt64, destination: String, text: [UInt8])
    /// What that one answered.
    case reply(id: UInt64, text: [UInt8])
    /// No answer will come for this call.
    case refuse(id: UInt64, reason: LinkCallRefusal)
    case feed(LinkFeedFrame)

    package static let maximumBytes = 1 << 20
    /// The longest wrapped string that is relayed (section 12 of the KMS protocol).
    package static let maximumStringBytes = 256 << 10
    /// The longest signed list of nodes.
    package static let maximumListBytes = 128 << 10
    /// The longest name of a sender; a longer one is cut when the frame is written.
    package static let maximumSourceBytes = 255

    private enum Kind: UInt8 {
        case hello = 0x01
        case welcome = 0x02
        case deliver = 0x10
        case answer = 0x11
        case decline = 0x12
        case drop = 0x13
        case noted = 0x14
        case credit = 0x20
        case publish = 0x30
        case nodes = 0x31
        case call = 0x40
        case reply = 0x41
        case refuse = 0x42
    }

    package func encode() -> [UInt8] {
        switch self {
        case .hello(let hello): return Self.encode(.hello, text: hello.json)
        case .welcome(let welcome): return Self.encode(.welcome, text: welcome.json)
        case .publish(let details): return Self.encode(.publish, text: details)
        case .nodes(let list): return Self.encode(.nodes, text: list)
        case .deliver(let id, let source, let text):
            let name = Self.clipped(source)
            var bytes = Self.start(.deliver, id: id, reserving: 2 + name.count + text.count)
            bytes.append(UInt8(name.count >> 8))
            bytes.append(UInt8(name.count & 0xff))
            bytes.append(contentsOf: name)
            bytes.append(contentsOf: text)
            return bytes
        case .answer(let id, let text):
            var bytes = Self.start(.answer, id: id, reserving: text.count)
            bytes.append(contentsOf: text)
            return bytes
        case .decline(let id, let reason): return Self.encode(.decline, id: id, reason: reason)
        case .noted(let id): return Self.start(.noted, id: id, reserving: 0)
        case .drop(let id, let reason): return Self.encode(.drop, id: id, reason: reason)
        case .call(let id, let destination, let text):
            let name = Self.clipped(destination)
            var bytes = Self.start(.call, id: id, reserving: 2 + name.count + text.count)
            bytes.append(UInt8(name.count >> 8))
            bytes.append(UInt8(name.count & 0xff))
            bytes.append(contentsOf: name)
            bytes.append(contentsOf: text)
            return bytes
        case .reply(let id, let text):
            var bytes = Self.start(.reply, id: id, reserving: text.count)
            bytes.append(contentsOf: text)
            return bytes
        case .refuse(let id, let reason):
            var bytes = Self.start(.refuse, id: id, reserving: reason.rawValue.utf8.count)
            bytes.append(contentsOf: reason.rawValue.utf8)
            return bytes
        case .feed(let frame): return frame.encode()
        case .credit(let count):
            return [Kind.credit.rawValue] + (0..<4).map { UInt8(truncatingIfNeeded: count >> (24 - 8 * $0)) }
        }
    }

    package init(decoding bytes: [UInt8]) throws(DiagnosedError) {
        guard bytes.count <= Self.maximumBytes else {
            throw .linkViolation("a frame is too long", expected: "at most \(Self.maximumBytes) octets")
        }
        if let type = bytes.first, let kind = LinkFeedFrame.Kind(rawValue: type) {
            var reader = Reader(bytes: bytes, position: 1)
            self = .feed(try LinkFeedFrame(kind, &reader))
            return
        }
        guard let type = bytes.first, let kind = Kind(rawValue: type) else {
            throw .linkViolation("a frame has no known type", found: bytes.first.map { "type \($0)" } ?? "no octet")
        }
        var reader = Reader(bytes: bytes, position: 1)
        switch kind {
        case .hello: self = .hello(try LinkHello(json: bytes.dropFirst()))
        case .welcome: self = .welcome(try LinkWelcome(json: bytes.dropFirst()))
        case .publish: self = .publish(details: try reader.restAsText())
        case .nodes: self = .nodes(try reader.restAsText())
        case .deliver:
            let id = try reader.integer(octets: 8)
            let sourceLength = Int(try reader.integer(octets: 2))
            let source = try reader.text(octets: sourceLength)
            self = .deliver(id: id, source: source, text: reader.rest())
        case .answer: self = .answer(id: try reader.integer(octets: 8), text: reader.rest())
        case .call:
            let id = try reader.integer(octets: 8)
            let nameLength = Int(try reader.integer(octets: 2))
            self = .call(id: id, destination: try reader.text(octets: nameLength), text: reader.rest())
        case .reply: self = .reply(id: try reader.integer(octets: 8), text: reader.rest())
        case .refuse:
            let id = try reader.integer(octets: 8)
            self = .refuse(id: id, reason: LinkCallRefusal(rawValue: try reader.restAsText()))
        case .decline: self = .decline(id: try reader.integer(octets: 8), reason: try reader.restAsText())
        case .noted:
            self = .noted(id: try reader.integer(octets: 8))
            guard reader.isAtEnd else { throw .linkViolation("a note is longer than its field") }
        case .drop: self = .drop(id: try reader.integer(octets: 8), reason: try reader.restAsText())
        case .credit:
            let count = UInt32(truncatingIfNeeded: try reader.integer(octets: 4))
            guard reader.isAtEnd else { throw .linkViolation("a credit frame is longer than its field") }
            self = .credit(count)
        }
    }

    private static func encode(_ kind: Kind, text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(1 + text.utf8.count)
        bytes.append(kind.rawValue)
        bytes.append(contentsOf: text.utf8)
        return bytes
    }

    private static func encode(_ kind: Kind, id: UInt64, reason: String) -> [UInt8] {
        var bytes = start(kind, id: id, reserving: reason.utf8.count)
        bytes.append(contentsOf: reason.utf8)
        return bytes
    }

    private static func start(_ kind: Kind, id: UInt64, reserving more: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(9 + more)
        bytes.append(kind.rawValue)
        for octet in 0..<8 { bytes.append(UInt8(truncatingIfNeeded: id >> UInt64(56 - 8 * octet))) }
        return bytes
    }

    static func clipped(_ source: String) -> [UInt8] {
        var name = Substring(source)
        while name.utf8.count > maximumSourceBytes { name.removeLast() }
        return Array(name.utf8)
    }

    struct Reader {
        let bytes: [UInt8]
        var position: Int

        var isAtEnd: Bool { position == bytes.count }

        mutating func integer(octets: Int) throws(DiagnosedError) -> UInt64 {
            guard bytes.count - position >= octets else { throw .linkViolation("a frame is shorter than its fields") }
            var value: UInt64 = 0
            for octet in bytes[position..<position + octets] { value = value << 8 | UInt64(octet) }
            position += octets
            return value
        }

        mutating func text(octets: Int) throws(DiagnosedError) -> String {
            guard bytes.count - position >= octets else { throw .linkViolation("a frame is shorter than its fields") }
            let part = position..<position + octets
            guard let text = bytes.withUnsafeBytes({ String(validUTF8: UnsafeRawBufferPointer(rebasing: $0[part])) })
            else {
                throw .linkViolation("a text in a frame is not UTF-8")
            }
            position += octets
            return text
        }

        mutating func restAsText() throws(DiagnosedError) -> String { try text(octets: bytes.count - position) }
        mutating func rest() -> [UInt8] {
            defer { position = bytes.count }
            return Array(bytes[position...])
        }
    }
}

extension DiagnosedError {
    static func linkViolation(_ what: String, expected: String? = nil, found: String? = nil) -> DiagnosedError {
        DiagnosedError(
            .linkViolation, fault: .peer, "the link protocol was violated: \(what)", expected: expected, found: found,
            hint: "check that the service and the core are of the same or neighbouring releases")
    }
}

extension DiagnosedError.Code {
    package static let linkViolation: Self = "link-violation"
}
