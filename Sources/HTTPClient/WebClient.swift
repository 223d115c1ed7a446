import Diagnostics
package import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
package import TLSChannel
import WebSocketChannel

/// An HTTP/1.1 client with a pool of keep-alive connections, and the opener of WebSockets.
///
/// Any thread. It follows no redirections, knows no cookies and goes through the proxy of its route, if any. `https` is judged by the given trust
/// alone; plain `http` goes to loopback only. A request that met a stale pooled connection is sent once more when its
/// method is idempotent (RFC 9110 section 9.2.2) or nothing of it had left. All errors are `DiagnosedError`s, but for
/// `CancellationError`.
package final class WebClient: Sendable {
    /// What a new trust or route replaces as a whole.
    private struct Way {
        let dialer: Dialer
        let pool: ConnectionPool
    }

    let eventLoop: any EventLoop
    private let group: any EventLoopGroup
    private let connectionsPerOrigin: Int
    private let idleTime: TimeAmount
    private let way: Mutex<Way>

    /// - Parameters:
    ///   - trust: nil allows no `https`. A trust that can not be used shows at the first `https` request.
    ///   - route: through which proxy.
    ///   - connectionsPerOrigin: further requests wait.
    package init(
        trust: TLSTrust?, route: WebRoute = .direct,
        eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        connectionsPerOrigin: Int = 8, idleTime: TimeAmount = .seconds(20)
    ) {
        group = eventLoopGroup
        eventLoop = eventLoopGroup.next()
        self.connectionsPerOrigin = max(1, connectionsPerOrigin)
        self.idleTime = idleTime
        way = Mutex(
            Self.way(trust, route, eventLoopGroup, limit: max(1, connectionsPerOrigin), idleTime: idleTime))
    }

    private static func way(
        _ trust: TLSTrust?, _ route: WebRoute, _ group: any EventLoopGroup, limit: Int, idleTime: TimeAmount
    ) -> Way {
        let tls = trust.map { trust in
            Result { () throws(DiagnosedError) in
                try TLSConfiguration.client(trust: trust, applicationProtocols: ["http/1.1"])
            }
        }
        let dialer = Dialer(group: group, tls: tls, route: route)
        return Way(dialer: dialer, pool: ConnectionPool(dialer: dialer, limit: limit, idleTime: idleTime))
    }

    /// Requests from now on go by this trust and route, on connections of their own; those under way end as they began.
    package func replace(trust: TLSTrust?, route: WebRoute) {
        let new = Self.way(trust, route, group, limit: connectionsPerOrigin, idleTime: idleTime)
        // The old pool closes what it has open when the last request that uses it is answered.
        _ = way.withLock { way in
            defer { way = new }
            return way
        }
    }

    var dialer: Dialer { way.withLock { $0.dialer } }
    private var pool: ConnectionPool { way.withLock { $0.pool } }

    /// Sends a request and returns the answer, whatever its status.
    package func send(_ request: WebRequest) async throws -> WebResponse {
        let prepared = try PreparedRequest(request, bodyBytes: request.body.count)
        return try await timed(request, prepared) { [pool] in
            try await Self.attempt(prepared, pool) { connection in
                try await connection.perform(
                    prepared.head, body: .bytes(request.body), maximumResponseBytes: request.maximumResponseBytes)
            }
        }
    }

    /// Sends a request whose body is a regular file, read piece by piece.
    package func send(_ request: WebRequest, bodyFile path: String) async throws -> WebResponse {
        let size = try await BodyFile.open(path, for: .reading).size()
        let prepared = try PreparedRequest(request, bodyBytes: size)
        return try await timed(request, prepared) { [pool] in
            try await Self.attempt(prepared, pool) { connection in
                let file = try await BodyFile.open(path, for: .reading)
                return try await connection.perform(
                    prepared.head, body: .streamed(size), maximumResponseBytes: request.maximumResponseBytes
                ) { writer in
                    try await Self.feed(file, size, to: writer)
                }
            }
        }
    }

    /// Sends a request and writes the body of a 2xx answer to a new file; other answers keep their body in memory.
    /// After an error the file may hold a part.
    package func download(_ request: WebRequest, toFile path: String) async throws -> WebResponse {
        let prepared = try PreparedRequest(request, bodyBytes: request.body.count)
        return try await timed(request, prepared) { [pool] in
            try await Self.attempt(prepared, pool) { connection in
                let sink = InboundQueue<ByteBuffer>(limit: 1 << 20) { connection.resumeReading() }
                let response = try await connection.perform(
                    prepared.head, body: .bytes(request.body), maximumResponseBytes: request.maximumResponseBytes,
                    sink: sink)
                guard (200..<300).contains(response.status) else { return response }
                do {
                    let file = try await BodyFile.open(path, for: .writing)
                    while let part = try await sink.next() { try await file.write(part) }
                } catch {
                    connection.close()
                    throw error
                }
                return response
            }
        }
    }

    /// Sends a request and hands over the body of a 2xx answer as it comes, for answers that go on for as long as something may
    /// be told; other answers keep their body in memory. What the closure throws ends the connection.
    package func stream(
        _ request: WebRequest, _ take: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws -> WebResponse {
        let prepared = try PreparedRequest(request, bodyBytes: request.body.count)
        return try await timed(request, prepared) { [pool] in
            try await Self.attempt(prepared, pool) { connection in
                let sink = InboundQueue<ByteBuffer>(limit: 1 << 20) { connection.resumeReading() }
                let response = try await connection.perform(
                    prepared.head, body: .bytes(request.body), maximumResponseBytes: request.maximumResponseBytes,
                    sink: sink)
                guard (200..<300).contains(response.status) else { return response }
                do {
                    while let part = try await sink.next() { try await take(Array(part.readableBytesView)) }
                } catch {
                    connection.close()
                    throw error
                }
                return response
            }
        }
    }

    /// Ends all pooled connections, also those in use; WebSockets live on.
    package func close() async { await pool.close() }

    // MARK: - Helpers

    private static let filePiece = 256 * 1024

    private static func feed(_ file: BodyFile, _ size: Int, to writer: BodyWriter) async throws {
        var left = size
        while left > 0 {
            let piece = try await file.read(min(left, filePiece))
            guard piece.readableBytes > 0 else {
                throw DiagnosedError(
                    .httpBodyFile, fault: .client, "the file became shorter while it was sent",
                    expected: "\(size) octets", found: "\(size - left)")
            }
            left -= piece.readableBytes
            try await writer.write(piece)
        }
        writer.finish()
    }

    private func timed(
        _ request: WebRequest, _ prepared: PreparedRequest,
        _ operation: @escaping @Sendable () async throws -> WebResponse
    ) async throws -> WebResponse {
        let timeout = request.timeout
        let origin = prepared.url.origin
        return try await withDeadline(TimeAmount(timeout), on: eventLoop) {
            DiagnosedError(
                .httpTimeout, fault: .peer, "no answer from \(origin) in time", expected: "within \(timeout)",
                hint: "check whether the server is overloaded or the network drops packets")
        } operation: {
            do {
                return try await operation()
            } catch let failure as Exchange.Failure {
                throw failure.error
            }
        }
    }

    private static func attempt(
        _ prepared: PreparedRequest, _ pool: ConnectionPool,
        _ perform: (ClientConnection) async throws -> WebResponse
    ) async throws -> WebResponse {
        let origin = prepared.url.origin
        let (connection, isFresh) = try await pool.acquire(origin)
        do {
            return try await perform(connection)
        } catch Exchange.Failure.notSent where !isFresh {
            return try await perform(try await pool.acquire(origin, freshOnly: true).0)
        } catch Exchange.Failure.stale where !isFresh && prepared.isIdempotent {
            return try await perform(try await pool.acquire(origin, freshOnly: true).0)
        }
    }
}

/// A request that was checked and has its head.
struct PreparedRequest: Sendable {
    let url: WebURL
    let head: HTTPRequestHead
    let isIdempotent: Bool

    init(_ request: WebRequest, bodyBytes: Int) throws(DiagnosedError) {
        url = try WebURL(request.url, schemes: ("http", "https"), mayBePlain: request.mayBePlain)
        let method = HTTPMethod(rawValue: request.method)
        var fields = try Self.fields(request.method, request.headers)
        let ours: Set = ["host", "content-length", "connection", "transfer-encoding"]
        fields.removeAll { ours.contains($0.0.lowercased()) }
        var headers = HTTPHeaders([("Host", url.origin.authority)] + fields)
        if bodyBytes > 0 || [.POST, .PUT, .PATCH].contains(method) {
            headers.add(name: "Content-Length", value: String(bodyBytes))
        }
        head = HTTPRequestHead(version: .http1_1, method: method, uri: url.target, headers: headers)
        isIdempotent = [.GET, .HEAD, .PUT, .DELETE, .OPTIONS, .TRACE].contains(method)
    }

    /// Refuses what would break out of its place in the request (RFC 9110 sections 5.5 and 5.6.2).
    static func fields(
        _ method: String, _ headers: [(String, String)]
    ) throws(DiagnosedError) -> [(String, String)] {
        for name in [method] + headers.map(\.0) where !isToken(name) {
            throw DiagnosedError(
                .httpRequestInvalid, fault: .client, "a method or a header name can not be sent", expected: "a token",
                found: "\(name.utf8.count) octets with others than letters, digits and -_.")
        }
        for (name, value) in headers where value.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F }) {
            throw DiagnosedError(
                .httpRequestInvalid, fault: .client, "the header \(name) can not be sent",
                expected: "no control characters")
        }
        return headers
    }

    private static func isToken(_ text: String) -> Bool { !text.isEmpty && text.utf8.allSatisfy(isTokenOctet) }

    static func isTokenOctet(_ octet: UInt8) -> Bool {
        switch octet {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
        default: tokenPunctuation.contains(octet)
        }
    }

    private static let tokenPunctuation = Set("!#$%&'*+-.^_`|~".utf8)
}
