import WireText

/// One registration: whom the core tells that something happened in the conversations of its owner.
///
/// What is told are ids, times, actors and verbs: what the core routes by. It never holds text, ciphertext, names or keys.
struct Webhook: Equatable, Sendable {
    var id: String
    var owner: UserKey
    /// `https://…`; kept as it came.
    var url: String
    /// Signs what is delivered; shown once, at the registration.
    var secret: String
    /// Only of this conversation; nil: of all in which the owner takes part.
    var conversation: String?
    /// Of which verbs.
    var verbs: Set<Verb>
    var created: Timestamp
    /// It ends then, unless its owner renews it with a token that is valid: who is cut off is told nothing for long.
    var until: Timestamp
    /// Failed attempts since the last good one.
    var failures: Int
    /// Why it is switched off; nil while it is on.
    var off: String?

    static let lifeSeconds: Int64 = 30 * 86_400
    static let maximumPerUser = 20
    /// So many deliveries may wait for one webhook; older ones give way, and the next delivery says how many did.
    static let maximumWaiting = 1_000
    /// After so many failed attempts in a row, about half a day, it is switched off.
    static let maximumFailures = 20

    /// How long to wait after that many failed attempts in a row, in seconds: 5, 10, 20 … an hour.
    static func pause(after failures: Int) -> Int64 { min(3_600, 5 << Int64(min(max(0, failures - 1), 20))) }

    /// What is delivered of an activity, but for the number of those that gave way.
    static func body(
        delivery: String, webhook: String, activity: String, _ draft: ActivityDraft, organisation: String,
        sequence: Int64, now: Timestamp
    ) -> String {
        var json = JSONWriter()
        json.beginObject()
        json.member("id", delivery)
        json.member("webhookId", webhook)
        json.member("event", "activity." + draft.verb.rawValue)
        json.name("data")
        json.beginObject()
        json.member("activityId", activity)
        json.member("conversationId", draft.conversation)
        json.member("organisation", organisation)
        json.member("sequence", sequence)
        json.member("published", now.iso8601)
        json.member("actorId", draft.actor.user)
        json.member("personId", ifPresent: draft.person)
        json.member("messageId", ifPresent: draft.message)
        json.endObject()
        json.endObject()
        return json.text()
    }
}

/// One delivery that is due.
struct WebhookDelivery: Equatable, Sendable {
    var row: Int64
    var webhook: Webhook
    var body: String
    /// How many gave way before it.
    var dropped: Int
}
