/// What an administrator decides about the KMS's behaviour; times in seconds.
package struct KMSPolicy: Sendable {
    /// Life of a session. Deployed clients need 60 s … 24 days; 24 h is what they are used to.
    package var sessionLife: Int64 = 86_400
    /// Whether a session is agreed with ML-KEM-768 beside P-256 where a client offers it.
    package var takesPostQuantum = true
    /// How long an unbound key can be bound.
    package var unboundKeyLife: Int64 = 86_400
    /// Until when clients should encrypt with a bound key; it never blocks reading.
    package var boundKeyLife: Int64 = 365 * 86_400
    /// How long an unnamed holder's bearer is good, unless its resource ends before.
    package var anonymousLife: Int64 = 30 * 86_400
    /// How long the sealed rows of a deleted resource are kept before they are erased.
    package var tombstoneLife: Int64 = 30 * 86_400
    /// So long after somebody left a space may wait for a new key before somebody is told.
    package var spaceKeyDue: Int64 = 86_400
    /// How long a space keeps its search key before an indexer gets a new one for what comes.
    package var searchEpochLife: Int64 = 90 * 86_400
    /// How long the sealed row of an ended authorization is kept: who was on a list, from when until when (rule 11).
    package var intervalLife: Int64 = 3650 * 86_400
    /// Sessions of one user that live at the same time; more are answered 429.
    package var sessionsPerUser = 100
    /// Session openings per second over all clients, with a burst of twice as many; more are declined unopened.
    package var sessionOpeningsPerSecond = 600
    /// Signed resets per second over all sources and for one source; more are declined.
    package var resetsPerSecond = 200
    package var resetsPerSourceAndSecond = 5
    /// Requests of one user, and of one device, per minute; more are answered 429.
    package var requestsPerUserAndMinute = 6_000
    package var requestsPerDeviceAndMinute = 6_000
    /// Requests of one service account, whatever its devices.
    package var requestsPerServiceAndMinute = 6_000
    /// Sessions that one device may open within an hour; nil: as many as the KMS opens at all.
    package var openingsPerDeviceAndHour: Int?
    /// Resources and keys that one user may delete within an hour; more are answered 429.
    package var deletionsPerUserAndHour = 100
    /// In a day, instead of within an hour.
    package var deletionsPerUserAndDay: Int?
    /// Keys that one user reads within an hour before somebody is told.
    package var keyReadsPerUserAndHour = 10_000
    /// The same for different spaces, for refusals, and for devices that are new on a day; nil: nobody is told.
    package var spacesPerUserAndHour: Int?
    package var refusalsPerUserAndHour: Int?
    package var newDevicesPerUserAndDay: Int?
    /// How long audit records, and what they say in clear, are kept; nil: as the section `audit` says.
    package var auditLife: Int64?
    /// Whether `/public` may be authorized (security model, rule 12).
    package var allowsPublic = false
    /// Whether only moderators add and remove in a moderated resource (rule 13).
    package var enforcesModeration = true
    /// Whether a participant who was removed can be added again only by a session opened later, for sessions that send
    /// no counter (docs/kms-extensions.md).
    package var reAddingNeedsNewerSession = false
    /// Largest difference between a request's `client.time` and the clock.
    package var requestTimeWindow: Int64 = 60
    /// How many KROs a nested authorization may lead through.
    package var nestingDepth = 4
    /// How many KROs are looked at before a nested authorization is refused.
    package var nestingVisits = 64

    package init() {}
}
