package import NIOCore
import NIOPosix
import WireText

/// Where a service of a domain is by its DNS records: SRV (RFC 2782) names hosts and ports, TXT a path (RFC 6764, section 4).
///
/// What DNS says is a hint of whoever answers: it is followed only to origins that an administrator has allowed, over TLS.
package struct ServiceRecords: Sendable, Equatable {
    package struct Target: Sendable, Equatable {
        package let priority: UInt16
        package let weight: UInt16
        package let port: UInt16
        package let host: String

        package init(priority: UInt16, weight: UInt16, port: UInt16, host: String) {
            (self.priority, self.weight, self.port, self.host) = (priority, weight, port, host)
        }
    }

    /// The best first.
    package var targets: [Target] = []
    package var path: String?

    package init(targets: [Target] = [], path: String? = nil) { (self.targets, self.path) = (targets, path) }
}

/// A question to a DNS server and what is read of its answer (RFC 1035); pure.
package struct DNSMessage {
    package enum Kind: UInt16, Sendable { case txt = 16, srv = 33 }

    package static let mostOctets = 4096
    private static let mostRecords = 64

    package let id: UInt16
    package let name: String
    package let kind: Kind

    package init(id: UInt16, name: String, kind: Kind) { (self.id, self.name, self.kind) = (id, name, kind) }

    /// Nil: no name of DNS.
    package func question() -> [UInt8]? {
        var octets: [UInt8] = Self.word(id) + [0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0]
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        guard name.utf8.count <= 253, labels.allSatisfy({ (1...63).contains($0.utf8.count) }) else { return nil }
        for label in labels { octets += [UInt8(label.utf8.count)] + Array(label.utf8) }
        return octets + [0] + Self.word(kind.rawValue) + [0, 1]
    }

    /// Nil: no answer to this question. An answer that names nothing gives nothing.
    package func records(in answer: [UInt8]) -> ServiceRecords? {
        guard answer.count <= Self.mostOctets else { return nil }
        var reader = Reader(octets: answer)
        guard reader.word() == id, let flags = reader.word(), flags & 0x8000 != 0, let questions = reader.word(),
            let answers = reader.word(), reader.word() != nil, reader.word() != nil, questions == 1,
            reader.name()?.lowercased() == name.lowercased(), reader.word() == kind.rawValue, reader.word() == 1
        else { return nil }
        var found = ServiceRecords()
        // No such name, or a server that can not tell.
        guard flags & 0x000F == 0 else { return found }
        for _ in 0..<min(Int(answers), Self.mostRecords) {
            guard reader.name() != nil, let type = reader.word(), let category = reader.word(), reader.skip(4),
                let length = reader.word(), var data = reader.part(Int(length))
            else { break }
            guard type == kind.rawValue, category == 1 else { continue }
            switch kind {
            case .srv:
                guard let priority = data.word(), let weight = data.word(), let port = data.word(),
                    let host = data.name(), !host.isEmpty, port > 0
                else { continue }
                found.targets.append(.init(priority: priority, weight: weight, port: port, host: host.lowercased()))
            case .txt:
                while let text = data.text() {
                    guard text.lowercased().hasPrefix("path="), found.path == nil else { continue }
                    let path = String(text.dropFirst(5))
                    if path.hasPrefix("/"), path.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) { found.path = path }
                }
            }
        }
        found.targets.sort { ($0.priority, $1.weight, $0.host) < ($1.priority, $0.weight, $1.host) }
        return found
    }

    private static func word(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }

    private struct Reader {
        let octets: [UInt8]
        var place = 0
        var end: Int

        init(octets: [UInt8], place: Int = 0, end: Int? = nil) {
            (self.octets, self.place, self.end) = (octets, place, end ?? octets.count)
        }

        mutating func word() -> UInt16? {
            guard place + 2 <= end else { return nil }
            defer { place += 2 }
            return UInt16(octets[place]) << 8 | UInt16(octets[place + 1])
        }

        mutating func skip(_ count: Int) -> Bool {
            guard place + count <= end else { return false }
            place += count
            return true
        }

        mutating func part(_ count: Int) -> Reader? {
            guard place + count <= end else { return nil }
            defer { place += count }
            return Reader(octets: octets, place: place, end: place + count)
        }

        mutating func text() -> String? {
            guard place < end, place + 1 + Int(octets[place]) <= end else { return nil }
            let start = place + 1
            place = start + Int(octets[place])
            return String(decoding: octets[start..<place], as: UTF8.self)
        }

        /// Follows pointers (RFC 1035, section 4.1.4), each only backwards, so that there is an end.
        mutating func name() -> String? {
            var labels: [String] = []
            var (at, limit) = (place, end)
            var hasJumped = false
            var length = 0
            while at < limit {
                let octet = octets[at]
                if octet == 0 {
                    if !hasJumped { place = at + 1 }
                    return labels.joined(separator: ".")
                }
                if octet & 0xC0 == 0xC0 {
                    guard at + 1 < limit else { return nil }
                    let target = Int(octet & 0x3F) << 8 | Int(octets[at + 1])
                    guard target < at else { return nil }
                    if !hasJumped { place = at + 2 }
                    // Behind a pointer names lie anywhere before it.
                    (hasJumped, limit, at) = (true, at, target)
                    continue
                }
                guard octet & 0xC0 == 0, at + 1 + Int(octet) <= limit else { return nil }
                length += Int(octet) + 1
                guard length <= 255 else { return nil }
                let label = octets[(at + 1)..<(at + 1 + Int(octet))]
                guard label.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: ".") }) else { return nil }
                labels.append(String(decoding: label, as: UTF8.self))
                at += 1 + Int(octet)
            }
            return nil
        }
    }
}

