import Diagnostics
import EDiscoveryCollection
import EDiscoveryModel
import ServiceRuntime
import WireText

/// Who is who at the customer: addresses are resolved here and never by the cloud. A JSON file: `{"people": [{"id": "...",
/// "name": "...", "emails": ["the main one", "an alias"]}]}`. Read once, at the start.
struct Directory: Sendable {
    private let people: [String: Person]
    private let ids: [String: String]

    init() { (people, ids) = ([:], [:]) }

    init(_ octets: [UInt8]) throws(DiagnosedError) {
        let root = try JSONDocument(
            octets, limits: .init(maximumDepth: 8, maximumNodes: 5_000_000, maximumBytes: 64 << 20)
        ).root
        guard let list = root["people"]?.elements else { throw Self.malformed("no member people") }
        var people: [String: Person] = [:], ids: [String: String] = [:]
        for node in list {
            guard let id = node["id"]?.string?.lowercased(), !id.isEmpty else {
                throw Self.malformed("a person without id")
            }
            let emails = (node["emails"]?.strings ?? []).map { $0.lowercased() }
            people[id] = Person(id: id, email: emails.first, name: node["name"]?.string)
            for email in emails {
                guard ids.updateValue(id, forKey: email) ?? id == id else {
                    throw Self.malformed("one address of two persons")
                }
            }
        }
        (self.people, self.ids) = (people, ids)
    }

    private static func malformed(_ found: String) -> DiagnosedError {
        DiagnosedError(
            "directory", fault: .configuration, "the directory of people can not be used",
            expected: #"{"people": [{"id", "name", "emails"}]}"#, found: found)
    }

    @Sendable func person(_ id: String) -> Person { people[id] ?? Person(id: id) }

    /// The subjects of a request; addresses that nobody has are an error that lists them.
    func ids(of request: ReportRequest) throws(DiagnosedError) -> [String] {
        try ids(request.emails, and: request.userIDs)
    }

    func ids(_ emails: [String], and ids: [String]) throws(DiagnosedError) -> [String] {
        let unknown = emails.filter { self.ids[$0] == nil }
        guard unknown.isEmpty else {
            throw DiagnosedError(
                .unknownSubjects, fault: .client, "the directory has nobody with these addresses",
                found: unknown.joined(separator: ", "), hint: "correct them, or name the persons by their ids")
        }
        return Set(ids + emails.compactMap { self.ids[$0] }).sorted()
    }
}
