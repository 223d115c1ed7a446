// Alarms of the calendar connector.
extension Alarm {
    package static let calendarConsent = Alarm(
        "HDS-CAL-CONSENT", "4579ea39d8b94d50a237dac3e6040c05", .error,
        title: "the calendar connector may not work",
        text:
            "The KMS refuses this service its keys: the signed policy names no consent for it, the consent is over, or the "
            + "release of keys is frozen. No calendar is read or written; nothing is lost, changes wait in the calendars. DETAIL "
            + "says by which rule.",
        fix:
            "If it is meant to work, name it under services in a new version of the policy (type calendar, operations create and "
            + "update, subject the id of its account), sign it and copy it to every node of the KMS. If not, stop the service.",
        clears: "when the KMS gives it its keys")
    package static let calendarAccount = Alarm(
        "HDS-CAL-AUTH", "86b968dd135d4aaeb180205aa4583c55", .error,
        title: "a calendar system refuses an account",
        text:
            "User and password, or the token, are not taken. Where another account is configured it is used instead; else the "
            + "calendars behind it stand still until it is mended. Nothing is lost. DETAIL says which account of which backend, or "
            + "how many users.",
        fix:
            "Give the account a new password or token at the calendar system and put it where the backend's secret is; it is read "
            + "at each use. hdsctl calendar users tells which users, hdsctl calendar why USER what to do.",
        clears: "when the accounts are taken again")
    package static let calendarLag = Alarm(
        "HDS-CAL-LAG", "a04e75550561427f9be3517a4944e43d", .warning,
        title: "calendars are not looked at in time",
        text:
            "For some users no round has ended well for ten intervals, and five minutes at least: meetings change without the "
            + "cloud knowing of it, and join details come late. Nothing is lost. DETAIL says how long and why.",
        fix:
            "hdsctl calendar users tells who waits. If a calendar server is slow or refuses, its administrator sees why; if all "
            + "is well there, raise rounds.concurrent and the backend's limits, or run another connector on the same database.",
        clears: "when all users' calendars are looked at in time")
    package static let calendarExpiry = Alarm(
        "HDS-CAL-EXPIRY", "a1987f461ab142b691f3f83ab476a5e0", .warning,
        title: "an account at a calendar system ends soon",
        text: "In less than fourteen days the calendars behind it stand still. DETAIL names the backend and the day.",
        fix:
            "Have the calendar system's administrator renew it, put the new secret in its place, and correct expires in "
            + "hds-calendar.yaml.",
        clears: "when no account ends within fourteen days")
    package static let calendarLimit = Alarm(
        "HDS-CAL-LIMIT", "5b0c0f6d2d6f4a0c9d0a7d4fbf5f7b21", .warning,
        title: "a user's calendars hold too much",
        text:
            "The calendars of some users have more events, octets or calendars than one user may have, or their rounds take too "
            + "long. These users' meetings stand still, and they are told; nobody else is held up. DETAIL says how many.",
        fix:
            "hdsctl calendar users --state error tells which, hdsctl calendar why USER what is too much. Have old events deleted "
            + "or archived, or raise rounds.most-objects, rounds.most-mebibytes or rounds.longest.",
        clears: "when all are within their bounds")
}
