package import Diagnostics
package import WireText

/// What a compliance officer asks for, checked whole: what this release does not collect is refused, never left out in
/// silence (docs/ediscovery.md).
package struct ReportRequest: Sendable, Equatable {
    package enum Role: String, Sendable, CaseIterable { case author, participant, recipient }
    package enum Operator: String, Sendable, CaseIterable { case any, all, phrase }
    package enum Kind: String, Sendable, CaseIterable { case message, file, membership, spaceInfo }

    package var name: String
    /// The matter: the KMS holds the officer against it.
    package var matter: String?
    package var emails: [String]
    package var userIDs: [String]
    package var role: Role
    /// With `spaceNames`: either will do. Both empty: all.
    package var spaces: Set<String>
    /// Names that spaces had at their creation, folded like words.
    package var spaceNames: Set<String>
    package var terms: [String]
    package var termOperator: Operator
    /// Half open: start <= published < end.
    package var start: Timestamp?
    package var end: Timestamp?
    package var kinds: Set<Kind>
    package var before: Int
    package var after: Int
    /// Whether the octets of files are opened and checked, so that an export has them.
    package var includesAttachments: Bool
    package var includesDeleted: Bool
    package var includesHistory: Bool
    package var limits: ReportProgress.Limits
    package var idempotencyKey: String?

    package init(_ node: JSONNode) throws(DiagnosedError) {
        name = node["name"]?.string ?? ""
        guard !name.isEmpty, name.utf8.count <= 256 else { throw Self.refused("name", "1 to 256 octets") }
        matter = node["caseId"]?.string
        let subjects = node["subjects"]
        emails = try Self.texts(subjects?["emails"], "subjects.emails").map { $0.lowercased() }
        userIDs = try Self.texts(subjects?["userIds"], "subjects.userIds").map { $0.lowercased() }
        role = try Self.choice(subjects?["role"], .participant, "subjects.role")
        spaces = Set(try Self.texts(node["spaces"]?["ids"], "spaces.ids").map { $0.lowercased() })
        spaceNames = Set(try Self.texts(node["spaces"]?["names"], "spaces.names").map(KeywordScan.folded))
        guard !spaceNames.contains("") else { throw Self.refused("spaces.names", "names of at least one character") }
        let keywords = node["keywords"]
        terms = try Self.texts(keywords?["terms"], "keywords.terms")
        termOperator = try Self.choice(keywords?["op"], .any, "keywords.op")
        guard terms.allSatisfy({ !KeywordScan.folded($0).isEmpty }) else {
            throw Self.refused("keywords.terms", "terms of at least one character")
        }
        guard (keywords?["mode"]?.string ?? "scan") == "scan" else {
            throw Self.refused(
                "keywords.mode",
                "scan: the index would show the cloud the words of the case, and words that stemming loses")
        }
        start = try Self.moment(node["range"]?["start"], "range.start")
        end = try Self.moment(node["range"]?["end"], "range.end")
        if let start, let end, start >= end { throw Self.refused("range", "a start before its end") }
        let types = try Self.texts(node["types"], "types")
        kinds = []
        for type in types {
            guard let kind = Kind(rawValue: type) else {
                throw Self.refused("types", Kind.allCases.map(\.rawValue).joined(separator: ", "))
            }
            kinds.insert(kind)
        }
        if types.isEmpty { kinds = [.message, .file] }
        let include = node["include"]
        includesAttachments = include?["attachments"]?.boolean ?? false
        before = try Self.number(include?["context"]?["before"], 0, 0...100, "include.context.before")
        after = try Self.number(include?["context"]?["after"], 0, 0...100, "include.context.after")
        includesDeleted = include?["deleted"]?.boolean ?? true
        includesHistory = include?["editHistory"]?.boolean ?? true
        let most = try Self.number(node["limits"]?["maxItems"], 1_000_000, 1...10_000_000, "limits.maxItems")
        let octets = try Self.number(node["limits"]?["maxBytes"], 50_000_000_000, 1...(1 << 50), "limits.maxBytes")
        let onLimit = node["limits"]?["onLimit"]?.string ?? "stopPartial"
        guard ["stopPartial", "fail"].contains(onLimit) else {
            throw Self.refused("limits.onLimit", "stopPartial or fail")
        }
        limits = .init(items: most, octets: UInt64(octets), fails: onLimit == "fail")
        idempotencyKey = node["idempotencyKey"]?.string
    }

    /// Whether a space may be part of it, as far as its id tells; nil when its name decides.
    package func wants(space id: String) -> Bool? {
        if spaces.contains(id) { return true }
        if !spaceNames.isEmpty { return nil }
        return spaces.isEmpty
    }

    private static func refused(_ place: String, _ expected: String) -> DiagnosedError {
        DiagnosedError(
            .reportRequest, fault: .client, "the request for a report can not be done",
            expected: "\(place): \(expected)")
    }

    private static func texts(_ node: JSONNode?, _ place: String) throws(DiagnosedError) -> [String] {
        guard let node, !node.isNull else { return [] }
        guard let texts = node.strings, texts.count <= 1000 else { throw refused(place, "at most 1,000 texts") }
        return texts
    }

    private static func choice<Value: RawRepresentable & CaseIterable>(
        _ node: JSONNode?, _ standard: Value, _ place: String
    ) throws(DiagnosedError) -> Value where Value.RawValue == String {
        guard let node, !node.isNull else { return standard }
        guard let value = node.string.flatMap({ Value(rawValue: $0) }) else {
            throw refused(place, Value.allCases.map(\.rawValue).joined(separator: ", "))
        }
        return value
    }

    private static func moment(_ node: JSONNode?, _ place: String) throws(DiagnosedError) -> Timestamp? {
        guard let node, !node.isNull else { return nil }
        guard let time = node.string.flatMap({ Timestamp(iso8601: $0) }) else {
            throw refused(place, "a time such as 2026-11-27T00:00:00Z")
        }
        return time
    }

    private static func number(
        _ node: JSONNode?, _ standard: Int, _ range: ClosedRange<Int>, _ place: String
    ) throws(DiagnosedError) -> Int {
        guard let node, !node.isNull else { return standard }
        guard let number = node.integer.map({ Int($0) }), range.contains(number) else {
            throw refused(place, "\(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}

/// Whether a text has the words of a report: parts of words count, without case, white space as one blank.
package struct KeywordScan: Sendable {
    private let terms: [String]
    private let needsAll: Bool

    package init(_ request: ReportRequest) {
        let folded = request.terms.map(Self.folded)
        terms = request.termOperator == .phrase ? [folded.joined(separator: " ")].filter { !$0.isEmpty } : folded
        needsAll = request.termOperator == .all
    }

    package var isEmpty: Bool { terms.isEmpty }

    package func matches(_ texts: [String]) -> Bool {
        guard !terms.isEmpty else { return true }
        let texts = texts.map(Self.folded)
        func stands(_ term: String) -> Bool { texts.contains { Self.contains($0, term) } }
        return needsAll ? terms.allSatisfy(stands) : terms.contains(where: stands)
    }

    static func folded(_ text: String) -> String {
        text.lowercased().split(whereSeparator: \.isWhitespace).joined(separator: " ")
    }

    private static func contains(_ text: String, _ part: String) -> Bool {
        guard let first = part.utf8.first else { return true }
        let text = Array(text.utf8), part = Array(part.utf8)
        guard text.count >= part.count else { return false }
        return (0...(text.count - part.count)).contains { start in
            text[start] == first && text[start..<(start + part.count)].elementsEqual(part)
        }
    }
}

extension DiagnosedError.Code {
    package static let reportRequest: Self = "report-request"
    package static let reportState: Self = "report-state"
    package static let unknownSubjects: Self = "unknown-subjects"
}
