import Cryptography
import Diagnostics
import HTTPClient
import SecretMemory
import WireText

/// Delivers what waits for webhooks: each its own in order, several webhooks at once, none holding up another.
///
/// A delivery counts when the receiver answers 2xx within ten seconds. Redirections are not followed. It may arrive twice
/// (its `id` stays), and after a failure later ones wait behind it.
actor WebhookSender {
    /// Header fields of a delivery.
    static let signatureField = "HDS-Signature"
    private static let atOnce = 32
    /// One user's receivers may all be slow.
    private static let atOncePerOwner = 4

    private let store: CloudStore
    private let client: WebClient?
    private let wall: @Sendable () -> Timestamp
    private var busy: [String: UserKey] = [:]
    private var running: [String: Task<Void, Never>] = [:]

    /// - Parameter settings: nil: no webhooks.
    init(store: CloudStore, settings: CloudCoreConfiguration.Webhooks?, wall: @escaping @Sendable () -> Timestamp) {
        (self.store, self.wall) = (store, wall)
        client = settings.map { settings in
            WebClient(
                trust: settings.trust,
                route: WebRoute(admits: { settings.allowsPrivateAddresses || PublicAddress.isPublic($0) }),
                connectionsPerOrigin: 4)
        }
    }

    /// Begins the deliveries that are due.
    func tick() async {
        guard let client, busy.count < Self.atOnce else { return }
        let now = wall()
        guard
            let due = try? await store.dueDeliveries(now: now, except: Set(busy.keys), limit: 2 * Self.atOnce)
        else { return }
        for delivery in due where busy.count < Self.atOnce && busy[delivery.webhook.id] == nil {
            let (id, owner) = (delivery.webhook.id, delivery.webhook.owner)
            guard busy.values.count(where: { $0 == owner }) < Self.atOncePerOwner else { continue }
            busy[id] = owner
            running[id] = Task {
                await deliver(delivery, client)
                busy[id] = nil
                running[id] = nil
            }
        }
    }

    /// Returns when what is under way has ended.
    func settle() async { while let task = running.values.first { await task.value } }

    func close() async {
        for task in running.values { task.cancel() }
        await settle()
        await client?.close()
    }

    private func deliver(_ delivery: WebhookDelivery, _ client: WebClient) async {
        var body = delivery.body
        // The number is told beside, so that the body of a second attempt may differ in it alone.
        if delivery.dropped > 0 { body = "\(body.dropLast()),\"dropped\":\(delivery.dropped)}" }
        do {
            let response = try await client.send(
                WebRequest(
                    method: "POST", url: delivery.webhook.url,
                    headers: [
                        ("Content-Type", "application/json"), ("User-Agent", "hds-core"),
                        (Self.signatureField, Self.signature(of: body, secret: delivery.webhook.secret, at: wall())),
                    ], body: Array(body.utf8), timeout: .seconds(10), maximumResponseBytes: 4_096))
            if (200..<300).contains(response.status) {
                try await store.delivered(delivery)
            } else {
                try await store.deliveryFailed(
                    delivery, "the receiver answered \(response.status)", final: response.status == 410, now: wall())
            }
        } catch is CancellationError {
            return
        } catch {
            let reason = (error as? DiagnosedError).map { "\($0.code)" } ?? "it could not be delivered"
            try? await store.deliveryFailed(delivery, reason, final: false, now: wall())
        }
    }

    /// `t=SECONDS,v1=HEX`: HMAC-SHA-256 of `SECONDS.BODY` under the octets of the secret's text.
    static func signature(of body: String, secret: String, at time: Timestamp) -> String {
        let key = SymmetricKey(copying: Array(secret.utf8))
        let tag = HMACSHA256.code(for: Array("\(time.seconds).\(body)".utf8), key: key)
        return "t=\(time.seconds),v1=\(Hexadecimal.encode(tag))"
    }
}
