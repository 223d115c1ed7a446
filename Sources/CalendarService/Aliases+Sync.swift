import CalendarSync

/// As meetings are read for a user; the module `CalendarBackend` has a type of the same name.
typealias MeetingUser = CalendarUser