/// Asks the machine's DNS servers. Any thread.
package struct ServiceLookup: Sendable {
    private let servers: [SocketAddress]
    private let patience: TimeAmount

    /// - Parameter servers: asked in their order.
    package init(servers: [SocketAddress], patience: TimeAmount = .seconds(2)) {
        (self.servers, self.patience) = (servers, patience)
    }

    /// Those of the text of a resolv.conf; at most three, as the system's resolver.
    package init(resolvConf text: String) {
        var servers: [SocketAddress] = []
        for line in text.split(separator: "\n") where servers.count < 3 {
            let words = line.split { $0 == " " || $0 == "\t" }
            guard words.count >= 2, words[0] == "nameserver",
                let address = try? SocketAddress(ipAddress: String(words[1]), port: 53)
            else { continue }
            servers.append(address)
        }
        self.init(servers: servers)
    }

    /// Of `_caldavs._tcp` of a domain. Nothing when no server answers.
    package func calendars(of domain: String) async -> ServiceRecords {
        let name = "_caldavs._tcp." + domain
        guard var found = await ask(name, .srv), !found.targets.isEmpty else { return ServiceRecords() }
        found.path = await ask(name, .txt)?.path
        return found
    }

    private func ask(_ name: String, _ kind: DNSMessage.Kind) async -> ServiceRecords? {
        for server in servers {
            let message = DNSMessage(id: .random(in: 0...0xFFFF), name: name, kind: kind)
            guard let question = message.question() else { return nil }
            if let found = try? await Self.exchange(message, question, server, patience) { return found }
        }
        return nil
    }

    private static func exchange(
        _ message: DNSMessage, _ question: [UInt8], _ server: SocketAddress, _ patience: TimeAmount
    ) async throws -> ServiceRecords {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let promise = loop.makePromise(of: ServiceRecords.self)
        let any = try SocketAddress(ipAddress: server.protocol == .inet6 ? "::" : "0.0.0.0", port: 0)
        // The kernel chooses the port, which a forger has to guess with the id.
        let channel: any Channel
        do {
            channel = try await DatagramBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(Answers(message, server, promise))
                    }
                }
                .bind(to: any).get()
        } catch {
            promise.fail(error)
            throw error
        }
        loop.scheduleTask(in: patience) { promise.fail(ChannelError.connectTimeout(patience)) }
        defer { channel.close(promise: nil) }
        do {
            try await channel.writeAndFlush(
                AddressedEnvelope(remoteAddress: server, data: channel.allocator.buffer(bytes: question))
            ).get()
        } catch {
            promise.fail(error)
        }
        return try await promise.futureResult.get()
    }

    private final class Answers: ChannelInboundHandler, Sendable {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        private let message: DNSMessage
        private let server: SocketAddress
        private let promise: EventLoopPromise<ServiceRecords>

        init(_ message: DNSMessage, _ server: SocketAddress, _ promise: EventLoopPromise<ServiceRecords>) {
            (self.message, self.server, self.promise) = (message, server, promise)
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let envelope = unwrapInboundIn(data)
            // Of others, and to other questions, nothing is heard.
            guard envelope.remoteAddress == server,
                let found = message.records(in: Array(envelope.data.readableBytesView))
            else { return }
            promise.succeed(found)
        }

        func errorCaught(context: ChannelHandlerContext, error: any Error) { promise.fail(error) }
    }
}
