import NIOCore
import NIOHTTP1

/// Whether the head of a request asks for a WebSocket, and whether it asks rightly (RFC 6455 section 4.2.1).
enum UpgradeGate {
    enum Wish {
        case none
        case webSocket(WebSocketRoute, UpgradeRequest)
        case malformed(UpgradeRefusal)
    }

    static func wish(_ head: HTTPRequestHead, routes: [WebSocketRoute], remoteAddress: String) -> Wish {
        guard head.version == .http1_1, head.headers[canonicalForm: "upgrade"].contains(where: isWebSocket),
            names(head.headers, "connection").contains("upgrade")
        else { return .none }
        let (path, query) = split(head.uri)
        guard let route = routes.first(where: { $0.matches(path) }) else { return .none }
        if head.method != .GET {
            return .malformed(
                UpgradeRefusal(status: 405, headers: [("Allow", "GET")], message: "a WebSocket begins with GET"))
        }
        if head.headers["sec-websocket-version"] != ["13"] {
            return .malformed(
                UpgradeRefusal(
                    status: 426, headers: [("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket")],
                    message: "this server speaks version 13 of the WebSocket protocol"))
        }
        let keys = head.headers["sec-websocket-key"]
        if keys.count != 1 || !isKey(keys[0]) {
            return .malformed(UpgradeRefusal(status: 400, message: "Sec-WebSocket-Key must be 16 octets in base64"))
        }
        let hasBody =
            head.headers.contains(name: "transfer-encoding")
            || head.headers["content-length"].contains { Int($0) != 0 }
        if hasBody {
            return .malformed(UpgradeRefusal(status: 400, message: "a request for a WebSocket has no body"))
        }
        return .webSocket(
            route,
            UpgradeRequest(
                method: "GET", path: String(path), query: query.map(String.init),
                headers: head.headers.map { ($0.name, $0.value) }, remoteAddress: remoteAddress))
    }

    /// Whether the decoder takes what follows the request for another protocol.
    static func endsDecoding(_ head: HTTPRequestHead) -> Bool {
        head.method == .CONNECT
            || head.headers.contains(name: "upgrade") && names(head.headers, "connection").contains("upgrade")
    }

    /// Takes away what asks for an upgrade, so that the request is served as any other.
    static func strip(_ headers: inout HTTPHeaders) {
        guard headers.contains(name: "upgrade") || names(headers, "connection").contains("upgrade") else { return }
        let kept = headers[canonicalForm: "connection"].map(String.init)
            .filter { !["upgrade", "http2-settings"].contains($0.lowercased()) }
        headers.remove(name: "upgrade")
        headers.remove(name: "http2-settings")
        headers.remove(name: "connection")
        if !kept.isEmpty { headers.add(name: "Connection", value: kept.joined(separator: ", ")) }
    }

    static func split(_ target: String) -> (path: Substring, query: Substring?) {
        let path = target.prefix { $0 != "?" }
        let rest = target[path.endIndex...]
        return (path, rest.isEmpty ? nil : rest.dropFirst())
    }

    private static func isWebSocket(_ name: Substring) -> Bool { name.lowercased() == "websocket" }

    private static func names(_ headers: HTTPHeaders, _ field: String) -> [String] {
        headers[canonicalForm: field].map { $0.lowercased() }
    }

    /// 16 octets in base64: 22 characters of the alphabet, then `==`.
    private static func isKey(_ text: String) -> Bool {
        let octets = Array(text.utf8)
        return octets.count == 24 && octets.hasSuffix("==")
            && octets.prefix(22).allSatisfy { octet in
                switch octet {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "+"), UInt8(ascii: "/"): true
                default: false
                }
            }
    }
}

extension [UInt8] {
    fileprivate func hasSuffix(_ text: String) -> Bool { suffix(text.utf8.count).elementsEqual(text.utf8) }
}
