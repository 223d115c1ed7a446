package import Diagnostics
package import NIOCore
package import TLSChannel

/// Where a web server listens, what it shows and what it takes.
package struct WebServerConfiguration: Sendable {
    package var host: String
    /// 0 lets the kernel choose; see `WebServer.boundPort`.
    package var port: Int
    /// Nil serves plain HTTP, on loopback addresses only.
    package var identity: TLSServerIdentity?
    /// Longer request bodies are answered 413.
    package var maximumBody: Int
    /// Path prefixes whose requests may have longer bodies, such as uploads.
    package var largeBodies: [String: Int]
    /// The header field `Server`; nil sends none.
    package var serverName: String?
    /// Further connections wait in the kernel's backlog.
    package var maximumConnections: Int
    package var deadlines: WebServerDeadlines

    package init(
        host: String, port: Int, identity: TLSServerIdentity? = nil, maximumBody: Int = 1 << 20,
        largeBodies: [String: Int] = [:], serverName: String? = nil, maximumConnections: Int = 4096,
        deadlines: WebServerDeadlines = WebServerDeadlines()
    ) {
        self.host = host
        self.port = port
        self.identity = identity
        self.maximumBody = maximumBody
        self.largeBodies = largeBodies
        self.serverName = serverName
        self.maximumConnections = maximumConnections
        self.deadlines = deadlines
    }

    /// The limit of the longest prefix that fits, else the general one.
    func bodyLimit(path: some StringProtocol) -> Int {
        let fitting = largeBodies.filter { path.hasPrefix($0.key) }
        return fitting.max { $0.key.utf8.count < $1.key.utf8.count }?.value ?? maximumBody
    }
}

/// How long a peer may keep a connection waiting.
package struct WebServerDeadlines: Sendable {
    /// From the connection to the end of the first request's head, TLS handshake included.
    package var firstRequest: TimeAmount
    /// From the end of an answer to the end of the next request's head.
    package var idle: TimeAmount
    /// A body must bring 1 KiB for each second that the server waits for it, looked at this often.
    package var bodyWindow: TimeAmount
    /// An answer must go on within this time.
    package var stalledWrite: TimeAmount
    /// The decision about a WebSocket; then 503.
    package var decision: TimeAmount
    /// After an answer that ends the connection: for the peer to close it.
    package var linger: TimeAmount
    /// At a shutdown: for running requests to end before they are cut.
    package var drain: TimeAmount

    package init(
        firstRequest: TimeAmount = .seconds(10), idle: TimeAmount = .seconds(60), bodyWindow: TimeAmount = .seconds(15),
        stalledWrite: TimeAmount = .seconds(60), decision: TimeAmount = .seconds(10), linger: TimeAmount = .seconds(3),
        drain: TimeAmount = .seconds(20)
    ) {
        self.firstRequest = firstRequest
        self.idle = idle
        self.bodyWindow = bodyWindow
        self.stalledWrite = stalledWrite
        self.decision = decision
        self.linger = linger
        self.drain = drain
    }
}

extension DiagnosedError.Code {
    /// Plain HTTP on an address that others can reach.
    package static let serverPlainRefused: DiagnosedError.Code = "server-plain-refused"
    /// The address can not be listened on.
    package static let serverBindFailed: DiagnosedError.Code = "server-bind-failed"
    /// The server ended before it listened.
    package static let serverNotRunning: DiagnosedError.Code = "server-not-running"
}
