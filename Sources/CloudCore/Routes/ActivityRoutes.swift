import HTTPTypes
import Hummingbird
import WireText

/// Activities: stored in one order per conversation, and pushed to all who take part.
struct ActivityRoutes {
    let services: CoreServices
    static let maximumTextBytes = 128 << 10
    static let maximumFiles = 50

    func add(to router: some RouterMethods<CoreRequestContext>) {
        router.post("conversations/:id/activities") { request, context -> Response in try await append(request, context)
        }
        router.get("conversations/:id/activities") { request, context -> Response in
            let query = request.uri.queryParameters
            let since = try Self.number(query["since"], "since", in: 0...Int64.max, default: 0)
            let limit = try Self.number(query["limit"], "limit", in: 1...500, default: 100)
            let page = try await services.store.activities(
                in: context.id(), for: context.user(), since: since, limit: Int(limit))
            return .json { json in
                json.name("items")
                json.beginArray()
                for item in page.items { json.raw(item) }
                json.endArray()
                json.member("next", page.next)
            }
        }
    }

    private static func number(
        _ text: Substring?, _ name: String, in range: ClosedRange<Int64>, default value: Int64
    ) throws(Refusal) -> Int64 {
        guard let text else { return value }
        guard let number = Int64(text), range.contains(number) else {
            throw Refusal(.badRequest, "\(name) is out of bounds: expected \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    private func append(_ request: Request, _ context: CoreRequestContext) async throws -> Response {
        let user = try context.user()
        let body = try await RequestJSON(request)
        var draft = try draft(body, conversation: context.id(), actor: user)
        draft.partners = services.configuration.partners(of: user.organisation).map(\.id)
        let message = draft.verb.needsKMS || body.root["kmsMessage"]?.isNull == false ? try body.kmsMessage() : nil
        if let first = try await services.store.prepare(draft) { return answer(.ok, first) }
        var kmsAnswer: String?
        if let message { kmsAnswer = try await services.forward(message, of: user) }
        let (events, wall) = (services.events, services.wall)
        let judged = draft
        let outcome = try await services.store.append(
            judged, id: UUIDText.random(), url: services.urls.conversation(draft.conversation), kmsAnswer: kmsAnswer,
            now: wall()
        ) { json, readers in
            events.push(.activity(json, wall: wall()), to: readers)
        }
        switch outcome {
        case .stored(let activity): return answer(.created, activity)
        case .deleted(let activity, let message):
            await services.search.forget(message)
            return answer(.created, activity)
        case .duplicate(let activity): return answer(.ok, activity)
        }
    }

    /// The wrapped answer goes to the author alone.
    private func answer(_ status: HTTPResponse.Status, _ activity: StoredActivity) -> Response {
        guard let kmsAnswer = activity.kmsAnswer else { return .json(status, activity.json) }
        var json = JSONWriter()
        json.value(kmsAnswer)
        return .json(status, activity.json.dropLast() + ",\"kmsMessage\":" + json.text() + "}")
    }

    private func draft(
        _ body: RequestJSON, conversation: String, actor: UserKey
    ) throws(Refusal) -> ActivityDraft {
        guard let verb = Verb(rawValue: try body.text("verb", maximum: 32)) else {
            throw Refusal(
                .badRequest, "verb is not known: expected " + Verb.allCases.map(\.rawValue).joined(separator: ", "))
        }
        var draft = ActivityDraft(conversation: conversation, actor: actor, verb: verb, objectJSON: "{}")
        draft.clientTempID = try body.optionalText("clientTempId", maximum: 255)
        var json = JSONWriter()
        json.beginObject()
        switch verb {
        case .post, .share:
            let object = try body.object("object")
            draft.encryptionKeyURL = try body.keyURL("encryptionKeyUrl")
            json.member("objectType", verb == .post ? "comment" : "content")
            let name = try object.optionalContent("displayName", maximum: Self.maximumTextBytes)
            if verb == .post, name == nil { throw Refusal(.badRequest, "object.displayName is missing: a compact JWE") }
            json.member("displayName", ifPresent: name)
            json.member("content", ifPresent: try object.optionalContent("content", maximum: Self.maximumTextBytes))
            if verb == .share { draft.files = try files(of: object, to: &json) }
        case .edit:
            let object = try body.object("object")
            let message = try object.uuid("id")
            draft.message = message
            draft.encryptionKeyURL = try body.keyURL("encryptionKeyUrl")
            json.member("objectType", "comment")
            json.member("id", message)
            guard let name = try object.optionalContent("displayName", maximum: Self.maximumTextBytes) else {
                throw Refusal(.badRequest, "object.displayName is missing: a compact JWE")
            }
            json.member("displayName", name)
        case .add, .leave:
            let person = try body.object("object").uuid("id")
            draft.person = person
            json.member("objectType", "person")
            json.member("id", person)
        case .delete:
            let message = try body.object("object").uuid("id")
            draft.message = message
            json.member("objectType", "activity")
            json.member("id", message)
        case .updateKey:
            draft.encryptionKeyURL = try body.keyURL("encryptionKeyUrl")
            json.member("objectType", "conversation")
        }
        json.endObject()
        draft.objectJSON = json.text()
        return draft
    }

    private func files(of object: RequestJSON, to json: inout JSONWriter) throws(Refusal) -> [String] {
        guard let elements = object.root["files"]?.elements, (1...Self.maximumFiles).contains(elements.count) else {
            throw Refusal(.badRequest, "object.files is malformed: expected a list of 1 to \(Self.maximumFiles) files")
        }
        var ids: [String] = []
        json.name("files")
        json.beginArray()
        for element in elements {
            let file = RequestJSON(element)
            let url = try file.text("url")
            guard let id = services.urls.fileID(in: url) else {
                throw Refusal(.badRequest, "url of a file is no download URL of this core")
            }
            ids.append(id.text)
            json.beginObject()
            json.member("displayName", try file.content("displayName", maximum: Self.maximumTextBytes))
            if let size = element["fileSize"]?.integer, size >= 0 { json.member("fileSize", size) }
            json.member("url", services.urls.file(id))
            json.member("scr", try file.content("scr", maximum: Self.maximumTextBytes))
            json.endObject()
        }
        json.endArray()
        return ids
    }
}
