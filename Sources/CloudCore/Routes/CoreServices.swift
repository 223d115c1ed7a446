import Synchronization
import WireText

/// What the routes and sockets of the core work with.
struct CoreServices: Sendable {
    let configuration: CloudCoreConfiguration
    let urls: CoreURLs
    let store: CloudStore
    let files: FileStore
    let relay: RelayHub
    let feeds: FeedHub
    let search: SearchService
    let calendar: CalendarService
    let words: ClientWords
    let events: EventHub
    let webhooks: WebhookSender
    let devices: DeviceCache
    let tokens: any TokenChecking
    let wall: @Sendable () -> Timestamp

    /// The organisation of a caller; tokens are only taken from configured ones.
    func organisation(_ id: String) throws(Refusal) -> CloudCoreConfiguration.Organisation {
        guard let organisation = configuration.organisation(id) else {
            throw Refusal(.forbidden, "this organisation is not served here")
        }
        return organisation
    }

    /// The device that a request names in `cisco-device-url`, when it is the caller's.
    func device(named url: String?, of user: UserKey) async throws -> DeviceRecord {
        guard let url else { throw Refusal(.badRequest, "the header cisco-device-url is missing: name your device") }
        guard let id = urls.deviceID(in: url) else {
            throw Refusal(.badRequest, "cisco-device-url is no device of this core")
        }
        return try await device(id, of: user)
    }

    func device(_ id: String, of user: UserKey) async throws -> DeviceRecord {
        guard let device = try await devices.device(id, store: store), device.owner == user else {
            throw Refusal(.notFound, "there is no such device, or it is not yours: register it")
        }
        return device
    }

    /// Deletes all messages that were published before that time.
    func expire(before time: Timestamp) async {
        while !Task.isCancelled, let gone = try? await store.expire(before: time, now: wall()), !gone.isEmpty {
            for message in gone { await search.forget(message) }
        }
    }

    /// Has the organisation's KMS answer one wrapped string within 20 s; 504 when it does not.
    func forward(_ kmsMessage: String, of user: UserKey) async throws -> String {
        let destination = try organisation(user.organisation).kmsCluster
        let answer: [UInt8]?
        do {
            answer = try await relay.forward(
                Array(kmsMessage.utf8), to: destination, from: "\(user.organisation)/\(user.user)")
        } catch let refusal as Relay.Refusal {
            throw Refusal(refusal)
        }
        guard let answer, let text = String(validating: answer, as: UTF8.self) else {
            throw Refusal(.gatewayTimeout, "the key management service gave no answer: nothing was stored")
        }
        return text
    }
}

/// Devices by id: every string for the KMS names one, so the store is asked only once.
final class DeviceCache: Sendable {
    private let known = Mutex<[String: DeviceRecord]>([:])
    private let limit = 100_000

    func device(_ id: String, store: CloudStore) async throws -> DeviceRecord? {
        if let device = known.withLock({ $0[id] }) { return device }
        guard let device = try await store.device(id) else { return nil }
        known.withLock { known in
            if known.count >= limit { known.removeAll() }
            known[id] = device
        }
        return device
    }

    func forget(_ id: String) { known.withLock { _ = $0.removeValue(forKey: id) } }
}

/// Who a bearer token belongs to.
protocol TokenChecking: Sendable {
    /// 401 for a token that is not valid here, 503 while its issuer's keys can not be had.
    func principal(of token: String) async throws -> Principal
}

extension Refusal {
    init(_ refusal: Relay.Refusal) {
        switch refusal {
        case .destinationIsFull:
            self.init(.unavailable, "too many requests wait for the key management service", retryAfterSeconds: 5)
        case .sourceIsFull:
            self.init(.tooMany, "too many requests of this device wait for an answer", retryAfterSeconds: 5)
        }
    }
}
