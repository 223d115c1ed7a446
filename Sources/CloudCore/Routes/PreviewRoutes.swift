import HTTPTypes
import Hummingbird
import WireText

/// Previews of files: asked of the transcoding service of the organisation, which the customer runs (docs/extending.md).
///
/// The core hands over what it can not open, the record of the file's key and where the file is, and gets an image that is
/// sealed as the message is. It keeps neither.
struct PreviewRoutes {
    let services: CoreServices
    static let maximumRecordBytes = 16 << 10
    static let sizes: ClosedRange<Int64> = 32...2_048

    func add(to router: some RouterMethods<CoreRequestContext>) {
        router.post("previews") { request, context -> Response in try await preview(request, context) }
    }

    private func preview(_ request: Request, _ context: CoreRequestContext) async throws -> Response {
        let user = try context.user()
        let body = try await RequestJSON(request, maximumBytes: 64 << 10)
        let room = try body.uuid("conversationId")
        guard let file = services.urls.fileID(in: try body.text("url")) else {
            throw Refusal(.badRequest, "url is no download URL of this core")
        }
        let record = try body.content("scr", maximum: Self.maximumRecordBytes)
        let key = try body.keyURL("encryptionKeyUrl")
        let page = body.root["page"]?.integer ?? 1
        let size = body.root["size"]?.integer ?? 1_024
        guard (1...10_000).contains(page), Self.sizes.contains(size) else {
            throw Refusal(
                .badRequest, "page is 1 to 10000 and size \(Self.sizes.lowerBound) to \(Self.sizes.upperBound)")
        }
        guard try await services.store.conversations(of: user).contains(where: { $0.id == room }),
            try await services.store.sharedFile(file.text, in: room, of: user.organisation) != nil
        else { throw Refusal(.notFound, "there is no such file in a conversation of yours") }
        let destination = "transcode://\(user.organisation)"
        guard services.relay.openLinkCount(of: destination) > 0 else {
            throw Refusal(
                .unavailable, "no transcoding service of this organisation is connected", retryAfterSeconds: 5)
        }
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("userId", user.user)
        json.member("room", room)
        json.member("file", file.text)
        json.member("scr", record)
        json.member("encryptionKeyUrl", key)
        json.member("page", page)
        json.member("size", size)
        json.endObject()
        let octets: [UInt8]?
        do {
            octets = try await services.relay.forward(
                json.bytes(), to: destination, from: "\(user.organisation)/\(user.user)")
        } catch let refusal as Relay.Refusal {
            throw Refusal(refusal)
        }
        guard let octets, let answer = try? JSONDocument(octets).root, let status = answer["status"]?.integer else {
            throw Refusal(.gatewayTimeout, "the transcoding service gave no answer")
        }
        guard status == 200 else {
            throw Refusal(
                Refusal.Status(rawValue: Int(clamping: status)) ?? .unavailable,
                "the transcoding service: \((answer["reason"]?.string ?? "refused").printable)")
        }
        guard let image = answer["image"]?.string, OpaqueText.isContent(image) else {
            throw Refusal(.gatewayTimeout, "the transcoding service gave no sealed image")
        }
        return .json {
            $0.member("type", "image/png")
            $0.member("image", image)
            $0.member("encryptionKeyUrl", key)
        }
    }
}
