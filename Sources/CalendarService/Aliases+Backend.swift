import CalendarBackend

/// As a calendar server's client knows a user; the module `CalendarSync` has a type of the same name.
typealias BackendUser = CalendarUser
