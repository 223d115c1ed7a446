import Hummingbird
import LinkProtocol
import WireText

/// The details document of the KMS, and strings for it (section 9 of the KMS protocol).
struct EncryptionRoutes {
    let services: CoreServices
    /// One batch of a client; the JavaScript client sends up to 50.
    private static let maximumStrings = 200
    static let maximumBodyBytes = 4 << 20

    func add(to router: some RouterMethods<CoreRequestContext>) {
        router.get("encryption/api/v1/kms") { _, context -> Response in try details(context) }
        router.get("encryption/api/v1/kms/:user") { _, context -> Response in try details(context) }
        router.post("encryption/api/v1/kms/messages") { request, context -> Response in try await send(request, context)
        }
    }

    private func details(_ context: CoreRequestContext) throws -> Response {
        let organisation = try services.organisation(context.user().organisation)
        guard let document = services.relay.details(of: organisation.kmsCluster) else {
            throw Refusal(
                .unavailable, "the key management service of this organisation has not connected yet",
                retryAfterSeconds: 5)
        }
        return .json(.ok, document)
    }

    /// Any `destination` is taken, for some clients send a placeholder: a caller's strings go to the KMS of the
    /// caller's organisation and to no other.
    private func send(_ request: Request, _ context: CoreRequestContext) async throws -> Response {
        let user = try context.user()
        let destination = try services.organisation(user.organisation).kmsCluster
        let device = try await services.device(named: request.headers[.deviceURL], of: user)
        let body = try await RequestJSON(request, maximumBytes: Self.maximumBodyBytes)
        let texts: [String]
        if body.root["kmsMessages"]?.kind == .string {
            texts = [try body.kmsMessage("kmsMessages")]
        } else {
            texts = try body.texts(
                "kmsMessages", maximumCount: Self.maximumStrings, maximum: LinkFrame.maximumStringBytes)
        }
        guard !texts.isEmpty else { throw Refusal(.badRequest, "kmsMessages is empty") }
        services.events.expect(device.id, owner: user)
        do {
            try services.relay.submit(texts.map { Array($0.utf8) }, to: destination, from: device.id)
        } catch {
            throw Refusal(error)
        }
        return .json(.accepted, "{}")
    }
}
