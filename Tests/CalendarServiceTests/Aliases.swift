import CalendarBackend

/// The module `CalendarSync` has a type of the same name.
typealias ServerUser = CalendarUser
