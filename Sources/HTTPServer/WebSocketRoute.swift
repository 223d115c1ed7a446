package import WebSocketChannel

/// A path at which the server speaks WebSocket, and who decides about it.
///
/// ```swift
/// WebSocketRoute("/events/*") { request in
///     guard await tokens.isValid(request.header("authorization")) else { return .refuse(401, message: "no token") }
///     return .accept { socket in for try await message in socket.incoming { … } }
/// }
/// ```
package struct WebSocketRoute: Sendable {
    let path: String
    let isPrefix: Bool
    let limits: WebSocketLimits
    let decide: @Sendable (UpgradeRequest) async -> UpgradeDecision

    /// - Parameters:
    ///   - pattern: a path, or with `/*` at its end all paths below it.
    ///   - decide: called for each request to upgrade; its throw-away state can live on in the accepted closure.
    package init(
        _ pattern: String, limits: WebSocketLimits = WebSocketLimits(),
        decide: @escaping @Sendable (UpgradeRequest) async -> UpgradeDecision
    ) {
        isPrefix = pattern.hasSuffix("/*")
        path = isPrefix ? String(pattern.dropLast()) : pattern
        self.limits = limits
        self.decide = decide
    }

    func matches(_ requested: some StringProtocol) -> Bool {
        isPrefix ? requested.hasPrefix(path) && requested.utf8.count > path.utf8.count : requested == path
    }
}

/// The head of a request that wants to become a WebSocket.
package struct UpgradeRequest: Sendable {
    package let method: String
    /// Without the query, as sent (percent-encoding not undone).
    package let path: String
    /// What follows `?`, nil without one.
    package let query: String?
    package let headers: [(String, String)]
    package let remoteAddress: String

    package init(
        method: String = "GET", path: String, query: String? = nil, headers: [(String, String)] = [],
        remoteAddress: String = "127.0.0.1"
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.remoteAddress = remoteAddress
    }

    /// The first field of that name, in any case.
    package func header(_ name: String) -> String? {
        let wanted = name.lowercased()
        return headers.first { $0.0.lowercased() == wanted }?.1
    }
}

/// What becomes of a request to upgrade.
package enum UpgradeDecision: Sendable {
    /// The closure runs for the life of the WebSocket, which is closed when it returns (1000) or throws (1011). `headers`
    /// stand in the answer to the upgrade.
    case accept(
        headers: [(String, String)] = [], @Sendable (WebSocketConnection) async throws -> Void)
    case refuse(UpgradeRefusal)

    /// A JSON body `{"message": …}`; the message must be plain text of this program.
    package static func refuse(_ status: Int, message: String) -> UpgradeDecision {
        .refuse(UpgradeRefusal(status: status, message: message))
    }
}

/// The answer instead of a WebSocket.
package struct UpgradeRefusal: Sendable {
    package var status: Int
    package var headers: [(String, String)]
    package var body: [UInt8]

    package init(status: Int, headers: [(String, String)], body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package init(status: Int, headers: [(String, String)] = [], message: String) {
        self.init(
            status: status, headers: headers + [("Content-Type", "application/json")],
            body: ErrorBody.json(message: message))
    }
}
