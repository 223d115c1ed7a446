import CalendarBackend
import CalendarProtocol
import CalendarSync
import CalendarTime
import WireText

// Reminders: what begins soon is told to the core, which tells the user's devices; they have the key to say what it is.
extension UserRound {
    /// Reminders are looked for anew every hour, so for two ahead.
    private static let ahead = 2 * 3600
    private static let mostReminders = 64
    /// Of meetings that have not begun.
    private static let mostTold = 1000

    /// Those of the next hours: by the user's own alarms, else so long before as the configuration says.
    func reminders(
        _ objects: [String: ObjectState], _ state: SealedState, _ account: CalendarAccount
    ) -> [UserState.Reminder] {
        let now = Int(parts.now().seconds)
        // An alarm may be a day before its meeting.
        let window = Instant(seconds: now)..<Instant(seconds: now + Self.ahead + 86_400)
        // Of a colleague's calendar nobody is reminded.
        let shared = Set(
            account.calendars.filter { meetingUser(account, $0, "").id != user.id }
                .map { state.name($0.reference.href.text) })
        var found: [String: UserState.Reminder] = [:]
        for object in objects.values
        where !object.octets.isEmpty && !object.meetings.isEmpty && !shared.contains(object.calendar) {
            let reading = ObjectReading(
                object.octets, etag: object.etag ?? "", window: window,
                reader: parts.reader(parts.meetingUser(user, account)))
            for meeting in reading.meetings where object.meetings[meeting.id] != nil {
                guard meeting.start.seconds > now else { continue }
                var leads = reading.alarms(of: meeting) ?? []
                if reading.alarms(of: meeting) == nil, parts.settings.reminderSeconds > 0, !meeting.isAllDay,
                    meeting.busy != .free
                {
                    leads = [parts.settings.reminderSeconds]
                }
                for lead in Set(leads) where meeting.start.seconds - lead < now + Self.ahead {
                    let reminder = UserState.Reminder(
                        meeting: meeting.id, start: Int64(meeting.start.seconds),
                        at: Int64(meeting.start.seconds - lead))
                    found[reminder.key] = reminder
                }
            }
        }
        return Array(found.values.sorted { ($0.at, $0.key) < ($1.at, $1.key) }.prefix(Self.mostReminders))
    }

    /// Tells what is due, once each.
    func remind(_ state: SealedState, _ counter: inout UserState) throws -> [DocumentChange] {
        let now = parts.now().seconds
        guard !counter.reminders.isEmpty || !counter.reminded.isEmpty else { return [] }
        var changes: [DocumentChange] = []
        var told: Set<String> = []
        for reminder in counter.reminders where reminder.at <= now {
            guard reminder.start > now, counter.reminded[reminder.key] == nil,
                counter.reminded.count < Self.mostTold
            else { continue }
            counter.reminded[reminder.key] = reminder.start
            // Several alarms of one meeting that are due at once are one.
            guard told.insert(reminder.meeting).inserted else { continue }
            changes.append(
                try state.append(
                    .reminder(
                        userID: user.id, meetingID: reminder.meeting, start: Timestamp(seconds: reminder.start)),
                    of: user.id, &counter))
        }
        if !changes.isEmpty { counter.reminded = counter.reminded.filter { $0.value > now } }
        counter.reminders.removeAll { $0.at <= now }
        return changes
    }
}

extension UserState {
    private static let dayOfSilence: Int64 = 86_400

    /// Nothing was told of the user's state for a day.
    func isSilent(at now: Timestamp) -> Bool {
        toldAt.map { now.seconds - $0.seconds >= Self.dayOfSilence } ?? true
    }
}
