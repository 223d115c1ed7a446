import NIOCore
import NIOPosix
import Testing

/// One HTTP/1.1 request as octets over a socket: with any Host, for what a client of ours would not send.
enum RawHTTP {
    static func send(
        _ port: Int, _ method: String, _ path: String, _ headers: [(String, String)], _ body: String?
    ) async throws -> (status: Int, text: String, headers: [(String, String)]) {
        var lines = ["\(method) \(path) HTTP/1.1", "Connection: close"]
        if !headers.contains(where: { $0.0 == "Host" }) { lines.append("Host: 127.0.0.1:\(port)") }
        lines += headers.map { "\($0.0): \($0.1)" }
        if let body { lines += ["Content-Type: application/json", "Content-Length: \(body.utf8.count)"] }
        let request = lines.joined(separator: "\r\n") + "\r\n\r\n" + (body ?? "")
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        let octets = try await channel.executeThenClose { inbound, outbound in
            try await outbound.write(ByteBuffer(string: request))
            var octets: [UInt8] = []
            for try await part in inbound { octets += part.readableBytesView }
            return octets
        }
        let text = String(decoding: octets, as: UTF8.self)
        let parts = text.split(separator: "\r\n\r\n", maxSplits: 1, omittingEmptySubsequences: false)
        let head = try #require(parts.first).split(separator: "\r\n")
        let status = head.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
        let fields = head.dropFirst().map { line in
            let pair = line.split(separator: ":", maxSplits: 1)
            return (String(pair[0]), pair.count > 1 ? String(pair[1].drop { $0 == " " }) : "")
        }
        return (try #require(status), parts.count > 1 ? String(parts[1]) : "", fields)
    }
}
