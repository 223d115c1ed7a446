import WireText

/// What a customer's KMS lets the core say to the clients of its users, as calls on its link: that there is an order for them
/// at their own authorization service (docs/link-protocol.md). It is pushed to devices that are connected, and not kept.
struct ClientWords: Sendable {
    static let destination = "clients://core"

    let events: EventHub
    let wall: @Sendable () -> Timestamp

    /// - Parameter service: what the link's token says; only a KMS speaks here.
    func reply(to call: [UInt8], of organisation: String, from service: String) -> [UInt8] {
        guard service == "kms" else { return CallAnswer.json(403, "only a KMS may call this") }
        let limits = JSONDocument.Limits(maximumDepth: 3, maximumNodes: 16, maximumBytes: 4096)
        guard let root = try? JSONDocument(call, limits: limits).root, root["word"]?.string == "wipe",
            let user = root["userId"]?.string, UUIDText.isValid(user)
        else { return CallAnswer.json(400, "expected word (wipe) and userId") }
        events.push(.wipe(wall: wall()), to: [UserKey(organisation: organisation, user: user.lowercased())])
        return CallAnswer.json(200, nil)
    }
}

/// The form in which services of the core answer calls.
enum CallAnswer {
    static func json(_ status: Int, _ reason: String?) -> [UInt8] {
        var json = JSONWriter(reserving: 256)
        json.beginObject()
        json.member("status", status)
        json.member("reason", ifPresent: reason)
        json.endObject()
        return json.bytes()
    }
}
