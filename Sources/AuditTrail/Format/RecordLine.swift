import Cryptography
import WireText

/// The hashes of the trail: leaf, chain and genesis.
///
/// `leaf = SHA-256(0x00 || line without its chain member)`, the leaf hash of RFC 6962;
/// `chain = SHA-256(chain before || leaf)`; before the first record stands a genesis bound to node and trail.
enum TrailHash {
    static func genesis(node: String, trail: String) -> [UInt8] {
        SHA256.hash(Array("hds-audit-genesis\0\(node)\0\(trail)".utf8))
    }

    static func chain(_ previous: [UInt8], leaf: [UInt8]) -> [UInt8] {
        SHA256.hash(previous + leaf)
    }

    /// - Parameter text: the line without its chain member, as JSON.
    static func leaf(of text: some Collection<UInt8>) -> [UInt8] {
        var input: [UInt8] = []
        input.reserveCapacity(text.count + 1)
        input.append(0)
        input.append(contentsOf: text)
        return SHA256.hash(input)
    }
}

/// Makes lines out of bodies and hands over their hashes.
struct LineWriter: Sendable {
    private var scratch: [UInt8] = []
    private static let opening = Array("{\"seq\":".utf8)
    private static let chainName = Array(",\"chain\":\"".utf8)
    private static let closing = Array("\"}\n".utf8)
    private static let digits = Array("0123456789abcdef".utf8)
    /// `,"chain":"` with 64 digits and `"}`.
    static let chainSuffix = 76

    /// Appends the line to `output`; answers leaf and chain.
    mutating func append(
        _ body: [UInt8], seq: Int64, previous: [UInt8], to output: inout [UInt8]
    ) -> (leaf: [UInt8], chain: [UInt8]) {
        scratch.removeAll(keepingCapacity: true)
        scratch.append(0)
        scratch.append(contentsOf: Self.opening)
        scratch.append(contentsOf: String(seq).utf8)
        scratch.append(UInt8(ascii: ","))
        scratch.append(contentsOf: body)
        scratch.append(UInt8(ascii: "}"))
        let leaf = SHA256.hash(scratch)
        let chain = TrailHash.chain(previous, leaf: leaf)
        output.append(contentsOf: scratch[1..<scratch.count - 1])
        output.append(contentsOf: Self.chainName)
        for byte in chain {
            output.append(Self.digits[Int(byte >> 4)])
            output.append(Self.digits[Int(byte & 15)])
        }
        output.append(contentsOf: Self.closing)
        return (leaf, chain)
    }
}

/// What stands at fixed places of a line, read without parsing the rest: number, id, time, kind and chain.
struct LineHeader {
    let seq: Int64
    let id: AuditID
    let kind: AuditRecord.Kind
    let chain: [UInt8]
    private let line: [UInt8]
    private let timeStart: Int

    /// - Parameter line: without its line feed.
    init?(_ line: [UInt8]) {
        var cursor = Cursor(line: line)
        guard line.count <= RecordBody.maximumLine, cursor.skip("{\"seq\":"), let seq = cursor.number(),
            cursor.skip(",\"id\":\""), let id = AuditID(bytes: cursor.take(36)), cursor.skip("\",\"time\":\"")
        else { return nil }
        timeStart = cursor.position
        guard cursor.take(24).count == 24, cursor.skip("\",\"kind\":\""), let kind = cursor.word(),
            cursor.skip("\",\"node\":\""), let chain = Self.chain(line),
            line.count - LineWriter.chainSuffix > cursor.position
        else { return nil }
        self.seq = seq
        self.id = id
        self.kind = kind
        self.chain = chain
        self.line = line
    }

    var time: Timestamp? {
        Timestamp(iso8601: String(decoding: line[timeStart..<timeStart + 24], as: UTF8.self))
    }

    /// The line as it was hashed: without its chain member.
    var hashedText: [UInt8] { line[..<(line.count - LineWriter.chainSuffix)] + [UInt8(ascii: "}")] }

    var leaf: [UInt8] { TrailHash.leaf(of: hashedText) }

    private static func chain(_ line: [UInt8]) -> [UInt8]? {
        guard line.count > LineWriter.chainSuffix else { return nil }
        var cursor = Cursor(line: line, position: line.count - LineWriter.chainSuffix)
        guard cursor.skip(",\"chain\":\"") else { return nil }
        let text = cursor.take(64)
        guard cursor.skip("\"}"), !text.contains(where: { (0x41...0x5A).contains($0) }) else { return nil }
        return Hexadecimal.decode(String(decoding: text, as: UTF8.self))
    }

    private struct Cursor {
        let line: [UInt8]
        var position = 0

        mutating func skip(_ text: StaticString) -> Bool {
            let end = position + text.utf8CodeUnitCount
            guard end <= line.count, text.withUTF8Buffer({ line[position..<end].elementsEqual($0) }) else {
                return false
            }
            position = end
            return true
        }

        mutating func take(_ count: Int) -> ArraySlice<UInt8> {
            let start = position
            position = min(line.count, position + count)
            return line[start..<position]
        }

        mutating func number() -> Int64? {
            let digits = line[position...].prefix(19) { (0x30...0x39).contains($0) }
            guard let first = digits.first, first != 0x30 else { return nil }
            position += digits.count
            return Int64(String(decoding: digits, as: UTF8.self))
        }

        mutating func word() -> AuditRecord.Kind? {
            let letters = line[position...].prefix(16) { (0x61...0x7A).contains($0) }
            position += letters.count
            return AuditRecord.Kind(rawValue: String(decoding: letters, as: UTF8.self))
        }
    }
}

extension ArraySlice {
    /// As many as fulfil the condition, at most `count`.
    fileprivate func prefix(_ count: Int, while holds: (Element) -> Bool) -> ArraySlice {
        prefix(count).prefix(while: holds)
    }
}
