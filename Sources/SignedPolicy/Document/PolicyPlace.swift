import Diagnostics
import JOSESignature
import WireText

/// A place in a JSON document with the way to it: reads typed values strictly and refuses with the path.
///
/// Texts are taken only if a person who reads them sees what a program sees: no control characters, none that turn the
/// direction of writing, no space at an end.
struct PolicyPlace {
    let node: JSONNode
    /// Such as `services[2].notAfter`; empty for the whole document.
    let path: String

    init(root: JSONNode) {
        node = root
        path = ""
    }

    private init(_ node: JSONNode, _ path: String) {
        self.node = node
        self.path = path
    }

    static let maximumText = 256

    /// The members of an object; names that are not known are refused.
    func object(_ known: [String]) throws(DiagnosedError) -> PolicyMembers {
        guard let members = node.members else { throw refusal("a mapping is expected here") }
        var places: [String: PolicyPlace] = [:]
        for (name, value) in members {
            let place = PolicyPlace(value, path.isEmpty ? name : "\(path).\(name)")
            guard known.contains(name) else {
                throw DiagnosedError.policy(
                    .policyMalformed, "\(PolicyPlace(value, path).named): there is no member \(name.quotedForError)",
                    expected: known.joined(separator: ", "), hint: "correct the name or take the member out")
            }
            places[name] = place
        }
        return PolicyMembers(places: places, of: self)
    }

    func list(upTo maximum: Int) throws(DiagnosedError) -> [PolicyPlace] {
        guard let elements = node.elements else { throw refusal("a list is expected here") }
        guard elements.count <= maximum else {
            throw refusal("the list is too long", expected: "at most \(maximum)", found: "\(elements.count)")
        }
        return elements.enumerated().map { PolicyPlace($1, "\(path)[\($0)]") }
    }

    /// A list in which no text stands twice.
    func texts(
        upTo maximum: Int, _ read: (PolicyPlace) throws(DiagnosedError) -> String
    ) throws(DiagnosedError) -> [String] {
        var texts: [String] = []
        var seen: Set<String> = []
        for place in try list(upTo: maximum) {
            let text = try read(place)
            guard seen.insert(text).inserted else {
                throw place.refusal("it stands in the list twice", found: text.quotedForError)
            }
            texts.append(text)
        }
        return texts
    }

    func text() throws(DiagnosedError) -> String {
        guard let text = node.string else { throw refusal("a text is expected here") }
        guard !text.isEmpty, text.utf8.count <= Self.maximumText else {
            throw refusal("the text has the wrong length", expected: "1 to \(Self.maximumText) octets")
        }
        guard Self.isPlain(text) else {
            throw refusal(
                "the text holds characters that do not show",
                expected: "no control characters, no marks of direction, no space at an end",
                hint: "type it anew")
        }
        return text
    }

    /// A name in kebab case, such as `search-indexing`.
    func name() throws(DiagnosedError) -> String {
        let text = try text()
        guard text.utf8.count <= 64, Self.isName(text) else {
            throw refusal(
                "this is no name", expected: "lower-case letters, digits and hyphens, such as search-indexing",
                found: text.quotedForError)
        }
        return text
    }

    /// A DNS name in lower case.
    func hostName() throws(DiagnosedError) -> String {
        let text = try text()
        let labels = text.split(separator: ".", omittingEmptySubsequences: false)
        guard text.utf8.count <= 253, labels.allSatisfy({ Self.isName(String($0)) && $0.utf8.count <= 63 }) else {
            throw refusal(
                "this is no DNS name", expected: "lower case, such as kms.example.com", found: text.quotedForError)
        }
        return text
    }

    func integer(_ range: ClosedRange<Int>) throws(DiagnosedError) -> Int {
        guard let number = node.integer.flatMap({ Int(exactly: $0) }), range.contains(number) else {
            throw refusal(
                "a number is expected here", expected: "\(range.lowerBound) to \(range.upperBound)",
                found: node.kind == .number ? node.rawText.quotedForError : "\(node.kind)")
        }
        return number
    }

    func boolean() throws(DiagnosedError) -> Bool {
        guard let flag = node.boolean else { throw refusal("true or false is expected here") }
        return flag
    }

    /// A moment of RFC 3339, or a day: its beginning in UTC, or, for what ends with that day, the beginning of the next.
    func moment(endOfDay: Bool = false) throws(DiagnosedError) -> Timestamp {
        let text = try text()
        if let moment = Timestamp(iso8601: text) { return moment }
        if text.utf8.count == 10, let day = Timestamp(iso8601: text + "T00:00:00Z") {
            return endOfDay ? day.adding(seconds: 86_400) : day
        }
        throw refusal(
            "this is no date", expected: "a day such as 2027-06-30 or a moment such as 2027-06-30T17:00:00Z",
            found: text.quotedForError)
    }

    /// `all`, or a list.
    func coverage(
        upTo maximum: Int, _ read: (PolicyPlace) throws(DiagnosedError) -> String
    ) throws(DiagnosedError) -> Coverage {
        if node.string == "all" { return .all }
        guard node.kind == .array else { throw refusal("the word all or a list is expected here") }
        return .only(Set(try texts(upTo: maximum, read)))
    }

    func refusal(
        _ summary: String, expected: String? = nil, found: String? = nil, hint: String? = nil
    ) -> DiagnosedError {
        .policy(.policyMalformed, "\(named): \(summary)", expected: expected, found: found, hint: hint)
    }

    fileprivate var named: String { path.isEmpty ? "policy" : path }

    static func isName(_ text: String) -> Bool {
        !text.isEmpty && !text.hasPrefix("-") && !text.hasSuffix("-")
            && text.utf8.allSatisfy {
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "-")
            }
    }

    static func isPlain(_ text: String) -> Bool {
        guard text.first != " ", text.last != " " else { return false }
        return text.unicodeScalars.allSatisfy { scalar in
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned: false
            case .spaceSeparator: scalar == " "
            default: true
            }
        }
    }
}

/// What an object holds, by name.
struct PolicyMembers {
    fileprivate let places: [String: PolicyPlace]
    private let object: PolicyPlace?

    /// Of an object that is not there.
    init() { (places, object) = ([:], nil) }
    fileprivate init(places: [String: PolicyPlace], of object: PolicyPlace) {
        (self.places, self.object) = (places, object)
    }

    subscript(name: String) -> PolicyPlace? { places[name] }

    func required(_ name: String) throws(DiagnosedError) -> PolicyPlace {
        if let place = places[name] { return place }
        throw .policy(
            .policyMalformed, "\(object?.named ?? "policy"): the member '\(name)' is missing", hint: "add it")
    }
}

/// All, or what is named; nothing else.
package enum Coverage: Sendable, Equatable {
    case all
    case only(Set<String>)

    package static let nothing = Coverage.only([])

    package func covers(_ text: String) -> Bool {
        switch self {
        case .all: true
        case .only(let texts): texts.contains(text)
        }
    }

    func overlaps(_ other: Coverage) -> Bool {
        switch (self, other) {
        case (.all, .all): true
        case (.all, .only(let texts)), (.only(let texts), .all): !texts.isEmpty
        case (.only(let left), .only(let right)): !left.isDisjoint(with: right)
        }
    }
}
