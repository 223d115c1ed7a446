import Diagnostics
import HTTPTypes
import Hummingbird
import KMSClient
import KMSProtocol
import LinkedService
import NIOCore
import WireText

/// The commands of officers as HTTP resources: each route is one command, its parameters are the members of its body.
struct ConsoleAPI: Sendable {
    let commands: OfficerCommands
    let consent: Consent
    let kms: any KMSAsking
    let sessions: OfficerSessions

    private static let limits = JSONDocument.Limits(maximumDepth: 12, maximumNodes: 20_000, maximumBytes: 256 << 10)

    func add(to router: some RouterMethods<ConsoleContext>) {
        router.post("/exports/{id}/files/{file}") { request, context -> Response in
            try await link(request, context)
        }
        let routes: [(HTTPRequest.Method, RouterPath, String)] = [
            (.post, "/reports", "reports.create"), (.get, "/reports", "reports.list"),
            (.post, "/estimates", "reports.estimate"), (.get, "/reports/{id}", "reports.get"),
            (.delete, "/reports/{id}", "reports.delete"), (.get, "/reports/{id}/items", "reports.items"),
            (.post, "/reports/{id}/pause", "reports.pause"), (.post, "/reports/{id}/resume", "reports.resume"),
            (.post, "/reports/{id}/cancel", "reports.cancel"), (.get, "/holds", "holds.list"),
            (.post, "/holds", "holds.create"), (.patch, "/holds/{id}", "holds.update"),
            (.post, "/holds/{id}/release", "holds.release"), (.get, "/retention", "retention.list"),
            (.put, "/retention/{scope}", "retention.set"), (.delete, "/retention/{scope}", "retention.remove"),
            (.post, "/purges/previews", "purge.preview"), (.get, "/purges/previews/{id}", "purge.get"),
            (.post, "/purges", "purge.run"), (.post, "/subjects/exports", "subject.export"),
            (.post, "/subjects/erasures", "subject.erase"), (.get, "/approvals", "approvals.list"),
            (.post, "/approvals/{id}/grant", "approvals.grant"), (.post, "/approvals/{id}/refuse", "approvals.refuse"),
            (.get, "/certificates", "certificates.list"), (.get, "/certificates/{id}", "certificates.get"),
            (.post, "/exports", "exports.create"), (.get, "/exports", "exports.list"),
            (.get, "/exports/{id}", "exports.get"), (.delete, "/exports/{id}", "exports.delete"),
            (.get, "/audit", "audit.query"), (.get, "/findings", "findings.list"),
        ]
        for (method, path, command) in routes {
            router.on(path, method: method) { request, context -> Response in
                try await answer(command, request, context)
            }
        }
    }

    private func answer(_ command: String, _ request: Request, _ context: ConsoleContext) async throws -> Response {
        guard let session = context.session else { throw OfficerCommands.Refused(401, "there is no session") }
        let given = request.method == .get || request.method == .delete ? nil : try await Self.body(request)
        // What the path and the query say stands before the body.
        let text = OfficerCommands.object { json in
            var known = Set<String>()
            for name in ["id", "scope"] {
                guard let value = context.parameters.get(name), known.insert(name).inserted else { continue }
                json.member(name, value)
            }
            for (name, value) in request.uri.queryParameters where known.insert(String(name)).inserted {
                let name = String(name), value = String(value)
                if let number = Int64(value) { json.member(name, number) } else { json.member(name, value) }
            }
            for (name, value) in given?.members ?? [] where known.insert(name).inserted { json.member(name, value) }
        }
        let body = try JSONDocument(text: text, limits: Self.limits).root
        let key = try await consent.sealingKey()
        try await OfficerCapacity.demand(session.officer, session.matter, session.resource, kms) {
            try commands.note(command, session.officer, session.matter, nil, "refused", under: key)
        }
        let answer = try commands.perform(
            command, body, .init(officer: session.officer, matter: session.matter, key: key))
        return ConsoleServer.json(
            answer, status: request.method == .post && command.hasSuffix(".create") ? .created : .ok)
    }

    /// Where a sealed file is fetched, once.
    private func link(_ request: Request, _ context: ConsoleContext) async throws -> Response {
        guard let session = context.session else { throw OfficerCommands.Refused(401, "there is no session") }
        let body = try JSONDocument(
            text: OfficerCommands.object { json in
                json.member("id", context.parameters.get("id") ?? "")
                json.member("file", context.parameters.get("file") ?? "")
            }
        ).root
        let key = try await consent.sealingKey()
        let asking = OfficerCommands.Asking(officer: session.officer, matter: session.matter, key: key)
        try await OfficerCapacity.demand(session.officer, session.matter, session.resource, kms) {
            try commands.note("exports.file", session.officer, session.matter, nil, "refused", under: key)
        }
        try commands.note("exports.file", session.officer, session.matter, body["id"]?.string, "taken", under: key)
        let (path, file) = try commands.exportFile(body, asking)
        let secret = try await sessions.link(to: .init(path: path, name: file.name, octets: file.octets))
        return ConsoleServer.json(OfficerCommands.object { $0.member("url", "/download/\(secret)") })
    }

    /// The body as a JSON object; nil when there is none.
    static func body(_ request: Request) async throws -> JSONNode? {
        let octets: ByteBuffer
        do {
            octets = try await request.body.collect(upTo: ConsoleServer.maximumBody)
        } catch is NIOTooManyBytesError {
            throw OfficerCommands.Refused(413, "the body is longer than \(ConsoleServer.maximumBody) octets")
        }
        guard octets.readableBytes > 0 else { return nil }
        let root = try octets.withUnsafeReadableBytes { try JSONDocument($0, limits: limits) }.root
        guard root.kind == .object else { throw OfficerCommands.Refused(400, "the body is no JSON object") }
        return root
    }
}

/// Whether the KMS takes somebody for a compliance officer of a matter now.
enum OfficerCapacity {
    /// - Parameter refused: called before the refusal is thrown.
    static func demand(
        _ officer: String, _ matter: String?, _ resource: String, _ kms: any KMSAsking, refused: () throws -> Void
    ) async throws {
        do {
            try await kms.perform(
                .retrieveResource(resource), on: .init(of: officer, officer: officer, matter: matter))
        } catch let refusal as KMSRefusal where [403, 404].contains(refusal.status) {
            try refused()
            throw OfficerCommands.Refused(
                403, "the KMS does not take you for a compliance officer of this matter: \(refusal.reason)")
        }
    }
}
