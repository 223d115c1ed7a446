import Diagnostics
import Glibc
import WireText

/// The name of a segment: `NODE.FIRST.audit`, the number of the first record in 16 digits.
package struct SegmentName: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let node: String
    package let first: Int64

    package init(node: String, first: Int64) {
        self.node = node
        self.first = first
    }

    init?(_ text: String) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[2] == "audit", parts[1].utf8.count == 16, let first = Int64(parts[1]), first > 0,
            Self.isNode(String(parts[0]))
        else { return nil }
        self.init(node: String(parts[0]), first: first)
    }

    package var description: String {
        let digits = String(first)
        return node + "." + String(repeating: "0", count: max(0, 16 - digits.utf8.count)) + digits + ".audit"
    }

    /// Letters, digits and hyphens: a node's name is part of file names.
    static func isNode(_ text: String) -> Bool {
        (1...63).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                switch $0 {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x5F: true
                default: false
                }
            }
    }

    package static func < (left: SegmentName, right: SegmentName) -> Bool {
        (left.node, left.first) < (right.node, right.first)
    }
}

/// The files of one trail: segments, roots and the mark of the last export.
struct TrailFolder: Sendable {
    let path: String

    var rootsPath: String { path + "/roots" }
    var markPath: String { path + "/exported" }
    func path(of segment: SegmentName) -> String { "\(path)/\(segment)" }

    /// In order of their first numbers; of one node, or it is no trail.
    func segments() throws(DiagnosedError) -> [SegmentName] {
        guard let directory = opendir(path) else {
            throw .auditFile("the folder can not be read", path, errno: errno, fault: .configuration)
        }
        defer { closedir(directory) }
        var names: [SegmentName] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if let segment = SegmentName(name) { names.append(segment) }
        }
        names.sort()
        guard Set(names.map(\.node)).count <= 1 else {
            throw DiagnosedError(
                .auditTrailForeign, fault: .configuration, "\(path) holds segments of several nodes",
                expected: "one folder for each node", found: Set(names.map(\.node)).sorted().joined(separator: ", "))
        }
        return names
    }

    func size(of segment: SegmentName) -> Int {
        var status = stat()
        return stat(path(of: segment), &status) == 0 ? Int(status.st_size) : 0
    }

    /// The header of the first record; nil when the segment holds none.
    func firstHeader(of segment: SegmentName) throws(DiagnosedError) -> LineHeader? {
        try LineReader(path(of: segment)).next().flatMap { LineHeader($0) }
    }
}

/// Up to where everything stands in an export: what may be deleted when space runs short.
struct ExportMark: Sendable, Equatable {
    let trail: String
    let through: Int64
    let time: Timestamp

    func write(to folder: TrailFolder) throws(DiagnosedError) {
        var json = JSONWriter()
        json.beginObject()
        json.member("trail", trail)
        json.member("through", through)
        json.member("time", time.iso8601)
        json.endObject()
        try SmallFile.replace(folder.markPath, json.bytes() + [0x0A], in: folder.path)
    }

    /// Nil when nothing was exported yet.
    static func read(from folder: TrailFolder) throws(DiagnosedError) -> ExportMark? {
        guard let bytes = try SmallFile.readIfPresent(folder.markPath, limit: 4096) else { return nil }
        let json = try StatementReader(bytes)
        return ExportMark(
            trail: try json.text("trail"), through: try json.number("through"), time: try json.time("time"))
    }
}

/// What is kept of a trail when its segments are gone: the key, successions and all roots in order.
///
/// One JSON object a line: `{"key":{…}}`, `{"succession":"JWS"}`, `{"root":"JWS"}`. Key material in it proves nothing.
struct RootsFile: Sendable {
    enum Entry: Sendable, Equatable {
        case key(String)
        case succession(String)
        case root(String)

        var line: [UInt8] {
            var json = JSONWriter()
            json.beginObject()
            switch self {
            case .key(let jwk):
                json.name("key")
                json.raw(jwk)
            case .succession(let jws): json.member("succession", jws)
            case .root(let jws): json.member("root", jws)
            }
            json.endObject()
            return json.bytes() + [0x0A]
        }

        init?(_ line: [UInt8]) {
            guard let json = try? StatementReader(line), let member = json.root.members?.first else { return nil }
            switch member.name {
            case "key": self = .key(member.value.rawText)
            case "succession": self = .succession(member.value.string ?? "")
            case "root": self = .root(member.value.string ?? "")
            default: return nil
            }
        }
    }

    let path: String

    /// Hands out every entry with its line number; a torn last line is left out.
    func forEach(_ body: (Entry, Int) throws -> Void) throws {
        guard access(path, F_OK) == 0 else { return }
        let reader = try LineReader(path)
        var number = 0
        while let line = try reader.next() {
            number += 1
            guard let entry = Entry(line) else {
                throw DiagnosedError(
                    .auditLineMalformed, fault: .client, "\(path) line \(number) is neither key nor succession nor root"
                )
            }
            try body(entry, number)
        }
    }
}
