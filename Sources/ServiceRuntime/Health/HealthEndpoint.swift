import Diagnostics
import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import ServiceLifecycle
import WireText

/// The health address: `/livez`, `/readyz`, `/healthz` (JSON) and `/metrics` (Prometheus text) over plain HTTP/1.1.
///
/// For this machine only unless the configuration decides otherwise; it tells states and counts, never a secret or
/// an identifier of a person. GET and HEAD. Codes: 200, or 503 where the answer is no; 404, 405; 400 for what is no
/// HTTP. Idle connections are closed after 10 s and never hold a shutdown.
struct HealthEndpoint: Service {
    static let idleSeconds: Int64 = 10
    static let maximumConnections = 128

    let address: NetworkAddress
    let group: any EventLoopGroup
    let logger: Logger
    let answer: @Sendable (Path) -> Answer
    /// Called once with the address that is really listened on.
    let onListening: @Sendable (NetworkAddress) -> Void

    enum Path: String, CaseIterable {
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
        let server = try HTTPServerBuilder.http1(
            configuration: .init(
                idleTimeout: .seconds(Self.idleSeconds),
                httpDecoderConfiguration: .init(
                    maxHeaderFieldSize: 8192, maxHeaderListSize: 16_384, maxHeaderFieldCount: 64))
        ).buildServer(
            configuration: ServerConfiguration(
                address: .hostname(address.host, port: address.port),
                availableConnectionsDelegate: MaximumAvailableConnections(Self.maximumConnections)),
            eventLoopGroup: group, logger: quiet
        ) { [answer] request, writer, _ in
            let response = Self.response(to: request, answer)
            try await writer.write(response: response.head, body: response.body)
        } onServerRunning: { [address, onListening] channel in
            onListening(NetworkAddress(host: address.host, port: channel.localAddress?.port ?? address.port))
        }
        do {
            try await server.run()
        } catch let error as IOError {
            throw DiagnosedError(
                .healthAddressUnavailable, fault: .configuration, "the health address \(address) can not be opened",
                expected: "a free address of this machine", found: String(describing: error),
                hint: "set runtime.health.address to another port, or end what listens there (ss -ltnp)")
        }
    }

    private static func response(to request: Request, _ answer: (Path) -> Answer) -> Response {
        let isHead = request.method == .head
        guard isHead || request.method == .get else {
            return plain(.methodNotAllowed, "only GET and HEAD\n", [.allow: "GET, HEAD"])
        }
        guard let path = Path(rawValue: request.uri.path) else {
            let known = Path.allCases.map(\.rawValue).joined(separator: " ")
            return plain(.notFound, "there is nothing here; try \(known)\n")
        }
        let answer = answer(path)
        let response = Response(
            status: answer.isPositive ? .ok : .serviceUnavailable,
            headers: [.contentType: answer.contentType, .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: answer.body)))
        return isHead ? response.createHeadResponse() : response
    }

    private static func plain(
        _ status: HTTPResponse.Status, _ text: String, _ headers: HTTPFields = [:]
    ) -> Response {
        var headers = headers
        headers[.contentType] = "text/plain; charset=utf-8"
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

extension HealthEndpoint {
    /// The endpoint over a registry, as a service runs it.
    init(
        _ identity: ServiceIdentity, address: NetworkAddress, health: HealthRegistry, liveness: Liveness,
        metrics: MetricRegistry, group: any EventLoopGroup, logger: Logger,
        onListening: @escaping @Sendable (NetworkAddress) -> Void
    ) {
        let started = Timestamp.now()
        self.init(
            address: address, group: group, logger: logger,
            answer: { path in
                let document = HealthDocument(
                    identity: identity, report: health.report, isLive: liveness.isLive, started: started,
                    time: Timestamp.now())
                switch path {
                case .livez: return .text(document.isLive ? "live\n" : "not live\n", isPositive: document.isLive)
                case .readyz: return .text(document.readiness, isPositive: document.report.isReady)
                case .healthz:
                    return Answer(
                        isPositive: document.report.state != .fail, contentType: "application/json",
                        body: document.json)
                case .metrics:
                    return Answer(
                        isPositive: true, contentType: PrometheusText.contentType,
                        body: Array(PrometheusText.of(metrics.collect()).utf8))
                }
            }, onListening: onListening)
    }
}

extension DiagnosedError.Code {
    static let healthAddressUnavailable: Self = "health-address-unavailable"
}
