import HTTPTypes
import Hummingbird
import WireText

/// Commands of compliance officers to the eDiscovery worker of their organisation (docs/ediscovery.md, Channel).
///
/// The core can read neither the command nor its answer, nor does it know who is an officer: it says whose token it was, and
/// the worker does not take that for true.
struct EDiscoveryRoutes {
    let services: CoreServices
    static let maximumCommandBytes = 96 << 10
    static let maximumParts = 64

    func add(to router: some RouterMethods<CoreRequestContext>) {
        router.post("ediscovery") { request, context -> Response in try await command(request, context) }
    }

    private func command(_ request: Request, _ context: CoreRequestContext) async throws -> Response {
        let user = try context.user()
        let body = try await RequestJSON(request)
        guard let message = try body.optionalContent("message", maximum: Self.maximumCommandBytes) else {
            throw Refusal(.badRequest, "a command needs a message")
        }
        let key = try body.keyURL("encryptionKeyUrl")
        let destination = "ediscovery://\(user.organisation)"
        guard services.relay.openLinkCount(of: destination) > 0 else {
            throw Refusal(
                .unavailable, "no eDiscovery worker of this organisation is connected", retryAfterSeconds: 5)
        }
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("userId", user.user)
        json.member("message", message)
        json.member("encryptionKeyUrl", key)
        json.endObject()
        let octets: [UInt8]?
        do {
            octets = try await services.relay.forward(
                json.bytes(), to: destination, from: "\(user.organisation)/\(user.user)")
        } catch let refusal as Relay.Refusal {
            throw Refusal(refusal)
        }
        guard let octets, let answer = try? JSONDocument(octets).root, let status = answer["status"]?.integer,
            let messages = answer["messages"]?.strings, messages.count <= Self.maximumParts
        else { throw Refusal(.gatewayTimeout, "the eDiscovery worker gave no answer") }
        guard status == 200 else {
            throw Refusal(
                Refusal.Status(rawValue: Int(clamping: status)) ?? .unavailable,
                "the eDiscovery worker: \((answer["reason"]?.string ?? "refused").printable)")
        }
        return .json { $0.member("messages", messages) }
    }
}
