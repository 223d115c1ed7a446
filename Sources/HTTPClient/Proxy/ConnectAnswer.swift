import NIOCore

/// A proxy's answer to CONNECT: status, reason and fields, without its body.
struct ConnectAnswer: Sendable, Equatable {
    static let maximumHeadBytes = 16 << 10
    /// A longer body is not waited for: the next request goes on a new connection.
    static let maximumBodyBytes = 64 << 10

    enum Failure: Error, Equatable {
        case malformed(String)
    }

    let status: Int
    let reason: String
    private let isHTTP11: Bool
    private let allFields: [(name: String, value: String)]

    static func == (left: ConnectAnswer, right: ConnectAnswer) -> Bool {
        left.status == right.status && left.reason == right.reason
    }

    /// The values of all fields of that name, given in lower case.
    func fields(_ name: String) -> [String] { allFields.filter { $0.name == name }.map(\.value) }

    /// For an error.
    var text: String { "status \(status)" + (reason.isEmpty ? "" : " \(reason)") }

    /// How the body of an answer that opened no tunnel ends (RFC 9112 section 6.3).
    enum Body: Equatable {
        case length(Int)
        case chunked
        /// With the connection, or not in bounds.
        case untilEnd
    }

    var body: Body {
        if status == 204 || status == 304 { return .length(0) }
        let codings = fields("transfer-encoding")
        if !codings.isEmpty { return codings.map { $0.lowercased() } == ["chunked"] ? .chunked : .untilEnd }
        let lengths = Set(fields("content-length"))
        guard lengths.count == 1, let text = lengths.first, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let length = Int(text), length <= Self.maximumBodyBytes
        else { return .untilEnd }
        return .length(length)
    }

    /// Whether another request may follow on the same connection (RFC 9112 section 9.3, and the old name of the field).
    var keepsConnection: Bool {
        let words = (fields("connection") + fields("proxy-connection")).joined(separator: ",").lowercased()
            .split { $0 == "," || $0 == " " }
        if words.contains("close") { return false }
        return isHTTP11 || words.contains("keep-alive")
    }

    /// Takes the head off the begin of `buffer`; nil when it is not whole yet.
    static func take(from buffer: inout ByteBuffer) throws(Failure) -> ConnectAnswer? {
        let view = buffer.readableBytesView
        guard let end = view.prefix(maximumHeadBytes).headEnd else {
            guard view.count < maximumHeadBytes else { throw .malformed("a head of more octets") }
            let begin = Array("HTTP/1.".utf8)
            guard zip(view, begin).allSatisfy({ $0 == $1 }) else { throw .malformed("something else than HTTP") }
            return nil
        }
        let head = Array(view[view.startIndex..<end])
        buffer.moveReaderIndex(forwardBy: end - view.startIndex)
        return try ConnectAnswer(head)
    }

    private init(_ head: [UInt8]) throws(Failure) {
        let lines = head.split(separator: 0x0A).map { $0.last == 0x0D ? $0.dropLast() : $0 }
        let first = lines[0].split(separator: 0x20, maxSplits: 2, omittingEmptySubsequences: false)
        guard first.count >= 2, first[0].elementsEqual("HTTP/1.1".utf8) || first[0].elementsEqual("HTTP/1.0".utf8),
            first[1].count == 3, first[1].allSatisfy({ (0x30...0x39).contains($0) }),
            let status = Int(String(decoding: first[1], as: UTF8.self)), (100...599).contains(status)
        else { throw .malformed("something else than a status line of HTTP/1.1") }
        self.status = status
        isHTTP11 = first[0].last == UInt8(ascii: "1")
        reason = first.count > 2 ? String(decoding: first[2], as: UTF8.self).plain(80) : ""
        var all: [(String, String)] = []
        for line in lines.dropFirst() where !line.isEmpty {
            let name = line.prefix { $0 != UInt8(ascii: ":") }
            guard !name.isEmpty, name.count < line.count, name.allSatisfy(PreparedRequest.isTokenOctet) else {
                throw .malformed("a field without a name")
            }
            var value = line.dropFirst(name.count + 1).drop { $0 == 0x20 || $0 == 0x09 }
            while let last = value.last, last == 0x20 || last == 0x09 { value.removeLast() }
            all.append((String(decoding: name, as: UTF8.self).lowercased(), String(decoding: value, as: UTF8.self)))
        }
        allFields = all
    }
}

extension Collection<UInt8> {
    /// After the first empty line.
    fileprivate var headEnd: Index? {
        var index = startIndex
        var lineLength = 0
        while index != endIndex {
            let octet = self[index]
            formIndex(after: &index)
            if octet == 0x0A {
                if lineLength == 0 { return index }
                lineLength = 0
            } else if octet != 0x0D {
                lineLength += 1
            }
        }
        return nil
    }
}

/// Finds the end of a chunked body (RFC 9112 section 7.1), of which nothing is kept.
struct ChunkedBodySkipper {
    private enum State { case size, data(Int), dataEnd, trailer(isEmpty: Bool) }

    private var state = State.size
    private var digits = 0
    private var size = 0
    private var inExtension = false

    /// True when the body is over; false when more has to come. Throws for what is no chunk.
    mutating func skip(_ buffer: inout ByteBuffer) throws(ConnectAnswer.Failure) -> Bool {
        while buffer.readableBytes > 0 {
            if case .data(let left) = state {
                let step = min(left, buffer.readableBytes)
                buffer.moveReaderIndex(forwardBy: step)
                state = left == step ? .dataEnd : .data(left - step)
                continue
            }
            guard let octet = buffer.readInteger(as: UInt8.self) else { return false }
            switch (state, octet) {
            case (_, 0x0D): break
            case (.size, 0x0A):
                guard digits > 0 else { throw .malformed("a chunk without a size") }
                state = size == 0 ? .trailer(isEmpty: true) : .data(size)
                (digits, size, inExtension) = (0, 0, false)
            case (.size, _):
                if inExtension { break }
                if let digit = Character(UnicodeScalar(octet)).hexDigitValue {
                    digits += 1
                    guard digits <= 8 else { throw .malformed("a chunk of too many octets") }
                    size = size << 4 | digit
                } else {
                    inExtension = true
                }
            case (.dataEnd, 0x0A): state = .size
            case (.dataEnd, _): throw .malformed("a chunk longer than its size")
            case (.trailer(let isEmpty), 0x0A):
                if isEmpty { return true }
                state = .trailer(isEmpty: true)
            case (.trailer, _): state = .trailer(isEmpty: false)
            case (.data, _): break
            }
        }
        return false
    }
}
