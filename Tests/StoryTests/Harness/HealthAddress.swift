import Foundation
import TestServers

/// The health address of a service, on the loopback of this machine or of a host of a drill's network: what happens to the
/// network is no matter to it.
struct HealthAddress {
    let port: Int
    let place: NetworkPlace?

    struct Answer {
        let status: Int
        let body: [UInt8]
    }

    /// A GET; throws when nobody listens there, or nobody answers within 5 s.
    func answer(_ path: String) async throws -> Answer {
        let connect = { try RawConnection(port: port) }
        let connection = try place.map { try $0.within(connect) } ?? connect()
        connection.send("GET \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        let text = try await connection.readToEnd(within: .seconds(5))
        guard let end = text.range(of: "\r\n\r\n"), let status = text.split(separator: " ").dropFirst().first,
            let code = Int(status)
        else { throw NotInTime(what: "an answer of port \(port)", limit: .zero, seen: text) }
        return Answer(status: code, body: Array(text[end.upperBound...].utf8))
    }
}
