import Diagnostics
import EDiscoveryModel
import WireText

/// The line of a space in `spaces.jsonl`: who was in it, and under which name its mailbox and transcript are.
enum SpaceLine {
    static func encode(_ place: SpacePlace) -> [UInt8] {
        let space = place.space
        var json = JSONWriter()
        json.beginObject()
        json.name("formerParticipants")
        write(space.formerParticipants, to: &json)
        json.member("id", space.id)
        json.member("name", place.stem)
        json.member("oneToOne", space.isOneToOne)
        json.name("participants")
        write(space.participants, to: &json)
        if let title = space.title { json.member("title", title) }
        json.endObject()
        return json.bytes() + [0x0A]
    }

    private static func write(_ people: [Person], to json: inout JSONWriter) {
        json.beginArray()
        for person in people {
            json.beginObject()
            if let email = person.email { json.member("email", email) }
            json.member("id", person.id)
            if let name = person.name { json.member("name", name) }
            json.endObject()
        }
        json.endArray()
    }
}

/// What a source must not do.
enum DiagnosedOrder {
    static let unknownSpace = DiagnosedError(
        .exportOrder, fault: .internal, "the report has an item of a space that is not among its spaces",
        expected: "each space before its items")
    static let tooMany = DiagnosedError(
        .exportSetting, fault: .client, "the report is too large for one export",
        expected: "at most \(SpacePlace.limit) spaces, and as many pages of a transcript",
        hint: "divide the report, or make longer pages")
    static let spaces = DiagnosedError(
        .exportOrder, fault: .internal, "the spaces of the report are out of their order",
        expected: "ids ascending, each once")
}
