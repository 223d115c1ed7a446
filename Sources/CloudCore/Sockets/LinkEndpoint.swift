import Cryptography
import Diagnostics
import LinkProtocol
import TLSChannel
import WebSocketChannel
import WireText

/// The core's end of links: who may open one, and the life of one from its WebSocket to its end.
struct LinkEndpoint: Sendable {
    /// A scope `link:KIND` allows a link of that kind of service, `feed:NAME` a feed on it.
    static let kinds = FeedHub.services.union(FeedHub.others).union(["kms"])
    /// Field of the answer to the upgrade: 32 random octets of this connection, which the node signs.
    static let nonceField = "HDS-Link-Nonce"
    static let nonceBytes = 32
    let services: CoreServices
    let recorder: (any EventRecorder)?

    /// Judges the token of an upgrade request: 401 without a valid one, 403 when it is not a service's for links.
    func grant(authorization header: String?) async throws -> Relay.Grant {
        do {
            guard let header, let token = BearerToken(header: header) else {
                throw Refusal(.unauthorized, "a link needs a service token as bearer")
            }
            let principal = try await services.tokens.principal(of: token.text)
            let kinds = Self.kinds.filter { principal.scope.contains("link:" + $0) }
            guard principal.kind == .service, kinds.count == 1, let kind = kinds.first else {
                throw Refusal(
                    .forbidden,
                    "the token does not allow a link: it needs a service and one scope of link:"
                        + Self.kinds.sorted().joined(separator: ", link:"))
            }
            let organisation = try services.organisation(principal.organisation)
            guard kind != "kms" else {
                return Relay.Grant(organisation: organisation.id, destination: organisation.kmsCluster)
            }
            let feeds = [FeedHub.conversations].filter { principal.scope.contains("feed:" + $0) }
            return Relay.Grant(
                organisation: organisation.id, destination: "\(kind)://\(organisation.id)", service: kind, feeds: feeds,
                mayRemove: principal.scope.contains(SearchService.removing))
        } catch let refusal as Refusal {
            recorder?.record(.linkRefused, [.reason: Loggable(reviewed: refusal.message)])
            throw refusal
        }
    }

    /// Serves one link until its WebSocket is gone. Frames are taken on the event loop; what has to be stored or told
    /// follows in order here.
    func serve(_ socket: WebSocketConnection, grant: Relay.Grant, nonce: [UInt8]) async {
        let hub = services.relay
        let link = hub.connect(
            LinkSocket(socket: socket), grant: grant,
            challenge: NodeAdmission.Challenge(nonce: nonce, exporter: socket.tls?.channelBinding?.octets))
        let (reports, sink) = AsyncStream.makeStream(of: RelayHub.Report.self)
        socket.receive { message in
            let made =
                switch message {
                case .binary(let bytes): hub.received(bytes, from: link)
                case .text:
                    hub.receivedMalformed(
                        DiagnosedError(
                            .linkViolation, fault: .peer, "the service sent a text message",
                            expected: "binary messages"), from: link)
                }
            for report in made { sink.yield(report) }
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await socket.waitUntilClosed()
                hub.disconnect(link)
                services.feeds.disconnect(link)
                sink.finish()
            }
            var node: Loggable?
            for await report in reports {
                switch report {
                case .opened(let hello):
                    node = Loggable(reviewed: hello.node.printable)
                    recorder?.record(
                        .linkAccepted, [.node: node, .organisation: Loggable(reviewed: grant.organisation)])
                case .published(let destination, let details):
                    await store(details, of: destination)
                case .raised(let destination, let epoch):
                    let stored = await keep(epoch, of: destination)
                    for report in hub.epochStored(stored ? epoch : nil, of: destination, by: link) {
                        sink.yield(report)
                    }
                case .listed(let destination, let text): await keep(nodeList: text, of: destination)
                case .listRefused(_, let error):
                    recorder?.record(.linkRefused, [.node: node, .reason: Loggable(error)])
                case .feed(let frame):
                    do throws(DiagnosedError) {
                        try services.feeds.take(frame, from: link, grant: grant)
                    } catch {
                        for report in hub.receivedMalformed(error, from: link) { sink.yield(report) }
                    }
                case .called(let call, let destination, let text):
                    // Bounded by the calls that a link may have; the frames behind it do not wait.
                    group.addTask {
                        hub.settle(call, of: link, .answered(await reply(to: text, destination, grant)))
                    }
                case .closed(let code, let error):
                    recorder?.record(
                        .linkRefused,
                        [.node: node, .reason: error.map { Loggable($0) } ?? Loggable(reviewed: "\(code)")])
                }
            }
            // What was still to be taken of a link that is gone.
            services.feeds.disconnect(link)
            if let node {
                let closure = socket.closure
                let reason = closure?.error?.description ?? "closed with \(closure?.code ?? 1006)"
                recorder?.record(.linkEnded, [.node: node, .reason: Loggable(reviewed: reason)])
            }
        }
    }

    /// What a service of the core itself answers. For whom is said by the token of the link alone.
    private func reply(to text: [UInt8], _ destination: String, _ grant: Relay.Grant) async -> [UInt8] {
        if destination == ClientWords.destination {
            return services.words.reply(to: text, of: grant.organisation, from: grant.service)
        }
        guard destination == CalendarService.destination else {
            return await services.search.reply(
                to: text, of: grant.organisation, from: grant.service, mayRemove: grant.mayRemove)
        }
        let cluster = services.configuration.organisation(grant.organisation)?.kmsCluster ?? ""
        return await services.calendar.reply(to: text, of: grant.organisation, cluster: cluster)
    }

    private func keep(_ epoch: Int64, of destination: String) async -> Bool {
        do {
            try await services.store.setEpoch(epoch, of: destination, now: services.wall())
            return true
        } catch {
            return false
        }
    }

    /// One that can not be stored counts until the process ends; each link brings it again.
    private func keep(nodeList text: String, of destination: String) async {
        do {
            try await services.store.setNodeList(text, of: destination, now: services.wall())
        } catch {
            recorder?.record(.linkRefused, [.reason: "the list of nodes could not be stored"])
        }
    }

    /// A document that can not be stored still serves until the process ends; the service sends it again on each link.
    private func store(_ details: String, of destination: String) async {
        do {
            try await services.store.setDetails(details, of: destination, now: services.wall())
        } catch {
            recorder?.record(.linkRefused, [.reason: "the details document could not be stored"])
        }
    }
}

/// The socket of one link, for the relay.
private struct LinkSocket: RelayHub.Output {
    let socket: WebSocketConnection

    func enqueue(_ frame: [UInt8]) -> Bool { socket.enqueue(binary: frame) }
    func close(_ code: LinkCloseCode, reason: String) {
        socket.beginClosing(code: code.rawValue, reason: reason.clipped)
    }
}

extension String {
    /// A close frame carries at most 123 octets of reason (RFC 6455, section 5.5).
    var clipped: String {
        var text = Substring(self)
        while text.utf8.count > 123 { text.removeLast() }
        return String(text)
    }

    /// Without control characters, and short: a name that a peer chose must not forge lines of a log.
    var printable: String {
        String(
            String.UnicodeScalarView(unicodeScalars.prefix(128).map { $0.value < 0x20 || $0.value == 0x7f ? "?" : $0 }))
    }
}
