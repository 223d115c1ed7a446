import CoreLink
import Diagnostics
import Dispatch
import KMSClient
import KMSProtocol
import LinkProtocol
import LinkedService
import SearchProtocol
import SecretMemory
import TextExtraction
import WireText

/// Answers one request for a preview: opens the record of the file's key, fetches the file in parts, decrypts and verifies it,
/// has the page drawn in a confined process, and seals the image under the key that the message is under.
///
/// Rules:
/// 1. The key comes from the KMS by the organisation's consent to this service and by nothing else; what the KMS refuses is
///    refused, with its reason and the rule that it names.
/// 2. Which file it is the sealed record says, and the tag in it decides whether the octets are that file.
/// 3. The image leaves under that very key: who asks and may not read the message gets nothing that it can open.
/// 4. Nothing is kept: neither the file nor the image nor the key.
struct PreviewDesk: Sendable {
    private let consent: ServiceConsent
    private let kms: KMSCaller
    private let links: LinkHolder
    private let maker: PreviewMaker
    /// By which words the KMS refuses this service.
    private let said: @Sendable () -> String?
    private let threads = DispatchQueue(label: "hds.previews", attributes: .concurrent)
    private static let patience = Duration.seconds(6)
    /// So that the sealed image in Base64 fits into an answer of the link.
    static let maximumImageBytes = 184 << 10

    init(
        consent: ServiceConsent, kms: KMSCaller, links: LinkHolder, maker: PreviewMaker,
        said: @escaping @Sendable () -> String?
    ) {
        self.said = said
        self.consent = consent
        self.kms = kms
        self.links = links
        self.maker = maker
    }

    /// A request that is not carried out, with the status for whoever asked.
    struct Refused: Error {
        let status: Int
        let reason: String

        init(_ status: Int, _ reason: String) { (self.status, self.reason) = (status, reason) }
    }

    func answer(_ text: [UInt8]) async -> (status: Int, octets: [UInt8]) {
        do {
            let image = try await preview(text)
            return (
                200,
                Self.object {
                    $0.member("status", 200); $0.member("image", image.jwe)
                }
            )
        } catch let refused as Refused {
            return Self.refusal(refused.status, refused.reason)
        } catch let refusal as KMSRefusal {
            let status = refusal.status == KMSStatus.notFound ? 404 : 403
            return Self.refusal(status, "the KMS refuses the file's key: \(refusal.reason)")
        } catch let error as DiagnosedError where error.code == .transcodeConsent {
            guard let said = said() else { return Self.refusal(503, error.summary) }
            return Self.refusal(403, "\(error.summary): \(said)")
        } catch let error as DiagnosedError where error.code == .contentUnreadable {
            return Self.refusal(409, error.summary)
        } catch {
            return Self.refusal(503, "no preview can be made at present: the service's health address says why")
        }
    }

    private static func refusal(_ status: Int, _ reason: String) -> (Int, [UInt8]) {
        (
            status,
            object {
                $0.member("status", status); $0.member("reason", String(reason.prefix(600)))
            }
        )
    }

    private static func object(_ body: (inout JSONWriter) -> Void) -> [UInt8] {
        var json = JSONWriter(reserving: 4096)
        json.beginObject()
        body(&json)
        json.endObject()
        return json.bytes()
    }

    private func preview(_ text: [UInt8]) async throws -> EncryptedText {
        guard let asked = try? JSONDocument(text, limits: .init(maximumDepth: 3, maximumBytes: 64 << 10)).root,
            let room = asked["room"]?.string, UUIDText.isValid(room), let uri = asked["encryptionKeyUrl"]?.string,
            let sealed = asked["scr"]?.string, let page = asked["page"]?.integer, let size = asked["size"]?.integer,
            (1...10_000).contains(page), PreviewMaker.sizes.contains(Int(clamping: size))
        else { throw Refused(400, "the request for a preview is malformed") }
        _ = try await consent.sealingKey()
        guard case .key(let key) = try await kms.perform(.retrieveKey(uri)).body else {
            throw Refused(503, "the KMS answered without the key")
        }
        let record = try SecureContentRecord(opening: EncryptedText(received: sealed), with: key.key)
        guard let id = record.location.split(separator: "/").last, UUIDText.isValid(id) else {
            throw Refused(404, "the record names no file")
        }
        let document = try await file(String(id), in: room, record)
        let drawn = await withCheckedContinuation { continuation in
            threads.async { [maker] in
                continuation.resume(returning: maker.preview(of: document, page: Int(page), size: Int(size)))
            }
        }
        switch drawn {
        case .image(let image):
            return try image.withUnsafeBytes { try EncryptedText(encrypting: $0, under: key.key) }
        case .noSuchPage: throw Refused(404, "the document has no such page")
        case .unavailable(let reason): throw Refused(409, "there is no preview of this file: \(reason.rawValue)")
        }
    }

    private func file(_ id: String, in room: String, _ record: SecureContentRecord) async throws -> [UInt8] {
        var opener = try FileOpener(record)
        var document: [UInt8] = []
        while true {
            let call = SearchCall.file(.init(room: room, file: id, offset: UInt64(document.count)))
            guard
                let outcome = await links.link?.call(
                    SearchCall.destination, text: call.encode(), within: Self.patience),
                case .answered(let octets) = outcome,
                case .part(let part, let size) = try SearchCall.Reply(decoding: octets)
            else { throw Refused(503, "the core gives no part of the file") }
            guard let part else { throw Refused(404, "the core does not have the file") }
            guard size <= UInt64(maker.limits.documentSize) else {
                throw Refused(409, "there is no preview of this file: \(Extraction.Reason.tooLarge.rawValue)")
            }
            guard !part.isEmpty, document.count + part.count <= maker.limits.documentSize else { break }
            document += try opener.update(part)
            if UInt64(document.count) >= size { break }
        }
        try opener.finish()
        return document
    }
}

extension DiagnosedError.Code {
    static let transcodeConsent: Self = "transcode-consent"
}
