import Diagnostics
import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import ServiceLifecycle
import WireText

/// The health address: `/livez`, `/readyz`, `/healthz` (JSON) and `/metrics` (Prometheus text) over plain HTTP/1.1, and
/// for people a page at `/`, which is also `/healthz` for who asks for HTML.
///
/// For this machine only unless the configuration decides otherwise; it tells states and counts, never a secret or
/// an identifier of a person. GET and HEAD. Codes: 200, or 503 where the answer is no (`/` is always 200); 404, 405; 400
/// for what is no HTTP. Idle connections are closed after 10 s and never hold a shutdown longer than half a second.
struct HealthEndpoint: Service {
    static let idleSeconds: Int64 = 10
    static let maximumConnections = 128

    let address: NetworkAddress
    let group: any EventLoopGroup
    let logger: Logger
    /// What systemd handed over.
    var handed: [HealthSocket.Handed] = []
    let answer: @Sendable (Path, _ wantsPage: Bool) -> Answer
    /// Called once when a socket unit listens elsewhere.
    var onWarning: @Sendable (HealthSocket) -> Void = { _ in }
    /// Called once with the address that is really listened on.
    let onListening: @Sendable (NetworkAddress) -> Void

    enum Path: String, CaseIterable {
        case page = "/"
        case livez = "/livez"
        case readyz = "/readyz"
        case healthz = "/healthz"
        case metrics = "/metrics"
    }

    struct Answer: Sendable {
        let isPositive: Bool
        let contentType: String
        let body: [UInt8]

        static func text(_ text: String, isPositive: Bool) -> Answer {
            Answer(isPositive: isPositive, contentType: "text/plain; charset=utf-8", body: Array(text.utf8))
        }
    }

    func run() async throws {
        var quiet = logger
        quiet.logLevel = max(quiet.logLevel, .warning)
        let socket = try HealthSocket.open(address, handed: handed)
        if socket.ignored != nil { onWarning(socket) }
        let channel = HTTP1Channel(
            responder: { [answer] request, writer, _ in
                let response = Self.response(to: request, answer)
                try await writer.write(response: response.head, body: response.body)
            },
            configuration: .init(
                idleTimeout: .seconds(Self.idleSeconds),
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: 8192, maxHeaderListSize: 16_384, maxHeaderFieldCount: 64)))
        let server = HealthServer(
            socket: socket, maximumConnections: Self.maximumConnections, group: group, logger: quiet, channel: channel)
        try await server.run { onListening(NetworkAddress(host: address.host, port: socket.address.port)) }
    }

    private static func response(to request: Request, _ answer: (Path, Bool) -> Answer) -> Response {
        let isHead = request.method == .head
        guard isHead || request.method == .get else {
            return plain(.methodNotAllowed, "only GET and HEAD\n", [.allow: "GET, HEAD"])
        }
        guard let path = Path(rawValue: request.uri.path) else {
            let known = Path.allCases.map(\.rawValue).joined(separator: " ")
            return plain(.notFound, "there is nothing here; try \(known)\n")
        }
        let answer = answer(path, path == .healthz && prefersPage(request.headers[.accept]))
        var headers: HTTPFields = [.contentType: answer.contentType, .cacheControl: "no-store"]
        // The answer is what its type says, and no page of another origin may read or frame it.
        headers[.xContentTypeOptions] = "nosniff"
        headers[.crossOriginResourcePolicy] = "same-origin"
        if path == .healthz { headers[.vary] = "Accept" }
        if answer.contentType == HealthPage.contentType {
            headers[.contentSecurityPolicy] = HealthPage.securityPolicy
            headers[.referrerPolicy] = "no-referrer"
        }
        let response = Response(
            status: answer.isPositive ? .ok : .serviceUnavailable, headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: answer.body)))
        return isHead ? response.createHeadResponse() : response
    }

    /// Whether HTML is named (RFC 9110, section 12.5.1), and JSON not preferred: what takes anything gets JSON.
    static func prefersPage(_ accept: String?) -> Bool {
        var weights: [Substring: Double] = [:]
        for range in (accept ?? "").lowercased().split(separator: ",") {
            let parts = range.split(separator: ";").map { $0.trimmingSpaces }
            guard let name = parts.first else { continue }
            let weight = parts.dropFirst().first { $0.hasPrefix("q=") }.map { Double($0.dropFirst(2)) ?? 0 } ?? 1
            weights[name] = max(weights[name] ?? 0, weight)
        }
        let page = weights["text/html"] ?? 0
        return page > 0 && page >= weights["application/json"] ?? 0
    }

    private static func plain(
        _ status: HTTPResponse.Status, _ text: String, _ headers: HTTPFields = [:]
    ) -> Response {
        var headers = headers
        headers[.contentType] = "text/plain; charset=utf-8"
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        var text = self
        while text.first == " " || text.first == "\t" { text.removeFirst() }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}

extension HTTPField.Name {
    fileprivate static let referrerPolicy = Self("Referrer-Policy")!
}

extension HealthEndpoint {
    /// The endpoint over a registry, as a service runs it.
    init(
        _ identity: ServiceIdentity, address: NetworkAddress, health: HealthRegistry, liveness: Liveness,
        metrics: MetricRegistry, history: LoadHistory = LoadHistory(), handed: [HealthSocket.Handed] = [],
        group: any EventLoopGroup, logger: Logger, onListening: @escaping @Sendable (NetworkAddress) -> Void
    ) {
        let started = Timestamp.now()
        self.init(
            address: address, group: group, logger: logger, handed: handed,
            answer: { path, wantsPage in
                let document = HealthDocument(
                    identity: identity, report: health.report, isLive: liveness.isLive, started: started,
                    time: Timestamp.now())
                func page(isPositive: Bool) -> Answer {
                    Answer(
                        isPositive: isPositive, contentType: HealthPage.contentType,
                        body: HealthPage(document: document, history: history).bytes)
                }
                switch path {
                case .page: return page(isPositive: true)
                case .livez: return .text(document.isLive ? "live\n" : "not live\n", isPositive: document.isLive)
                case .readyz: return .text(document.readiness, isPositive: document.report.isReady)
                case .healthz:
                    let isPositive = document.report.state != .fail
                    return wantsPage
                        ? page(isPositive: isPositive)
                        : Answer(isPositive: isPositive, contentType: "application/json", body: document.json)
                case .metrics:
                    return Answer(
                        isPositive: true, contentType: PrometheusText.contentType,
                        body: Array(PrometheusText.of(metrics.collect()).utf8))
                }
            },
            onWarning: { socket in
                if let warning = socket.warning(of: Loggable(reviewed: identity.name), configured: address) {
                    health.warn(warning)
                }
            }, onListening: onListening)
    }
}

extension DiagnosedError.Code {
    static let healthAddressUnavailable: Self = "health-address-unavailable"
}
