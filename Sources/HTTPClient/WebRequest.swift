package import Diagnostics

/// One HTTP request of a client.
///
/// `Host`, `Content-Length`, `Connection` and `Transfer-Encoding` are set by the client; the caller's are replaced.
package struct WebRequest: Sendable {
    package var method: String
    /// `https://host[:port]/path?query`, or `http://` to this machine's loopback; see `mayBePlain`.
    package var url: String
    package var headers: [(String, String)]
    package var body: [UInt8]
    /// For all of it: waiting for a connection, connecting, sending, receiving.
    package var timeout: Duration
    /// A longer body is an error, before it is in memory.
    package var maximumResponseBytes: Int
    /// Whether plain `http://` may go to another machine: only for what is public and proves itself.
    package var mayBePlain = false

    package init(
        method: String = "GET", url: String, headers: [(String, String)] = [], body: [UInt8] = [],
        timeout: Duration = .seconds(30), maximumResponseBytes: Int = 1 << 20
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeout = timeout
        self.maximumResponseBytes = maximumResponseBytes
    }
}

/// The answer to a `WebRequest`, of any status; redirections are answers like others.
package struct WebResponse: Sendable {
    package var status: Int
    package var headers: [(String, String)]
    package var body: [UInt8]

    package init(status: Int, headers: [(String, String)] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    /// The first field of that name, in any case.
    package func header(_ name: String) -> String? {
        let wanted = name.lowercased()
        return headers.first { $0.0.lowercased() == wanted }?.1
    }
}

extension DiagnosedError.Code {
    package static let httpRequestInvalid: DiagnosedError.Code = "http-request-invalid"
    /// Plain `http://` or `ws://` to another machine.
    package static let httpPlainRefused: DiagnosedError.Code = "http-plain-refused"
    package static let httpConnectFailed: DiagnosedError.Code = "http-connect-failed"
    package static let httpTimeout: DiagnosedError.Code = "http-timeout"
    /// The connection ended before the whole answer was there.
    package static let httpConnectionLost: DiagnosedError.Code = "http-connection-lost"
    package static let httpResponseInvalid: DiagnosedError.Code = "http-response-invalid"
    package static let httpResponseTooLarge: DiagnosedError.Code = "http-response-too-large"
    package static let httpClientClosed: DiagnosedError.Code = "http-client-closed"
    /// Reading or writing the file of an upload or a download.
    package static let httpBodyFile: DiagnosedError.Code = "http-body-file"
    /// 401 instead of a WebSocket: the token is refused.
    package static let webSocketUnauthorized: DiagnosedError.Code = "websocket-unauthorized"
    /// 403 instead of a WebSocket.
    package static let webSocketForbidden: DiagnosedError.Code = "websocket-forbidden"
    /// Any other answer instead of a WebSocket; `found` has the status.
    package static let webSocketRefused: DiagnosedError.Code = "websocket-refused"
}
