import Diagnostics
import KMSProtocol
import KeyManagement
import KeyStore
import MasterKey
import SecretMemory
import ServiceLifecycle
import ServiceRuntime
import WireText

/// Waits at a stop until every string that was taken is answered. Stands before the link: it ends after it. What is held
/// for a database that is away is refused instead: its client asks another node, or this one after its restart.
struct LaneDrain: Service {
    let lanes: RequestLanes
    let store: any KeyStore

    func run() async throws {
        try? await gracefulShutdown()
        store.stopHolding()
        await lanes.drain()
    }
}

/// Deletes once a minute what has ended: ledger entries, sessions, the session keys of days gone by, deleted spaces whose
/// time as tombstones is over, and the intervals of who was authorized when.
struct Housekeeping: Service {
    let sessionRing: SessionSealRing
    let tombstones: Tombstones
    let intervals: Intervals
    let log: KMSRequestLog

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while !Task.isCancelled {
                do {
                    let now = Timestamp.now()
                    // Purges the store first, then forgets the session keys that went with it.
                    try await sessionRing.destroyExpired(now: now)
                    _ = try await tombstones.erase(now: now)
                    _ = try await intervals.erase(now: now)
                    log.clearUnusualReads(now: now)
                } catch {
                    log.failure(error, while: "deleting what has expired")
                }
                try await Task.sleep(for: .seconds(60))
            }
        }
    }
}

/// Takes over twice a second what was frozen or lifted on another node.
struct FreezeWatch: Service {
    let freezes: FreezeBoard
    let log: KMSRequestLog

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            var wasKnown = true
            while !Task.isCancelled {
                do {
                    try await freezes.refresh()
                    wasKnown = true
                } catch {
                    if wasKnown { log.failure(error, while: "reading what is frozen; no key is released meanwhile") }
                    wasKnown = false
                }
                try await Task.sleep(for: .milliseconds(FreezeBoard.refreshMilliseconds))
            }
        }
    }
}

/// A canary through the real work path: a key is sealed, opened and compared, the static key signs, the store writes
/// durably. No key of a customer is touched.
struct Canary: Sendable {
    let store: any KeyStore
    let ring: SealRing
    let keys: StaticKeysInForce

    func run() async throws {
        let text = Array("canary \(Timestamp.now())".utf8)
        let id = UUIDText.random()
        let sealed = try text.withUnsafeBytes { try ring.seal($0, kind: .key, id: id, version: 1) }
        let opened = try ring.open(sealed, kind: .key, id: id, version: 1)
        guard opened.withUnsafeBytes({ $0.elementsEqual(text) }) else {
            throw DiagnosedError("canary", fault: .internal, "a sealed record did not open to what was sealed")
        }
        var json = JSONWriter()
        json.beginObject()
        json.member("canary", id)
        json.endObject()
        _ = try keys.present.sign(json)
        do {
            try await store.check()
        } catch let error as DiagnosedError where error.maySettle {
            // No restart brings a database server back or frees a disk, and the requests that wait for it would be lost:
            // the check of the store and its alarm tell.
        }
    }
}
