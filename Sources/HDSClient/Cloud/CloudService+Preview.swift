import Diagnostics
import HTTPClient
import KMSClient
import WireText

extension CloudService {
    /// The sealed image of a page, from the transcoding service of the organisation.
    func preview(
        url: String, record: EncryptedText, keyURI: String, in conversation: String, page: Int, size: Int
    ) async throws -> EncryptedText {
        guard let previews = bootstrap.previews else {
            throw DiagnosedError(
                .cloudNotFound, fault: .client, "this cloud has no previews", hint: "fetch the file: hds get-file")
        }
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        json.member("conversationId", conversation)
        json.member("url", url)
        json.member("scr", record.jwe)
        json.member("encryptionKeyUrl", keyURI)
        json.member("page", page)
        json.member("size", size)
        json.endObject()
        var request = post("", at: previews, json)
        request.timeout = .seconds(30)
        request.maximumResponseBytes = 1 << 20
        let root = try await object(request, "ask for a preview")
        guard let image = root["image"]?.string else { throw CloudError.malformed("a preview") }
        return EncryptedText(received: image)
    }
}
