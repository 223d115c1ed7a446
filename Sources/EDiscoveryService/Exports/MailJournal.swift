import Cryptography
import Diagnostics
import Glibc
import NIOCore
import NIOPosix
import ServiceRuntime
import TLSChannel

/// Hands mails to a journal's server: SMTP (RFC 5321) with STARTTLS (RFC 3207), or LMTP (RFC 2033).
///
/// With authorities nothing is said to a server that offers no STARTTLS or does not prove itself. One connection for each `session`; a mail
/// counts as delivered when the server has taken it, so after a failure it is sent once more, with the same Message-ID.
struct MailJournal: Sendable {
    let host: String
    let port: Int
    let isLMTP: Bool
    /// Nil: in the clear, on this machine.
    let tls: TLSConfiguration?
    let sender: String
    let recipient: String
    /// Of a whole session.
    private static let patience = TimeAmount.minutes(5)

    init(_ section: ArchiveSection.MailSection) throws {
        (host, port) = (section.server.host, section.server.port)
        isLMTP = section.dialect == .lmtp
        tls = try section.ca.map { try .client(trust: TLSTrust(roots: $0.certificates())) }
        (sender, recipient) = (section.sender, section.recipient)
    }

    func session(_ body: (inout MailSession) async throws -> Void) async throws {
        do {
            let connection = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(.seconds(10))
                .connect(host: host, port: port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                    }
                }
            let channel = connection.channel
            let deadline = channel.eventLoop.scheduleTask(in: Self.patience) { channel.close(promise: nil) }
            defer { deadline.cancel() }
            try await connection.executeThenClose { inbound, outbound in
                var session = MailSession(self, channel, inbound.makeAsyncIterator(), outbound)
                try await session.greet()
                try await body(&session)
                await session.leave()
            }
        } catch let error as DiagnosedError {
            throw error
        } catch {
            throw MailSession.away("\(error)")
        }
    }
}

/// One connection to the server.
struct MailSession {
    private let journal: MailJournal
    private let channel: any Channel
    private var inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private var received: [UInt8] = []
    /// Octets of one answer.
    private static let longest = 16 << 10
    private static let piece = 256 << 10

    init(
        _ journal: MailJournal, _ channel: any Channel,
        _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) {
        (self.journal, self.channel, self.inbound, self.outbound) = (journal, channel, inbound, outbound)
    }

    mutating func greet() async throws {
        try await expect(220)
        let hello = (journal.isLMTP ? "LHLO" : "EHLO") + " hds-ediscovery.invalid"
        let offers = try await say(hello, 250)
        guard let tls = journal.tls else { return }
        guard offers.contains(where: { $0.uppercased() == "STARTTLS" }) else {
            throw Self.refused("it offers no STARTTLS")
        }
        try await say("STARTTLS", 220)
        // What came behind the answer came in the clear: somebody on the way put it there.
        guard received.isEmpty else { throw Self.refused("octets in the clear behind STARTTLS") }
        let handshake = channel.eventLoop.makePromise(of: TLSSession.self)
        let (pipeline, host) = (channel.pipeline, journal.host)
        do {
            try await channel.eventLoop.submit {
                try pipeline.syncOperations.addHandler(
                    TLSChannelHandler(tls, serverName: host, handshake: handshake), name: TLSChannelHandler.name,
                    position: .first)
            }.get()
        } catch {
            handshake.fail(error)
            throw error
        }
        _ = try await handshake.futureResult.get()
        try await say(hello, 250)
    }

    /// A file of lines that end with CR LF.
    mutating func deliver(_ path: String) async throws {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { throw Self.away("\(path): \(String(cString: strerror(errno)))") }
        defer { close(file) }
        try await say("MAIL FROM:<\(journal.sender)>", 250)
        try await say("RCPT TO:<\(journal.recipient)>", 250)
        try await say("DATA", 354)
        var stuffing = DotStuffing()
        while true {
            let octets = [UInt8](unsafeUninitializedCapacity: Self.piece) { buffer, count in
                count = max(0, read(file, buffer.baseAddress, buffer.count))
            }
            guard !octets.isEmpty else { break }
            try await outbound.write(ByteBuffer(bytes: stuffing.add(octets)))
        }
        try await outbound.write(ByteBuffer(bytes: stuffing.end()))
        // For one recipient LMTP answers once as well.
        try await expect(250)
    }

    mutating func leave() async { _ = try? await say("QUIT", 221) }

    @discardableResult
    private mutating func say(_ command: String, _ expected: Int) async throws -> [String] {
        try await outbound.write(ByteBuffer(string: command + "\r\n"))
        return try await expect(expected)
    }

    /// The lines of the answer, without their numbers.
    @discardableResult
    private mutating func expect(_ expected: Int) async throws -> [String] {
        var lines: [String] = []
        while true {
            let line = try await line()
            let text = String(decoding: line.map { (0x20...0x7E).contains($0) ? $0 : 0x3F }, as: UTF8.self)
            guard let code = Int(text.prefix(3)) else { throw Self.refused("no answer of SMTP") }
            guard code == expected else { throw Self.refused(String(text.prefix(200))) }
            lines.append(String(text.dropFirst(4)))
            guard lines.count <= 100 else { throw Self.refused("an answer without end") }
            if text.dropFirst(3).first != "-" { return lines }
        }
    }

    private mutating func line() async throws -> [UInt8] {
        while true {
            if let end = received.firstIndex(of: 0x0A) {
                let line = received[..<end].filter { $0 != 0x0D }
                received.removeSubrange(...end)
                return Array(line)
            }
            guard received.count <= Self.longest else { throw Self.refused("an answer without end") }
            guard let more = try await inbound.next(isolation: #isolation) else {
                throw Self.away("it closed the connection")
            }
            received += more.readableBytesView
        }
    }

    private static func refused(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .mailJournal, fault: .peer, "the archive's mail server does not take a mail", expected: "each mail, whole",
            found: found, hint: "see its log: nothing is passed over, the archive waits")
    }

    static func away(_ found: String) -> DiagnosedError {
        DiagnosedError(
            .mailJournal, fault: .peer, "the archive's mail server does not answer", found: found,
            hint: "check archive.mail.server and that the server runs: nothing is passed over, the archive waits")
    }
}

/// A line that begins with a full stop gets another one; a lone one ends the mail (RFC 5321, section 4.5.2).
struct DotStuffing {
    private var last: [UInt8] = [0x0D, 0x0A]

    mutating func add(_ octets: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(octets.count + 16)
        for octet in octets {
            if octet == 0x2E, last == [0x0D, 0x0A] { result.append(0x2E) }
            result.append(octet)
            last = [last[1], octet]
        }
        return result
    }

    mutating func end() -> [UInt8] { Array((last == [0x0D, 0x0A] ? ".\r\n" : "\r\n.\r\n").utf8) }
}

extension DiagnosedError.Code {
    static let mailJournal: Self = "ediscovery-mail-journal"
}
