import KMSProtocol
import Synchronization
import WireText

/// Rules against requests that the cloud held back (security model, rule 8; docs/kms-extensions.md):
///
/// 1. A session that sent a counter once sends counter and time with every request.
/// 2. A mutating request has a higher counter than every earlier request of the session, unless it is the very string
///    that carried the highest one, delivered again because its first answer was lost or was no decision.
/// 3. The time of a request that carries one lies within the window around the KMS's clock.
enum CounterRules {
    static func check(
        _ request: KMSRequest, digest: [UInt8], session: LiveSession, window: Int64, now: Timestamp
    ) throws(KMSFailure) {
        guard let counter = request.counter, let time = request.time else {
            if session.counters.withLock({ $0.highest }) > 0 {
                throw KMSFailure(
                    KMSStatus.malformed, "this session sends client.counter and client.time; both are missing")
            }
            return
        }
        guard abs(now.milliseconds - time.milliseconds) <= window * 1000 else {
            throw KMSFailure(
                KMSStatus.conflict,
                "client.time is more than \(window) s from the clock of the KMS, which shows \(now.iso8601)",
                errorCode: KMSFailure.staleTimeCode)
        }
        let isFresh = session.counters.withLock { counters in
            if counter > counters.highest {
                counters.highest = counter
                counters.digest = digest
                return true
            }
            return !request.isMutating || counter == counters.highest && digest == counters.digest
        }
        guard isFresh else { throw stale }
    }

    static let stale = KMSFailure(
        KMSStatus.conflict, "client.counter is not higher than that of an earlier request",
        errorCode: KMSFailure.staleCounterCode)
}
