import Hummingbird
import WireText

/// Conversations: their encrypted name, who takes part, and which KRO holds their keys.
struct ConversationRoutes {
    let services: CoreServices
    static let maximumNameBytes = 16 << 10

    func add(to router: some RouterMethods<CoreRequestContext>) {
        router.post("conversations") { request, context -> Response in try await create(request, context) }
        router.get("conversations") { _, context -> Response in
            let conversations = try await services.store.conversations(of: context.user())
            return .json { json in
                json.name("items")
                json.beginArray()
                for conversation in conversations {
                    json.beginObject()
                    write(conversation, to: &json)
                    json.endObject()
                }
                json.endArray()
            }
        }
        router.get("conversations/:id") { _, context -> Response in
            answer(.ok, try await services.store.conversation(context.id(), for: context.user()))
        }
        router.put("conversations/:id/resource") { request, context -> Response in
            let user = try context.user()
            _ = try await services.store.conversation(context.id(), for: user)
            let body = try await RequestJSON(request)
            let url = try body.text("kmsResourceObjectUrl", maximum: 512)
            let cluster = try services.organisation(user.organisation).kmsCluster
            guard OpaqueText.isKMSURI(url, collection: "resources", host: cluster) else {
                throw Refusal(.badRequest, "kmsResourceObjectUrl is malformed: expected \(cluster)/resources/UUID")
            }
            return answer(
                .ok, try await services.store.setResource(url, of: context.id(), by: user, now: services.wall()))
        }
    }

    private func create(_ request: Request, _ context: CoreRequestContext) async throws -> Response {
        let user = try context.user()
        let body = try await RequestJSON(request)
        let named = try body.texts("participants", maximumCount: CloudStore.maximumParticipants, maximum: 36)
        guard named.allSatisfy({ UUIDText.isValid($0) }) else {
            throw Refusal(.badRequest, "participants is malformed: expected user ids")
        }
        var seen: Set<String> = [user.user]
        let draft = CloudStore.ConversationDraft(
            id: UUIDText.random(), creator: user,
            displayName: try body.content("displayName", maximum: Self.maximumNameBytes),
            encryptionKeyURL: try body.keyURL("encryptionKeyUrl"),
            others: named.map { $0.lowercased() }.filter { seen.insert($0).inserted },
            clientTempID: try body.optionalText("clientTempId", maximum: 255),
            partners: services.configuration.partners(of: user.organisation).map(\.id))
        guard seen.count <= CloudStore.maximumParticipants else {
            throw Refusal(.badRequest, "a conversation has at most \(CloudStore.maximumParticipants) participants")
        }
        let message = try body.kmsMessage()
        if let tempID = draft.clientTempID,
            let (first, kmsAnswer) = try await services.store.createdConversation(by: user, clientTempID: tempID)
        {
            return answer(.ok, first, kmsMessage: kmsAnswer)
        }
        try await services.store.prepare(draft)
        let kmsAnswer = try await services.forward(message, of: user)
        let (record, isNew) = try await services.store.create(draft, kmsAnswer: kmsAnswer, now: services.wall())
        return answer(isNew ? .created : .ok, record, kmsMessage: kmsAnswer)
    }

    private func answer(
        _ status: HTTPResponse.Status, _ conversation: ConversationRecord, kmsMessage: String? = nil
    ) -> Response {
        .json(status) { json in
            write(conversation, to: &json)
            json.member("kmsMessage", ifPresent: kmsMessage)
        }
    }

    private func write(_ conversation: ConversationRecord, to json: inout JSONWriter) {
        json.member("id", conversation.id)
        json.member("url", services.urls.conversation(conversation.id))
        json.member("displayName", conversation.displayName)
        json.member("encryptionKeyUrl", conversation.encryptionKeyURL)
        json.member("defaultActivityEncryptionKeyUrl", conversation.defaultKeyURL)
        json.name("kmsResourceObjectUrl")
        if let url = conversation.resourceURL { json.value(url) } else { json.null() }
        json.member("creator", conversation.creator)
        json.member("participants", conversation.participants)
        json.member("published", conversation.published.iso8601)
        json.member("lastSequence", conversation.lastSequence)
    }
}
