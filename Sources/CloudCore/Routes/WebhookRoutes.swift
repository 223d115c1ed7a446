import Cryptography
import HTTPTypes
import Hummingbird
import WireText

/// Registration of webhooks by users, and by integrations with a user's token.
struct WebhookRoutes {
    let services: CoreServices
    static let secretBytes = 32

    func add(to router: some RouterMethods<CoreRequestContext>) {
        router.post("webhooks") { request, context -> Response in try await register(request, context) }
        router.get("webhooks") { _, context -> Response in
            let webhooks = try await services.store.webhooks(of: context.user())
            return .json { json in
                json.name("items")
                json.beginArray()
                for webhook in webhooks { write(webhook, to: &json) }
                json.endArray()
            }
        }
        router.post("webhooks/:id/renew") { _, context -> Response in
            let until = services.wall().adding(seconds: Webhook.lifeSeconds)
            let webhook = try await services.store.renewWebhook(context.id(), of: context.user(), until: until)
            var json = JSONWriter()
            write(webhook, to: &json)
            return .json(.ok, json.text())
        }
        router.delete("webhooks/:id") { _, context -> Response in
            try await services.store.deleteWebhook(context.id(), of: context.user())
            return Response(status: .noContent)
        }
    }

    private func register(_ request: Request, _ context: CoreRequestContext) async throws -> Response {
        guard services.configuration.webhooks != nil else {
            throw Refusal(
                .notImplemented, "this core delivers to no webhooks: its configuration has no section webhooks")
        }
        let owner = try context.user()
        let body = try await RequestJSON(request, maximumBytes: 16 << 10)
        let url = try body.text("url", maximum: 2_048)
        guard url.hasPrefix("https://"), url.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
            !url.dropFirst(8).prefix(while: { $0 != "/" && $0 != "?" && $0 != "#" }).contains("@"),
            !url.contains("#")
        else {
            throw Refusal(
                .badRequest, "url is no address to deliver to: expected https://HOST/PATH without user and fragment")
        }
        var verbs = Set(Verb.allCases)
        if body.root["verbs"].map({ !$0.isNull }) ?? false {
            let texts = try body.texts("verbs", maximumCount: Verb.allCases.count, maximum: 32)
            verbs = Set(texts.compactMap { Verb(rawValue: $0) })
            guard !verbs.isEmpty, verbs.count == Set(texts).count else {
                throw Refusal(
                    .badRequest,
                    "verbs is malformed: expected some of " + Verb.allCases.map(\.rawValue).joined(separator: ", "))
            }
        }
        var conversation: String?
        if body.root["conversationId"].map({ !$0.isNull }) ?? false { conversation = try body.uuid("conversationId") }
        let now = services.wall()
        let webhook = Webhook(
            id: UUIDText.random(), owner: owner, url: url,
            secret: Base64URL.encode(try RandomBytes.bytes(Self.secretBytes)), conversation: conversation, verbs: verbs,
            created: now, until: now.adding(seconds: Webhook.lifeSeconds), failures: 0, off: nil)
        try await services.store.register(webhook)
        var json = JSONWriter()
        write(webhook, withSecret: true, to: &json)
        return .json(.created, json.text())
    }

    private func write(_ webhook: Webhook, withSecret: Bool = false, to json: inout JSONWriter) {
        json.beginObject()
        json.member("id", webhook.id)
        json.member("url", webhook.url)
        if withSecret { json.member("secret", webhook.secret) }
        json.member("conversationId", ifPresent: webhook.conversation)
        json.name("verbs")
        json.beginArray()
        for verb in Verb.allCases where webhook.verbs.contains(verb) { json.value(verb.rawValue) }
        json.endArray()
        json.member("created", webhook.created.iso8601)
        json.member("until", webhook.until.iso8601)
        json.member("failures", Int64(webhook.failures))
        json.member("off", ifPresent: webhook.off)
        json.endObject()
    }
}
