package import KMSClient
package import WireText

/// One meeting of one user as the core keeps it: times and switches in clear, every text sealed under the key of its series
/// (docs/calendar.md, Wire).
package struct MeetingRecord: Sendable, Hashable {
    package enum Status: String, Sendable { case confirmed, tentative, cancelled }
    package enum Sensitivity: String, Sendable { case normal, personal = "private", confidential }
    package enum Busy: String, Sendable { case free, tentative, busy, outOfOffice, elsewhere }

    /// What in the invitation asks for join details.
    package struct Trigger: Sendable, Hashable {
        package enum Kind: String, Sendable { case keyword, address }
        package enum Action: String, Sendable { case space, personalRoom, address }
        package let kind: Kind
        package let action: Action

        package init(_ kind: Kind, _ action: Action) {
            self.kind = kind
            self.action = action
        }
    }

    package struct JoinInfo: Sendable, Hashable {
        package let uri: EncryptedText?
        package let url: EncryptedText

        package init(uri: EncryptedText?, url: EncryptedText) {
            self.uri = uri
            self.url = url
        }
    }

    package var id: String
    package var userID: String
    package var seriesID: String
    /// A digest, never the UID itself.
    package var icalUID: String
    package var recurrenceID: String?
    /// Grows with each change of the meeting; a write that comes down names the one that it was made for.
    package var revision: Int64
    package var start: Timestamp
    package var startTimeZone: String?
    package var durationMinutes: Int
    package var isAllDay = false
    package var isRecurring = false
    package var status = Status.confirmed
    package var sensitivity = Sensitivity.normal
    package var busy = Busy.busy
    package var isOrganizer = false
    package var keyURI: String
    package var subject: EncryptedText?
    package var location: EncryptedText?
    package var notes: EncryptedText?
    package var organizer: EncryptedText?
    /// A JSON array of `MeetingPerson` inside.
    package var participants: EncryptedText?
    /// Of the organisation's users among them.
    package var participantIDs: [String] = []
    package var joinInfo: JoinInfo?
    package var trigger: Trigger?
    package var spaceID: String?
    package var hasJoinDetails = false

    package init(
        id: String, userID: String, seriesID: String, icalUID: String, recurrenceID: String? = nil, revision: Int64,
        start: Timestamp, startTimeZone: String? = nil, durationMinutes: Int, keyURI: String
    ) {
        self.id = id
        self.userID = userID
        self.seriesID = seriesID
        self.icalUID = icalUID
        self.recurrenceID = recurrenceID
        self.revision = revision
        self.start = start
        self.startTimeZone = startTimeZone
        self.durationMinutes = durationMinutes
        self.keyURI = keyURI
    }
}

/// Somebody invited, inside `encryptedParticipants` and `encryptedOrganizer`.
package struct MeetingPerson: Sendable, Hashable {
    package let address: String
    package let name: String?
    /// A user of the organisation.
    package let userID: String?
    /// `needsAction`, `accepted`, `declined`, `tentative` or `delegated`.
    package let answer: String
    package let isRequired: Bool
    package let isResource: Bool

    package init(
        address: String, name: String? = nil, userID: String? = nil, answer: String = "needsAction",
        isRequired: Bool = true, isResource: Bool = false
    ) {
        self.address = address
        self.name = name
        self.userID = userID
        self.answer = answer
        self.isRequired = isRequired
        self.isResource = isResource
    }

    package static func text(_ people: [MeetingPerson]) -> String {
        var json = JSONWriter(reserving: 256 + people.count * 96)
        json.beginArray()
        for person in people { person.write(to: &json) }
        json.endArray()
        return json.text()
    }

    /// Nil when it is no such array.
    package static func people(in text: String) -> [MeetingPerson]? {
        let limits = JSONDocument.Limits(maximumNodes: 60_000)
        guard let list = try? JSONDocument(text: text, limits: limits).root.elements else { return nil }
        let people = list.compactMap(MeetingPerson.init(from:))
        return people.count == list.count ? people : nil
    }

    package func write(to json: inout JSONWriter) {
        json.beginObject()
        json.member("address", address)
        json.member("name", ifPresent: name)
        json.member("userId", ifPresent: userID)
        json.member("answer", answer)
        json.member("required", isRequired)
        if isResource { json.member("resource", true) }
        json.endObject()
    }

    package init?(from node: JSONNode) {
        guard let address = node["address"]?.string, let answer = node["answer"]?.string else { return nil }
        self.init(
            address: address, name: node["name"]?.string, userID: node["userId"]?.string, answer: answer,
            isRequired: node["required"]?.boolean ?? true, isResource: node["resource"]?.boolean ?? false)
    }
}
