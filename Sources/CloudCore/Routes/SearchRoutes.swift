import HTTPTypes
import Hummingbird
import SearchProtocol
import WireText

/// Search: a sealed query goes to an indexer of the caller's organisation, which says which messages it found; the core adds
/// the messages, encrypted as they are (docs/core-api.md).
///
/// The core can not read the query. It tells the indexer whose it is and which rooms that person is in; the indexer takes
/// neither for true.
struct SearchRoutes {
    let services: CoreServices
    static let standardLimit: Int64 = 20
    static let longestLimit: Int64 = 100
    static let maximumQueryBytes = 32 << 10
    /// Kinds of messages by the words that clients have for them.
    static let verbs = ["comment": "post", "content": "share"]

    func add(to router: some RouterMethods<CoreRequestContext>) {
        router.post("search") { request, context -> Response in try await search(request, context) }
    }

    private func search(_ request: Request, _ context: CoreRequestContext) async throws -> Response {
        let user = try context.user()
        let body = try await RequestJSON(request)
        // Zero and less stand for the usual number with deployed clients.
        let asked = body.root["limit"]?.integer ?? 0
        let limit = Int(asked > 0 ? min(asked, Self.longestLimit) : Self.standardLimit)
        let types = body.root["type"] == nil ? [] : try body.texts("type", maximumCount: 10, maximum: 64)
        let room = try body.optionalText("sharedIn").map { try conversation($0) }
        guard let query = try body.optionalContent("query", maximum: Self.maximumQueryBytes) else {
            return try await list(room, types, limit, user)
        }
        let key = try body.keyURL("searchEncryptionKeyUrl")
        var conversations = try await services.store.conversations(of: user)
        if let room { conversations = conversations.filter { $0.id == room } }
        if room != nil, conversations.isEmpty {
            throw Refusal(.notFound, "there is no such conversation, or it is not yours")
        }
        // A partner's conversations are indexed by the partner, and those without a resource object by nobody.
        let own = conversations.filter { $0.organisation == user.organisation && $0.resourceURL != nil }
        let rooms = own.prefix(SearchQuestion.maximumRooms).map {
            SearchQuestion.Room(id: $0.id, resource: $0.resourceURL ?? "")
        }
        let beyond = Set(conversations.map(\.id)).subtracting(rooms.map(\.id))
        let question = SearchQuestion(
            user: user.user, query: query, keyURI: key, limit: limit, types: types, rooms: rooms)
        let answer = try await ask(question, of: user)
        let known = Set(rooms.map(\.id))
        let items = try await services.store.activities(
            answer.items.prefix(limit).filter { known.contains($0.room) }.map { ($0.room, $0.message) }, for: user)
        let leftOut =
            answer.leftOut.filter { known.contains($0.room) }.map { ($0.room, $0.reason.rawValue) }
            + beyond.sorted().map { ($0, "not-indexed") }
        return .json { json in
            Self.write(items, to: &json)
            json.member("partial", !leftOut.isEmpty)
            json.name("leftOut")
            json.beginArray()
            for (room, reason) in leftOut {
                json.beginObject()
                json.member("conversation", room)
                json.member("reason", reason)
                json.endObject()
            }
            json.endArray()
        }
    }

    /// Without words: the newest messages of one conversation.
    private func list(_ room: String?, _ types: [String], _ limit: Int, _ user: UserKey) async throws -> Response {
        guard let room, !types.isEmpty else {
            throw Refusal(.badRequest, "without a query, sharedIn and type are needed")
        }
        let items = try await services.store.newestMessages(
            in: room, for: user, verbs: types.compactMap { Self.verbs[$0] }, limit: limit)
        return .json { json in
            Self.write(items, to: &json)
            json.member("partial", false)
        }
    }

    private static func write(_ items: [String], to json: inout JSONWriter) {
        json.name("items")
        json.beginArray()
        for item in items { json.raw(item) }
        json.endArray()
    }

    private func ask(_ question: SearchQuestion, of user: UserKey) async throws -> SearchAnswer {
        let destination = "indexer://\(user.organisation)"
        guard services.relay.openLinkCount(of: destination) > 0 else {
            throw Refusal(
                .unavailable, "no search indexer of this organisation is connected", retryAfterSeconds: 5)
        }
        let octets: [UInt8]?
        do {
            octets = try await services.relay.forward(
                question.encode(), to: destination, from: "\(user.organisation)/\(user.user)")
        } catch let refusal as Relay.Refusal {
            throw Refusal(refusal)
        }
        guard let octets, let answer = try? SearchAnswer(decoding: octets) else {
            throw Refusal(.gatewayTimeout, "the search indexer gave no answer")
        }
        guard answer.status == 200 else {
            let status = Refusal.Status(rawValue: answer.status) ?? .unavailable
            throw Refusal(status, "the search indexer: \((answer.reason ?? "refused").printable)")
        }
        return answer
    }

    /// A conversation's id, or its URL.
    private func conversation(_ text: String) throws(Refusal) -> String {
        let id = text.split(separator: "/").last.map(String.init) ?? text
        guard UUIDText.isValid(id), text == id || text == services.urls.conversation(id) else {
            throw Refusal(.badRequest, "sharedIn is malformed: expected the id or url of a conversation")
        }
        return id.lowercased()
    }
}
