package import CalendarProtocol
package import WireText

/// A meeting of the user, decrypted. What is nil is not there, or can not be read: then `problem` says why.
package struct Meeting: Sendable {
    package let record: MeetingRecord
    package let subject: String?
    package let location: String?
    package let notes: String?
    package let organizer: MeetingPerson?
    package let participants: [MeetingPerson]
    package let joinURL: String?
    package let problem: String?

    package var id: String { record.id }
    package var end: Timestamp { record.start.adding(seconds: Int64(record.durationMinutes) * 60) }
    /// Whether it waits for join details that this user's client has to write.
    package var wantsJoinDetails: Bool {
        guard record.isOrganizer, !record.hasJoinDetails, record.status != .cancelled else { return false }
        return record.trigger?.action == .space || record.trigger?.action == .personalRoom
    }
}

/// What the calendar connector says of its work for the user.
package struct CalendarStatus: Sendable, Equatable {
    package let state: String
    package let code: String?
    package let since: Timestamp
    let keyURI: String?
}

/// When somebody is out of office.
package struct Absence: Sendable, Equatable {
    package let from: Timestamp
    package let to: Timestamp
    /// Nil when there is none, or it is not for this user.
    package let text: String?
}

/// What became of the join details of one meeting.
package struct JoinOutcome: Sendable {
    package enum Result: String, Sendable { case written, unchanged, refused }

    package let meeting: Meeting
    package let result: Result
    package let url: String
    package let space: String?
    /// Of a refusal, for people.
    package let reason: String?
}
