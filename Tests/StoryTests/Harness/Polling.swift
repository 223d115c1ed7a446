/// What did not happen in time.
struct NotInTime: Error, CustomStringConvertible {
    let what: String
    let limit: Duration
    let seen: String?

    var description: String { "\(what): not within \(limit)" + (seen.map { "; last seen: \($0)" } ?? "") }
}

/// Looks again and again until there is something to see; the deadline only ends a wait that is in vain.
func eventually<Value>(
    _ what: String, within limit: Duration = .seconds(30), seen: () -> String? = { nil },
    _ look: () async throws -> Value?
) async throws -> Value {
    let deadline = ContinuousClock.now + limit
    while true {
        if let value = try await look() { return value }
        guard ContinuousClock.now < deadline else { throw NotInTime(what: what, limit: limit, seen: seen()) }
        try await Task.sleep(for: .milliseconds(20))
    }
}
